"""A foundation model among all others: ranked, asked, kept, trained, moved."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import pyg_kgtransfer as kgt


def split_of(name: str, prefix: str = "t") -> kgt.Split:
    """A ring, both ways; held out are ways back whose way there is known."""
    ends = [(f"{prefix}{i}", f"{prefix}{(i + 1) % 12}") for i in range(12)]
    facts = [(a, "next", b) for a, b in ends] + [(b, "before", a) for a, b in ends]
    whole = kgt.KnowledgeGraph.from_names(facts, name=name)
    train, valid, test = whole.triples.split([18, 2, 4])
    return kgt.Split(
        whole.with_triples(train), kgt.HeldOut(valid, "valid"), kgt.HeldOut(test, "test")
    )


def recipe(epochs: int = 1, encoder: str = "foundation") -> kgt.Recipe:
    return kgt.Recipe(
        kgt.ModelConfig(encoder=encoder, width=8, layers=2),
        kgt.ObjectiveConfig("self_adversarial", num_negatives=8, margin=0.0),
        kgt.BatchOptions(batch_size=4),
        kgt.TrainConfig(
            epochs=epochs, learning_rate=1e-2, leave_out_batch=True, progress=False,
            accelerator="cpu",
        ),
    )  # fmt: skip


@pytest.fixture
def model() -> kgt.FoundationModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kgt.FoundationModel(width=8, layers=2)


def test_ranked_asked_and_kept(model: kgt.FoundationModel, tmp_path: Path) -> None:
    split = split_of("ring")
    checkpoint = kgt.zero_shot(model, split.train)
    ranks = kgt.evaluate(checkpoint, split).ranks
    checkpoint.save(tmp_path / "kept")
    again = kgt.Checkpoint.load(tmp_path / "kept")
    assert torch.equal(kgt.evaluate(again, split).ranks, ranks)
    assert len(kgt.Predictor(again).relations("t0", "t1")) == 2
    moved = kgt.zero_shot(tmp_path / "kept", split_of("other", "u").train)
    assert moved.model.state_dict().keys() == model.state_dict().keys()


def test_trained_on_one_graph_it_serves_another(model: kgt.FoundationModel) -> None:
    """Successor and predecessor on a ring of names never seen: learned rules carry over."""
    learned = kgt.pretrain(
        kgt.link([split_of("ring").train], []), [split_of("ring")], recipe=recipe(epochs=30)
    )
    other = split_of("other", "u")
    untrained = kgt.zero_shot(model, other.train)
    moved = kgt.zero_shot(learned.model, other.train)
    before, after = (kgt.evaluate(each, other).metrics()["mrr"] for each in (untrained, moved))
    assert after > 0.7
    assert after > before + 0.1


def test_it_is_fine_tuned_on_a_graph_of_other_names(model: kgt.FoundationModel) -> None:
    checkpoint = kgt.zero_shot(model, split_of("ring").train)
    moved = kgt.finetune(checkpoint, split_of("other", "u"), recipe=recipe())
    assert moved.provenance["parent"] == checkpoint.id
    assert moved.graph.entities == split_of("other", "u").train.entities
    key = "entity_model.mlp.0.weight"
    assert not torch.equal(moved.model.state_dict()[key], model.state_dict()[key])


def test_what_needs_vectors_says_so(model: kgt.FoundationModel) -> None:
    split = split_of("ring")
    loss = kgt.ObjectiveConfig("self_adversarial", num_negatives=8, n3=0.1)
    bad, linked = replace(recipe(), objective=loss), kgt.link([split.train], [])
    with pytest.raises(ValueError, match="N3 needs a model with a vector"):
        kgt.pretrain(linked, recipe=bad)
    with pytest.raises(ValueError, match="a teacher needs a model with a vector"):
        kgt.distill(kgt.zero_shot(model, split.train), split, recipe=recipe(encoder="compgcn"))


def test_bad_graphs_and_models_are_named(model: kgt.FoundationModel, tmp_path: Path) -> None:
    split = split_of("ring")
    none = split.train.with_triples(split.train.triples[:0])
    with pytest.raises(ValueError, match="'ring' has none"):
        kgt.zero_shot(model, none)
    teacher = kgt.pretrain(kgt.link([split.train], []), recipe=recipe(encoder="shallow"))
    with pytest.raises(ValueError, match="must hold a foundation model"):
        kgt.zero_shot(teacher.save(tmp_path / "teacher"), split.train)
