import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import pyg_kgtransfer as kgt
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.training.trainer import Trainer

QUIET = {"progress": False, "accelerator": "cpu"}


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_training_learns_and_the_objective_with_it(make: Callable) -> None:
    setting = make(dropout=0.0)
    before = setting.validate(setting.model.eval())["mrr"]
    config = TrainConfig(epochs=40, learning_rate=0.05, **QUIET)
    history = Trainer(config).fit(
        *setting.fit_arguments, graph=setting.graph.tensors(), validate=setting.validate
    )
    assert before < 0.4 < 0.6 < history.best_metric
    assert history.rows[-1]["loss"] < 0.6 * history.rows[0]["loss"]
    assert setting.objective.scale.item() != 1.0
    assert (history.stop_reason, history.steps) == ("epochs", 40 * 4)
    assert history.seconds_to(history.best_metric) <= history.seconds


def test_rows_tell_what_happened(make: Callable, tmp_path: Path) -> None:
    setting = make()
    config = TrainConfig(epochs=5, validate_every=2, schedule="linear", **QUIET)
    history = Trainer(config, tmp_path).fit(
        *setting.fit_arguments, graph=setting.graph.tensors(), validate=setting.validate
    )
    rows = history.rows
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["step"] for row in rows] == [4, 8, 12, 16, 20]
    assert [bool(row["metrics"]) for row in rows] == [False, True, False, True, True]
    for row in rows:
        assert row["loss"] == pytest.approx(sum(row["terms"].values()))
        assert row["terms"].keys() == {"ranking", "size"}
        assert row["triples_per_second"] == pytest.approx(30 / row["epoch_seconds"])
    rates = [row["learning_rate"] for row in rows]
    assert rates == pytest.approx([1e-2 * (1 - step / 20) for step in (3, 7, 11, 15, 19)])
    assert sorted(row["seconds"] for row in rows) == [row["seconds"] for row in rows]
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert logged == rows


def test_the_best_weights_are_put_back(make: Callable) -> None:
    setting, given = make(), iter([0.1, 0.9, 0.3, 0.2])
    kept: list[dict[str, torch.Tensor]] = []

    def validate(model: nn.Module) -> dict[str, float]:
        assert not model.training
        assert not torch.is_grad_enabled()
        kept.append(weights(model))
        return {"mrr": next(given), "hits@10": 0.0}

    history = Trainer(TrainConfig(epochs=4, **QUIET)).fit(
        *setting.fit_arguments, graph=setting.graph.tensors(), validate=validate
    )
    assert (history.best_epoch, history.best_metric) == (2, 0.9)
    assert same(weights(setting.model), kept[1])
    assert not same(weights(setting.model), kept[3])
    assert not setting.model.training
    assert all(parameter.grad is None for parameter in setting.model.parameters())


def test_early_stopping_says_why(make: Callable, caplog: pytest.LogCaptureFixture) -> None:
    setting, given = make(), iter([0.5, 0.4, 0.3, 0.9])
    config = TrainConfig(epochs=10, patience=2, **QUIET)
    with caplog.at_level(logging.INFO, logger="pyg_kgtransfer"):
        history = Trainer(config).fit(
            *setting.fit_arguments,
            graph=setting.graph.tensors(),
            validate=lambda _: {"mrr": next(given)},
        )
    assert (history.stop_reason, len(history.rows), history.best_epoch) == ("patience", 3, 1)
    assert "stopped after 12 steps: mrr did not rise above 0.5 by more than 0" in caplog.text


def test_validation_takes_nothing_from_training(make: Callable) -> None:
    def validate(model: nn.Module) -> dict[str, float]:
        torch.rand(7)
        return {"mrr": model.encoder.calls.item()}  # the last epoch is the best

    trained = []
    for check in (None, validate):
        setting = make(dropout=0.5)
        Trainer(TrainConfig(epochs=3, **QUIET)).fit(
            *setting.fit_arguments, graph=setting.graph.tensors(), validate=check
        )
        trained.append(weights(setting.model))
    assert same(*trained)


def test_the_seed_decides_and_the_random_state_of_torch_is_left_alone(make: Callable) -> None:
    trained = []
    for seed, outside in ((1, 10), (1, 11), (2, 10)):
        setting = make(dropout=0.5)
        torch.manual_seed(outside)
        before = torch.get_rng_state()
        Trainer(TrainConfig(epochs=2, seed=seed, **QUIET)).fit(
            *setting.fit_arguments, graph=setting.graph.tensors()
        )
        assert torch.equal(before, torch.get_rng_state())
        trained.append(weights(setting.model))
    assert same(trained[0], trained[1])
    assert not same(trained[0], trained[2])


