"""What all benchmarks share: arguments, runs kept on file, figures over seeds, the report."""

import csv
import json
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from benchmarks.protocol import (
    Benchmark,
    Found,
    fingerprints,
    over_seeds,
    parser,
    versions,
    write_json,
)
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.models.build import ModelConfig
from pyg_kgtransfer.objectives.auxiliary import AuxiliaryConfig
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.transfer.recipe import Recipe


def given(folder: Path, *arguments: str) -> Namespace:
    return parser("a benchmark").parse_args(["--out", str(folder / "found.json"), *arguments])


def begin(folder: Path, *arguments: str, data: dict[str, object] | None = None) -> Benchmark:
    return Benchmark.begin("example", given(folder, *arguments), data=data or {})


def counted(values: list[float]) -> tuple[Callable[[], dict[str, float]], list[int]]:
    """Work that gives the next of ``values`` each time, and a list that grows with every call."""
    calls: list[int] = []

    def work() -> dict[str, float]:
        calls.append(1)
        return {"mrr": values[len(calls) - 1]}

    return work, calls


def test_seeds_are_one_if_quick_and_three_otherwise_unless_given(tmp_path: Path) -> None:
    assert begin(tmp_path, "--quick").seeds == (0,)
    assert begin(tmp_path).seeds == (0, 1, 2)
    assert begin(tmp_path, "--quick", "--seeds", "7", "5").seeds == (7, 5)


def test_an_output_that_is_no_json_file_and_repeated_seeds_are_refused(tmp_path: Path) -> None:
    options = parser("a benchmark").parse_args(["--out", str(tmp_path / "found.txt")])
    with pytest.raises(ValueError, match=r"--out must name a \.json file \(got .*found\.txt\)"):
        Benchmark.begin("example", options, data={})
    with pytest.raises(ValueError, match=r"--seeds must differ \(got 3 3\)"):
        begin(tmp_path, "--seeds", "3", "3")


def test_without_an_output_the_command_line_is_refused() -> None:
    with pytest.raises(SystemExit):
        parser("a benchmark").parse_args(["--quick"])


def test_a_run_on_file_is_not_done_again(tmp_path: Path) -> None:
    work, calls = counted([0.25, 0.75])
    assert begin(tmp_path).run("first", work) == {"mrr": 0.25}
    assert begin(tmp_path).run("first", work) == {"mrr": 0.25}
    assert len(calls) == 1


@pytest.mark.parametrize("change", ["settings", "data", "quick"])
def test_a_run_on_file_counts_for_the_same_settings_data_and_size_alone(
    tmp_path: Path, change: str
) -> None:
    work, calls = counted([0.25, 0.75])
    begin(tmp_path, data={"set": 1}).run("first", work, settings={"width": 8})
    again = begin(
        tmp_path,
        *(["--quick"] if change == "quick" else []),
        data={"set": 2 if change == "data" else 1},
    )
    width = 16 if change == "settings" else 8
    assert again.run("first", work, settings={"width": width}) == {"mrr": 0.75}
    assert len(calls) == 2


def test_a_run_that_fails_leaves_nothing_and_the_others_stay(tmp_path: Path) -> None:
    benchmark = begin(tmp_path)
    benchmark.run("first", lambda: {"mrr": 0.5})

    def fail() -> dict[str, float]:
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        benchmark.run("second", fail)
    assert sorted(path.name for path in benchmark.folder.iterdir()) == ["first.json"]


def test_figures_are_medians_over_seeds_with_the_extremes(tmp_path: Path) -> None:
    benchmark = begin(tmp_path)
    for seed, value in enumerate((0.1, 0.6, 0.2)):
        benchmark.run(f"a.seed{seed}", lambda value=value: {"a.mrr": value})
    benchmark.run("b.seed0", lambda: {"b.mrr": 0.9})
    assert benchmark.figures() == {
        "a.mrr": 0.2,
        "a.mrr.lowest": 0.1,
        "a.mrr.highest": 0.6,
        "b.mrr": 0.9,
    }


def test_the_median_of_two_seeds_is_their_mean() -> None:
    assert over_seeds("x", [1.0, 2.0])["x"] == 1.5


