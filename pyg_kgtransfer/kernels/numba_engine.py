"""CPU: sums over edges in fused loops, compiled by Numba; nothing of an edge's size is written."""

import contextlib
import os
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyg_kgtransfer.kernels import torch_engine
from pyg_kgtransfer.kernels.csr import CSR, EdgeOrder
from pyg_kgtransfer.kernels.products import Product

_TILE_ROWS = 128  # of a table at a time, 100 KB of vectors of 200 float32
_LINE_NUMBERS = 16  # what two threads should not write to in turns, 64 bytes in float32


@cache
def is_available() -> bool:
    """Whether Numba is installed."""
    return find_spec("numba") is not None


class _Threads:
    """Whether threads run here, and whether they were lost: OpenMP's end a forked process."""

    are_running = False
    are_lost = False

    def forked(self) -> None:
        self.are_lost = self.are_running


_threads = _Threads()
if hasattr(os, "register_at_fork"):  # not on Windows, which knows no fork
    os.register_at_fork(after_in_child=_threads.forked)


def why_not(device: torch.device) -> str:
    """Why this engine cannot work on ``device``; empty if it can."""
    if device.type != "cpu":
        return f"it works on the CPU (got {device})"
    if _threads.are_lost:
        return "its threads do not outlive a fork; start processes by spawn"
    return "" if is_available() else "it needs `pip install pyg-kgtransfer[fast]`"


table_type = torch_engine.table_type


def csr_product(matrix: CSR, x: Tensor, values: Tensor | None) -> Tensor:
    """The matrix, with its own values or others ([P]), times [columns, D]: [rows, D]."""
    return rows_product(matrix, slice(0, matrix.shape[0]), x, values)


def rows_product(matrix: CSR, rows: slice, x: Tensor, values: Tensor | None = None) -> Tensor:
    """The same for some of the rows: [columns, D] to [rows.stop - rows.start, D]."""
    out = torch.empty(rows.stop - rows.start, x.shape[1], dtype=x.dtype)
    if out.numel():
        offsets = matrix.offsets[rows.start : rows.stop + 1].numpy()
        given = (_values(matrix, values, x), _numbers(x), out.numpy())
        _run("weighted_sum", offsets, _even_bounds(offsets), matrix.columns.numpy(), *given)
    return out


