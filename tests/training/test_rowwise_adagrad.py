"""Row-wise Adagrad: one number of state per row, rows left out left alone, no lost small steps."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import embedding

from pyg_kgtransfer.models.build import ModelConfig, build_model
from pyg_kgtransfer.sources.synthetic import planted
from pyg_kgtransfer.training.config import TrainConfig, build_optimizer
from pyg_kgtransfer.training.rowwise_adagrad import RowwiseAdagrad
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import alone
from pyg_kgtransfer.transfer.recipe import Recipe


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


def test_state_is_kept_and_steps_are_computed_in_at_least_32_bits() -> None:
    for dtype, state in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        both = [nn.Parameter(torch.full((3, 2), 0.7, dtype=dtype)) for _ in range(2)]
        optimizers = [RowwiseAdagrad([table], lr=0.1) for table in both]
        (both[0] * 0.123).sum().backward()
        optimizers[0].step()
        optimizers[1].load_state_dict(optimizers[0].state_dict())
        sums = [
            optimizer.state[table]["sum"] for optimizer, table in zip(optimizers, both, strict=True)
        ]
        assert sums[1].dtype == state
        assert torch.equal(*sums)
        assert sums[0] is not sums[1]
    exact = 0.7 - 0.1 * 0.123 / (0.123 + 1e-10)
    assert both[0][0, 0].item() == pytest.approx(exact, abs=1e-14)


def test_a_rounded_table_resumes_exactly(tmp_path) -> None:
    def trained(name: str, **settings: object) -> torch.Tensor:
        recipe = Recipe(
            ModelConfig(encoder="shallow", width=8, sparse=True, table="bfloat16"),
            training=TrainConfig(epochs=4, optimizer="rowwise_adagrad", learning_rate=0.1,
                                 progress=False, accelerator="cpu", **settings),
        )  # fmt: skip
        linked = alone(planted(24).train)
        return pretrain(linked, recipe=recipe, run_dir=tmp_path / name).model.encoder.inputs.weight

    whole = trained("whole")
    trained("cut", max_seconds=1e-9)
    assert torch.equal(trained("cut"), whole)


def test_another_precision_is_another_run(tmp_path) -> None:
    linked = alone(planted(24).train)
    model = ModelConfig(encoder="shallow", width=8, sparse=True)
    training = TrainConfig(epochs=2, optimizer="rowwise_adagrad", progress=False,
                           accelerator="cpu", max_seconds=1e-9)  # fmt: skip
    pretrain(linked, recipe=Recipe(model, training=training), run_dir=tmp_path)
    other = Recipe(replace(model, table="bfloat16"), training=training)
    with pytest.raises(ValueError, match="other model"):
        pretrain(linked, recipe=other, run_dir=tmp_path)


@pytest.mark.parametrize("encoder", ["shallow", "compgcn"])
def test_plain_tables_may_be_trained_in_bfloat16_by_any_optimizer(encoder: str) -> None:
    training = TrainConfig(epochs=1, precision="bf16-true", progress=False, accelerator="cpu")
    recipe = Recipe(ModelConfig(encoder=encoder, width=8), training=training)
    model = pretrain(alone(planted(24).train), recipe=recipe).model
    assert model.encoder.inputs.weight.dtype == torch.bfloat16


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
    with pytest.raises(ValueError, match=r"needs optimizer 'rowwise_adagrad'.*\(got 'adagrad' and"):
        build_optimizer(TrainConfig(optimizer="adagrad"), model, nn.Identity())
    doubles = TrainConfig(optimizer="rowwise_adagrad", precision="64-true")
    with pytest.raises(ValueError, match="another precision than '64-true'"):
        build_optimizer(doubles, model, nn.Identity())
    with pytest.raises(ValueError, match=r"bfloat16 needs sparse rows"):
        ModelConfig(table="bfloat16")
