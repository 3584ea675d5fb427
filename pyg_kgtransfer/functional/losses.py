"""Losses as pure functions; each is a mean over the batch.

Where a loss takes ``weight`` ([B], at least 0, not all 0), the mean over rows is a weighted one:
sum_b weight_b * loss_b / sum_b weight_b. ``None``: all rows alike.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def margin_loss(
    positive: Tensor, negative: Tensor, *, margin: float, weight: Tensor | None = None
) -> Tensor:
    """Mean of max(0, margin - positive + negative).

    Args:
        positive: [B] scores of true triples.
        negative: [B, K] scores of corrupted ones; ``-inf`` leaves a negative out.
        margin: At least 0, in units of the score.
        weight: [B] weight of each triple; ``None``: all alike.

    Source: Bordes et al. 2013, eq. 1.
    """
    violation = F.relu(margin - positive.unsqueeze(1) + negative)  # [B, K]
    return violation.mean() if weight is None else _weighted_mean(violation.mean(1), weight)


def softplus_loss(positive: Tensor, negative: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Mean softplus(-positive) + mean softplus(negative): the logistic loss.

    Args:
        positive: [B] scores.
        negative: [B, K] scores; ``-inf`` leaves a negative out.
        weight: [B] weight of each triple and of its negatives; ``None``: all alike.

    Source: Trouillon et al. 2016, arXiv 1606.06357, eq. 10; positives and negatives weigh
    alike here.
    """
    true, false = F.softplus(-positive), F.softplus(negative)  # [B], [B, K]
    if weight is None:
        return true.mean() + false.mean()
    return _weighted_mean(true + false.mean(1), weight)


def self_adversarial_loss(
    positive: Tensor,
    negative: Tensor,
    *,
    margin: float,
    temperature: float,
    weight: Tensor | None = None,
) -> Tensor:
    """The self-adversarial negative sampling loss.

    1/2 [-log sigma(margin + positive) - sum_k p_k log sigma(-margin - negative_k)], with
    p = softmax(temperature * negative) held constant.

    Args:
        positive: [B] scores (minus distances).
        negative: [B, K] scores; ``-inf`` leaves a negative out, at least one per row must stay.
        margin: gamma, in units of the score.
        temperature: alpha; 0 weighs negatives alike.
        weight: [B] weight of each triple, e.g. 1/sqrt of its query's count; ``None``: all alike.

    Source: Sun et al. 2019, arXiv 1902.10197, eq. 5-6.
    """
    finite = negative.detach()
    probability = torch.softmax(
        torch.where(finite.isneginf(), finite, temperature * finite), dim=1
    )  # [B, K]
    terms = F.softplus(negative + margin)  # -log sigma(-(margin + score)); 0 at -inf
    per_triple = 0.5 * (F.softplus(-(positive + margin)) + (probability * terms).sum(1))
    return per_triple.mean() if weight is None else _weighted_mean(per_triple, weight)


def cross_entropy_loss(
    scores: Tensor, target: Tensor, *, label_smoothing: float = 0.0, weight: Tensor | None = None
) -> Tensor:
    """Softmax cross entropy over candidates.

    Args:
        scores: [B, N].
        target: [B] int64, columns of the true ones.
        label_smoothing: In [0, 1).
        weight: [B] weight of each row; ``None``: all alike.
    """
    if weight is None:
        return F.cross_entropy(scores, target, label_smoothing=label_smoothing)
    each = F.cross_entropy(scores, target, label_smoothing=label_smoothing, reduction="none")
    return _weighted_mean(each, weight)


