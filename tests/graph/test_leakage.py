import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.leakage import (
    copyable,
    counterpart_pairs,
    leakage_report,
    linked_pairs,
    relation_patterns,
    without_pairs,
)
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.graph.vocabulary import Vocabulary

N, R = 6, 4
triple_lists = st.lists(
    st.tuples(st.integers(0, N - 1), st.integers(0, R - 1), st.integers(0, N - 1)), max_size=25
)
entity_maps = st.lists(st.integers(-1, N - 1), min_size=N, max_size=N)


def tensor(triples) -> torch.Tensor:
    return torch.tensor(triples, dtype=torch.long).view(-1, 3)


def graph_of(triples, name: str = "") -> KnowledgeGraph:
    return KnowledgeGraph(
        Vocabulary(f"e{i}" for i in range(N)),
        Vocabulary(f"r{i}" for i in range(R)),
        tensor(triples),
        name,
    )


def split_of(train, valid=(), test=(), symmetric=()) -> Split:
    return Split(
        graph_of(train), HeldOut(tensor(valid), "valid"), HeldOut(tensor(test), "test"), symmetric
    )


def patterns_by_loops(triples, threshold):
    """Duplicate and inverse pairs of relations as sets of (relation, other, shared)."""
    pairs = {r: {(h, t) for h, q, t in triples if q == r and h != t} for r in range(R)}
    found = {"duplicate": set(), "inverse": set(), "symmetric": set()}
    for a, b in itertools.combinations_with_replacement(range(R), 2):
        if not pairs[a] or not pairs[b]:
            continue
        least = threshold * max(len(pairs[a]), len(pairs[b]))
        same = len(pairs[a] & pairs[b])
        mirrored = len(pairs[a] & {(t, h) for h, t in pairs[b]})
        if a != b and same and same >= least:
            found["duplicate"].add((a, b, same))
        if mirrored and mirrored >= least:
            found["symmetric" if a == b else "inverse"].add((a, b, mirrored))
    return found


@given(triple_lists, st.sampled_from([0.25, 0.5, 1.0]))
@settings(max_examples=40, deadline=None)
def test_patterns_equal_a_loop_over_pairs_of_relations(triples, threshold) -> None:
    patterns = relation_patterns(tensor(triples), N, R, threshold=threshold)
    for kind, expected in patterns_by_loops(triples, threshold).items():
        assert {tuple(found[:3]) for found in getattr(patterns, kind)} == expected


def test_patterns_give_the_share_of_each_relation_and_the_strongest_first() -> None:
    triples = [(0, 0, 1), (0, 0, 2), (1, 1, 0), (2, 1, 0), (3, 1, 0), (4, 2, 5), (5, 2, 4)]
    patterns = relation_patterns(tensor(triples), N, R, threshold=0.5)
    (inverse,) = patterns.inverse
    assert inverse == (0, 1, 2, 1.0, pytest.approx(2 / 3))
    assert patterns.symmetric == ((2, 2, 2, 1.0, 1.0),)
    assert patterns.duplicate == ()


def test_threshold_must_be_a_share() -> None:
    with pytest.raises(ValueError, match=r"in \(0, 1\] \(got 0\)"):
        relation_patterns(tensor([]), N, R, threshold=0)


def answers_by_loops(split: Split, threshold: float) -> dict[str, list[bool]]:
    train = {tuple(t) for t in split.train.triples.tolist()}
    every = [*train, *map(tuple, split.valid.triples.tolist() + split.test.triples.tolist())]
    patterns = patterns_by_loops(every, threshold)
    inverse = {(a, b) for x, y, _ in patterns["inverse"] for a, b in ((x, y), (y, x))}
    duplicate = {(a, b) for x, y, _ in patterns["duplicate"] for a, b in ((x, y), (y, x))}
    symmetric = {a for a, _, _ in patterns["symmetric"]} | set(split.symmetric)
    answers: dict[str, list[bool]] = {
        way: [] for way in ("repeated", "symmetric", "inverse", "duplicate", "linked")
    }
    for h, r, t in split.test.triples.tolist():
        answers["repeated"].append((h, r, t) in train)
        answers["symmetric"].append(h != t and r in symmetric and (t, r, h) in train)
        answers["inverse"].append(any((t, q, h) in train for p, q in inverse if p == r))
        answers["duplicate"].append(any((h, q, t) in train for p, q in duplicate if p == r))
        answers["linked"].append(any({h, t} == {a, b} for a, _, b in train))
    return answers


