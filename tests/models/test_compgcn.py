"""CompGCN layers against loops over edges."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors, KnowledgeGraph
from pyg_kgtransfer.models.compgcn import (
    OPERATORS,
    CompGCN,
    CompGCNConv,
    circular_correlation,
    directional_plan,
)
from pyg_kgtransfer.models.decoders import ComplEx, RotatE
from pyg_kgtransfer.models.encoder import LayerOptions
from pyg_kgtransfer.models.inputs import Lookup
from tests import reference


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Tensor, Tensor, int]:
    """Edges of either direction, without care that each has its inverse."""
    num_rows = draw(st.integers(0, 4))
    node = st.integers(0, max(num_rows - 1, 0))
    edges = draw(st.lists(st.tuples(node, node, st.integers(0, 3)), max_size=10 if num_rows else 0))
    table = torch.tensor(edges, dtype=torch.long).view(-1, 3).t()
    return table[:2], table[2], num_rows


def layer(op: str, in_width: int = 5) -> CompGCNConv:
    torch.manual_seed(0)
    conv = CompGCNConv(in_width, 3, 2, op=op).double()
    for parameter in (conv.bias, conv.loop):
        torch.nn.init.normal_(parameter)
    return conv


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("width", [1, 4, 5])
@given(graph=graphs())
@settings(max_examples=10, deadline=None)
def test_layer_is_the_sum_over_edges(
    op: str, width: int, graph: tuple[Tensor, Tensor, int]
) -> None:
    edge_index, edge_type, num_rows = graph
    conv = layer(op, width)
    x, z = torch.randn(num_rows, width).double(), torch.randn(4, width).double()
    expected = reference.compgcn(conv, x, z, edge_index, edge_type)
    torch.testing.assert_close(conv(x, z, edge_index, edge_type), expected)


@pytest.mark.parametrize("op", OPERATORS)
def test_gradients_are_those_of_the_loops(op: str) -> None:
    edge_index = torch.tensor([[0, 1, 1, 2, 0, 1], [1, 1, 1, 0, 2, 0]])
    edge_type = torch.tensor([0, 0, 0, 2, 0, 3])  # a self-loop twice, type 1 unseen
    grads = []
    for forward in (lambda c, *a: c(*a), reference.compgcn):
        conv = layer(op)
        x = torch.linspace(-1, 1, 15, dtype=torch.float64).view(3, 5).requires_grad_()
        z = torch.linspace(-2, 1, 20, dtype=torch.float64).view(4, 5).requires_grad_()
        out = forward(conv, x, z, edge_index, edge_type)
        sum(part.square().sum() for part in out).backward()
        grads.append([x.grad, z.grad, *(parameter.grad for parameter in conv.parameters())])
    torch.testing.assert_close(grads[0], grads[1])


def test_a_source_without_incoming_edges_is_heard() -> None:
    conv = layer("sub")
    edge_index, edge_type = torch.tensor([[0], [1]]), torch.tensor([0])
    x, z = torch.zeros(2, 5).double(), torch.zeros(4, 5).double()
    quiet, _ = conv(x, z, edge_index, edge_type)
    x[0] = 1.0
    assert not torch.allclose(conv(x, z, edge_index, edge_type)[0][1], quiet[1])


def test_circular_correlation_is_its_definition() -> None:
    for width in (1, 4, 7):
        x, z = torch.randn(2, width).double(), torch.randn(2, width).double()
        expected = torch.stack([reference.compose("corr", *row) for row in zip(x, z, strict=True)])
        torch.testing.assert_close(circular_correlation(x, z), expected)


def test_half_width_floats_are_correlated_wide() -> None:
    x = torch.randn(2, 6, dtype=torch.bfloat16)
    expected = circular_correlation(x.float(), x.float())
    torch.testing.assert_close(circular_correlation(x, x), expected)


def test_an_unknown_operator_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sub, mult, corr \(got 'add'\)"):
        CompGCNConv(4, 4, 2, op="add")


def test_relation_vectors_are_counted() -> None:
    with pytest.raises(ValueError, match=r"need 4 relation vectors \(got 3\)"):
        layer("sub")(torch.ones(2, 5), torch.ones(3, 5), torch.tensor([[0], [1]]), torch.ones(1))


def test_a_sparse_adjacency_of_types_serves_as_edges() -> None:
    conv, x, z = layer("sub"), torch.randn(3, 5).double(), torch.randn(4, 5).double()
    edge_index, edge_type = torch.tensor([[0, 1, 2], [1, 2, 0]]), torch.tensor([0, 2, 3])
    adjacency = torch.sparse_coo_tensor(
        edge_index.flip(0), edge_type, (3, 3), check_invariants=True
    )
    torch.testing.assert_close(conv(x, z, adjacency), conv(x, z, edge_index, edge_type))


def test_ids_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="target rows"):
        directional_plan(torch.tensor([[0], [2]]), torch.tensor([0]), 2, 4)


def graph() -> GraphTensors:
    facts = [("a", "r", "b"), ("b", "r", "c"), ("a", "s", "c")]
    return KnowledgeGraph.from_names(facts).tensors()


def test_a_node_collects_its_outgoing_facts_with_their_own_relation() -> None:
    torch.manual_seed(0)
    encoder = CompGCN(Lookup(3, 4), 2, op="mult")
    turned = graph().edge_index.flip(0)  # v -r-> u sends u's vector, with z_r, to v
    x, z = encoder.layers[0](encoder.inputs.weight, encoder.relation, turned, graph().edge_type)
    out = encoder(graph())
    # W_dir of either direction is a free matrix: exchanged, they give the same layer
    with torch.no_grad():
        encoder.layers[0].weight[:2] = encoder.layers[0].weight[:2].flip(0)
    exchanged = encoder(graph())
    torch.testing.assert_close(exchanged.entity, torch.tanh(x))
    torch.testing.assert_close(out.relation, z)


def test_encoder_stacks_layers_with_gated_residuals() -> None:
    torch.manual_seed(0)
    options = LayerOptions(num_layers=2, residual=True, jump=True, gate=0.5)
    encoder = CompGCN(Lookup(3, 4), 2, options=options)
    x, z = encoder.inputs.weight, encoder.relation.roll(2, 0)
    hidden = []
    for conv in encoder.layers:
        result, relations = conv(x, z, graph().edge_index, graph().edge_type)
        x, z = x + 0.5 * torch.tanh(result), z + 0.5 * relations
        hidden.append(x)
    out = encoder(graph())
    torch.testing.assert_close(out.hidden, tuple(hidden))
    torch.testing.assert_close(out.entity, encoder.inputs.weight + 0.5 * x)
    torch.testing.assert_close(out.relation, z.roll(2, 0))


def test_with_gates_of_zero_it_is_the_shallow_encoder() -> None:
    encoder = CompGCN(Lookup(3, 4), 2, options=LayerOptions(residual=True, gate=0.0))
    out = encoder(graph())
    torch.testing.assert_close(out.entity, encoder.inputs.weight)
    torch.testing.assert_close(out.relation, encoder.relation)


def test_projected_relations_start_at_the_decoders_size() -> None:
    torch.manual_seed(0)
    encoder = CompGCN(
        Lookup(3, 64), 100, relation_width=32, options=LayerOptions(residual=True, gate=0.0)
    )
    encoder.initialise(RotatE())
    phases = encoder(graph()._replace(num_relations=100)).relation
    assert phases.shape == (200, 32)
    assert phases.std().item() == pytest.approx(torch.pi / 3**0.5, rel=0.2)


def test_initialise_gives_the_decoder_its_relations() -> None:
    encoder = CompGCN(Lookup(3, 4), 50)
    with torch.no_grad():
        encoder.relation.fill_(9.0)
    encoder.initialise(ComplEx())
    assert encoder.relation.abs().max() < 2.0
