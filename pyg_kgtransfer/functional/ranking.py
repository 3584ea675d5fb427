"""Filtered ranks by counting, and what is read off them.

A rank is 1-based. Among the candidates of a query, less its other known answers, ``greater`` score
above the true answer and ``equal`` score exactly as it does (the answer itself not counted)::

    optimistic  = greater + 1
    pessimistic = greater + equal + 1
    realistic   = (optimistic + pessimistic) / 2

Nothing is sorted. Scores must be finite: who calls these functions has checked that.

Source: Berrendorf, Faerman, Vermue, Tresp 2020, "On the Ambiguity of Rank-Based Evaluation of
Entity Alignment or Link Prediction Methods", arXiv 2002.06914.
"""

import torch
from torch import Tensor

FILTERED = float("-inf")  # the score of a candidate that does not compete


def filter_scores(scores: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """A copy of ``scores`` ([B, K], finite) with ``FILTERED`` at pairs (row [P], column [P])."""
    return scores.index_put((row, column), scores.new_tensor(FILTERED))


def competitor_counts(filtered: Tensor) -> Tensor:
    """How many candidates of each query still compete: [B, K] -> int64 [B]."""
    return (filtered != FILTERED).sum(1)


def rank_counts(
    filtered: Tensor, row: Tensor, true_score: Tensor, *, chunk: int | None = None
) -> tuple[Tensor, Tensor]:
    """How many competitors score above, and exactly as, each true answer.

    Args:
        filtered: [B, K] scores with every known answer of a query, the true ones included, at
            ``FILTERED`` (from ``filter_scores``).
        row: [T] the query of each true answer, a row of ``filtered``.
        true_score: [T] the finite score of each true answer, read from the same score matrix before
            filtering, so that ties are exact.
        chunk: True answers compared at a time, each with a row of K scores; ``None``: all T.

    Returns:
        ``greater`` and ``equal``, int64 [T].

    Example:
        >>> scores = torch.tensor([[3.0, 1.0, 1.0, 9.0]])
        >>> filtered = filter_scores(scores, torch.tensor([0, 0]), torch.tensor([1, 3]))
        >>> [c.tolist() for c in rank_counts(filtered, torch.tensor([0]), torch.tensor([1.0]))]
        [[1], [1]]
    """
    chunk = max(len(row), 1) if chunk is None else chunk
    greater, equal = [], []
    for part, score in zip(row.split(chunk), true_score.unsqueeze(1).split(chunk), strict=True):
        competing = filtered[part]  # [chunk, K]
        greater.append((competing > score).sum(1))
        equal.append((competing == score).sum(1))
    return torch.cat(greater), torch.cat(equal)


def optimistic_ranks(greater: Tensor) -> Tensor:
    """Ranks if the true answer wins every tie: float64, at least 1."""
    return greater.double() + 1


def pessimistic_ranks(greater: Tensor, equal: Tensor) -> Tensor:
    """Ranks if the true answer loses every tie: float64, at least 1."""
    return (greater + equal).double() + 1


def realistic_ranks(greater: Tensor, equal: Tensor) -> Tensor:
    """The mean of optimistic and pessimistic rank: float64, at least 1, in halves.

    A scorer that gives all n candidates one score gets (n + 1) / 2, the rank of chance.
    """
    return greater.double() + 0.5 * equal.double() + 1


def hits_at_k(ranks: Tensor, k: int) -> Tensor:
    """The share of ``ranks`` ([T], T > 0) that are at most ``k``: scalar in [0, 1]."""
    return (ranks <= k).double().mean()


def mean_reciprocal_rank(ranks: Tensor) -> Tensor:
    """MRR, the mean of 1 / rank ([T], T > 0): scalar in (0, 1], higher is better."""
    return ranks.double().reciprocal().mean()


def mean_rank(ranks: Tensor) -> Tensor:
    """MR, the mean of ``ranks`` ([T], T > 0): scalar, at least 1, lower is better."""
    return ranks.double().mean()


def adjusted_mean_rank_index(ranks: Tensor, num_candidates: Tensor) -> Tensor:
    """AMRI, the mean rank adjusted for chance: 1 - (MR - 1) / (E[MR] - 1).

    A random order of n candidates expects the rank (n + 1) / 2, so
    E[MR] = mean over queries of (num_candidates + 1) / 2.

    Args:
        ranks: [T] realistic ranks, T > 0.
        num_candidates: [T] how many candidates each true answer was ranked among, itself included
            and its filtered rivals not.

    Returns:
        Scalar in [-1, 1]: 1 is perfect, 0 is chance, below 0 is worse than chance. 0 where no query
        has a second candidate, for then nothing was shown.

    Source: Berrendorf et al. 2020, arXiv 2002.06914.

    Example:
        >>> adjusted_mean_rank_index(torch.tensor([1.0, 3.0]), torch.tensor([5, 5])).item()
        0.5
    """
    excess = (ranks.double() - 1).sum()
    chance = (num_candidates.double() - 1).sum() / 2
    return torch.where(chance > 0, 1 - excess / chance.clamp(min=0.5), torch.zeros_like(excess))
