"""What layers take as edges, and the cache of sorted ones."""

import copy
import pickle

import pytest
import torch
from torch import Tensor
from torch_geometric import EdgeIndex

from pyg_kgtransfer.kernels.plans import PlanCache, plain_edges

EDGE_INDEX = torch.tensor([[0, 1, 2], [1, 2, 0]])
EDGE_TYPE = torch.tensor([0, 1, 0])


def test_a_graph_that_stays_the_same_is_sorted_once() -> None:
    plans = PlanCache()
    first = plans(EDGE_INDEX, EDGE_TYPE, 3, 2)
    assert plans(EDGE_INDEX.clone(), EDGE_TYPE.clone(), 3, 2) is first
    assert len(plans) == 1


def test_a_changed_graph_never_meets_an_old_plan() -> None:
    plans = PlanCache()
    edge_index, edge_type = EDGE_INDEX.clone(), EDGE_TYPE.clone()
    x = torch.eye(3)
    plans(edge_index, edge_type, 3, 2)
    edge_index.data[0, 0] = 2  # behind autograd's version counter
    assert plans(edge_index, edge_type, 3, 2).neighbour_sum(x)[1].tolist() == [0, 0, 1]
    edge_type.numpy()[0] = 1  # behind torch's back
    assert plans(edge_index, edge_type, 3, 2).relation_sum(torch.eye(2))[1].tolist() == [0, 1]
    assert plans(edge_index, edge_type, 4, 2).num_rows == 4
    assert plans(edge_index, edge_type, 4, 3).num_relations == 3


def test_the_cache_forgets_the_plan_used_longest_ago() -> None:
    plans = PlanCache(size=2)
    first = plans(EDGE_INDEX, EDGE_TYPE, 3, 2)
    second = plans(EDGE_INDEX[:, :2], EDGE_TYPE[:2], 3, 2)
    assert plans(EDGE_INDEX, EDGE_TYPE, 3, 2) is first
    plans(EDGE_INDEX[:, :1], EDGE_TYPE[:1], 3, 2)
    assert len(plans) == 2
    assert plans(EDGE_INDEX, EDGE_TYPE, 3, 2) is first
    assert plans(EDGE_INDEX[:, :2], EDGE_TYPE[:2], 3, 2) is not second


def test_copies_and_pickles_of_a_cache_start_empty() -> None:
    plans = PlanCache(size=3)
    plans(EDGE_INDEX, EDGE_TYPE, 3, 2)
    for other in (copy.deepcopy(plans), pickle.loads(pickle.dumps(plans))):
        assert len(other) == 0
        assert other(EDGE_INDEX, EDGE_TYPE, 3, 2).num_edges == 3


def test_a_plan_made_for_inference_serves_training() -> None:
    plans = PlanCache()
    with torch.inference_mode():
        plan = plans(EDGE_INDEX, EDGE_TYPE, 3, 2)
        plan.relation_rows.sources(torch.ones(3, 2))
    plan = plans(EDGE_INDEX, EDGE_TYPE, 3, 2)
    weight = torch.ones(2, requires_grad=True)
    x = torch.ones(3, 2, requires_grad=True)
    (plan.relation_rows.sources(x).sum() * weight.sum()).backward()
    assert x.grad is not None
    assert weight.grad is not None


@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
def test_a_sparse_adjacency_of_types_is_read_as_edges(layout: str) -> None:
    edges = torch.stack([EDGE_INDEX[1], EDGE_INDEX[0]])  # rows are targets
    adjacency = torch.sparse_coo_tensor(edges, EDGE_TYPE, (3, 3), check_invariants=True)
    adjacency = getattr(adjacency, {"coo": "coalesce"}.get(layout, f"to_sparse_{layout}"))()
    edge_index, edge_type = plain_edges(adjacency, None)
    read = sorted(zip(*edge_index.tolist(), edge_type.tolist(), strict=True))
    assert read == sorted(zip(*EDGE_INDEX.tolist(), EDGE_TYPE.tolist(), strict=True))


def test_parallel_edges_of_an_uncoalesced_adjacency_stay_apart() -> None:
    twice = torch.sparse_coo_tensor(
        torch.tensor([[1, 1], [0, 0]]), torch.tensor([2, 3]), (2, 2), check_invariants=True
    )
    assert plain_edges(twice, None)[1].tolist() == [2, 3]


def test_an_edge_index_and_a_sparse_tensor_are_read_as_edges() -> None:
    edge_index = EdgeIndex(EDGE_INDEX, sparse_size=(3, 3))
    plain, kinds = plain_edges(edge_index, EDGE_TYPE)
    assert type(plain) is Tensor
    assert torch.equal(plain, EDGE_INDEX)
    assert kinds is EDGE_TYPE
    torch_sparse = pytest.importorskip("torch_sparse")
    row, column = EDGE_INDEX[1], EDGE_INDEX[0]
    adjacency = torch_sparse.SparseTensor(row=row, col=column, value=EDGE_TYPE, sparse_sizes=(3, 3))
    found, kinds = plain_edges(adjacency, None)
    assert sorted(zip(*found.tolist(), kinds.tolist(), strict=True)) == sorted(
        zip(*EDGE_INDEX.tolist(), EDGE_TYPE.tolist(), strict=True)
    )


def test_edges_without_types_are_refused() -> None:
    with pytest.raises(ValueError, match="edges need types: pass edge_type"):
        plain_edges(EDGE_INDEX, None)
