"""The benchmark of probabilities: errors fall, hard negatives are read, ranges hold the means."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import calibration as benchmark
from benchmarks.calibration import hard_negatives, means_of, measured, recipe_of, rows_of
from benchmarks.protocol import Found, over_seeds
from benchmarks.recipes import with_seed
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import HeldOut, Split, random_split
from pyg_kgtransfer.transfer.recipe import Recipe


@pytest.fixture(scope="module")
def split() -> Split:
    facts = [(f"c{i}", "in", f"l{i % 5}") for i in range(60)]
    facts += [(f"c{i}", "near", f"c{(i + k) % 60}") for i in range(60) for k in (5, 10)]
    return random_split(KnowledgeGraph.from_names(facts, name="planted"), 0.2, 0.2)


@pytest.fixture
def quick() -> Recipe:
    chosen = recipe_of("umls", "transe", quick=True)
    return replace(chosen, training=replace(chosen.training, epochs=20, progress=False))


def write_negatives(split: Split, folder: Path) -> None:
    """For every held-out fact, one with the next entity as its tail."""
    folder.mkdir()
    for part in (split.valid, split.test):
        wrong = part.triples.clone()
        wrong[:, 2] = (wrong[:, 2] + 1) % split.train.num_entities
        rows = split.train.with_triples(wrong).named_triples()
        lines = ["\t".join(row) + "\n" for row in rows]
        (folder / f"{part.role}_negatives.txt").write_text("".join(lines))


def test_errors_fall_and_hard_ones_are_told_apart(
    split: Split, quick: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_negatives(split, tmp_path / "planted")
    monkeypatch.setenv("KGT_DATA", str(tmp_path))
    monkeypatch.setattr(benchmark, "HARD", ("planted",))
    runs = {
        f"seed{seed}": measured("umls.transe", split, with_seed(quick, seed)) for seed in (0, 1)
    }
    figures = runs["seed0"].figures
    for method in ("platt", "isotonic", "relation"):
        for error in ("ece", "brier"):
            assert figures[f"umls.transe.random.{method}.{error}"] < figures[
                f"umls.transe.random.raw.{error}"
            ]  # fmt: skip
    assert figures["umls.transe.random.share.brier"] == pytest.approx(0.25, abs=1e-3)
    gain = figures["umls.transe.random.relation.brier.gain"]
    assert gain == pytest.approx(
        figures["umls.transe.random.relation.brier"] / figures["umls.transe.random.platt.brier"] - 1
    )
    means = means_of(runs)
    ranged = {
        name: value
        for key in figures
        for name, value in over_seeds(key, [run.figures[key] for run in runs.values()]).items()
    }
    rows = rows_of(ranged | means)
    assert len(rows) == 4 * 5  # kinds of false triples, kinds of probabilities
    for row in rows:
        assert row["ECE, lowest"] <= row["ECE"] <= row["ECE, highest"]
    assert {row["false triples"] for row in rows} == set(benchmark.KINDS.values())
    assert set(runs["seed0"].notes["reliability"]) == set(benchmark.SHOWN)


def test_negatives_are_read_in_the_ids_of_the_split(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_negatives(split, tmp_path / "planted")
    monkeypatch.setenv("KGT_DATA", str(tmp_path))
    part: HeldOut = split.test
    found = hard_negatives(split, part, "planted")
    assert torch.equal(found[:, :2], part.triples[:, :2])
    assert torch.equal(found[:, 2], (part.triples[:, 2] + 1) % split.train.num_entities)


def test_a_mean_is_over_the_runs_that_have_it() -> None:
    done = {
        "a.seed0": Found({"a": 1.0}),
        "a.seed1": Found({"a": 3.0}),
        "b.seed0": Found({"b": 5.0}),
    }
    assert means_of(done) == {"a.mean": 2.0, "b.mean": 5.0}
