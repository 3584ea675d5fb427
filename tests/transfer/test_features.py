"""Models whose entities come with features: joined, inherited, moved."""

import pytest
import torch

import pyg_kgtransfer as kgt
from pyg_kgtransfer.transfer.features import joint_features

LEFT = [("a", "r", "b"), ("b", "r", "c"), ("c", "s", "a"), ("a", "s", "d")]
RIGHT = [("B", "r", "E"), ("E", "s", "F"), ("F", "r", "B")]


def graphs() -> tuple[kgt.KnowledgeGraph, kgt.KnowledgeGraph, kgt.Alignment]:
    left = kgt.KnowledgeGraph.from_names(LEFT, name="left")
    right = kgt.KnowledgeGraph.from_names(RIGHT, name="right")
    return left, right, kgt.Alignment.from_names(left, right, [("b", "B")])


def recipe(inputs: str, encoder: str = "compgcn") -> kgt.Recipe:
    return kgt.Recipe(
        kgt.ModelConfig(encoder=encoder, width=8, inputs=inputs),
        training=kgt.TrainConfig(epochs=2, progress=False, accelerator="cpu"),
    )


def tables(width: int) -> dict[str, torch.Tensor]:
    left, right, _ = graphs()
    generator = torch.Generator().manual_seed(0)
    return {
        graph.name: torch.randn(graph.num_entities, width, generator=generator)
        for graph in (left, right)
    }


def given_rows(checkpoint: kgt.Checkpoint) -> torch.Tensor:
    names = {"features": "features", "mixture": "text"}
    return getattr(checkpoint.model.encoder.inputs, names[checkpoint.config.inputs])


@pytest.mark.parametrize("inputs", ["features", "mixture"])
@pytest.mark.parametrize("encoder", ["compgcn", "shallow"])
def test_features_go_from_teacher_to_student_and_through_a_file(inputs, encoder, tmp_path) -> None:
    left, right, same = graphs()
    rows = tables(8)
    linked = kgt.link([left, right], [same])
    teacher = kgt.pretrain(linked, recipe=recipe(inputs, encoder), features=rows)
    b, e = left.entities.id("b"), linked.graph.entities.id("E")
    mean = (rows["left"][b] + rows["right"][right.entities.id("B")]) / 2
    assert torch.equal(given_rows(teacher)[b], mean)
    assert torch.equal(given_rows(teacher)[e], rows["right"][right.entities.id("E")])

    target = kgt.Split(
        left, kgt.HeldOut(left.triples[:0], "valid"), kgt.HeldOut(left.triples[:0], "test")
    )
    student = kgt.distill(teacher, target, recipe=recipe(inputs, encoder))
    for name in left.entities:
        ours, theirs = student.graph.entities.id(name), teacher.graph.entities.id(name)
        assert torch.equal(given_rows(student)[ours], given_rows(teacher)[theirs])

    student.save(tmp_path / "student")
    again = kgt.Checkpoint.load(tmp_path / "student")
    assert torch.equal(given_rows(again), given_rows(student))


def test_new_entities_bring_features_or_have_zeros_and_known_ones_keep_theirs() -> None:
    left = graphs()[0]
    rows = tables(5)
    teacher = kgt.pretrain(
        kgt.link([left], []), recipe=recipe("features"), features={"left": rows["left"]}
    )
    new = kgt.KnowledgeGraph.from_names([("a", "r", "z"), ("z", "s", "b")], name="new")
    target = kgt.Split(
        new, kgt.HeldOut(new.triples[:0], "valid"), kgt.HeldOut(new.triples[:0], "test")
    )
    a, z = new.entities.id("a"), new.entities.id("z")
    moved = kgt.finetune(teacher, target, recipe=recipe("features"))
    assert torch.equal(given_rows(moved)[a], rows["left"][left.entities.id("a")])
    assert not given_rows(moved)[z].any()
    brought = kgt.finetune(
        teacher, target, recipe=recipe("features"), features={"new": torch.ones(3, 5)}
    )
    assert torch.equal(given_rows(brought)[a], rows["left"][left.entities.id("a")])
    assert torch.equal(given_rows(brought)[z], torch.ones(5))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"left": torch.ones(3, 2)}, r"shape \[4, F\]"),
        ({"left": torch.ones(4, 2, dtype=torch.long)}, "floats"),
        ({"lift": torch.ones(4, 2)}, "left"),
        ({"left": torch.ones(4, 2), "right": torch.ones(3, 3)}, "2 wide"),
    ],
)
def test_wrong_features_are_refused(features, message) -> None:
    left, right, same = graphs()
    with pytest.raises(ValueError, match=message):
        joint_features(kgt.link([left, right], [same]), features)


def test_features_that_nobody_reads_or_that_are_missing_are_refused() -> None:
    left, _, _ = graphs()
    linked = kgt.link([left], [])
    with pytest.raises(ValueError, match="'lookup'"):
        kgt.pretrain(linked, recipe=recipe("lookup"), features={"left": torch.ones(4, 2)})
    with pytest.raises(ValueError, match="need features"):
        kgt.pretrain(linked, recipe=recipe("features"))
