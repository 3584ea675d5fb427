"""A foundation model on the command line: ranked, kept, asked."""

from pathlib import Path

import pyg_kgtransfer
from tests.commands.command_line import Kgt, assert_told, facts, write_split


def weights(folder: Path) -> Path:
    model = pyg_kgtransfer.FoundationModel(width=8, layers=2)
    return pyg_kgtransfer.write_foundation(model, folder / "weights.pth")


def test_ranked_kept_and_asked(kgt: Kgt, tmp_path: Path) -> None:
    graph, model = write_split(tmp_path / "world", facts("city", "land")), weights(tmp_path)
    given = ["--model", model, "--data", graph]
    told = kgt("zero-shot", *given, "--json").json
    assert 0 < told["metrics"]["mrr"] <= 1
    assert told["protocol"]["split"] == "test"
    assert kgt("zero-shot", *given, "--out", tmp_path / "kept").status == 0
    again = kgt("evaluate", "--checkpoint", tmp_path / "kept", "--data", graph, "--json").json
    assert again["metrics"] == told["metrics"]
    assert kgt("info", tmp_path / "kept").status == 0


def test_bad_input_is_told(kgt: Kgt, tmp_path: Path) -> None:
    model = weights(tmp_path)
    table = tmp_path / "facts.tsv"
    table.write_text("a\tr\tb\n")
    assert_told(kgt("zero-shot", "--model", model, "--data", table), "no test facts to rank")
    assert_told(kgt("zero-shot", "--model", table, "--data", table, "--out", tmp_path / "o"),
                "must hold tensors alone")  # fmt: skip
