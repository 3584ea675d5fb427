"""What scores are worth: probabilities that hold on other facts."""

import pytest
import torch

import pyg_kgtransfer as kgt
from pyg_kgtransfer.transfer.calibrate import NoCorruptionError, calibrate, corrupted


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


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_errors_fall(method: str, split: kgt.Split, checkpoint: kgt.Checkpoint) -> None:
    found = calibrate(checkpoint, split, method=method)
    assert found.metrics["ece"] < 0.7 * found.metrics["raw.ece"]
    assert found.metrics["brier"] < found.metrics["raw.brier"]
    rising = found.calibration.probability(torch.linspace(-20, 5, 50))
    assert (rising.diff() >= 0).all()
    assert sum(each["count"] for each in found.reliability) == 2 * len(split.test)


def test_shares_follow_the_corruptions(split: kgt.Split, checkpoint: kgt.Checkpoint) -> None:
    found = calibrate(checkpoint, split, corruptions=9)
    count = sum(each["count"] for each in found.reliability)
    mean = sum(each["count"] * each["probability"] for each in found.reliability) / count
    assert mean == pytest.approx(0.1, abs=0.03)


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
    with pytest.raises(ValueError, match="platt, isotonic"):
        calibrate(checkpoint, split, method="none")
    with pytest.raises(ValueError, match="corruptions"):
        calibrate(checkpoint, split, corruptions=0)
    with pytest.raises(ValueError, match="needs validation facts"):
        calibrate(checkpoint, kgt.random_split(split.train, 0.0, 0.2))
