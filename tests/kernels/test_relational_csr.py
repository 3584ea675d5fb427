"""Relational sums against loops, and their gradients."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from pyg_kgtransfer.kernels.relational_csr import RelationalCSR

NUM_RELATIONS = 3


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Tensor, Tensor, int]:
    """(edge_index, edge_type, num_rows): empty, tiny, with loops, repeats and unseen relations."""
    num_rows = draw(st.integers(0, 5))
    node = st.integers(0, max(num_rows - 1, 0))
    edge = st.tuples(node, node, st.integers(0, NUM_RELATIONS - 1))
    edges = draw(st.lists(edge, max_size=12 if num_rows else 0))
    table = torch.tensor(edges, dtype=torch.long).view(-1, 3).t()
    return table[:2], table[2], num_rows


def tables(num_rows: int, width: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_rows)
    x = torch.randn(num_rows, width, dtype=torch.float64, generator=generator)
    z = torch.randn(NUM_RELATIONS, width, dtype=torch.float64, generator=generator)
    return x, z


def edges_of(edge_index: Tensor, edge_type: Tensor) -> list[tuple[int, int, int]]:
    return list(zip(*edge_index.tolist(), edge_type.tolist(), strict=True))


@given(graphs())
@settings(max_examples=30, deadline=None)
def test_sums_are_those_of_loops(graph: tuple[Tensor, Tensor, int]) -> None:
    edge_index, edge_type, num_rows = graph
    x, z = tables(num_rows)
    weight = torch.arange(len(edge_type)).double() + 0.5
    plan = RelationalCSR(edge_index, edge_type, num_rows, NUM_RELATIONS, edge_weight=weight)
    neighbours, relations, products = (torch.zeros_like(x) for _ in range(3))
    for (u, v, r), w in zip(edges_of(edge_index, edge_type), weight, strict=True):
        neighbours[v] += w * x[u]
        relations[v] += w * z[r]
        products[v] += w * x[u] * z[r]
    torch.testing.assert_close(plan.neighbour_sum(x), neighbours)
    torch.testing.assert_close(plan.relation_sum(z), relations)
    pairs = plan.source_pairs
    got = pairs.scatter(pairs.gather(x) * pairs.relation_gather(z))
    torch.testing.assert_close(got, products)


@given(graphs())
@settings(max_examples=30, deadline=None)
def test_shares_and_rows_give_the_mean_of_each_relation(
    graph: tuple[Tensor, Tensor, int],
) -> None:
    edge_index, edge_type, num_rows = graph
    x, z = tables(num_rows)
    plan = RelationalCSR(edge_index, edge_type, num_rows, NUM_RELATIONS)
    edges = edges_of(edge_index, edge_type)
    expected = torch.zeros_like(x)
    for v in range(num_rows):
        for r in range(NUM_RELATIONS):
            sources = [edge[0] for edge in edges if edge[1:] == (v, r)]
            if sources:
                expected[v] += x[sources].mean(0) * z[r]
    rows = plan.relation_rows
    shares = plan.mean_shares(torch.eye(NUM_RELATIONS).double())
    by_relation = [plan.neighbour_sum(x, share) * z[r] for r, share in enumerate(shares.unbind(1))]
    torch.testing.assert_close(torch.stack(by_relation).sum(0), expected)
    per_row = z.repeat_interleave(torch.tensor(rows.bounds).diff(), 0)
    sent = rows.targets(torch.eye(num_rows).double()).t() @ (rows.sources(x) * per_row)
    torch.testing.assert_close(sent, expected)


@given(graphs())
@settings(max_examples=5, deadline=None)
def test_gradients_are_those_of_finite_differences(graph: tuple[Tensor, Tensor, int]) -> None:
    edge_index, edge_type, num_rows = graph
    x, z = (table.requires_grad_() for table in tables(num_rows))
    weight = torch.arange(len(edge_type)).double() + 0.5
    plan = RelationalCSR(edge_index, edge_type, num_rows, NUM_RELATIONS, edge_weight=weight)
    pairs, rows = plan.source_pairs, plan.relation_rows
    to_rows = rows.targets(torch.eye(num_rows).double()).t()

    def through_everything(x: Tensor, z: Tensor) -> Tensor:
        product = pairs.scatter(pairs.gather(x) * pairs.relation_gather(z))
        means = to_rows @ rows.sources(x) ** 2
        return plan.neighbour_sum(x) - plan.relation_sum(z) + product + means

    if num_rows:
        assert torch.autograd.gradcheck(through_everything, (x, z))


def test_edges_may_come_from_another_table() -> None:
    plan = RelationalCSR(torch.tensor([[0, 4], [1, 1]]), torch.tensor([0, 0]), 2, 1, num_sources=5)
    x = torch.arange(5.0).unsqueeze(1)
    assert plan.neighbour_sum(x).tolist() == [[0.0], [4.0]]
    assert plan.relation_rows.sources(x).tolist() == [[4.0]]  # halved on its way


@pytest.mark.parametrize(
    ("edge_index", "edge_type", "message"),
    [
        (torch.zeros(3, 2, dtype=torch.long), torch.zeros(2, dtype=torch.long), "shape"),
        (torch.zeros(2, 2, dtype=torch.long), torch.zeros(3, dtype=torch.long), "one per edge"),
        (torch.tensor([[0], [2]]), torch.tensor([0]), r"target rows .* \[0, 2\) \(got 2"),
        (torch.tensor([[-1], [0]]), torch.tensor([0]), r"source rows .*\(got -1"),
        (torch.tensor([[0], [1]]), torch.tensor([3]), r"edge types .*\[0, 3\) \(got 3"),
        (torch.zeros(2, 1), torch.zeros(1, dtype=torch.long), "int64"),
    ],
)
def test_edges_that_are_no_graph_are_refused(
    edge_index: Tensor, edge_type: Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RelationalCSR(edge_index, edge_type, 2, 3)


def test_weights_are_one_per_edge() -> None:
    edge_index = torch.tensor([[0], [1]])
    with pytest.raises(ValueError, match="edge_weight"):
        RelationalCSR(edge_index, torch.tensor([0]), 2, 1, edge_weight=torch.ones(2))


def test_weights_are_finite() -> None:
    weight = torch.tensor([1.0, float("inf")])
    with pytest.raises(ValueError, match=r"finite \(got inf at edge 1\)"):
        RelationalCSR(
            torch.tensor([[0, 1], [1, 2]]), torch.tensor([0, 1]), 3, 2, edge_weight=weight
        )
