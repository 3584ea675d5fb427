"""What a search for options tries: ranges and choices of a recipe's fields, by dotted names."""

import contextlib
import difflib
import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from types import NoneType
from typing import Any, Protocol, get_args, get_origin, get_type_hints

from pyg_kgtransfer.models.build import FOUNDATION
from pyg_kgtransfer.objectives.build import ObjectiveConfig
from pyg_kgtransfer.transfer.recipe import Recipe

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
_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    tuple: "a list of whole numbers",
    NoneType: "null",
}
_COMPANIES = 64  # combinations that a value refused by itself is tried in


class Suggests(Protocol):
    """What gives values: a trial of Optuna."""

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int: ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


@dataclass(frozen=True)
class Interval:
    """All numbers from ``low`` to ``high``, whole ones where both are.

    Attributes:
        low: The lowest.
        high: The highest.
        log: Drawn evenly on the scale of the logarithm.
        step: What lies between neighbours; ``None``: nothing, or 1 of whole numbers.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def suggest(self, trial: Suggests, name: str) -> float:
        """The value of ``name`` in a trial."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(name, self.low, self.high, step=step, log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def decoded(self, label: Any) -> Any:
        """The value that a trial recorded."""
        return label

    @property
    def probes(self) -> tuple[Any, ...]:
        """Values that stand for all."""
        return self.low, self.high

    def to_plain(self) -> Any:
        """As it is written in a file."""
        return {name: value for name, value in asdict(self).items() if value not in (None, False)}


@dataclass(frozen=True)
class Choice:
    """One of ``values``."""

    values: tuple[Any, ...]

    def suggest(self, trial: Suggests, name: str) -> Any:
        """The value of ``name`` in a trial."""
        return self.decoded(trial.suggest_categorical(name, list(map(_label, self.values))))

    def decoded(self, label: Any) -> Any:
        """The value that a trial recorded."""
        return self.values[list(map(_label, self.values)).index(label)]

    @property
    def probes(self) -> tuple[Any, ...]:
        """All of them."""
        return self.values

    def to_plain(self) -> Any:
        """As it is written in a file."""
        return [list(value) if isinstance(value, tuple) else value for value in self.values]


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
            name: _domain(name, given, kinds[name]) for name, given in ranges.items()
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


def _domain(name: str, given: Any, kinds: set[type]) -> Interval | Choice:
    if isinstance(given, Mapping):
        return _interval(name, given, kinds)
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ValueError(
            f"{name} needs a list of choices, or low and high (got {given!r}); to set it for all "
            "trials, set it in the recipe"
        )
    values = tuple(_fitting(name, value, kinds) for value in given)
    if not values:
        raise ValueError(f"{name} needs at least one choice (got none)")
    if len(set(values)) < len(values):
        raise ValueError(f"the choices of {name} must differ (got {list(given)})")
    return Choice(values)


def _interval(name: str, given: Mapping[str, Any], kinds: set[type]) -> Interval:
    keys = [field.name for field in fields(Interval)]
    for key in given:
        if key not in keys:
            near = difflib.get_close_matches(str(key), keys, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"a range has {', '.join(keys)} (got {key!r} for {name}){hint}")
    missing = [key for key in ("low", "high") if key not in given]
    if missing:
        raise ValueError(
            f"the range of {name} needs low and high (got no {' and no '.join(missing)})"
        )
    numeric = kinds & {int, float}
    if not numeric:
        raise ValueError(f"{name} takes no numbers, so it needs a list of choices (got a range)")
    low, high = (_fitting(name, given[key], numeric) for key in ("low", "high"))
    step = None if given.get("step") is None else _fitting(name, given["step"], numeric)
    log = given.get("log", False)
    if not isinstance(log, bool):
        raise ValueError(f"log of {name} must be true or false (got {log!r})")
    if not low < high or not math.isfinite(high - low):
        raise ValueError(f"the range of {name} needs low below high (got {low} and {high})")
    if log and (low <= 0 or step is not None):
        raise ValueError(
            f"a range with log needs a low above 0, and no step (got {low} and {step} for {name})"
        )
    if step is not None and not 0 < step <= high - low:
        raise ValueError(f"the step of {name} must be in (0, {high - low}] (got {step})")
    if float in numeric:
        return Interval(float(low), float(high), log, None if step is None else float(step))
    return Interval(low, high, log, step)


def _fitting(name: str, value: Any, kinds: set[type]) -> Any:
    """A value as the field takes it; numbers may be written 1e-4, which some YAML has as text."""
    if isinstance(value, str) and float in kinds and str not in kinds:
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, list | tuple) and tuple in kinds:
        whole = [isinstance(each, int) and not isinstance(each, bool) for each in value]
        if all(whole):
            return tuple(value)
    elif type(value) in kinds:
        return value
    elif type(value) is int and float in kinds:
        return float(value)
    wanted = ", or ".join(words for kind, words in _KINDS.items() if kind in kinds)
    raise ValueError(f"{name} takes {wanted} (got {value!r})")


def _label(value: Any) -> Any:
    """A choice as a study records it."""
    return json.dumps(value) if isinstance(value, tuple) else value


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
