"""A fixed sparse matrix times a dense table, with its transpose kept for the backward pass."""

import warnings
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_INT32_LIMIT = 2**31 - 1


def segment_bounds(ids: Tensor, num_segments: int) -> Tensor:
    """Where each segment starts once ``ids`` are sorted: int64, shape [num_segments + 1]."""
    counts = torch.bincount(ids, minlength=num_segments)
    return torch.cat([counts.new_zeros(1), torch.cumsum(counts, 0)])


class EdgeOrder:
    """Edges sorted by row, each with a place in two tables and a weight.

    Args:
        row: [M] int64, in [0, num_rows), in any order.
        first: [M] int64, the place in the first table.
        second: [M] int64, in the second.
        weight: [M] float64, or ``None`` for ones.
        num_rows: Rows of the sums.
    """

    def __init__(
        self, row: Tensor, first: Tensor, second: Tensor, weight: Tensor | None, num_rows: int
    ) -> None:
        order = torch.argsort(row, stable=True)
        offsets = segment_bounds(row, num_rows)
        self.num_rows = num_rows
        self.offsets, self.first, self.second = _narrow(offsets, first[order], second[order])
        self._weight = torch.ones(len(row)).double() if weight is None else weight[order]
        self._weights: dict[torch.dtype, Tensor] = {}

    def weights(self, dtype: torch.dtype) -> Tensor:
        """[M] weights of ``dtype``, converted once per type."""
        if dtype not in self._weights:
            self._weights[dtype] = self._weight.to(dtype)
        return self._weights[dtype]


def _narrow(*tables: Tensor) -> tuple[Tensor, ...]:
    """The ids as int32 where they fit."""
    fits = all(not len(ids) or int(ids.max()) <= _INT32_LIMIT for ids in tables)
    return tuple(ids.to(torch.int32) if fits else ids for ids in tables)


class SparseMatrix:
    """A fixed sparse matrix A [rows, columns]; ``matrix(x)`` is A x, with gradient A^T g.

    Products run in float32 or float64, as ``x`` is; narrower floats are summed in float32 and
    returned in their own type. Gradients of gradients are refused (``RuntimeError``).

    Args:
        offsets: [rows + 1] int64, where each row starts among the entries.
        columns: [P] int64, the column of each entry; repeats add up.
        values: [P] float64, or ``None`` for ones.
        num_columns: Columns of A.

    Example:
        >>> matrix = SparseMatrix(torch.tensor([0, 2, 2]), torch.tensor([0, 1]), None, 2)
        >>> matrix(torch.tensor([[1.0], [2.0]])).tolist()
        [[3.0], [0.0]]
    """

    def __init__(
        self, offsets: Tensor, columns: Tensor, values: Tensor | None, num_columns: int
    ) -> None:
        self.shape = (len(offsets) - 1, num_columns)
        fits = max(*self.shape, len(columns)) <= _INT32_LIMIT
        index_type = torch.int32 if fits else torch.int64
        self.offsets = offsets.to(index_type)
        self.columns = columns.to(index_type)
        self.values = values
        self._csr: dict[torch.dtype, Tensor] = {}

    @classmethod
    def from_entries(
        cls, row: Tensor, column: Tensor, values: Tensor | None, shape: tuple[int, int]
    ) -> "SparseMatrix":
        """The matrix with ``values`` ([P], or ones) at (``row``, ``column``), in any order."""
        order = torch.argsort(row, stable=True)
        return cls(
            segment_bounds(row, shape[0]),
            column[order],
            None if values is None else values[order],
            shape[1],
        )

    def __call__(self, x: Tensor) -> Tensor:
        """A x: [columns, D] -> [rows, D].

        Raises:
            ValueError: If ``x`` is not a table with one row per column of A.
        """
        if x.dim() != 2 or x.shape[0] != self.shape[1]:
            raise ValueError(
                f"a sparse matrix of shape {list(self.shape)} needs a table of shape "
                f"[{self.shape[1]}, D] (got {list(x.shape)})"
            )
        result: Tensor = _multiply(self, x)
        return result

    @cached_property
    def transpose(self) -> "SparseMatrix":
        """A^T, built once."""
        with torch.inference_mode(False):
            counts = (self.offsets[1:] - self.offsets[:-1]).long()
            rows = torch.arange(self.shape[0], device=counts.device)
            row = torch.repeat_interleave(rows, counts)
            return SparseMatrix.from_entries(
                self.columns.long(), row, self.values, (self.shape[1], self.shape[0])
            )

    def weights(self, dtype: torch.dtype) -> Tensor:
        """[P] the values of ``dtype``."""
        if self.values is None:
            return torch.ones(len(self.columns), dtype=dtype, device=self.columns.device)
        return self.values.to(dtype)

    def csr(self, dtype: torch.dtype) -> Tensor:
        """The matrix as a torch CSR tensor of ``dtype``, built once per type."""
        if dtype not in self._csr:
            with torch.inference_mode(False), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*Sparse (CSR|invariant)")
                self._csr[dtype] = torch.sparse_csr_tensor(
                    self.offsets,
                    self.columns,
                    self.weights(dtype),
                    self.shape,
                    check_invariants=False,
                )
        return self._csr[dtype]


class _SparseProduct(torch.autograd.Function):
    """A x forward, A^T g backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: SparseMatrix) -> Tensor:
        ctx.matrix = matrix
        return _product(matrix, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _product(ctx.matrix.transpose, grad), None


def _product(matrix: SparseMatrix, x: Tensor) -> Tensor:
    wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
    with torch.autocast(x.device.type, enabled=False):
        result: Tensor = matrix.csr(wide.dtype) @ wide
    return result.to(x.dtype)


@torch.compiler.disable
def _multiply(matrix: SparseMatrix, x: Tensor) -> Tensor:
    result: Tensor = _SparseProduct.apply(x, matrix)
    return result
