"""Rules that facts follow: symmetry, inverses, compositions, and the facts that they propose."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph


@dataclass(frozen=True)
class Rule:
    """body(x, y) => head(x, y).

    Attributes:
        body: Names of one relation, or of two that are walked one after the other; ``"^"`` before
            a name: against its direction.
        head: Of a relation.
        support: Pairs of which both sides are stated.
        confidence: Support / pairs of the body, in (0, 1].
        pca_confidence: Support / pairs of the body whose x has the head relation to something: what
            the graph does not state of x at all is not held against the rule.

    Example:
        >>> str(Rule(("born_in", "in"), "citizen_of", 8, 0.5, 0.8))
        'born_in(x, z) and in(z, y) => citizen_of(x, y)  [8, 0.50, 0.80]'
    """

    body: tuple[str, ...]
    head: str
    support: int
    confidence: float
    pca_confidence: float

    @property
    def kind(self) -> str:
        """``"symmetry"``, ``"inverse"``, ``"implication"`` or ``"composition"``."""
        if len(self.body) == 2:
            return "composition"
        if self.body[0] == f"^{self.head}":
            return "symmetry"
        return "inverse" if self.body[0].startswith("^") else "implication"

    @property
    def formula(self) -> str:
        """The rule without its numbers."""
        ends = ("x", "y") if len(self.body) == 1 else ("x", "z", "y")
        atoms = [
            f"{name[1:]}({b}, {a})" if name.startswith("^") else f"{name}({a}, {b})"
            for name, a, b in zip(self.body, ends[:-1], ends[1:], strict=True)
        ]
        return f"{' and '.join(atoms)} => {self.head}(x, y)"

    def __str__(self) -> str:
        numbers = f"[{self.support:,}, {self.confidence:.2f}, {self.pca_confidence:.2f}]"
        return f"{self.formula}  {numbers}"


class Proposals(NamedTuple):
    """Facts that rules propose and the graph does not state.

    Attributes:
        triples: [P, 3] int64, each once.
        weight: [P] float32, the highest confidence under partial completeness of a rule that
            proposes it, in (0, 1].
    """

    triples: Tensor
    weight: Tensor


def mine_rules(
    graph: KnowledgeGraph,
    *,
    min_support: int = 10,
    min_confidence: float = 0.5,
    max_pairs: int = 1_000_000,
) -> list[Rule]:
    r"""Rules of one and of two atoms, the surest first.

    Args:
        graph: Its training facts alone; held-out ones would leak.
        min_support: At least 1.
        min_confidence: Under partial completeness, in [0, 1].
        max_pairs: Compositions whose body may have more pairs than this (hubs in the middle) are
            passed over.

    Raises:
        ValueError: If a number is out of range.

    Source: Galarraga et al. 2013, "AMIE: Association Rule Mining under Incomplete Evidence",
    section 3, for the confidence under partial completeness.

    Example:
        >>> facts = [(f"{a}", "next", f"{a + 1}") for a in range(12)]
        >>> facts += [(b, "before", a) for a, _, b in facts]
        >>> graph = KnowledgeGraph.from_names(facts)
        >>> print(*mine_rules(graph), sep="\n")
        before(y, x) => next(x, y)  [12, 1.00, 1.00]
        next(y, x) => before(x, y)  [12, 1.00, 1.00]
    """
    if min_support < 1:
        raise ValueError(f"min_support must be at least 1 (got {min_support})")
    if not 0 <= min_confidence <= 1:
        raise ValueError(f"min_confidence must be in [0, 1] (got {min_confidence})")
    heads = _relations(graph)
    steps = _steps(heads)
    names = graph.relations.names
    known = [np.diff(head.indptr) > 0 for head in heads]  # entities with the relation to something
    stated = _Stated(heads)
    found: list[Rule] = []
    for body, pairs in _bodies(steps, max_pairs):
        if pairs.nnz < min_support:
            continue
        per_row = np.diff(pairs.indptr)
        supports = stated.relations_of(pairs)
        for number in np.flatnonzero(supports >= min_support).tolist():
            if body == (number,):
                continue
            support = int(supports[number])
            sure = support / int(per_row[known[number]].sum())
            if sure >= min_confidence:
                told = tuple(_name(names, step) for step in body)
                found.append(Rule(told, names[number], support, support / pairs.nnz, sure))
    return sorted(found, key=lambda rule: (-rule.pca_confidence, -rule.support, str(rule)))


def propose_facts(graph: KnowledgeGraph, rules: Sequence[Rule]) -> Proposals:
    """What follows from the rules and is not stated.

    Args:
        graph: The facts.
        rules: Of this graph's relations.

    Raises:
        ValueError: If a rule names another relation (the nearest is offered).

    Example:
        >>> facts = [("Athens", "twinned", "Rome"), ("Sofia", "near", "Athens")]
        >>> graph = KnowledgeGraph.from_names(facts)
        >>> found = propose_facts(graph, [Rule(("^twinned",), "twinned", 9, 0.9, 0.9)])
        >>> graph.with_triples(found.triples).named_triples()
        [('Rome', 'twinned', 'Athens')]
    """
    best: dict[int, csr_array] = {}
    for rule, number, new in _consequences(graph, rules):
        weighted = new.astype(np.float32) * rule.pca_confidence
        best[number] = weighted if number not in best else best[number].maximum(weighted)
    triples, weights = [np.empty((0, 3), np.int64)], [np.empty(0, np.float32)]
    for number, table in sorted(best.items()):
        new = table.tocoo()
        columns = new.row, np.full(new.nnz, number), new.col
        triples.append(np.stack(columns, axis=1).astype(np.int64))
        weights.append(new.data.astype(np.float32))
    return Proposals(
        torch.from_numpy(np.concatenate(triples)), torch.from_numpy(np.concatenate(weights))
    )


def proposal_counts(graph: KnowledgeGraph, rules: Sequence[Rule]) -> list[int]:
    """How many facts each rule proposes that are not stated; several rules may propose one.

    Args:
        graph: The facts.
        rules: Of this graph's relations.

    Raises:
        ValueError: If a rule names another relation (the nearest is offered).

    Example:
        >>> facts = [("Athens", "twinned", "Rome"), ("Sofia", "near", "Athens")]
        >>> graph = KnowledgeGraph.from_names(facts)
        >>> proposal_counts(graph, [Rule(("^twinned",), "twinned", 9, 0.9, 0.9)])
        [1]
    """
    return [int(new.nnz) for _, _, new in _consequences(graph, rules)]


def _consequences(
    graph: KnowledgeGraph, rules: Sequence[Rule]
) -> Iterator[tuple[Rule, int, csr_array]]:
    """Each rule, its head's id, and ones at the pairs ([N, N]) that it proposes."""
    heads = _relations(graph)
    steps = _steps(heads)
    for rule in rules:
        number = int(graph.relations.id(rule.head))
        pairs = _walk(steps, tuple(_step(graph, name) for name in rule.body))
        new = pairs - pairs.multiply(heads[number])
        new.eliminate_zeros()
        yield rule, number, new


