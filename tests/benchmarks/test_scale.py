"""The benchmark of large graphs, on small ones: each part gives figures of what it did."""

import json
import os
from pathlib import Path

import pytest
import torch

from benchmarks import scale, scale_task
from benchmarks.pykeen_steps import pykeen_steps
from pyg_kgtransfer.sources.synthetic_large import LargeOptions

TINY = LargeOptions(400, 4, 2000, num_held_out=20, num_clusters=5)


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scale") / "graph"
    scale_task.built(scale_task.shape_of(TINY), folder)
    return folder


def test_a_graph_is_opened_and_trained_on(graph: Path, tmp_path: Path) -> None:
    found = scale_task.loaded(graph)
    assert (found["entities"], found["triples"]) == (400, 2000)
    found = scale_task.trained(graph, 0.5, {"width": 16, "table": "bfloat16"})
    assert found["epochs"] > 0
    assert 0 < found["mrr_of_500"] <= 1
    assert found["memory_last_quarter_gb"] <= found["memory_highest_gb"]
    found = scale_task.partitioned(graph, tmp_path, 0.5, 16, 3)
    assert found["table_gb"] == pytest.approx(400 * 16 * 4 / 1e9)
    assert found["disk_gb"] > found["table_gb"]
    found = scale_task.on_neighbours(graph, 0.3, True)
    assert found["triples_per_second"] > 0


def test_steps_are_timed_beside_another_librarys(graph: Path) -> None:
    found = scale_task.compared(graph, "pyg_sparse", {"ours": 2, "theirs": 1}, 2)
    assert found["speedup.lowest"] <= found["speedup"] <= found["speedup.highest"]


def test_facts_are_counted_where_batches_are_short() -> None:
    assert [scale_task.facts_in(steps, 2000) for steps in (1, 2, 3)] == [1024, 2000, 3024]


def test_the_table_has_the_goals() -> None:
    name = next(iter(scale.OTHERS))
    found = scale.rows({"train.peak_gb": 9.0}, ["train", name])
    assert [(row["peak GB"], row["goal"]) for row in found] == [(9.0, "16 GB"), (None, "ratio 20")]


def _exits(code: int) -> dict[str, float]:
    os._exit(code)


def test_a_part_has_a_process_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"_exits ended without an answer \(exit code 7"):
        scale_task.in_a_process(_exits, 7)
    with pytest.raises(ValueError, match=r"--parts must be of build, load.*\(got lode\)"):
        scale.main(["--quick", "--out", str(tmp_path / "s.json"), "--parts", "lode"])


def test_the_script_writes_a_report(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(scale, "QUICK", TINY)
    out = tmp_path / "scale.json"
    scale.main(["--quick", "--out", str(out), "--parts", "build"])
    report = json.loads(out.read_text())
    assert report["figures"]["build.file_gb"] > 0
    assert report["figures"]["build.peak_gb"] > 0


def test_pykeen_takes_the_steps_that_are_timed() -> None:
    pytest.importorskip("pykeen", reason="needs the extra bench")
    triples = torch.randint(4, (12, 3), generator=torch.Generator().manual_seed(0))
    work = pykeen_steps(
        triples, {"num_entities": 4, "num_relations": 4}, width=4, batch_size=4, num_negatives=2
    )
    for _ in range(3):
        work()  # raises where the optimizer did not take three steps
