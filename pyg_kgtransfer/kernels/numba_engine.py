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
    return _products(_multiply_sum(), order, first, second)


def complex_multiply_sum(
    order: EdgeOrder, first: Tensor, second: Tensor, *, conjugate: bool
) -> Tensor:
    """The same with complex products; ``conjugate``: of conj(first[a]) and second[b].

    Complex vectors are stored as reals, the real halves first: [A, 2F] and [B, 2F] -> [rows, 2F].
    """
    return _products(_complex_multiply_sum(), order, first, second, -1.0 if conjugate else 1.0)


def _products(
    kernel: Callable[..., None], order: EdgeOrder, first: Tensor, second: Tensor, *more: float
) -> Tensor:
    out = torch.empty(order.num_rows, first.shape[1], dtype=first.dtype)
    if out.numel():
        offsets = order.offsets.numpy()
        _run(
            kernel,
            offsets,
            _even_bounds(offsets),
            order.first.numpy(),
            order.second.numpy(),
            order.weights(first.dtype).numpy(),
            _numbers(first),
            _numbers(second),
            *(first.new_tensor(number).numpy()[()] for number in more),
            out.numpy(),
        )
    return out


def outer_sum(offsets: Tensor, weight: Tensor, shares: Tensor, vectors: Tensor) -> Tensor:
    """Row i is the sum of w_p shares[p] (outer) vectors[p] over the entries p of row i.

    Args:
        offsets: [rows + 1] int, where each row starts among the P entries.
        weight: [P], of the type of the vectors.
        shares: [P, B] float32 or float64, on the CPU.
        vectors: [P, D], of the same type.

    Returns:
        [rows, B, D].
    """
    rows, width = len(offsets) - 1, (shares.shape[1], vectors.shape[1])
    out = torch.empty(rows, *width, dtype=vectors.dtype)
    if out.numel():
        starts = offsets.numpy()
        given = (_numbers(weight), _numbers(shares), _numbers(vectors))
        _run(_outer_sum(), starts, _even_bounds(starts), *given, out.numpy())
    return out


def outer_sum_gradients(
    offsets: Tensor, weight: Tensor, shares: Tensor, vectors: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of ``outer_sum`` in its shares and vectors, for that of the sum: [rows, B, D]."""
    of_shares, of_vectors = torch.zeros_like(shares), torch.zeros_like(vectors)
    if len(vectors):
        starts = offsets.numpy()
        given = (_numbers(weight), _numbers(shares), _numbers(vectors), _numbers(grad))
        found = (of_shares.numpy(), of_vectors.numpy())
        _run(_outer_sum_gradients(), starts, _even_bounds(starts), *given, *found)
    return of_shares, of_vectors


def _numbers(table: Tensor) -> np.ndarray:
    return table.detach().contiguous().numpy()


def _even_bounds(offsets: np.ndarray) -> np.ndarray:
    """Rows split in as many runs as there are threads, of about the same number of edges each."""
    edges = np.linspace(0, offsets[-1], torch.get_num_threads() + 1)
    bounds = np.searchsorted(offsets, edges)
    bounds[0], bounds[-1] = 0, len(offsets) - 1
    return bounds


def _run(kernel: Callable[..., None], *arguments: np.ndarray) -> None:
    import numba

    threads, before = torch.get_num_threads(), numba.get_num_threads()
    numba.set_num_threads(min(threads, before))
    try:
        kernel(*arguments)
    finally:
        numba.set_num_threads(before)
        if torch.get_num_threads() != threads:  # Numba's first launch sets OpenMP's number, too
            torch.set_num_threads(threads)


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    """``function`` over runs of rows in parallel; compiled once and cached on disk."""
    import numba

    # contract: a * b + c in one instruction; NaN and infinity stay what they are
    compiled: Callable[..., None] = numba.njit(parallel=True, fastmath={"contract"}, cache=True)(
        function
    )
    return compiled


@cache
def _multiply_sum() -> Callable[..., None]:
    from numba import prange

    def summed(
        offsets: Any, bounds: Any, a: Any, b: Any, weights: Any, first: Any, second: Any, out: Any
    ) -> None:
        width = first.shape[1]
        for run in prange(len(bounds) - 1):
            for row in range(bounds[run], bounds[run + 1]):
                for d in range(width):
                    out[row, d] = 0
                for edge in range(offsets[row], offsets[row + 1]):
                    x, z, weight = first[a[edge]], second[b[edge]], weights[edge]
                    for d in range(width):
                        out[row, d] += weight * x[d] * z[d]

    return _compiled(summed)


@cache
def _complex_multiply_sum() -> Callable[..., None]:
    from numba import prange

    def summed(
        offsets: Any,
        bounds: Any,
        a: Any,
        b: Any,
        weights: Any,
        first: Any,
        second: Any,
        sign: Any,
        out: Any,
    ) -> None:
        half = first.shape[1] // 2
        for run in prange(len(bounds) - 1):
            for row in range(bounds[run], bounds[run + 1]):
                out[row] = 0
                for edge in range(offsets[row], offsets[row + 1]):
                    x, z, weight = first[a[edge]], second[b[edge]], weights[edge]
                    for d in range(half):
                        real, imaginary = weight * x[d], weight * sign * x[half + d]
                        out[row, d] += real * z[d] - imaginary * z[half + d]
                        out[row, half + d] += real * z[half + d] + imaginary * z[d]

    return _compiled(summed)


@cache
def _outer_sum() -> Callable[..., None]:
    from numba import prange

    def summed(
        offsets: Any, bounds: Any, weights: Any, shares: Any, vectors: Any, out: Any
    ) -> None:
        for run in prange(len(bounds) - 1):
            for row in range(bounds[run], bounds[run + 1]):
                out[row] = 0
                for entry in range(offsets[row], offsets[row + 1]):
                    vector = vectors[entry]
                    for basis in range(shares.shape[1]):
                        share = weights[entry] * shares[entry, basis]
                        for d in range(len(vector)):
                            out[row, basis, d] += share * vector[d]

    return _compiled(summed)


@cache
def _outer_sum_gradients() -> Callable[..., None]:
    from numba import prange

    def gradients(
        offsets: Any,
        bounds: Any,
        weights: Any,
        shares: Any,
        vectors: Any,
        grad: Any,
        of_shares: Any,
        of_vectors: Any,
    ) -> None:
        for run in prange(len(bounds) - 1):
            for row in range(bounds[run], bounds[run + 1]):
                for entry in range(offsets[row], offsets[row + 1]):
                    vector, weight = vectors[entry], weights[entry]
                    for basis in range(shares.shape[1]):
                        share = weight * shares[entry, basis]
                        for d in range(len(vector)):
                            of_vectors[entry, d] += share * grad[row, basis, d]
                        of_shares[entry, basis] = weight * np.dot(vector, grad[row, basis])

    return _compiled(gradients)
