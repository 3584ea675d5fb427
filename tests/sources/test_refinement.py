"""Refined hierarchies: every decision, every entity kept, what happens without an answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from pyg_kgtransfer.graph.clustering import ClusterOptions, seed_hierarchy
from pyg_kgtransfer.graph.hierarchy import Hierarchy
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.llm import LLM, BudgetSpentError, LLMOptions, NoAnswerError
from pyg_kgtransfer.sources.refinement import (
    Action,
    Cluster,
    Join,
    RefineOptions,
    Split,
    questions,
    refine,
)
from pyg_kgtransfer.sources.refiners import LLMRefiner, LocalRefiner
from tests.graph.test_hierarchy import trees
from tests.sources.test_llm import Scripted

SMALL = RefineOptions(least=2, most=3)
Shape = tuple[str, list]


def seed() -> Hierarchy:
    """Two leaves of two entities and one of one, the first two together."""
    parent, cluster_of = torch.tensor([-1, 0, 0, 1, 1]), torch.tensor([3, 3, 4, 4, 2])
    return Hierarchy(Vocabulary("abcde"), parent, cluster_of, ("top", "", "z", "x", "y"))


def shape(tree: Hierarchy, cluster: int | None = None) -> Shape:
    """The tree as (name, children or entities)."""
    cluster = tree.root if cluster is None else cluster
    below = [shape(tree, child) for child in tree.children[cluster]]
    return tree.names[cluster], below or tree.members(cluster)


class Decided:
    """Keeps leaves, and makes the same of every pair."""

    def __init__(self, action: Action, *, halves: bool = False) -> None:
        self.action, self.halves = action, halves

    def split(self, cluster: Cluster, labels: Sequence[str]) -> Split:
        if not self.halves:
            return Split(cluster.name.upper())
        first, *rest = cluster.entities
        return Split(cluster.name.upper(), (("one", [first]), ("rest", rest)))

    def join(self, left: Cluster, right: Cluster, labels: Sequence[str]) -> Join:
        return Join(self.action, f"{left.name}+{right.name}")


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("create", ("X+Y+z", [("X+Y", [("X", ["a", "b"]), ("Y", ["c", "d"])]), ("z", ["e"])])),
        ("merge", ("X+Y+z", ["a", "b", "c", "d", "e"])),
        ("left_covers_right",
         ("X+Y+z", [("X", ["a", "b"]), ("Y", ["c", "d"]), ("z", ["e"])])),
        ("right_covers_left",
         ("X+Y+z", [("z", ["e"]), ("X+Y", [("Y", ["c", "d"]), ("X", ["a", "b"])])])),
    ],
)  # fmt: skip
def test_each_decision_about_neighbours(action: Action, expected: Shape) -> None:
    found = refine(seed(), "abcde", Decided(action), SMALL)
    assert shape(found.hierarchy) == expected
    assert found.done == {"keep": 2, action: 2}
    assert (found.asked, found.failed, found.is_whole) == (4, 0, True)
    assert questions(seed(), SMALL) == 4


def test_leaves_are_split_in_named_parts() -> None:
    found = refine(seed(), "abcde", Decided("create", halves=True), SMALL)
    assert shape(found.hierarchy)[1][0][1][0] == ("X", [("one", ["a"]), ("rest", ["b"])])
    assert found.done == {"split": 2, "create": 2}


@given(tree=trees(), actions=st.lists(st.sampled_from(get_args(Action)), min_size=1))
@settings(max_examples=50, deadline=None)
def test_no_entity_is_lost(tree: Hierarchy, actions: list[Action]) -> None:
    class Mixed(Decided):
        def join(self, left: Cluster, right: Cluster, labels: Sequence[str]) -> Join:
            actions.append(actions.pop(0))
            return Join(actions[-1], "n")

    labels = list(tree.entities)
    found = refine(tree, labels, Mixed("create", halves=True), SMALL).hierarchy
    assert torch.equal(found.cluster_of >= 0, tree.cluster_of >= 0)
    assert found.entities == tree.entities


def test_where_there_is_no_answer_the_seed_stays() -> None:
    class Silent(Decided):
        def split(self, cluster: Cluster, labels: Sequence[str]) -> Split:
            raise NoAnswerError("down")

    found = refine(seed(), "abcde", Silent("create"), SMALL)
    assert found.failed == 2
    assert shape(found.hierarchy)[1][0] == ("x+y", [("x", ["a", "b"]), ("y", ["c", "d"])])


def test_a_budget_that_runs_out_keeps_what_was_refined() -> None:
    class Poor(Decided):
        calls = 0

        def join(self, left: Cluster, right: Cluster, labels: Sequence[str]) -> Join:
            self.calls += 1
            if self.calls > 1:
                raise BudgetSpentError("the budget of 1 call is spent")
            return super().join(left, right, labels)

    found = refine(seed(), "abcde", Poor("create"), SMALL)
    assert not found.is_whole
    assert shape(found.hierarchy) == (
        "top", [("X+Y", [("X", ["a", "b"]), ("Y", ["c", "d"])]), ("z", ["e"])]
    )  # fmt: skip


def test_a_refiner_out_of_reach_is_told_at_once() -> None:
    class Down(Decided):
        def split(self, cluster: Cluster, labels: Sequence[str]) -> Split:
            raise NoAnswerError("connection refused")

        join = split

    parent = torch.tensor([-1] + [0] * 8)
    tree = Hierarchy(Vocabulary([f"e{i}" for i in range(16)]), parent,
                     torch.arange(16) // 2 + 1, ("",) * 9)  # fmt: skip
    with pytest.raises(NoAnswerError, match=r"first 5 questions got no answer.*connection refused"):
        refine(tree, list(tree.entities), Down("create"), SMALL)


def test_a_refiner_that_is_lost_midway_is_not_asked_on() -> None:
    class Lost(Decided):
        calls = 0

        def split(self, cluster: Cluster, labels: Sequence[str]) -> Split:
            self.calls += 1
            if self.calls > 1:
                raise NoAnswerError("connection refused")
            return super().split(cluster, labels)

        def join(self, left: Cluster, right: Cluster, labels: Sequence[str]) -> Join:
            raise AssertionError("asked on")

    parent = torch.tensor([-1] + [0] * 8)
    tree = Hierarchy(Vocabulary([f"e{i}" for i in range(16)]), parent,
                     torch.arange(16) // 2 + 1, ("leaf",) * 9)  # fmt: skip
    refiner = Lost("create")
    found = refine(tree, list(tree.entities), refiner, SMALL)
    assert (refiner.calls, found.failed, found.is_whole) == (6, 5, False)
    assert found.hierarchy.names.count("LEAF") == 1


def test_labels_and_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"each of 5 entities needs a label \(got 2\)"):
        refine(seed(), "ab", Decided("create"))
    with pytest.raises(ValueError, match=r"\(got 5 to 4\)"):
        RefineOptions(least=5, most=4)


def test_the_local_refiner_splits_what_lies_apart_and_names_by_shared_words() -> None:
    generator = torch.Generator().manual_seed(0)
    means = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    vectors = means.repeat_interleave(6, 0) + 0.05 * torch.randn(18, 3, generator=generator)
    words = ["city of Athens", "jazz record", "river bank"]
    labels = [f"{words[i // 6]} {i}" for i in range(18)]
    entities = Vocabulary(labels)
    tree = seed_hierarchy(vectors, entities, ClusterOptions(thresholds=(0.6,))).hierarchy
    assert int(tree.is_leaf.sum()) == 2
    refiner = LocalRefiner(vectors)
    first, again = (refine(tree, labels, refiner, RefineOptions(6, 12)) for _ in range(2))
    assert shape(first.hierarchy) == shape(again.hierarchy)
    assert first.done["split"] == 1
    found = first.hierarchy
    leaves = {found.names[c]: found.members(c) for c in found.is_leaf.nonzero().view(-1).tolist()}
    assert {len(members) for members in leaves.values()} == {6}
    assert any("athens" in name for name in leaves)
    assert all(found.names)


def test_the_local_refiner_merges_what_is_one() -> None:
    vectors = torch.eye(3)[[0, 0, 0, 0, 1]] + 0.01
    found = refine(seed(), "abcde", LocalRefiner(vectors), SMALL)
    assert found.done["merge"] == 1
    assert sorted(found.hierarchy.members(int(found.hierarchy.cluster_of[0]))) == list("abcd")


SPLIT = (
    '{"name": "letters", "parts": [{"name": "p", "numbers": [2]}, {"name": "q", "numbers": [1]}]}'
)
KEEP, CREATE = '{"name": "pair", "parts": []}', '{"action": "create", "name": "both"}'


def test_a_language_model_decides_and_is_not_paid_twice(tmp_path: Path) -> None:
    model = Scripted(SPLIT, KEEP, CREATE, '{"action": "left_covers_right", "name": "all"}')
    found = refine(seed(), "abcde", LLMRefiner(LLM(model, tmp_path)), SMALL)
    assert shape(found.hierarchy) == (
        "all",
        [("letters", [("p", ["b"]), ("q", ["a"])]), ("pair", ["c", "d"]), ("z", ["e"])],
    )
    again = LLM(Scripted(NoAnswerError("not asked")), tmp_path, LLMOptions(max_calls=0))
    same = refine(seed(), "abcde", LLMRefiner(again), SMALL)
    assert shape(same.hierarchy) == shape(found.hierarchy)
    assert (model.asked, again.num_calls) == (4, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        '{"name": "x", "parts": [{"name": "p", "numbers": [1, 2]}]}',
        '{"name": "x", "parts": [{"name": "p", "numbers": [1]}, {"name": "q", "numbers": [1]}]}',
        '{"name": "x", "parts": [{"name": "p", "numbers": [1, 2]}, {"name": "q", "numbers": []}]}',
        '{"name": "x", "parts": [{"name": "p", "numbers": ["1"]}, {"name": "q", "numbers": [2]}]}',
        '{"name": "", "parts": []}',
        '{"name": "x", "parts": "none"}',
        "keep it",
    ],
)
def test_answers_that_do_not_fit_are_asked_again(wrong: str) -> None:
    model = Scripted(wrong, KEEP)
    refiner = LLMRefiner(LLM(model, options=LLMOptions(wait=0.0)))
    assert refiner.split(Cluster(entities=[0, 1]), "ab") == Split("pair")
    assert model.asked == 2


def test_an_unknown_action_is_asked_again() -> None:
    model = Scripted('{"action": "swap", "name": "x"}', CREATE)
    refiner = LLMRefiner(LLM(model, options=LLMOptions(wait=0.0)))
    pair = Cluster("left", [0]), Cluster("", [1])
    assert refiner.join(*pair, "ab") == Join("create", "both")
    assert model.asked == 2
