"""torch_scatter and torch_sparse, where they are installed (``make ext``): a row per edge."""

from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from pyg_kgtransfer.kernels import torch_engine
from pyg_kgtransfer.kernels.csr import CSR, EdgeOrder
from pyg_kgtransfer.kernels.products import Product, product_dots

__all__ = ["csr_dots", "csr_product", "product_dots", "product_sum", "table_type", "why_not"]
table_type = torch_engine.table_type
csr_dots = torch_engine.csr_dots


@cache
def _is_available() -> bool:
    return all(find_spec(name) is not None for name in ("torch_scatter", "torch_sparse"))


def why_not(device: torch.device) -> str:
    """Why this engine cannot work on ``device``; empty if it can."""
    return "" if _is_available() else "torch-scatter and torch-sparse are missing; run `make ext`"


def csr_product(matrix: CSR, x: Tensor, values: Tensor | None) -> Tensor:
    """The matrix, with its own values or others ([P]), times [columns, D]: [rows, D]."""
    from torch_sparse import SparseTensor, matmul

    if not x.numel():  # its loops divide by the size of x
        return x.new_zeros(matrix.shape[0], x.shape[1])
    adjacency = SparseTensor(
        rowptr=matrix.offsets.long(),
        col=matrix.columns.long(),
        value=matrix.weights(x.dtype) if values is None else values,
        sparse_sizes=matrix.shape,
        is_sorted=True,
        trust_data=True,
    )
    result: Tensor = matmul(adjacency, x)
    return result


def product_sum(
    edges: EdgeOrder, first: Tensor, second: Tensor, weight: Tensor, kind: Product
) -> Tensor:
    """Row i: the sum of w first[a] second[b] over its edges: [rows, D]."""
    from torch_scatter import segment_csr

    messages = kind.of(first[edges.first], second[edges.second])
    if not messages.numel():  # its loops divide by sizes
        return messages.new_zeros(len(edges.offsets) - 1, messages.shape[1])
    result: Tensor = segment_csr(weight.unsqueeze(1) * messages, edges.offsets.long())
    return result
