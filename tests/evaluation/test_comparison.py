"""Gains, their intervals, negative transfer and its correction."""

import json

import pytest
import torch

from pyg_kgtransfer.evaluation.comparison import (
    MIN_TRIPLES,
    Comparison,
    Gain,
    bootstrap_means,
    compare,
)
from pyg_kgtransfer.evaluation.result import Groups, LinkPredictionResult


def result_of(ranks: torch.Tensor, relation: torch.Tensor | None = None, count: int = 50):
    total = len(ranks)
    relation = torch.zeros(total, dtype=torch.long) if relation is None else relation
    triples = torch.stack([torch.arange(total), relation, torch.arange(total)], 1)
    candidates = torch.full((total, 2), count)
    names = Groups(relation_names=["up", "down", "tiny"])
    return LinkPredictionResult(triples, ranks, ranks, candidates, {}, names)


def random_ranks(total: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, 40, (total, 2), generator=generator).double()


def test_the_gain_is_the_difference_of_the_metrics():
    before, after = result_of(random_ranks(40, 0)), result_of(random_ranks(40, 1))
    found = compare(before, after, samples=200).overall
    old, new = before.metrics(), after.metrics()
    for metric in ("mrr", "hits@1", "hits@3", "hits@10"):
        assert found[metric].baseline == pytest.approx(old[metric])
        assert found[metric].other == pytest.approx(new[metric])
        assert found[metric].gain == pytest.approx(new[metric] - old[metric])
        assert found[metric].low <= found[metric].gain <= found[metric].high


def test_the_bootstrap_resamples_rows_with_replacement():
    values = torch.tensor([[0.0, 1.0], [1.0, 3.0], [5.0, 11.0]]).double()
    means = bootstrap_means(values, 5000, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(means[:, 1], 2 * means[:, 0] + 1)  # rows stay together
    thirds = (means[:, 0] * 3).round().long().unique().tolist()
    assert thirds == [0, 1, 2, 3, 5, 6, 7, 10, 11, 15]  # every multiset of three rows
    deviation = (values[:, 0].var(unbiased=False) / 3).sqrt()
    assert means[:, 0].std().item() == pytest.approx(deviation.item(), rel=0.05)


def test_chunks_do_not_change_the_size_of_the_bootstrap():
    values = torch.ones(3000, 1, dtype=torch.double)  # 1398 resamples to a chunk
    means = bootstrap_means(values, 2000, generator=torch.Generator().manual_seed(0))
    assert means.shape == (2000, 1)
    assert torch.equal(means, torch.ones_like(means))


def test_intervals_cover_the_true_gain_about_as_often_as_they_say():
    covered = 0
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        after = torch.where(torch.rand(80, 1, generator=generator) < 0.3, 1.0, 2.0).expand(80, 2)
        before = torch.full((80, 2), 2.0).double()
        gain = compare(result_of(before), result_of(after.double()), samples=300).overall["mrr"]
        covered += gain.low <= 0.3 * 0.5 <= gain.high
    assert 51 <= covered <= 60


def test_negative_transfer_is_found_where_it_is_and_tiny_relations_are_not_judged():
    relation = torch.tensor([0] * 30 + [1] * 30 + [2] * 5)
    before = torch.full((65, 2), 4.0).double()
    after = before.clone()
    after[relation == 0] = 1.0
    after[relation == 1] = 8.0
    after[relation == 2] = 8.0  # as bad, but five triples say little
    found = compare(result_of(before, relation), result_of(after, relation), samples=200)
    assert found.negative_transfer == ["down"]
    assert found.negative_transfer_corrected == ["down"]
    assert not found.relations["tiny"]["mrr"].is_judged
    assert found.expected_by_chance == pytest.approx(2 * 0.025)
    assert [row["group"] for row in found.rows()] == ["all", "up", "down", "tiny"]


def gain_of(p: float, high: float = -0.1, count: int = MIN_TRIPLES) -> dict[str, Gain]:
    return {"mrr": Gain(count, 0.5, 0.3, -0.2 - p, -0.3, high, p)}


def test_the_correction_is_that_of_benjamini_and_hochberg():
    values = [0.01, 0.02, 0.024, 0.2, 0.9]  # limits at 5 %: .01 .02 .03 .04 .05
    relations = {f"r{i}": gain_of(p) for i, p in enumerate(values)}
    relations["small"] = gain_of(0.001, count=MIN_TRIPLES - 1)
    found = Comparison({}, relations, {}, 0.95, 2000, 0)
    assert set(found.negative_transfer) == {"r0", "r1", "r2", "r3", "r4"}
    assert set(found.negative_transfer_corrected) == {"r0", "r1", "r2"}
    assert found.negative_transfer[0] == "r4"  # the worst first
    none = Comparison({}, {"r0": gain_of(0.04), "r1": gain_of(0.2)}, {}, 0.95, 2000, 0)
    assert none.negative_transfer_corrected == []


def test_copyable_triples_are_reported_apart():
    before, after = torch.full((20, 2), 4.0).double(), torch.full((20, 2), 4.0).double()
    copyable = torch.arange(20) < 8
    after[copyable] = 1.0
    found = compare(result_of(before), result_of(after), copyable=copyable, samples=100)
    assert found.copyable["copyable"]["mrr"].gain == 0.75
    assert found.copyable["copyable"]["mrr"].count == 8
    assert found.copyable["not copyable"]["mrr"].gain == 0
    assert found.copyable["not copyable"]["mrr"].p_negative == 1
    none = torch.zeros(20, dtype=torch.bool)
    assert set(compare(result_of(before), result_of(after), copyable=none).copyable) == {
        "not copyable"
    }


def test_the_same_seed_gives_the_same_comparison_ready_for_json():
    before, after = result_of(random_ranks(30, 2)), result_of(random_ranks(30, 3))
    first, again = (compare(before, after, samples=100, seed=5) for _ in range(2))
    other = compare(before, after, samples=100, seed=6)
    assert first == again
    assert first.overall["mrr"].low != other.overall["mrr"].low
    assert json.loads(json.dumps(first.to_dict()))["overall"]["mrr"]["count"] == 30


def test_what_cannot_be_compared_is_refused():
    before = result_of(random_ranks(30, 2))
    with pytest.raises(ValueError, match="same triples in the same order"):
        compare(before, before.select(torch.arange(30) < 20))
    with pytest.raises(ValueError, match="one protocol only"):
        compare(before, result_of(random_ranks(30, 2), count=40))
    with pytest.raises(ValueError, match=r"at least 100 .*\(got 10\)"):
        compare(before, before, samples=10)
    with pytest.raises(ValueError, match=r"level must be in \(0, 1\)"):
        compare(before, before, level=95)
    with pytest.raises(ValueError, match=r"copyable must be bool of shape \[30\]"):
        compare(before, before, copyable=torch.ones(30))
    with pytest.raises(ValueError, match=r"\(got 'amri'\)"):
        compare(before, before, samples=100).rows("amri")
