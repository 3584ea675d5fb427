"""Calibrations: from scores, which have no unit, to probabilities; and as plain data, to keep."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor


class Calibrator(Protocol):
    """From scores to probabilities."""

    def probability(self, scores: Tensor, relation: Tensor | None = None) -> Tensor:
        """Probabilities of facts.

        Args:
            scores: Of any shape; higher is more plausible.
            relation: Of the same shape, int64 ids; read by a calibration that tells relations
                apart, ``None``: it does not.

        Returns:
            Of the shape of ``scores``, float64, in [0, 1].
        """


@dataclass(frozen=True)
class Calibration:
    """P(true | score) = sigmoid(slope * score + intercept).

    Attributes:
        slope: Above 0 where higher scores are more plausible, as they should be.
        intercept: The log-odds at score 0.

    Raises:
        ValueError: If a number is not finite.
    """

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept)):
            raise ValueError(
                "a calibration needs a finite slope and intercept "
                f"(got {self.slope} and {self.intercept})"
            )

    def probability(self, scores: Tensor, relation: Tensor | None = None) -> Tensor:
        return torch.sigmoid(self.slope * scores.double() + self.intercept)


@dataclass(frozen=True, eq=False)
class IsotonicCalibration:
    """P(true | score) by the best function that never falls.

    Attributes:
        scores: [K] float64 ascending, K at least 1.
        probabilities: [K] float64 in [0, 1] at these scores, straight lines between them.

    Raises:
        ValueError: If they are not so.
    """

    scores: np.ndarray
    probabilities: np.ndarray

    def __post_init__(self) -> None:
        scores, probabilities = self.scores, self.probabilities
        if scores.ndim != 1 or scores.shape != probabilities.shape or not len(scores):
            raise ValueError(
                "an isotonic calibration needs as many probabilities as scores, at least one "
                f"(got shapes {probabilities.shape} and {scores.shape})"
            )
        if not (np.isfinite(scores).all() and (np.diff(scores) >= 0).all()):
            raise ValueError("an isotonic calibration needs finite, ascending scores (got others)")
        rising = (np.diff(probabilities) >= 0).all()
        if not (rising and probabilities[0] >= 0 and probabilities[-1] <= 1):
            raise ValueError(
                "an isotonic calibration needs probabilities in [0, 1] that never fall (got others)"
            )

    def probability(self, scores: Tensor, relation: Tensor | None = None) -> Tensor:
        found = np.interp(scores.detach().double().cpu().numpy(), self.scores, self.probabilities)
        return torch.from_numpy(np.asarray(found)).to(scores.device)


@dataclass(frozen=True, eq=False)
class RelationCalibration:
    """P(true | score, relation r) = sigmoid(slopes[r] * score + intercepts[r]).

    Attributes:
        pooled: For facts whose relation is not told.
        slopes: [R] float64, by relation id.
        intercepts: [R] float64.

    Raises:
        ValueError: If a number is not finite, or there are not as many slopes as intercepts.
    """

    pooled: Calibration
    slopes: np.ndarray
    intercepts: np.ndarray

    def __post_init__(self) -> None:
        if self.slopes.ndim != 1 or self.slopes.shape != self.intercepts.shape:
            raise ValueError(
                "a calibration by relation needs as many slopes as intercepts "
                f"(got shapes {self.slopes.shape} and {self.intercepts.shape})"
            )
        if not (np.isfinite(self.slopes).all() and np.isfinite(self.intercepts).all()):
            raise ValueError(
                "a calibration by relation needs finite slopes and intercepts (got others)"
            )

    def moved(self, origin: Tensor) -> "RelationCalibration":
        """For other relation ids; new relations have the line of all.

        Args:
            origin: [R'] int64, for each new relation id the old one, or -1.
        """
        old = origin.clamp(min=0).numpy()
        is_new = (origin < 0).numpy()
        return RelationCalibration(
            self.pooled,
            np.where(is_new, self.pooled.slope, self.slopes[old]),
            np.where(is_new, self.pooled.intercept, self.intercepts[old]),
        )

    def probability(self, scores: Tensor, relation: Tensor | None = None) -> Tensor:
        if relation is None:
            return self.pooled.probability(scores)
        slopes = torch.from_numpy(self.slopes).to(scores.device)[relation]
        intercepts = torch.from_numpy(self.intercepts).to(scores.device)[relation]
        return torch.sigmoid(slopes * scores.double() + intercepts)


def calibrator_to_dict(calibrator: Calibrator) -> dict[str, Any]:
    """A calibration as plain data, ready for JSON, without loss.

    Raises:
        ValueError: If it is of a kind of your own.

    Example:
        >>> calibrator_to_dict(Calibration(2.0, -1.0))
        {'kind': 'platt', 'slope': 2.0, 'intercept': -1.0}
    """
    if isinstance(calibrator, Calibration):
        return {
            "kind": "platt",
            "slope": float(calibrator.slope),
            "intercept": float(calibrator.intercept),
        }
    if isinstance(calibrator, IsotonicCalibration):
        return {
            "kind": "isotonic",
            "scores": calibrator.scores.astype(np.float64).tolist(),
            "probabilities": calibrator.probabilities.astype(np.float64).tolist(),
        }
    if isinstance(calibrator, RelationCalibration):
        return {
            "kind": "relation",
            "pooled": calibrator_to_dict(calibrator.pooled),
            "slopes": calibrator.slopes.astype(np.float64).tolist(),
            "intercepts": calibrator.intercepts.astype(np.float64).tolist(),
        }
    raise ValueError(
        f"only calibrations of the kinds {', '.join(_KINDS)} can be kept "
        f"(got a {type(calibrator).__name__})"
    )


def calibrator_from_dict(kept: Mapping[str, Any]) -> Calibrator:
    """The calibration that ``calibrator_to_dict`` kept.

    Raises:
        ValueError: If it is of another kind, or its numbers are missing or wrong.

    Example:
        >>> calibrator_from_dict({"kind": "platt", "slope": 2.0, "intercept": -1.0})
        Calibration(slope=2.0, intercept=-1.0)
    """
    kind = str(kept.get("kind"))
    if kind not in _KINDS:
        raise ValueError(f"a calibration is of the kind {', '.join(_KINDS)} (got {kind!r})")
    try:
        return _KINDS[kind](kept)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"a calibration of the kind {kind} lacks its numbers (got {sorted(kept)})"
        ) from error


def _platt(kept: Mapping[str, Any]) -> Calibration:
    return Calibration(float(kept["slope"]), float(kept["intercept"]))


def _isotonic(kept: Mapping[str, Any]) -> Calibrator:
    return IsotonicCalibration(_numbers(kept["scores"]), _numbers(kept["probabilities"]))


def _relation(kept: Mapping[str, Any]) -> Calibrator:
    pooled = _platt(kept["pooled"])
    return RelationCalibration(pooled, _numbers(kept["slopes"]), _numbers(kept["intercepts"]))


def _numbers(kept: list[float]) -> np.ndarray:
    return np.array(kept, dtype=np.float64)


_KINDS: Mapping[str, Callable[[Mapping[str, Any]], Calibrator]] = MappingProxyType(
    {"platt": _platt, "isotonic": _isotonic, "relation": _relation}
)
