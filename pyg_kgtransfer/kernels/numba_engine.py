"""CPU: sums over edges in fused loops, compiled by Numba; nothing of an edge's size is written."""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyg_kgtransfer.kernels.sparse_matrix import EdgeOrder


@cache
def is_available() -> bool:
    """Whether Numba is installed."""
    return find_spec("numba") is not None


def multiply_sum(order: EdgeOrder, first: Tensor, second: Tensor) -> Tensor:
    """Row i is the sum of w first[a] * second[b] over the edges (a, b) of row i.

    Args:
        order: The edges by row.
        first: [A, D] float32 or float64, on the CPU.
        second: [B, D], of the same type.

    Returns:
        [rows, D].
    """
    out = torch.empty(order.num_rows, first.shape[1], dtype=first.dtype)
    if out.numel():
        threads = torch.get_num_threads()
        _kernel()(
            order.offsets.numpy(),
            _even_bounds(order, threads),
            order.first.numpy(),
            order.second.numpy(),
            order.weights(first.dtype).numpy(),
            first.detach().contiguous().numpy(),
            second.detach().contiguous().numpy(),
            out.numpy(),
        )
    return out


def _even_bounds(order: EdgeOrder, threads: int) -> np.ndarray:
    """Rows split in as many runs as there are threads, of about the same number of edges each."""
    edges = np.linspace(0, len(order.first), threads + 1)
    bounds = np.searchsorted(order.offsets.numpy(), edges)
    bounds[0], bounds[-1] = 0, order.num_rows
    return bounds


@cache
def _kernel() -> Callable[..., None]:
    import numba

    # contract: a * b + c in one instruction; NaN and infinity stay what they are
    @numba.njit(parallel=True, fastmath={"contract"}, cache=True)  # type: ignore[untyped-decorator]
    def summed(
        offsets: Any, bounds: Any, a: Any, b: Any, weights: Any, first: Any, second: Any, out: Any
    ) -> None:
        width = first.shape[1]
        for run in numba.prange(len(bounds) - 1):
            for row in range(bounds[run], bounds[run + 1]):
                for d in range(width):
                    out[row, d] = 0
                for edge in range(offsets[row], offsets[row + 1]):
                    x, z, weight = first[a[edge]], second[b[edge]], weights[edge]
                    for d in range(width):
                        out[row, d] += weight * x[d] * z[d]

    most = numba.get_num_threads()

    def run(*arguments: Any) -> None:
        numba.set_num_threads(min(torch.get_num_threads(), most))
        summed(*arguments)

    return run
