"""Fine-tuning: a trained model moves to a target, whole or in parts, near its start or free."""

import json
from dataclasses import replace

import pytest
import torch

from pyg_kgtransfer.evaluation.link_prediction import LinkPrediction
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.linking.alignment import Alignment
from pyg_kgtransfer.models.build import ModelConfig, build_model
from pyg_kgtransfer.models.foundation import FoundationModel
from pyg_kgtransfer.objectives.auxiliary import AuxiliaryConfig
from pyg_kgtransfer.sources.synthetic import planted
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.finetune import FinetuneConfig, finetune, grown
from pyg_kgtransfer.transfer.grow import parts_of
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import alone, evaluate
from pyg_kgtransfer.transfer.zero_shot import zero_shot


def split_of(facts: list[tuple[str, str, str]], name: str) -> Split:
    graph = KnowledgeGraph.from_names(facts, name=name)
    nothing = graph.triples[:0]
    return Split(graph, HeldOut(nothing, "valid"), HeldOut(nothing, "test"))


@pytest.fixture
def old(make_recipe) -> Checkpoint:
    """Trained on Athens, Greece, Sofia, Bulgaria; capital_of and borders."""
    facts = [
        ("Athens", "capital_of", "Greece"),
        ("Sofia", "capital_of", "Bulgaria"),
        ("Greece", "borders", "Bulgaria"),
    ]
    split = split_of(facts, "old")
    return pretrain(alone(split.train), recipe=make_recipe("compgcn", width=8, epochs=3))


@pytest.fixture
def new() -> Split:
    return split_of(
        [
            ("Rome", "capital_of", "Italy"),
            ("Greece", "member_of", "EU"),
            ("Athens", "in", "Greece"),
        ],
        "new",
    )


def test_growing_moves_shared_rows_and_reports_the_rest(old, new, state_of) -> None:
    before = state_of(old.model)
    model, linked, report = grown(old, new)
    assert report.entities.matched == ("Greece", "Athens")
    assert report.entities.new == ("Rome", "Italy", "EU")
    assert report.entities.dropped == ("Sofia", "Bulgaria")
    assert report.relations.matched == ("capital_of",)
    assert report.relations.new == ("member_of", "in")
    assert report.relations.dropped == ("borders",)
    after = model.state_dict()
    table, other = after["encoder.inputs.weight"], before["encoder.inputs.weight"]
    for name in report.entities.matched:
        to, origin = linked.graph.entities.id(name), old.graph.entities.id(name)
        assert torch.equal(table[to], other[origin])
    relation, known = after["encoder.relation"], before["encoder.relation"]
    assert (len(relation), len(known)) == (6, 4)
    assert torch.equal(relation[0], known[0])
    assert torch.equal(relation[3], known[2])  # the inverse of capital_of, in its half
    assert all(torch.equal(v, state_of(old.model)[name]) for name, v in before.items())


def test_keeping_all_grows_by_the_target(old, new, make_recipe) -> None:
    config = FinetuneConfig(keep="all")
    model, linked, report = grown(old, new, config=config)
    assert set(report.entities.matched) == {"Greece", "Athens", "Sofia", "Bulgaria"}
    assert report.entities.dropped == report.relations.dropped == ()
    assert linked.graph.num_triples == 6
    assert linked.graph.num_entities == 7
    row = linked.graph.entities.id("Sofia")
    start = old.model.state_dict()["encoder.inputs.weight"][old.graph.entities.id("Sofia")]
    assert torch.equal(model.state_dict()["encoder.inputs.weight"][row], start)
    trained = finetune(old, new, config=config, recipe=make_recipe(epochs=2))
    assert trained.provenance["growth"] == report.counts()
    assert trained.provenance["finetuning"]["keep"] == "all"
    assert trained.saw(old.graph)
    assert trained.config == old.config  # the recipe's model is not read
    assert trained.provenance["recipe"]["model"]["encoder"] == "compgcn"


def test_new_rows_can_start_at_the_mean(old, new) -> None:
    model, linked, _ = grown(old, new, config=FinetuneConfig(new_rows="mean"))
    mean = old.model.state_dict()["encoder.inputs.weight"].mean(0)
    row = linked.graph.entities.id("Rome")
    assert torch.equal(model.state_dict()["encoder.inputs.weight"][row], mean)


