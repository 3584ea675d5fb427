"""Calibrations as plain data, and those that are none."""

import json

import numpy as np
import pytest
import torch

from pyg_kgtransfer.models.calibration import (
    Calibration,
    IsotonicCalibration,
    RelationCalibration,
    calibrator_from_dict,
    calibrator_to_dict,
)


def test_straight_lines_between_and_level_beyond() -> None:
    rise = IsotonicCalibration(np.array([0.0, 2.0]), np.array([0.25, 0.75]))
    scores = torch.tensor([[-9.0, 0.0], [1.0, 9.0]])
    assert rise.probability(scores).tolist() == [[0.25, 0.25], [0.5, 0.75]]


def test_each_relation_reads_its_own_line() -> None:
    pooled = Calibration(1.0, 0.0)
    found = RelationCalibration(pooled, np.array([2.0, 0.5]), np.array([0.0, 1.0]))
    scores, relation = torch.tensor([1.0, 1.0, -2.0]), torch.tensor([0, 1, 1])
    wanted = torch.tensor([2.0, 1.5, 0.0]).double().sigmoid()
    assert torch.equal(found.probability(scores, relation), wanted)
    assert torch.equal(found.probability(scores), pooled.probability(scores))


@pytest.mark.parametrize(
    "calibration",
    [
        Calibration(np.pi, -1e-17),
        IsotonicCalibration(np.array([np.pi]), np.array([1.0])),
        RelationCalibration(Calibration(1 / 3, 0.0), np.array([np.e]), np.array([-np.pi])),
    ],
)
def test_json_loses_nothing(calibration) -> None:
    kept = calibrator_to_dict(calibration)
    back = calibrator_from_dict(json.loads(json.dumps(kept, allow_nan=False)))
    assert calibrator_to_dict(back) == kept
    scores, relation = torch.randn(20), torch.zeros(20, dtype=torch.long)
    probability = back.probability(scores, relation)
    assert torch.equal(probability, calibration.probability(scores, relation))
    assert probability.dtype == torch.float64


def test_numbers_that_are_no_probabilities_are_refused() -> None:
    up = np.array([0.0, 1.0])
    with pytest.raises(ValueError, match=r"finite slope and intercept \(got nan and 0\.0\)"):
        Calibration(float("nan"), 0.0)
    with pytest.raises(ValueError, match=r"as many probabilities .*\(2,\) and \(1,\)"):
        IsotonicCalibration(up[:1], up)
    with pytest.raises(ValueError, match="ascending scores"):
        IsotonicCalibration(up[::-1], up)
    for wrong in (up[::-1], up + 0.5, up - 0.5, np.array([0.5, np.nan])):
        with pytest.raises(ValueError, match=r"in \[0, 1\] that never fall"):
            IsotonicCalibration(up, wrong)
    with pytest.raises(ValueError, match="as many slopes"):
        RelationCalibration(Calibration(1.0, 0.0), up, up[:1])
    with pytest.raises(ValueError, match="finite slopes"):
        RelationCalibration(Calibration(1.0, 0.0), up, np.array([0.0, np.inf]))
    for kept in ({}, {"kind": "beta"}, {"kind": None}):
        with pytest.raises(ValueError, match="of the kind platt, isotonic, relation"):
            calibrator_from_dict(kept)
    with pytest.raises(ValueError, match="isotonic lacks its numbers"):
        calibrator_from_dict({"kind": "isotonic", "scores": [1.0]})
