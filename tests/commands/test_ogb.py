"""OGB's data sets by name on the command line: trained on, and ranked among their negatives."""

from dataclasses import replace
from pathlib import Path
from shutil import make_archive

import pytest

from pyg_kgtransfer.sources.ogb import OGB
from pyg_kgtransfer.sources.synthetic_ogb import MiniatureOptions, write_miniature
from tests.commands.command_line import QUICK, Kgt, assert_told


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    options = MiniatureOptions(num_facts=30, num_negatives=6)
    write_miniature("ogbl-biokg", tmp_path, options)
    monkeypatch.setenv("KGT_DATA", str(tmp_path))
    monkeypatch.setenv("KGT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KGT_OFFLINE", "1")
    return tmp_path


def test_a_data_set_of_ogb_is_trained_on_and_ranked_by_its_protocol(root: Path, kgt: Kgt) -> None:
    out = root / "model"
    assert kgt("pretrain", "--data", "ogbl-biokg", "--out", out, *QUICK).status == 0
    ran = kgt("evaluate", "--checkpoint", out, "--data", "ogbl-biokg", "--json")
    assert ran.status == 0, ran.err
    assert ran.json["protocol"]["negatives"] == "supplied: 6 of each fact and side"
    assert ran.json["protocol"]["candidates"] == 7
    assert ran.json["metrics"]["mr"] <= 7
    told = kgt("evaluate", "--checkpoint", out, "--data", "ogbl-biokg", "--part", "valid").out
    assert "each answer among negatives (supplied: 6 of each fact and side), not among" in told


def test_bias_leaves_the_metrics_as_they_are(root: Path, kgt: Kgt) -> None:
    """They are of ranks among negatives; bias is of ranks among all entities, and says so."""
    out = root / "model"
    assert kgt("pretrain", "--data", "ogbl-biokg", "--out", out, *QUICK).status == 0
    ranked = ["evaluate", "--checkpoint", out, "--data", "ogbl-biokg"]
    plain = kgt(*ranked, "--json").json
    told = kgt(*ranked, "--bias", "true", "--json").json
    bias = told.pop("bias")
    assert told == plain
    assert told["protocol"]["candidates"] == 7
    assert bias["protocol"]["candidates"] > 7
    assert "negatives" not in bias["protocol"]
    shown = kgt(*ranked, "--bias", "true").out
    assert "each answer among negatives (supplied: 6 of each fact and side), not among" in shown
    assert "is told of other ranks, among all entities: test: " in " ".join(shown.split())
    help_text = " ".join(kgt("evaluate", "--help").out.split())
    assert "or among the negatives that come with them (OGB)" in help_text


def test_stdout_is_json_alone_when_a_data_set_is_fetched(
    root: Path, kgt: Kgt, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make_archive(str(root / "biokg"), "zip", root, "ogbl_biokg")
    known = replace(OGB["ogbl-biokg"], url=Path(archive).as_uri(), member="ogbl_biokg")
    monkeypatch.setattr("pyg_kgtransfer.sources.ogb.OGB", {**OGB, "ogbl-biokg": known})
    monkeypatch.setenv("KGT_DATA", str(root / "none"))
    monkeypatch.setenv("KGT_OFFLINE", "0")
    ran = kgt("info", "ogbl-biokg", "--json")
    assert ran.status == 0, ran.err
    assert ran.json
    assert (root / "cache" / "ogb" / "ogbl_biokg" / "raw").is_dir()


def test_a_data_set_that_is_not_there_or_misspelt_is_told(root: Path, kgt: Kgt) -> None:
    ran = kgt("pretrain", "--data", "ogbl-wikikg2", "--out", root / "model", *QUICK)
    assert_told(ran, "'ogbl-wikikg2' needs its folder ogbl_wikikg2 in")
    ran = kgt("pretrain", "--data", "ogbl-bioknowledge", "--out", root / "model", *QUICK)
    assert_told(ran, "'ogbl-biokg'")
