import math

import pytest
import torch
from torch import nn

from pyg_kgtransfer.training.config import (
    OPTIMIZERS,
    TrainConfig,
    build_optimizer,
    learning_rate_factor,
)


def factors(total: int, config: TrainConfig) -> list[float]:
    return [learning_rate_factor(step, total, config) for step in range(total)]


def test_constant_stays_at_one_after_a_linear_warmup() -> None:
    assert factors(4, TrainConfig()) == [1.0] * 4
    assert factors(6, TrainConfig(warmup=0.5)) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_linear_and_cosine_fall_from_one_towards_zero() -> None:
    assert factors(4, TrainConfig(schedule="linear")) == [1.0, 0.75, 0.5, 0.25]
    cosine = factors(4, TrainConfig(schedule="cosine"))
    expected = [1.0, 0.5 + 0.25 * math.sqrt(2), 0.5, 0.5 - 0.25 * math.sqrt(2)]
    assert cosine == pytest.approx(expected)
    warm = factors(10, TrainConfig(schedule="cosine", warmup=0.2))
    assert warm[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert warm[2:] == sorted(warm[2:], reverse=True)
    assert 0 < warm[-1] < 0.05


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "adamm"}, "did you mean 'adam'"),
        ({"schedule": "step"}, r"constant, linear, cosine \(got 'step'\)"),
        ({"precision": "32"}, "precision must be one of"),
        ({"epochs": 0}, r"epochs must be at least 1 \(got 0\)"),
        ({"patience": 0}, "patience"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"learning_rate": math.nan}, "above 0"),
        ({"min_delta": -0.1}, "min_delta must be at least 0"),
        ({"warmup": 1.0}, r"in \[0, 1\)"),
        ({"edge_dropout": 1.0}, r"a share of the facts, in \[0, 1\) \(got 1.0\)"),
        ({"edge_dropout": -0.1}, "edge_dropout"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**settings)


def test_decisive_settings_leave_out_those_that_a_resume_may_change() -> None:
    decisive = TrainConfig(epochs=7).decisive()
    assert decisive["epochs"] == 7
    assert "learning_rate" in decisive
    assert not {"max_seconds", "progress", "save_every", "tensorboard"} & set(decisive)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_all_trained_parameters_are_in_the_optimizer(name: str) -> None:
    model, objective = nn.Linear(2, 3), nn.Linear(3, 1)
    model.bias.requires_grad_(False)
    optimizer = build_optimizer(TrainConfig(optimizer=name, weight_decay=0.1), model, objective)
    assert type(optimizer) is OPTIMIZERS[name]
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in held} == {id(model.weight), id(objective.weight), id(objective.bias)}
    assert all(group["weight_decay"] == 0.1 for group in optimizer.param_groups)


def test_groups_choose_rates_and_leave_the_rest_of_the_model_out() -> None:
    model, objective = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), nn.Linear(1, 1)
    groups = [{"params": model[1].parameters(), "lr": 0.5}]
    optimizer = build_optimizer(TrainConfig(learning_rate=0.1), model, objective, groups)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates == {id(p): 0.5 for p in model[1].parameters()} | {
        id(p): 0.1 for p in objective.parameters()
    }


def test_nothing_to_train_and_strange_parameters_are_refused() -> None:
    model = nn.Linear(1, 1).requires_grad_(False)
    with pytest.raises(ValueError, match="needs a parameter to change"):
        build_optimizer(TrainConfig(), model, nn.Identity())
    stranger = [{"params": [nn.Parameter(torch.zeros(7))]}]
    with pytest.raises(ValueError, match=r"parameter_groups\[0\].*\(7,\)"):
        build_optimizer(TrainConfig(), model, nn.Identity(), stranger)