def test_a_seed_repeats_the_growth(old, new) -> None:
    tables = [grown(old, new, seed=s)[0].encoder.inputs.weight for s in (1, 1, 2)]
    assert torch.equal(tables[0], tables[1])
    assert not torch.equal(tables[0], tables[2])


def test_features_of_matched_entities_move_and_new_ones_have_none(new) -> None:
    split = split_of([("Athens", "capital_of", "Greece")], "old")
    linked = alone(split.train)
    config = ModelConfig(encoder="shallow", width=4, decoder="distmult", inputs="features")
    model = build_model(
        config, num_entities=2, num_relations=1, features=torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    )
    checkpoint = Checkpoint(model, linked.graph, config)
    moved, graph, _ = grown(checkpoint, new)
    features = moved.state_dict()["encoder.inputs.features"]
    assert features[graph.graph.entities.id("Greece")].tolist() == [3.0, 4.0]
    assert features[graph.graph.entities.id("Rome")].tolist() == [0.0, 0.0]


def test_a_moved_teacher_beats_a_fresh_model(pair, teacher, make_recipe) -> None:
    recipe = make_recipe(epochs=10, learning_rate=0.02)
    moved = finetune(teacher, pair.sparse, recipe=recipe)
    assert moved.graph.num_entities == pair.sparse.train.num_entities
    assert moved.provenance["growth"]["relations"] == {"matched": 6, "new": 0, "dropped": 6}
    own = pretrain(alone(pair.sparse.train), recipe=make_recipe())
    results = [evaluate(checkpoint, pair.sparse).metrics()["mrr"] for checkpoint in (moved, own)]
    assert results[0] > results[1] + 0.2


def steps(checkpoint, split, recipe, **config) -> dict[str, dict[str, torch.Tensor]]:
    """Part -> parameter -> how far fine-tuning moved it."""
    options = FinetuneConfig(**config)
    start, _, _ = grown(checkpoint, split, config=options, seed=recipe.training.seed)
    trained = finetune(checkpoint, split, recipe=recipe, config=options)
    before = dict(start.named_parameters())
    return {
        part: {name: (value - before[name]).detach() for name, value in parameters}
        for part, parameters in parts_of(trained.model).items()
    }


@pytest.mark.parametrize("frozen", ["entity", "relation", "encoder"])
def test_frozen_parts_stay_bit_for_bit(pair, deep_teacher, make_recipe, frozen) -> None:
    recipe = make_recipe(epochs=2, optimizer="adamw", weight_decay=0.1)
    moved = steps(deep_teacher, pair.sparse, recipe, rate_factors={frozen: 0.0})
    for part, changes in moved.items():
        assert all(bool(change.any()) != (part == frozen) for change in changes.values()), part


def test_each_part_learns_at_its_own_rate(pair, deep_teacher, make_recipe) -> None:
    recipe = make_recipe(epochs=1, optimizer="sgd", learning_rate=0.5)
    whole = steps(deep_teacher, pair.sparse, recipe)
    factors = {"entity": 0.5, "relation": 2.0}
    parts = steps(deep_teacher, pair.sparse, recipe, rate_factors=factors)
    for part, changes in parts.items():
        for name, change in changes.items():
            wanted = factors.get(part, 1.0) * whole[part][name]
            torch.testing.assert_close(change, wanted, rtol=1e-3, atol=1e-6)


def test_an_anchor_holds_what_was_moved(pair, deep_teacher, make_recipe) -> None:
    recipe = make_recipe(epochs=20, optimizer="adam", learning_rate=0.01)

    def distance(anchor: float) -> float:
        moved = steps(deep_teacher, pair.sparse, recipe, anchor=anchor)
        changes = [change for part in moved.values() for change in part.values()]
        return float(sum(change.square().sum() for change in changes))

    free, held = distance(0.0), distance(1e4)
    assert 0 < held < 0.2 * free


