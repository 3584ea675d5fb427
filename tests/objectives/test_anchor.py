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


def test_nothing_to_hold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs parameters to hold \(got none\)"):
        Anchor({})
