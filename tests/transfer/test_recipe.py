"""What every recipe shares: seeded models, the fit, and an artefact that says how it was made."""

import json
import math
from dataclasses import replace

import pytest
import torch

from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.models.build import ModelConfig, build_model
from pyg_kgtransfer.objectives.auxiliary import AuxiliaryConfig
from pyg_kgtransfer.objectives.build import ObjectiveConfig, build_objective
from pyg_kgtransfer.objectives.link_prediction import KvsAll, NegativeSampling, OneVsAll
from pyg_kgtransfer.objectives.objective import Mixture
from pyg_kgtransfer.sources.synthetic import planted
from pyg_kgtransfer.training.batches import BatchOptions, TripleBatches
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.training.trainer import Trainer
from pyg_kgtransfer.transfer.distill import distill
from pyg_kgtransfer.transfer.finetune import finetune
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import alone, evaluate
from pyg_kgtransfer.transfer.recipe import (
    Recipe,
    checkpoint_of,
    fit,
    fresh_model,
    task_objective,
    training_device,
)


def test_fresh_models_follow_the_seed_alone(linked, make_recipe) -> None:
    tables = []
    for seed in (3, 3, 4):
        torch.manual_seed(len(tables))
        tables.append(fresh_model(make_recipe(seed=seed), linked).encoder.inputs.weight)
    assert torch.equal(tables[0], tables[1])
    assert not torch.equal(tables[0], tables[2])
    assert tables[0].shape == (linked.graph.num_entities, 32)


@pytest.mark.parametrize(
    ("loss", "kind"),
    [("one_vs_all", OneVsAll), ("k_vs_all", KvsAll), ("softplus", NegativeSampling)],
)
def test_the_objective_is_that_of_the_recipe(linked, make_recipe, loss, kind) -> None:
    config = ObjectiveConfig(loss=loss, filtered=True)
    objective = task_objective(replace(make_recipe(), objective=config), linked)
    assert isinstance(objective, kind)
    config = replace(config, n3=0.1)
    mixed = task_objective(replace(make_recipe(), objective=config), linked)
    assert isinstance(mixed, Mixture)


@pytest.mark.parametrize("loss", ["k_vs_all", "softplus", "margin", "self_adversarial"])
def test_every_loss_fits(linked, make_recipe, loss) -> None:
    recipe = make_recipe(epochs=5, learning_rate=0.05)
    config = ObjectiveConfig(loss=loss, num_negatives=8, filtered=True)
    recipe = replace(recipe, objective=config)
    model = fresh_model(recipe, linked)
    history = fit(model, task_objective(recipe, linked), linked, recipe=recipe)
    assert history.rows[-1]["loss"] < history.rows[0]["loss"]


def test_objectives_lie_where_training_is(make_recipe) -> None:
    assert training_device(make_recipe().training) == torch.device("cpu")


def test_the_checkpoint_says_how_it_was_made(pair, linked, make_recipe, tmp_path) -> None:
    recipe = make_recipe(epochs=4, validate_every=2)
    recipe = replace(recipe, batches=BatchOptions(temperature=math.inf), validation_size=5)
    checkpoint = pretrain(linked, [pair.sparse], recipe=recipe, run_dir=tmp_path / "run")
    back = Checkpoint.load(checkpoint.save(tmp_path / "teacher"))
    assert back.provenance == checkpoint.provenance
    assert back.provenance["recipe"]["training"]["epochs"] == 4
    assert back.provenance["recipe"]["batches"]["temperature"] == "inf"
    assert back.provenance["recipe"]["validation_size"] == 5
    assert back.metrics["steps"] == 4
    assert [point["epoch"] for point in back.metrics["curve"]] == [2, 4]
    assert back.metrics["best_epoch"] in (2, 4)
    assert back.metrics["valid"]["mrr"] == max(p["mrr"] for p in back.metrics["curve"])
    assert back.metrics["seconds"] >= back.metrics["curve"][-1]["seconds"] > 0
    assert back.sources.names == ("planted", "rich")
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open()]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]


def test_a_finished_run_is_not_run_again(linked, make_recipe, tmp_path) -> None:
    first = pretrain(linked, recipe=make_recipe(epochs=3), run_dir=tmp_path)
    again = pretrain(linked, recipe=make_recipe(epochs=3), run_dir=tmp_path)
    assert again.id == first.id


def test_it_names_its_parent(linked, teacher, make_recipe) -> None:
    recipe = make_recipe(epochs=1)
    model = fresh_model(recipe, linked)
    history = fit(model, task_objective(recipe, linked), linked, recipe=recipe)
    child = checkpoint_of(model, linked, history, recipe, parent=teacher, notes={"why": "a test"})
    assert child.provenance["parent"] == teacher.id
    assert child.provenance["why"] == "a test"
    assert child.saw(teacher.graph)
    assert child.config == recipe.model


def test_it_knows_every_graph_it_was_trained_on(pair, linked, teacher, make_recipe) -> None:
    assert all(teacher.saw(graph) for graph in (linked.graph, pair.sparse.train, pair.rich))
    assert not teacher.saw(pair.unrelated)
    student = distill(teacher, pair.sparse, recipe=make_recipe(epochs=1))
    assert all(student.saw(graph) for graph in (pair.sparse.train, pair.rich, student.graph))


