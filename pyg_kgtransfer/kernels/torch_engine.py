"""Plain PyTorch, on any device: products with CSR tensors; rows per edge come in chunks only."""

from collections.abc import Callable

import torch
from torch import Tensor

from pyg_kgtransfer.kernels.csr import CSR, EdgeOrder
from pyg_kgtransfer.kernels.products import Product, product_dots

__all__ = [
    "csr_dots", "csr_product", "maxima", "product_dots", "product_sum", "table_type", "why_not",
]  # fmt: skip
_CHUNK_ELEMENTS = 1 << 22  # numbers gathered at a time, 16 MB in float32


def why_not(device: torch.device) -> str:
    """Why this engine cannot work on ``device``; empty if it can."""
    return ""


def table_type(dtype: torch.dtype) -> torch.dtype:
    """The type in which tables of ``dtype`` are read and summed: float32 at least."""
    return torch.promote_types(dtype, torch.float32)


def csr_product(matrix: CSR, x: Tensor, values: Tensor | None) -> Tensor:
    """The matrix, with its own values or others ([P]), times [columns, D]: [rows, D]."""
    with torch.autocast(x.device.type, enabled=False):
        result: Tensor = (
            matrix.tensor(x.dtype) if values is None else matrix.tensor_of(values)
        ) @ x
    return result


def csr_dots(matrix: CSR, left: Tensor, right: Tensor) -> Tensor:
    """left[row] . right[column] at each entry: [rows, D], [columns, D] -> [P]."""

    def of(part: slice) -> Tensor:
        return (left[matrix.rows[part]] * right[matrix.columns[part]]).sum(1)

    return _in_chunks(of, len(matrix.columns), left)


def product_sum(
    edges: EdgeOrder, first: Tensor, second: Tensor, weight: Tensor, kind: Product
) -> Tensor:
    """Row i: the sum of w first[a] second[b] over its edges, in chunks: [rows, D]."""
    out = first.new_zeros(edges.num_rows, first.shape[1])
    step = max(1, _CHUNK_ELEMENTS // max(first.shape[1], 1))
    for start in range(0, len(edges.edge), step):
        part = slice(start, start + step)
        message = kind.of(first[edges.first[part]], second[edges.second[part]])
        out.index_add_(0, edges.row[part], weight[part].unsqueeze(1) * message)
    return out


def maxima(
    edges: EdgeOrder,
    combine: Callable[[Tensor, Tensor], Tensor] | None,
    x: Tensor,
    z: Tensor | None,
    weight: Tensor,
) -> tuple[Tensor, Tensor]:
    """The largest message of each row and dimension, and the first edge (in order) that has it.

    Args:
        edges: By row.
        combine: From [M, d] source and relation vectors to messages; ``None``: sources alone.
        x: [S, D].
        z: [R, D], or ``None``.
        weight: [M], in the order of ``edges``.

    Returns:
        [rows, D], 0 where there is no edge, and int64 [rows, D], there -1.
    """
    rows, count = edges.num_rows, len(edges.edge)
    best = x.new_zeros(rows, x.shape[1])
    place = torch.full((rows, x.shape[1]), -1, dtype=torch.long, device=x.device)
    step = max(1, _CHUNK_ELEMENTS // max(count, 1))
    numbers = torch.arange(count, device=x.device).unsqueeze(1)
    for start in range(0, x.shape[1] if count else 0, step):
        part = slice(start, start + step)
        message = x[:, part][edges.first]  # [M, d]
        if combine is not None and z is not None:
            message = combine(message, z[:, part][edges.second])
        message = weight.unsqueeze(1) * message
        row = edges.row.long().unsqueeze(1).expand_as(message)
        top = best[:, part].scatter_reduce(0, row, message, "amax", include_self=False)
        is_top = (message == top.gather(0, row)) | message.isnan()
        candidate = torch.where(is_top, numbers, count)
        first = torch.full_like(place[:, part], count).scatter_reduce(0, row, candidate, "amin")
        best[:, part], place[:, part] = top, torch.where(first < count, first, -1)
    return best, place


def _in_chunks(of: Callable[[slice], Tensor], count: int, like: Tensor) -> Tensor:
    step = max(1, _CHUNK_ELEMENTS // max(like.shape[1], 1))
    parts = [of(slice(start, start + step)) for start in range(0, count, step)]
    return torch.cat(parts) if parts else like.new_zeros(0)