@given(triple_lists, triple_lists, triple_lists, st.sets(st.integers(0, R - 1), max_size=1))
@settings(max_examples=40, deadline=None)
def test_report_equals_a_loop_over_facts(train, valid, test, symmetric) -> None:
    split = split_of(train, valid, test, tuple(symmetric))
    report = leakage_report(split, threshold=0.4)
    for way, expected in answers_by_loops(split, 0.4).items():
        assert getattr(report, way).tolist() == expected, way
    assert report.counts()["facts"] == len(test)
    assert report.counts()["answered"] == int(report.answered.sum())


def test_strict_names_the_fact_and_the_way() -> None:
    train = [(0, 0, 1), (2, 0, 3), (4, 0, 5), (3, 1, 2), (5, 1, 4)]
    leaky = split_of(train, test=[(1, 1, 0)])
    with pytest.raises(ValueError, match=r"'inverse': 1.*'e1' 'r1' 'e0'.*group_pairs"):
        leakage_report(leaky, strict=True)
    clean = split_of(train, test=[(0, 1, 3)])
    assert leakage_report(clean, strict=True).counts()["answered"] == 0
    with pytest.raises(ValueError, match="'train'"):
        leakage_report(clean, role="train")


def test_report_looks_at_the_asked_role() -> None:
    split = split_of([(0, 0, 1)], valid=[(0, 0, 1), (1, 0, 2)], test=[])
    assert leakage_report(split, role="valid").repeated.tolist() == [True, False]
    assert leakage_report(split).counts()["facts"] == 0


@given(triple_lists, triple_lists, entity_maps)
@settings(max_examples=40, deadline=None)
def test_copyable_and_strict_mode_equal_loops(facts, source, entity_map) -> None:
    graph = graph_of(source, "source")
    carried = [(entity_map[h], entity_map[t]) for h, _, t in facts]
    ends = [{h, t} for h, _, t in source]
    expected = [min(pair) >= 0 and set(pair) in ends for pair in carried]
    mapped = torch.tensor(entity_map)
    assert copyable(tensor(facts), graph, mapped).tolist() == expected
    held_out = [set(pair) for pair in carried if min(pair) >= 0]
    cleaned = without_pairs(graph, tensor(facts), mapped)
    assert cleaned.triples.tolist() == [list(t) for t in source if {t[0], t[2]} not in held_out]
    assert cleaned.entities == graph.entities
    assert not copyable(tensor(facts), cleaned, mapped).any()


@given(triple_lists, triple_lists, st.sets(st.tuples(st.integers(0, N - 1), st.integers(0, N - 1))))
@settings(max_examples=40, deadline=None)
def test_several_counterparts_equal_loops(facts, source, aligned) -> None:
    graph = graph_of(source)
    pairs = torch.tensor(sorted(aligned), dtype=torch.long).view(-1, 2)
    expected = [
        any(
            {b, d} == {x, y}
            for a, b in aligned
            for c, d in aligned
            if a == h and c == t
            for x, _, y in source
        )
        for h, _, t in facts
    ]
    assert copyable(tensor(facts), graph, pairs).tolist() == expected
    assert not copyable(tensor(facts), without_pairs(graph, tensor(facts), pairs), pairs).any()


def test_a_map_gives_the_same_as_its_pairs() -> None:
    entity_map = torch.tensor([3, -1, 0, 5, 2, -1])
    entity = (entity_map >= 0).nonzero().view(-1)
    facts = tensor([(0, 0, 2), (1, 0, 2), (3, 0, 3), (4, 1, 0)])
    row, pair = counterpart_pairs(facts, entity_map)
    other_row, other = counterpart_pairs(facts, torch.stack([entity, entity_map[entity]], dim=1))
    assert row.tolist() == other_row.tolist() == [0, 2, 3]
    assert pair.tolist() == other.tolist() == [[3, 0], [5, 5], [2, 3]]


def test_linked_pairs_are_unordered() -> None:
    graph = graph_of([(0, 0, 1), (2, 1, 2)])
    pairs = torch.tensor([[1, 0], [0, 1], [2, 2], [1, 2]])
    assert linked_pairs(graph, pairs).tolist() == [True, True, True, False]


def test_maps_out_of_range_are_named() -> None:
    graph = graph_of([(0, 0, 1)], "source")
    with pytest.raises(ValueError, match=r"'source' \(got 9\)"):
        copyable(tensor([(0, 0, 1)]), graph, torch.tensor([9, 0]))
    with pytest.raises(ValueError, match="got 2 entries and entity 4"):
        without_pairs(graph, tensor([(0, 0, 4)]), torch.tensor([1, 0]))