@pytest.mark.parametrize("encoder", ["shallow", "rgcn", "compgcn"])
@pytest.mark.parametrize("inputs", ["features", "mixture"])
def test_given_vectors_are_trained_on_saved_and_ranked_alike(
    pair, make_recipe, tmp_path, encoder, inputs
) -> None:
    recipe = make_recipe(encoder, width=8, epochs=2)
    recipe = replace(recipe, model=replace(recipe.model, inputs=inputs))
    linked = alone(pair.sparse.train)
    vectors = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    model = build_model(recipe.model, num_entities=40, num_relations=6, features=vectors)
    history = fit(model, task_objective(recipe, linked), linked, recipe=recipe)
    checkpoint = checkpoint_of(model, linked, history, recipe)
    back = Checkpoint.load(checkpoint.save(tmp_path / "c"))
    name = {"features": "features", "mixture": "text"}[inputs]
    assert torch.equal(back.model.state_dict()[f"encoder.inputs.{name}"], vectors)
    ranks = [evaluate(c, pair.sparse).ranks for c in (checkpoint, back)]
    assert torch.equal(*ranks)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("edge_dropout", {"training": TrainConfig(edge_dropout=0.1)}),
        ("masked", {"auxiliary": AuxiliaryConfig(masked=0.1)}),
        ("contrastive", {"auxiliary": AuxiliaryConfig(contrastive=0.1)}),
    ],
)
@pytest.mark.parametrize("encoder", ["shallow", "foundation"])
def test_what_reads_edges_needs_an_encoder_with_layers(encoder, name, options) -> None:
    with pytest.raises(ValueError, match=rf"{name} needs .*compgcn \(got '{encoder}'"):
        Recipe(ModelConfig(encoder=encoder), **options)
    for deep in ("rgcn", "compgcn"):
        assert Recipe(ModelConfig(encoder=deep), **options).model.encoder == deep


def test_a_foundation_model_learns_stated_facts_alone() -> None:
    foundation = ModelConfig(encoder="foundation")
    with pytest.raises(ValueError, match=r"stated facts alone.*got AuxiliaryConfig"):
        Recipe(foundation, auxiliary=AuxiliaryConfig(proposed=0.1))
    assert Recipe(foundation).auxiliary == AuxiliaryConfig()


def test_by_default_nothing_is_drawn_and_nothing_changes(linked, make_recipe) -> None:
    """The same weights, bit for bit, as by the loss of link prediction alone."""
    for encoder in ("shallow", "compgcn"):
        recipe = make_recipe(encoder, epochs=3)
        model = fresh_model(recipe, linked)
        known = KnownTriples(
            [linked.graph.triples],
            num_entities=linked.graph.num_entities,
            num_relations=linked.graph.num_relations,
        )
        alone_ = build_objective(recipe.objective, known)
        batches = TripleBatches(linked.graph.triples, recipe.batches, source=linked.source)
        graph = linked.graph.tensors()
        Trainer(recipe.training).fit(model, alone_, batches, graph=graph)
        other = pretrain(linked, recipe=recipe).model
        for (name, value), (again, same) in zip(
            model.state_dict().items(), other.state_dict().items(), strict=True
        ):
            assert name == again
            assert torch.equal(value, same), name


def test_all_parts_are_logged_and_resumed_exactly(linked, make_recipe, tmp_path) -> None:
    auxiliary = AuxiliaryConfig(
        proposed=0.5, min_support=5, masked=0.5, contrastive=0.1, sample_size=16
    )
    recipe = replace(make_recipe("compgcn", epochs=4, width=8), auxiliary=auxiliary)
    expected = pretrain(linked, recipe=recipe)
    shorter = replace(recipe, training=replace(recipe.training, max_seconds=1e-9))
    for _ in range(3):  # a step each
        pretrain(linked, recipe=shorter, run_dir=tmp_path)
    assert pretrain(linked, recipe=recipe, run_dir=tmp_path).id == expected.id
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").open()]
    names = {"task", "proposed", "masked.entities", "masked.relations", "contrastive"}
    assert all(row["terms"].keys() == names for row in rows)
    again = json.loads(json.dumps(expected.provenance["recipe"]))
    assert AuxiliaryConfig(**again["auxiliary"]) == auxiliary


def test_it_may_go_before_the_questions(make_recipe) -> None:
    """Pre-training on hidden edges alone, which fine-tuning goes on from."""
    split = planted(40)
    linked = alone(split.train)
    before = AuxiliaryConfig(task=0.0, masked=1.0, mask_share=0.3)
    recipe = make_recipe("compgcn", epochs=40)
    start = pretrain(linked, recipe=replace(recipe, auxiliary=before))
    moved = finetune(start, split, recipe=make_recipe("compgcn", epochs=2))
    assert moved.provenance["growth"]["entities"] == {"matched": 40, "new": 0, "dropped": 0}
    assert moved.provenance["parent"] == start.id
    fresh = pretrain(linked, recipe=make_recipe("compgcn", epochs=2))
    found = [evaluate(checkpoint, split).metrics()["mrr"] for checkpoint in (moved, fresh)]
    assert found[0] > 0.4 > 2 * found[1]


def test_edge_dropout_fits(linked, make_recipe) -> None:
    recipe = make_recipe("compgcn", epochs=4, edge_dropout=0.5)
    ids = {pretrain(linked, recipe=recipe).id for _ in range(2)}
    ids.add(pretrain(linked, recipe=make_recipe("compgcn", epochs=4)).id)
    assert len(ids) == 2


def test_defaults_are_a_recipe() -> None:
    assert Recipe() == Recipe()
    assert Recipe().validation_size is None
