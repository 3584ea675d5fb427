"""R-GCN layers against loops over nodes and relations."""

import copy

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors
from pyg_kgtransfer.models.decoders import DistMult, RotatE
from pyg_kgtransfer.models.encoder import LayerOptions
from pyg_kgtransfer.models.inputs import Lookup
from pyg_kgtransfer.models.rgcn import RGCN, RGCNConv
from tests import reference

KINDS = {"full": {}, "bases": {"num_bases": 2}, "blocks": {"num_blocks": 2}}


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Tensor, Tensor, int]:
    num_rows = draw(st.integers(0, 4))
    node = st.integers(0, max(num_rows - 1, 0))
    edges = draw(st.lists(st.tuples(node, node, st.integers(0, 2)), max_size=10 if num_rows else 0))
    table = torch.tensor(edges, dtype=torch.long).view(-1, 3).t()
    return table[:2], table[2], num_rows


def layer(kind: str, in_width: int = 4, out_width: int = 6) -> RGCNConv:
    torch.manual_seed(0)
    conv = RGCNConv(in_width, out_width, 3, **KINDS[kind]).double()
    torch.nn.init.normal_(conv.bias)
    return conv


@pytest.mark.parametrize("kind", KINDS)
@given(graph=graphs())
@settings(max_examples=20, deadline=None)
def test_layer_is_the_sum_of_means(kind: str, graph: tuple[Tensor, Tensor, int]) -> None:
    edge_index, edge_type, num_rows = graph
    conv = layer(kind)
    x = torch.randn(num_rows, 4, dtype=torch.float64)
    expected = reference.rgcn(conv, x, edge_index, edge_type)
    torch.testing.assert_close(conv(x, edge_index, edge_type), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_the_loops(kind: str) -> None:
    edge_index = torch.tensor([[0, 1, 1, 2, 2, 0], [1, 1, 1, 0, 0, 2]])
    edge_type = torch.tensor([0, 0, 0, 2, 2, 0])  # a self-loop twice, relation 1 unseen
    grads = []
    for forward in (lambda c, *a: c(*a), reference.rgcn):
        conv = layer(kind)
        x = torch.linspace(-1, 1, 12, dtype=torch.float64).view(3, 4).requires_grad_()
        forward(conv, x, edge_index, edge_type).square().sum().backward()
        grads.append([x.grad, *(parameter.grad for parameter in conv.parameters())])
    torch.testing.assert_close(grads[0], grads[1])


def test_mean_is_exact_and_per_relation() -> None:
    conv = RGCNConv(1, 1, 2)
    with torch.no_grad():
        conv.weight.fill_(1.0)
        conv.self_weight.zero_()
    x = torch.tensor([[1.0], [2.0], [6.0], [0.0]])
    edge_index = torch.tensor([[0, 1, 2], [3, 3, 3]])
    out = conv(x, edge_index, torch.tensor([0, 0, 1]))
    assert out[3].item() == pytest.approx((1 + 2) / 2 + 6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_bases": 2, "num_blocks": 2}, "not both"),
        ({"num_bases": 0}, "num_bases must be at least 1"),
        ({"num_blocks": 3}, "must divide"),
    ],
)
def test_savings_that_cannot_be_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RGCNConv(4, 6, 3, **options)


def test_a_sparse_adjacency_of_types_serves_as_edges() -> None:
    conv, x = layer("bases"), torch.randn(3, 4).double()
    edge_index, edge_type = torch.tensor([[0, 1, 2], [1, 2, 0]]), torch.tensor([0, 2, 1])
    adjacency = torch.sparse_coo_tensor(
        edge_index.flip(0), edge_type, (3, 3), check_invariants=True
    )
    torch.testing.assert_close(conv(x, adjacency), conv(x, edge_index, edge_type))


def test_edge_types_that_the_layer_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"edge types must be in \[0, 3\) \(got 3"):
        layer("full")(torch.ones(2, 4).double(), torch.tensor([[0], [1]]), torch.tensor([3]))


def graph() -> GraphTensors:
    edge_index = torch.tensor([[0, 1, 1, 2], [1, 2, 0, 1]])
    return GraphTensors(torch.arange(3), edge_index, torch.tensor([0, 0, 1, 1]), 1)


def test_encoder_stacks_layers_with_gated_residuals() -> None:
    torch.manual_seed(0)
    options = LayerOptions(num_layers=2, activation=torch.relu, residual=True, gate=0.5)
    encoder = RGCN(Lookup(3, 4), 1, options=options)
    x = encoder.inputs.weight
    edges = graph().edge_index, graph().edge_type
    first = x + 0.5 * torch.relu(encoder.layers[0](x, *edges))
    second = first + 0.5 * torch.relu(encoder.layers[1](first, *edges))
    out = encoder(graph())
    torch.testing.assert_close(out.hidden, (first, second))
    torch.testing.assert_close(out.entity, second)
    assert torch.equal(out.relation, encoder.relation)


def test_with_a_gate_of_zero_the_jump_gives_the_inputs() -> None:
    encoder = RGCN(Lookup(3, 4), 1, options=LayerOptions(jump=True, gate=0.0))
    out = encoder(graph())
    torch.testing.assert_close(out.entity, encoder.inputs.weight)
    assert not torch.equal(out.hidden[0], out.entity)


def test_a_graph_without_edges_leaves_the_self_loop() -> None:
    encoder = RGCN(Lookup(3, 4), 1, options=LayerOptions())
    none = torch.empty(2, 0, dtype=torch.long)
    out = encoder(GraphTensors(torch.arange(3), none, none[0], 1))
    expected = torch.tanh(encoder.inputs.weight @ encoder.layers[0].self_weight)
    torch.testing.assert_close(out.entity, expected)


def test_a_subgraph_reads_the_rows_of_its_entities() -> None:
    encoder = RGCN(Lookup(9, 4), 1)
    whole = encoder(graph()._replace(entity=torch.tensor([7, 2, 5]))).entity
    with torch.no_grad():
        encoder.inputs.weight[8] += 1.0
    same = encoder(graph()._replace(entity=torch.tensor([7, 2, 5]))).entity
    assert torch.equal(same, whole)


def test_training_is_on_the_graph_that_is_given_now() -> None:
    encoder = RGCN(Lookup(3, 4), 1)
    fresh = copy.deepcopy(encoder)
    encoder(graph())
    less = graph().without(torch.tensor([[0, 0, 1]]))
    assert len(less.edge_type) == 2
    assert torch.equal(encoder(less).entity, fresh(less).entity)


def test_initialise_gives_the_decoder_its_relations() -> None:
    encoder = RGCN(Lookup(3, 4), 50, relation_width=2)
    encoder.initialise(RotatE())
    assert encoder.relation.shape == (100, 2)
    assert encoder.relation.abs().max() > 2.0  # phases up to pi
    encoder.initialise(DistMult())
    assert encoder.relation.abs().max() < 2.0
