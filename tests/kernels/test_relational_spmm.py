"""Every engine against one dense reference in float64, forward and gradients."""

import subprocess
import sys

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from pyg_kgtransfer.kernels import triton_engine
from pyg_kgtransfer.kernels.engines import engine_name, engines_on, forced_engine
from pyg_kgtransfer.kernels.relational_csr import RelationalCSR
from pyg_kgtransfer.kernels.relational_spmm import OPERATORS, REDUCTIONS, relational_spmm
from tests.kernels.engines import CPU, EVERY_ENGINE, Problem, numbers, problems


def combined(op: str, x: Tensor, z: Tensor) -> Tensor:
    """Messages of edges, [M, ..., D] each."""
    if op == "complex_mul":
        half = x.shape[-1] // 2
        left, right = (torch.complex(t[..., :half], t[..., half:]) for t in (x, z))
        return torch.cat([(left * right).real, (left * right).imag], dim=-1)
    return {"copy": x, "add": x + z, "sub": x - z, "mul": x * z}[op]


def dense(
    problem: Problem, x: Tensor, z: Tensor, op: str, reduce: str, weight: Tensor | None
) -> Tensor:
    """The definition, row by row."""
    if z.dim() < x.dim():
        z = z.unsqueeze(1).expand(-1, x.shape[1], -1)
    scale = problem.weight if weight is None else problem.weight * weight
    message = combined(op, x[problem.source], z[problem.relation])
    message = message * scale.view(-1, *[1] * (x.dim() - 1))
    rows = [message[problem.target == row] for row in range(problem.plan.num_rows)]
    zero = x.new_zeros(x.shape[1:]) + 0 * (x.sum() + z.sum())
    of = {"sum": lambda m: m.sum(0), "mean": lambda m: m.mean(0), "max": lambda m: m.amax(0)}
    found = [of[reduce](row) if len(row) else zero for row in rows]
    return torch.stack(found) if found else x.new_zeros(0, *x.shape[1:]) + zero


