"""A sparse matrix times a dense table, with its transpose kept for the backward pass."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pyg_kgtransfer.kernels.csr import CSR, segment_bounds
from pyg_kgtransfer.kernels.engines import engine_for


class SparseMatrix(CSR):
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

    def __call__(self, x: Tensor, values: Tensor | None = None) -> Tensor:
        """A x: [columns, D] -> [rows, D].

        Args:
            x: The table.
            values: [P] other values for this product, which get a gradient; ``None``: A's own.

        Raises:
            ValueError: If ``x`` is not a table with one row per column of A, or there is not one
                value per entry.
        """
        if x.dim() != 2 or x.shape[0] != self.shape[1]:
            raise ValueError(
                f"a sparse matrix of shape {list(self.shape)} needs a table of shape "
                f"[{self.shape[1]}, D] (got {list(x.shape)})"
            )
        if values is not None and values.shape != self.columns.shape:
            raise ValueError(
                f"a sparse matrix of {len(self.columns)} entries needs as many values "
                f"(got {list(values.shape)})"
            )
        result: Tensor = _multiply(self, x, values)
        return result


class _SparseProduct(torch.autograd.Function):
    """A x forward; backward A^T g, and g[row] . x[column] for each value."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor | None, matrix: CSR) -> Tensor:
        ctx.matrix, ctx.engine = matrix, engine_for(x.device)
        ctx.save_for_backward(x if values is not None else None, values)
        return engine_for(x.device).csr_product(matrix, x, values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, values = ctx.saved_tensors
        matrix, engine = ctx.matrix, ctx.engine
        grad = grad.contiguous()
        of_x = of_values = None
        if ctx.needs_input_grad[0]:
            moved = None if values is None else values[matrix.transpose_entry]
            of_x = engine.csr_product(matrix.transpose, grad, moved)
        if ctx.needs_input_grad[1]:
            of_values = engine.csr_dots(matrix, grad, x)
        return of_x, of_values, None


@torch.compiler.disable
def _multiply(matrix: CSR, x: Tensor, values: Tensor | None) -> Tensor:
    table = x.to(engine_for(x.device).table_type(x.dtype))
    given = None if values is None else values.to(torch.promote_types(table.dtype, torch.float32))
    result: Tensor = _SparseProduct.apply(table, given, matrix)
    return result.to(x.dtype)
