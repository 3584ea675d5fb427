"""Trees of clusters against walks from cluster to cluster."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from pyg_kgtransfer.graph.hierarchy import Hierarchy
from pyg_kgtransfer.graph.vocabulary import Vocabulary


def entities(count: int) -> Vocabulary:
    return Vocabulary([f"e{i}" for i in range(count)], kind="entity")


@st.composite
def trees(draw: st.DrawFn) -> Hierarchy:
    """Random trees in random order; every leaf holds an entity, some entities have no cluster."""
    size = draw(st.integers(1, 9))
    above = [-1] + [draw(st.integers(0, i - 1)) for i in range(1, size)]
    order = draw(st.permutations(range(size)))
    parent = [0] * size
    for cluster, up in enumerate(above):
        parent[order[cluster]] = -1 if up < 0 else order[up]
    leaves = [c for c in range(size) if c not in parent]
    held = leaves + draw(st.lists(st.sampled_from([*leaves, -1]), max_size=6))
    cluster_of = draw(st.permutations(held))
    return Hierarchy(
        entities(len(held)), torch.tensor(parent), torch.tensor(cluster_of), ("",) * size
    )


def walk(tree: Hierarchy, cluster: int) -> list[int]:
    path = [cluster]
    while int(tree.parent[path[-1]]) >= 0:
        path.append(int(tree.parent[path[-1]]))
    return path


@given(trees())
@settings(max_examples=50, deadline=None)
def test_depths_and_paths_are_those_of_a_walk(tree: Hierarchy) -> None:
    for cluster in range(len(tree)):
        path = walk(tree, cluster)
        assert tree.path(cluster) == path
        assert int(tree.depth[cluster]) == len(path) - 1
        row = tree.paths[cluster].tolist()
        assert row == path + [-1] * (len(row) - len(path))
        assert path[-1] == tree.root
        assert all(int(tree.parent[child]) == cluster for child in tree.children[cluster])
        assert bool(tree.is_leaf[cluster]) == (not tree.children[cluster])


@given(trees())
@settings(max_examples=50, deadline=None)
def test_vectors_are_means_of_entities_and_of_children(tree: Hierarchy) -> None:
    table = torch.randn(len(tree.entities), 3, dtype=torch.float64)

    def of(cluster: int) -> Tensor:
        children = tree.children[cluster]
        if children:
            return torch.stack([of(child) for child in children]).mean(0)
        return table[tree.cluster_of == cluster].mean(0)

    expected = torch.stack([of(cluster) for cluster in range(len(tree))])
    torch.testing.assert_close(tree.vectors(table), expected)


@pytest.mark.parametrize("kind", ["nearest", "released"])
@given(tree=trees(), count=st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_neighbours_are_the_nearest_through_the_common_ancestor(
    kind: str, tree: Hierarchy, count: int
) -> None:
    def distance(a: int, b: int) -> int:
        left, right = walk(tree, a), walk(tree, b)
        return min(left.index(c) + right.index(c) for c in left if c in right)

    found = tree.neighbours(count, kind=kind)
    for cluster in range(len(tree)):
        others = [c for c in range(len(tree)) if c != cluster]
        if kind == "nearest":
            others = [c for c in others if not tree.children[c]]
        nearest = sorted(others, key=lambda c: (distance(cluster, c), c))[:count]
        expected = nearest if not tree.children[cluster] else []
        assert found[cluster].tolist() == expected + [-1] * (count - len(expected))


def test_released_neighbours_are_often_ancestors_and_nearest_ones_never() -> None:
    parent = torch.tensor([-1, 0, 0, 1, 1])
    tree = Hierarchy(entities(3), parent, torch.tensor([2, 3, 4]), ("",) * 5)
    assert tree.neighbours(2, kind="released")[3].tolist() == [1, 0]
    assert tree.neighbours(2)[3].tolist() == [4, 2]


@given(trees(), st.data())
@settings(max_examples=50, deadline=None)
def test_another_vocabulary_keeps_what_it_shares(tree: Hierarchy, data: st.DataObject) -> None:
    names = [*tree.entities.names, "stranger"]
    chosen = Vocabulary(data.draw(st.permutations(names))[: data.draw(st.integers(0, len(names)))])
    if not any(name in tree.entities and tree.cluster_of[tree.entities.id(name)] >= 0
               for name in chosen):  # fmt: skip
        return
    other = tree.of(chosen)
    for i, name in enumerate(chosen):
        before = int(tree.cluster_of[tree.entities.id(name)]) if name in tree.entities else -1
        after = int(other.cluster_of[i])
        assert (before < 0) == (after < 0)
        if before >= 0:
            assert len(other.path(after)) == len(tree.path(before))


@pytest.mark.parametrize(
    ("parent", "cluster_of", "message"),
    [
        ([-1, -1], [0, 1], r"one root \(got 2\)"),
        ([1, 0], [0, 1], r"one root \(got 0\)"),
        ([-1, 2, 1, 0], [3, 3], "its own ancestor"),
        ([-1, 5], [1, 1], r"parents must be in \[-1, 2\)"),
        ([-1, 0], [0, 1], "an inner cluster holds no entities"),
        ([-1, 0, 0], [1, 1], "a leaf holds entities"),
        ([-1, 0], [1], "each of 2 entities needs a cluster"),
    ],
)
def test_what_is_no_tree_is_refused(parent, cluster_of, message) -> None:
    with pytest.raises(ValueError, match=message):
        Hierarchy(entities(2), torch.tensor(parent), torch.tensor(cluster_of), ("",) * len(parent))
