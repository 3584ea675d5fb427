"""What may be tried: read, checked at the door, put into recipes."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from pyg_kgtransfer.models.build import DECODERS, ModelConfig
from pyg_kgtransfer.objectives.build import ObjectiveConfig
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.transfer.recipe import Recipe
from pyg_kgtransfer.transfer.search_space import SearchSpace


class Dice:
    """Draws as a trial does, with what was asked for."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = random.Random(seed)
        self.asked: dict[str, Any] = {}

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False):
        assert all(type(number) is int for number in (low, high, step))
        self.asked[name] = (low, high, step, log)
        return self.generator.randrange(low, high + 1, step)

    def suggest_float(self, name: str, low: float, high: float, *, step=None, log: bool = False):
        assert all(type(number) is float for number in (low, high))
        self.asked[name] = (low, high, step, log)
        return self.generator.uniform(low, high)

    def suggest_categorical(self, name: str, choices: Sequence[Any]):
        assert all(isinstance(each, str | int | float | None) for each in choices)
        self.asked[name] = tuple(choices)
        return self.generator.choice(choices)


RANGES = {
    "training.learning_rate": {"low": 1e-4, "high": 1, "log": True},
    "model.layers": {"low": 1, "high": 3},
    "objective.n3": {"low": 0, "high": 0.5, "step": 0.25},
    "model.width": [8, 16],
    "training.clip_norm": [None, 1],
    "training.leave_out_batch": [True, False],
}


def test_every_value_is_of_the_kind_that_its_field_takes() -> None:
    space, dice = SearchSpace(RANGES, Recipe(model=ModelConfig(decoder="distmult"))), Dice()
    values = space.suggest(dice)
    assert dice.asked["training.learning_rate"] == (1e-4, 1.0, None, True)
    assert dice.asked["model.layers"] == (1, 3, 1, False)
    assert dice.asked["objective.n3"] == (0.0, 0.5, 0.25, False)
    assert dice.asked["training.clip_norm"] == (None, 1.0)
    recipe = space.recipe_of(values)
    for name, value in values.items():
        section, field = name.split(".")
        assert getattr(getattr(recipe, section), field) == value
    assert recipe.model.decoder == "distmult"
    assert space.recipe.model.width == 128


def test_lists_of_numbers_are_choices() -> None:
    ranges = {"training.fan_out": [[4], [8], []], "model.layers": [1]}
    space, dice = SearchSpace(ranges), Dice()
    found = {space.suggest(dice)["training.fan_out"] for _ in range(20)}
    assert found == {(4,), (8,), ()}
    assert space.decoded({"training.fan_out": "[8]"}) == {"training.fan_out": (8,)}
    assert space.to_plain()["training.fan_out"] == [[4], [8], []]


def test_what_is_written_is_read_again() -> None:
    space = SearchSpace(RANGES)
    assert SearchSpace(space.to_plain()).domains == space.domains
    assert space.to_plain()["objective.n3"] == {"low": 0.0, "high": 0.5, "step": 0.25}
    as_text = {"training.learning_rate": {"low": "1e-4", "high": 1, "log": True}}
    domains = SearchSpace(as_text).domains
    assert domains["training.learning_rate"] == space.domains["training.learning_rate"]


@pytest.mark.parametrize("encoder", ["shallow", "rgcn", "compgcn", "foundation"])
@pytest.mark.parametrize("loss", ["one_vs_all", "k_vs_all", "softplus", "self_adversarial"])
def test_a_default_space_fits_its_recipe(encoder: str, loss: str) -> None:
    for decoder in DECODERS:
        recipe = Recipe(ModelConfig(encoder=encoder, decoder=decoder), ObjectiveConfig(loss=loss))
        space, dice = SearchSpace.for_recipe(recipe), Dice()
        assert space.recipe_of(space.suggest(dice)).model.decoder == decoder
        asked = set(dice.asked)
        assert {"training.learning_rate", "batches.batch_size", "model.width"} <= asked
        assert ("model.layers" in asked) == (encoder != "shallow")
        assert ("objective.n3" in asked) == (
            decoder in ("distmult", "complex") and encoder != "foundation"
        )
        assert ("objective.num_negatives" in asked) == (loss in ("softplus", "self_adversarial"))
        assert ("objective.temperature" in asked) == (loss == "self_adversarial")