def multi_label_loss(scores: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Binary cross entropy over all candidates (k-vs-all).

    Args:
        scores: [B, N].
        labels: [B, N] of 0 and 1.
        label_smoothing: epsilon in [0, 1): labels become (1 - epsilon) * labels + 1 / N.

    Source: Dettmers et al. 2018, arXiv 1707.01476, eq. 3 (smoothing as in the authors' code).
    """
    if label_smoothing > 0:
        labels = (1.0 - label_smoothing) * labels + 1.0 / labels.shape[1]
    return F.binary_cross_entropy_with_logits(scores, labels)


def soft_target_loss(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """temperature^2 * KL(softmax(teacher / temperature) || softmax(student / temperature)).

    Args:
        student: [B, K] scores.
        teacher: [B, K] scores of the same candidates; no gradient is taken.
        temperature: tau > 0, in units of the score.

    Source: Hinton, Vinyals, Dean 2015, arXiv 1503.02531, section 2.
    """
    target = torch.log_softmax(teacher.detach() / temperature, dim=1)
    guess = torch.log_softmax(student / temperature, dim=1)
    return temperature**2 * F.kl_div(guess, target, log_target=True, reduction="batchmean")


def contrastive_loss(left: Tensor, right: Tensor, *, temperature: float) -> Tensor:
    """InfoNCE: row i of ``left`` should be nearest to row i of ``right``, by cosine, and back.

    Args:
        left: [P, D].
        right: [P, D].
        temperature: Above 0, in units of the cosine.

    Source: van den Oord et al. 2018, arXiv 1807.03748, eq. 4, both directions averaged.
    """
    cosine = F.normalize(left, dim=1) @ F.normalize(right, dim=1).t() / temperature  # [P, P]
    target = torch.arange(len(left), device=left.device)
    return 0.5 * (F.cross_entropy(cosine, target) + F.cross_entropy(cosine.t(), target))


def cosine_loss(left: Tensor, right: Tensor) -> Tensor:
    """Mean of 1 - cosine of matching rows: [P, D], [P, D] -> scalar in [0, 2]."""
    return (1.0 - F.cosine_similarity(left, right, dim=1)).mean()


def n3_penalty(*factors: Tensor) -> Tensor:
    """Mean over the batch of sum_d |x_d|^3 over all factors, [B, D] each (moduli of numbers).

    Source: Lacroix, Usunier, Obozinski 2018, arXiv 1806.07297, eq. 8 (a sum over the three factors;
    the weight that multiplies it is the paper's lambda, without its 1/3).
    """
    return torch.stack([(factor.abs() ** 3).sum(-1).mean() for factor in factors]).sum()


def segment_log_softmax(scores: Tensor, segment: Tensor, num_segments: int) -> Tensor:
    """Log softmax within segments: [M] scores, [M] segment ids in any order -> [M]."""
    highest = torch.full((num_segments,), -torch.inf, dtype=scores.dtype, device=scores.device)
    highest = highest.scatter_reduce(0, segment, scores.detach(), reduce="amax")
    shifted = scores - highest[segment]
    total = torch.zeros_like(highest).index_add(0, segment, shifted.exp())
    return shifted - total[segment].log()


def flow_divergence(student: Tensor, teacher: Tensor, segment: Tensor, num_segments: int) -> Tensor:
    """Mean over non-empty segments of KL(softmax(teacher) || softmax(student)) within each.

    Args:
        student: [M] logits, one per edge.
        teacher: [M] logits of the same edges; no gradient is taken.
        segment: [M] int64, the node that each edge points to.
        num_segments: N.
    """
    log_teacher = segment_log_softmax(teacher.detach(), segment, num_segments)
    log_student = segment_log_softmax(student, segment, num_segments)
    per_edge = log_teacher.exp() * (log_teacher - log_student)
    occupied = torch.zeros(num_segments, dtype=torch.bool, device=segment.device)
    occupied[segment] = True
    return per_edge.sum() / occupied.sum().clamp(min=1)


def glove_weight(count: Tensor, *, x_max: float, exponent: float) -> Tensor:
    """f(x) = min(1, (x / x_max) ^ exponent): how much pairs of words weigh.

    Args:
        count: [P] x, how often the two words stand together, above 0.
        x_max: Counts from which a pair weighs 1.
        exponent: Of rarer pairs' weights.

    Source: Pennington, Socher and Manning 2014, "GloVe", eq. 9.
    """
    return (count / x_max).pow(exponent).clamp(max=1.0)


def glove_loss(score: Tensor, count: Tensor, weight: Tensor) -> Tensor:
    """Mean of f(x) (score - log x)^2.

    Args:
        score: [P] w_i . u_j + b_i + c_j.
        count: [P] x, how often the two words stand together, above 0.
        weight: f(x) of each, [P]; or one number for all, where pairs were drawn by their weights.

    Source: Pennington, Socher and Manning 2014, "GloVe", eq. 8.
    """
    return (weight * (score - count.log()).square()).mean()


def _weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """sum_b weight_b * values_b / sum_b weight_b, of [B] and [B]."""
    return (values * weight).sum() / weight.sum()
