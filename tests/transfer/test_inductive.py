"""Entities that training has not met: encoded from facts and features, or refused in words."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import pyg_kgtransfer as kgt
from pyg_kgtransfer.models.calibration import Calibration, RelationCalibration

LANDS, CITIES, NEW = 5, 40, 10


def _facts(cities: range) -> list[tuple[str, str, str]]:
    """Cities of a land are near each other; each is in its land."""
    facts = [(f"c{i}", "in", f"l{i % LANDS}") for i in cities]
    return facts + [(f"c{i}", "near", f"c{i % LANDS}") for i in cities if i >= LANDS]


@pytest.fixture(scope="module")
def world() -> kgt.KnowledgeGraph:
    return kgt.KnowledgeGraph.from_names(_facts(range(CITIES)), name="world")


@pytest.fixture(scope="module")
def new() -> kgt.KnowledgeGraph:
    """New cities, of which it is said what they are near, not where they lie."""
    facts = [fact for fact in _facts(range(CITIES, CITIES + NEW)) if fact[1] == "near"]
    return kgt.KnowledgeGraph.from_names(facts, name="new")


def taught(
    world: kgt.KnowledgeGraph, features: torch.Tensor | None = None, **model
) -> kgt.Checkpoint:
    training = kgt.TrainConfig(
        epochs=60, learning_rate=0.02, leave_out_batch=True, progress=False, accelerator="cpu"
    )
    config = kgt.ModelConfig(decoder="distmult", width=16, **model)
    recipe = kgt.Recipe(config, batches=kgt.BatchOptions(batch_size=16), training=training)
    given = None if features is None else {"world": features}
    return kgt.pretrain(kgt.link([world], []), recipe=recipe, features=given)


def right(checkpoint: kgt.Checkpoint) -> float:
    """The share of new cities whose land is the first answer among lands."""
    predictor = kgt.Predictor(checkpoint)
    found = 0
    for number in range(CITIES, CITIES + NEW):
        answers = predictor.tails(f"c{number}", "in", k=100)
        first = next(answer.name for answer in answers if answer.name.startswith("l"))
        found += first == f"l{number % LANDS}"
    return found / NEW


@pytest.mark.parametrize("encoder", ["rgcn", "compgcn"])
def test_layers_encode_new_entities(
    world: kgt.KnowledgeGraph, new: kgt.KnowledgeGraph, encoder: str
) -> None:
    checkpoint = taught(world, encoder=encoder, masking=0.5)
    found = kgt.encode_unseen(checkpoint, new)
    assert right(found) >= 0.8
    nothing = kgt.KnowledgeGraph.from_names(
        [(f"c{i}", "near", f"c{i}") for i in range(CITIES, CITIES + NEW)], name="nothing"
    )
    assert right(kgt.encode_unseen(checkpoint, nothing)) <= 0.5  # a control: nothing is said


def test_features_encode_new_entities(world: kgt.KnowledgeGraph, new: kgt.KnowledgeGraph) -> None:
    def told(graph: kgt.KnowledgeGraph) -> torch.Tensor:
        """What is said of an entity tells its land."""
        land = torch.tensor([int(name[1:]) % LANDS for name in graph.entities])
        is_land = torch.tensor([[name.startswith("l")] for name in graph.entities]).float()
        return torch.cat([torch.nn.functional.one_hot(land, LANDS).float(), is_land], 1)

    checkpoint = taught(world, told(world), encoder="shallow", inputs="features")
    assert right(kgt.encode_unseen(checkpoint, new, features=told(new))) >= 0.8
    with pytest.raises(ValueError, match=r"needs those of new entities \(got none of 'c40'\)"):
        kgt.encode_unseen(checkpoint, new)
    with pytest.raises(ValueError, match="features must be 6 wide"):
        kgt.encode_unseen(checkpoint, new, features=told(new)[:, :3])


def test_old_weights_and_sources_stay(world: kgt.KnowledgeGraph, new: kgt.KnowledgeGraph) -> None:
    checkpoint = taught(world, encoder="rgcn")
    found = kgt.encode_unseen(checkpoint, new)
    for name in world.entities:
        old, moved = checkpoint.graph.entities.id(name), found.graph.entities.id(name)
        weights = (c.model.encoder.inputs.weight for c in (checkpoint, found))
        assert torch.equal(*(w[i] for w, i in zip(weights, (old, moved), strict=True)))
    assert found.sources is not None
    assert found.sources.names == ("new (facts)", "world")
    assert found.provenance["encoded"]["entities"]["new"] == NEW
    among = kgt.Predictor(checkpoint, new, on_unknown="encode", among="world")
    assert {a.name for a in among.tails("c41", "in", k=99)} == set(world.entities)


def test_what_cannot_be_encoded_is_told(world: kgt.KnowledgeGraph, new: kgt.KnowledgeGraph) -> None:
    shallow = taught(world, encoder="shallow")
    with pytest.raises(ValueError, match=r"no layers cannot encode a new one \(got 'c40'\)"):
        kgt.encode_unseen(shallow, new)
    with pytest.raises(ValueError, match="unknown entity: 'c40'"):
        kgt.Predictor(shallow, new)
    with pytest.raises(ValueError, match="pass facts"):
        kgt.Predictor(shallow, on_unknown="encode")
    with pytest.raises(ValueError, match="on_unknown is one of error, encode"):
        kgt.Predictor(shallow, new, on_unknown="guess")  # type: ignore[arg-type]
    strange = kgt.KnowledgeGraph.from_names([("c1", "nearer", "c2")])
    with pytest.raises(ValueError, match=r"unknown relation: 'nearer'.*'near'"):
        kgt.encode_unseen(shallow, strange)
    with pytest.raises(ValueError, match="nothing to encode"):
        kgt.encode_unseen(shallow, kgt.KnowledgeGraph.from_names([]))
    known = kgt.KnowledgeGraph.from_names([("c1", "near", "c2")])
    answers = kgt.Predictor(shallow, known).tails("c1", "near", k=99)
    assert next(answer for answer in answers if answer.name == "c2").is_known


def test_a_foundation_model_reads_new_relations_too(world: kgt.KnowledgeGraph) -> None:
    checkpoint = kgt.zero_shot(kgt.FoundationModel(width=8, layers=2), world)
    more = kgt.KnowledgeGraph.from_names([("c99", "twinned", "c1")])
    found = kgt.Predictor(checkpoint, more, on_unknown="encode")
    assert len(found.tails("c2", "twinned", k=99)) == world.num_entities + 1


def test_training_on_sampled_neighbours_learns_and_resumes(
    world: kgt.KnowledgeGraph, new: kgt.KnowledgeGraph, tmp_path
) -> None:
    training = kgt.TrainConfig(
        epochs=40, learning_rate=0.02, fan_out=(3,), progress=False, accelerator="cpu"
    )
    model = kgt.ModelConfig(encoder="rgcn", decoder="distmult", width=16, masking=0.5)
    recipe = kgt.Recipe(model, batches=kgt.BatchOptions(batch_size=16), training=training)
    linked = kgt.link([world], [])
    whole = kgt.pretrain(linked, recipe=recipe)
    assert right(kgt.encode_unseen(whole, new)) >= 0.8
    cut = replace(recipe, training=replace(training, max_seconds=0.05))
    kgt.pretrain(linked, recipe=cut, run_dir=tmp_path)
    assert kgt.pretrain(linked, recipe=recipe, run_dir=tmp_path).id == whole.id


def test_fan_outs_that_do_not_fit_are_told(world: kgt.KnowledgeGraph) -> None:
    linked = kgt.link([world], [])

    def learned(fan_out: tuple[int, ...], **options) -> None:
        training = kgt.TrainConfig(fan_out=fan_out, progress=False, accelerator="cpu")
        kgt.pretrain(linked, recipe=kgt.Recipe(training=training, **options))

    def fails(message: str, fan_out: tuple[int, ...], **options) -> None:
        with pytest.raises(ValueError, match=message):
            learned(fan_out, **options)

    fails("each of the encoder's 1 layers", (2, 2))
    asked = "goes with one_vs_all and negative sampling"
    fails(asked, (2,), objective=kgt.ObjectiveConfig("k_vs_all"))
    shallow = kgt.ModelConfig(encoder="shallow")
    fails("fan_out needs an encoder with message-passing layers", (2,), model=shallow)
    fails(r"numbers of at least 1 \(got \(0,\)\)", (0,))


def test_a_model_of_two_layers_moves_on_sampled_neighbours(world: kgt.KnowledgeGraph) -> None:
    """The recipe's own model, which has one layer, is not read."""
    checkpoint = taught(world, encoder="rgcn", layers=2)
    training = kgt.TrainConfig(epochs=1, fan_out=(3, 3), progress=False, accelerator="cpu")
    none = kgt.HeldOut(world.triples[:0], "valid")
    target = kgt.Split(world, none, none)
    moved = kgt.finetune(checkpoint, target, recipe=kgt.Recipe(training=training))
    assert moved.provenance["recipe"]["training"]["fan_out"] == [3, 3]