@pytest.mark.parametrize("engine", EVERY_ENGINE)
@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("op", OPERATORS)
@given(
    problem=problems(),
    half_width=st.integers(0, 2),
    batch=st.sampled_from([None, 1, 3]),
    own_relations=st.booleans(),
    weighted=st.booleans(),
    threads=st.integers(1, 3),
)
@settings(max_examples=25, deadline=None)
def test_an_engine_gives_the_dense_sums_and_gradients(
    engine, op, reduce, problem, half_width, batch, own_relations, weighted, threads
) -> None:
    if op == "complex_mul" and reduce == "max":
        return  # refused, see below
    plan, width = problem.plan, 2 * half_width
    states = () if batch is None else (batch,)
    x = numbers(plan.num_sources, *states, width)
    z = numbers(plan.num_relations, *(states if own_relations else ()), width, seed=1)
    weight = numbers(plan.num_edges, seed=2)
    upstream = numbers(plan.num_rows, *states, width, seed=3)
    results = {}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for name in ("reference", engine):
            a, b, w = (table.clone().requires_grad_() for table in (x, z, weight))
            given_weight = w if weighted else None
            if name == "reference":
                out = dense(problem, a, b, op, reduce, given_weight)
            else:
                with forced_engine(engine):
                    relations = None if op == "copy" else b
                    out = relational_spmm(
                        plan, a, relations, op=op, reduce=reduce, weight=given_weight
                    )
            gradients = torch.autograd.grad(
                out, (a, b, w), upstream, allow_unused=True, materialize_grads=True
            )
            results[name] = (out, *gradients)
    finally:
        torch.set_num_threads(before)
    for got, expected in zip(results[engine], results["reference"], strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("engine", EVERY_ENGINE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("op", ["copy", "sub", "mul"])
def test_numbers_keep_their_type_and_gradients_only_come_where_wanted(engine, dtype, op) -> None:
    plan = RelationalCSR(torch.tensor([[0, 1, 1], [0, 0, 1]]), torch.tensor([0, 1, 1]), 2, 2)
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=dtype, requires_grad=op == "copy")
    z = torch.tensor([[1.0, 0.5], [2.0, 1.0]], dtype=dtype, requires_grad=op != "copy")
    with forced_engine(engine):
        out = relational_spmm(plan, x, None if op == "copy" else z, op=op)
        out.sum().backward()
    grad = x.grad if op == "copy" else z.grad
    assert out.dtype == grad.dtype == dtype
    expected = {
        "copy": ([[4.0, 6.0], [3.0, 4.0]], [[1.0, 1.0], [2.0, 2.0]]),
        "sub": ([[1.0, 4.5], [1.0, 3.0]], [[-1.0, -1.0], [-2.0, -2.0]]),
        "mul": ([[7.0, 5.0], [6.0, 4.0]], [[1.0, 2.0], [6.0, 8.0]]),
    }[op]
    assert (out.tolist(), grad.tolist()) == expected


@pytest.mark.parametrize("engine", EVERY_ENGINE)
@pytest.mark.parametrize("op", ["copy", "mul", "complex_mul"])
def test_rows_longer_than_a_run_are_summed_whole(engine, op, monkeypatch) -> None:
    monkeypatch.setattr(triton_engine, "RUN", 3)
    source = torch.arange(20)
    target, relation = (source > 6).long() + (source > 15), source % 2  # 7, 9 and 4 edges
    plan = RelationalCSR(torch.stack([source, target]), relation, 3, 2, num_sources=20)
    problem = Problem(plan, source, target, relation, torch.ones(20).double())
    x, z = numbers(20, 4).requires_grad_(), numbers(2, 4).requires_grad_()
    with forced_engine(engine):
        out = relational_spmm(plan, x, None if op == "copy" else z, op=op)
        got = torch.autograd.grad(out.square().sum(), x)[0]
    expected = dense(problem, x, z, op, "sum", None)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(got, torch.autograd.grad(expected.square().sum(), x)[0])


@pytest.mark.parametrize("engine", EVERY_ENGINE)
def test_not_a_number_comes_out_where_it_went_in(engine) -> None:
    plan = RelationalCSR(torch.tensor([[0, 1], [0, 1]]), torch.tensor([0, 0]), 2, 1)
    x = torch.tensor([[float("nan")], [float("inf")]])
    with forced_engine(engine):
        for reduce in REDUCTIONS:
            out = relational_spmm(plan, x, torch.ones(1, 1), op="mul", reduce=reduce)
            assert out[0].isnan()
            assert out[1].isinf()


@pytest.mark.parametrize("engine", EVERY_ENGINE)
@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_gradients_of_gradients_are_refused(engine, reduce) -> None:
    plan = RelationalCSR(torch.tensor([[0], [0]]), torch.tensor([0]), 1, 1)
    x, z = torch.ones(1, 1, requires_grad=True), torch.ones(1, 1, requires_grad=True)
    with forced_engine(engine):
        out = relational_spmm(plan, x, z, op="mul", reduce=reduce)
        (first,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            first.sum().backward()


@pytest.mark.parametrize("op", ["copy", "mul"])
def test_a_large_graph_gives_the_same_numbers_with_any_number_of_threads(op) -> None:
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
            found.append(relational_spmm(plan, x, None if op == "copy" else z, op=op))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_the_first_sum_of_a_process_leaves_torchs_threads_as_they_were() -> None:
    script = (
        "import torch; torch.set_num_threads(1)\n"
        "from pyg_kgtransfer.kernels.relational_csr import RelationalCSR\n"
        "from pyg_kgtransfer.kernels.relational_spmm import relational_spmm\n"
        "plan = RelationalCSR(torch.tensor([[0], [1]]), torch.tensor([0]), 2, 1)\n"
        "relational_spmm(plan, torch.ones(2, 2), torch.ones(1, 2), op='mul')\n"
        "print(torch.get_num_threads())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1"]


def test_a_forked_process_falls_back_to_torch() -> None:
    script = (
        "import os, torch\n"
        "from pyg_kgtransfer.kernels.engines import engine_name\n"
        "from pyg_kgtransfer.kernels.relational_csr import RelationalCSR\n"
        "from pyg_kgtransfer.kernels.relational_spmm import relational_spmm\n"
        "torch.set_num_threads(1)\n"
        "plan = RelationalCSR(torch.tensor([[0], [1]]), torch.tensor([0]), 2, 1)\n"
        "x, z = torch.ones(2, 2), torch.ones(1, 2)\n"
        "relational_spmm(plan, x, z, op='mul')\n"
        "if os.fork() == 0:\n"
        "    total = relational_spmm(plan, x, z, op='mul').sum().item()\n"
        "    print(engine_name(torch.device('cpu')), total, flush=True)\n"
        "    os._exit(0)\n"
        "print(os.wait()[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["torch", "2.0", "0"]


def test_the_engine_can_be_forced_and_wrong_ones_are_refused(monkeypatch) -> None:
    fastest = "torch" if engines_on(CPU)["numba"] else "numba"
    assert engine_name(CPU) == fastest
    monkeypatch.setenv("KGT_ENGINE", "torch")
    assert engine_name(CPU) == "torch"
    with forced_engine("numba"), pytest.raises(ValueError, match=r"numba.*works on the CPU"):
        engine_name(torch.device("cuda"))
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with forced_engine("triton"), pytest.raises(ValueError, match=r"triton.*(CUDA|install)"):
        engine_name(CPU)
    monkeypatch.setenv("KGT_ENGINE", "tritium")
    with pytest.raises(ValueError, match=r"'tritium'\); did you mean 'triton'"):
        engine_name(CPU)
    with pytest.raises(ValueError, match="tritium"), forced_engine("tritium"):
        pass


X, Z = torch.ones(2, 2), torch.ones(1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": torch.ones(3, 2)}, r"x must have shape \[2, D\] \(got \[3, 2\]\)"),
        ({"z": torch.ones(2, 2)}, r"z must have shape \[1, D\]"),
        ({"z": torch.ones(1, 3)}, r"equally wide \(got \[2\] and \[3\]\)"),
        ({"z": torch.ones(1, 4, 2)}, "equally wide"),
        ({"x": torch.ones(2, 3, 2), "z": torch.ones(1, 4, 2)}, "equally wide"),
        ({"x": torch.ones(2, 2, dtype=torch.long)}, r"x must be floats \(got torch.int64\)"),
        ({"op": "times"}, r"op is one of copy, add.*\(got 'times'\)"),
        ({"reduce": "min"}, r"reduce is one of sum, mean, max \(got 'min'\)"),
        ({"z": None}, r"op 'mul' needs relation vectors \(got none\)"),
        ({"op": "copy"}, r"op 'copy' takes no relation vectors"),
        ({"op": "complex_mul", "reduce": "max"}, "no maximum"),
        (
            {"x": torch.ones(2, 3), "z": torch.ones(1, 3), "op": "complex_mul"},
            r"even width \(got 3\)",
        ),
        ({"weight": torch.ones(2)}, r"weight must be floats of shape \[1\], one per edge"),
        ({"weight": torch.ones(1, dtype=torch.long)}, "weight must be floats"),
        ({"weight": torch.tensor([float("nan")])}, r"must be finite \(got nan at edge 0\)"),
        ({"x": X.to("meta")}, r"x must be where the edges are, on cpu \(got meta\)"),
        ({"weight": torch.ones(1, device="meta")}, "weight must be where"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message) -> None:
    plan = RelationalCSR(torch.tensor([[0], [1]]), torch.tensor([0]), 2, 1)
    given_ = {"x": X, "z": Z, "op": "mul"} | arguments
    with pytest.raises(ValueError, match=message):
        relational_spmm(plan, given_.pop("x"), given_.pop("z"), **given_)
