"""Local re-training: what it gains, what it leaves alone, what it leaves out."""

import json
from dataclasses import replace

import pytest
import torch

from pyg_kgtransfer.graph.splits import random_split
from pyg_kgtransfer.linking.alignment import Alignment
from pyg_kgtransfer.linking.linked import link, linked_subgraph
from pyg_kgtransfer.objectives.distillation import Teacher
from pyg_kgtransfer.training.batches import BatchOptions
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.distill import DistillConfig, distill, distillation_objective
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import alone, evaluate, own_alignment
from pyg_kgtransfer.transfer.recipe import fresh_model


def mrr(checkpoint, split) -> float:
    return evaluate(checkpoint, split).metrics()["mrr"]


def taught(teacher: Checkpoint, linked) -> Teacher:
    maps = linked.back_map(teacher.graph.name)
    return Teacher(teacher.model, teacher.graph.tensors(), *maps)


def test_transfer_helps_where_it_must_and_not_where_it_cannot(
    pair, aligned, teacher, make_recipe
) -> None:
    small = make_recipe(width=16)
    own = mrr(pretrain(alone(pair.sparse.train), recipe=small), pair.sparse)
    assert mrr(distill(teacher, pair.sparse, recipe=small), pair.sparse) > own + 0.2
    graphs = [pair.sparse.train, pair.unrelated]
    misled = pretrain(link(graphs, [aligned(pair.unrelated)]), recipe=make_recipe())
    assert mrr(distill(misled, pair.sparse, recipe=small), pair.sparse) < own


def test_the_teacher_itself_teaches_beside_the_facts_it_shares(
    pair, aligned, teacher, make_recipe
) -> None:
    small = make_recipe(width=16)
    silent = teacher.graph.with_triples(teacher.graph.triples[:0])
    near = linked_subgraph(pair.sparse.train, silent, own_alignment(teacher, pair.sparse.train))
    nothing = DistillConfig(feature=0, hidden=0, flow=0, prediction=0)
    bare = distill(teacher, pair.sparse, near, recipe=small, config=nothing)
    student = distill(teacher, pair.sparse, near, recipe=small)
    assert near.graph.num_triples == pair.sparse.train.num_triples
    assert mrr(student, pair.sparse) > mrr(bare, pair.sparse) + 0.1


def test_a_message_passing_student_gains_on_all_levels(pair, deep_teacher, make_recipe) -> None:
    small = make_recipe("compgcn", width=16)
    own = mrr(pretrain(alone(pair.sparse.train), recipe=small), pair.sparse)
    assert mrr(distill(deep_teacher, pair.sparse, recipe=small), pair.sparse) > own + 0.2


def test_one_teacher_serves_two_targets_without_being_trained_again(
    pair, make_recipe, state_of
) -> None:
    other = random_split(pair.rich, 0.05, 0.2, seed=1)
    alignment = Alignment.from_names(pair.sparse.train, other.train, pair.entity_pairs)
    joint = link([pair.sparse.train, other.train], [alignment])
    teacher = pretrain(joint, recipe=make_recipe())
    before, identity = state_of(teacher.model), teacher.id
    encoded: list[int] = []
    teacher.model.encoder.register_forward_hook(lambda *_: encoded.append(1))
    recipe = make_recipe(width=16, epochs=40)
    for target, times in ((pair.sparse, 1), (other, 2)):
        student = distill(teacher, target, recipe=recipe)
        assert len(encoded) == times  # once per student, however many steps
        assert student.model.encoder.width == 16
        assert student.provenance["parent"] == identity
        assert mrr(student, target) > 0.5
    assert teacher.id == identity
    assert not teacher.model.training
    after = teacher.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(parameter.grad is None for parameter in teacher.model.parameters())


def test_a_teacher_that_never_saw_the_target_serves_it_through_links(
    pair, aligned, make_recipe
) -> None:
    teacher = pretrain(alone(pair.rich), recipe=make_recipe())
    joint = teacher.graph.name
    alignment = replace(aligned(pair.rich), right=joint)
    linked = linked_subgraph(pair.sparse.train, teacher.graph, alignment)
    student = distill(teacher, pair.sparse, linked, recipe=make_recipe(width=16))
    assert student.sources.names == (pair.sparse.train.name, joint)
    own = pretrain(alone(pair.sparse.train), recipe=make_recipe(width=16))
    assert mrr(student, pair.sparse) > mrr(own, pair.sparse) + 0.1
    with pytest.raises(ValueError, match=r"'planted' must be among .*\(got 'rich'\)"):
        distill(teacher, pair.sparse, recipe=make_recipe())


