"""The benchmark of facts and words: the numpy peer, counting apart, runs on planted facts."""

import statistics
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import joint_glove as benchmark
from benchmarks import joint_glove_task as task_module
from benchmarks.joint_glove import Runs, config_of, gains, on_graph, plot_sweep, rows_of, sweep
from benchmarks.joint_glove_task import LISTS, Task, against_numpy, counted, zipf_text
from benchmarks.protocol import Benchmark, fingerprints, parser
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import random_split
from pyg_kgtransfer.sources.cooccurrence import Cooccurrences

WORDS = [f"town{i}" for i in range(12)]


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Task:
    """Towns on a ring, told of in running text; lists of rated pairs of them."""
    (tmp_path / "text-corpus").mkdir()
    lines = [f"{WORDS[i]} lies near {WORDS[(i + 1) % 12]} by the river" for i in range(12)]
    (tmp_path / "text-corpus" / "towns.txt").write_text("\n".join(lines * 9))
    (tmp_path / "word-similarity").mkdir()
    pairs = [f"{WORDS[0]}\t{WORDS[i]}\t{9 - i}" for i in range(1, 7)]
    for file in LISTS.values():
        (tmp_path / "word-similarity" / f"EN-{file}.txt").write_text("\n".join(pairs))
    monkeypatch.setenv("KGT_DATA", str(tmp_path))
    monkeypatch.setattr(task_module, "load_descriptions", lambda name, offline: {})
    facts = [(WORDS[i], "next", WORDS[(i + k) % 12]) for i in range(12) for k in (1, 2, 3)]
    split = random_split(KnowledgeGraph.from_names(facts, name="world"), 0.1, 0.3)
    return Task("world", split, tmp_path)


def test_numpy_learns_the_same_and_counts_the_same_loss(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_module, "_NUMPY_BATCH", 1)
    found = against_numpy(task, 8, 30)
    assert found["loss_of_same_vectors.by_numpy"] == pytest.approx(
        found["loss_of_same_vectors.by_ours"], rel=1e-4
    )
    assert found["numpy.last_loss"] == pytest.approx(found["glove.last_loss"], rel=0.5)
    assert found["glove_speedup"] == pytest.approx(
        found["glove.pairs_per_second"] / found["numpy.pairs_per_second"]
    )


def test_text_is_counted_in_a_process_of_its_own(tmp_path: Path) -> None:
    zipf_text(tmp_path / "zipf.txt", 0.05)
    whole = counted(tmp_path / "zipf.txt", tmp_path / "whole.npz")
    assert whole["tokens"] > 5000
    assert whole["memory_mb"] > 10
    assert len(Cooccurrences.load(tmp_path / "whole.npz")) == whole["pairs"]


@pytest.mark.filterwarnings("ignore")  # so few facts have no intervals
def test_runs_of_a_graph_give_gains_and_a_sweep(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = task.recipe("transe")
    short = replace(
        recipe,
        model=replace(recipe.model, width=8),
        training=replace(recipe.training, epochs=2, validate_every=1),
    )
    monkeypatch.setattr(Task, "recipe", lambda self, model: short)
    monkeypatch.setattr(benchmark, "SWEPT", ("world", "transe"))
    monkeypatch.setattr(benchmark, "ALPHAS", (0.0, 1.0))
    arguments = parser("").parse_args(["--seeds", "0", "1", "--out", str(tmp_path / "out.json")])
    run = Benchmark.begin("joint_glove", arguments, data={"world": fingerprints(task.split)})
    runs = Runs(run, task)
    on_graph(runs, ["transe"])
    sweep(runs, "transe")
    found = run.figures()
    figures = gains(run, "world", ["transe"])
    mrr = {
        how: statistics.mean(
            run.done[f"world.transe.{how}.seed{seed}"].figures[f"world.transe.{how}.low.mrr"]
            for seed in (0, 1)
        )
        for how in ("kge", "joint_shared", "joint_tied")
    }
    tied = mrr["joint_tied"] / mrr["kge"] - 1
    assert figures["world.transe.joint_tied.low_gain"] == pytest.approx(tied, abs=1e-6)
    assert figures["world.joint_tied.low_gain"] == pytest.approx(tied, abs=1e-6)
    modes = {figures[f"world.transe.joint_{m}.low_gain"] for m in ("shared", "tied")}
    assert figures["world.low_gain"] == figures["world.transe.joint.low_gain"]
    assert figures["world.low_gain"] in modes
    ends = [figures[f"world.overall_gain{end}"] for end in ("_low", "", "_high")]
    assert ends == sorted(ends)
    ties = {t: found[f"world.transe.joint_tied.tie{t:g}.valid.mrr"] for t in benchmark.TIES}
    best = run.done[f"world.transe.joint_tied.tie{max(ties, key=ties.__getitem__):g}.seed0"]
    taken = run.done["world.transe.joint_tied.seed0"]
    assert list(taken.figures.values()) == list(best.figures.values())
    assert [row["trained"] for row in rows_of(found | figures, "world", ["transe"])] == [
        "kge", "joint_shared", "joint_tied"
    ]  # fmt: skip
    assert found["world.transe.alpha1.mrr"] != found["world.transe.alpha0.mrr"]
    assert "world.glove8.spearman.mean" in found
    plot_sweep(found, tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").stat().st_size > 1000


def test_all_graphs_and_models_learn_by_the_same_settings() -> None:
    tied, shared = config_of("tied", 0.1), config_of("shared", 0.1, 0.9)
    assert replace(shared.words, mode="tied") == tied.words
    assert (tied.alpha, shared.alpha) == (0.5, 0.9)
    assert torch.tensor(benchmark.ALPHAS).diff().gt(0).all()
