"""Every engine against one dense reference in float64, forward and gradients."""

import subprocess
import sys

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from pyg_kgtransfer.kernels.relational_csr import RelationalCSR
from pyg_kgtransfer.kernels.relational_spmm import (
    ENGINES,
    basis_sum,
    conjugate_multiply_sum,
    engine_for,
    forced_engine,
    multiply_sum,
)

CPU = torch.device("cpu")


@st.composite
def problems(draw: st.DrawFn) -> tuple[RelationalCSR, Tensor, Tensor, Tensor, Tensor]:
    """(plan, weighted incidence [N, M], sources, targets, relations [M]) of a random graph."""
    rows, sources = draw(st.integers(0, 5)), draw(st.integers(0, 5))
    relations = draw(st.integers(1, 4))
    edge = st.tuples(
        st.integers(0, max(sources - 1, 0)),
        st.integers(0, max(rows - 1, 0)),
        st.integers(0, relations - 1),
    )
    edges = draw(st.lists(edge, max_size=20 if rows and sources else 0))
    table = torch.tensor(edges, dtype=torch.long).view(-1, 3)
    weight = torch.arange(len(edges)).double() - 2.5 if draw(st.booleans()) else None
    plan = RelationalCSR(
        table[:, :2].t(), table[:, 2], rows, relations, num_sources=sources, edge_weight=weight
    )
    incidence = torch.zeros(rows, len(edges), dtype=torch.float64)
    for number, target in enumerate(table[:, 1]):
        incidence[target, number] = 1.0 if weight is None else weight[number]
    return plan, incidence, *table.unbind(1)


