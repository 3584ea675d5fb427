"""Which numbers matter to facts that were learned: fact by fact, and nothing is left changed."""

from dataclasses import replace

import pytest
import torch

import pyg_kgtransfer as kgt
from pyg_kgtransfer.objectives.link_prediction import OneVsAll
from pyg_kgtransfer.objectives.objective import Batch
from pyg_kgtransfer.transfer.importance import fact_importance


@pytest.mark.parametrize("encoder", ["shallow", "compgcn"])
def test_it_is_the_mean_squared_gradient_of_single_facts(linked, make_recipe, encoder) -> None:
    recipe = make_recipe(encoder, width=8, epochs=3, n3=0.5)
    checkpoint = kgt.pretrain(linked, recipe=recipe)
    facts = checkpoint.graph.triples[:12]
    few = replace(checkpoint, graph=checkpoint.graph.with_triples(facts))
    found = fact_importance(few, recipe, sample_size=100)
    expected = {name: torch.zeros_like(v) for name, v in checkpoint.model.named_parameters()}
    for fact in facts.split(1):
        read = checkpoint.model.encode(few.graph.tensors())
        checkpoint.model.zero_grad(set_to_none=True)
        OneVsAll()(checkpoint.model, read, Batch(fact, torch.Generator())).backward()
        for name, value in checkpoint.model.named_parameters():
            if value.grad is not None:
                expected[name] += value.grad.square() / len(facts)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-9)
        assert not found[name].requires_grad


def test_a_sample_is_drawn_from_the_seed_and_the_model_is_left_as_it_was(
    teacher, make_recipe, state_of
) -> None:
    before = state_of(teacher.model)
    found = [
        fact_importance(teacher, make_recipe(seed=seed), sample_size=5)["encoder.relation"]
        for seed in (0, 0, 1)
    ]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert all(torch.equal(before[name], value) for name, value in state_of(teacher.model).items())
    assert all(parameter.grad is None for parameter in teacher.model.parameters())
    assert not teacher.model.training
    assert int(found[0].any(1).sum()) <= 2 * 5  # relations of five facts, and their inverses


def test_a_foundation_model_has_importances_too() -> None:
    facts = [(f"{i}", "next", f"{i + 1}") for i in range(8)]
    graph = kgt.KnowledgeGraph.from_names(facts, name="line")
    checkpoint = kgt.zero_shot(kgt.FoundationModel(width=4, layers=1), graph)
    found = fact_importance(checkpoint, sample_size=3)
    assert any(bool(value.any()) for value in found.values())


def test_what_has_no_importances_is_named(teacher) -> None:
    with pytest.raises(ValueError, match="checkpoint with a model config"):
        fact_importance(replace(teacher, config=None))
    with pytest.raises(ValueError, match=r"sample_size must be at least 1 \(got 0\)"):
        fact_importance(teacher, sample_size=0)
    empty = replace(teacher, graph=teacher.graph.with_triples(teacher.graph.triples[:0]))
    with pytest.raises(ValueError, match=r"needs? a fact of the checkpoint's graph \(got none\)"):
        fact_importance(empty)
