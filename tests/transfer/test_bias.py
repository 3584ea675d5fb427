"""Bias of trained models: planted popularity is found, and balanced away; groups move with ids."""

from dataclasses import replace

import pytest
import torch

import pyg_kgtransfer as kgt


def towns(count: int = 30, people: int = 60) -> kgt.Split:
    """Who was where: chance alone, but that town k is the less visited the higher k is.

    A relation of people among themselves has as many facts.
    """
    generator = torch.Generator().manual_seed(0)
    chance = (torch.arange(count) + 1.0) ** -0.8
    was = (torch.rand(people, count, generator=generator) < chance).nonzero().tolist()
    facts = [(f"p{i}", "was in", f"town{k}") for i, k in was]
    graph = kgt.KnowledgeGraph.from_names(facts, name="towns")
    return kgt.random_split(graph, 0.0, 0.2)


def trained(split: kgt.Split, groups=None, **objective) -> kgt.Checkpoint:
    recipe = kgt.Recipe(
        kgt.ModelConfig(encoder="shallow", decoder="distmult", width=8),
        kgt.ObjectiveConfig(**objective),
        kgt.BatchOptions(batch_size=64),
        kgt.TrainConfig(epochs=25, learning_rate=0.03, progress=False, accelerator="cpu"),
    )
    return kgt.pretrain(kgt.link([split.train], []), recipe=recipe, groups=groups)


@pytest.fixture(scope="module")
def split() -> kgt.Split:
    return towns()


@pytest.fixture(scope="module")
def plain(split: kgt.Split) -> kgt.Checkpoint:
    return trained(split)


def by_size(split: kgt.Split) -> dict[str, str]:
    """Towns in order, five at a time; people have no group."""
    towns = [name for name in split.train.entities if name.startswith("town")]
    return {name: f"from {int(name[4:]) // 5 * 5}" for name in towns}


def shares(found: kgt.BiasResult, by: str) -> dict[str, float]:
    return {row["group"]: row["share_of_mass"] for row in found.rows(by)}


def test_planted_popularity_is_balanced_away_at_a_price(split, plain) -> None:
    """The control, balanced by groups that have nothing to do with popularity, stays as it is."""
    any_group = {name: f"{i % 5}" for i, name in enumerate(split.train.entities)}
    models = {
        "plain": plain,
        "half": trained(split, balance=0.5),
        "whole": trained(split, balance=1.0),
        "control": trained(split, any_group, balance=1.0, balance_by="group"),
    }
    found = {name: kgt.measure_bias(checkpoint, split) for name, checkpoint in models.items()}
    bias = {name: each.popularity_bias().value for name, each in found.items()}
    assert bias["plain"] - 0.06 > bias["whole"]
    assert bias["plain"] > bias["half"] > bias["whole"]
    assert abs(bias["control"] - bias["plain"]) < 0.03
    highest = {name: each.rows()[-1]["share_of_mass"] for name, each in found.items()}
    assert highest["whole"] < 0.5 * highest["plain"] < 0.8 * highest["control"]
    price = {name: each.ranks.metrics()["mrr"] for name, each in found.items()}
    assert price["whole"] < price["plain"] - 0.05


def test_a_group_with_many_answers_loses_mass_to_others(split, plain) -> None:
    groups = by_size(split)
    balanced = trained(split, groups, balance=1.0, balance_by="group")
    before, after = (
        shares(kgt.measure_bias(checkpoint, split, groups), "group")
        for checkpoint in (plain, balanced)
    )
    assert set(before) == {f"from {i}" for i in range(0, 30, 5)} | {"no group"}
    assert after["from 0"] < 0.75 * before["from 0"]
    assert after["from 25"] > before["from 25"]


def test_groups_and_popularity_go_where_the_model_has_the_entities(pair, linked, teacher) -> None:
    """A target in a joint graph whose ids are other than its own."""
    rich = kgt.Split(
        pair.rich, kgt.HeldOut(pair.rich.triples[:0], "valid"),
        kgt.HeldOut(pair.rich.triples[:25], "test"),
    )  # fmt: skip
    names = pair.rich.entities.names
    groups = {name: f"third {i % 3}" for i, name in enumerate(names) if i % 4}
    found = kgt.measure_bias(teacher, rich, groups)
    place = linked.entity_maps[linked.index("rich")]
    member = found.groups.member[place].tolist()
    assert [found.groups.names[i] for i in member] == [groups.get(n, "no group") for n in names]
    assert found.candidates.tolist() == sorted(place.tolist())
    degree = pair.rich.degrees()
    assert found.ranks.groups.popularity[place].tolist() == degree.tolist()
    numbered = torch.tensor([i % 3 if i % 4 else -1 for i in range(len(names))])
    again = kgt.measure_bias(teacher, rich, numbered)
    assert list(shares(again, "group").values()) == pytest.approx(
        [shares(found, "group")[name] for name in ("third 0", "third 1", "third 2", "no group")]
    )


def test_ranks_are_those_of_evaluate_and_types_are_groups(split, plain) -> None:
    kinds = ["person" if name[0] == "p" else "town" for name in split.train.entities]
    typed = replace(
        split.train,
        entity_types=kgt.Vocabulary(["person", "town"], kind="entity type"),
        entity_type=torch.tensor([int(kind == "town") for kind in kinds]),
    )
    found = kgt.measure_bias(plain, replace(split, train=typed), memory_mb=0.01)
    assert torch.equal(found.ranks.ranks, kgt.evaluate(plain, split).ranks)
    assert [row["candidates"] for row in found.rows("group")] == [60, 30]
    assert kgt.measure_bias(plain, split).available_groups() == ("popularity", "relation")


def test_what_is_unknown_or_empty_is_told(split, plain) -> None:
    with pytest.raises(ValueError, match=r"unknown entity: 'twn3'.*'town3'"):
        kgt.measure_bias(plain, split, {"twn3": "small"})
    with pytest.raises(ValueError, match="the valid split is empty"):
        kgt.measure_bias(plain, split, role="valid")
    broken = trained(split)
    with torch.no_grad():
        broken.model.encoder.inputs.weight[0] = torch.nan
    with pytest.raises(ValueError, match=r"every score must be finite .*was in"):
        kgt.measure_bias(broken, split)