def test_groups_freeze_the_rest_of_the_model(make: Callable) -> None:
    setting = make()
    before = weights(setting.model)
    groups = [{"params": [setting.model.encoder.relation], "lr": 0.1}]
    Trainer(TrainConfig(epochs=2, **QUIET)).fit(
        *setting.fit_arguments, graph=setting.graph.tensors(), parameter_groups=groups
    )
    after = weights(setting.model)
    assert torch.equal(before["encoder.entity"], after["encoder.entity"])
    assert (before["encoder.relation"] - after["encoder.relation"]).abs().max() > 0.05


def test_the_batch_is_left_out_of_the_graph_it_is_predicted_from(make: Callable) -> None:
    seen = []
    for leave_out in (False, True):
        setting = make()
        Trainer(TrainConfig(epochs=1, leave_out_batch=leave_out, **QUIET)).fit(
            *setting.fit_arguments, graph=setting.graph.tensors()
        )
        seen.append(setting.model.encoder.seen_edges)
    graph, expected = setting.graph.tensors(), []
    for batch in setting.batches.epoch(0):
        out = {(h, r, t) for h, r, t in batch.triples.tolist()}
        out |= {(t, r + 2, h) for h, r, t in out}
        rows = torch.stack([graph.edge_index[0], graph.edge_type, graph.edge_index[1]], dim=1)
        expected.append(sum(tuple(row) not in out for row in rows.tolist()))
    assert seen == [[60] * 4, expected]
    assert max(expected) <= 60 - 2 * 6


@pytest.mark.parametrize("leave_out", [False, True])
def test_edge_dropout_leaves_out_a_share_of_what_is_left(make: Callable, leave_out: bool) -> None:
    """30 facts, some of them repeated, as 60 edges; other ones go in each step."""
    counts = []
    for share in (0.0, 0.4):
        setting = make()
        Trainer(TrainConfig(epochs=3, leave_out_batch=leave_out, edge_dropout=share, **QUIET)).fit(
            *setting.fit_arguments, graph=setting.graph.tensors()
        )
        counts.append(setting.model.encoder.seen_edges)
    repeats = 30 - setting.graph.deduplicated().num_triples
    for whole, thinned in zip(*counts, strict=True):
        wanted = whole - 2 * round(0.4 * whole / 2)
        assert wanted - 2 * repeats <= thinned <= wanted < whole


def test_edge_dropout_is_the_batches_own_draw(make: Callable) -> None:
    trained = []
    for share, seed in ((0.4, 0), (0.4, 1), (0.0, 0)):
        setting = make(dropout=0.0)
        config = TrainConfig(epochs=2, edge_dropout=share, seed=seed, **QUIET)
        Trainer(config).fit(*setting.fit_arguments, graph=setting.graph.tensors())
        trained.append(weights(setting.model))
    assert same(trained[0], trained[1])
    assert not same(trained[0], trained[2])


@pytest.mark.parametrize(
    ("precision", "stored", "computed"),
    [
        ("32-true", torch.float32, torch.float32),
        ("64-true", torch.float64, torch.float64),
        ("bf16-mixed", torch.float32, torch.bfloat16),
    ],
)
def test_precision_reaches_the_encoder_and_the_objective(
    make: Callable, precision: str, stored: torch.dtype, computed: torch.dtype
) -> None:
    setting = make()
    before = weights(setting.model)["encoder.entity"]
    kinds = []

    def look() -> None:
        kinds.append((torch.ones(2, 2) @ setting.model.encoder.entity[:2, :2]).dtype)

    setting.objective.before_each_step(look)
    history = Trainer(TrainConfig(epochs=1, precision=precision, **QUIET)).fit(
        *setting.fit_arguments, graph=setting.graph.tensors()
    )
    assert kinds == [computed] * 4
    assert setting.model.encoder.entity.dtype == stored
    assert not torch.equal(setting.model.encoder.entity, before.to(stored))
    assert history.rows[0]["loss"] > 0


