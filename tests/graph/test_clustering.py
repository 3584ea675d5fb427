"""Hierarchies from vectors."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pyg_kgtransfer.graph.clustering import ClusterOptions, seed_hierarchy
from pyg_kgtransfer.graph.hierarchy import Hierarchy
from pyg_kgtransfer.graph.vocabulary import Vocabulary


def planted(groups: int, each: int, *, noise: float = 0.05, width: int = 16) -> Tensor:
    """Entities around orthogonal directions, two of which are nearer to each other."""
    centres = torch.eye(groups, width)
    centres[1] = centres[0] * 0.7 + centres[1] * 0.7
    generator = torch.Generator().manual_seed(0)
    spread = noise * torch.randn(groups * each, width, generator=generator)
    return centres.repeat_interleave(each, 0) + spread


def names(count: int) -> Vocabulary:
    return Vocabulary([f"e{i}" for i in range(count)])


def leaves(tree: Hierarchy) -> list[list[str]]:
    return sorted(tree.members(c) for c in tree.is_leaf.nonzero().view(-1).tolist())


@pytest.mark.parametrize("options", [ClusterOptions(), ClusterOptions(max_exact=10, num_groups=20)])
def test_planted_groups_are_found_and_the_nearer_two_meet_first(options: ClusterOptions) -> None:
    found = seed_hierarchy(planted(4, 12), names(48), options)
    tree = found.hierarchy
    assert found.best.num_clusters == 4
    expected = [[f"e{12 * g + i}" for i in range(12)] for g in range(4)]
    assert leaves(tree) == sorted(expected)
    first, second, third = (int(tree.cluster_of[12 * g]) for g in range(3))
    assert int(tree.parent[first]) == int(tree.parent[second]) != int(tree.parent[third])
    assert found.best.silhouette == max(c.silhouette for c in found.cuts if c.silhouette)


def test_a_threshold_that_leaves_one_cluster_has_no_silhouette() -> None:
    found = seed_hierarchy(planted(2, 3), names(6), ClusterOptions(thresholds=(1.9,)))
    assert found.best == (1.9, 1, None)
    assert leaves(found.hierarchy) == [[f"e{i}" for i in range(6)]]


@given(st.integers(1, 6), st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_every_entity_with_a_vector_has_a_leaf(count: int, seed: int) -> None:
    vectors = torch.randint(0, 2, (count, 3), generator=torch.Generator().manual_seed(seed)).float()
    if not bool(vectors.any()):
        return
    tree = seed_hierarchy(vectors, names(count)).hierarchy
    assert ((tree.cluster_of >= 0) == vectors.any(1)).all()
    same = (vectors.unsqueeze(0) == vectors.unsqueeze(1)).all(2)
    together = tree.cluster_of.unsqueeze(0) == tree.cluster_of.unsqueeze(1)
    assert bool(together[same].all())


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (torch.ones(2, 3), "each of 3 entities"),
        (torch.tensor([[1.0], [float("nan")], [1.0]]), "for 'e1' and 0 more"),
        (torch.zeros(3, 2), "other than zero"),
    ],
)
def test_vectors_that_cannot_be_clustered_are_refused(vectors: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        seed_hierarchy(vectors, names(3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"thresholds": ()}, "at least one"),
        ({"thresholds": (0.5, 2.0)}, r"in \(0, 2\)"),
        ({"num_groups": 1}, r"num_groups must be at least 2 \(got 1\)"),
    ],
)
def test_options_out_of_range_are_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        ClusterOptions(**options)
