"""Compiled scores of pairs against the formulas, forward and gradients."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from pyg_kgtransfer.kernels.engines import engines_on, forced_engine
from pyg_kgtransfer.kernels.pair_scores import Pairing, score_all, score_own
from tests.kernels.engines import CPU, numbers

FUSED = "torch" if engines_on(CPU)["numba"] else "numba"


def both(function, *inputs: torch.Tensor) -> None:
    results = []
    for engine in ("torch", FUSED):
        given_ = [table.clone().requires_grad_() for table in inputs]
        with forced_engine(engine):
            out = function(*given_)
        gradients = torch.autograd.grad(out, given_, numbers(*out.shape, seed=9))
        results.append((out, *gradients))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("pairing", Pairing)
@given(
    sizes=st.tuples(st.integers(0, 4), st.integers(1, 5), st.integers(1, 3)),
    half_width=st.integers(1, 3),
    same=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_loops_give_what_the_formulas_give(pairing, sizes, half_width, same) -> None:
    batch, rows, each = sizes
    query, table = numbers(batch, 2 * half_width), numbers(rows, 2 * half_width, seed=1)
    if same and batch:
        table[0] = query[0]  # a distance of 0, whose gradient is 0
    index = torch.arange(batch * each).view(batch, each) % rows
    both(lambda q, t: score_all(q, t, pairing), query, table)
    both(lambda q, t: score_own(q, t, index, pairing), query, table)


@pytest.mark.parametrize("pairing", Pairing)
def test_many_rows_come_in_tiles(pairing) -> None:
    query, table = numbers(3, 64), numbers(300, 64, seed=1)
    both(lambda q, t: score_all(q, t, pairing), query, table)


@pytest.mark.parametrize("pairing", [Pairing.L1, Pairing.L2, Pairing.MODULUS])
@pytest.mark.parametrize("width", [2, 10, 70])
def test_equal_rows_score_exactly_alike_wherever_they_stand(pairing, width) -> None:
    query, row = numbers(2, width).float(), numbers(1, width, seed=1).float()
    with forced_engine("numba"):
        scores = score_all(query, row.expand(301, width).contiguous(), pairing)
    assert bool((scores == scores[:, :1]).all())


@pytest.mark.parametrize("pairing", [Pairing.L1, Pairing.L2])
def test_odd_widths(pairing) -> None:
    query, table = numbers(3, 7), numbers(5, 7, seed=1)
    both(lambda q, t: score_all(q, t, pairing), query, table)


def test_narrow_floats_take_the_formula() -> None:
    query, table = torch.ones(1, 2, dtype=torch.bfloat16), torch.zeros(1, 2, dtype=torch.bfloat16)
    assert score_all(query, table, Pairing.MODULUS).dtype == torch.bfloat16
    assert score_own(query, table, torch.tensor([[0]]), Pairing.DOT).tolist() == [[0.0]]


def test_gradients_of_gradients_are_refused() -> None:
    query, table = numbers(2, 4).requires_grad_(), numbers(3, 4).requires_grad_()
    with forced_engine(FUSED):
        out = score_all(query, table, Pairing.MODULUS)
        (first,) = torch.autograd.grad(out.square().sum(), query, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            first.sum().backward()
