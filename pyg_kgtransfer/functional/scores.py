"""Queries and comparisons of every decoder, as pure functions.

Conventions: a query has shape [B, D]; candidates are either shared, [N, D], giving [B, N], or each
query's own, [B, K, D], giving [B, K]. Higher is more plausible. Complex vectors of D / 2 numbers
are stored as D reals, the real halves first.
"""

import torch
from torch import Tensor

_CHUNK_ELEMENTS = 1 << 24  # elements of the largest intermediate, 64 MB in float32


def dot(query: Tensor, candidates: Tensor) -> Tensor:
    """Inner products of queries with candidates."""
    if candidates.dim() == 2:
        return query @ candidates.t()
    return torch.einsum("bd,bkd->bk", query, candidates)


def negative_distance(query: Tensor, candidates: Tensor, *, p: float) -> Tensor:
    """-||query - candidate||_p, without a [B, N, D] intermediate for shared candidates."""
    if candidates.dim() == 2:
        return -torch.cdist(query, candidates, p=p, compute_mode="donot_use_mm_for_euclid_dist")
    distance = torch.cdist(
        query.unsqueeze(1), candidates, p=p, compute_mode="donot_use_mm_for_euclid_dist"
    )  # [B, 1, K]
    return -distance.squeeze(1)


def complex_product(left: Tensor, right: Tensor) -> Tensor:
    """Elementwise product of complex vectors stored as reals, [*, D]."""
    a_re, a_im = left.chunk(2, dim=-1)
    b_re, b_im = right.chunk(2, dim=-1)
    return torch.cat([a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re], dim=-1)


def complex_conjugate(vector: Tensor) -> Tensor:
    """Complex conjugate of a vector stored as reals, [*, D]."""
    real, imaginary = vector.chunk(2, dim=-1)
    return torch.cat([real, -imaginary], dim=-1)


def complex_modulus(vector: Tensor) -> Tensor:
    """Moduli of a complex vector stored as reals: [*, D] -> [*, D / 2]; the gradient at 0 is 0."""
    real, imaginary = vector.chunk(2, dim=-1)
    return _modulus(real, imaginary)


def rotation(phase: Tensor) -> Tensor:
    """Unit complex numbers exp(i phase): [*, D / 2] radians -> [*, D] reals."""
    return torch.cat([phase.cos(), phase.sin()], dim=-1)


def negative_modulus_distance(query: Tensor, candidates: Tensor) -> Tensor:
    """-sum over dimensions of |query_d - candidate_d|, the complex moduli (RotatE's distance).

    Shared candidates are taken in chunks, so that no intermediate exceeds a fixed size.
    """
    q_re, q_im = (part.unsqueeze(1) for part in query.chunk(2, dim=-1))  # [B, 1, D / 2]

    def compare(block: Tensor) -> Tensor:
        c_re, c_im = block.chunk(2, dim=-1)
        return -_modulus(q_re - c_re, q_im - c_im).sum(-1)  # [B, K, D / 2] -> [B, K]

    if candidates.dim() == 3:
        return compare(candidates)
    rows = max(1, _CHUNK_ELEMENTS // max(1, query.numel()))
    return torch.cat([compare(block.unsqueeze(0)) for block in candidates.split(rows)], dim=1)


def negative_scaled_distance(query: Tensor, scale: Tensor, candidates: Tensor) -> Tensor:
    """-||query - scale * candidate||_2, ``scale`` [B, D] of each query; shared ones in chunks."""
    query, scale = query.unsqueeze(1), scale.unsqueeze(1)

    def compare(block: Tensor) -> Tensor:
        distance: Tensor = torch.linalg.vector_norm(query - scale * block, dim=-1)
        return -distance  # its gradient at 0 is 0

    if candidates.dim() == 3:
        return compare(candidates)
    rows = max(1, _CHUNK_ELEMENTS // max(1, query.numel()))
    return torch.cat([compare(block.unsqueeze(0)) for block in candidates.split(rows)], dim=1)


def _modulus(real: Tensor, imaginary: Tensor) -> Tensor:
    """sqrt(real^2 + imaginary^2) without overflow; value and gradient at 0 are 0.

    Much faster on a CPU than a norm over a stacked axis of two.
    """
    is_zero = (real == 0) & (imaginary == 0)
    return torch.hypot(real.masked_fill(is_zero, 1.0), imaginary).masked_fill(is_zero, 0.0)