def test_a_default_space_leaves_alone_what_a_recipe_binds() -> None:
    bound = ModelConfig(encoder="rgcn", decoder="distmult", width=60, blocks=6)
    assert "model.width" not in SearchSpace.for_recipe(Recipe(bound)).domains
    mixed = ModelConfig(encoder="shallow", inputs="mixture")
    assert "model.width" not in SearchSpace.for_recipe(Recipe(mixed)).domains
    sparse = Recipe(
        ModelConfig(encoder="shallow", sparse=True), training=TrainConfig(optimizer="adagrad")
    )
    assert "model.dropout" not in SearchSpace.for_recipe(sparse).domains


@pytest.mark.parametrize(
    ("ranges", "words"),
    [
        ({}, r"at least one field of the recipe \(got none\)"),
        ({"model.widht": [8]}, r"got 'model\.widht'\); did you mean 'model\.width'\?"),
        ({"width": [8]}, r"got 'width'\); did you mean 'model\.width'\?"),
        ({"training.n3": [0.1]}, r"did you mean 'objective\.n3'\?"),
        ({"validation_size": [8]}, "decides how trials are measured"),
        ({"training.monitor": ["mrr"]}, r"training\.monitor decides .*set it in the recipe"),
        ({"training.seed": [0, 1]}, "luckiest seed"),
        ({"model.width": 8}, r"model\.width needs a list of choices, or low and high \(got 8\)"),
        ({"model.width": []}, r"model\.width needs at least one choice \(got none\)"),
        ({"model.width": [8, 8]}, "must differ"),
        ({"model.width": ["8"]}, r"model\.width takes a whole number \(got '8'\)"),
        ({"model.width": [True]}, r"a whole number \(got True\)"),
        ({"model.width": {"low": 8, "high": 16.5}}, r"a whole number \(got 16\.5\)"),
        ({"training.clip_norm": ["x"]}, r"takes a number, or null \(got 'x'\)"),
        ({"training.fan_out": [[1.5]]}, r"a list of whole numbers \(got \[1\.5\]\)"),
        ({"model.width": {"low": 8}}, "needs low and high .got no high"),
        ({"model.width": {"low": 8, "hihg": 9}}, r"got 'hihg' .*did you mean 'high'\?"),
        ({"model.width": {"low": 8, "high": 8}}, r"low below high \(got 8 and 8\)"),
        ({"model.width": {"low": 8, "high": 12, "step": 5}}, r"must be in \(0, 4\] \(got 5\)"),
        ({"model.decoder": {"low": 8, "high": 9}}, "takes no numbers"),
        ({"objective.n3": {"low": 0, "high": 1, "log": True}}, "log needs a low above 0"),
        ({"objective.n3": {"low": 0.1, "high": 1, "log": "yes"}}, "true or false"),
        ({"objective.n3": {"low": 0, "high": float("inf")}}, "low below high"),
        # what the recipe itself says
        ({"model.decoder": ["complx"]}, r"'complx' in no recipe .*'complex'"),
        ({"training.learning_rate": {"low": -1, "high": 1}}, r"-1\.0 in no recipe .*above 0"),
        ({"model.width": [7, 8]}, "7 in no recipe of the space: .*even"),
    ],
)
def test_what_cannot_be_tried_is_refused_at_the_door(ranges: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SearchSpace(ranges)


def test_a_value_that_fits_in_some_company_is_let_in() -> None:
    space = SearchSpace({"model.width": [7, 8], "model.decoder": ["complex", "distmult"]})
    space.recipe_of({"model.width": 7, "model.decoder": "distmult"})
    with pytest.raises(ValueError, match="even"):
        space.recipe_of({"model.width": 7, "model.decoder": "complex"})
