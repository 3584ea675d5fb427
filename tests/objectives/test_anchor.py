"""Staying near a start: the distance, the rows it holds, and that it holds them."""

import copy

import pytest
import torch

from pyg_kgtransfer.objectives.anchor import Anchor
from pyg_kgtransfer.objectives.link_prediction import OneVsAll
from pyg_kgtransfer.objectives.objective import Mixture


def encoded(model, graph):
    return model.encode(graph.tensors())


def test_it_is_the_mean_squared_distance(graph, model, batch) -> None:
    start = dict(copy.deepcopy(model).named_parameters())
    anchor = Anchor(start)
    assert anchor(model, encoded(model, graph), batch).item() == 0.0
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn(parameter.shape)
    changes = [
        (value - start[name]).detach().double().square() for name, value in model.named_parameters()
    ]
    expected = sum(float(c.sum()) for c in changes) / sum(c.numel() for c in changes)
    assert anchor(model, encoded(model, graph), batch).item() == pytest.approx(expected, rel=1e-5)


def test_only_the_named_rows_are_held(graph, model, batch) -> None:
    rows = torch.zeros(10, dtype=torch.bool)
    rows[2] = True
    name = "encoder.entity"
    anchor = Anchor({name: dict(model.named_parameters())[name]}, {name: rows})
    with torch.no_grad():
        model.encoder.entity[3] += 5.0
        model.encoder.relation += 5.0
    assert anchor(model, encoded(model, graph), batch).item() == 0.0
    with torch.no_grad():
        model.encoder.entity[2] += 2.0
    loss = anchor(model, encoded(model, graph), batch)
    assert loss.item() == pytest.approx(4.0)  # of the values that are held, all moved by 2
    loss.backward()
    assert model.encoder.entity.grad.any(dim=1).nonzero().view(-1).tolist() == [2]


def test_no_rows_to_hold_weigh_nothing(graph, model, batch) -> None:
    name = "encoder.entity"
    nothing = torch.zeros(10, dtype=torch.bool)
    anchor = Anchor({name: dict(model.named_parameters())[name]}, {name: nothing})
    assert anchor(model, encoded(model, graph), batch).item() == 0.0


def test_a_heavy_anchor_keeps_the_model_near_its_start(graph, make_model, batch) -> None:
    def distance(weight: float) -> float:
        model = make_model(6, seed=1)
        start = {name: value.detach().clone() for name, value in model.named_parameters()}
        objective = Mixture({"task": OneVsAll(), "anchor": Anchor(start)}, {"anchor": weight})
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(50):
            optimizer.zero_grad()
            objective(model, encoded(model, graph), batch).backward()
            optimizer.step()
        return sum((p - start[n]).norm().item() for n, p in model.named_parameters())

    assert distance(1000.0) < 0.5 * distance(0.0)


def test_the_start_is_a_copy_that_is_never_trained(model) -> None:
    anchor = Anchor(dict(model.named_parameters()))
    assert not any(parameter.requires_grad for parameter in anchor.parameters())
    with torch.no_grad():
        model.encoder.entity.zero_()
    assert bool(anchor.start[anchor.names.index("encoder.entity")].any())


def test_an_elastic_anchor_weighs_each_value(graph, model, batch) -> None:
    start = dict(copy.deepcopy(model).named_parameters())
    generator = torch.Generator().manual_seed(0)
    weigh = {name: torch.rand(v.shape, generator=generator) for name, v in start.items()}
    anchor = Anchor(start, importance=weigh)
    assert anchor(model, encoded(model, graph), batch).item() == 0.0
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn(parameter.shape)
    changes = {name: (value - start[name]).detach() for name, value in model.named_parameters()}
    total = sum(
        float(weigh[name].flatten()[i]) * float(change.flatten()[i]) ** 2
        for name, change in changes.items()
        for i in range(change.numel())
    )
    expected = total / sum(float(each.double().sum()) for each in weigh.values())
    found = anchor(model, encoded(model, graph), batch).item()
    assert found == pytest.approx(expected, rel=1e-4)
    scaled = Anchor(start, importance={name: 1e-6 * value for name, value in weigh.items()})
    assert scaled(model, encoded(model, graph), batch).item() == pytest.approx(found, rel=1e-5)
    even = Anchor(start, importance={name: torch.ones_like(v) for name, v in start.items()})
    plain = Anchor(start)(model, encoded(model, graph), batch).item()
    assert even(model, encoded(model, graph), batch).item() == pytest.approx(plain, rel=1e-5)


def test_what_does_not_matter_is_free(graph, model, batch) -> None:
    start = dict(model.named_parameters())
    weigh = {name: torch.zeros_like(value) for name, value in start.items()}
    weigh["encoder.entity"][2] = 1.0
    anchor = Anchor(start, importance=weigh)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 3.0
    loss = anchor(model, encoded(model, graph), batch)
    assert loss.item() == pytest.approx(9.0)
    loss.backward()
    assert model.encoder.entity.grad.any(dim=1).nonzero().view(-1).tolist() == [2]
    assert not any(value.requires_grad for value in anchor.parameters())


def test_importances_that_do_not_fit_are_refused(model) -> None:
    start = dict(model.named_parameters())
    weigh = {name: torch.ones_like(value) for name, value in start.items()}
    for wrong, message in (
        ({}, r"importance of encoder.entity needs .*\(10, 6\) \(got none\)"),
        (weigh | {"encoder.entity": torch.ones(3)}, r"\(10, 6\) \(got \(3,\)\)"),
        (weigh | {"encoder.entity": -torch.ones(10, 6)}, "at least 0 .*encoder.entity"),
        ({name: 0.0 * value for name, value in weigh.items()}, r"above 0 \(got none\)"),
    ):
        with pytest.raises(ValueError, match=message):
            Anchor(start, importance=wrong)


def test_nothing_to_hold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs parameters to hold \(got none\)"):
        Anchor({})
