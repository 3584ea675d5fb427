"""One field of a search space: an interval of numbers or a list of choices, read and checked."""

import contextlib
import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import NoneType
from typing import Any, Protocol

_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    tuple: "a list of whole numbers",
    NoneType: "null",
}


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
        plain: dict[str, Any] = {"low": self.low, "high": self.high}
        plain |= {"log": True} if self.log else {}
        return plain if self.step is None else {**plain, "step": self.step}


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


def read_domain(name: str, given: Any, kinds: set[type]) -> Interval | Choice:
    """What may stand in a field.

    Args:
        name: Of the field, for messages.
        given: A list of choices, or a mapping of ``low``, ``high``, ``log`` and ``step``.
        kinds: What the field takes, ``NoneType`` and ``tuple`` (of whole numbers) among them.

    Raises:
        ValueError: If it is neither, or does not fit the field.

    Example:
        >>> read_domain("model.width", [64, 128], {int})
        Choice(values=(64, 128))
    """
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