def test_strict_links_give_a_student_without_the_held_out_pairs(pair, teacher, make_recipe) -> None:
    linked = linked_subgraph(
        pair.sparse.train, teacher.graph, own_alignment(teacher, pair.sparse.train)
    )
    strict = linked.without_pairs(pair.sparse.train.name, pair.sparse.test.triples)
    student = distill(teacher, pair.sparse, strict, recipe=make_recipe(epochs=2))
    assert student.graph.fingerprint() == strict.graph.fingerprint()


def test_links_to_another_graph_than_the_teachers_are_refused(
    pair, linked, teacher, make_recipe
) -> None:
    with pytest.raises(ValueError, match=r"must have the teacher's graph .*\(got planted, rich\)"):
        distill(teacher, pair.sparse, linked, recipe=make_recipe())


def names_of(teacher: Checkpoint, encoder: str, make_recipe, pair, **weights: float) -> list[str]:
    own = own_alignment(teacher, pair.sparse.train)
    linked = linked_subgraph(pair.sparse.train, teacher.graph, own)
    recipe, config = make_recipe(encoder, width=16), DistillConfig(**weights)
    student = fresh_model(recipe, linked)
    objective = distillation_objective(
        taught(teacher, linked), student, linked, recipe=recipe, config=config
    )
    return list(objective.objectives)


def test_the_network_level_is_left_out_without_layers(
    pair, teacher, deep_teacher, make_recipe
) -> None:
    every = ["task", "feature", "hidden", "flow", "prediction"]
    shallow = ["task", "feature", "prediction"]
    assert names_of(deep_teacher, "compgcn", make_recipe, pair) == every
    assert names_of(deep_teacher, "shallow", make_recipe, pair) == shallow
    assert names_of(teacher, "compgcn", make_recipe, pair) == shallow


def test_a_weight_of_nought_leaves_its_term_out(pair, deep_teacher, make_recipe) -> None:
    for name in ("feature", "hidden", "flow", "prediction"):
        assert name not in names_of(deep_teacher, "rgcn", make_recipe, pair, **{name: 0.0})


def test_terms_are_logged_apart_and_annealed(pair, deep_teacher, make_recipe, tmp_path) -> None:
    recipe = make_recipe("compgcn", width=16, epochs=3)
    recipe = replace(recipe, batches=BatchOptions(batch_size=64))
    config = DistillConfig(anneal_to=0.0, num_candidates=10, sample_size=8, row_loss="contrastive")
    distill(deep_teacher, pair.sparse, recipe=recipe, config=config, run_dir=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    for row in rows:
        assert set(row["terms"]) == {"task", "feature", "hidden", "flow", "prediction"}
        assert sum(row["terms"].values()) == pytest.approx(row["loss"], rel=1e-4)
    for name in ("feature", "hidden", "flow", "prediction"):
        assert rows[-1]["terms"][name] < 0.5 * rows[0]["terms"][name]


@pytest.mark.parametrize("row_loss", ["mse", "contrastive"])
@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_other_distances_and_precisions_teach(
    pair, deep_teacher, make_recipe, row_loss, precision
) -> None:
    recipe = make_recipe("rgcn", width=16, epochs=2, precision=precision)
    student = distill(
        deep_teacher, pair.sparse, recipe=recipe, config=DistillConfig(row_loss=row_loss)
    )
    assert student.metrics["steps"] > 0
    assert deep_teacher.model.encoder.inputs.weight.dtype == torch.float32


def test_a_student_saves_loads_and_ranks_alike(pair, deep_teacher, make_recipe, tmp_path) -> None:
    recipe = make_recipe("compgcn", width=16, epochs=10)
    student = distill(deep_teacher, pair.sparse, recipe=recipe)
    back = Checkpoint.load(student.save(tmp_path / "student"))
    assert back.id == student.id
    assert back.provenance["distillation"]["feature"] == 1.0
    assert back.provenance["linked_entities"] == pair.sparse.train.num_entities
    assert back.saw(deep_teacher.graph)
    expected, got = (evaluate(checkpoint, pair.sparse) for checkpoint in (student, back))
    assert torch.equal(got.ranks, expected.ranks)
    assert got.metrics() == expected.metrics()


def test_a_seed_repeats_the_student(pair, deep_teacher, make_recipe) -> None:
    ids = [
        distill(deep_teacher, pair.sparse, recipe=make_recipe("rgcn", width=8, epochs=2)).id
        for _ in range(2)
    ]
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flow": -1.0}, r"weight of flow must be at least 0 \(got -1.0\)"),
        ({"anneal_to": 1.5}, r"anneal_to must be in \[0, 1\]"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"row_loss": "cos"}, "cosine, mse, contrastive"),
        ({"sample_size": 0}, "sample_size must be at least 1"),
        ({"num_candidates": 0}, "num_candidates must be at least 1"),
    ],
)
def test_options_out_of_range_are_named(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        DistillConfig(**options)
