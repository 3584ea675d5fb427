"""KG-FIT's benchmark: gains and their intervals, and its runs on planted facts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import kg_fit as benchmark
from benchmarks import kg_fit_models as models
from benchmarks.kg_fit import Runs, gains, relative, stepwise
from benchmarks.kg_fit_models import (
    DATA,
    MODELS,
    ON,
    STAGES,
    Setting,
    base_trials,
    fit_trials,
    trials_around,
)
from benchmarks.kg_fit_task import Task, hits_of
from benchmarks.protocol import Benchmark, fingerprints, parser
from pyg_kgtransfer.evaluation.result import LinkPredictionResult
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import random_split
from pyg_kgtransfer.sources.text import TfidfText


def test_the_gain_is_relative_and_paired() -> None:
    base = np.array([0.0, 0.5, 0.5, 1.0] * 50)
    gain, low, high = relative(base, np.minimum(base + 0.25, 1.0))
    assert gain == pytest.approx(0.375)
    assert low < gain < high
    assert relative(base, base) == (0.0, 0.0, 0.0)


def test_hits_are_counted_by_side() -> None:
    ranks = torch.tensor([[1, 11], [10, 10], [50, 12]])
    result = LinkPredictionResult(
        torch.zeros(3, 3, dtype=torch.long), ranks, ranks, torch.full((3, 2), 99)
    )
    assert hits_of(result) == "120"


def test_base_and_text_have_as_many_trials_and_every_set_its_models() -> None:
    for model in MODELS:
        assert len(base_trials(model)) == len(fit_trials(Setting())) == 4
        assert len(set(trials_around("best", Setting(), model).values())) == 2
    assert set(ON) == set(DATA)
    assert len(ON["codex-s"]) == 9
    assert all(set(models) <= set(MODELS) for models in ON.values())


def test_each_stage_adds_a_constraint() -> None:
    names = ("anchor", "cohesion", "separation", "distance")
    counts = [sum(getattr(STAGES[stage], name) > 0 for name in names) for stage in STAGES]
    assert counts == [0, 1, 2, 3, 4]
    assert Setting(adapter=7).kg_fit("anchor").adapter == 7


def test_second_trials_change_the_firmness_or_the_rate_where_there_is_none() -> None:
    around = trials_around("best", Setting(rate=2.0), "transe")
    assert [t.firmness for t in around.values()] == [0.5, 2.0]
    around = trials_around("best", Setting(rate=2.0), "conve")
    assert [(t.rate, t.firmness) for t in around.values()] == [(1.0, 1.0), (4.0, 1.0)]


def test_a_setting_changes_rate_firmness_and_share() -> None:
    changed = Setting(rate=0.5, firmness=2.0, share=0.9).recipe("rotate")
    given = MODELS["rotate"]
    assert changed.training.learning_rate == 0.5 * given.training.learning_rate
    assert changed.objective.margin == 2.0 * given.objective.margin
    assert changed.model.share == 0.9


def test_runs_of_a_model_give_gains_of_every_stage(tmp_path: Path, monkeypatch) -> None:
    facts = [(f"town {i}", "next", f"town {(i + 1) % 30}") for i in range(30)]
    facts += [(f"town {i}", "in", f"land {i % 3}") for i in range(30)]
    split = random_split(KnowledgeGraph.from_names(facts, name="world"), 0.1, 0.3)
    given = MODELS["transe"]
    short = replace(
        given,
        model=replace(given.model, width=8),
        training=replace(given.training, epochs=1, validate_every=1),
    )
    monkeypatch.setattr(models, "MODELS", {"transe": short})
    monkeypatch.setattr(benchmark, "split_of", lambda name: split)
    data = {"world": fingerprints(split)}
    arguments = ["--seeds", "0", "1", "--out", str(tmp_path / "kg_fit.json")]
    run = Benchmark.begin("kg_fit", parser("").parse_args(arguments), data=data)
    task = Task("world", split, {}, TfidfText(128))
    task.make_tree()
    task.make_tree("shuffled")
    assert not torch.equal(task.vectors(8), task.vectors(8, "shuffled"))
    stepwise(Runs(run, task), "transe", stages=("mixture", "kg_fit"))
    figures, rows = gains(run, "world")
    assert [(row["stage"], row["seeds"]) for row in rows] == [
        ("base", 2), ("mixture", 2), ("kg_fit", 2), ("shuffled", 2)
    ]  # fmt: skip
    assert figures["world.mean_gain"] == figures["world.transe.kg_fit.gain"]
    low, high = (figures[f"world.transe.kg_fit.gain_{end}"] for end in ("low", "high"))
    assert low <= figures["world.mean_gain"] <= high
    assert sum(name.startswith("trial") for name in run.done) == 12
    assert task.built["clusters"] >= 1
