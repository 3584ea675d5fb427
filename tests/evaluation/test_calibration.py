"""Probabilities that mean what they say."""

import math

import pytest
import torch

from pyg_kgtransfer.evaluation.calibration import (
    Calibration,
    brier_score,
    expected_calibration_error,
    fit_by_relation,
    fit_calibration,
)


def drawn(slope: float, intercept: float, count: int = 20_000):
    generator = torch.Generator().manual_seed(0)
    scores = 50 + 30 * torch.randn(count, generator=generator, dtype=torch.double)
    chance = torch.sigmoid(slope * scores + intercept)
    return scores, torch.rand(count, generator=generator, dtype=torch.double) < chance


def test_the_planted_slope_and_intercept_are_found():
    scores, is_true = drawn(0.08, -5.0)
    fitted = fit_calibration(scores, is_true)
    assert fitted.slope == pytest.approx(0.08, rel=0.05)
    assert fitted.intercept == pytest.approx(-5.0, rel=0.05)
    assert expected_calibration_error(fitted.probability(scores), is_true) < 0.01
    raw = torch.sigmoid(scores)
    assert expected_calibration_error(raw, is_true) > 0.2
    assert brier_score(fitted.probability(scores), is_true) < brier_score(raw, is_true)


def test_the_fit_is_a_stationary_point_of_the_loss():
    scores, is_true = drawn(0.05, -2.0, count=40)
    fitted = fit_calibration(scores, is_true)
    positives, negatives = int(is_true.sum()), int((~is_true).sum())
    target = torch.where(is_true, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    error = fitted.probability(scores) - target
    assert error.mean().item() == pytest.approx(0, abs=1e-6)
    assert (error * (scores - 50) / 30).mean().item() == pytest.approx(0, abs=1e-6)


def test_separable_and_constant_scores_stay_finite():
    labels = torch.tensor([False, False, True, True])
    sharp = fit_calibration(torch.tensor([0.0, 1.0, 9.0, 10.0]), labels)
    assert 0 < sharp.slope < 10
    flat = fit_calibration(torch.full((4,), 3.0), labels)
    assert flat.probability(torch.tensor([3.0])).item() == pytest.approx(0.5)


def test_errors_by_hand():
    probability = torch.tensor([0.1, 0.1, 0.9, 1.0]).double()
    is_true = torch.tensor([False, True, True, True])
    assert brier_score(probability, is_true) == pytest.approx((0.01 + 0.81 + 0.01 + 0) / 4)
    # bin of 0.1: mean .1, half true; bin of 0.9 and 1.0: mean .95, all true
    expected = 0.5 * 0.4 + 0.5 * 0.05
    assert expected_calibration_error(probability, is_true) == pytest.approx(expected)
    assert Calibration(2.0, 0.0).probability(torch.zeros(1)).item() == 0.5


def planted_by_relation(slopes: list[float], intercepts: list[float], count: int = 9_000):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(count, generator=generator, dtype=torch.double)
    relation = torch.randint(len(slopes), (count,), generator=generator)
    chance = torch.sigmoid(
        torch.tensor(slopes)[relation] * scores + torch.tensor(intercepts)[relation]
    )
    return scores, torch.rand(count, generator=generator, dtype=torch.double) < chance, relation


def test_each_relation_has_its_planted_slope_and_intercept():
    scores, is_true, relation = planted_by_relation([1.0, 3.0, 2.0], [2.0, -2.0, 0.0])
    found = fit_by_relation(scores, is_true, relation, num_relations=3)
    assert found.slopes == pytest.approx([1.0, 3.0, 2.0], rel=0.12)
    assert found.intercepts == pytest.approx([2.0, -2.0, 0.0], abs=0.15)
    test = planted_by_relation([1.0, 3.0, 2.0], [2.0, -2.0, 0.0], count=5_000)
    own = brier_score(found.probability(test[0], test[2]), test[1])
    pooled = brier_score(fit_calibration(scores, is_true).probability(test[0]), test[1])
    assert own < 0.85 * pooled
    # where relations are alike there is nothing to win
    alike = planted_by_relation([2.0] * 3, [0.0] * 3)
    found = fit_by_relation(*alike, num_relations=3)
    own = brier_score(found.probability(alike[0], alike[2]), alike[1])
    pooled = brier_score(fit_calibration(*alike[:2]).probability(alike[0]), alike[1])
    assert own == pytest.approx(pooled, rel=0.01)


def test_few_facts_stay_near_those_of_all_and_none_has_them():
    scores, is_true, relation = planted_by_relation([2.0, 2.0], [1.0, -1.0], count=4_000)
    few = (relation == 0) | (torch.arange(4_000) < 8)
    kept = scores[few], is_true[few], relation[few]
    loose, firm = (fit_by_relation(*kept, num_relations=3, shrinkage=each) for each in (0.1, 100.0))
    for found in (loose, firm):
        assert found.slopes[2] == found.pooled.slope
        assert found.intercepts[2] == found.pooled.intercept
    gap = [abs(each.intercepts[1] - each.pooled.intercept) for each in (loose, firm)]
    assert gap[1] < 0.1 * gap[0]
    none = found.probability(scores)
    assert torch.equal(none, found.pooled.probability(scores))


def test_the_fit_by_relation_is_the_least_of_its_loss():
    """Against the loss written out, fact by fact: no step away from the fit is better."""
    scores, is_true, relation = planted_by_relation([1.0, 3.0], [1.0, -1.0], count=60)
    shrinkage, spread, centre = 0.5, scores.std().item(), scores.mean().item()
    found = fit_by_relation(scores, is_true, relation, num_relations=2, shrinkage=shrinkage)
    positives, negatives = int(is_true.sum()), int((~is_true).sum())

    def loss(a: float, b: float, slopes: list[float], intercepts: list[float]) -> float:
        total = 0.0
        for score, true, r in zip(
            scores.tolist(), is_true.tolist(), relation.tolist(), strict=True
        ):
            y = (positives + 1) / (positives + 2) if true else 1 / (negatives + 2)
            p = 1 / (1 + math.exp(-(slopes[r] * (score - centre) / spread + intercepts[r])))
            total -= y * math.log(p) + (1 - y) * math.log(1 - p)
        for r in range(2):
            total += shrinkage * ((slopes[r] - a) ** 2 + (intercepts[r] - b) ** 2)
        return total

    slopes = [found.pooled.slope, *found.slopes]
    intercepts = [found.pooled.intercept, *found.intercepts]
    best = [slope * spread for slope in slopes]  # of standardised scores
    best += [b + slope * centre for slope, b in zip(slopes, intercepts, strict=True)]

    def at(numbers: list[float]) -> float:
        return loss(numbers[0], numbers[3], numbers[1:3], numbers[4:])

    for place in range(6):
        for step in (-1e-3, 1e-3):
            moved = [x + step * (i == place) for i, x in enumerate(best)]
            assert at(moved) > at(best)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"got 2 true, 0 false"):
        fit_calibration(torch.zeros(2), torch.tensor([True, True]))
    with pytest.raises(ValueError, match="finite scores"):
        fit_calibration(torch.tensor([0.0, torch.nan]), torch.tensor([True, False]))
    both, relation = torch.tensor([True, False]), torch.zeros(2, dtype=torch.long)
    with pytest.raises(ValueError, match=r"shrinkage must be above 0 \(got 0\)"):
        fit_by_relation(torch.zeros(2), both, relation, num_relations=1, shrinkage=0)