def test_an_anchor_leaves_new_rows_free(old, new, make_recipe) -> None:
    recipe = make_recipe(epochs=20, optimizer="adam", learning_rate=0.05)
    moved = steps(old, new, recipe, anchor=1e5)["entity"]["encoder.inputs.weight"].norm(dim=1)
    known = torch.tensor([name in old.graph.entities for name in new.train.entities])
    assert float(moved[known].max()) < 0.2 * float(moved[~known].min())


def old_and_new() -> tuple[Split, Split]:
    """Facts of some relations of a planted graph, and of others of the same entities."""
    whole, parts = planted(80, seed=1), []
    for name, relations in (("old", [0, 1, 6]), ("new", [2, 3])):
        train, valid, test = (
            triples[torch.isin(triples[:, 1], torch.tensor(relations))]
            for triples in (whole.train.triples, whole.valid.triples, whole.test.triples)
        )
        graph = whole.train.with_triples(train, name=name)
        parts.append(Split(graph, HeldOut(valid, "valid"), HeldOut(test, "test")))
    return parts[0], parts[1]


def test_an_elastic_anchor_keeps_old_facts_and_learns_new_ones(make_recipe) -> None:
    old, new = old_and_new()
    recipe = make_recipe(
        width=16, n3=0.0, epochs=100, learning_rate=0.05, optimizer="adam", validate_every=100
    )
    start = pretrain(alone(old.train), recipe=recipe)

    def known(checkpoint: Checkpoint, facts: torch.Tensor) -> float:
        every = KnownTriples([facts], num_entities=80, num_relations=7)
        read = checkpoint.model.encode(checkpoint.graph.tensors())
        return LinkPrediction(facts, every)(checkpoint.model, read).metrics()["mrr"]

    assert known(start, old.train.triples) > 0.95
    moved = [
        finetune(start, new, recipe=recipe, config=FinetuneConfig(elastic=weight))
        for weight in (0.0, 10.0)
    ]
    free, held = (known(checkpoint, old.train.triples) for checkpoint in moved)
    assert held > 0.85 > free + 0.1
    learned = [known(checkpoint, new.train.triples) for checkpoint in moved]
    asked = [evaluate(checkpoint, new).metrics()["mrr"] for checkpoint in moved]
    assert learned[1] > learned[0] - 0.03
    assert asked[1] > asked[0] - 0.03


def test_an_elastic_anchor_leaves_new_rows_free(old, new, make_recipe) -> None:
    recipe = make_recipe(epochs=20, optimizer="adam", learning_rate=0.05)
    moved = steps(old, new, recipe, elastic=1e6)["entity"]["encoder.inputs.weight"].norm(dim=1)
    known = torch.tensor([name in old.graph.entities for name in new.train.entities])
    assert float(moved[known].max()) < 0.5 * float(moved[~known].min())


def test_all_that_holds_a_model_back_goes_together(pair, deep_teacher, make_recipe, tmp_path):
    recipe = make_recipe(
        "compgcn", epochs=6, patience=1, min_delta=1.0, validate_every=1, weight_decay=0.01,
        edge_dropout=0.2, leave_out_batch=True, optimizer="adamw",
    )  # fmt: skip
    recipe = replace(
        recipe, objective=replace(recipe.objective, n3=0.01),
        auxiliary=AuxiliaryConfig(masked=0.1, contrastive=0.1),
    )  # fmt: skip
    config = FinetuneConfig(anchor=0.1, elastic=0.1, elastic_facts=8, dropout=0.3)
    moved = finetune(deep_teacher, pair.sparse, recipe=recipe, config=config, run_dir=tmp_path)
    assert moved.metrics["stop_reason"] == "patience"
    assert moved.config == replace(deep_teacher.config, dropout=0.3)
    assert {m.p for m in moved.model.modules() if isinstance(m, torch.nn.Dropout)} == {0.3}
    assert moved.provenance["finetuning"]["elastic"] == 0.1
    row = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])
    parts = {name.removeprefix("task.") for name in row["terms"]}
    assert parts == {
        "task.task", "task.n3", "masked.entities.task", "masked.entities.n3", "masked.relations",
        "contrastive", "anchor", "elastic",
    }  # fmt: skip


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("keep", ["target", "all"])
def test_an_alignment_may_name_a_source_and_stand_either_way(
    pair, aligned, teacher, make_recipe, turned, keep
) -> None:
    lone = pretrain(alone(pair.rich), recipe=make_recipe(epochs=2))
    alignment = aligned(pair.rich).reversed() if turned else aligned(pair.rich)
    for checkpoint in (lone, teacher):
        model, linked, report = grown(
            checkpoint, pair.sparse, alignment, config=FinetuneConfig(keep=keep)
        )
        place = checkpoint.sources.names.index("rich")
        table = checkpoint.model.encoder.inputs.weight
        for left, right in pair.entity_pairs:
            origin = checkpoint.sources.entity_maps[place][pair.rich.entities.id(right)]
            assert torch.equal(model.encoder.inputs.weight[linked.graph.entities.id(left)],
                               table[origin])  # fmt: skip
        assert len(report.entities.matched) == 40


