"""A search on the command line: what it shows, writes, goes on with and refuses."""

import sys
from pathlib import Path

import pytest
import yaml

from tests.commands.command_line import QUICK, Kgt, assert_told

optuna = pytest.importorskip("optuna")
pytest.importorskip("filelock")


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(
        "training.learning_rate: {low: 1e-3, high: 1, log: true}\nmodel.width: [4, 6]\n"
    )
    return path


def test_the_best_is_told_and_pretrain_reads_it(
    kgt: Kgt, place: Path, space: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tuned"
    both = ["--data", place / "a", place / "b", "--links", place / "a~b.tsv", "--mode", "mapping"]
    search = ["tune", *both, "--space", space, "--out", out, "--startup", "1", *QUICK]
    ran = kgt(*search, "--trials", "2")
    assert ran.status == 0, ran.err
    for part in (
        "low 0.001, high 1, log yes",
        "best mrr",
        f"kgt pretrain --config {out}/best.yaml",
    ):
        assert part in ran.out
    told = kgt(*search, "--trials", "3", "--json").json
    assert [trial["number"] for trial in told["trials"]] == [1, 2, 3]
    assert told["value"] == max(t["value"] for t in told["trials"] if t["state"] == "complete")
    assert told["study"] == str(out / "study.db")
    best = yaml.safe_load((out / "best.yaml").read_text())
    assert best["recipe"]["model"]["width"] == told["parameters"]["model.width"]
    assert best["mode"] == "mapping"
    trained = kgt("pretrain", "--config", out / "best.yaml", "--out", tmp_path / "m", "--json").json
    assert trained["valid"]["mrr"] == told["value"]
    assert yaml.safe_load((out / "space.yaml").read_text()) == {
        "training.learning_rate": {"low": 0.001, "high": 1.0, "log": True},
        "model.width": [4, 6],
    }


def test_a_space_of_its_own_and_the_same_again(kgt: Kgt, place: Path, tmp_path: Path) -> None:
    search = ["tune", "--data", place / "a", "--trials", "1", "--json", *QUICK]
    search += ["--recipe.training.epochs", "1"]
    first = kgt(*search, "--out", tmp_path / "one").json
    assert {"training.learning_rate", "objective.n3"} <= first["parameters"].keys()
    space = ["--space", tmp_path / "one" / "space.yaml"]
    assert kgt(*search, *space, "--out", tmp_path / "one").json == first
    ran = kgt(*search, *space, "--seed", "1", "--out", tmp_path / "one")
    assert_told(ran, "search seed was 0, is 1")


def test_ctrl_c_is_told_once(
    kgt: Kgt, place: Path, space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its training says of a run_dir that trials never have is not passed on."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(optuna.trial.Trial, "report", interrupt)
    search = ["tune", "--data", place / "a", "--space", space, "--out", tmp_path / "x", *QUICK]
    ran = kgt(*search, "--trials", "2")
    told = " ".join(ran.err.split())
    assert ran.status == 130
    assert told.startswith("kgt tune: tuning stopped by Ctrl-C after 0 of 2 trials; they are in ")
    assert told.count("Ctrl-C") == 1
    assert "resume checkpoint" not in told


def test_bad_input_is_told_before_anything_is_made(
    kgt: Kgt, place: Path, space: Path, tmp_path: Path
) -> None:
    search = ["tune", "--data", place / "a", "--out", tmp_path / "x", *QUICK]
    for text, parts in (
        ("model.widht: [4]\n", ("did you mean 'model.width'?",)),
        ("model.width: [4\n", ("space.yaml must be YAML (got: ",)),
        ("- 4\n", ("a line for each option", "got list")),
        ("objective.n3: {low: 1, high: 0}\n", ("low below high (got 1.0 and 0.0)",)),
    ):
        space.write_text(text)
        assert_told(kgt(*search, "--space", space), *parts)
    assert_told(kgt(*search, "--space", tmp_path / "none"), "no file of a search space", "none")
    assert_told(kgt(*search, "--pruner", "medain"), "did you mean 'median'?")
    assert_told(kgt(*search, "--trials", "0"), "trials must be at least 1 (got 0)")
    assert_told(kgt(*search, "--out", tmp_path), "holds no study, so nothing is put there")
    assert_told(kgt(*search, "--out", space), "a folder is wanted for the study", "got the file")
    facts = ["--data", place / "a" / "train.tsv"]
    assert_told(kgt(*search, *facts, "--json"), "compares recipes by validation facts")
    assert [path.name for path in tmp_path.iterdir()] == ["space.yaml"]


def test_without_the_extra_it_says_what_to_install(
    kgt: Kgt, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    ran = kgt("tune", "--data", place / "a", "--out", tmp_path / "x", *QUICK)
    assert_told(ran, "pip install pyg-kgtransfer[tune]", "got no optuna")
    assert not list(tmp_path.iterdir())
