"""The benchmark of bias: figures are the models' own, changes are paired, the best is marked."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.bias import (
    ARMS,
    PLAIN,
    Arm,
    balanced,
    chosen_beta,
    interval,
    kinds,
    measured,
    plot_trade_off,
    recipes,
    rows_of,
)
from benchmarks.protocol import Found
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import Split, random_split
from pyg_kgtransfer.models.build import ModelConfig
from pyg_kgtransfer.training.batches import BatchOptions
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.transfer.recipe import Recipe


@pytest.fixture(scope="module")
def split() -> Split:
    """Who was where: the higher the number of a town the fewer."""
    generator = torch.Generator().manual_seed(0)
    chance = (torch.arange(25) + 1.0) ** -0.8
    was = (torch.rand(50, 25, generator=generator) < chance).nonzero().tolist()
    facts = [(f"p{i}", "was in", f"town{k}") for i, k in was]
    return random_split(KnowledgeGraph.from_names(facts, name="towns"), 0.1, 0.2)


@pytest.fixture(scope="module")
def found(split: Split) -> Found:
    recipe = Recipe(
        ModelConfig(encoder="shallow", decoder="distmult", width=8),
        batches=BatchOptions(batch_size=64),
        training=TrainConfig(epochs=20, learning_rate=0.03, progress=False, accelerator="cpu"),
    )
    chosen = {
        arm: replace(recipe, objective=balanced(recipe.objective, arm)) for arm in ARMS
    }  # fmt: skip
    return measured("towns", split, chosen)


def test_changes_are_against_the_model_without_balance(found: Found) -> None:
    figures = found.figures
    for arm in ARMS:
        name = f"towns.{arm.name}"
        for what in ("mrr", "lowest_band.mrr"):
            gain = figures[f"{name}.{what}"] - figures[f"towns.plain.{what}"]
            assert figures[f"{name}.{what}.gain"] == pytest.approx(gain)
            assert figures[f"{name}.{what}.gain.low"] <= gain + 1e-9
            assert figures[f"{name}.{what}.gain.high"] >= gain - 1e-9
        bias = [figures[f"{name}.popularity_bias{end}"] for end in (".low", "", ".high")]
        assert bias == sorted(bias)
        bands = found.notes[arm.name]["popularity"]
        assert sum(band["share_of_mass"] for band in bands) == pytest.approx(1)
        assert figures[f"{name}.highest_band.share_of_mass"] == bands[-1]["share_of_mass"]
    assert figures["towns.plain.mrr.gain.high"] == 0.0
    assert figures["towns.popularity1.popularity_bias"] < figures["towns.plain.popularity_bias"]
    assert figures["towns.relation0.5.mrr.gain"] == 0.0  # one relation: nothing to balance


def test_a_row_for_each_loss_and_the_best_is_marked(found: Found, tmp_path: Path) -> None:
    rows = rows_of(found.figures, ["towns"])
    assert len(rows) == len(ARMS)
    assert [row["balanced"].endswith("*") for row in rows].count(True) == 1
    known = {"none": 0.3, **{arm.name: 0.2 for arm in ARMS}, "popularity0.25": 0.4}
    valid = {f"d.{name}.valid.mrr": mrr for name, mrr in known.items()}
    assert chosen_beta(valid | {"d.relation0.5.valid.mrr": 0.9}, "d") == 0.25
    pytest.importorskip("matplotlib")
    plot_trade_off(found.figures, ["towns"], tmp_path / "bias.png")
    assert (tmp_path / "bias.png").read_bytes().startswith(b"\x89PNG")


def test_arms_are_named_apart_and_the_plain_one_comes_first() -> None:
    assert ARMS[0] == PLAIN
    assert len({arm.name for arm in ARMS}) == len(ARMS)
    objective = balanced(recipes(quick=False)["codex-s"].objective, Arm(0.5, "relation"))
    assert (objective.balance, objective.balance_by, objective.n3) == (0.5, "relation", 0.01)


def test_kinds_are_types_else_the_most_frequent_place() -> None:
    facts = [("a", "in", "x"), ("b", "in", "x"), ("a", "by", "b"), ("a", "by", "c")]
    graph = KnowledgeGraph.from_names(facts, entities=["a", "b", "c", "x", "alone"])
    assert kinds(graph) == {
        "a": "head of by", "b": "head of in", "c": "tail of by", "x": "tail of in"
    }  # fmt: skip
    typed = KnowledgeGraph.from_names(facts, types=dict.fromkeys("abcx", "letter"))
    assert set(kinds(typed).values()) == {"letter"}


def test_the_interval_is_of_the_values_that_are_asked_for() -> None:
    values = torch.tensor([[1.0, 9.0], [3.0, 9.0]], dtype=torch.double).repeat(50, 1)
    mask = torch.tensor([[True, False]]).expand(100, 2)
    mean, low, high = interval(values, mask)
    assert mean == 2.0
    assert 1.7 < low < 2.0 < high < 2.3
