from functools import partial

import pytest
import torch

from pyg_kgtransfer.functional import losses
from pyg_kgtransfer.objectives.distillation import (
    FeatureDistillation,
    FlowDistillation,
    HiddenDistillation,
    PredictionDistillation,
    Teacher,
    matched_layers,
)

EVERY = torch.arange(10)
RELATIONS = torch.arange(3)


def objectives(teacher: Teacher, graph, width: int) -> dict:
    return {
        "feature": FeatureDistillation(teacher, width),
        "feature_nce": FeatureDistillation(
            teacher, width, loss=partial(losses.contrastive_loss, temperature=0.1)
        ),
        "hidden": HiddenDistillation(teacher, [width, width]),
        "flow": FlowDistillation(teacher, graph.tensors(), 2),
        "prediction": PredictionDistillation(teacher, temperature=2.0),
    }


def test_a_student_equal_to_its_teacher_has_nothing_to_learn(graph, make_model, batch) -> None:
    student = make_model(6, 0)
    teacher = Teacher(make_model(6, 0), graph.tensors(), EVERY, RELATIONS)
    representations = student.encode(graph.tensors())
    for name, objective in objectives(teacher, graph, 6).items():
        value = objective(student, representations, batch).item()
        if name != "feature_nce":
            assert value == pytest.approx(0.0, abs=1e-6), name


@pytest.mark.parametrize("name", ["feature", "feature_nce", "hidden", "flow", "prediction"])
@pytest.mark.parametrize("width", [4, 6])
def test_each_level_is_learned_and_leaves_the_teacher_alone(
    graph, make_model, batch, name, width
) -> None:
    student, model = make_model(width, 0), make_model(6, 1)
    before = [p.clone() for p in model.parameters()]
    teacher = Teacher(model, graph.tensors(), EVERY, RELATIONS)
    objective = objectives(teacher, graph, width)[name]
    optimizer = torch.optim.Adam([*student.parameters(), *objective.parameters()], lr=0.03)
    values = []
    for _ in range(120):
        loss = objective(student, student.encode(graph.tensors()), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.7 * values[0]
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert not any(p is q for p in objective.parameters() for q in model.parameters())


def test_the_teacher_answers_in_the_students_ids(graph, make_model) -> None:
    """Student row i is the teacher's row 9 - i; row 0 is unlinked; relation 2 is unknown."""
    model = make_model(6, 0)
    mapping = 9 - EVERY
    mapping[0] = -1
    teacher = Teacher(model, graph.tensors(), mapping, torch.tensor([1, 0, -1]))
    head, relation, candidates = torch.tensor([3]), torch.tensor([0]), torch.tensor([1, 2, 5])
    answer = teacher.score_tails(head, relation, candidates)
    representations = model.encode(graph.tensors())
    expected = model.score_tails(
        representations, torch.tensor([6]), torch.tensor([1]), torch.tensor([8, 7, 4])
    )
    assert torch.equal(answer, expected)
    assert torch.equal(teacher.linked, EVERY[1:])
    triples = torch.tensor([[1, 0, 2], [0, 0, 1], [1, 2, 3], [4, 1, 0]])
    assert teacher.knows(triples).tolist() == [True, False, False, False]


def test_triples_the_teacher_does_not_know_take_no_part(graph, make_model, batch) -> None:
    student = make_model(4, 0)
    teacher = Teacher(make_model(6, 1), graph.tensors(), EVERY, torch.tensor([-1, -1, -1]))
    representations = student.encode(graph.tensors())
    loss = PredictionDistillation(teacher)(student, representations, batch)
    assert loss.item() == 0.0
    loss.backward()  # a zero that training can go through


def test_sampled_candidates_hold_the_answers(graph, make_model, batch) -> None:
    student = make_model(4, 0)
    teacher = Teacher(make_model(6, 1), graph.tensors(), EVERY, RELATIONS)
    representations = student.encode(graph.tensors())
    sampled = PredictionDistillation(teacher, num_candidates=3)
    everything = PredictionDistillation(teacher, num_candidates=10)
    full = PredictionDistillation(teacher)
    value = full(student, representations, batch).item()
    assert everything(student, representations, batch).item() == pytest.approx(value)
    assert torch.isfinite(sampled(student, representations, batch))


def test_flow_leaves_out_edges_with_an_unlinked_end(graph, make_model, batch) -> None:
    mapping = EVERY.clone()
    mapping[5:] = -1
    teacher = Teacher(make_model(6, 1), graph.tensors(), mapping, RELATIONS)
    flow = FlowDistillation(teacher, graph.tensors(), 2)
    assert flow.edges.max() < 5
    mapping = torch.full((10,), -1)
    mapping[0] = 0
    lonely = Teacher(make_model(6, 1), graph.tensors(), mapping, RELATIONS)
    no_loops = graph.with_triples(graph.triples[graph.triples[:, 0] != graph.triples[:, 2]])
    with pytest.raises(ValueError, match="linked"):
        FlowDistillation(lonely, no_loops.tensors(), 2)


def test_layers_are_spread_evenly() -> None:
    assert matched_layers(1, 3) == [2]
    assert matched_layers(3, 3) == [0, 1, 2]
    assert matched_layers(2, 6) == [2, 5]
    assert matched_layers(4, 2)[-1] == 1
    with pytest.raises(ValueError, match="shallow"):
        matched_layers(0, 2)


def test_maps_are_checked(graph, make_model) -> None:
    with pytest.raises(ValueError, match="below 10"):
        Teacher(make_model(6, 0), graph.tensors(), EVERY + 1, RELATIONS)
    with pytest.raises(ValueError, match="no links"):
        Teacher(make_model(6, 0), graph.tensors(), torch.full((10,), -1), RELATIONS)
