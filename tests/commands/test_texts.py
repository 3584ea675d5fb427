"""Texts and hierarchies on the command line: kg-fit, hierarchy make, hierarchy show."""

import json
from pathlib import Path

import pytest

from pyg_kgtransfer.sources.hierarchies import read_hierarchy, write_nested_hierarchy
from pyg_kgtransfer.training.checkpoint import Checkpoint
from tests.commands.command_line import QUICK, Kgt, assert_told, facts, write_split

SMALL = ["--leaves.least", "2"]


@pytest.fixture
def world(tmp_path: Path) -> list[object]:
    """A graph, a table of texts and a cache."""
    graph = write_split(tmp_path / "world", facts("city", "land"))
    text = tmp_path / "text.tsv"
    lines = [f"city {i}\ta town of land {i % 3}\n" for i in range(12)]
    lines += [f"land {i}\ta country\n" for i in range(3)]
    text.write_text("".join(lines))
    return ["--data", graph, "--text", text, "--cache", tmp_path / "cache"]


def test_the_whole_way_from_text_to_a_checkpoint(kgt: Kgt, world, tmp_path: Path) -> None:
    ran = kgt("kg-fit", *world, *QUICK, *SMALL, "--out", tmp_path / "model", "--json")
    told = ran.json
    assert told["hierarchy"]["entities_in_no_cluster"] == 0
    assert told["hierarchy"]["refined_by"] == "local"
    assert 0 < told["test"]["mrr"] <= 1
    checkpoint = Checkpoint.load(tmp_path / "model")
    assert checkpoint.config is not None
    assert checkpoint.config.inputs == "mixture"
    kept = Path(told["hierarchy"]["file"])
    assert len(read_hierarchy(kept).entities) == 15

    again = kgt("kg-fit", *world, *QUICK, "--hierarchy", kept, "--out", tmp_path / "m2", "--json")
    assert again.json["id"] == told["id"]  # vectors from the cache, the tree from the file
    labels = {f"city {i}": f"city {i}" for i in range(12)}
    write_nested_hierarchy(read_hierarchy(kept), tmp_path / "nested.json", labels)
    nested = kgt("kg-fit", *world, *QUICK, "--hierarchy", tmp_path / "nested.json",
                 "--out", tmp_path / "m3", "--json")  # fmt: skip
    assert nested.json["id"] == told["id"]


def test_a_dry_run_counts_questions_and_writes_nothing(kgt: Kgt, world, tmp_path: Path) -> None:
    for verb in (["kg-fit", *QUICK], ["hierarchy", "make"]):
        ran = kgt(*verb, *world, *SMALL, "--dry_run", "true", "--refine", "llm",
                  "--out", tmp_path / "new", "--json")  # fmt: skip
        assert ran.json["questions_at_most"] > 0
        assert not list(tmp_path.glob("new*"))


def test_a_hierarchy_is_made_shown_and_drawn(kgt: Kgt, world, tmp_path: Path) -> None:
    tree = tmp_path / "tree.json"
    made = kgt("hierarchy", "make", *world, *SMALL, "--width", 16, "--out", tree)
    assert f"written to {tree}" in made.out
    shown = ["hierarchy", "show", "--hierarchy", tree, "--entity", "city 1"]
    told = kgt(*shown, "--json").json
    assert "city 1" in told["members"]
    assert told["path"]
    assert "city 1  ◀" in kgt(*shown, "--levels", 0).out
    pytest.importorskip("matplotlib")
    assert kgt(*shown, "--png", tmp_path / "tree.png", "--json").status == 0
    assert (tmp_path / "tree.png").read_bytes().startswith(b"\x89PNG")


def test_without_an_endpoint_the_seed_is_kept(kgt: Kgt, world, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    down = [*SMALL, "--refine", "llm", "--llm.base_url", "http://127.0.0.1:9/v1",
            "--llm.timeout", 1, "--budget.tries", 1]  # fmt: skip
    ran = kgt("hierarchy", "make", *world, *down, "--out", tmp_path / "tree.json")
    assert ran.status == 2
    assert "got no answer" in ran.err
    assert len(read_hierarchy(tmp_path / "tree.json").entities) == 15
    ran = kgt("kg-fit", *world, *QUICK, *down, "--out", tmp_path / "model")
    assert ran.status == 2
    assert f"--hierarchy {tmp_path / 'model.hierarchy.json'}" in ran.err
    assert not (tmp_path / "model").exists()


def test_a_budget_that_runs_out_keeps_what_was_done(kgt: Kgt, world, tmp_path, monkeypatch) -> None:
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    ran = kgt("hierarchy", "make", *world, *SMALL, "--refine", "llm", "--budget.max_calls", 0,
              "--out", tmp_path / "tree.json", "--json")  # fmt: skip
    assert ran.json["refined_to_the_end"] is False
    assert "budget of 0 calls is spent" in ran.err
    assert len(read_hierarchy(tmp_path / "tree.json").entities) == 15


def test_bad_input(kgt: Kgt, world, tmp_path: Path) -> None:
    tree = tmp_path / "tree.json"
    kgt("hierarchy", "make", *world, "--refine", "none", "--out", tree)
    show = ["hierarchy", "show", "--hierarchy", tree]
    assert_told(kgt(*show, "--entity", "citty 1"), "no entity 'citty 1'", "'city 1'")
    assert_told(kgt(*show, "--entity", "city 1", "--levels", -1), "at least 0 (got -1)")
    assert_told(kgt("hierarchy"), "did you mean 'hierarchy")
    loop = tmp_path / "loop.json"
    content = json.loads(tree.read_text())
    content["clusters"][0]["parent"] = 1 if len(content["clusters"]) > 1 else 0
    loop.write_text(json.dumps(content))
    out = ["--out", tmp_path / "model", *QUICK]
    assert_told(kgt("kg-fit", *world, *out, "--hierarchy", loop), "does not hold a hierarchy")
    assert_told(kgt("kg-fit", *world, *out, "--recipe.model.width", 7), "even (got 7)")
    refused = kgt("kg-fit", *world[:2], "--cache", tmp_path, *out, "--without_text", "refuse")
    assert_told(refused, "15 of 15 entities are not described")
    missing = kgt("kg-fit", *world[:2], "--text", tmp_path / "none.tsv", *out)
    assert_told(missing, "there is no file", "none.tsv")
