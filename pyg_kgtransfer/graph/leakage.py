"""Facts given away: by inverse, duplicate and symmetric relations, or by a linked source."""

import logging
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array
from torch import Tensor

from pyg_kgtransfer.functional.segments import sorted_join
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.graph.splits import HeldOut, Split

logger = logging.getLogger(__name__)


class RelationOverlap(NamedTuple):
    """Two relations that say the same of many entity pairs.

    Attributes:
        relation: Id of one relation.
        other: Id of the other, at least ``relation``; the same for a symmetric relation.
        shared: Entity pairs that both have (read backwards in ``other`` if inverse or symmetric).
        share: ``shared`` over the pairs of ``relation``, in [0, 1].
        share_other: ``shared`` over the pairs of ``other``, in [0, 1].
    """

    relation: int
    other: int
    shared: int
    share: float
    share_other: float


@dataclass(frozen=True)
class RelationPatterns:
    """The relations of a graph that give each other away, strongest first.

    Attributes:
        duplicate: Pairs of relations with the same (head, tail).
        inverse: Pairs of relations with (head, tail) exchanged.
        symmetric: Relations that are their own inverse.
    """

    duplicate: tuple[RelationOverlap, ...]
    inverse: tuple[RelationOverlap, ...]
    symmetric: tuple[RelationOverlap, ...]


@dataclass(frozen=True, eq=False)
class LeakageReport:
    """Which held-out facts a training fact answers.

    Attributes:
        patterns: Found in all facts of the split.
        repeated: [T] bool per held-out fact: it is itself a training fact.
        symmetric: [T] bool: its mirror is one, and the relation is symmetric.
        inverse: [T] bool: so is the same pair backwards in an inverse relation.
        duplicate: [T] bool: so is the same pair in a duplicate relation.
        linked: [T] bool: training links its entities by any relation, in either direction.
    """

    patterns: RelationPatterns
    repeated: Tensor
    symmetric: Tensor
    inverse: Tensor
    duplicate: Tensor
    linked: Tensor

    @property
    def answered(self) -> Tensor:
        """[T] bool: given away in any of the first four ways."""
        return self.repeated | self.symmetric | self.inverse | self.duplicate

    def counts(self) -> dict[str, int]:
        """How many held-out facts are concerned, by way; ``facts`` is T."""
        ways = ("repeated", "symmetric", "inverse", "duplicate", "answered", "linked")
        return {"facts": len(self.linked)} | {way: int(getattr(self, way).sum()) for way in ways}


