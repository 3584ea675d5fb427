"""Alignment ranks in both directions against a slow twin."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from pyg_kgtransfer.evaluation.entity_alignment import EntityAlignment


def slow_ranks(similarity, pairs, lefts, rights):
    """(realistic rank, candidates) of both directions of each pair, in plain loops."""
    every = []
    for x, y in pairs:
        sides = []
        for is_forward in (True, False):
            above = same = competing = 0
            for c in rights if is_forward else lefts:
                pair = (x, c) if is_forward else (c, y)
                if pair in pairs and pair != (x, y):
                    continue
                competing += 1
                above += bool(similarity[pair] > similarity[x, y])
                same += bool(similarity[pair] == similarity[x, y])
            sides.append((above + (1 + same) / 2, competing))
        every.append(sides)
    return torch.tensor(every).double()  # [P, 2, 2]


def slow_csls(cosine, k, lefts, rights):
    """2 cos - mean of the k nearest across, over the candidates."""
    adjusted = cosine.clone()
    for x in lefts:
        for y in rights:
            of_x = sorted((cosine[x, j].item() for j in rights), reverse=True)[:k]
            of_y = sorted((cosine[i, y].item() for i in lefts), reverse=True)[:k]
            adjusted[x, y] = 2 * cosine[x, y] - sum(of_x) / len(of_x) - sum(of_y) / len(of_y)
    return adjusted


@st.composite
def worlds(draw: st.DrawFn):
    n, m = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    pair = st.tuples(st.integers(0, n - 1), st.integers(0, m - 1))
    pairs = draw(st.lists(pair, min_size=1, max_size=5, unique=True))
    axis = st.integers(0, 2)  # unit vectors along axes: cosines are exactly 0 or 1, many ties
    left = draw(st.lists(axis, min_size=n, max_size=n))
    right = draw(st.lists(axis, min_size=m, max_size=m))
    return torch.eye(3)[left] * 2, torch.eye(3)[right] * 3, pairs


@settings(max_examples=60, deadline=None)
@given(worlds(), st.sampled_from(["all", "held_out"]), st.sampled_from([1e-9, 512]))
def test_ranks_equal_the_slow_twin(world, candidates, memory_mb):
    left, right, pairs = world
    lefts, rights = list(range(len(left))), list(range(len(right)))
    if candidates == "held_out":
        lefts, rights = sorted({x for x, _ in pairs}), sorted({y for _, y in pairs})
    cosine = functional.normalize(left, dim=1) @ functional.normalize(right, dim=1).t()
    expected = slow_ranks(cosine, pairs, lefts, rights)
    evaluate = EntityAlignment(torch.tensor(pairs), candidates=candidates, memory_mb=memory_mb)
    result = evaluate(left, right)
    assert torch.equal(result.ranks, expected[:, :, 0])
    assert torch.equal(result.num_candidates, expected[:, :, 1].long())


@pytest.mark.parametrize("candidates", ["all", "held_out"])
@pytest.mark.parametrize("k", [1, 3, 50])
def test_csls_equals_the_slow_twin(candidates: str, k: int):
    generator = torch.Generator().manual_seed(k)
    left, right = (torch.randn(n, 4, generator=generator, dtype=torch.double) for n in (9, 7))
    pairs = [(0, 1), (1, 4), (5, 2), (8, 6)]
    lefts, rights = list(range(9)), list(range(7))
    if candidates == "held_out":
        lefts, rights = [0, 1, 5, 8], [1, 2, 4, 6]
    cosine = functional.normalize(left, dim=1) @ functional.normalize(right, dim=1).t()
    expected = slow_ranks(slow_csls(cosine, k, lefts, rights), pairs, lefts, rights)
    result = EntityAlignment(torch.tensor(pairs), candidates=candidates, csls=k)(left, right)
    assert torch.equal(result.ranks, expected[:, :, 0])


def test_csls_tames_a_hub():
    left = torch.eye(3, 4)
    hub = torch.ones(1, 4) * torch.tensor([1.0, 1.0, 1.0, 0.0])
    far = torch.tensor([0.0, 0.0, 0.0, 2.0])
    right = torch.cat([torch.eye(3, 4) + far, hub])  # true ones at cosine .45, the hub at .58
    pairs = torch.tensor([[0, 0], [1, 1], [2, 2]])
    plain = EntityAlignment(pairs)(left, right).metrics()
    tamed = EntityAlignment(pairs, csls=2)(left, right).metrics()
    assert plain["left_to_right.hits@1"] == 0
    assert tamed["left_to_right.hits@1"] == 1
    assert plain["right_to_left.hits@1"] == 1


def test_the_protocol_is_stated():
    result = EntityAlignment(torch.tensor([[0, 1]]), candidates="held_out", csls=2)(
        torch.eye(3), torch.eye(3)
    )
    assert result.protocol == {
        "candidates": "held_out", "left": 1, "right": 1, "pairs": 1,
        "similarity": "CSLS, k = 2", "ties": "realistic",
    }  # fmt: skip
    assert result.metrics()["amri"] == 0  # one candidate shows nothing


def test_bad_input_is_refused():
    pairs = torch.tensor([[0, 2]])
    with pytest.raises(ValueError, match="no pair is held out"):
        EntityAlignment(pairs[:0])
    with pytest.raises(ValueError, match=r"shape \[P, 2\]"):
        EntityAlignment(pairs.view(-1))
    with pytest.raises(ValueError, match="'all' or 'held_out'"):
        EntityAlignment(pairs, candidates="every")
    with pytest.raises(ValueError, match=r"csls .*\(got -1\)"):
        EntityAlignment(pairs, csls=-1)
    with pytest.raises(ValueError, match=r"right ids in \[0, 2\) \(got 2 to 2\)"):
        EntityAlignment(pairs)(torch.eye(2), torch.eye(2))
    with pytest.raises(ValueError, match="one width"):
        EntityAlignment(pairs)(torch.eye(2), torch.eye(3))
    broken = torch.eye(3)
    broken[1, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinity for right entity 1"):
        EntityAlignment(pairs)(torch.eye(3), broken)
