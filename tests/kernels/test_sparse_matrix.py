"""Products of a fixed sparse matrix, forward and backward, in every float type."""

import pytest
import torch

from pyg_kgtransfer.kernels.csr import segment_bounds
from pyg_kgtransfer.kernels.sparse_matrix import SparseMatrix

ROW, COLUMN = torch.tensor([2, 0, 2, 2]), torch.tensor([1, 0, 3, 1])  # (2, 1) twice
VALUES = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)


def matrix() -> SparseMatrix:
    return SparseMatrix.from_entries(ROW, COLUMN, VALUES, (3, 4))


def dense() -> torch.Tensor:
    table = torch.zeros(3, 4, dtype=torch.float64)
    for row, column, value in zip(ROW, COLUMN, VALUES, strict=True):
        table[row, column] += value
    return table


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_product_and_that_of_the_transpose_are_the_dense_ones(dtype: torch.dtype) -> None:
    x, y = torch.randn(4, 2, dtype=dtype), torch.randn(3, 2, dtype=dtype)
    torch.testing.assert_close(matrix()(x), dense().to(dtype) @ x)
    torch.testing.assert_close(matrix().transpose.tensor(dtype) @ y, dense().to(dtype).t() @ y)
    assert matrix().columns.dtype == torch.int32


def test_half_width_floats_are_summed_wide_and_returned_narrow() -> None:
    x = torch.randn(4, 2, dtype=torch.bfloat16, requires_grad=True)
    out = matrix()(x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, (dense().float() @ x.float()).to(torch.bfloat16))
    out.sum().backward()
    assert x.grad.dtype == torch.bfloat16


def test_autocast_leaves_the_sum_alone() -> None:
    x = torch.randn(4, 2)
    expected = matrix()(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(matrix()(x), expected)


def test_gradients_are_those_of_finite_differences() -> None:
    x = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(matrix(), (x,))


def test_gradients_of_gradients_are_refused() -> None:
    x = torch.randn(4, 2, requires_grad=True)
    (grad,) = torch.autograd.grad(matrix()(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.parametrize("shape", [(5, 2), (4,), (4, 2, 1)])
def test_a_table_of_the_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"needs a table of shape \[4, D\]"):
        matrix()(torch.ones(shape))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_matrices_without_entries_give_zeros(shape: tuple[int, int]) -> None:
    none = torch.empty(0, dtype=torch.long)
    x = torch.ones(shape[1], 2, requires_grad=True)
    out = SparseMatrix.from_entries(none, none, None, shape)(x)
    assert torch.equal(out, torch.zeros(shape[0], 2))
    out.sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_segment_bounds_count_the_ids_before_each_segment() -> None:
    assert segment_bounds(torch.tensor([2, 0, 2]), 4).tolist() == [0, 1, 1, 3, 3]
