"""Sums over the edges of a graph of what a node and a relation make together, on some engine."""

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pyg_kgtransfer.kernels import numba_engine
from pyg_kgtransfer.kernels.relational_csr import RelationalCSR
from pyg_kgtransfer.kernels.sparse_matrix import SparseMatrix

ENGINES = ("numba", "torch")
_forced: ContextVar[str | None] = ContextVar("engine", default=None)


def multiply_sum(plan: RelationalCSR, x: Tensor, z: Tensor) -> Tensor:
    """out[v] = sum over the edges (u, r) -> v of w x_u * z_r.

    Float32 and float64 stay what they are, narrower floats are summed in float32. Gradients of
    gradients are refused (``RuntimeError``).

    Args:
        plan: The edges.
        x: [S, D] source vectors.
        z: [R, D] relation vectors.

    Returns:
        [N, D].

    Raises:
        ValueError: If a table has not one row per source or relation, or the forced engine cannot
            work here.

    Example:
        >>> plan = RelationalCSR(torch.tensor([[0, 1], [2, 2]]), torch.tensor([0, 1]), 3, 2)
        >>> x, z = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[3.0], [5.0]])
        >>> multiply_sum(plan, x, z).view(-1).tolist()
        [0.0, 0.0, 13.0]
    """
    _check_tables(plan, x, z)
    if engine_for(x.device) == "torch":
        pairs = plan.source_pairs
        return pairs.scatter(pairs.gather(x) * pairs.relation_gather(z))
    out: Tensor = _fused(_Product, plan, x, z)
    return out


def conjugate_multiply_sum(plan: RelationalCSR, x: Tensor, z: Tensor) -> Tensor:
    """out[v] = sum over the edges (u, r) -> v of w conj(x_u) * z_r, complex.

    Complex vectors are stored as reals, the real halves first. For the rest see ``multiply_sum``.

    Args:
        plan: The edges.
        x: [S, 2F] source vectors.
        z: [R, 2F] relation vectors.

    Returns:
        [N, 2F].

    Raises:
        ValueError: As ``multiply_sum``, and if the width is odd.

    Example:
        >>> plan = RelationalCSR(torch.tensor([[0], [1]]), torch.tensor([0]), 2, 1)
        >>> x, z = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[3.0, 4.0]])
        >>> conjugate_multiply_sum(plan, x, z)[1].tolist()  # (1 - 2i) (3 + 4i)
        [11.0, -2.0]
    """
    _check_tables(plan, x, z)
    if x.shape[1] % 2:
        raise ValueError(f"complex vectors have an even width (got {x.shape[1]})")
    if engine_for(x.device) == "torch":
        pairs = plan.source_pairs
        a_re, a_im = pairs.gather(x).chunk(2, dim=1)
        b_re, b_im = pairs.relation_gather(z).chunk(2, dim=1)
        products = [a_re * b_re + a_im * b_im, a_re * b_im - a_im * b_re]
        return pairs.scatter(torch.cat(products, dim=1))
    out: Tensor = _fused(_ConjugateProduct, plan, x, z)
    return out


def _check_tables(plan: RelationalCSR, x: Tensor, z: Tensor) -> None:
    for name, table, rows in (("x", x, plan.num_sources), ("z", z, plan.num_relations)):
        if table.dim() != 2 or len(table) != rows:
            raise ValueError(f"{name} must have shape [{rows}, D] (got {list(table.shape)})")
    if x.shape[1] != z.shape[1]:
        raise ValueError(f"x and z must be equally wide (got {x.shape[1]} and {z.shape[1]})")


def basis_sum(plan: RelationalCSR, x: Tensor, coefficient: Tensor, basis: Tensor) -> Tensor:
    """out[v] = sum over relations r of the mean of w x_u over the edges (u, r) -> v, times W_r.

    W_r = sum over b of a_{r,b} V_b; each V_b is applied once per row.

    Args:
        plan: The edges.
        x: [S, D] source vectors.
        coefficient: [R, B], the a.
        basis: [B, D, D'], the V.

    Returns:
        [N, D'].

    Raises:
        ValueError: If the forced engine cannot work here.

    Source: Schlichtkrull et al. 2018, arXiv 1703.06103, eq. 2 and 3.

    Example:
        >>> plan = RelationalCSR(torch.tensor([[0, 1], [2, 2]]), torch.tensor([0, 0]), 3, 1)
        >>> x = torch.tensor([[1.0], [2.0], [4.0]])
        >>> basis_sum(plan, x, torch.tensor([[3.0]]), torch.tensor([[[2.0]]])).view(-1).tolist()
        [0.0, 0.0, 9.0]
    """
    pairs = plan.target_pairs
    means = pairs.gather(x)  # [P, D], times the edges of the pair
    shares = pairs.relation_gather(coefficient)  # [P, B]
    if engine_for(x.device) == "torch":
        out = x.new_zeros(())
        for matrix, share in zip(basis, shares.unbind(1), strict=True):
            out = out + pairs.scatter(share.unsqueeze(1) * means) @ matrix
        return out
    wide = torch.promote_types(torch.promote_types(x.dtype, basis.dtype), torch.float32)
    summed: Tensor = _outer(shares.to(wide), means.to(wide), pairs.scatter)  # [N, B, D]
    return summed.flatten(1).to(basis.dtype) @ basis.flatten(0, 1)


