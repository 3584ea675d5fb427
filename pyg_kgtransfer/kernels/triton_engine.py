"""CUDA: fused loops in Triton; sums in float32 (float64 for float64), the same every time.

Rows longer than ``RUN`` edges are summed in runs, and then the runs, so that no program is long.
``TRITON_INTERPRET=1`` runs the same loops on a CPU, slowly: for tests.
"""

import os
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from pyg_kgtransfer.kernels.csr import CSR, EdgeOrder
from pyg_kgtransfer.kernels.products import Product

RUN = 512
_LARGEST_BLOCK = 256
_KINDS = {Product.REAL: 0, Product.COMPLEX: 1, Product.CONJUGATE: 2}


@cache
def _is_available() -> bool:
    return find_spec("triton") is not None


def why_not(device: torch.device) -> str:
    """Why this engine cannot work on ``device``; empty if it can."""
    if not _is_available():
        return "it needs `pip install triton`"
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return f"it works on CUDA, elsewhere only under TRITON_INTERPRET=1 (got {device})"
    return ""


def table_type(dtype: torch.dtype) -> torch.dtype:
    """The type in which tables of ``dtype`` are read: their own; sums are float32 at least."""
    return dtype


def csr_product(matrix: CSR, x: Tensor, values: Tensor | None) -> Tensor:
    """The matrix, with its own values or others ([P]), times [columns, D]: [rows, D]."""
    values = matrix.weights(_sum_type(x)) if values is None else values
    runs = matrix.runs(RUN)
    if runs is None:
        return _csr_sum(matrix.offsets, matrix.columns, values, x, x.dtype)
    partial = _csr_sum(runs.offsets, matrix.columns, values, x, _sum_type(x))
    return csr_product(runs.rows, partial, None).to(x.dtype)


def product_sum(
    edges: EdgeOrder, first: Tensor, second: Tensor, weight: Tensor, kind: Product
) -> Tensor:
    """Row i: the sum of w first[a] second[b] over its edges: [rows, D]."""
    runs = edges.runs(RUN)
    offsets = edges.offsets if runs is None else runs.offsets
    width = first.shape[1]
    kept = first.dtype if runs is None else _sum_type(first)
    out = torch.empty(len(offsets) - 1, width, dtype=kept, device=first.device)
    size = width if kind is Product.REAL else width // 2
    given = (offsets, edges.first, edges.second, weight, first, second, out, size)
    _launch("product_sum", (len(out), size), *given, KIND=_KINDS[kind], SUM=_sum(first))
    return out if runs is None else csr_product(runs.rows, out, None).to(first.dtype)


def csr_dots(matrix: CSR, left: Tensor, right: Tensor) -> Tensor:
    """left[row] . right[column] at each entry: [rows, D], [columns, D] -> [P]."""
    out = torch.empty(len(matrix.columns), dtype=_sum_type(left), device=left.device)
    given = (matrix.rows, matrix.columns, left, right, out, left.shape[1])
    _launch("csr_dots", (len(out),), *given, SUM=_sum(left))
    return out


def product_dots(
    edges: EdgeOrder, left: Tensor, first: Tensor, second: Tensor, kind: Product
) -> Tensor:
    """left[row] . (first[a] second[b]) at each edge: [M]."""
    out = torch.empty(len(edges.edge), dtype=_sum_type(left), device=left.device)
    size = left.shape[1] if kind is Product.REAL else left.shape[1] // 2
    given = (edges.row, edges.first, edges.second, left, first, second, out, size)
    _launch("product_dots", (len(out),), *given, KIND=_KINDS[kind], SUM=_sum(left))
    return out


def _csr_sum(
    offsets: Tensor, columns: Tensor, values: Tensor, x: Tensor, kept: torch.dtype
) -> Tensor:
    out = torch.empty(len(offsets) - 1, x.shape[1], dtype=kept, device=x.device)
    given = (offsets, columns, values, x, out, x.shape[1])
    _launch("csr_sum", tuple(out.shape), *given, SUM=_sum(x))
    return out


def _launch(name: str, sizes: tuple[int, ...], *given: Any, **constants: Any) -> None:
    """Run a loop over ``sizes``: programs, and numbers of a row where these are cut in blocks."""
    import triton

    from pyg_kgtransfer.kernels import triton_kernels

    width = given[-1]
    if not sizes[0] or not width:
        if sizes[0] and len(sizes) == 1:
            given[-2].zero_()  # dots of empty rows
        return
    whole = triton.next_power_of_2(width)
    block = whole if len(sizes) == 1 else min(whole, _LARGEST_BLOCK)
    grid = (sizes[0], triton.cdiv(width, block)) if len(sizes) == 2 else (sizes[0],)
    tensors = [part.contiguous() if isinstance(part, Tensor) else part for part in given]
    getattr(triton_kernels, name)[grid](*tensors, BLOCK=block, **constants)


def _sum_type(table: Tensor) -> torch.dtype:
    return torch.float64 if table.dtype == torch.float64 else torch.float32


def _sum(table: Tensor) -> Any:
    import triton.language as tl

    return tl.float64 if table.dtype == torch.float64 else tl.float32
