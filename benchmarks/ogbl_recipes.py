"""Recipes for OGB's knowledge graphs: the hyper-parameters of OGB's own examples."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch

from benchmarks.recipes import recipe_of
from pyg_kgtransfer.models.build import DECODERS, ModelConfig
from pyg_kgtransfer.models.inputs import Lookup, Shallow
from pyg_kgtransfer.models.kg_model import GraphModel, KGModel
from pyg_kgtransfer.objectives.build import ObjectiveConfig
from pyg_kgtransfer.transfer.recipe import Recipe

SOURCE = (
    "examples/linkproppred/{biokg,wikikg2}/examples.sh and model.py of github.com/snap-stanford/ogb"
)
NAMES = {"transe": "transe_l1"}  # as OGB calls a decoder, where we say more
BATCH_SIZE, NUM_NEGATIVES = 512, 128
ENCODER_WIDTH, FAN_OUT = 256, 10
_EPSILON = 2.0  # of the range of starting vectors, in OGB's examples


class Settings(NamedTuple):
    """What OGB's examples set for a model on a data set.

    Attributes:
        width: Of entity vectors, in real numbers (the examples' ``-d``, twice with ``-de``).
        gamma: Margin of a distance; and the range of starting vectors, (gamma + 2) / d.
        rate: Of Adam.
        halves: Numbers to one of ``d``: 2 where vectors are complex.
    """

    width: int
    gamma: float
    rate: float
    halves: int = 1


PUBLISHED: Mapping[str, Mapping[str, Settings]] = {
    "ogbl-biokg": {
        "transe": Settings(2000, 20.0, 1e-4),
        "distmult": Settings(2000, 500.0, 1e-3),
        "rotate": Settings(2000, 20.0, 1e-4, halves=2),
        "complex": Settings(2000, 500.0, 1e-3, halves=2),
    },
    "ogbl-wikikg2": {
        "transe": Settings(100, 30.0, 1e-4),
        "distmult": Settings(100, 500.0, 1e-3),
        "rotate": Settings(100, 5.0, 1e-4, halves=2),
        "complex": Settings(100, 500.0, 1e-3, halves=2),
    },
}
# Steps of 512 facts asked from one side: ours ask both, so that an epoch is twice as many of them.
# 300,000 steps over 4,762,677 facts, 200,000 over 16,109,182.
EPOCHS: Mapping[str, int] = {"ogbl-biokg": 16, "ogbl-wikikg2": 3}
MODELS = (*PUBLISHED["ogbl-biokg"], *(name for name in DECODERS if "transe" not in name))
MODELS = tuple(dict.fromkeys(MODELS))
# Decoders that OGB's examples lack take the settings of the nearest that they have.
_NEAREST = {"protate": "rotate", "hake": "rotate", "transr": "transe"}
_DISTANCES = ("transe", "rotate", "protate", "hake", "transr")


def settings_of(dataset: str, model: str) -> Settings:
    """What OGB's examples set for a model, or for the nearest that they have.

    Example:
        >>> settings_of("ogbl-wikikg2", "rotate")
        Settings(width=100, gamma=5.0, rate=0.0001, halves=2)
        >>> settings_of("ogbl-biokg", "tucker") == settings_of("ogbl-biokg", "distmult")
        True
    """
    known = PUBLISHED[dataset]
    return known.get(model) or known[_NEAREST.get(model, "distmult")]


def recipe_for(
    dataset: str,
    model: str,
    *,
    encoder: str = "shallow",
    width: int | None = None,
    epochs: int | None = None,
    quick: bool = False,
) -> Recipe:
    """Self-adversarial negative sampling and Adam, as OGB's examples train.

    Args:
        dataset: ``"ogbl-biokg"`` or ``"ogbl-wikikg2"``.
        model: The decoder.
        encoder: Before it; one with layers reads ten neighbours a layer, drawn for each step.
        width: Instead of the examples'.
        epochs: Instead of the examples'.
        quick: A few small steps.

    Example:
        >>> recipe = recipe_for("ogbl-biokg", "complex")
        >>> recipe.model.width, recipe.objective.num_negatives, recipe.training.epochs
        (2000, 128, 16)
    """
    found, decoder = settings_of(dataset, model), NAMES.get(model, model)
    is_shallow = encoder == "shallow"
    margin = found.gamma if model in _DISTANCES else 0.0
    needs_reciprocal = decoder in ("tucker", "conve")
    recipe = recipe_of(
        ModelConfig(
            encoder=encoder,
            decoder=decoder,
            width=width or (found.width if is_shallow else min(found.width, ENCODER_WIDTH)),
            reciprocal=needs_reciprocal or not is_shallow,
        ),
        ObjectiveConfig("self_adversarial", num_negatives=NUM_NEGATIVES, margin=margin),
        ("adam", found.rate),
        batch_size=BATCH_SIZE,
        epochs=epochs or EPOCHS[dataset],
        schedule="linear",
        validate_every=1,
        fan_out=() if is_shallow else (FAN_OUT,),
        save_seconds=600,
    )
    recipe = replace(recipe, validation_size=20_000)
    if not quick:
        return recipe
    return replace(
        recipe,
        model=replace(recipe.model, width=width or 32),
        objective=replace(recipe.objective, num_negatives=32, margin=min(margin, 6.0)),
        batches=replace(recipe.batches, batch_size=64),
        training=replace(
            recipe.training,
            epochs=epochs or 40,
            learning_rate=2e-2,
            validate_every=10,
            max_seconds=20.0,
            accelerator="cpu",
        ),
    )


@torch.no_grad()
def start_as_ogb(model: GraphModel, settings: Settings, seed: int) -> None:
    """Draw the vectors of a shallow model from the range that OGB's examples draw them from.

    Phases of relations are left as they are: uniform over the circle in both.

    Args:
        model: Untrained; one with layers is left as it is.
        settings: Of the model.
        seed: Of the draw.
    """
    encoder = model.encoder if isinstance(model, KGModel) else None
    if not isinstance(encoder, Shallow) or not isinstance(encoder.inputs, Lookup):
        return
    table, relation = encoder.inputs.weight, encoder.relation
    bound = (settings.gamma + _EPSILON) / (table.shape[1] / settings.halves)
    generator = torch.Generator().manual_seed(seed)
    table.uniform_(-bound, bound, generator=generator)
    if relation.shape[1] == table.shape[1]:
        relation.uniform_(-bound, bound, generator=generator)