def _relations(graph: KnowledgeGraph) -> list[csr_array]:
    """[N, N] of each relation, ones where it is stated."""
    head, relation, tail = graph.deduplicated().triples.numpy().T
    shape = (graph.num_entities, graph.num_entities)
    return [
        csr_array((np.ones(int(own.sum()), np.int64), (head[own], tail[own])), shape=shape)
        for own in (relation == number for number in range(graph.num_relations))
    ]


def _steps(heads: Sequence[csr_array]) -> list[csr_array]:
    """Each relation along its direction, then each against it."""
    return [*heads, *(csr_array(head.T) for head in heads)]


def _bodies(
    steps: Sequence[csr_array], max_pairs: int
) -> Iterator[tuple[tuple[int, ...], csr_array]]:
    """Single steps, and two one after the other, with the pairs that they connect."""
    for number, step in enumerate(steps):
        yield (number,), step
    into = [np.bincount(step.indices, minlength=step.shape[1]) for step in steps]
    out_of = [np.diff(step.indptr) for step in steps]
    for first in range(len(steps)):
        for second in range(len(steps)):
            walks = int(into[first] @ out_of[second])
            if walks and walks <= max_pairs:
                body = (first, second)
                yield body, _walk(steps, body)


def _walk(steps: Sequence[csr_array], body: tuple[int, ...]) -> csr_array:
    """Ones where x is connected to y; where it is there and back again, to another y than x."""
    pairs = steps[body[0]].copy()
    for step in body[1:]:
        pairs = csr_array(pairs @ steps[step])
    pairs.data[:] = 1
    if len(body) == 2 and abs(body[0] - body[1]) == len(steps) // 2:
        pairs.setdiag(0)
        pairs.eliminate_zeros()
    return pairs


class _Stated:
    """Which relations the facts state of pairs, looked up in one sorted table."""

    def __init__(self, heads: Sequence[csr_array]) -> None:
        tables = [head.tocoo() for head in heads]
        keys = [table.row.astype(np.int64) * table.shape[1] + table.col for table in tables]
        relations = [np.full(len(key), number) for number, key in enumerate(keys)]
        self.number = len(heads)
        key = np.concatenate([np.empty(0, np.int64), *keys])
        order = np.argsort(key, kind="stable")
        self.key = key[order]
        self.relation = np.concatenate([np.empty(0, np.int64), *relations])[order]

    def relations_of(self, pairs: csr_array) -> np.ndarray:
        """How many of the pairs each relation has: [R]."""
        table = pairs.tocoo()
        key = table.row.astype(np.int64) * table.shape[1] + table.col
        low, high = (np.searchsorted(self.key, key, side=side) for side in ("left", "right"))
        several = high - low
        ends = np.cumsum(several)
        places = np.arange(several.sum()) + np.repeat(low - (ends - several), several)
        return np.bincount(self.relation[places], minlength=self.number)


def _name(names: Sequence[str], step: int) -> str:
    return names[step] if step < len(names) else f"^{names[step - len(names)]}"


def _step(graph: KnowledgeGraph, name: str) -> int:
    if name.startswith("^"):
        return int(graph.relations.id(name[1:])) + len(graph.relations)
    return int(graph.relations.id(name))
