"""Row-wise Adagrad: one number of state per row, rows left out left alone, no lost small steps."""

import pytest
import torch
from torch import nn
from torch.nn.functional import embedding

from pyg_kgtransfer.models.build import ModelConfig, build_model
from pyg_kgtransfer.training.config import TrainConfig, build_optimizer
from pyg_kgtransfer.training.rowwise_adagrad import RowwiseAdagrad


def slow_steps(weights: torch.Tensor, gradients: list[torch.Tensor], lr: float) -> torch.Tensor:
    """The formula, row by row."""
    weights = weights.clone()
    state = [0.0] * len(weights)
    for gradient in gradients:
        for row in range(len(weights)):
            if gradient[row].any():
                state[row] += float((gradient[row] ** 2).mean())
                weights[row] -= lr * gradient[row] / (state[row] ** 0.5 + 1e-10)
    return weights


@pytest.mark.parametrize("sparse", [False, True])
def test_steps_are_the_formulas(sparse: bool) -> None:
    torch.manual_seed(0)
    start = torch.randn(6, 3)
    asked = [torch.tensor(ids) for ids in ([0, 2, 2], [2, 5], [1])]
    table, pull = nn.Parameter(start.clone()), torch.randn(3, 3)
    optimizer = RowwiseAdagrad([table], lr=0.3)
    gradients = []
    for ids in asked:
        optimizer.zero_grad()
        (embedding(ids, table, sparse=sparse) * pull[: len(ids)]).sum().backward()
        gradients.append(table.grad.to_dense().clone())
        optimizer.step()
    torch.testing.assert_close(table.detach(), slow_steps(start, gradients, 0.3))
    assert optimizer.state[table]["sum"].shape == (6,)


def test_vectors_and_scalars_are_as_in_adagrad() -> None:
    torch.manual_seed(0)
    both = [[nn.Parameter(torch.ones(4)), nn.Parameter(torch.tensor(2.0))] for _ in range(2)]
    optimizers = RowwiseAdagrad(both[0], lr=0.1), torch.optim.Adagrad(both[1], lr=0.1)
    for _ in range(3):
        for parameters, optimizer in zip(both, optimizers, strict=True):
            optimizer.zero_grad()
            (parameters[0].square().sum() * parameters[1]).backward()
            optimizer.step()
    for ours, theirs in zip(*both, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_in_bfloat16_steps_below_its_precision_are_not_lost() -> None:
    torch.manual_seed(0)
    table = nn.Parameter(torch.ones(2000, 4, dtype=torch.bfloat16))
    optimizer = RowwiseAdagrad([table], lr=1e-3)  # bfloat16 has steps of 0.0039 below 1
    for _ in range(4):
        optimizer.zero_grad()
        table.float().sum().backward()
        optimizer.step()
    expected = 1 - 1e-3 * sum(n**-0.5 for n in range(1, 5))
    assert abs(table.float().mean().item() - expected) < 2e-4
    assert len(table.unique()) > 1
    other = nn.Parameter(torch.ones(2, 4, dtype=torch.bfloat16))
    plain = torch.optim.SGD([other], lr=1e-3)
    for _ in range(4):
        plain.zero_grad()
        other.float().sum().backward()
        plain.step()
    assert other.float().mean() == 1  # each step is rounded away


def test_bad_numbers_are_refused() -> None:
    table = nn.Parameter(torch.ones(2, 2))
    with pytest.raises(ValueError, match="above 0"):
        RowwiseAdagrad([table], lr=0.0)
    optimizer = RowwiseAdagrad([table], weight_decay=0.1)
    embedding(torch.tensor([1]), table, sparse=True).sum().backward()
    with pytest.raises(ValueError, match=r"cannot decay \(got 0.1\)"):
        optimizer.step()


def test_a_rounded_table_needs_an_optimizer_that_keeps_small_steps() -> None:
    config = ModelConfig(encoder="shallow", width=8, sparse=True, table="bfloat16")
    model = build_model(config, num_entities=5, num_relations=2)
    assert model.encoder.inputs.weight.dtype == torch.bfloat16
    build_optimizer(TrainConfig(optimizer="rowwise_adagrad"), model, nn.Identity())
    with pytest.raises(ValueError, match=r"needs optimizer 'rowwise_adagrad'.*\(got 'adagrad'\)"):
        build_optimizer(TrainConfig(optimizer="adagrad"), model, nn.Identity())
    with pytest.raises(ValueError, match=r"bfloat16 needs sparse rows"):
        ModelConfig(table="bfloat16")
