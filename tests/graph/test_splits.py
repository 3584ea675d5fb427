import logging
from collections import Counter

import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.leakage import leakage_report
from pyg_kgtransfer.graph.splits import (
    HeldOut,
    Split,
    few_shot_split,
    inductive_split,
    random_split,
)
from pyg_kgtransfer.graph.vocabulary import Vocabulary

N, R = 8, 3
shares = st.floats(0, 0.45)
seeds = st.integers(0, 5)
triple_lists = st.lists(
    st.tuples(st.integers(0, N - 1), st.integers(0, R - 1), st.integers(0, N - 1)),
    min_size=1,
    max_size=40,
)


def graph_of(triples) -> KnowledgeGraph:
    return KnowledgeGraph(
        Vocabulary((f"e{i}" for i in range(N)), kind="entity"),
        Vocabulary((f"r{i}" for i in range(R)), kind="relation"),
        torch.tensor(triples, dtype=torch.long).view(-1, 3),
        "g",
        labels=tuple(f"label {i}" for i in range(N)),
        entity_types=Vocabulary(["even", "odd"]),
        entity_type=torch.arange(N) % 2,
    )


def parts(split: Split) -> list[list[tuple[int, ...]]]:
    return [
        [tuple(t) for t in part.triples.tolist()] for part in (split.train, split.valid, split.test)
    ]


def ring(size: int) -> KnowledgeGraph:
    """Every entity has several facts, so that nothing needs repair."""
    named = [(f"{i}", r, f"{(i + k) % size}") for i in range(size) for k, r in ((1, "a"), (2, "b"))]
    return KnowledgeGraph.from_names(named, name="ring")


def test_known_covers_the_asked_parts() -> None:
    split = Split(
        graph_of([(0, 0, 1)]),
        HeldOut(torch.tensor([[0, 0, 2]]), "valid"),
        HeldOut(torch.tensor([[0, 0, 3]]), "test"),
        symmetric=(0,),
    )
    facts = torch.tensor([[0, 0, 1], [0, 0, 2], [0, 0, 3], [3, 0, 0]])
    assert split.known().contains(facts).tolist() == [True] * 4
    assert split.known(("train", "valid")).contains(facts).tolist() == [True, True, False, False]


@given(triple_lists, shares, shares, seeds, st.booleans())
@settings(max_examples=80, deadline=None)
def test_random_split_keeps_every_fact_once_and_covers_what_it_asks(
    triples, valid_share, test_share, seed, group_pairs
) -> None:
    split = random_split(
        graph_of(triples), valid_share, test_share, seed=seed, group_pairs=group_pairs
    )
    train, valid, test = parts(split)
    assert Counter(train + valid + test) == Counter(triples)
    assert {e for h, _, t in valid + test for e in (h, t)} <= {
        e for h, _, t in train for e in (h, t)
    }
    assert {r for _, r, _ in valid + test} <= {r for _, r, _ in train}
    assert not set(train) & set(valid + test)
    assert not set(valid) & set(test)


@given(triple_lists, shares, shares, seeds)
@settings(max_examples=60, deadline=None)
def test_facts_on_one_pair_go_together(triples, valid_share, test_share, seed) -> None:
    split = random_split(graph_of(triples), valid_share, test_share, seed=seed)
    pairs = [{frozenset((h, t)) for h, _, t in part} for part in parts(split)]
    assert not pairs[0] & pairs[1]
    assert not pairs[0] & pairs[2]
    assert not pairs[1] & pairs[2]
    assert leakage_report(split, role="test", threshold=0.1).counts()["linked"] == 0


@given(triple_lists, st.sets(st.sampled_from(["r0", "r1", "r2"])), seeds)
@settings(max_examples=40, deadline=None)
def test_relations_can_stay_in_training(triples, always_train, seed) -> None:
    split = random_split(graph_of(triples), 0.4, 0.4, seed=seed, always_train=sorted(always_train))
    _, valid, test = parts(split)
    assert not {f"r{r}" for _, r, _ in valid + test} & always_train


def test_without_grouping_a_pair_can_be_split() -> None:
    named = [(f"{i}", r, f"{(i + 1) % 50}") for i in range(50) for r in ("a", "b")]
    graph = KnowledgeGraph.from_names(named)
    apart = random_split(graph, 0.0, 0.3, group_pairs=False)
    assert leakage_report(apart).counts()["duplicate"] > 0
    assert leakage_report(random_split(graph, 0.0, 0.3)).counts()["answered"] == 0


def test_each_relation_gives_its_share() -> None:
    split = random_split(ring(400), 0.1, 0.2, seed=3)
    for relation in (0, 1):
        counts = [sum(r == relation for _, r, _ in part) for part in parts(split)]
        assert sum(counts) == 400
        assert counts[1] == pytest.approx(40, abs=8)  # repair moves a few to training
        assert counts[2] == pytest.approx(80, abs=8)


def test_splits_are_seeded() -> None:
    graph = ring(50)
    first, again, other = (random_split(graph, 0.1, 0.2, seed=seed) for seed in (1, 1, 2))
    assert parts(first) == parts(again)
    assert parts(first) != parts(other)


