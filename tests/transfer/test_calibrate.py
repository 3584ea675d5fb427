"""What scores are worth: probabilities that hold on other facts."""

from pathlib import Path

import pytest
import torch

import pyg_kgtransfer as kgt
from pyg_kgtransfer.transfer.calibrate import (
    NoCorruptionError,
    beside_corruptions,
    calibrate,
    corrupted,
    errors,
    scorer_of,
)


@pytest.fixture(scope="module")
def split() -> kgt.Split:
    facts = [(f"c{i}", "in", f"l{i % 5}") for i in range(60)]
    facts += [(f"c{i}", "near", f"c{(i + k) % 60}") for i in range(60) for k in (5, 10)]
    return kgt.random_split(kgt.KnowledgeGraph.from_names(facts, name="world"), 0.2, 0.2)


@pytest.fixture(scope="module")
def checkpoint(split: kgt.Split) -> kgt.Checkpoint:
    training = kgt.TrainConfig(epochs=40, learning_rate=0.05, progress=False, accelerator="cpu")
    model = kgt.ModelConfig(encoder="shallow", decoder="transe_l2", width=16, reciprocal=False)
    objective = kgt.ObjectiveConfig("softplus", num_negatives=8)
    recipe = kgt.Recipe(model, objective, kgt.BatchOptions(batch_size=32), training)
    return kgt.pretrain(kgt.link([split.train], []), recipe=recipe)


@pytest.mark.parametrize("method", ["platt", "isotonic", "relation"])
def test_errors_fall(method: str, split: kgt.Split, checkpoint: kgt.Checkpoint) -> None:
    found = calibrate(checkpoint, split, method=method)
    assert found.metrics["ece"] < 0.7 * found.metrics["raw.ece"]
    assert found.metrics["brier"] < found.metrics["raw.brier"]
    rising = found.calibration.probability(torch.linspace(-20, 5, 50))
    assert (rising.diff() >= 0).all()
    for bins, error in ((found.reliability, "ece"), (found.raw_reliability, "raw.ece")):
        assert sum(each["count"] for each in bins) == 2 * len(split.test)
        gap = sum(each["count"] * abs(each["probability"] - each["true"]) for each in bins)
        assert gap / (2 * len(split.test)) == pytest.approx(found.metrics[error], abs=1e-5)
    assert found.learned_from == {
        "method": method, "graph": "world", "facts": len(split.valid), "corruptions": 1
    }  # fmt: skip


def test_a_checkpoint_keeps_what_was_found(
    split: kgt.Split, checkpoint: kgt.Checkpoint, tmp_path: Path
) -> None:
    found = calibrate(checkpoint, split, method="relation", corruptions=2)
    kept = found.kept_in(checkpoint)
    assert checkpoint.calibration is None
    assert "calibration" not in checkpoint.metrics
    back = kgt.Checkpoint.load(kept.save(tmp_path / "kept"))
    assert back.id == kept.id == checkpoint.id
    assert back.metrics["calibration"]["corruptions"] == 2
    assert back.metrics["calibration"]["ece"] == found.metrics["ece"]
    facts = split.train.with_triples(split.test.triples).named_triples()
    assert kgt.Predictor(back).predict_proba(facts) == kgt.Predictor(kept).predict_proba(facts)


def test_relations_are_those_of_the_model(split: kgt.Split) -> None:
    """In a joint graph the target's relations have other ids."""
    other = kgt.KnowledgeGraph.from_names([("a", "before", "b"), ("b", "by", "a")], name="first")
    training = kgt.TrainConfig(epochs=2, progress=False, accelerator="cpu")
    recipe = kgt.Recipe(kgt.ModelConfig(encoder="shallow", width=8), training=training)
    joint = kgt.pretrain(kgt.link([other, split.train], []), recipe=recipe)
    found = calibrate(joint, split, method="relation").calibration
    assert joint.graph.relations.names == ("before", "by", "in", "near")
    assert found.slopes[:2].tolist() == [found.pooled.slope] * 2
    assert (found.slopes[2:] != found.pooled.slope).all()


def test_without_test_facts_there_is_nothing_to_judge(
    split: kgt.Split, checkpoint: kgt.Checkpoint
) -> None:
    found = calibrate(
        checkpoint, kgt.Split(split.train, split.valid, kgt.HeldOut(split.test.triples[:0], "test"))
    )
    assert (found.metrics, found.reliability, found.raw_reliability) == ({}, [], [])


def test_shares_follow_the_corruptions(split: kgt.Split, checkpoint: kgt.Checkpoint) -> None:
    found = calibrate(checkpoint, split, corruptions=9)
    count = sum(each["count"] for each in found.reliability)
    mean = sum(each["count"] * each["probability"] for each in found.reliability) / count
    assert mean == pytest.approx(0.1, abs=0.03)


def test_odds_turn_one_share_into_another(split: kgt.Split, checkpoint: kgt.Checkpoint) -> None:
    """As ``predict_proba`` says: learned at 1 false to 1 true, read at 9."""
    at_one = calibrate(checkpoint, split).calibration
    generator = torch.Generator().manual_seed(1)
    many = scorer_of(checkpoint, split)(
        beside_corruptions(split, split.test, 9, generator=generator)
    )
    probability = at_one.probability(many.scores)
    read = probability / (probability + (1 - probability) * 9 / 1)
    assert errors(read, many.is_true)["ece"] < 0.4 * errors(probability, many.is_true)["ece"]
    assert read.mean().item() == pytest.approx(0.1, abs=0.03)


def test_corruptions_are_false_and_change_one_end(split: kgt.Split) -> None:
    known = split.known(("train", "valid", "test"))
    wrong = corrupted(split.test.triples, known, 3, generator=torch.Generator().manual_seed(0))
    assert len(wrong) == 3 * len(split.test)
    assert not known.contains(wrong).any()
    changed = wrong != split.test.triples.repeat(3, 1)
    assert (changed.sum(1) == 1).all()
    assert not changed[:, 1].any()
    people = torch.tensor(
        [[0, 0, 2], [1, 0, 2], [2, 0, 2]]
    )  # all are of a kind: tails alone change
    kinds = kgt.KnownTriples([people], num_entities=3, num_relations=1)
    assert (corrupted(people, kinds, 1, generator=torch.Generator())[:, 2] != 2).all()
    full = torch.cartesian_prod(*[torch.arange(2)] * 3)[:, [0, 1, 2]]
    every = kgt.KnownTriples([full], num_entities=2, num_relations=2)
    with pytest.raises(NoCorruptionError, match="nearly every corruption"):
        corrupted(full, every, 1, generator=torch.Generator())


def test_bad_options_are_named(split: kgt.Split, checkpoint: kgt.Checkpoint) -> None:
    with pytest.raises(ValueError, match="platt, isotonic, relation"):
        calibrate(checkpoint, split, method="none")
    with pytest.raises(ValueError, match="corruptions"):
        calibrate(checkpoint, split, corruptions=0)
    with pytest.raises(ValueError, match="needs validation facts"):
        calibrate(checkpoint, kgt.random_split(split.train, 0.0, 0.2))
