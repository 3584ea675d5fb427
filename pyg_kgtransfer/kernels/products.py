"""The products that edges make: real, complex, and complex with the second factor conjugated."""

from enum import Enum

import torch
from torch import Tensor

from pyg_kgtransfer.kernels.csr import EdgeOrder

_CHUNK_ELEMENTS = 1 << 22  # numbers gathered at a time, 16 MB in float32


class Product(Enum):
    """Which product; complex vectors are stored as reals, the real halves first."""

    REAL = "real"
    COMPLEX = "complex"
    CONJUGATE = "conjugate"  # first * conj(second)

    @property
    def gradient(self) -> "Product":
        """What the upstream gradient makes with a factor to give the other factor's gradient."""
        return Product.REAL if self is Product.REAL else Product.CONJUGATE

    def of(self, first: Tensor, second: Tensor) -> Tensor:
        """The products of rows: [M, D], [M, D] -> [M, D]."""
        if self is Product.REAL:
            return first * second
        a_re, a_im = first.chunk(2, dim=1)
        b_re, b_im = second.chunk(2, dim=1)
        if self is Product.CONJUGATE:
            b_im = -b_im
        return torch.cat([a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re], dim=1)


def product_dots(
    edges: EdgeOrder, left: Tensor, first: Tensor, second: Tensor, kind: Product
) -> Tensor:
    """left[row] . (first[a] second[b]) at each edge, in chunks: [M]."""
    step = max(1, _CHUNK_ELEMENTS // max(left.shape[1], 1))
    parts = []
    for start in range(0, len(edges.edge), step):
        part = slice(start, start + step)
        message = kind.of(first[edges.first[part]], second[edges.second[part]])
        parts.append((left[edges.row[part]] * message).sum(1))
    return torch.cat(parts) if parts else left.new_zeros(0)