def test_repair_moves_one_fact_per_lacking_entity_and_logs_it(caplog) -> None:
    star = KnowledgeGraph.from_names([("hub", "r", f"leaf{i}") for i in range(20)])
    with caplog.at_level(logging.INFO):
        split = random_split(star, 0.2, 0.4)
    assert len(split.valid) == len(split.test) == 0  # every leaf has one fact
    assert "12 of 20 facts moved to training" in caplog.text
    pairs = KnowledgeGraph.from_names(
        [(f"a{i}", "r", f"b{j}") for i in range(10) for j in range(10)]
    )
    moved = 50 - len(random_split(pairs, 0.0, 0.5).test)
    assert moved <= 4  # ten facts per entity: hardly any entity lacks all


@pytest.mark.parametrize("bad", [(-0.1, 0.1), (0.5, 0.5), (0.1, float("nan")), (0.0, 1.0)])
def test_shares_out_of_range(bad) -> None:
    with pytest.raises(ValueError, match="together below 1"):
        random_split(ring(5), *bad)
    with pytest.raises(ValueError, match="together below 1"):
        inductive_split(ring(5), 0.5, *bad)


def test_an_empty_graph_and_unknown_relations_are_refused() -> None:
    with pytest.raises(ValueError, match="without triples"):
        random_split(graph_of([]))
    with pytest.raises(ValueError, match=r"unknown relation: 'r9'"):
        random_split(graph_of([(0, 0, 1)]), always_train=["r9"])


@given(triple_lists, st.floats(0.2, 0.8), seeds)
@settings(max_examples=60, deadline=None)
def test_inductive_sides_share_no_entity_and_keep_true_facts(triples, share, seed) -> None:
    graph = graph_of(triples)
    try:
        split = inductive_split(graph, share, 0.2, 0.2, seed=seed)
    except ValueError:
        event("a side was left without facts")
        return
    seen, unseen = split.seen.train, split.unseen.train
    assert not set(seen.entities) & set(unseen.entities)
    assert set(seen.entities) | set(unseen.entities) == set(graph.entities)
    assert len(unseen.entities) == round(share * N)
    assert seen.relations == unseen.relations == graph.relations
    named = set(graph.named_triples())
    for side in (split.seen, split.unseen):
        for part in (side.train, side.valid, side.test):
            assert set(side.train.with_triples(part.triples).named_triples()) <= named
        for i, name in enumerate(side.train.entities):
            assert side.train.label(i) == f"label {name[1:]}"
            assert side.train.entity_type[i] == int(name[1:]) % 2
    learned = {r for _, r, _ in split.seen.train.triples.tolist()}
    asked = [r for part in parts(split.unseen) for _, r, _ in part]
    assert set(asked) <= learned


def test_the_unseen_region_keeps_facts_of_its_own() -> None:
    split = inductive_split(ring(200), 0.3, 0.1, 0.1)
    inside = sum(map(len, parts(split.unseen)))
    assert inside > 100  # of about 120 facts of 60 entities; entities drawn singly leave 36


def test_inductive_share_must_leave_two_sides() -> None:
    with pytest.raises(ValueError, match=r"in \(0, 1\) \(got 1\)"):
        inductive_split(ring(10), 1)
    with pytest.raises(ValueError, match="both sides need facts"):
        inductive_split(ring(10), 0.01)


@given(triple_lists, st.integers(0, 2), seeds)
@settings(max_examples=60, deadline=None)
def test_few_shot_gives_k_facts_and_asks_the_others(triples, support, seed) -> None:
    graph = graph_of(triples)
    distinct = set(triples)
    chosen = [r for r in range(2) if sum(q == r for _, q, _ in distinct) > support]
    if not chosen:
        with pytest.raises(ValueError, match="more than"):
            few_shot_split(graph, ["r0", "r1"], support, seed=seed)
        return
    split = few_shot_split(graph, [f"r{r}" for r in chosen], support, seed=seed)
    background = {tuple(t) for t in split.background.triples.tolist()}
    given_facts = [tuple(t) for t in split.support.tolist()]
    query = {tuple(t) for t in split.query.triples.tolist()}
    assert background == {t for t in distinct if t[1] not in chosen}
    assert Counter(r for _, r, _ in given_facts) == {r: support for r in chosen if support}
    met = {e for h, _, t in background | set(given_facts) for e in (h, t)}
    told = {(frozenset((h, t)), r) for h, r, t in given_facts}
    assert query == {
        (h, r, t)
        for h, r, t in distinct
        if r in chosen and {h, t} <= met and (frozenset((h, t)), r) not in told
    }
    assert split.relations == tuple(chosen)
    assert len(split.as_split().train.triples) == len(background) + len(given_facts)


def test_few_shot_errors_name_the_relation() -> None:
    graph = graph_of([(0, 0, 1), (1, 1, 2), (2, 1, 3)])
    with pytest.raises(ValueError, match=r"more than 1 facts \(got 1 of 'r0'\)"):
        few_shot_split(graph, ["r1", "r0"], 1)
    with pytest.raises(ValueError, match="unknown relation"):
        few_shot_split(graph, ["borders"], 1)
    with pytest.raises(ValueError, match="at least 0"):
        few_shot_split(graph, ["r1"], -1)
