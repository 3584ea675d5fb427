"""Several graphs as one: ``link()``, and the part of a source around a target."""

import difflib
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from pyg_kgtransfer.functional.segments import sorted_join
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.linking.alignment import Alignment, Pairs
from pyg_kgtransfer.linking.linked_kg import LinkedKG, Mode
from pyg_kgtransfer.linking.merging import (
    first_occurrences,
    joint_graph,
    merge_ids,
    triple_keys,
)
from pyg_kgtransfer.linking.subgraph import rows_around

__all__ = ["LinkedKG", "link", "linked_subgraph"]
logger = logging.getLogger(__name__)


class _Things(NamedTuple):
    """The entities (or the relations) of all graphs, numbered through."""

    starts: Tensor  # [S] number of each graph's first thing
    sizes: list[int]
    usable: Pairs  # over the numbers
    held_out: Tensor  # [P, 2]


def link(
    graphs: Sequence[KnowledgeGraph], alignments: Sequence[Alignment], *, mode: Mode = "sharing"
) -> LinkedKG:
    """One graph from several.

    - *sharing*: aligned entities are one id, through any chain of alignments and graphs. An entity
      with two counterparts in one graph merges them ("one entity with two names"), except in the
      first graph, whose entities always stay apart: there the pair of lower confidence (ties: the
      later) is left out and logged.
    - *mapping*: entities keep an id per graph; ``LinkedKG.pairs`` hold the alignment for a loss.
    - *swapping*: ids are apart, relations too, ``pairs`` are kept, and each triple is repeated with
      its head, its tail or its relation (one at a time) exchanged for a counterpart, under the
      source index of the original.

    Relations have one id per graph unless aligned (in swapping, always). Each joint triple is kept
    once, under its first source. A name that is taken becomes ``source:name``. Entities have types
    if all graphs have: the union of the type names, equal names being one type; a merged
    entity has name, label and type of its first source. Held-out pairs are never used.

    Args:
        graphs: Training graphs with distinct names. The first keeps its ids.
        alignments: Each between two of the graphs, by name; there may be none.
        mode: ``"sharing"``, ``"mapping"`` or ``"swapping"``.

    Raises:
        TypeError: If something other than a knowledge graph (a split, held-out facts) is passed.
        ValueError: If names are missing, repeated or unknown, ids are out of range, or a held-out
            pair is given away by other pairs.

    Example:
        >>> left = KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")], name="left")
        >>> right = KnowledgeGraph.from_names([("GR", "borders", "BG")], name="right")
        >>> linked = link([left, right], [Alignment.from_names(left, right, [("Greece", "GR")])])
        >>> linked.graph.named_triples()[1]
        ('Greece', 'borders', 'BG')
    """
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be one of {get_args(Mode)} (got {mode!r})")
    graphs = _checked(graphs)
    entities = _numbered(graphs, alignments, "entities")
    relations = _numbered(graphs, alignments, "relations")
    nothing = Pairs.empty()
    entity = _merged(
        graphs, entities, nothing if mode != "sharing" else entities.usable, "entities"
    )
    relation = _merged(
        graphs, relations, nothing if mode == "swapping" else relations.usable, "relations"
    )
    triples = torch.cat(
        [
            torch.stack([entity[e + h], relation[r + rel], entity[e + t]], dim=1)
            for e, r, (h, rel, t) in zip(
                entities.starts.tolist(),
                relations.starts.tolist(),
                (graph.triples.unbind(1) for graph in graphs),
                strict=True,
            )
        ]
    )
    source = torch.repeat_interleave(torch.tensor([graph.num_triples for graph in graphs]))
    if mode == "swapping":
        swapped, row = _swapped(triples, entities.usable.index, relations.usable.index)
        triples, source = torch.cat([triples, swapped]), torch.cat([source, source[row]])
    keys = triple_keys(triples, sum(entities.sizes), sum(relations.sizes))
    keep = first_occurrences(keys)
    stated_by = torch.stack(
        [torch.isin(keys[keep], keys[source == place]) for place in range(len(graphs))], dim=1
    )
    entity_maps, relation_maps = entity.split(entities.sizes), relation.split(relations.sizes)
    graph = joint_graph(graphs, entity_maps, relation_maps, triples[keep])
    pairs = nothing if mode == "sharing" else entities.usable
    names = tuple(graph.name for graph in graphs)
    fingerprints = tuple(graph.fingerprint() for graph in graphs)
    return LinkedKG(
        graph,
        source[keep],
        names,
        entity_maps,
        relation_maps,
        pairs,
        mode,
        fingerprints,
        stated_by,
    )


