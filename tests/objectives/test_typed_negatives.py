"""Negatives of the answer's type: all of them, evenly, and the loss of plain sampling else."""

import pytest
import torch

import pyg_kgtransfer as kgt
from pyg_kgtransfer.functional import losses
from pyg_kgtransfer.objectives.typed_negatives import TypedNegatives

TYPES = torch.tensor([1, 0, 1, 2, 0, 1])


def test_each_entity_of_the_type_is_drawn_alike_and_no_other() -> None:
    objective = TypedNegatives(losses.softplus_loss, 3000, TYPES)
    drawn = objective.drawn(torch.tensor([5, 1, 3]), torch.Generator().manual_seed(0))
    for row, members in zip(drawn, ([0, 2, 5], [1, 4], [3]), strict=True):
        ids, counts = row.unique(return_counts=True)
        assert ids.tolist() == members
        assert (counts - 3000 / len(members)).abs().max() < 150


def test_the_loss_is_that_of_the_scores() -> None:
    torch.manual_seed(0)
    config = kgt.ModelConfig(encoder="shallow", decoder="complex", width=8, reciprocal=False)
    model = kgt.build_model(config, num_entities=6, num_relations=1)
    graph = kgt.KnowledgeGraph.from_names([(f"{i}", "r", f"{i + 1}") for i in range(5)])
    vectors = model.encode(graph.tensors())
    objective = TypedNegatives(losses.softplus_loss, 4, TYPES)
    batch = kgt.Batch(graph.triples, torch.Generator().manual_seed(7))
    found = objective(model, vectors, batch)
    again = torch.Generator().manual_seed(7)
    head, relation, tail = graph.triples.unbind(1)
    tails = objective.drawn(tail, again)
    heads = objective.drawn(head, again)
    true = model.score(vectors, graph.triples)
    wanted = losses.softplus_loss(true, model.score_tails(vectors, head, relation, tails))
    wanted = wanted + losses.softplus_loss(true, model.score_heads(vectors, relation, tail, heads))
    torch.testing.assert_close(found, 0.5 * wanted)
    found.backward()
    assert model.encoder.inputs.weight.grad.abs().sum() > 0


def test_what_is_missing_is_told() -> None:
    with pytest.raises(ValueError, match=r"at least one of them, .* \(got 0 and \(6,\)\)"):
        TypedNegatives(losses.softplus_loss, 0, TYPES)
    with pytest.raises(ValueError, match=r"a type for each entity \(got 3 and \(0,\)\)"):
        TypedNegatives(losses.softplus_loss, 3, TYPES[:0])