@contextlib.contextmanager
def forced_engine(name: str) -> Iterator[None]:
    """Use one engine, whatever is there; the environment variable ``KGT_ENGINE`` does the same.

    Raises:
        ValueError: If there is no such engine.

    Example:
        >>> with forced_engine("torch"):
        ...     engine_for(torch.device("cpu"))
        'torch'
    """
    token = _forced.set(_known(name))
    try:
        yield
    finally:
        _forced.reset(token)


def engine_for(device: torch.device) -> str:
    """The engine that sums on ``device``: the forced one, else the fastest that is there.

    Raises:
        ValueError: If the forced engine is unknown, or cannot work there.
    """
    forced = _forced.get() or os.environ.get("KGT_ENGINE")
    can_fuse = device.type == "cpu" and numba_engine.is_available()
    if forced is None:
        return "numba" if can_fuse else "torch"
    if _known(forced) == "numba" and not can_fuse:
        raise ValueError(
            f"the engine numba works on the CPU (got {device})"
            if numba_engine.is_available()
            else "the engine numba needs `pip install pyg-kgtransfer[fast]`"
        )
    return forced


def _known(name: str) -> str:
    if name not in ENGINES:
        raise ValueError(f"an engine is one of {', '.join(ENGINES)} (got {name!r})")
    return name


class _Product(torch.autograd.Function):
    """Sums of products, and their gradients as sums over the same edges in other orders."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, z: Tensor, plan: RelationalCSR) -> Tensor:
        ctx.save_for_backward(x, z)
        ctx.plan = plan
        return numba_engine.multiply_sum(plan.by_target, x, z)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, z = ctx.saved_tensors
        needs_x, needs_z, _ = ctx.needs_input_grad
        grad_x = numba_engine.multiply_sum(ctx.plan.by_source, grad, z) if needs_x else None
        grad_z = numba_engine.multiply_sum(ctx.plan.by_relation, grad, x) if needs_z else None
        return grad_x, grad_z, None


class _ConjugateProduct(torch.autograd.Function):
    """The same of conj(x) z: the gradient of x is conj(g) z, that of z is g x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, z: Tensor, plan: RelationalCSR) -> Tensor:
        ctx.save_for_backward(x, z)
        ctx.plan = plan
        return numba_engine.complex_multiply_sum(plan.by_target, x, z, conjugate=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, z = ctx.saved_tensors
        needs_x, needs_z, _ = ctx.needs_input_grad
        plan, grad_x, grad_z = ctx.plan, None, None
        if needs_x:
            grad_x = numba_engine.complex_multiply_sum(plan.by_source, grad, z, conjugate=True)
        if needs_z:
            grad_z = numba_engine.complex_multiply_sum(plan.by_relation, grad, x, conjugate=False)
        return grad_x, grad_z, None


class _OuterSum(torch.autograd.Function):
    """Row i: the sum over its entries of w share (outer) vector."""

    @staticmethod
    def forward(ctx: Any, shares: Tensor, vectors: Tensor, scatter: SparseMatrix) -> Tensor:
        ctx.save_for_backward(shares, vectors)
        ctx.scatter = scatter
        weight = scatter.weights(vectors.dtype)
        return numba_engine.outer_sum(scatter.offsets, weight, shares, vectors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        shares, vectors = ctx.saved_tensors
        weight = ctx.scatter.weights(vectors.dtype)
        return (
            *numba_engine.outer_sum_gradients(ctx.scatter.offsets, weight, shares, vectors, grad),
            None,
        )


@torch.compiler.disable
def _outer(shares: Tensor, vectors: Tensor, scatter: SparseMatrix) -> Tensor:
    result: Tensor = _OuterSum.apply(shares, vectors, scatter)
    return result


@torch.compiler.disable
def _fused(
    product: type[torch.autograd.Function], plan: RelationalCSR, x: Tensor, z: Tensor
) -> Tensor:
    dtype = torch.promote_types(x.dtype, z.dtype)
    wide = torch.promote_types(dtype, torch.float32)
    summed: Tensor = product.apply(x.to(wide), z.to(wide), plan)
    return summed.to(dtype)
