"""Probabilities on the command line: learned, told, drawn, kept, asked."""

import shutil
from pathlib import Path

import pytest

from pyg_kgtransfer.training.checkpoint import Checkpoint
from tests.commands.command_line import Kgt, assert_told


@pytest.fixture
def model(place: Path, tmp_path: Path) -> Path:
    """A teacher to change."""
    return Path(shutil.copytree(place / "teacher", tmp_path / "model"))


@pytest.mark.parametrize("method", ["platt", "isotonic", "relation"])
def test_learned_kept_and_asked(kgt: Kgt, place: Path, model: Path, method: str) -> None:
    before = Checkpoint.load(model)
    given = ["--checkpoint", model, "--data", place / "a", "--method", method]
    told = kgt("calibrate", *given, "--json").json
    assert told["checkpoint"] == str(model)
    assert (told["method"], told["graph"], told["corruptions"]) == (method, "a", 1)
    assert set(told["metrics"]) == {"ece", "brier", "raw.ece", "raw.brier"}
    after = Checkpoint.load(model)
    assert told["id"] == after.id == before.id
    assert after.sources.names == before.sources.names
    assert after.metrics["calibration"]["ece"] == told["metrics"]["ece"]
    query = ["--checkpoint", model, "--head", "city 3", "--relation", "located in"]
    answers = kgt("predict", *query, "--json").json["answers"]
    assert all(0 <= answer["probability"] <= 1 for answer in answers)
    assert "probability" in kgt("predict", *query).out
    assert kgt("info", model, "--json").json["calibration"]["method"] == method


def test_a_table_for_people_and_a_folder_of_its_own(
    kgt: Kgt, place: Path, model: Path, tmp_path: Path
) -> None:
    given = ["--checkpoint", model, "--data", place / "a", "--corruptions", "3"]
    ran = kgt("calibrate", *given, "--out", tmp_path / "out")
    assert ran.status == 0, ran.err
    for part in ("logistic of the score", "platt", "ece", "brier", "3 false to one true"):
        assert part in ran.out
    assert Checkpoint.load(model).calibration is None
    assert Checkpoint.load(tmp_path / "out").calibration is not None
    asked = ["--head", "city 3", "--relation", "located in"]
    assert "probability" not in kgt("predict", "--checkpoint", model, *asked).out


def test_a_graph_under_another_name_leaves_the_sources_as_they_are(
    kgt: Kgt, place: Path, model: Path
) -> None:
    ran = kgt("calibrate", "--checkpoint", model, "--data", f"other={place / 'a'}", "--json")
    assert ran.json["graph"] == "other"
    assert Checkpoint.load(model).sources.names == ("a", "b")


def test_drawn_before_and_after(kgt: Kgt, place: Path, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    png = tmp_path / "curve.png"
    ran = kgt("calibrate", "--checkpoint", model, "--data", place / "a", "--plot", png, "--json")
    assert ran.json["plot"] == str(png)
    assert png.read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_is_told_and_nothing_is_lost(
    kgt: Kgt, place: Path, model: Path, tmp_path: Path
) -> None:
    given = ["calibrate", "--checkpoint", model, "--data"]
    table = tmp_path / "a.tsv"
    table.write_text((place / "a" / "train.tsv").read_text())
    assert_told(kgt(*given, f"a={table}"), "needs validation facts of 'a'")
    assert_told(kgt(*given, place / "a", "--corruptions", "0"), "at least 1 (got 0)")
    assert_told(kgt(*given, place / "a", "--method", "beta"), "'platt', 'isotonic', 'relation'")
    (model / "notes.txt").write_text("mine")
    assert_told(kgt(*given, place / "a"), "notes.txt", "--out")
    assert (model / "notes.txt").read_text() == "mine"
    assert Checkpoint.load(model).calibration is None
    assert_told(kgt("calibrate", "--checkpoint", tmp_path / "none", "--data", place / "a"), "none")