def test_alignments_of_other_graphs_are_refused(pair, aligned, teacher) -> None:
    wrong = replace(aligned(pair.rich), right="elsewhere")
    with pytest.raises(ValueError, match=r"between 'planted' and one of .*got 'planted' and 'else"):
        grown(teacher, pair.sparse, wrong)
    index = aligned(pair.rich).entities.index + 1
    entities = replace(aligned(pair.rich).entities, index=index)
    with pytest.raises(ValueError, match=r"needs ids below 40 of 'planted'"):
        grown(teacher, pair.sparse, replace(aligned(pair.rich), entities=entities))


def test_what_cannot_grow_is_refused(old, new) -> None:
    strangers = split_of([("x", "y", "z")], "strange")
    with pytest.raises(ValueError, match="no entity of 'strange' matches one of 'old"):
        grown(old, strangers)
    foundation = zero_shot(FoundationModel(4, 1), new.train)
    with pytest.raises(ValueError, match=r"no dropout to set \(got 0.1\)"):
        grown(foundation, new, config=FinetuneConfig(dropout=0.1))
    own = Checkpoint(old.model, old.graph)
    with pytest.raises(ValueError, match="needs a checkpoint with a model config"):
        grown(own, new)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate_factors": {"entities": 0.0}}, r"entity, relation, encoder, decoder \(got 'ent"),
        ({"rate_factors": {"entity": -1.0}}, "rate factor of entity must be at least 0"),
        ({"anchor": -0.1}, r"anchor must be at least 0 \(got -0.1\)"),
        ({"elastic": -1.0}, r"elastic must be at least 0 \(got -1.0\)"),
        ({"elastic_facts": 0}, r"elastic_facts must be at least 1 \(got 0\)"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\) \(got 1.0\)"),
        ({"keep": "none"}, "keep is one of target, all"),
        ({"new_rows": "old"}, "new_rows is one of fresh, mean, zero"),
    ],
)
def test_options_out_of_range_are_named(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        FinetuneConfig(**options)


def test_everything_frozen_is_refused(pair, teacher, make_recipe) -> None:
    factors = dict.fromkeys(("entity", "relation", "encoder", "decoder"), 0.0)
    with pytest.raises(ValueError, match="needs a parameter to change"):
        finetune(
            teacher, pair.sparse, recipe=make_recipe(), config=FinetuneConfig(rate_factors=factors)
        )


def test_held_out_pairs_carry_nothing_over(pair, aligned, teacher) -> None:
    alignment: Alignment = aligned(pair.rich).split(0.5, seed=0)
    _, _, report = grown(teacher, pair.sparse, alignment)
    assert len(report.entities.matched) == 20


def test_a_run_folder_of_another_start_is_refused(pair, linked, make_recipe, tmp_path) -> None:
    """Else the first start's model would come back as the second's."""
    recipe = make_recipe(epochs=2, validate_every=1)
    first, second = (pretrain(linked, recipe=make_recipe(epochs=1, seed=seed)) for seed in (0, 1))
    finetune(first, pair.sparse, recipe=recipe, run_dir=tmp_path)
    finetune(first, pair.sparse, recipe=recipe, run_dir=tmp_path)  # the same again: goes on
    with pytest.raises(ValueError, match="origin"):
        finetune(second, pair.sparse, recipe=recipe, run_dir=tmp_path)
