"""A matrix per relation: R-GCN's sums, with neighbours averaged before or after, whichever is less.

out[v] = sum over relations r of W_r times the mean of w x_u over the edges (u, r) -> v.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pyg_kgtransfer.kernels.relational_csr import RelationalCSR


def block_sum(plan: RelationalCSR, x: Tensor, weight: Tensor) -> Tensor:
    """The sums with block-diagonal matrices; full ones are one block.

    Args:
        plan: The edges.
        x: [S, D] source vectors.
        weight: [R, blocks, D / blocks, D' / blocks].

    Returns:
        [N, D'].

    Source: Schlichtkrull et al. 2018, arXiv 1703.06103, eq. 2 and 4.

    Example:
        >>> plan = RelationalCSR(torch.tensor([[0, 1], [2, 2]]), torch.tensor([0, 0]), 3, 1)
        >>> x = torch.tensor([[1.0], [2.0], [4.0]])
        >>> block_sum(plan, x, torch.tensor([[[[6.0]]]])).view(-1).tolist()
        [0.0, 0.0, 9.0]
    """
    rows = plan.relation_rows
    return rows.scatter(_grouped(rows.gather(x), weight, rows.bounds))


def basis_sum(plan: RelationalCSR, x: Tensor, coefficient: Tensor, basis: Tensor) -> Tensor:
    """The sums with W_r = sum over b of a_{r,b} V_b.

    Either the B matrices meet sums over all relations, once per node, or each W_r meets its rows.

    Args:
        plan: The edges.
        x: [S, D] source vectors.
        coefficient: [R, B], the a.
        basis: [B, D, D'], the V.

    Returns:
        [N, D'].

    Source: Schlichtkrull et al. 2018, arXiv 1703.06103, eq. 2 and 3.

    Example:
        >>> plan = RelationalCSR(torch.tensor([[0, 1], [2, 2]]), torch.tensor([0, 0]), 3, 1)
        >>> x = torch.tensor([[1.0], [2.0], [4.0]])
        >>> basis_sum(plan, x, torch.tensor([[3.0]]), torch.tensor([[[2.0]]])).view(-1).tolist()
        [0.0, 0.0, 9.0]
    """
    if favours_bases(plan, len(basis)):
        return _per_basis(plan, x, coefficient, basis)
    matrices = (coefficient @ basis.flatten(1)).view(len(coefficient), 1, *basis.shape[1:])
    return block_sum(plan, x, matrices)


def favours_bases(plan: RelationalCSR, num_bases: int) -> bool:
    """Whether B products per node take less than one per row and the making of all W_r."""
    rows = plan.relation_rows.bounds[-1]
    return num_bases * plan.num_rows < rows + plan.num_relations * num_bases


def _per_basis(plan: RelationalCSR, x: Tensor, coefficient: Tensor, basis: Tensor) -> Tensor:
    pairs = plan.target_pairs
    means = pairs.gather(x)  # [P, D], times the edges of the pair
    shares = pairs.relation_gather(coefficient)  # [P, B]
    out = x.new_zeros(())
    for matrix, share in zip(basis, shares.unbind(1), strict=True):
        out = out + pairs.scatter(share.unsqueeze(1) * means) @ matrix
    return out


class _Grouped(torch.autograd.Function):
    """rows[bounds[r] : bounds[r + 1]] times the blocks of relation r, one product per relation."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bounds: tuple[int, ...]) -> Tensor:
        blocks, size = weight.shape[1], weight.shape[3]
        parts = _by_block(rows, blocks)  # [blocks, P, D / blocks]
        ctx.save_for_backward(parts, weight)
        ctx.bounds = bounds
        out = rows.new_empty(blocks, len(rows), size)
        for relation, part in _segments(bounds):
            torch.bmm(parts[:, part], weight[relation], out=out[:, part])
        return _by_row(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        parts, weight = ctx.saved_tensors
        grads = _by_block(grad, weight.shape[1])
        of_rows, of_weight = torch.empty_like(parts), torch.zeros_like(weight)
        for relation, part in _segments(ctx.bounds):
            torch.bmm(grads[:, part], weight[relation].mT, out=of_rows[:, part])
            torch.bmm(parts[:, part].mT, grads[:, part], out=of_weight[relation])
        return _by_row(of_rows), of_weight, None


def _segments(bounds: tuple[int, ...]) -> list[tuple[int, slice]]:
    return [
        (relation, slice(start, stop))
        for relation, (start, stop) in enumerate(pairwise(bounds))
        if stop > start
    ]


def _by_block(table: Tensor, blocks: int) -> Tensor:
    """[P, blocks * d] -> [blocks, P, d], contiguous."""
    parts: Tensor = table.unflatten(1, (blocks, -1)).transpose(0, 1).contiguous()
    return parts


def _by_row(table: Tensor) -> Tensor:
    """[blocks, P, d] -> [P, blocks * d]."""
    rows: Tensor = table.transpose(0, 1).flatten(1)
    return rows


@torch.compiler.disable
def _grouped(rows: Tensor, weight: Tensor, bounds: tuple[int, ...]) -> Tensor:
    dtype = torch.promote_types(rows.dtype, weight.dtype)
    with torch.autocast(rows.device.type, enabled=False):
        result: Tensor = _Grouped.apply(rows.to(dtype), weight.to(dtype), bounds)
    return result
