"""Episodes: what is new is met nowhere else, more shots include fewer, and the curve rises."""

from dataclasses import replace

import pytest
import torch

import pyg_kgtransfer as kgt
from pyg_kgtransfer.transfer import episodes

LANDS = 4


@pytest.fixture(scope="module")
def world() -> kgt.KnowledgeGraph:
    """Cities lie in lands; those of a land are near each other; a second relation says the same."""
    facts = [(f"c{i}", "in", f"l{i % LANDS}") for i in range(48)]
    facts += [(f"c{i}", "lies_in", f"l{i % LANDS}") for i in range(48)]
    for step in (LANDS, 2 * LANDS):
        facts += [(f"c{i}", "near", f"c{(i + step) % 48}") for i in range(48)]
    return kgt.KnowledgeGraph.from_names(facts, name="world")


def taught(graph: kgt.KnowledgeGraph, **model) -> kgt.Checkpoint:
    training = kgt.TrainConfig(epochs=60, learning_rate=0.05, progress=False, accelerator="cpu")
    config = kgt.ModelConfig(decoder="complex", width=16, **model)
    objective = kgt.ObjectiveConfig("softplus", num_negatives=8)
    recipe = kgt.Recipe(config, objective, kgt.BatchOptions(batch_size=32), training)
    return kgt.pretrain(kgt.link([graph], []), recipe=recipe)


def named(episode: kgt.Episode, triples: torch.Tensor) -> set[tuple[str, str, str]]:
    return set(episode.whole.with_triples(triples).named_triples())


def test_the_background_has_nothing_of_new_entities(world: kgt.KnowledgeGraph) -> None:
    episode = kgt.entity_episode(world, 3, shots=4, seed=1)
    new = set(world.entities) - set(episode.background.entities)
    assert len(new) >= 3
    given, asked = named(episode, episode.support), named(episode, episode.query)
    every = set(world.named_triples())
    assert not given & asked
    assert given | asked <= every - set(episode.background.named_triples())
    for head, relation, tail in given | asked:
        assert len({head, tail} & new) == 1
        assert relation in episode.background.relations
    assert set(episode.background.named_triples()) == {
        fact for fact in every if not {fact[0], fact[2]} & new
    }


def test_more_shots_include_fewer(world: kgt.KnowledgeGraph) -> None:
    for episode in (
        kgt.entity_episode(world, 3, shots=4),
        kgt.relation_episode(world, ["lies_in"], shots=4),
    ):
        before: set[tuple[str, str, str]] = set()
        for k in range(5):
            now = set(episode.shots(k).named_triples())
            assert before <= now
            assert len(now) == k * len(torch.unique(episode.support[episode.place == 0], dim=0))
            before = now


def test_curves_rise_with_the_shots(world: kgt.KnowledgeGraph) -> None:
    relations = kgt.relation_episode(world, ["lies_in"], shots=8)
    checkpoint = taught(relations.background, encoder="shallow")
    curve = kgt.few_shot_curve(checkpoint, relations, shots=(0, 1, 5))
    assert curve[5].metrics()["mrr"] > curve[0].metrics()["mrr"] + 0.1
    assert torch.equal(curve[0].triples, relations.query)


def test_entities_are_encoded(world: kgt.KnowledgeGraph) -> None:
    entities = kgt.entity_episode(world, 4, shots=3)
    checkpoint = taught(entities.background, encoder="rgcn", masking=0.4)
    config = kgt.FewShotConfig(start="encode", steps=0)
    curve = kgt.few_shot_curve(checkpoint, entities, shots=(0, 3), config=config)
    assert curve[3].metrics()["mrr"] > 1.3 * curve[0].metrics()["mrr"]


def test_bad_episodes_are_told(world: kgt.KnowledgeGraph) -> None:
    episode = kgt.relation_episode(world, ["lies_in"], shots=3)
    with pytest.raises(ValueError, match=r"has 3 support facts of each new thing \(got k=4\)"):
        episode.shots(4)
    with pytest.raises(ValueError, match="more than 48 facts"):
        kgt.relation_episode(world, ["lies_in"], shots=48)
    with pytest.raises(ValueError, match=r"unknown relation: 'lie_in'.*'lies_in'"):
        kgt.relation_episode(world, ["lie_in"], shots=3)
    with pytest.raises(ValueError, match="2 new entities need more than 500 facts"):
        kgt.entity_episode(world, 2, shots=500)
    with pytest.raises(ValueError, match=r"a new entity \(got 0\)"):
        kgt.entity_episode(world, 0)
    with pytest.raises(ValueError, match=r"a support fact of each new thing \(got 0\)"):
        kgt.entity_episode(world, 1, shots=0)
    knows = taught(world, encoder="shallow")
    with pytest.raises(ValueError, match=r"background alone \(got 'lies_in' too\)"):
        kgt.few_shot_curve(knows, episode, shots=(1,))
    config = kgt.FewShotConfig(start="encode")
    with pytest.raises(ValueError, match="'encode' needs an encoder with layers"):
        kgt.few_shot_curve(
            taught(episode.background, encoder="shallow"), episode, shots=(1,), config=config
        )


def test_replayed_old_facts_keep_new_entities_from_pushing_in(world: kgt.KnowledgeGraph) -> None:
    """Without them new entities are found more easily, at the price of old answers."""
    episode = kgt.entity_episode(world, 6, shots=3)
    checkpoint = taught(episode.background, encoder="shallow")
    known = episode.background.named_triples()
    columns = zip((world.entities, world.relations, world.entities), range(3), strict=True)
    old = torch.stack([names.ids([fact[c] for fact in known]) for names, c in columns], 1)

    def found(replay: float) -> tuple[float, float]:
        config = kgt.FewShotConfig(replay=replay, learning_rate=0.1)
        after = episodes.taught(checkpoint, episode, 3, config)
        asked = (episode, replace(episode, query=old))
        new, before = (episodes.asked(after, each).metrics()["mrr"] for each in asked)
        return new, before

    eager, calm = found(0.0), found(1.0)
    assert calm[1] > eager[1] + 0.05
    assert eager[0] > calm[0]
    with pytest.raises(ValueError, match=r"replay must be at least 0, and finite \(got inf\)"):
        kgt.FewShotConfig(replay=float("inf"))
