"""Sparse tables sorted by row: what every engine reads."""

import warnings
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

_INT32_LIMIT = 2**31 - 1


def segment_bounds(ids: Tensor, num_segments: int) -> Tensor:
    """Where each segment starts once ``ids`` are sorted: int64, shape [num_segments + 1]."""
    counts = torch.bincount(ids, minlength=num_segments)
    return torch.cat([counts.new_zeros(1), torch.cumsum(counts, 0)])


class Runs(NamedTuple):
    """Rows cut into runs of entries, so that none is long.

    Attributes:
        offsets: [runs + 1], where each run starts among the entries.
        rows: [rows, runs], the sum of a row's runs.
    """

    offsets: Tensor
    rows: "CSR"


class _Rows:
    """What has ``offsets`` ([rows + 1]), where each row starts."""

    offsets: Tensor
    _runs: dict[int, Runs | None]

    def runs(self, limit: int) -> Runs | None:
        """Runs of at most ``limit`` entries, or ``None`` where no row is longer; found once."""
        if limit not in self._runs:
            with torch.inference_mode(False):
                self._runs[limit] = _cut(self.offsets, limit)
        return self._runs[limit]


def _cut(offsets: Tensor, limit: int) -> Runs | None:
    counts = (offsets[1:] - offsets[:-1]).long()
    if not len(counts) or int(counts.max()) <= limit:
        return None
    pieces = (counts + limit - 1) // limit
    bounds = torch.cat([pieces.new_zeros(1), torch.cumsum(pieces, 0)])
    row = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), pieces)
    number = torch.arange(len(row), device=counts.device)
    starts = offsets.long()[row] + (number - bounds[row]) * limit
    return Runs(
        torch.cat([starts, offsets[-1:].long()]).to(offsets.dtype),
        CSR(bounds, number, None, len(row)),
    )


class CSR(_Rows):
    """A fixed sparse matrix [rows, columns] of P entries, sorted by row; repeats add up.

    Args:
        offsets: [rows + 1] int64, where each row starts among the entries.
        columns: [P] int64, the column of each entry.
        values: [P] float64, or ``None`` for ones.
        num_columns: Columns of the matrix.
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
        self._tensors: dict[torch.dtype, Tensor] = {}
        self._weights: dict[torch.dtype, Tensor] = {}
        self._parts: dict[tuple[int, int], CSR] = {}
        self._runs = {}

    @cached_property
    def rows(self) -> Tensor:
        """[P] the row of each entry."""
        with torch.inference_mode(False):
            counts = (self.offsets[1:] - self.offsets[:-1]).long()
            ids = torch.arange(self.shape[0], device=counts.device, dtype=self.columns.dtype)
            return torch.repeat_interleave(ids, counts)

    @cached_property
    def transpose_entry(self) -> Tensor:
        """[P] int64, which entry each entry of the transpose is."""
        with torch.inference_mode(False):
            return torch.argsort(self.columns, stable=True)

    @cached_property
    def transpose(self) -> "CSR":
        """The transpose, built once."""
        with torch.inference_mode(False):
            entry = self.transpose_entry
            return CSR(
                segment_bounds(self.columns, self.shape[1]),
                self.rows[entry].long(),
                None if self.values is None else self.values[entry],
                self.shape[0],
            )

    def part(self, rows: slice) -> "CSR":
        """Some of the rows, the matrix itself if all; found once."""
        if (rows.start, rows.stop) == (0, self.shape[0]):
            return self
        if (rows.start, rows.stop) not in self._parts:
            with torch.inference_mode(False):
                offsets = self.offsets[rows.start : rows.stop + 1].long()
                entries = slice(int(offsets[0]), int(offsets[-1]))
                self._parts[rows.start, rows.stop] = CSR(
                    offsets - offsets[0],
                    self.columns[entries].long(),
                    None if self.values is None else self.values[entries],
                    self.shape[1],
                )
        return self._parts[rows.start, rows.stop]

    def weights(self, dtype: torch.dtype) -> Tensor:
        """[P] the values of ``dtype``, made once per type."""
        if dtype not in self._weights:
            with torch.inference_mode(False):
                if self.values is None:
                    made = torch.ones(len(self.columns), dtype=dtype, device=self.columns.device)
                else:
                    made = self.values.to(dtype)
                self._weights[dtype] = made
        return self._weights[dtype]

    def tensor(self, dtype: torch.dtype) -> Tensor:
        """The matrix as a torch CSR tensor of ``dtype``, built once per type."""
        if dtype not in self._tensors:
            with torch.inference_mode(False):
                self._tensors[dtype] = self.tensor_of(self.weights(dtype))
        return self._tensors[dtype]

    def tensor_of(self, values: Tensor) -> Tensor:
        """A torch CSR tensor with these entries and other ``values``."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*Sparse (CSR|invariant)")
            return torch.sparse_csr_tensor(
                self.offsets, self.columns, values, self.shape, check_invariants=False
            )


class EdgeOrder(_Rows):
    """Edges sorted by row, each with a place in two tables and a weight.

    Args:
        row: [M] int64, in [0, num_rows), in any order.
        first: [M] int64, the place in the first table.
        second: [M] int64, in the second.
        weight: [M] float64, or ``None`` for ones.
        num_rows: Rows of the sums.

    Attributes:
        edge: [M] int64, which of the given edges each sorted one is.
        offsets: [num_rows + 1], where each row starts.
    """

    def __init__(
        self, row: Tensor, first: Tensor, second: Tensor, weight: Tensor | None, num_rows: int
    ) -> None:
        self.edge = torch.argsort(row, stable=True)
        self.num_rows = num_rows
        self.offsets, self.first, self.second, self.row = _narrow(
            segment_bounds(row, num_rows), first[self.edge], second[self.edge], row[self.edge]
        )
        self._weight = weight
        self._weights: dict[torch.dtype, Tensor] = {}
        self._runs = {}

    def weights(self, dtype: torch.dtype, given: Tensor | None = None) -> Tensor:
        """[M] weights in this order: those given for the edges, or the fixed ones of ``dtype``."""
        if given is not None:
            return given[self.edge]
        if dtype not in self._weights:
            with torch.inference_mode(False):
                if self._weight is None:
                    fixed = torch.ones(len(self.edge), dtype=dtype, device=self.edge.device)
                else:
                    fixed = self._weight[self.edge].to(dtype)
                self._weights[dtype] = fixed
        return self._weights[dtype]


def _narrow(*tables: Tensor) -> tuple[Tensor, ...]:
    """The ids as int32 where they fit."""
    fits = all(not len(ids) or int(ids.max()) <= _INT32_LIMIT for ids in tables)
    return tuple(ids.to(torch.int32) if fits else ids for ids in tables)
