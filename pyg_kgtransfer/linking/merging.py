"""Ids of things that are one: union over pairs, and the vocabularies of what is merged."""

from collections.abc import Sequence

import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.vocabulary import Vocabulary


def first_occurrences(keys: Tensor) -> Tensor:
    """Positions at which each distinct key occurs first, ascending: int64, shape [distinct].

    Args:
        keys: [M] int64.
    """
    if not len(keys):
        return torch.empty(0, dtype=torch.long, device=keys.device)
    order = torch.argsort(keys, stable=True)
    in_order = keys[order]
    is_first = torch.ones_like(in_order, dtype=torch.bool)
    is_first[1:] = in_order[1:] != in_order[:-1]
    return order[is_first].sort().values


def triple_keys(triples: Tensor, num_entities: int, num_relations: int) -> Tensor:
    """One integer per triple, equal for equal triples: int64, shape [M]."""
    head, relation, tail = triples.unbind(1)
    return (head * num_relations + relation) * num_entities + tail


def components(num_things: int, pairs: Tensor) -> Tensor:
    """The connected component of each thing under ``pairs`` ([P, 2]): int64, shape [num_things]."""
    if not num_things:
        return torch.empty(0, dtype=torch.long)
    left, right = pairs.cpu().numpy().T
    links = coo_array(
        (torch.ones(len(pairs)).numpy(), (left, right)),
        shape=(num_things, num_things),
    )
    return torch.from_numpy(connected_components(links, directed=False)[1]).long()


def merge_ids(
    num_kept: int, num_things: int, pairs: Tensor, confidence: Tensor
) -> tuple[Tensor, int]:
    """One id for all things that pairs declare to be one, through any chain of pairs.

    The first ``num_kept`` things keep their ids: two of them are never merged. Where a chain
    would merge two of them, its pairs are taken from the most confident down (ties: as given),
    and a pair that would merge two is refused. The other ids follow in order of first occurrence.

    Args:
        num_kept: How many things keep their id.
        num_things: All things.
        pairs: [P, 2] int64, pairs of things that are one.
        confidence: [P], read only where pairs contradict each other.

    Returns:
        The merged id of each thing, [num_things], and the number of pairs refused.
    """
    component = components(num_things, pairs)
    members = torch.bincount(component[:num_kept], minlength=num_things)
    refused = 0
    if bool((members > 1).any()):
        doubtful = members[component[pairs[:, 0]]] > 1
        accepted = _accepted(num_kept, pairs[doubtful], confidence[doubtful])
        refused = int((~accepted).sum())
        component = components(num_things, torch.cat([pairs[~doubtful], pairs[doubtful][accepted]]))
    first = first_occurrences(component)  # [C] ascending
    merged = torch.empty(len(first), dtype=torch.long)
    merged[component[first]] = torch.arange(len(first))
    return merged[component], refused


def _accepted(num_kept: int, pairs: Tensor, confidence: Tensor) -> Tensor:
    """Which pairs can be merged, most confident first, with the kept things apart: bool [P]."""
    parent: dict[int, int] = {}

    def root(thing: int) -> int:
        while parent.get(thing, thing) != thing:
            parent[thing] = parent.get(parent[thing], parent[thing])
            thing = parent[thing]
        return thing

    accepted = torch.zeros(len(pairs), dtype=torch.bool)
    named = pairs.tolist()
    for row in torch.argsort(confidence, descending=True, stable=True).tolist():
        low, high = sorted(map(root, named[row]))  # a kept thing is always the root of its set
        if high >= num_kept or low == high:
            parent[high] = low
            accepted[row] = True
    return accepted


def origins(maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Where each merged id occurs first.

    Args:
        maps: Per source the merged id of each of its things, -1 for one left out.

    Returns:
        ``source`` [num_merged] and ``own`` [num_merged], the id there.
    """
    joined = torch.cat(list(maps))
    present = (joined >= 0).nonzero().view(-1)
    num_merged = int(joined.max()) + 1 if len(joined) else 0
    first = torch.full((num_merged,), len(joined)).scatter_reduce(
        0, joined[present], present, reduce="amin"
    )
    ends = torch.tensor([len(part) for part in maps]).cumsum(0)
    source = torch.searchsorted(ends, first, right=True)
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    return source, first - starts[source]


def merged_names(
    vocabularies: Sequence[Vocabulary], sources: Sequence[str], origin: tuple[Tensor, Tensor]
) -> Vocabulary:
    """The names of merged things: the bare name of the first occurrence if still free.

    A name that is taken becomes ``source:name`` (and ``source:name#2`` ... in the unlikely case
    that this is taken too), so that equal names of things not aligned stay two names.
    """
    taken: dict[str, None] = {}
    for place, index in zip(*(part.tolist() for part in origin), strict=True):
        bare = vocabularies[place].name(index)
        name = full = f"{sources[place]}:{bare}" if bare in taken else bare
        count = 1
        while name in taken:
            count += 1
            name = f"{full}#{count}"
        taken[name] = None
    return Vocabulary(taken, kind=vocabularies[0].kind)


def joint_graph(
    graphs: Sequence[KnowledgeGraph],
    entity_maps: Sequence[Tensor],
    relation_maps: Sequence[Tensor],
    triples: Tensor,
) -> KnowledgeGraph:
    """The graph over merged ids: names, labels and types come from each id's first source.

    Args:
        graphs: The sources.
        entity_maps: Per source [N_s] merged ids, -1 for entities left out.
        relation_maps: Per source [R_s] likewise.
        triples: [M, 3] in merged ids.
    """
    names = [graph.name for graph in graphs]
    entity_origin = origins(entity_maps)
    entities = merged_names([graph.entities for graph in graphs], names, entity_origin)
    relations = merged_names([graph.relations for graph in graphs], names, origins(relation_maps))
    labels = None
    if any(graph.labels is not None for graph in graphs):
        labels = tuple(
            graphs[place].label(own)
            for place, own in zip(*(part.tolist() for part in entity_origin), strict=True)
        )
    entity_types = entity_type = None
    typed = [(g.entity_types, g.entity_type) for g in graphs if g.entity_type is not None]
    if len(typed) == len(graphs):
        entity_types = Vocabulary(
            dict.fromkeys(name for kinds, _ in typed for name in kinds or ()), kind="entity type"
        )
        of_all = torch.cat(
            [entity_types.ids(list(kinds or ()))[of] for kinds, of in typed if of is not None]
        )
        starts = torch.tensor([0, *(graph.num_entities for graph in graphs)]).cumsum(0)
        entity_type = of_all[starts[entity_origin[0]] + entity_origin[1]]
    name = "+".join(names) if len(names) > 1 else f"{names[0]}+"
    while name in names:
        name += "+"
    return KnowledgeGraph(entities, relations, triples, name, labels, entity_types, entity_type)
