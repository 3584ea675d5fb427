"""A matrix per relation against the definition, on either side of every choice."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import Tensor

from pyg_kgtransfer.kernels import relation_matmul
from pyg_kgtransfer.kernels.engines import forced_engine
from pyg_kgtransfer.kernels.relation_matmul import basis_sum, block_sum, favours_bases
from pyg_kgtransfer.kernels.relational_csr import RelationalCSR
from tests.kernels.engines import EVERY_ENGINE, Problem, numbers, problems


def dense(problem: Problem, x: Tensor, matrices: Tensor) -> Tensor:
    """Sums of means, edge by edge: matrices [R, D, D']."""
    plan, target, relation = problem.plan, problem.target, problem.relation
    count = torch.zeros(plan.num_rows, plan.num_relations, dtype=torch.float64)
    count.index_put_((target, relation), torch.ones(len(relation)).double(), accumulate=True)
    messages = torch.einsum("mi,mio->mo", x[problem.source], matrices[relation])
    scale = problem.weight / count[target, relation]
    out = x.new_zeros(plan.num_rows, matrices.shape[2])
    return out.index_add(0, target, messages * scale.unsqueeze(1))


@pytest.fixture(params=[1, 10**9], ids=["a row at a time", "all rows"])
def pieces(request, monkeypatch) -> None:
    """The sizes of the pieces that are worked on."""
    for name in ("_PIECE_NUMBERS", "_LARGE_PIECE_NUMBERS"):
        monkeypatch.setattr(relation_matmul, name, request.param)


def check(ours, reference, inputs: list[Tensor], upstream: Tensor) -> None:
    results = []
    for function in (ours, reference):
        given_ = [table.clone().requires_grad_() for table in inputs]
        out = function(*given_)
        results.append((out, *torch.autograd.grad(out, given_, upstream)))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("engine", EVERY_ENGINE)
@pytest.mark.parametrize("bases_first", [True, False])
@given(problem=problems(), width=st.integers(0, 3), bases=st.integers(1, 3))
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_shared_bases_give_the_dense_sums_and_gradients(
    pieces, engine, bases_first, problem, width, bases
) -> None:
    plan = problem.plan

    def reference(x: Tensor, a: Tensor, v: Tensor) -> Tensor:
        return dense(problem, x, torch.einsum("rb,bio->rio", a, v))

    def ours(x: Tensor, a: Tensor, v: Tensor) -> Tensor:
        with pytest.MonkeyPatch.context() as patch, forced_engine(engine):
            patch.setattr(relation_matmul, "favours_bases", lambda *_: bases_first)
            return basis_sum(plan, x, a, v)

    tables = [(plan.num_sources, width), (plan.num_relations, bases), (bases, width, 2)]
    inputs = [numbers(*shape, seed=seed) for seed, shape in enumerate(tables)]
    check(ours, reference, inputs, numbers(plan.num_rows, 2))


@pytest.mark.parametrize("engine", EVERY_ENGINE)
@given(problem=problems(), size=st.integers(0, 2), blocks=st.integers(1, 3))
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_blocks_give_the_dense_sums_and_gradients(pieces, engine, problem, size, blocks) -> None:
    plan = problem.plan

    def reference(x: Tensor, weight: Tensor) -> Tensor:
        return dense(problem, x, torch.stack([torch.block_diag(*parts) for parts in weight]))

    def ours(x: Tensor, weight: Tensor) -> Tensor:
        with forced_engine(engine):
            return block_sum(plan, x, weight)

    weight = numbers(plan.num_relations, blocks, size, 2, seed=1)
    inputs = [numbers(plan.num_sources, blocks * size), weight]
    if size:  # block_diag knows no blocks without rows
        check(ours, reference, inputs, numbers(plan.num_rows, 2 * blocks))
    else:
        assert not ours(*inputs).any()


def test_rows_are_on_the_smaller_side_of_each_relation() -> None:
    many, one = torch.arange(4), torch.zeros(4, dtype=torch.long)
    source = torch.cat([many, one])  # relation 0: four into one; relation 1: one into four
    target, relation = torch.cat([one, many]), torch.tensor([0] * 4 + [1] * 4)
    plan = RelationalCSR(torch.stack([source, target]), relation, 4, 3)
    assert plan.relation_rows.bounds == (0, 1, 2, 2)


def test_few_bases_meet_nodes_and_many_meet_rows() -> None:
    ring = torch.arange(50)
    plan = RelationalCSR(torch.stack([ring, ring.roll(1)]), ring % 5, 50, 5)
    assert not favours_bases(plan, 2)  # 100 products against 50 + 10
    edges = torch.stack([ring.repeat(9), ring.repeat(9).roll(1)])
    plan = RelationalCSR(edges, torch.arange(450) % 9, 50, 9)
    assert favours_bases(plan, 2)  # 100 products against 450 + 18
