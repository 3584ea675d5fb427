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


def distinct_places(
    sizes: Tensor, number: int, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """At most ``number`` different places in each of several rows, each subset equally likely.

    Work and memory follow from ``number``, not from how long a row is.

    Args:
        sizes: [S] int64, how many places each row has.
        number: How many to draw; a shorter row gives all its places.
        generator: On the device of ``sizes``.

    Returns:
        The row and the place within it of each draw, [E] each; rows ascend.

    Source: Floyd's algorithm (Bentley and Floyd 1987, Communications of the ACM 30(9), p. 754),
    for all rows at once.
    """
    device = sizes.device
    count = sizes.clamp(max=number)
    row = torch.repeat_interleave(torch.arange(len(sizes), device=device), count)
    first = count.cumsum(0) - count
    place = torch.arange(len(row), device=device) - first[row]
    long = (sizes > number).nonzero().view(-1)
    if len(long):
        size = sizes[long]
        shares = torch.rand(
            len(long), number, generator=generator, device=device, dtype=torch.double
        )
        chosen = torch.empty(len(long), number, dtype=torch.long, device=device)
        for step in range(number):
            last = size - number + step  # a place that no earlier step could draw
            drawn = (shares[:, step] * (last + 1)).long()
            is_taken = (chosen[:, :step] == drawn[:, None]).any(1)
            chosen[:, step] = torch.where(is_taken, last, drawn)
        place[first[long][:, None] + torch.arange(number, device=device)] = chosen
    return row, place
