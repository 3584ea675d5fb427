"""A loss on sampled neighbourhoods: with room for all neighbours it is the loss on the graph."""

import pytest
import torch

import pyg_kgtransfer as kgt
from pyg_kgtransfer.objectives.sampled import OnNeighbours


@pytest.fixture
def graph() -> kgt.KnowledgeGraph:
    facts = [(f"{i}", "next", f"{(i + 1) % 20}") for i in range(20)]
    facts += [(f"{i}", "over", f"{(i + 7) % 20}") for i in range(20)]
    return kgt.KnowledgeGraph.from_names(facts)


@pytest.mark.parametrize("encoder", ["rgcn", "compgcn"])
def test_with_room_for_all_it_is_the_loss_on_the_graph(
    graph: kgt.KnowledgeGraph, encoder: str
) -> None:
    torch.manual_seed(0)
    config = kgt.ModelConfig(encoder=encoder, width=8, layers=2)
    model = kgt.build_model(config, num_entities=20, num_relations=2).eval()
    batch = kgt.Batch(graph.triples[:6], torch.Generator().manual_seed(0))

    class Told(kgt.Objective):
        """The mean score of the facts."""

        def forward(self, model, representations, batch):
            assert len(representations.entity) < 20  # the entities of the step alone
            return model.score(representations, batch.triples).mean()

    objective = OnNeighbours(Told(), graph.tensors(), [99, 99], num_others=2)
    whole = model.encode(graph.tensors().without(batch.triples))
    wanted = model.score(whole, batch.triples).mean()
    torch.testing.assert_close(objective(model, None, batch), wanted)
    objective(model, None, batch).backward()
    assert model.encoder.inputs.weight.grad.abs().sum() > 0


def test_wrong_options_are_told(graph: kgt.KnowledgeGraph) -> None:
    loss = kgt.OneVsAll()
    with pytest.raises(ValueError, match="fan_out needs a number of at least 1"):
        OnNeighbours(loss, graph.tensors(), [])
    with pytest.raises(ValueError, match=r"num_others must be at least 0 \(got -1\)"):
        OnNeighbours(loss, graph.tensors(), [2], num_others=-1)
    model = kgt.build_model(kgt.ModelConfig(width=8), num_entities=20, num_relations=2)
    batch = kgt.Batch(graph.triples[:2], torch.Generator())
    with pytest.raises(ValueError, match=r"the encoder's 1 layers \(got \(2, 2\)\)"):
        OnNeighbours(loss, graph.tensors(), [2, 2])(model, None, batch)
