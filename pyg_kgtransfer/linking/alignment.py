"""Which entities and relations of two graphs are the same: pairs with confidence."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.linking.merging import components, first_occurrences
from pyg_kgtransfer.linking.pair_files import PairRow, read_rows, write_rows


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of ids: one left thing may have several right ones and the reverse.

    Attributes:
        index: [P, 2] int64 left id, right id; each pair once.
        confidence: [P] in [0, 1], higher is surer.
        held_out: [P] bool: for evaluation only; ``link()`` never uses them.

    Raises:
        ValueError: If shapes or dtypes disagree, an id is negative, a confidence is not in [0, 1],
            or a pair occurs twice.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> index = torch.tensor([[0, 3], [0, 4], [2, 5]])  # 0 is 3 or, rather, 4; 2 is 5
        >>> kgt.Pairs.of(index, torch.tensor([0.8, 0.9, 1.0])).best_right(num_left=3).tolist()
        [4, -1, 5]
    """

    index: Tensor
    confidence: Tensor
    held_out: Tensor

    def __post_init__(self) -> None:
        index, size = self.index, len(self.index)
        if index.dim() != 2 or index.shape[1] != 2 or index.dtype != torch.long:
            raise ValueError(
                f"pairs must be int64 of shape [P, 2] (got {index.dtype} {tuple(index.shape)})"
            )
        if self.confidence.shape != (size,) or not self.confidence.is_floating_point():
            raise ValueError(
                f"one floating-point confidence per pair is needed, [{size}] "
                f"(got {self.confidence.dtype} {tuple(self.confidence.shape)})"
            )
        if self.held_out.shape != (size,) or self.held_out.dtype != torch.bool:
            raise ValueError(
                f"held_out must be bool of shape [{size}] "
                f"(got {self.held_out.dtype} {tuple(self.held_out.shape)})"
            )
        if not size:
            return
        if int(index.min()) < 0:
            raise ValueError(f"ids of pairs must be at least 0 (got {int(index.min())})")
        wrong = ~((self.confidence >= 0) & (self.confidence <= 1))
        if bool(wrong.any()):
            raise ValueError(f"confidences must be in [0, 1] (got {self.confidence[wrong][0]:g})")
        if len(torch.unique(index, dim=0)) != size:
            unique, count = torch.unique(index, dim=0, return_counts=True)
            twice = unique[count > 1][0].tolist()
            raise ValueError(f"each pair must occur once (got ids {twice} more than once)")

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def of(
        cls, index: Tensor, confidence: Tensor | None = None, held_out: Tensor | None = None
    ) -> "Pairs":
        """Pairs with confidence 1 and nothing held out, unless given."""
        size = len(index)
        return cls(
            index,
            torch.ones(size) if confidence is None else confidence,
            torch.zeros(size, dtype=torch.bool) if held_out is None else held_out,
        )

    @classmethod
    def empty(cls) -> "Pairs":
        """No pairs."""
        return cls.of(torch.empty(0, 2, dtype=torch.long))

    def subset(self, rows: Tensor) -> "Pairs":
        """The pairs at ``rows`` (a bool mask [P] or ids)."""
        return Pairs(self.index[rows], self.confidence[rows], self.held_out[rows])

    def usable(self) -> "Pairs":
        """The pairs that are not held out."""
        return self.subset(~self.held_out)

    def best_right(self, num_left: int) -> Tensor:
        """Per left id its most confident right id (ties: the first given), or -1: [num_left]."""
        order = torch.argsort(self.confidence, descending=True, stable=True)
        left, right = self.index[order].unbind(1)
        first = first_occurrences(left)
        return torch.full((num_left,), -1).scatter(0, left[first], right[first])


