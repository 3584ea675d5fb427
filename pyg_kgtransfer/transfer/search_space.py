"""What a search for options tries: ranges and choices of a recipe's fields, by dotted names."""

import difflib
import random
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, get_args, get_origin, get_type_hints

from pyg_kgtransfer.models.build import FOUNDATION
from pyg_kgtransfer.objectives.build import ObjectiveConfig
from pyg_kgtransfer.transfer.recipe import Recipe
from pyg_kgtransfer.transfer.search_domains import Choice, Interval, Suggests, read_domain

SEEDS = ("training.seed", "batches.seed")
# They decide how trials are measured or shown, where they run and what is kept of them.
NOT_TUNED = (
    "training.accelerator",
    "training.monitor",
    "training.max_seconds",
    "training.progress",
    "training.save_every",
    "training.save_seconds",
    "training.tensorboard",
)
_COMPANIES = 64  # combinations that a value refused by itself is tried in


class SearchSpace:
    """The recipes that a search may try: a recipe, and ranges for some of its fields.

    Args:
        ranges: From a field of ``Recipe``, by its dotted name ("model.width", "objective.n3",
            "batches.batch_size", "training.learning_rate" ...), to a list of choices, or to
            ``{"low": 1e-4, "high": 1e-1}``, with ``"log": True`` where orders of magnitude count
            alike, or with a ``"step"``. Numbers of a field that takes whole ones are whole.
        recipe: What all other fields are.

    Attributes:
        recipe: As given.
        domains: Name -> ``Interval`` or ``Choice``.

    Raises:
        ValueError: If a name is unknown (the nearest one is offered) or is not for tuning, a range
            is none, or a value is refused by the recipe in whatever company.

    Example:
        >>> rate = {"low": 0.001, "high": 1.0, "log": True}
        >>> space = SearchSpace({"training.learning_rate": rate, "model.width": [64, 128]})
        >>> tried = space.recipe_of({"training.learning_rate": 0.1, "model.width": 64})
        >>> tried.training.learning_rate, tried.model.width, tried.model.decoder
        (0.1, 64, 'complex')
    """

    def __init__(self, ranges: Mapping[str, Any], recipe: Recipe | None = None) -> None:
        self.recipe = Recipe() if recipe is None else recipe
        if not ranges:
            raise ValueError("a search space needs at least one field of the recipe (got none)")
        kinds = _fields_of(self.recipe)
        for name in ranges:
            _check_name(name, kinds)
        self.domains: dict[str, Interval | Choice] = {
            name: read_domain(name, given, kinds[name]) for name, given in ranges.items()
        }
        for name, domain in self.domains.items():
            for value in domain.probes:
                self._check_possible(name, value)

    @classmethod
    def for_recipe(cls, recipe: Recipe) -> "SearchSpace":
        """What is worth a search for the optimiser, decoder and loss of a recipe.

        The learning rate, the width and the batch size; layers and dropout of an encoder that has
        them; N3 where scores are products; and what the loss has: label smoothing, or negatives,
        margin and temperature.

        Example:
            >>> sorted(SearchSpace.for_recipe(Recipe()).domains)[:3]
            ['batches.batch_size', 'model.dropout', 'model.layers']
        """
        ranges = {**_model_ranges(recipe), **_loss_ranges(recipe.objective)}
        if recipe.model.decoder in ("distmult", "complex") and recipe.model.encoder != FOUNDATION:
            ranges["objective.n3"] = {"low": 1e-4, "high": 0.3, "log": True}
        return cls(ranges, recipe)

    def recipe_of(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe with ``values`` in the place of its own.

        Args:
            values: By dotted name.

        Raises:
            ValueError: If the recipe refuses them, alone or together.
        """
        sections: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            section, field = name.split(".")
            sections.setdefault(section, {})[field] = value
        changed: dict[str, Any] = {
            section: replace(getattr(self.recipe, section), **given)
            for section, given in sections.items()
        }
        return replace(self.recipe, **changed)

    def suggest(self, trial: Suggests) -> dict[str, Any]:
        """The values of a trial, by dotted name."""
        return {name: domain.suggest(trial, name) for name, domain in self.domains.items()}

    def decoded(self, recorded: Mapping[str, Any]) -> dict[str, Any]:
        """The values that a trial recorded, in the order of the space."""
        return {
            name: domain.decoded(recorded[name])
            for name, domain in self.domains.items()
            if name in recorded
        }

    def to_plain(self) -> dict[str, Any]:
        """The ranges as they are written in a file, ready for JSON and YAML."""
        return {name: domain.to_plain() for name, domain in self.domains.items()}

    def _check_possible(self, name: str, value: Any) -> None:
        """Refuse a value that the recipe takes neither alone nor in other company."""
        generator = random.Random(0)
        others = {other: domain for other, domain in self.domains.items() if other != name}
        refused: ValueError | None = None
        for _ in range(1 + (_COMPANIES if others else 0)):
            company: dict[str, Any] = {}
            if refused is not None:
                company = {other: generator.choice(d.probes) for other, d in others.items()}
            try:
                self.recipe_of({**company, name: value})
            except ValueError as error:
                refused = error if refused is None else refused  # the plainest is the first
            else:
                return
        raise ValueError(f"{name} may be {value!r} in no recipe of the space: {refused}")


def _fields_of(recipe: Recipe) -> dict[str, set[type]]:
    """Dotted name -> the kinds of value that it takes, of all that a recipe is made of."""
    found: dict[str, set[type]] = {}
    for part in fields(recipe):
        section = getattr(recipe, part.name)
        if is_dataclass(section):
            hints = get_type_hints(type(section))
            for field in fields(section):
                options = get_args(hints[field.name])
                is_tuple = get_origin(hints[field.name]) is tuple
                kinds = (tuple,) if is_tuple else options or (hints[field.name],)
                found[f"{part.name}.{field.name}"] = set(kinds)
    return found


def _check_name(name: str, known: Mapping[str, set[type]]) -> None:
    if name in SEEDS:
        raise ValueError(f"to pick the luckiest seed is not to tune (got {name!r} in the space)")
    if name in NOT_TUNED or name == "validation_size":
        raise ValueError(
            f"{name} decides how trials are measured, shown or kept, so it is the same for all: "
            "set it in the recipe (got it in the space)"
        )
    if name not in known:
        field = name.rpartition(".")[2]  # a right field in a wrong part, or in none, comes first
        near = [each for each in known if each.partition(".")[2] == field]
        near = near or difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            "a search space names fields of the recipe with a dot, such as model.width "
            f"(got {name!r}){hint}"
        )


def _model_ranges(recipe: Recipe) -> dict[str, Any]:
    """Learning rate, width, batch size; layers and dropout."""
    model = recipe.model
    is_large = recipe.training.optimizer in ("adagrad", "sgd")  # their steps shrink, or are plain
    if model.encoder == FOUNDATION:
        return {
            "training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
            "model.width": [32, 64],
            "model.layers": [4, 6],
            "batches.batch_size": [16, 32, 64],
        }
    rate = (1e-2, 1.0) if is_large else (1e-4, 1e-1)
    ranges: dict[str, Any] = {
        "training.learning_rate": {"low": rate[0], "high": rate[1], "log": True},
        "batches.batch_size": [256, 512, 1024, 2048],
    }
    known = (32, 64, 128) if model.decoder == "tucker" else (64, 128, 256)
    widths = [width for width in known if not model.blocks or width % model.blocks == 0]
    if widths and model.inputs != "mixture":  # where text vectors have the width
        ranges["model.width"] = widths
    if not model.sparse:
        ranges["model.dropout"] = {"low": 0.0, "high": 0.5}
    if model.encoder != "shallow" and not recipe.training.fan_out:
        ranges["model.layers"] = [1, 2]
    return ranges


def _loss_ranges(objective: ObjectiveConfig) -> dict[str, Any]:
    """What the loss has."""
    if objective.loss in ("one_vs_all", "k_vs_all"):
        return {"objective.label_smoothing": {"low": 0.0, "high": 0.3}}
    ranges: dict[str, Any] = {"objective.num_negatives": {"low": 8, "high": 256, "log": True}}
    if objective.loss != "softplus":
        ranges["objective.margin"] = {"low": 1.0, "high": 24.0}
    if objective.loss == "self_adversarial":
        ranges["objective.temperature"] = {"low": 0.25, "high": 2.0, "log": True}
    return ranges