def complex_conjugate_product(left: Tensor, right: Tensor) -> Tensor:
    half = left.shape[1] // 2
    a, b = (torch.complex(table[:, :half], table[:, half:]) for table in (left, right))
    product = a.conj() * b
    return torch.cat([product.real, product.imag], dim=1)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("sums", "combine"),
    [(multiply_sum, torch.mul), (conjugate_multiply_sum, complex_conjugate_product)],
    ids=["product", "conjugate product"],
)
@given(problem=problems(), half_width=st.integers(0, 2), threads=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_an_engine_gives_the_dense_sums_and_gradients(
    engine, sums, combine, problem, half_width, threads
) -> None:
    plan, incidence, source, _, relation = problem
    width = 2 * half_width
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(plan.num_sources, width, dtype=torch.float64, generator=generator)
    z = torch.randn(plan.num_relations, width, dtype=torch.float64, generator=generator)
    upstream = torch.randn(plan.num_rows, width, dtype=torch.float64, generator=generator)
    results = {}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for name in ("reference", engine):
            a, b = x.clone().requires_grad_(), z.clone().requires_grad_()
            if name == "reference":
                out = incidence @ combine(a[source], b[relation])
            else:
                with forced_engine(engine):
                    out = sums(plan, a, b)
            gradients = torch.autograd.grad(out, (a, b), upstream)
            results[name] = (out, *gradients)
    finally:
        torch.set_num_threads(before)
    for got, expected in zip(results[engine], results["reference"], strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("engine", ENGINES)
@given(problem=problems(), width=st.integers(0, 3), bases=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_matrices_of_a_basis_give_the_dense_sums_and_gradients(
    engine, problem, width, bases
) -> None:
    plan, incidence, source, target, relation = problem
    generator = torch.Generator().manual_seed(0)
    options = {"dtype": torch.float64, "generator": generator}
    x = torch.randn(plan.num_sources, width, **options)
    a = torch.randn(plan.num_relations, bases, **options)
    v = torch.randn(bases, width, 2, **options)
    upstream = torch.randn(plan.num_rows, 2, **options)
    count = torch.zeros(plan.num_rows, plan.num_relations, dtype=torch.float64)
    count.index_put_((target, relation), torch.ones(len(relation)).double(), accumulate=True)
    results = {}
    for name in ("reference", engine):
        inputs = [table.clone().requires_grad_() for table in (x, a, v)]
        if name == "reference":
            matrices = torch.einsum("rb,bio->rio", inputs[1], inputs[2])
            messages = torch.einsum("mi,mio->mo", inputs[0][source], matrices[relation])
            out = incidence @ (messages / count[target, relation].unsqueeze(1))
        else:
            with forced_engine(engine):
                out = basis_sum(plan, *inputs)
        results[name] = (out, *torch.autograd.grad(out, inputs, upstream))
    for got, expected in zip(results[engine], results["reference"], strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_numbers_keep_their_type_and_gradients_only_come_where_wanted(engine, dtype) -> None:
    plan = RelationalCSR(torch.tensor([[0, 1, 1], [0, 0, 1]]), torch.tensor([0, 1, 1]), 2, 2)
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=dtype)
    z = torch.tensor([[1.0, 0.5], [2.0, 1.0]], dtype=dtype, requires_grad=True)
    with forced_engine(engine):
        out = multiply_sum(plan, x, z)
        out.sum().backward()
    assert out.dtype == dtype
    assert z.grad.dtype == dtype
    assert out.tolist() == [[7.0, 5.0], [6.0, 4.0]]
    assert z.grad.tolist() == [[1.0, 2.0], [6.0, 8.0]]


@pytest.mark.parametrize("engine", ENGINES)
def test_not_a_number_comes_out_where_it_went_in(engine) -> None:
    plan = RelationalCSR(torch.tensor([[0, 1], [0, 1]]), torch.tensor([0, 0]), 2, 1)
    with forced_engine(engine):
        out = multiply_sum(plan, torch.tensor([[float("nan")], [float("inf")]]), torch.ones(1, 1))
    assert out[0].isnan()
    assert out[1].isinf()


@pytest.mark.parametrize("engine", ENGINES)
def test_gradients_of_gradients_are_refused(engine) -> None:
    plan = RelationalCSR(torch.tensor([[0], [0]]), torch.tensor([0]), 1, 1)
    x, z = torch.ones(1, 1, requires_grad=True), torch.ones(1, 1, requires_grad=True)
    with forced_engine(engine):
        (first,) = torch.autograd.grad(
            multiply_sum(plan, x, z).square().sum(), x, create_graph=True
        )
        with pytest.raises(RuntimeError):
            first.sum().backward()


def test_a_large_graph_gives_the_same_numbers_with_any_number_of_threads() -> None:
    generator = torch.Generator().manual_seed(0)
    edges = (
        torch.rand(3, 5000, generator=generator).square() * torch.tensor([[300], [300], [7]])
    ).long()
    plan = RelationalCSR(edges[:2], edges[2], 300, 7)
    x, z = torch.randn(300, 16, generator=generator), torch.randn(7, 16, generator=generator)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(multiply_sum(plan, x, z))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_the_first_sum_of_a_process_leaves_torchs_threads_as_they_were() -> None:
    script = (
        "import torch; torch.set_num_threads(1)\n"
        "from pyg_kgtransfer.kernels.relational_csr import RelationalCSR\n"
        "from pyg_kgtransfer.kernels.relational_spmm import multiply_sum\n"
        "plan = RelationalCSR(torch.tensor([[0], [1]]), torch.tensor([0]), 2, 1)\n"
        "multiply_sum(plan, torch.ones(2, 2), torch.ones(1, 2))\n"
        "print(torch.get_num_threads())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1"]


def test_the_engine_can_be_forced_and_wrong_ones_are_refused(monkeypatch) -> None:
    assert engine_for(CPU) == "numba"
    assert engine_for(torch.device("cuda")) == "torch"
    monkeypatch.setenv("KGT_ENGINE", "torch")
    assert engine_for(CPU) == "torch"
    with forced_engine("numba"):
        assert engine_for(CPU) == "numba"
        with pytest.raises(ValueError, match="works on the CPU"):
            engine_for(torch.device("cuda"))
    monkeypatch.setenv("KGT_ENGINE", "tritium")
    with pytest.raises(ValueError, match="numba, torch"):
        engine_for(CPU)
    with pytest.raises(ValueError, match="tritium"), forced_engine("tritium"):
        pass


@pytest.mark.parametrize(
    ("x", "z", "message"),
    [
        (torch.ones(3, 2), torch.ones(1, 2), r"x must have shape \[2, D\]"),
        (torch.ones(2, 2), torch.ones(2), r"z must have shape \[1, D\]"),
        (torch.ones(2, 2), torch.ones(1, 3), "equally wide"),
    ],
)
def test_tables_that_do_not_fit_are_refused(x, z, message) -> None:
    plan = RelationalCSR(torch.tensor([[0], [1]]), torch.tensor([0]), 2, 1)
    with pytest.raises(ValueError, match=message):
        multiply_sum(plan, x, z)


def test_half_a_complex_number_is_refused() -> None:
    plan = RelationalCSR(torch.tensor([[0], [1]]), torch.tensor([0]), 2, 1)
    with pytest.raises(ValueError, match="even width"):
        conjugate_multiply_sum(plan, torch.ones(2, 3), torch.ones(1, 3))
