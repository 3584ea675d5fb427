"""Scores of queries against rows of a table, without a vector per pair where an engine can.

Four scores of two vectors: the inner product, minus the L1 and L2 distance, and minus the sum of
complex moduli of the difference. ``functional.scores`` has the formulas, and is what runs where no
engine has loops of its own.
"""

from enum import IntEnum
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding  # its gradient is far faster than indexing's

from pyg_kgtransfer.functional import scores
from pyg_kgtransfer.kernels import numba_engine
from pyg_kgtransfer.kernels.engines import engine_name


class Pairing(IntEnum):
    """Which score of two vectors; higher is better."""

    DOT = 0
    L1 = 1
    L2 = 2
    MODULUS = 3  # complex vectors, stored as reals, the real halves first


def score_all(query: Tensor, table: Tensor, pairing: Pairing) -> Tensor:
    """Each query against each row: [B, D], [N, D] -> [B, N].

    Gradients of gradients are refused (``RuntimeError``) where an engine's loops run.

    Example:
        >>> query, table = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
        >>> score_all(query, table, Pairing.L1).tolist()
        [[-2.0, -3.0]]
    """
    if pairing is Pairing.DOT or not _has_loops(query, table):
        return _formula(query, table, pairing)
    result: Tensor = _all(query, table, pairing)
    return result


def score_own(query: Tensor, table: Tensor, index: Tensor, pairing: Pairing) -> Tensor:
    """Each query against rows of its own: [B, D], [N, D], [B, K] rows -> [B, K].

    For the rest see ``score_all``.

    Example:
        >>> query, table = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, 5.0]])
        >>> score_own(query, table, torch.tensor([[1, 1, 0]]), Pairing.DOT).tolist()
        [[10.0, 10.0, 1.0]]
    """
    if index.shape[1] == 1 or not _has_loops(query, table):  # a loop's start costs more than one
        return _formula(query, embedding(index, table), pairing)
    result: Tensor = _own(query, table, index, pairing)
    return result


def _formula(query: Tensor, candidates: Tensor, pairing: Pairing) -> Tensor:
    if pairing is Pairing.DOT:
        return scores.dot(query, candidates)
    if pairing is Pairing.MODULUS:
        return scores.negative_modulus_distance(query, candidates)
    return scores.negative_distance(query, candidates, p=float(pairing.value))


def _has_loops(query: Tensor, table: Tensor) -> bool:
    is_plain = query.dtype == table.dtype and query.dtype in (torch.float32, torch.float64)
    return is_plain and query.device == table.device and engine_name(query.device) == "numba"


class _All(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, table: Tensor, pairing: Pairing) -> Tensor:
        found = numba_engine.distances_of_all(query, table, pairing)
        ctx.save_for_backward(query, table, found)
        ctx.pairing = pairing
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        query, table, found = ctx.saved_tensors
        needs_query, needs_table, _ = ctx.needs_input_grad
        pull = numba_engine.pull_all
        of_query = pull(query, table, found, grad, ctx.pairing) if needs_query else None
        of_table = (
            pull(table, query, found.t(), grad.t(), ctx.pairing) if needs_table else None
        )  # every score is symmetric
        return of_query, of_table, None


class _Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, table: Tensor, index: Tensor, pairing: Pairing) -> Tensor:
        found = numba_engine.scores_of_own(query, table, index, pairing)
        ctx.save_for_backward(query, table, index, found)
        ctx.pairing = pairing
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        query, table, index, found = ctx.saved_tensors
        given = (query, table, index, found, grad, ctx.pairing)
        of_query = numba_engine.pull_queries(*given) if ctx.needs_input_grad[0] else None
        of_table = numba_engine.pull_candidates(*given) if ctx.needs_input_grad[1] else None
        return of_query, of_table, None, None


@torch.compiler.disable
def _all(query: Tensor, table: Tensor, pairing: Pairing) -> Tensor:
    result: Tensor = _All.apply(query, table, pairing)
    return result


@torch.compiler.disable
def _own(query: Tensor, table: Tensor, index: Tensor, pairing: Pairing) -> Tensor:
    result: Tensor = _Own.apply(query, table, index, pairing)
    return result
