"""Hyperband by numbers of our own: a trial that is tried again stays in the bracket it was in."""

import math
from typing import Any
from zlib import crc32

REDUCTION = 3  # one trial in so many goes on


class Hyperband:
    """Whether a trial is behind others of its bracket, as Optuna asks its pruners.

    Bracket s, s = 0 .. S - 1, looks at a trial at the rungs least * 3^(s + k), k = 0, 1, ...: it
    goes on if its value there is among the best third of those of its bracket that came as far
    before (the best one, while there are fewer than six). Brackets that prune early have more
    trials. Optuna's own pruner goes by its count of trials, which a trial that is tried again
    changes, and counts what a broken-off trial had reported; this one goes by the user attribute
    ``"number"`` (from 1) and passes broken-off trials over, so that a study goes on as it would
    have. With validation at every epoch it decides as Optuna's does on an unbroken study; rungs
    that lie between two reports are one.

    Args:
        least: Epochs before which no trial is pruned, at least 1.
        most: Epochs of the longest trial, at least ``least``.
        name: Of the study; with the number it decides the bracket.

    Source: Li et al. 2018, arXiv 1603.06560; Li et al. 2020, arXiv 1810.05934 (asynchronous
    successive halving); their ratio of trials in brackets as in Optuna.

    Example:
        >>> pruner = Hyperband(1, 9, "tune")
        >>> sorted({pruner.bracket(number) for number in range(1, 20)})
        [0, 1, 2]
    """

    def __init__(self, least: int, most: int, name: str) -> None:
        self.least, self.name = least, name
        count = 1
        while least * REDUCTION**count <= most:
            count += 1
        self.shares = [math.ceil(count * REDUCTION**s / (s + 1)) for s in reversed(range(count))]

    def bracket(self, number: int) -> int:
        """The bracket of a trial."""
        place = crc32(f"{self.name}_{number - 1}".encode()) % sum(self.shares)
        ends = [sum(self.shares[: s + 1]) for s in range(len(self.shares))]
        return next(s for s, end in enumerate(ends) if place < end)

    def prune(self, study: Any, trial: Any) -> bool:
        """Whether ``trial`` of ``study``, both Optuna's, is not worth going on with."""
        reports = trial.intermediate_values
        if not reports:
            return False
        step = max(reports)
        before = max((at for at in reports if at < step), default=0)
        bracket = self.bracket(trial.user_attrs["number"])
        rung = self.least * REDUCTION**bracket
        while rung <= before:
            rung *= REDUCTION
        if rung > step:
            return False
        values = [reports[step]]
        for other in study.get_trials(deepcopy=False):
            reached = [at for at in other.intermediate_values if at >= rung]
            if not reached or other.number == trial.number or other.state.name == "FAIL":
                continue
            if self.bracket(other.user_attrs["number"]) == bracket:
                values.append(other.intermediate_values[min(reached)])
        kept = max(1, len(values) // REDUCTION)
        return bool(reports[step] < sorted(values)[-kept])