def linked_subgraph(
    target: KnowledgeGraph,
    source: KnowledgeGraph,
    alignment: Alignment,
    *,
    hops: int = 1,
    fan_out: int | None = 50,
    seed: int = 0,
) -> LinkedKG:
    """The target with the part of a source around its counterparts, for a student to learn on.

    The target comes first and keeps its ids; aligned entities and relations are one id (sharing).
    Then come the source triples within ``hops`` of a counterpart of a target entity; those equal to
    a target triple are dropped. Only entities and relations of those triples, and counterparts, are
    in the result: ``back_map(source.name)`` gives their ids in the source (of its teacher).
    ``source`` may hold the target already: ``linked.graph`` with
    ``linked.alignment_of(target.name)``.

    Args:
        target: The graph to learn, its training part.
        source: The graph to learn from.
        alignment: Between the two, in either order.
        hops: At least 0; 0 keeps the source triples between two counterparts, no further entity.
        fan_out: Triples each frontier entity may take per hop beyond those between counterparts,
            at least 1; ``None``: all.
        seed: Draws the triples of crowded entities.

    Raises:
        TypeError: If something other than a knowledge graph is passed.
        ValueError: If names do not fit, ids are out of range, or hops or fan_out are too small.

    Source: Sun, Huang, Lin, Xu, Chen, Hu: Joint Pre-training and Local Re-training, KDD 2023, arXiv
    2306.02679 promises a linked subgraph; its construction is our reading.

    Example:
        >>> target = KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")], name="target")
        >>> source = KnowledgeGraph.from_names([("GR", "borders", "BG"), ("FR", "borders", "IT")],
        ...                                    name="source")
        >>> same = Alignment.from_names(target, source, [("Greece", "GR")])
        >>> linked_subgraph(target, source, same).graph.named_triples()[1:]
        [('Greece', 'borders', 'BG')]
    """
    if hops < 0 or (fan_out is not None and fan_out < 1):
        raise ValueError(
            f"hops must be at least 0 and fan_out at least 1 or None (got {hops} and {fan_out})"
        )
    whole = link([target, source], [alignment])
    num_target, num_target_relations = target.num_entities, target.num_relations
    counterparts = whole.entity_maps[1][whole.entity_maps[1] < num_target]
    candidates = (whole.source == 1).nonzero().view(-1)
    taken = rows_around(
        whole.graph.triples[candidates],
        counterparts,
        whole.graph.num_entities,
        hops=hops,
        fan_out=fan_out,
        generator=torch.Generator().manual_seed(seed),
    )
    keep = torch.cat([(whole.source == 0).nonzero().view(-1), candidates[taken]])
    triples = whole.graph.triples[keep]
    entity = _renumbered(triples[:, [0, 2]], whole.graph.num_entities, num_target)
    relation = _renumbered(triples[:, 1], whole.graph.num_relations, num_target_relations)
    head, kind, tail = triples.unbind(1)
    entity_maps = tuple(entity[to] for to in whole.entity_maps)
    relation_maps = tuple(relation[to] for to in whole.relation_maps)
    graph = joint_graph(
        [target, source],
        entity_maps,
        relation_maps,
        torch.stack([entity[head], relation[kind], entity[tail]], dim=1),
    )
    return replace(
        whole,
        graph=graph,
        source=whole.source[keep],
        stated_by=None if whole.stated_by is None else whole.stated_by[keep],
        entity_maps=entity_maps,
        relation_maps=relation_maps,
    )


def _renumbered(used: Tensor, size: int, num_kept: int) -> Tensor:
    """New ids [size]: the first ``num_kept`` stay, the used ones follow, the rest are -1."""
    is_in = torch.zeros(size, dtype=torch.bool)
    is_in[:num_kept] = True
    is_in[used.reshape(-1)] = True
    return torch.where(is_in, is_in.cumsum(0) - 1, -1)