@pytest.mark.parametrize("clip_norm", [None, 0.01])
def test_clipping_bounds_a_step_of_plain_descent(make: Callable, clip_norm: float | None) -> None:
    setting = make(batch_size=30)
    before = torch.cat([p.detach().reshape(-1).clone() for p in setting.model.parameters()])
    before_scale = setting.objective.scale.item()
    config = TrainConfig(epochs=1, optimizer="sgd", learning_rate=1.0, clip_norm=clip_norm, **QUIET)
    Trainer(config).fit(*setting.fit_arguments, graph=setting.graph.tensors())
    after = torch.cat([p.detach().reshape(-1) for p in setting.model.parameters()])
    change = (after - before).square().sum() + (setting.objective.scale.item() - before_scale) ** 2
    if clip_norm is None:
        assert change.sqrt() > 0.1
    else:
        assert change.sqrt().item() == pytest.approx(clip_norm, rel=1e-3)


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(
    make: Callable, tmp_path: Path
) -> None:
    setting = make()
    seen: list[dict[str, torch.Tensor]] = []

    def poison() -> None:
        seen.append(weights(setting.model))
        if len(seen) == 7:
            with torch.no_grad():
                setting.objective.scale.fill_(float("nan"))

    setting.objective.before_each_step(poison)
    with pytest.raises(ValueError, match="must be finite") as raised:
        Trainer(TrainConfig(epochs=3, **QUIET), tmp_path).fit(
            *setting.fit_arguments, graph=setting.graph.tensors()
        )
    for part in ("nan for the term 'ranking' at step 7, in epoch 2", "of step 4", "learning_rate"):
        assert part in str(raised.value)
    assert torch.isfinite(setting.model.encoder.entity).all()
    again = make()
    history = Trainer(TrainConfig(epochs=3, **QUIET), tmp_path).fit(
        *again.fit_arguments, graph=again.graph.tensors()
    )
    assert history.steps == 12


@pytest.mark.parametrize("is_recorded", [True, False])
def test_a_gradient_that_is_not_finite_is_found_though_no_loss_tells(
    make: Callable, tmp_path: Path, is_recorded: bool
) -> None:
    setting = make(batch_size=30)
    run_dir = tmp_path if is_recorded else None
    setting.model.encoder.entity.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(ValueError, match=r"weights must be finite.*model\.encoder\.entity"):
        Trainer(TrainConfig(epochs=1, **QUIET), run_dir).fit(
            *setting.fit_arguments, graph=setting.graph.tensors()
        )
    assert not (tmp_path / "resume").exists()


def test_metrics_that_are_not_finite_are_an_error(make: Callable) -> None:
    setting = make()
    with pytest.raises(ValueError, match=r"after epoch 1 must give finite metrics .*mrr = nan"):
        Trainer(TrainConfig(**QUIET)).fit(
            *setting.fit_arguments,
            graph=setting.graph.tensors(),
            validate=lambda _: {"mrr": float("nan")},
        )


def test_max_seconds_stops_within_an_epoch_and_validates(make: Callable, tmp_path: Path) -> None:
    setting = make()
    config = TrainConfig(epochs=10, max_seconds=1e-9, validate_every=5, **QUIET)
    history = Trainer(config, tmp_path).fit(
        *setting.fit_arguments, graph=setting.graph.tensors(), validate=setting.validate
    )
    assert (history.stop_reason, history.steps) == ("max_seconds", 1)
    assert history.best_metric == history.rows[-1]["metrics"]["mrr"]
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1


def test_settings_that_need_something_else_are_refused(make: Callable) -> None:
    setting = make()
    with pytest.raises(ValueError, match="patience counts validations"):
        Trainer(TrainConfig(patience=3, **QUIET)).fit(
            *setting.fit_arguments, graph=setting.graph.tensors()
        )
    with pytest.raises(ValueError, match="needs a run_dir"):
        Trainer(TrainConfig(tensorboard=True))


def test_settings_without_effect_are_refused() -> None:
    shallow = kgt.build_model(
        kgt.ModelConfig(encoder="shallow", width=4), num_entities=4, num_relations=1
    )
    layers = kgt.build_model(
        kgt.ModelConfig(encoder="rgcn", width=4), num_entities=4, num_relations=1
    )
    graph = kgt.KnowledgeGraph.from_names([("a", "to", "b"), ("c", "to", "d")])
    for model, options, message in (
        (layers, {"fan_out": (2,)}, "carried out by an objective, OnNeighbours"),
        (shallow, {"edge_dropout": 0.5}, "edge_dropout needs an encoder with layers"),
    ):
        trainer = Trainer(TrainConfig(epochs=1, progress=False, accelerator="cpu", **options))
        with pytest.raises(ValueError, match=message):
            trainer.fit(
                model, kgt.OneVsAll(), kgt.TripleBatches(graph.triples), graph=graph.tensors()
            )


def test_lines_go_to_stderr_and_curves_to_the_run(
    make: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setting = make()
    config = TrainConfig(epochs=2, tensorboard=True, accelerator="cpu")
    Trainer(config, tmp_path).fit(
        *setting.fit_arguments, graph=setting.graph.tensors(), validate=setting.validate
    )
    shown = capsys.readouterr()
    assert shown.out == ""
    assert [line.split("  ")[0] for line in shown.err.splitlines()][:2] == [
        "epoch 1/2",
        "epoch 2/2",
    ]
    assert "stopped after 8 steps: all 2 epochs are done. best mrr" in shown.err
    assert any((tmp_path / "tensorboard").iterdir())
