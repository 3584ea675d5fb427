"""Reliability diagrams, and the errors that they tell."""

from pathlib import Path

import pytest
import torch

from pyg_kgtransfer.evaluation.calibration import expected_calibration_error, reliability
from pyg_kgtransfer.serving.reliability_plot import calibration_error, plot_reliability


def bins_of(seed: int) -> tuple[list[dict[str, float]], float]:
    generator = torch.Generator().manual_seed(seed)
    probability = torch.rand(500, generator=generator, dtype=torch.double)
    is_true = torch.rand(500, generator=generator) < 0.3
    return reliability(probability, is_true), expected_calibration_error(probability, is_true)


def test_bins_tell_the_error_of_what_they_were_made_of() -> None:
    for seed in range(3):
        bins, wanted = bins_of(seed)
        assert calibration_error(bins) == pytest.approx(wanted, abs=1e-6)


def test_a_picture_of_one_curve_or_several(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    one = {"before": bins_of(0)[0]}
    for number, curves in enumerate((one, one | {"platt": bins_of(1)[0][:1]})):
        path = tmp_path / "new" / f"{number}.png"
        plot_reliability(curves, path, title="numbers")
        assert path.read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in path.parent.iterdir()) == ["0.png", "1.png"]


def test_nothing_to_draw_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"bins of test facts \(got none of after\)"):
        plot_reliability({"before": bins_of(0)[0], "after": []}, tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"needs a curve \(got none\)"):
        plot_reliability({}, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