def _checked(graphs: Sequence[KnowledgeGraph]) -> list[KnowledgeGraph]:
    """The graphs, if they are graphs and their names tell them apart."""
    if isinstance(graphs, KnowledgeGraph):
        raise TypeError("a list of graphs is needed (got one graph)")
    for graph in graphs:
        if not isinstance(graph, KnowledgeGraph):
            raise TypeError(
                "only knowledge graphs can be linked, so that no held-out fact is learned from; "
                f"of a split pass its training graph, split.train (got {type(graph).__name__})"
            )
    names = [graph.name for graph in graphs]
    if not names or "" in names or len(set(names)) != len(names):
        raise ValueError(f"linking needs graphs with distinct, non-empty names (got {names})")
    return list(graphs)


def _numbered(
    graphs: Sequence[KnowledgeGraph],
    alignments: Sequence[Alignment],
    kind: Literal["entities", "relations"],
) -> _Things:
    """The pairs of all alignments over the things of all graphs numbered through."""
    names = [graph.name for graph in graphs]
    sizes = [graph.num_entities if kind == "entities" else graph.num_relations for graph in graphs]
    starts = torch.tensor([0, *sizes[:-1]]).cumsum(0)
    index, confidence, held_out = [], [], []
    for alignment in alignments:
        for name in (alignment.left, alignment.right):
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1) or names
                raise ValueError(
                    f"an alignment names a graph that is not linked (got {name!r}; "
                    f"nearest: {', '.join(map(repr, near))})"
                )
        left, right = names.index(alignment.left), names.index(alignment.right)
        if left == right:
            raise ValueError(f"an alignment is between two graphs (got {alignment.left!r} twice)")
        alignment.check(graphs[left], graphs[right])
        pairs = alignment.entities if kind == "entities" else alignment.relations
        index.append(pairs.index + starts[[left, right]])
        confidence.append(pairs.confidence)
        held_out.append(pairs.held_out)
    joined = torch.cat([torch.empty(0, 2, dtype=torch.long), *index])
    held = torch.cat([torch.empty(0, dtype=torch.bool), *held_out])
    sure = torch.cat([torch.empty(0), *confidence])
    order = torch.argsort(sure, descending=True, stable=True)
    order = order[~held[order]]
    low, high = joined[order].aminmax(dim=1)
    best = order[first_occurrences(low * max(sum(sizes), 1) + high)].sort().values
    return _Things(starts, sizes, Pairs.of(joined[best], sure[best]), joined[held])


def _merged(graphs: Sequence[KnowledgeGraph], things: _Things, pairs: Pairs, kind: str) -> Tensor:
    """The joint id of each numbered thing: [sum of sizes]; refuses to give held-out pairs away."""
    merged, refused = merge_ids(things.sizes[0], sum(things.sizes), pairs.index, pairs.confidence)
    if refused:
        logger.warning(
            "%d pairs would merge %s of %r with each other, which keeps its own apart: left out",
            refused, kind, graphs[0].name,
        )  # fmt: skip
    size = max(sum(things.sizes), 1)
    (low, high), (held_low, held_high) = (
        index.aminmax(dim=1) for index in (things.usable.index, things.held_out)
    )
    told = merged[things.held_out[:, 0]] == merged[things.held_out[:, 1]]
    told |= torch.isin(held_low * size + held_high, low * size + high)
    if bool(told.any()):
        shown: list[str] = []
        for number in things.held_out[told][0].tolist():
            place = int(torch.searchsorted(things.starts, number, right=True)) - 1
            own = number - int(things.starts[place])
            graph = graphs[place]
            names = graph.entities if kind == "entities" else graph.relations
            shown.append(f"{names.name(own)!r} of {graph.name!r}")
        raise ValueError(
            f"held-out pairs must not follow from the other pairs (got {int(told.sum())} pairs of "
            f"{kind} that do, such as {' = '.join(shown)}): hold out what they follow from too, or "
            " pass alignment.usable() where no alignment is evaluated"
        )
    return merged


def _swapped(triples: Tensor, entities: Tensor, relations: Tensor) -> tuple[Tensor, Tensor]:
    """Triples with one place exchanged for a counterpart, and the rows of their originals."""
    swapped: list[Tensor] = []
    rows: list[Tensor] = []
    for column, pairs in ((0, entities), (2, entities), (1, relations)):
        both = torch.cat([pairs, pairs.flip(1)])
        both = both[torch.argsort(both[:, 0], stable=True)]
        row, position = sorted_join(both[:, 0].contiguous(), triples[:, column].contiguous())
        changed = triples[row]
        changed[:, column] = both[position, 1]
        swapped.append(changed)
        rows.append(row)
    return torch.cat(swapped), torch.cat(rows)