def test_the_report_has_figures_protocol_provenance_and_notes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = begin(tmp_path, "--quick", data={"set": {"entities": 3}})
    benchmark.run("a.seed0", lambda: Found({"a.mrr": 0.5}, {"curve": [0.1, 0.5]}))
    row = {"model": "a", "MRR": 0.5, "reference": None, "source": "[1] a paper"}
    benchmark.finish(
        protocol={"Ranks": "realistic"}, figures={"a.difference": 0.123456789}, table=[row]
    )
    report = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert report["figures"] == {"a.mrr": 0.5, "a.difference": 0.123456789}
    assert report["protocol"] == {"Ranks": "realistic"}
    assert report["seeds"] == [0]
    assert report["quick"] is True
    assert report["data"] == {"set": {"entities": 3}}
    assert report["table"] == [row]
    assert report["notes"] == {"a.seed0": {"curve": [0.1, 0.5]}}
    assert report["versions"]["torch"] == torch.__version__
    assert report["machine"]["threads"] == torch.get_num_threads()
    with (tmp_path / "found.csv").open(encoding="utf-8", newline="") as stream:
        assert list(csv.reader(stream)) == [
            ["figure", "value"],
            ["a.mrr", "0.5"],
            ["a.difference", "0.123457"],
        ]
    shown = capsys.readouterr().out
    assert "Ranks: realistic" in shown
    assert "[1] a paper" in shown
    assert "0.500" in shown


def test_a_figure_that_is_not_finite_is_refused_and_an_older_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    write_json(path, {"mrr": 0.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"mrr": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8")) == {"mrr": 0.5}
    assert [entry.name for entry in tmp_path.iterdir()] == ["found.json"]


def test_fingerprints_tell_any_change_of_a_split_apart() -> None:
    graph = KnowledgeGraph.from_names([("a", "r", "b"), ("b", "r", "c")], name="g")
    valid, test = torch.tensor([[0, 0, 2]]), torch.tensor([[2, 0, 0]])

    def of(train: KnowledgeGraph, valid: torch.Tensor, test: torch.Tensor) -> dict[str, object]:
        return fingerprints(Split(train, HeldOut(valid, "valid"), HeldOut(test, "test")))

    first = of(graph, valid, test)
    assert (first["entities"], first["train"], first["valid"], first["test"]) == (3, 2, 1, 1)
    assert of(graph, valid, test) == first
    for changed in (
        of(graph.with_triples(graph.triples[:1]), valid, test),
        of(graph, test, test),
        of(graph, valid, valid),
    ):
        assert changed != first


def test_versions_name_what_is_installed_and_leave_out_the_rest() -> None:
    found = versions()
    assert found["torch"] == torch.__version__
    assert all(found.values())


def test_a_run_recorded_before_a_setting_existed_counts_where_it_had_no_effect(tmp_path) -> None:
    work, calls = counted([0.5, 0.6])
    begin(tmp_path).run("one", work, settings={"model": {"width": 8}})
    begin(tmp_path).run("one", work, settings={"model": {"width": 8, "recompute": False}})
    assert len(calls) == 1
    begin(tmp_path).run("one", work, settings={"model": {"width": 8, "recompute": True}})
    assert len(calls) == 2


def test_what_came_later_counts_at_its_default_as_not_there(tmp_path: Path) -> None:
    """So that runs recorded before are not done again."""
    recipe = asdict(Recipe(ModelConfig()))
    plain = {key: value for key, value in recipe.items() if key != "auxiliary"}
    plain["training"] = {k: v for k, v in plain["training"].items() if k != "edge_dropout"}
    work, calls = counted([0.25, 0.5, 0.75])
    begin(tmp_path).run("first", work, settings={"recipe": plain})
    assert begin(tmp_path).run("first", work, settings={"recipe": recipe}) == {"mrr": 0.25}
    for other in (
        Recipe(training=TrainConfig(edge_dropout=0.1)),
        Recipe(auxiliary=AuxiliaryConfig(masked=0.1)),
    ):
        begin(tmp_path).run("first", work, settings={"recipe": asdict(other)})
    assert len(calls) == 3
