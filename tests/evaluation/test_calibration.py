"""Probabilities that mean what they say."""

import pytest
import torch

from pyg_kgtransfer.evaluation.calibration import (
    Calibration,
    brier_score,
    expected_calibration_error,
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


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"got 2 true, 0 false"):
        fit_calibration(torch.zeros(2), torch.tensor([True, True]))
    with pytest.raises(ValueError, match="finite scores"):
        fit_calibration(torch.tensor([0.0, torch.nan]), torch.tensor([True, False]))
