"""Sorted segments: counts, offsets and the sorted-key join of filters, samplers and labels."""

import torch
from torch import Tensor


def segment_counts(ids: Tensor, num_segments: int) -> Tensor:
    """How often each id in ``[0, num_segments)`` occurs: int64, shape [num_segments]."""
    return torch.bincount(ids, minlength=num_segments)


def segment_offsets(sorted_ids: Tensor, num_segments: int) -> Tensor:
    """Where each segment starts in ``sorted_ids`` ([M], ascending): int64 [num_segments + 1]."""
    bounds = torch.arange(num_segments + 1, device=sorted_ids.device, dtype=sorted_ids.dtype)
    return torch.searchsorted(sorted_ids, bounds)


def sorted_join(sorted_keys: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """All pairs (query row, key position) with equal keys.

    The size of the result depends on the data: call it outside compiled code.

    Args:
        sorted_keys: [M] int64, ascending, repeats allowed.
        queries: [B] int64.

    Returns:
        ``row`` [P], the index into ``queries``, ascending, and ``position`` [P], the index into
        ``sorted_keys``, ascending within a row.
    """
    start = torch.searchsorted(sorted_keys, queries)
    count = torch.searchsorted(sorted_keys, queries, right=True) - start
    row = torch.repeat_interleave(torch.arange(len(queries), device=queries.device), count)
    first = (torch.cumsum(count, 0) - count)[row]  # [P] where the row's run begins
    position = start[row] + torch.arange(len(row), device=queries.device) - first
    return row, position
