"""Recipes as benchmarks write them down: what differs between models, in a line each."""

from dataclasses import replace
from typing import Any

from pyg_kgtransfer.models.build import ModelConfig
from pyg_kgtransfer.objectives.build import ObjectiveConfig
from pyg_kgtransfer.training.batches import BatchOptions
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.transfer.recipe import Recipe

ADAGRAD, ADAM = ("adagrad", 0.1), ("adam", 1e-2)


def recipe_of(
    model: ModelConfig,
    loss: ObjectiveConfig,
    optimizer: tuple[str, float],
    *,
    batch_size: int = 512,
    **training: Any,
) -> Recipe:
    """A recipe that validates every five epochs; ``training`` are settings of ``TrainConfig``.

    Example:
        >>> found = recipe_of(ModelConfig(), ObjectiveConfig(), ADAGRAD, epochs=3)
        >>> found.training.optimizer, found.training.epochs, found.batches.batch_size
        ('adagrad', 3, 512)
    """
    name, rate = optimizer
    options = {"validate_every": 5, "progress": False} | training
    return Recipe(
        model,
        loss,
        BatchOptions(batch_size=batch_size),
        TrainConfig(optimizer=name, learning_rate=rate, **options),
    )


def with_seed(chosen: Recipe, seed: int) -> Recipe:
    """The same recipe with a seed for weights and batches."""
    return replace(
        chosen,
        batches=replace(chosen.batches, seed=seed),
        training=replace(chosen.training, seed=seed),
    )
