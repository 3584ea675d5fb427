"""Corruption of triples on the device they live on."""

import torch
from torch import Tensor


def uniform_candidates(
    shape: tuple[int, ...], num_entities: int, *, generator: torch.Generator
) -> Tensor:
    """Entity ids drawn uniformly from ``[0, num_entities)``: int64 of ``shape``."""
    return torch.randint(num_entities, shape, generator=generator, device=generator.device)


def weighted_candidates(
    shape: tuple[int, ...], weights: Tensor, *, generator: torch.Generator
) -> Tensor:
    """Entity ids drawn in proportion to ``weights`` ([N], at least 0, not all 0).

    Degree-weighted corruption passes ``degrees ** 0.75`` (Mikolov et al. 2013).
    """
    cumulative = torch.cumsum(weights.double(), 0)
    points = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.double)
    drawn = torch.searchsorted(cumulative, points * cumulative[-1], right=True)
    return drawn.clamp(max=len(weights) - 1)
