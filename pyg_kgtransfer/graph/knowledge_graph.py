"""A knowledge graph: named entities and relations, triples, and a lossless HeteroData view."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_kgtransfer.functional.segments import segment_counts
from pyg_kgtransfer.graph.hetero_stores import check_ids, node_strings, num_nodes, stored_edges
from pyg_kgtransfer.graph.vocabulary import Vocabulary

UNTYPED = "entity"
_GRAPH_ATTRIBUTES = ("graph_name", "relations", "is_typed")


class GraphTensors(NamedTuple):
    """What the maths sees of a graph.

    Attributes:
        entity: [N] int64, the global entity id of each row (a subgraph has fewer rows).
        edge_index: [2, M] int64 rows of ``entity``, source above target, inverses included.
        edge_type: [M] int64; ``r + num_relations`` is the inverse of relation ``r``.
        num_relations: Real relations only, R.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> graph = kgt.KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")])
        >>> tensors = graph.tensors()  # the fact and its inverse
        >>> tensors.edge_index.tolist(), tensors.edge_type.tolist(), tensors.num_relations
        ([[0, 1], [1, 0]], [0, 1], 1)
    """

    entity: Tensor
    edge_index: Tensor
    edge_type: Tensor
    num_relations: int

    def to(self, device: torch.device | str | None) -> "GraphTensors":
        """The same tensors on ``device``."""
        return GraphTensors(
            self.entity.to(device),
            self.edge_index.to(device),
            self.edge_type.to(device),
            self.num_relations,
        )

    def without(self, triples: Tensor) -> "GraphTensors":
        """The graph less the edges of ``triples`` ([B, 3], row ids) and their inverses."""
        num_rows, edge_relations = len(self.entity), 2 * self.num_relations
        head, relation, tail = triples.unbind(1)
        source = torch.cat([head, tail])
        kind = torch.cat([relation, relation + self.num_relations])
        target = torch.cat([tail, head])
        left_out = (source * edge_relations + kind) * num_rows + target
        keys = (self.edge_index[0] * edge_relations + self.edge_type) * num_rows + self.edge_index[
            1
        ]
        keep = ~torch.isin(keys, left_out)
        return self._replace(edge_index=self.edge_index[:, keep], edge_type=self.edge_type[keep])

    def facts(self) -> Tensor:
        """The facts that the edges state, without their inverses: [M, 3] row ids."""
        is_fact = self.edge_type < self.num_relations
        head, tail = self.edge_index[:, is_fact]
        return torch.stack([head, self.edge_type[is_fact], tail], dim=1)

    def thinned(self, share: float, generator: torch.Generator) -> tuple["GraphTensors", Tensor]:
        """The graph less a random share of its facts, and these facts, in random order ([F, 3]).

        Args:
            share: In [0, 1], of the facts; rounded to whole ones. Repeats of a fact go with it.
            generator: On the device of the graph.
        """
        facts = self.facts()
        order = torch.randperm(len(facts), generator=generator, device=facts.device)
        hidden = facts[order[: round(share * len(facts))]]
        return self.without(hidden), hidden


@dataclass(frozen=True, eq=False)
class KnowledgeGraph:
    """An immutable knowledge graph. ``triples`` are the truth; ``data`` is a view.

    Stored triples and counts hold real relations only; inverses exist in ``tensors()`` alone.
    Self-loops and repeated triples are kept as given (``deduplicated()`` drops repeats).

    Attributes:
        entities: Entity names (unique keys), N of them.
        relations: Relation names, R of them.
        triples: [M, 3] int64 (head, relation, tail).
        name: What to call the graph in messages and reports.
        labels: One label to show per entity, N of them, not necessarily unique; ``None``: names.
        entity_types: Names of the entity types; ``None`` when entities have no types.
        entity_type: [N] int64, an index into ``entity_types`` per entity; ``None`` likewise.

    Raises:
        ValueError: If triples are not [M, 3] int64, an id is out of range, or sizes disagree.

    Example:
        >>> graph = KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")])
        >>> graph.num_entities, graph.data["entity", "capital_of", "entity"].edge_index.tolist()
        (2, [[0], [1]])
    """

    entities: Vocabulary
    relations: Vocabulary
    triples: Tensor
    name: str = ""
    labels: tuple[str, ...] | None = None
    entity_types: Vocabulary | None = None
    entity_type: Tensor | None = None

    def __post_init__(self) -> None:
        triples, size = self.triples, self.num_entities
        if triples.dim() != 2 or triples.shape[1] != 3 or triples.dtype != torch.long:
            got = f"{triples.dtype} {tuple(triples.shape)}"
            raise ValueError(f"triples must be int64 of shape [M, 3] (got {got})")
        check_ids("head", triples[:, 0], size)
        check_ids("relation", triples[:, 1], self.num_relations)
        check_ids("tail", triples[:, 2], size)
        if self.labels is not None and len(self.labels) != size:
            raise ValueError(f"one label per entity is needed (got {len(self.labels)} for {size})")
        if (self.entity_types is None) != (self.entity_type is None):
            raise ValueError("entity_types and entity_type go together (got one of them)")
        if self.entity_types is not None and self.entity_type is not None:
            kinds = self.entity_type
            if kinds.shape != (size,) or kinds.dtype != torch.long:
                got = f"{kinds.dtype} {tuple(kinds.shape)}"
                raise ValueError(f"entity_type must be int64 of shape [{size}] (got {got})")
            check_ids("entity type", kinds, len(self.entity_types))

    @classmethod
    def from_names(
        cls,
        triples: Iterable[tuple[str, str, str]],
        *,
        entities: Iterable[str] | None = None,
        relations: Iterable[str] | None = None,
        name: str = "",
        types: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
    ) -> "KnowledgeGraph":
        """A graph from (head, relation, tail) names.

        Args:
            triples: Named triples.
            entities: Entity names in id order, isolated ones too; default: by first occurrence.
            relations: Relation names in id order; default: by first occurrence.
            name: What to call the graph.
            types: Entity name -> type name, for every entity, or ``None``.
            labels: Entity name -> label to show; entities left out show their name.

        Raises:
            ValueError: If a triple names an entity or relation that a given list lacks, or an
                entity has no type.
        """
        named = list(triples)
        if entities is None:
            entities = dict.fromkeys(end for head, _, tail in named for end in (head, tail))
        if relations is None:
            relations = dict.fromkeys(relation for _, relation, _ in named)
        entity_names = Vocabulary(entities, kind="entity")
        relation_names = Vocabulary(relations, kind="relation")
        ids = torch.stack(
            [
                entity_names.ids([head for head, _, _ in named]),
                relation_names.ids([relation for _, relation, _ in named]),
                entity_names.ids([tail for _, _, tail in named]),
            ],
            dim=1,
        )
        entity_types = entity_type = None
        if types is not None:
            untyped = [entity for entity in entity_names if entity not in types]
            if untyped:
                raise ValueError(f"every entity needs a type (got none for {untyped[:3]})")
            entity_types = Vocabulary(
                dict.fromkeys(types[e] for e in entity_names), kind="entity type"
            )
            entity_type = entity_types.ids([types[e] for e in entity_names])
        shown = None if labels is None else tuple(labels.get(e, e) for e in entity_names)
        return cls(entity_names, relation_names, ids, name, shown, entity_types, entity_type)

    @property
    def num_entities(self) -> int:
        """N, isolated entities included."""
        return len(self.entities)

    @property
    def num_relations(self) -> int:
        """R, real relations only."""
        return len(self.relations)

    @property
    def num_triples(self) -> int:
        """M."""
        return len(self.triples)

    def __repr__(self) -> str:
        title = f"{self.name!r}: " if self.name else ""
        return (
            f"KnowledgeGraph({title}{self.num_entities:,} entities, "
            f"{self.num_relations:,} relations, {self.num_triples:,} triples)"
        )

    def label(self, entity: int) -> str:
        """What to show for an entity id: its label, else its name."""
        return self.entities.name(entity) if self.labels is None else self.labels[entity]

    def named_triples(self) -> list[tuple[str, str, str]]:
        """The triples as names, in order."""
        entity, relation = self.entities.names, self.relations.names
        return [(entity[h], relation[r], entity[t]) for h, r, t in self.triples.tolist()]

    def degrees(self) -> Tensor:
        """How many triple ends touch each entity: int64, shape [N]; a self-loop counts twice."""
        return segment_counts(self.triples[:, [0, 2]].reshape(-1), self.num_entities)

    def tensors(self, device: torch.device | str | None = None) -> GraphTensors:
        """What an encoder reads. The only place where inverse relations are made (r + R)."""
        head, relation, tail = self.triples.unbind(1)
        edge_index = torch.stack([torch.cat([head, tail]), torch.cat([tail, head])])
        edge_type = torch.cat([relation, relation + self.num_relations])
        entity = torch.arange(self.num_entities)
        return GraphTensors(entity, edge_index, edge_type, self.num_relations).to(device)

    def with_triples(self, triples: Tensor, *, name: str | None = None) -> "KnowledgeGraph":
        """The same vocabularies with other triples ([M, 3] ids)."""
        return replace(self, triples=triples, name=self.name if name is None else name)

    def deduplicated(self) -> "KnowledgeGraph":
        """The graph with each triple once, in order of first occurrence."""
        _, inverse = torch.unique(self.triples, dim=0, return_inverse=True)
        size = int(inverse.max()) + 1 if len(inverse) else 0
        first = torch.full((size,), len(inverse)).scatter_reduce(
            0, inverse, torch.arange(len(inverse)), reduce="amin"
        )
        return self.with_triples(self.triples[first.sort().values])

    def fingerprint(self) -> str:
        """The sha256 of vocabularies and triples (hexadecimal): cache key and provenance."""
        digest = hashlib.sha256()
        digest.update(self.entities.fingerprint().encode())
        digest.update(self.relations.fingerprint().encode())
        digest.update(self.triples.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def data(self) -> HeteroData:
        """A PyG view: node types are entity types, edge types (head type, relation, tail type).

        Node stores carry ``num_nodes``, ``name`` (list), ``label`` (list) and ``entity`` ([n]
        global ids); edge stores ``edge_index`` ([2, m] ids local to the types) and ``triple`` ([m]
        rows of ``triples``). The relation names in id order are in ``data.relations``.
        ``from_data`` gives the same graph back.

        Raises:
            ValueError: If an entity type has the name of one of the three attributes of ``data``.
        """
        data = HeteroData()
        data.graph_name = self.name
        data.relations = list(self.relations)
        data.is_typed = self.entity_types is not None
        type_names: Sequence[str] = (
            [UNTYPED] if self.entity_types is None else list(self.entity_types)
        )
        taken = [name for name in type_names if name in _GRAPH_ATTRIBUTES]
        if taken:
            raise ValueError(
                f"in HeteroData no entity type can be called {', '.join(_GRAPH_ATTRIBUTES)} "
                f"(got {taken[0]!r})"
            )
        of_type = self.entity_type
        if of_type is None:
            of_type = torch.zeros(self.num_entities, dtype=torch.long)
        local = torch.empty_like(of_type)
        for index, type_name in enumerate(type_names):
            members = (of_type == index).nonzero().view(-1)
            local[members] = torch.arange(len(members))
            store = data[type_name]
            store.num_nodes = len(members)
            store.entity = members
            store.name = [self.entities.name(i) for i in members.tolist()]
            if self.labels is not None:
                store.label = [self.labels[i] for i in members.tolist()]
        head, relation, tail = self.triples.unbind(1)
        kinds = torch.stack([of_type[head], relation, of_type[tail]], dim=1)
        unique, kind = torch.unique(kinds, dim=0, return_inverse=True)
        order = torch.argsort(kind, stable=True)
        for (h, r, t), rows in zip(
            unique.tolist(), order.split(segment_counts(kind, len(unique)).tolist()), strict=True
        ):
            store = data[type_names[h], self.relations.name(r), type_names[t]]
            store.edge_index = torch.stack([local[head[rows]], local[tail[rows]]])
            store.triple = rows
        return data

    @classmethod
    def from_data(cls, data: HeteroData, *, name: str | None = None) -> "KnowledgeGraph":
        """A graph from ``HeteroData``: ours (lossless) or any other.

        Of other data, nodes are named by ``name`` where their store has it, else ``type:index``
        (``index`` for a single type); edge types that share a relation name share the relation.

        Args:
            data: Nodes and edges; features are not read.
            name: What to call the graph; default: the name it had.

        Raises:
            ValueError: If an edge is out of range, or a store has not one name or label per node.
        """
        own = data.to_dict()["_global_store"]  # "relations" in data is true of node stores, too
        is_ours = own.keys() >= set(_GRAPH_ATTRIBUTES)
        stores = dict(data.node_items())
        kinds = list(stores)
        sizes = [num_nodes(store) for store in stores.values()]
        first = {kind: sum(sizes[:i]) for i, kind in enumerate(kinds)}
        ids = torch.arange(sum(sizes))
        if is_ours and kinds:  # entities left out of a part of ours leave no gaps
            back = torch.argsort(torch.cat([s.entity for s in stores.values()]), stable=True)
            ids[back] = torch.arange(len(back))
        else:
            back = ids
        prefix = [f"{kind}:" if len(kinds) > 1 else "" for kind in kinds]
        default = [[f"{p}{i}" for i in range(n)] for p, n in zip(prefix, sizes, strict=True)]
        names = node_strings(stores, "name", default)
        labels = node_strings(stores, "label", names)
        has_labels = any("label" in store for store in stores.values())
        relations = dict.fromkeys(
            [*(own["relations"] if is_ours else ()), *(r for _, r, _ in data.edge_types)]
        )
        vocabulary = Vocabulary(relations, kind="relation")
        rows, order = stored_edges(data, first, dict(zip(kinds, sizes, strict=True)), vocabulary)
        triples = torch.stack([ids[rows[:, 0]], rows[:, 1], ids[rows[:, 2]]], dim=1)
        flat_names = [n for part in names for n in part]
        flat_labels = [n for part in labels for n in part]
        is_typed = bool(own["is_typed"]) if is_ours else len(kinds) > 1
        kind_of = torch.arange(len(kinds)).repeat_interleave(torch.tensor(sizes, dtype=torch.long))
        return cls(
            entities=Vocabulary((flat_names[i] for i in back.tolist()), kind="entity"),
            relations=vocabulary,
            triples=triples[torch.argsort(order, stable=True)] if is_ours else triples,
            name=(str(own["graph_name"]) if is_ours else "") if name is None else name,
            labels=tuple(flat_labels[i] for i in back.tolist()) if has_labels else None,
            entity_types=Vocabulary(kinds, kind="entity type") if is_typed else None,
            entity_type=kind_of[back] if is_typed else None,
        )