def test_probabilities_by_relation_follow_their_relations(
    world: kgt.KnowledgeGraph, new: kgt.KnowledgeGraph
) -> None:
    """The facts name the relations in another order, and one that is new."""
    checkpoint = kgt.zero_shot(kgt.FoundationModel(width=8, layers=2), world)
    pooled = Calibration(1.0, 0.0)
    slopes, intercepts = np.array([0.0, 0.0]), np.array([-5.0, 5.0])
    given = replace(checkpoint, calibration=RelationCalibration(pooled, slopes, intercepts))
    facts = [("c99", "odd", "c1"), ("c99", "near", "c1"), ("c99", "in", "l1")]
    found = kgt.Predictor(given, kgt.KnowledgeGraph.from_names(facts), on_unknown="encode")
    assert found.graph.relations.name(0) == "odd"
    before = kgt.Predictor(given)
    for relation in ("in", "near"):
        asked = [("c2", relation, "c3")]
        assert found.predict_proba(asked) == pytest.approx(before.predict_proba(asked))
    assert 0 < found.predict_proba([("c2", "odd", "c3")])[0] < 1


def test_known_facts_under_another_name_and_facts_twice(
    world: kgt.KnowledgeGraph, new: kgt.KnowledgeGraph
) -> None:
    checkpoint = taught(world, encoder="rgcn")
    again = kgt.encode_unseen(checkpoint, replace(world, name="the same"))
    assert again.graph.num_triples == world.num_triples
    twice = kgt.encode_unseen(kgt.encode_unseen(checkpoint, new), new)
    assert twice.sources is not None
    assert twice.sources.names == ("new (facts) 2", "new (facts)", "world")
    assert twice.graph.name == checkpoint.graph.name
