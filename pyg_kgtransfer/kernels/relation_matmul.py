"""A matrix per relation: R-GCN's sums, with neighbours averaged before or after, whichever is less.

out[v] = sum over relations r of W_r times the mean of w x_u over the edges (u, r) -> v.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pyg_kgtransfer.kernels import numba_engine
from pyg_kgtransfer.kernels.csr import CSR
from pyg_kgtransfer.kernels.engines import engine_for, engine_name
from pyg_kgtransfer.kernels.relational_csr import Piece, RelationalCSR

_PIECE_NUMBERS = 1 << 21  # of the rows in work at a time, 8 MB in float32
_LARGE_PIECE_NUMBERS = 1 << 22  # where an engine has no loops over some rows
_LARGE_PRODUCT = 1 << 26  # multiplications from which several threads work at one
_WORTH_THREADS = 1 << 24  # multiplications of a piece from which waking threads pays
_EDGES_PER_PRODUCT = 32  # summing so many edges takes as long as a product of a row and a matrix


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
    result: Tensor = _sums(plan, x, None, weight)
    return result


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
    result: Tensor = _sums(plan, x, coefficient, basis)
    return result


def favours_bases(plan: RelationalCSR, num_bases: int) -> bool:
    """Whether B sums and products per node take less than a product per row and making all W_r."""
    rows = plan.relation_rows.bounds[-1]
    per_basis = plan.num_rows + plan.num_edges // _EDGES_PER_PRODUCT
    return num_bases * per_basis < rows + plan.num_relations * num_bases


def _per_basis(plan: RelationalCSR, x: Tensor, coefficient: Tensor, basis: Tensor) -> Tensor:
    shares = plan.mean_shares(coefficient)  # [M, B]
    out = x.new_zeros(())
    for matrix, share in zip(basis, shares.unbind(1), strict=True):
        out = out + plan.neighbour_sum(x, share) @ matrix
    return out


class _Sums(torch.autograd.Function):
    """Rows gathered, multiplied by their relation's matrix and sent on, a piece at a time.

    A piece of rows stays in the cache, and rows are gathered again in the backward pass, so that
    nothing of their number is written. ``weight`` is [R, blocks, d, d'], or with coefficients the
    basis [B, D, D'].
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, coefficient: Tensor | None, weight: Tensor, plan: RelationalCSR
    ) -> Tensor:
        ctx.save_for_backward(x, coefficient, weight)
        ctx.plan, rows = plan, plan.relation_rows
        blocks, size = (1, weight.shape[2]) if coefficient is not None else weight.shape[1::2]
        out = x.new_zeros(plan.num_rows, blocks * size)
        for piece in _pieces(plan, x):
            gathered = _gathered(rows.sources, piece, x)
            sent = gathered.new_empty(len(gathered), blocks * size)
            matrices = _matrices(coefficient, weight, piece)
            parts, products = _by_block(gathered, blocks), _by_block(sent, blocks)
            _multiply(piece, parts, matrices, products)
            _send(rows.targets, piece, sent, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor, None]:
        x, coefficient, weight = ctx.saved_tensors
        rows, grad = ctx.plan.relation_rows, grad.contiguous()
        blocks = 1 if coefficient is not None else weight.shape[1]
        of_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        of_weight = torch.zeros_like(weight)
        of_coefficient = None if coefficient is None else torch.zeros_like(coefficient)
        for piece in _pieces(ctx.plan, x):
            gathered, pulled = (
                _gathered(rows.sources, piece, x),
                _gathered(rows.targets, piece, grad),
            )
            parts, grads = _by_block(gathered, blocks), _by_block(pulled, blocks)
            if coefficient is None:
                of_matrices = of_weight[piece.relations]
            else:
                shape = (len(coefficient[piece.relations]), 1, *weight.shape[1:])
                of_matrices = weight.new_zeros(shape)
            _add_products(piece, parts, grads, of_matrices)
            if of_coefficient is not None:
                flat = of_matrices.flatten(1)
                of_coefficient[piece.relations].addmm_(flat, weight.flatten(1).t())
                of_weight.flatten(1).addmm_(coefficient[piece.relations].t(), flat)
            if of_x is not None:
                _multiply(piece, grads, _matrices(coefficient, weight, piece).mT, parts)
                _send(rows.sources, piece, gathered, of_x)
        return of_x, of_coefficient, of_weight, None


def _multiply(piece: Piece, rows: Tensor, matrices: Tensor, out: Tensor) -> None:
    """Rows [blocks, P, d] times their relation's matrix, [relations, blocks, d, d']."""
    _each_part(
        piece,
        matrices[0],
        lambda relation, part: torch.bmm(rows[:, part], matrices[relation], out=out[:, part]),
    )


def _add_products(piece: Piece, left: Tensor, right: Tensor, out: Tensor) -> None:
    """Add to each relation's matrix its rows of ``left``, transposed, times those of ``right``."""
    _each_part(
        piece,
        out[0],
        lambda relation, part: out[relation].baddbmm_(left[:, part].mT, right[:, part]),
    )


def _each_part(piece: Piece, matrix: Tensor, work: Callable[[int, slice], object]) -> None:
    """Do the work of each relation; small ones side by side, each on one thread.

    Waking threads within a small product takes longer than the product, and how long depends on how
    they wait.
    """
    total = matrix.numel() * (piece.rows.stop - piece.rows.start)
    threads = torch.get_num_threads() if matrix.device.type == "cpu" else 1
    parts = iter(piece.parts)  # threads take turns at it

    def some() -> None:
        with torch.no_grad():  # a thread's own setting
            for relation, part in parts:
                work(relation, part)

    if threads == 1 or total > _LARGE_PRODUCT * max(1, len(piece.parts)):
        some()
        return
    torch.set_num_threads(1)
    try:
        if total < _WORTH_THREADS:
            some()
            return
        with ThreadPoolExecutor(
            threads - 1, initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            others = [pool.submit(some) for _ in range(threads - 1)]
            some()
        for other in others:
            other.result()
    finally:
        torch.set_num_threads(threads)


def _pieces(plan: RelationalCSR, x: Tensor) -> list[Piece]:
    """Pieces that fit the cache where the engine's loops can work on some rows of a matrix."""
    numbers = _PIECE_NUMBERS if engine_name(x.device) == "numba" else _LARGE_PIECE_NUMBERS
    return plan.relation_rows.pieces(max(1, numbers // max(1, x.shape[1])))


def _gathered(matrix: CSR, piece: Piece, x: Tensor) -> Tensor:
    if engine_name(x.device) == "numba":
        return numba_engine.rows_product(matrix, piece.rows, x)
    return engine_for(x.device).csr_product(matrix.part(piece.rows), x, None)


def _send(matrix: CSR, piece: Piece, rows: Tensor, out: Tensor) -> None:
    """Add to ``out`` what the transpose makes of ``rows``."""
    if engine_name(rows.device) == "numba":
        numba_engine.add_transposed(matrix, piece.rows, rows, out)
    else:
        back = matrix.part(piece.rows).transpose
        out += engine_for(rows.device).csr_product(back, rows, None)


def _matrices(coefficient: Tensor | None, weight: Tensor, piece: Piece) -> Tensor:
    """Those of the piece's relations: [relations, blocks, d, d']."""
    if coefficient is None:
        return weight[piece.relations]
    made = coefficient[piece.relations] @ weight.flatten(1)
    return made.view(len(made), 1, *weight.shape[1:])


def _by_block(table: Tensor, blocks: int) -> Tensor:
    """[P, blocks * d] as [blocks, P, d]."""
    parts: Tensor = table.unflatten(1, (blocks, -1)).transpose(0, 1)
    return parts


@torch.compiler.disable
def _sums(plan: RelationalCSR, x: Tensor, coefficient: Tensor | None, weight: Tensor) -> Tensor:
    dtype = torch.promote_types(x.dtype, weight.dtype)
    wide = engine_for(x.device).table_type(dtype)
    given = None if coefficient is None else coefficient.to(wide)
    with torch.autocast(x.device.type, enabled=False):
        result: Tensor = _Sums.apply(x.to(wide), given, weight.to(wide), plan)
    return result.to(dtype)
