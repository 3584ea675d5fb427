"""Growing vocabularies: what moves, bit for bit, what starts, and what each part trains at."""

import pytest
import torch

from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.models.build import ModelConfig, build_model
from pyg_kgtransfer.transfer.grow import (
    Moved,
    move_rows,
    moved_rows,
    moved_values,
    optimiser_groups,
    parts_of,
    row_parameters,
)

# 5 old entities and 3 old relations; 4 and 4 new ones, two and three of them known before.
ENTITY = torch.tensor([4, -1, 0, -1])
RELATION = torch.tensor([2, 0, -1, 1])
CONFIGS = [
    ModelConfig(encoder="shallow", width=8),
    ModelConfig(encoder="shallow", width=8, reciprocal=False, decoder="rotate"),
    ModelConfig(encoder="rgcn", width=8, layers=2),
    ModelConfig(encoder="rgcn", width=8, bases=2),
    ModelConfig(encoder="rgcn", width=8, blocks=2),
    ModelConfig(encoder="compgcn", width=8, layers=2),
    ModelConfig(encoder="compgcn", width=8, inputs="features"),
    ModelConfig(encoder="shallow", width=8, inputs="mixture"),
]


def built(config: ModelConfig, entities: int, relations: int, seed: int):
    torch.manual_seed(seed)
    features = None if config.inputs == "lookup" else torch.randn(entities, 8)
    return build_model(config, num_entities=entities, num_relations=relations, features=features)


def slowly_moved(name: str, old, kinds: dict[str, str]) -> list[tuple[int, int]]:
    """(new row, old row) of a table, relation by relation, the inverse halves apart."""
    if kinds[name] == "entity":
        return [(i, j) for i, j in enumerate(ENTITY.tolist()) if j >= 0]
    rows = [(i, j) for i, j in enumerate(RELATION.tolist()) if j >= 0]
    if len(old[name]) == 6:  # 2R
        rows += [(4 + i, 3 + j) for i, j in rows]
    return rows


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.encoder}-{c.inputs}-{c.width}")
@pytest.mark.parametrize("new", ["fresh", "mean", "zero"])
def test_shared_rows_move_bit_for_bit_and_inverses_to_inverses(config: ModelConfig, new) -> None:
    old, fresh = built(config, 5, 3, seed=0), built(config, 4, 4, seed=1)
    start = {name: value.clone() for name, value in fresh.state_dict().items()}
    before = {name: value.clone() for name, value in old.state_dict().items()}
    move_rows(old, fresh, ENTITY, RELATION, new)
    kinds, given = dict(row_parameters(fresh)), dict(fresh.named_buffers())
    assert {"entity", "relation"} == set(kinds.values())
    for name, value in fresh.state_dict().items():
        if name not in kinds:
            assert torch.equal(value, before[name]), name
            continue
        rows = slowly_moved(name, before, kinds)
        for to, origin in rows:
            assert torch.equal(value[to], before[name][origin]), (name, to)
        others = sorted(set(range(len(value))) - {to for to, _ in rows})
        for row in others:
            expected = before[name].mean(0)
            if new == "fresh" or name in given:  # features of new entities are what was given
                expected = start[name][row]
            elif new == "zero" and kinds[name] == "entity":
                expected = torch.zeros_like(expected)
            assert torch.equal(value[row], expected), (name, row)
        mask = moved_rows(old, fresh, ENTITY, RELATION)[name]
        assert mask.nonzero().view(-1).tolist() == sorted(to for to, _ in rows)
    assert all(torch.equal(old.state_dict()[name], value) for name, value in before.items())


def test_every_table_of_relations_or_entities_is_declared() -> None:
    for config in CONFIGS:
        model, other = built(config, 5, 3, seed=0), built(config, 4, 4, seed=0)
        sizes = {name: value.shape for name, value in other.state_dict().items()}
        differ = {n for n, value in model.state_dict().items() if value.shape != sizes[n]}
        assert differ == set(dict(row_parameters(model)))


def test_the_report_names_matched_new_and_dropped() -> None:
    moved = Moved.of(
        Vocabulary(["a", "b", "c"]), Vocabulary(["B", "new", "A"]), torch.tensor([1, -1, 0])
    )
    assert (moved.matched, moved.new, moved.dropped) == (("B", "A"), ("new",), ("c",))
    assert moved.counts() == {"matched": 2, "new": 1, "dropped": 1}


def test_models_of_another_kind_are_refused() -> None:
    old = built(ModelConfig(encoder="compgcn", width=8), 5, 3, seed=0)
    for config in (
        ModelConfig(encoder="compgcn", width=16),
        ModelConfig(encoder="compgcn", width=8, layers=2),
        ModelConfig(encoder="rgcn", width=8),
    ):
        with pytest.raises(ValueError, match="must agree but for their vocabularies"):
            move_rows(old, built(config, 4, 4, seed=0), ENTITY, RELATION, "fresh")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.encoder}-{c.inputs}-{c.width}")
def test_parts_cover_every_parameter_once(config: ModelConfig) -> None:
    model = built(config, 5, 3, seed=0)
    parts = parts_of(model)
    named = [name for parameters in parts.values() for name, _ in parameters]
    assert sorted(named) == sorted(name for name, _ in model.named_parameters())
    assert all(len(parameter) in (5,) for _, parameter in parts["entity"])
    assert all(len(parameter) in (3, 6) for _, parameter in parts["relation"])
    assert parts["relation"]


def test_groups_have_a_rate_per_part_and_none_for_frozen_ones() -> None:
    model = built(ModelConfig(encoder="compgcn", width=8), 5, 3, seed=0)
    groups = optimiser_groups(model, {"entity": 0.0, "relation": 0.1}, 0.5)
    assert [group["lr"] for group in groups] == [pytest.approx(0.05), 0.5]
    kept = {parameter for group in groups for parameter in group["params"]}
    parts = parts_of(model)
    assert not kept & {parameter for _, parameter in parts["entity"]}
    assert kept == {p for part in ("relation", "encoder") for _, p in parts[part]}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.encoder}-{c.inputs}-{c.width}")
def test_what_belongs_to_rows_moves_as_the_rows_do(config: ModelConfig) -> None:
    """The weights themselves, moved as values, are the weights that move_rows gives; else 0."""
    old, fresh = built(config, 5, 3, seed=0), built(config, 4, 4, seed=1)
    move_rows(old, fresh, ENTITY, RELATION, "fresh")
    values = {name: value.detach().clone() for name, value in old.named_parameters()}
    found = moved_values(values, fresh, ENTITY, RELATION)
    masks = moved_rows(old, fresh, ENTITY, RELATION)
    for name, value in fresh.named_parameters():
        kept = masks.get(name, torch.ones(len(value), dtype=torch.bool) if value.dim() else None)
        assert found[name].shape == value.shape
        if kept is None:
            assert torch.equal(found[name], value)
            continue
        assert torch.equal(found[name][kept], value[kept])
        assert not found[name][~kept].any()