@dataclass(frozen=True, eq=False)
class Alignment:
    """What is the same in two graphs.

    One left entity may have several right ones and the reverse: ``link()`` in sharing mode then
    merges all of them ("one entity with two names").

    Attributes:
        left: Name of the left graph.
        right: Name of the right graph.
        entities: Pairs of entities.
        relations: Pairs of relations.

    Example:
        >>> left = KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")], name="left")
        >>> right = KnowledgeGraph.from_names([("GR", "capital", "Athina")], name="right")
        >>> Alignment.from_names(left, right, [("Greece", "GR")]).entity_map(2).tolist()
        [-1, 0]
    """

    left: str
    right: str
    entities: Pairs
    relations: Pairs

    def __repr__(self) -> str:
        held = int(self.entities.held_out.sum())
        return (
            f"Alignment({self.left!r} ~ {self.right!r}: {len(self.entities):,} entities "
            f"({held:,} held out), {len(self.relations):,} relations)"
        )

    @classmethod
    def from_names(
        cls,
        left_graph: KnowledgeGraph,
        right_graph: KnowledgeGraph,
        entity_pairs: Iterable[tuple[str, str]],
        relation_pairs: Iterable[tuple[str, str]] = (),
        *,
        confidence: Sequence[float] | None = None,
    ) -> "Alignment":
        """An alignment from names (left, right).

        Args:
            left_graph: Where the first names are known.
            right_graph: Where the second names are known.
            entity_pairs: Names of entities that are the same.
            relation_pairs: Names of relations that are the same; they have confidence 1.
            confidence: One per entity pair, in [0, 1]; default: 1.

        Raises:
            ValueError: If names are unknown (all counted, the first listed with their nearest known
                names), a pair occurs twice, or a confidence is missing or out of [0, 1].
        """
        graphs = (left_graph, right_graph)
        given = None if confidence is None else torch.tensor(list(confidence)).float()
        entities = Pairs.of(_ids(graphs, list(entity_pairs), "entity"), given)
        relations = Pairs.of(_ids(graphs, list(relation_pairs), "relation"))
        return cls(left_graph.name, right_graph.name, entities, relations)

    @classmethod
    def from_maps(
        cls, left: str, right: str, entity_map: Tensor, relation_map: Tensor
    ) -> "Alignment":
        """An alignment from maps: for each left id ([N] and [R] int64) the right id, or -1."""
        pairs: list[Pairs] = []
        for to in (entity_map, relation_map):
            own = (to >= 0).nonzero().view(-1)
            pairs.append(Pairs.of(torch.stack([own, to[own]], dim=1)))
        return cls(left, right, *pairs)

    def check(self, left_graph: KnowledgeGraph, right_graph: KnowledgeGraph) -> None:
        """That every id exists in the graphs.

        Raises:
            ValueError: If an id is out of range; names the graph.
        """
        for column, graph in ((0, left_graph), (1, right_graph)):
            for kind, pairs, size in (
                ("entities", self.entities, graph.num_entities),
                ("relations", self.relations, graph.num_relations),
            ):
                highest = int(pairs.index[:, column].max()) if len(pairs) else -1
                if highest >= size:
                    raise ValueError(
                        f"the alignment of {self.left!r} and {self.right!r} needs ids of {kind} "
                        f"in [0, {size}) for graph {graph.name!r} (got {highest})"
                    )

    def entity_map(self, num_left: int) -> Tensor:
        """For each left entity its most confident usable right entity, or -1: [num_left]."""
        return self.entities.usable().best_right(num_left)

    def relation_map(self, num_left: int) -> Tensor:
        """For each left relation its most confident usable right relation, or -1: [num_left]."""
        return self.relations.usable().best_right(num_left)

    def usable(self) -> "Alignment":
        """The alignment without its held-out pairs: for runs that do not evaluate on them."""
        return replace(self, entities=self.entities.usable(), relations=self.relations.usable())

    def reversed(self) -> "Alignment":
        """The same alignment with left and right exchanged."""
        entities, relations = (
            replace(pairs, index=pairs.index.flip(1)) for pairs in (self.entities, self.relations)
        )
        return Alignment(self.right, self.left, entities, relations)

    def split(self, share: float, *, seed: int = 0) -> "Alignment":
        """The alignment with a random ``share`` of its entity pairs held out (earlier marks go).

        Pairs that share an entity, directly or through others, go together: otherwise the usable
        ones would give the held-out ones away. With one-to-one pairs exactly
        ``round(share * P)`` are held out, else at most as many.

        Args:
            share: In [0, 1].
            seed: The draw.

        Raises:
            ValueError: If ``share`` is out of range.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"the share of pairs to hold out must be in [0, 1] (got {share})")
        index = self.entities.index
        num_left = int(index[:, 0].max()) + 1 if len(index) else 0
        num_right = int(index[:, 1].max()) + 1 if len(index) else 0
        both = index + torch.tensor([0, num_left])
        group = components(num_left + num_right, both)[both[:, 0]]  # [P]
        sizes = torch.bincount(group, minlength=1)
        order = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed))
        chosen = order[sizes[order].cumsum(0) <= round(share * len(index))]
        held_out = torch.isin(group, chosen)
        return replace(self, entities=replace(self.entities, held_out=held_out))

    def shuffled(
        self,
        left_graph: KnowledgeGraph,
        right_graph: KnowledgeGraph,
        generator: torch.Generator | None = None,
    ) -> "Alignment":
        """A control with wrong links: the right ids of the usable entity pairs permuted.

        The permutation is uniform within each kind of pair (left type, right type; untyped graphs
        count as one type), so a few pairs, 1 per kind on average, stay right. Held-out pairs and
        relation pairs stay. A pair that comes out twice (possible where an entity has several
        counterparts), or that is held out, is dropped.

        Args:
            left_graph: Gives the types of left entities.
            right_graph: Gives the types of right entities.
            generator: The draw; default: torch's.

        Raises:
            ValueError: If ids are out of range.
        """
        self.check(left_graph, right_graph)
        usable = self.entities.usable()
        left, right = usable.index.unbind(1)
        kind = torch.zeros_like(left)
        for graph, ids in ((left_graph, left), (right_graph, right)):
            if graph.entity_types is not None and graph.entity_type is not None:
                kind = kind * len(graph.entity_types) + graph.entity_type[ids]
        drawn = torch.randperm(len(left), generator=generator)
        taken = drawn[torch.argsort(kind[drawn], stable=True)]  # [P] rows, random within a kind
        permuted = torch.empty_like(right)
        permuted[torch.argsort(kind, stable=True)] = right[taken]
        held = self.entities.subset(self.entities.held_out)
        index = torch.cat([held.index, torch.stack([left, permuted], dim=1)])
        keep = first_occurrences(index[:, 0] * max(right_graph.num_entities, 1) + index[:, 1])
        pairs = Pairs(
            index[keep],
            torch.cat([held.confidence, usable.confidence])[keep],
            torch.cat([held.held_out, usable.held_out])[keep],
        )
        return replace(self, entities=pairs)

    def write(
        self, path: str | Path, left_graph: KnowledgeGraph, right_graph: KnowledgeGraph
    ) -> None:
        """Write a tab-separated UTF-8 file: kind, left, right, confidence, held_out.

        ``kind`` is ``entity`` or ``relation``. The file appears whole or not at all; see
        ``linking.pair_files`` for the escapes of tabs and line ends in names.

        Raises:
            ValueError: If ids are out of range.
        """
        self.check(left_graph, right_graph)
        rows: list[PairRow] = []
        for kind, pairs, left, right in (
            ("entity", self.entities, left_graph.entities, right_graph.entities),
            ("relation", self.relations, left_graph.relations, right_graph.relations),
        ):
            fields = (pairs.index.tolist(), pairs.confidence.tolist(), pairs.held_out.tolist())
            rows += [
                PairRow(kind, left.name(left_id), right.name(right_id), confidence, held_out)
                for (left_id, right_id), confidence, held_out in zip(*fields, strict=True)
            ]
        write_rows(Path(path), rows)

    @classmethod
    def read(
        cls, path: str | Path, left_graph: KnowledgeGraph, right_graph: KnowledgeGraph
    ) -> "Alignment":
        """Read what ``write`` wrote. Confidence (1) and held_out (0) may be left out.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If lines are wrong; the first ones are listed with file:line and reason.
        """
        names = {
            "entity": (left_graph.entities, right_graph.entities),
            "relation": (left_graph.relations, right_graph.relations),
        }
        rows = read_rows(Path(path), names)
        parts: dict[str, Pairs] = {}
        for kind, (left, right) in names.items():
            own = [row for row in rows if row.kind == kind]
            index = [left.ids([row.left for row in own]), right.ids([row.right for row in own])]
            parts[kind] = Pairs(
                torch.stack(index, dim=1),
                torch.tensor([row.confidence for row in own], dtype=torch.float32),
                torch.tensor([row.held_out for row in own], dtype=torch.bool),
            )
        return cls(left_graph.name, right_graph.name, parts["entity"], parts["relation"])


def _ids(
    graphs: tuple[KnowledgeGraph, KnowledgeGraph], named: list[tuple[str, str]], kind: str
) -> Tensor:
    """The ids [P, 2] of named pairs; unknown names and repeated pairs are errors."""
    columns: list[Tensor] = []
    for side, graph in enumerate(graphs):
        vocabulary: Vocabulary = graph.entities if kind == "entity" else graph.relations
        names = [pair[side] for pair in named]
        unknown = list(dict.fromkeys(name for name in names if name not in vocabulary))
        if unknown:
            listed = "; ".join(
                f"{name!r} (nearest: {', '.join(map(repr, vocabulary.nearest(name))) or 'none'})"
                for name in unknown[:5]
            )
            more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
            raise ValueError(
                f"every {kind} of a pair must be known in its graph (got {len(unknown)} unknown "
                f"in {graph.name!r}): {listed}{more}"
            )
        columns.append(vocabulary.ids(names))
    if len(set(named)) != len(named):
        twice = next(pair for pair, count in Counter(named).items() if count > 1)
        raise ValueError(f"each {kind} pair must occur once (got {twice} more than once)")
    return torch.stack(columns, dim=1)