def add_transposed(matrix: CSR, rows: slice, x: Tensor, out: Tensor) -> None:
    """Add to ``out`` ([columns, D]) some rows of the matrix, transposed, times ``x``."""
    if x.numel():
        offsets = matrix.offsets[rows.start : rows.stop + 1].numpy()
        parts = max(1, min(torch.get_num_threads(), x.shape[1] // _LINE_NUMBERS))
        given = (_values(matrix, None, x), _numbers(x), parts, out.numpy())
        _run("add_to_columns", offsets, matrix.columns.numpy(), *given)


def _values(matrix: CSR, values: Tensor | None, like: Tensor) -> np.ndarray:
    return _numbers(matrix.weights(like.dtype) if values is None else values)


def csr_dots(matrix: CSR, left: Tensor, right: Tensor) -> Tensor:
    """left[row] . right[column] at each entry: [rows, D], [columns, D] -> [P]."""
    out = torch.empty(len(matrix.columns), dtype=left.dtype)
    if len(out):
        offsets, columns = matrix.offsets.numpy(), matrix.columns.numpy()
        given = (_numbers(left), _numbers(right), out.numpy())
        _run("row_dots", offsets, _even_bounds(offsets), columns, *given)
    return out


def product_sum(
    edges: EdgeOrder, first: Tensor, second: Tensor, weight: Tensor, kind: Product
) -> Tensor:
    """Row i: the sum of w first[a] second[b] over its edges (a, b).

    Args:
        edges: By row.
        first: [A, D] float32 or float64, on the CPU.
        second: [B, D], of the same type.
        weight: [M], in the order of ``edges``, of the same type.
        kind: Which product.

    Returns:
        [rows, D].
    """
    out = torch.empty(edges.num_rows, first.shape[1], dtype=first.dtype)
    if out.numel():
        name, sign = _loop(kind, first)
        given = (_numbers(weight), _numbers(first), _numbers(second), *sign, out.numpy())
        _run(f"{name}_sum", *_places(edges), *given)
    return out


def product_dots(
    edges: EdgeOrder, left: Tensor, first: Tensor, second: Tensor, kind: Product
) -> Tensor:
    """left[row] . (first[a] second[b]) at each edge: [M]."""
    out = torch.zeros(len(edges.edge), dtype=left.dtype)
    if len(out):
        name, sign = _loop(kind, first)
        given = (_numbers(left), _numbers(first), _numbers(second), *sign, out.numpy())
        _run(f"{name}_dots", *_places(edges), *given)
    return out


def distances_of_all(query: Tensor, table: Tensor, pairing: int) -> Tensor:
    """Each query against each row, by any score but the inner product: [B, D], [N, D] -> [B, N]."""
    out = torch.empty(len(query), len(table), dtype=query.dtype)
    given = (_numbers(query), _numbers(table), _TILE_ROWS, out.numpy())
    _run("distances_of_all", int(pairing), *given)
    return out


def pull_all(of: Tensor, other: Tensor, found: Tensor, grad: Tensor, pairing: int) -> Tensor:
    """Sum over j of grad[i, j] d score(of[i], other[j]) / d of[i]: [A, D]."""
    out = torch.empty_like(of, memory_format=torch.contiguous_format)
    given = (_numbers(table) for table in (of, other, found, grad))
    _run("pull_all", int(pairing), *given, out.numpy())
    return out


def scores_of_own(query: Tensor, table: Tensor, index: Tensor, pairing: int) -> Tensor:
    """Each query against rows of its own: [B, D], [N, D], [B, K] -> [B, K]."""
    out = torch.empty(index.shape, dtype=query.dtype)
    given = (_numbers(each) for each in (query, table, index))
    _run("scores_of_own", int(pairing), *given, out.numpy())
    return out


def pull_queries(
    query: Tensor, table: Tensor, index: Tensor, found: Tensor, grad: Tensor, pairing: int
) -> Tensor:
    """The gradient of ``scores_of_own`` in the queries: [B, D]."""
    out = torch.empty_like(query, memory_format=torch.contiguous_format)
    given = (_numbers(each) for each in (query, table, index, found, grad))
    _run("pull_queries", int(pairing), *given, out.numpy())
    return out


def pull_candidates(
    query: Tensor, table: Tensor, index: Tensor, found: Tensor, grad: Tensor, pairing: int
) -> Tensor:
    """The gradient of ``scores_of_own`` in the table: [N, D]."""
    out = torch.empty_like(table, memory_format=torch.contiguous_format)
    offsets, places = _run("places_by_row", _numbers(index).reshape(-1), len(table))
    given = (offsets, _even_bounds(offsets), places, _numbers(found), _numbers(grad))
    _run("pull_candidates", int(pairing), _numbers(query), _numbers(table), *given, out.numpy())
    return out


def count_above(
    scores: Tensor, known: tuple[Tensor, Tensor], true: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Filtered counts of the true answers of each row of scores; see ``kernels.counting``.

    Args:
        scores: [B, K].
        known: offsets [B + 1] and columns of the answers that do not compete.
        true: offsets [B + 1] and columns [T] of the answers that are ranked.

    Returns:
        greater, equal and competing, int64 [T], and which rows are not finite, bool [B].
    """
    counts = torch.empty(3, len(true[1]), dtype=torch.long)
    wrong = torch.empty(len(scores), dtype=torch.bool)
    lists = (_numbers(each) for each in (*known, *true))
    _run("count_above", _numbers(scores), *lists, *counts.numpy(), wrong.numpy())
    return counts[0], counts[1], counts[2], wrong


def _loop(kind: Product, like: Tensor) -> tuple[str, tuple[Any, ...]]:
    """What the loops of a product are called, and the sign of the second's imaginary half."""
    if kind is Product.REAL:
        return "multiply", ()
    sign = -1.0 if kind is Product.CONJUGATE else 1.0
    return "complex_multiply", (like.new_tensor(sign).numpy()[()],)


def _places(edges: EdgeOrder) -> tuple[np.ndarray, ...]:
    offsets = edges.offsets.numpy()
    return offsets, _even_bounds(offsets), edges.first.numpy(), edges.second.numpy()


def _numbers(table: Tensor) -> np.ndarray:
    return table.detach().contiguous().numpy()


def _even_bounds(offsets: np.ndarray) -> np.ndarray:
    """Rows split in as many runs as there are threads, of about the same number of edges each."""
    edges = np.linspace(offsets[0], offsets[-1], torch.get_num_threads() + 1)
    bounds = np.searchsorted(offsets, edges)
    bounds[0], bounds[-1] = 0, len(offsets) - 1
    return bounds


def _run(name: str, *arguments: Any) -> Any:
    """Call a loop of ``numba_loops`` with as many threads as torch has."""
    from pyg_kgtransfer.kernels import numba_loops

    with torch_threads():
        return getattr(numba_loops, name)(*arguments)


@contextlib.contextmanager
def torch_threads() -> Iterator[None]:
    """Numba's loops run on as many threads as torch has, which has as many as before after it."""
    import numba

    _threads.are_running = True
    threads, before = torch.get_num_threads(), numba.get_num_threads()
    numba.set_num_threads(min(threads, before))
    try:
        yield
    finally:
        numba.set_num_threads(before)
        if torch.get_num_threads() != threads:  # Numba's first launch sets OpenMP's number, too
            torch.set_num_threads(threads)
