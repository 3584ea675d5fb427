"""Calibrations learned from labelled scores, and how far probabilities can be believed."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from pyg_kgtransfer.models.calibration import (
    Calibration,
    IsotonicCalibration,
    RelationCalibration,
)


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
    centre, spread = scores.mean(), scores.std().item() or 1.0
    slope, intercept = _logistic_fit((scores - centre) / spread, _targets(is_true))
    slope /= spread
    return Calibration(slope, intercept - slope * centre.item())


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


def fit_by_relation(
    scores: Tensor,
    is_true: Tensor,
    relation: Tensor,
    *,
    num_relations: int,
    shrinkage: float = 1.0,
) -> RelationCalibration:
    """Platt scaling with a slope and an intercept for each relation, drawn to those of all.

    Over z, the standardised scores, with targets y as in ``fit_calibration``, it is

        min sum_i CE(y_i, sigmoid((a + da[r_i]) z_i + b + db[r_i])) + shrinkage * sum_r da² + db²

    so that a relation with many labelled facts gets its own, one with few stays near a and b, and
    one with none has these.

    Args:
        scores: [T] finite.
        is_true: [T] bool, both values present.
        relation: [T] int64 in [0, R).
        num_relations: R.
        shrinkage: Above 0; 1 weighs about as much as eight facts at even odds.

    Raises:
        ValueError: If true or false triples are missing, a score is not finite, or ``shrinkage``
            is not above 0.

    Example:
        >>> scores, is_true = torch.tensor([0.0, 1.0, 5.0, 6.0]), torch.tensor([False, True] * 2)
        >>> found = fit_by_relation(scores, is_true, torch.tensor([0, 0, 1, 1]), num_relations=3)
        >>> own = found.probability(scores, torch.tensor([0, 0, 1, 1]))
        >>> bool(own[1] > found.probability(scores)[1])
        True
    """
    scores = scores.detach().double().cpu()
    is_true, relation = is_true.cpu(), relation.cpu()
    _check(scores, is_true)
    if not shrinkage > 0:
        raise ValueError(f"shrinkage must be above 0 (got {shrinkage})")
    centre, spread = scores.mean(), scores.std().item() or 1.0
    z, target = (scores - centre) / spread, _targets(is_true)
    of_all, own = (  # slope, intercept
        torch.zeros(rows, 2, dtype=torch.double, requires_grad=True) for rows in (1, num_relations)
    )

    def loss() -> Tensor:
        slope, intercept = (of_all + own[relation]).unbind(1)
        error = functional.binary_cross_entropy_with_logits(
            slope * z + intercept, target, reduction="sum"
        )
        return (error + shrinkage * own.square().sum()) / len(z)

    _minimise(loss, of_all, own)
    lines = torch.cat([of_all, of_all + own]).detach()
    slopes = lines[:, 0] / spread
    intercepts = lines[:, 1] - slopes * centre
    pooled = Calibration(slopes[0].item(), intercepts[0].item())
    return RelationCalibration(pooled, slopes[1:].numpy(), intercepts[1:].numpy())


def _targets(is_true: Tensor) -> Tensor:
    """Platt's targets: [T] float64."""
    positives = int(is_true.sum())
    negatives = len(is_true) - positives
    target = torch.where(is_true, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    return target.double()


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

    def loss() -> Tensor:
        logits = weights[0] * scores + weights[1]
        return functional.binary_cross_entropy_with_logits(logits, target)

    _minimise(loss, weights)
    slope, intercept = weights.tolist()
    return slope, intercept


def _minimise(loss: Callable[[], Tensor], *weights: Tensor) -> None:
    """Find the weights, in place, where a smooth and convex loss is least."""
    optimizer = torch.optim.LBFGS(
        weights, max_iter=200, tolerance_grad=1e-10, line_search_fn="strong_wolfe"
    )

    def step() -> float:
        with torch.enable_grad():
            optimizer.zero_grad()
            value = loss()
            value.backward()
        return value.item()

    optimizer.step(step)


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