def relation_patterns(
    triples: Tensor, num_entities: int, num_relations: int, *, threshold: float = 0.8
) -> RelationPatterns:
    """Relations that give each other away: their pairs overlap by the threshold, both ways.

    Self-loops are left out (each is its own mirror), repeats count once.

    Args:
        triples: [M, 3] int64.
        num_entities: N.
        num_relations: R.
        threshold: Least overlap share, in (0, 1].

    Raises:
        ValueError: If the threshold is out of range.

    Source: Akrami, Saeef, Zhang, Hu, Li: Realistic Re-evaluation of Knowledge Graph Completion
    Methods, SIGMOD 2020, arXiv 2003.08001, section 4 (thresholds .8); symmetric relations are
    measured by the same share.

    Example:
        >>> both = torch.tensor([[0, 0, 1], [1, 1, 0], [2, 0, 3], [3, 1, 2]])
        >>> relation_patterns(both, 4, 2).inverse[0]
        RelationOverlap(relation=0, other=1, shared=2, share=1.0, share_other=1.0)
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"the overlap threshold must be in (0, 1] (got {threshold})")
    head, relation, tail = torch.unique(triples[triples[:, 0] != triples[:, 2]], dim=0).unbind(1)
    keys = torch.cat([head * num_entities + tail, tail * num_entities + head])
    distinct, pair = torch.unique(keys, return_inverse=True)  # the rows of two [pairs, R] matrices
    forward, backward = (
        csr_array(
            (np.ones(len(relation), dtype=np.int64), (rows.numpy(), relation.numpy())),
            shape=(len(distinct), num_relations),
        )
        for rows in (pair[: len(relation)], pair[len(relation) :])
    )
    sizes = np.bincount(relation.numpy(), minlength=num_relations)
    duplicate = _overlaps((forward.T @ forward).tocoo(), sizes, threshold)
    inverse = _overlaps((forward.T @ backward).tocoo(), sizes, threshold)
    return RelationPatterns(
        duplicate=tuple(found for found in duplicate if found.relation < found.other),
        inverse=tuple(found for found in inverse if found.relation < found.other),
        symmetric=tuple(found for found in inverse if found.relation == found.other),
    )


def leakage_report(
    split: Split, *, role: str = "test", threshold: float = 0.8, strict: bool = False
) -> LeakageReport:
    """Which held-out facts are answered by a training fact through a relation pattern.

    Patterns are looked for in all facts of the split, since a split thins them out. The relations
    that the split declares symmetric count as such. A large ``linked`` count is no fault by
    itself, but a model may learn to read one relation off another: see ``random_split``.

    Args:
        split: What to look at.
        role: ``"test"`` or ``"valid"``.
        threshold: Least overlap share of two relations, in (0, 1].
        strict: Raise if a fact is answered.

    Raises:
        ValueError: If strict and facts are answered, or the role or threshold is unknown.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [("Greece", "borders", "Bulgaria"), ("Bulgaria", "borders", "Greece")]
        >>> graph = kgt.KnowledgeGraph.from_names(facts)
        >>> train = graph.with_triples(graph.triples[:1])
        >>> test = kgt.HeldOut(graph.triples[1:], "test")  # the mirror of what training has
        >>> split = kgt.Split(train, kgt.HeldOut(graph.triples[:0], "valid"), test)
        >>> kgt.leakage_report(split).counts()["symmetric"]
        1
    """
    parts: dict[str, HeldOut] = {"test": split.test, "valid": split.valid}
    if role not in parts:
        raise ValueError(f"role must be 'test' or 'valid' (got {role!r})")
    train, facts = split.train, parts[role].triples
    num_entities, num_relations = train.num_entities, train.num_relations
    everything = torch.cat([train.triples, split.valid.triples, split.test.triples])
    patterns = relation_patterns(everything, num_entities, num_relations, threshold=threshold)
    known = KnownTriples([train.triples], num_entities=num_entities, num_relations=num_relations)
    own_inverse = {(found.relation, found.other) for found in patterns.symmetric}
    own_inverse |= {(relation, relation) for relation in split.symmetric}
    mirrored = facts[:, [2, 1, 0]]
    report = LeakageReport(
        patterns,
        repeated=known.contains(facts),
        symmetric=_known_through(known, mirrored, own_inverse) & (facts[:, 0] != facts[:, 2]),
        inverse=_known_through(known, mirrored, {found[:2] for found in patterns.inverse}),
        duplicate=_known_through(known, facts, {found[:2] for found in patterns.duplicate}),
        linked=linked_pairs(train, facts[:, [0, 2]]),
    )
    if strict and bool(report.answered.any()):
        first = int(report.answered.nonzero()[0])
        head, relation, tail = train.with_triples(facts[[first]]).named_triples()[0]
        ways = {way: count for way, count in report.counts().items() if count}
        raise ValueError(
            f"no {role} fact may be answered by a training fact (got {ways}, the first one "
            f"{head!r} {relation!r} {tail!r}): random_split(group_pairs=True) keeps the facts on "
            "one pair of entities together"
        )
    return report


def _known_through(known: KnownTriples, facts: Tensor, relations: set[tuple[int, int]]) -> Tensor:
    """Whether each fact is known with its relation exchanged for a partner: bool [T]."""
    answered = torch.zeros(len(facts), dtype=torch.bool)
    partners = sorted(relations | {(other, relation) for relation, other in relations})
    table = torch.tensor(partners, dtype=torch.long).view(-1, 2)  # [Q, 2] sorted by the first
    row, position = sorted_join(table[:, 0].contiguous(), facts[:, 1].contiguous())
    head, tail = facts[row, 0], facts[row, 2]
    found = known.contains(torch.stack([head, table[position, 1], tail], dim=1))
    answered[row[found]] = True
    return answered


def _overlaps(
    counts: coo_array, sizes: "np.ndarray[tuple[int], np.dtype[np.int64]]", threshold: float
) -> list[RelationOverlap]:
    """The entries of a relation-by-relation table of shared pairs that reach the threshold."""
    relation, other = counts.row, counts.col
    share, share_other = counts.data / sizes[relation], counts.data / sizes[other]
    strong = (np.minimum(share, share_other) >= threshold) & (relation <= other)
    columns = (relation, other, counts.data, share, share_other)
    found = [
        RelationOverlap(*row)
        for row in zip(*(column[strong].tolist() for column in columns), strict=True)
    ]
    return sorted(found, key=lambda o: (-min(o.share, o.share_other), o.relation, o.other))


def pair_keys(pairs: Tensor, num_entities: int) -> Tensor:
    """One integer per unordered pair ([P, 2] ids), so that (a, b) and (b, a) are equal: [P]."""
    low, high = pairs.aminmax(dim=1)
    return low * num_entities + high


def on_pairs(ends: Tensor, pairs: Tensor, num_entities: int) -> Tensor:
    """Whether each row of ``ends`` ([M, 2]) is one of ``pairs`` ([P, 2]), unordered: bool [M]."""
    return torch.isin(pair_keys(ends, num_entities), pair_keys(pairs, num_entities))


def linked_pairs(graph: KnowledgeGraph, pairs: Tensor) -> Tensor:
    """Whether any relation of ``graph`` links each pair ([P, 2] ids), either way: bool [P]."""
    return on_pairs(pairs, graph.triples[:, [0, 2]], graph.num_entities)


def counterpart_pairs(triples: Tensor, entity_map: Tensor) -> tuple[Tensor, Tensor]:
    """The entity pairs of triples, carried over to another graph.

    Args:
        triples: [T, 3] int64.
        entity_map: [N] the counterpart of each entity or -1; or, where an entity may have several
            counterparts, [P, 2] pairs (entity, counterpart).

    Returns:
        ``row`` [Q], the triple, ascending, and ``pair`` [Q, 2], counterparts of its head and its
        tail. Triples with an end that has no counterpart are not among them.

    Raises:
        ValueError: If a triple's entity is not in the map's range.
    """
    if entity_map.dim() == 1:
        highest = int(triples[:, [0, 2]].max()) if len(triples) else -1
        if highest >= len(entity_map):
            raise ValueError(
                f"entity_map must have an entry for every entity of the triples "
                f"(got {len(entity_map)} entries and entity {highest})"
            )
        pair = entity_map[triples[:, [0, 2]]]
        row = (pair >= 0).all(1).nonzero().view(-1)
        return row, pair[row]
    entity, counterpart = entity_map[torch.argsort(entity_map[:, 0], stable=True)].unbind(1)
    entity = entity.contiguous()
    row, head = sorted_join(entity, triples[:, 0].contiguous())
    inner, tail = sorted_join(entity, triples[row, 2])
    return row[inner], torch.stack([counterpart[head[inner]], counterpart[tail]], dim=1)


def copyable(triples: Tensor, source_graph: KnowledgeGraph, entity_map: Tensor) -> Tensor:
    """Which facts of a target could be copied: the source links their counterparts already.

    Any relation counts, in either direction.

    Args:
        triples: [T, 3] facts of the target.
        source_graph: The graph that may give them away.
        entity_map: [N_target] source id or -1, or [P, 2] pairs (target id, source id).

    Returns:
        bool, shape [T].

    Raises:
        ValueError: If ids are out of range.

    Example:
        >>> source = KnowledgeGraph.from_names([("b", "r", "a")])
        >>> facts, entity_map = torch.tensor([[0, 0, 1], [1, 0, 2]]), torch.tensor([1, 0, -1])
        >>> copyable(facts, source, entity_map).tolist()
        [True, False]
    """
    row, pair = counterpart_pairs(triples, _in_range(entity_map, source_graph))
    answer = torch.zeros(len(triples), dtype=torch.bool)
    answer[row[linked_pairs(source_graph, pair)]] = True
    return answer


def without_pairs(
    source_graph: KnowledgeGraph, held_out_triples: Tensor, entity_map: Tensor
) -> KnowledgeGraph:
    """Strict mode: the source less every triple between counterparts of a held-out pair.

    Works on unordered pairs, not on relations: a source often has several facts on one pair.
    With alignments among several sources use ``LinkedKG.without_pairs``, which follows chains.

    Args:
        source_graph: The graph to clean; vocabularies stay.
        held_out_triples: [T, 3] valid and test facts of the target.
        entity_map: [N_target] source id or -1, or [P, 2] pairs (target id, source id).

    Raises:
        ValueError: If ids are out of range.
    """
    _, pair = counterpart_pairs(held_out_triples, _in_range(entity_map, source_graph))
    triples = source_graph.triples
    removed = on_pairs(triples[:, [0, 2]], pair, source_graph.num_entities)
    logger.info(
        "%d of %d triples of %r lie on held-out pairs and are left out",
        int(removed.sum()), len(triples), source_graph.name,
    )  # fmt: skip
    return source_graph.with_triples(triples[~removed])


def _in_range(entity_map: Tensor, source_graph: KnowledgeGraph) -> Tensor:
    """The map, if it leads into the graph."""
    counterparts = entity_map if entity_map.dim() == 1 else entity_map[:, 1]
    if len(counterparts) and int(counterparts.max()) >= source_graph.num_entities:
        raise ValueError(
            f"entity_map must lead to ids below {source_graph.num_entities}, the entities of "
            f"{source_graph.name!r} (got {int(counterparts.max())})"
        )
    return entity_map
