"""From scores, which have no unit, to probabilities that can be believed."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


class Calibrator(Protocol):
    """From scores to probabilities."""

    def probability(self, scores: Tensor) -> Tensor:
        """Probabilities in [0, 1], of the shape of ``scores``, float64."""


@dataclass(frozen=True)
class Calibration:
    """P(true | score) = sigmoid(slope * score + intercept).

    Attributes:
        slope: Above 0 where higher scores are more plausible, as they should be.
        intercept: The log-odds at score 0.
    """

    slope: float
    intercept: float

    def probability(self, scores: Tensor) -> Tensor:
        """Probabilities in [0, 1], of the shape of ``scores``, float64."""
        return torch.sigmoid(self.slope * scores.double() + self.intercept)


def fit_calibration(scores: Tensor, is_true: Tensor) -> Calibration:
    """Platt scaling on labelled scores, say of validation triples and their negatives.

    The probabilities hold for the share of true triples among those given. Targets are drawn
    inward, to (P + 1) / (P + 2) and 1 / (Q + 2) for P true and Q false triples, so that the slope
    stays finite where a threshold separates them.

    Args:
        scores: [T] finite.
        is_true: [T] bool, both values present.

    Raises:
        ValueError: If true or false triples are missing, or a score is not finite.

    Source: Platt 1999, "Probabilistic Outputs for Support Vector Machines", section 2.1 and 2.2.

    Example:
        >>> fitted = fit_calibration(torch.tensor([-1.0, 1.0]), torch.tensor([False, True]))
        >>> [round(p, 3) for p in fitted.probability(torch.tensor([-1.0, 1.0])).tolist()]
        [0.333, 0.667]
    """
    scores = scores.detach().double().cpu()
    is_true = is_true.cpu()
    _check(scores, is_true)
    positives = int(is_true.sum())
    negatives = len(is_true) - positives
    centre, spread = scores.mean(), scores.std().item() or 1.0
    target = torch.where(is_true, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    slope, intercept = _logistic_fit((scores - centre) / spread, target.double())
    slope /= spread
    return Calibration(slope, intercept - slope * centre.item())


@dataclass(frozen=True, eq=False)
class IsotonicCalibration:
    """P(true | score) by the best function that never falls.

    Attributes:
        scores: [K] float64 ascending.
        probabilities: [K] float64 at these scores, straight lines between them.
    """

    scores: np.ndarray
    probabilities: np.ndarray

    def probability(self, scores: Tensor) -> Tensor:
        """Probabilities in [0, 1], of the shape of ``scores``, float64."""
        found = np.interp(scores.detach().double().cpu().numpy(), self.scores, self.probabilities)
        return torch.from_numpy(np.asarray(found)).to(scores.device)


def fit_isotonic(scores: Tensor, is_true: Tensor) -> IsotonicCalibration:
    """Isotonic regression on labelled scores; it wants some hundreds of them.

    Args:
        scores: [T] finite.
        is_true: [T] bool, both values present.

    Raises:
        ValueError: If true or false triples are missing, or a score is not finite.

    Source: Zadrozny and Elkan 2002, "Transforming Classifier Scores into Accurate Multiclass
    Probability Estimates", section 3.2.

    Example:
        >>> fitted = fit_isotonic(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([False, True, True]))
        >>> fitted.probability(torch.tensor([0.0, 1.5, 9.0])).tolist()
        [0.0, 0.5, 1.0]
    """
    from sklearn.isotonic import IsotonicRegression

    _check(scores, is_true)
    fitted = IsotonicRegression(out_of_bounds="clip").fit(
        scores.detach().double().cpu().numpy(), is_true.cpu().double().numpy()
    )
    return IsotonicCalibration(fitted.X_thresholds_, fitted.y_thresholds_)


def _check(scores: Tensor, is_true: Tensor) -> None:
    positives = int(is_true.sum())
    negatives = len(is_true) - positives
    if not positives or not negatives:
        raise ValueError(
            f"calibration needs true and false triples (got {positives} true, {negatives} false)"
        )
    if not torch.isfinite(scores).all():
        raise ValueError("calibration needs finite scores (got NaN or infinity)")


def _logistic_fit(scores: Tensor, target: Tensor) -> tuple[float, float]:
    """Slope and intercept of least cross entropy; scores are standardised."""
    weights = torch.zeros(2, dtype=torch.double, requires_grad=True)  # slope, intercept
    optimizer = torch.optim.LBFGS(
        [weights], max_iter=200, tolerance_grad=1e-10, line_search_fn="strong_wolfe"
    )

    def loss() -> float:
        with torch.enable_grad():
            optimizer.zero_grad()
            logits = weights[0] * scores + weights[1]
            value = functional.binary_cross_entropy_with_logits(logits, target)
            value.backward()
        return value.item()

    optimizer.step(loss)
    slope, intercept = weights.tolist()
    return slope, intercept


def brier_score(probability: Tensor, is_true: Tensor) -> float:
    """Mean squared error of probabilities ([T], T > 0): in [0, 1], lower is better."""
    return (probability - is_true.to(probability.dtype)).square().mean().item()


def expected_calibration_error(probability: Tensor, is_true: Tensor, *, bins: int = 10) -> float:
    """How far probabilities are from frequencies: in [0, 1], lower is better.

    ECE = sum over bins of equal width of (share of triples) * |mean probability - share true|.

    Source: Guo et al. 2017, arXiv 1706.04599, eq. 3.
    """
    index = (probability * bins).long().clamp(max=bins - 1)
    gap = torch.zeros(bins, dtype=torch.double)
    gap = gap.index_add(0, index, probability.double() - is_true.double())
    return gap.abs().sum().item() / len(probability)


def reliability(probability: Tensor, is_true: Tensor, *, bins: int = 10) -> list[dict[str, float]]:
    """Bins of equal width: mean probability, share true, count; empty ones left out.

    Example:
        >>> reliability(torch.tensor([0.1, 0.9, 0.9]), torch.tensor([False, True, False]), bins=2)
        ... # doctest: +NORMALIZE_WHITESPACE
        [{'probability': 0.1, 'true': 0.0, 'count': 1},
         {'probability': 0.9, 'true': 0.5, 'count': 2}]
    """
    index = (probability * bins).long().clamp(max=bins - 1)
    return [
        {
            "probability": round(probability[index == number].double().mean().item(), 6),
            "true": is_true[index == number].double().mean().item(),
            "count": int((index == number).sum()),
        }
        for number in range(bins)
        if bool((index == number).any())
    ]
