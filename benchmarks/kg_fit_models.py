"""KG-FIT's benchmark: base models, what trials change in them, and KG-FIT stage by stage."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.recipes import ADAGRAD, ADAM, recipe_of
from pyg_kgtransfer.models.build import ModelConfig
from pyg_kgtransfer.objectives.build import ObjectiveConfig
from pyg_kgtransfer.objectives.hierarchy import HierarchyOptions
from pyg_kgtransfer.transfer.kg_fit import KGFitConfig
from pyg_kgtransfer.transfer.recipe import Recipe

DATA = ("codex-s", "atlas", "umls", "wn18rr", "fb15k-237")
TUNED = ("codex-s", "atlas", "umls")  # runs on the others take too long for trials
STEPWISE = "codex-s"  # where stages are told apart
LARGE_EPOCHS = 8  # on wn18rr and fb15k-237
LINK_WEIGHT = 10.0  # of the facts beside the constraints; with 2 RotatE lost
NOTHING = HierarchyOptions(cohesion=0.0, separation=0.0, distance=0.0, anchor=0.0)
STAGES: Mapping[str, HierarchyOptions] = {
    "mixture": NOTHING,
    "anchor": HierarchyOptions(cohesion=0.0, separation=0.0, distance=0.0),
    "cohesion": HierarchyOptions(separation=0.0, distance=0.0),
    "separation": HierarchyOptions(distance=0.0),
    "kg_fit": HierarchyOptions(),
}


def _sampled(
    decoder: str,
    margin: float,
    *,
    negatives: int = 64,
    width: int = 128,
    with_self: bool = False,
) -> Recipe:
    loss = ObjectiveConfig(
        "self_adversarial", margin=margin, num_negatives=negatives, with_self=with_self
    )
    model = ModelConfig(decoder=decoder, width=width, encoder="shallow")
    return recipe_of(model, loss, ADAM, epochs=25, schedule="linear", accelerator="cpu")


def _one_vs_all(
    decoder: str,
    optimizer: tuple[str, float],
    n3: float = 0.0,
    *,
    epochs: int,
    width: int = 128,
    **model: Any,
) -> Recipe:
    options = {"encoder": "shallow"} | model
    return recipe_of(
        ModelConfig(decoder=decoder, width=width, **options),
        ObjectiveConfig("one_vs_all", n3=n3),
        optimizer,
        epochs=epochs,
        schedule="linear",
        accelerator="cpu",
    )


MODELS: Mapping[str, Recipe] = {
    "transe": _sampled("transe_l2", 9.0),
    "rotate": _sampled("rotate", 6.0),
    "rotate_self": _sampled("rotate", 6.0, with_self=True),  # the entity asked about is a negative
    "protate": _sampled("protate", 6.0, negatives=32, width=64),
    "hake": _sampled("hake", 6.0, negatives=32, width=64),
    "distmult": _one_vs_all("distmult", ADAGRAD, 0.01, epochs=20),
    "complex": _one_vs_all("complex", ADAGRAD, 0.01, epochs=20),
    "tucker": _one_vs_all("tucker", ("adam", 3e-3), epochs=10, width=64),
    "conve": _one_vs_all("conve", ("adam", 3e-3), epochs=10, width=64),
    "compgcn": _one_vs_all(
        "distmult", ADAGRAD, 0.005, epochs=15,
        encoder="compgcn", operator="mult", residual=False, jump=True,
    ),
}  # fmt: skip
ON = {
    "codex-s": tuple(model for model in MODELS if model != "rotate_self"),
    "atlas": ("transe", "rotate", "distmult", "complex", "compgcn"),
    "umls": ("transe", "rotate", "distmult"),
    "wn18rr": ("transe", "rotate", "rotate_self"),
    "fb15k-237": ("transe", "rotate"),
}
SHUFFLED = ("transe", "rotate", "distmult")  # on codex-s: KG-FIT with other entities' text


@dataclass(frozen=True)
class Setting:
    """What a trial changes in a model's recipe.

    Attributes:
        rate: Learning rate, in that of the recipe.
        firmness: Margin or N3 weight, in that of the recipe.
        share: Of free vectors in the mixture (KG-FIT only).
        adapter: Hidden units on the text vectors (KG-FIT only).
        text_start: How near to text the free vectors begin (KG-FIT only).
    """

    rate: float = 1.0
    firmness: float = 1.0
    share: float = 0.6
    adapter: int = 0
    text_start: float = 0.0

    def recipe(self, model: str, data: str = "") -> Recipe:
        """The recipe of a model under this setting; the few facts of the atlas want more N3."""
        given = MODELS[model]
        loss, training = given.objective, given.training
        if data == "atlas":
            loss = replace(loss, n3=20 * loss.n3)
        return replace(
            given,
            model=replace(given.model, share=self.share),
            objective=replace(loss, margin=loss.margin * self.firmness, n3=loss.n3 * self.firmness),
            training=replace(training, learning_rate=training.learning_rate * self.rate),
        )

    def kg_fit(self, stage: str) -> KGFitConfig:
        """KG-FIT up to a stage."""
        return KGFitConfig(
            LINK_WEIGHT, STAGES[stage], adapter=self.adapter, text_start=self.text_start
        )


FROM_TEXT = Setting(share=1.0, text_start=1.0)  # nothing is frozen


def is_firm(model: str) -> bool:
    """Whether the model has a margin or N3."""
    loss = MODELS[model].objective
    return bool(loss.n3) or loss.loss == "self_adversarial"


def base_trials(model: str) -> dict[str, Setting]:
    """The base's first trials."""
    if is_firm(model):
        settings = [Setting(rate, firmness) for rate in (1.0, 3.0) for firmness in (1.0, 0.5)]
    else:
        settings = [Setting(rate) for rate in (1.0, 2.0, 4.0, 8.0)]
    return {f"rate{s.rate:g}.firmness{s.firmness:g}": s for s in settings}


def fit_trials(base: Setting) -> dict[str, Setting]:
    """KG-FIT's first trials, on top of the best settings of the base."""
    return {
        f"share{share:g}.adapter{adapter}": replace(base, share=share, adapter=adapter)
        for adapter in (0, 128)
        for share in (0.6, 0.9)
    }


def trials_around(name: str, best: Setting, model: str) -> dict[str, Setting]:
    """Second trials, of base and KG-FIT alike: half and twice the firmness, or else the rate."""
    what = "firmness" if is_firm(model) else "rate"
    return {
        f"{name}.{what}x{factor:g}": replace(best, **{what: factor * getattr(best, what)})
        for factor in (0.5, 2.0)
    }


def shorter(recipe: Recipe) -> Recipe:
    """Fewer epochs, for a large graph."""
    training = replace(recipe.training, epochs=LARGE_EPOCHS, validate_every=2)
    return replace(recipe, training=training, validation_size=2000)
