"""The model: encode once, score many; encoders and decoders of a user's own."""

import pytest
import torch
from torch import Tensor, nn

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors, KnowledgeGraph
from pyg_kgtransfer.models.build import ModelConfig, build_model
from pyg_kgtransfer.models.decoders import ComplEx, Decoder, DistMult
from pyg_kgtransfer.models.encoder import Encoder, Representations
from pyg_kgtransfer.models.foundation import FoundationModel
from pyg_kgtransfer.models.inputs import Lookup, Shallow
from pyg_kgtransfer.models.kg_model import KGModel, with_layers
from tests import laws


class NeighbourMean(Encoder):
    """An encoder in ten lines."""

    def __init__(self, num_entities: int, num_relations: int, width: int) -> None:
        super().__init__()
        self.width, self.num_layers = width, 1
        self.entity = nn.Parameter(torch.randn(num_entities, width))
        self.relation = nn.Parameter(torch.randn(2 * num_relations, width))

    def forward(self, graph: GraphTensors) -> Representations:
        x = self.entity[graph.entity]
        mean = torch.zeros_like(x).index_add(0, graph.edge_index[1], x[graph.edge_index[0]])
        return Representations(x + mean, self.relation, (x + mean,))


class SquaredTransE(Decoder):
    """A decoder in ten lines."""

    def tail_query(self, head: Tensor, relation: Tensor) -> Tensor:
        return head + relation

    def head_query(self, relation: Tensor, tail: Tensor) -> Tensor:
        return tail - relation

    def compare(self, query: Tensor, candidates: Tensor) -> Tensor:
        own = candidates if candidates.dim() == 3 else candidates.unsqueeze(0)
        return -(query.unsqueeze(1) - own).square().sum(-1)


def graph() -> GraphTensors:
    """Eight facts that a vector space can tell from all others."""
    facts = [(f"e{i}", "next", f"e{i + 1}") for i in range(5)]
    facts += [(f"e{i}", "second", f"e{i + 2}") for i in range(3)]
    return KnowledgeGraph.from_names(facts).tensors()


@pytest.mark.parametrize("reciprocal", [False, True])
def test_an_encoder_and_a_decoder_of_a_users_own_plug_in(reciprocal: bool) -> None:
    torch.manual_seed(0)
    model = KGModel(NeighbourMean(6, 2, 8), SquaredTransE(), reciprocal=reciprocal)
    laws.shapes_are_as_promised(model, graph())
    laws.edge_order_does_not_matter(model, graph())
    laws.row_order_does_not_matter(model, graph())
    laws.scores_agree_in_every_form(model, graph())
    fresh = KGModel(NeighbourMean(6, 2, 8), SquaredTransE(), reciprocal=reciprocal)
    laws.saved_and_loaded_is_the_same(model, fresh, graph())


@pytest.mark.parametrize("encoder", ["own", "shallow", "rgcn", "compgcn"])
def test_models_learn_the_facts_they_are_shown(encoder: str) -> None:
    torch.manual_seed(0)
    if encoder == "own":
        model = KGModel(NeighbourMean(6, 2, 8), SquaredTransE())
    else:
        config = ModelConfig(encoder=encoder, width=16)
        model = build_model(config, num_entities=6, num_relations=2)
    facts = graph()
    real = facts.edge_type < 2
    head, tail = facts.edge_index[:, real]
    relation = facts.edge_type[real]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        scores = model.score_tails(model.encode(facts), head, relation)
        nn.functional.cross_entropy(scores, tail).backward()
        optimizer.step()
    with torch.no_grad():
        scores = model.score_tails(model.encode(facts), head, relation)
    assert torch.equal(scores.argmax(1), tail)


def test_a_reciprocal_model_asks_the_inverse_relation_for_heads() -> None:
    model = KGModel(Shallow(Lookup(6, 8), 4), ComplEx(), reciprocal=True)
    out = model.encode(graph())
    relation, tail = torch.tensor([0, 1]), torch.tensor([2, 5])
    expected = model.score_tails(out, tail, relation + 2)
    torch.testing.assert_close(model.score_heads(out, relation, tail), expected)


def test_too_few_relation_vectors_are_refused() -> None:
    one_way = Shallow(Lookup(6, 8), 2)
    KGModel(one_way, ComplEx()).encode(graph())
    with pytest.raises(ValueError, match=r"reciprocal model of 2 relations needs 4 .*\(got 2\)"):
        KGModel(one_way, ComplEx(), reciprocal=True).encode(graph())
    with pytest.raises(ValueError, match=r"needs 2 relation vectors .*\(got 1\)"):
        KGModel(Shallow(Lookup(6, 8), 1), ComplEx()).encode(graph())


def test_a_decoder_refuses_a_width_it_cannot_use() -> None:
    with pytest.raises(ValueError, match=r"must be even \(got 7\)"):
        KGModel(Shallow(Lookup(6, 7), 2), ComplEx())


def test_trained_parameters_are_counted() -> None:
    model = KGModel(Shallow(Lookup(6, 8), 2), DistMult())
    assert model.num_trained_parameters() == 6 * 8 + 2 * 8
    model.encoder.inputs.weight.requires_grad_(False)
    assert model.num_trained_parameters() == 2 * 8


def test_what_needs_edges_asks_for_an_encoder_that_reads_them() -> None:
    deep = KGModel(NeighbourMean(6, 2, 8), DistMult())
    assert with_layers(deep, "dropping edges") is deep
    with pytest.raises(ValueError, match=r"dropping edges needs .*got a Shallow, which"):
        with_layers(KGModel(Shallow(Lookup(6, 8), 2), DistMult()), "dropping edges")
    with pytest.raises(ValueError, match="dropping edges needs a model with a vector for each"):
        with_layers(FoundationModel(4, 1), "dropping edges")
