"""Breaks: after any of them a run goes on to the very weights it would have reached without."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.training.history import History
from pyg_kgtransfer.training.trainer import Trainer

HARD: dict[str, object] = {
    "epochs": 6,
    "optimizer": "adamw",
    "learning_rate": 0.02,
    "weight_decay": 0.01,
    "schedule": "cosine",
    "warmup": 0.2,
    "clip_norm": 0.5,
    "patience": 4,
    "min_delta": 0.01,
    "leave_out_batch": True,
    "save_seconds": 0.0,
    "progress": False,
    "accelerator": "cpu",
}
TIMES = ("seconds", "epoch_seconds", "triples_per_second")


def state_of(setting: object) -> dict[str, Tensor]:
    return {f"m.{k}": v.clone() for k, v in setting.model.state_dict().items()} | {
        f"o.{k}": v.clone() for k, v in setting.objective.state_dict().items()
    }


def without_times(history: History) -> list[dict[str, object]]:
    return [{k: v for k, v in row.items() if k not in TIMES} for row in history.rows]


def fit(
    setting: object, config: TrainConfig, run_dir: Path | None, *, score: bool = True
) -> History:
    validate = setting.validate if score else None
    arguments = {"graph": setting.graph.tensors(), "validate": validate}
    return Trainer(config, run_dir).fit(*setting.fit_arguments, **arguments)


def interrupt_at(setting: object, call: int) -> None:
    """Ctrl-C in the midst of step ``call`` (from 1) of this process."""
    calls: list[int] = []

    def count() -> None:
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt

    setting.objective.before_each_step(count)


def assert_same_run(one: object, other: object, histories: tuple[History, History]) -> None:
    first, second = state_of(one), state_of(other)
    for key, value in first.items():
        assert torch.equal(value, second[key]), key
    assert without_times(histories[0]) == without_times(histories[1])
    for name in ("best_epoch", "best_metric", "stop_reason", "steps"):
        assert getattr(histories[0], name) == getattr(histories[1], name)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "adagrad", "sgd"])
@pytest.mark.parametrize("score", [True, False])
def test_steps_equal_steps_with_breaks(
    make: Callable, tmp_path: Path, optimizer: str, score: bool
) -> None:
    patience = 4 if score else None
    config = TrainConfig(**HARD | {"optimizer": optimizer, "patience": patience})
    unbroken = make()
    expected = fit(unbroken, config, None, score=score)
    for number, call in enumerate([2, 4, 5, 1, 3]):  # broken at steps 2, 5, 9, 9, 11
        broken = make(seed=100 + number)  # its own weights must not matter after a resume
        if number == 0:
            broken = make()
        interrupt_at(broken, call)
        with pytest.raises(KeyboardInterrupt):
            fit(broken, config, tmp_path, score=score)
    last = make(seed=7)
    assert_same_run(unbroken, last, (expected, fit(last, config, tmp_path, score=score)))
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in logged] == [row["epoch"] for row in expected.rows]


@pytest.mark.parametrize("leave_out", [False, True])
def test_edges_dropped_after_a_break_are_those_that_would_have_been(
    make: Callable, tmp_path: Path, leave_out: bool
) -> None:
    config = TrainConfig(**HARD | {"epochs": 3, "edge_dropout": 0.3, "leave_out_batch": leave_out})
    unbroken, broken, last = make(), make(), make(seed=1)
    expected = fit(unbroken, config, None)
    interrupt_at(broken, 6)
    with pytest.raises(KeyboardInterrupt):
        fit(broken, config, tmp_path)
    assert_same_run(unbroken, last, (expected, fit(last, config, tmp_path)))


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed", "bf16-true"])
def test_other_precisions_resume_exactly_too(
    make: Callable, tmp_path: Path, precision: str
) -> None:
    config = TrainConfig(**HARD | {"epochs": 2, "precision": precision})
    unbroken, broken, last = make(), make(), make(seed=1)
    expected = fit(unbroken, config, None)
    interrupt_at(broken, 6)
    with pytest.raises(KeyboardInterrupt):
        fit(broken, config, tmp_path)
    assert_same_run(unbroken, last, (expected, fit(last, config, tmp_path)))


def test_early_stopping_counts_across_a_break(make: Callable, tmp_path: Path) -> None:
    config = TrainConfig(**HARD | {"min_delta": 10.0, "patience": 3})
    unbroken, broken, last = make(), make(), make()
    expected = fit(unbroken, config, None)
    assert (expected.stop_reason, len(expected.rows)) == ("patience", 4)
    interrupt_at(broken, 11)
    with pytest.raises(KeyboardInterrupt):
        fit(broken, config, tmp_path)
    assert_same_run(unbroken, last, (expected, fit(last, config, tmp_path)))


def train_in_child(make: Callable, config: TrainConfig, run_dir: Path, pipe: Connection) -> None:
    """What the process that is killed does: it trains and tells of each step."""
    os.setpgrp()
    setting = make()
    setting.objective.before_each_step(lambda: pipe.send_bytes(b"step"))
    fit(setting, config, run_dir)
    pipe.send_bytes(b"done")


def test_kill_9_at_any_moment_leaves_what_can_be_resumed(
    make: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KGT_ENGINE", "torch")  # compiled loops do not outlive a fork
    config = TrainConfig(**HARD)
    unbroken = make()
    expected = fit(unbroken, config, None)
    processes = multiprocessing.get_context("fork")
    for steps in (1, 5, 3, 4, 2):
        receive, send = processes.Pipe(duplex=False)
        child = processes.Process(target=train_in_child, args=(make, config, tmp_path, send))
        child.start()
        send.close()
        for _ in range(steps):
            assert receive.recv_bytes() == b"step"
        child.kill()
        child.join(timeout=20)
        assert child.exitcode == -signal.SIGKILL
        receive.close()
    last = make(seed=3)
    assert_same_run(unbroken, last, (expected, fit(last, config, tmp_path)))


def test_a_finished_run_is_not_run_again(make: Callable, tmp_path: Path) -> None:
    config = TrainConfig(**HARD | {"epochs": 2})
    first, second = make(), make(seed=4)
    interrupt_at(second, 1)
    expected = fit(first, config, tmp_path)
    assert_same_run(first, second, (expected, fit(second, config, tmp_path)))


def test_more_seconds_continue_a_run_that_ran_out_of_them(make: Callable, tmp_path: Path) -> None:
    unbroken, short, last = make(), make(), make(seed=2)
    settings = HARD | {"validate_every": 3, "save_seconds": None}
    expected = fit(unbroken, TrainConfig(**settings), None)
    history = fit(short, TrainConfig(**settings | {"max_seconds": 1e-9}), tmp_path)
    assert (history.stop_reason, history.steps) == ("max_seconds", 1)
    again = fit(make(), TrainConfig(**settings | {"max_seconds": 1e-9}), tmp_path)
    assert without_times(again) == without_times(history)
    longer = TrainConfig(**settings | {"max_seconds": 1000.0})
    assert_same_run(unbroken, last, (expected, fit(last, longer, tmp_path)))


def test_saving_less_often_repeats_the_steps_since(make: Callable, tmp_path: Path) -> None:
    config = TrainConfig(**HARD | {"save_every": 2, "save_seconds": None})
    unbroken, broken, last = make(), make(), make()
    expected = fit(unbroken, config, None)
    interrupt_at(broken, 15)  # in epoch 4; saved after epoch 2, logged after epoch 3
    with pytest.raises(KeyboardInterrupt, match=r"at step 14 of 24, in epoch 4 of 6; .*of step 8,"):
        fit(broken, config, tmp_path)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 3
    calls: list[int] = []
    last.objective.before_each_step(lambda: calls.append(1))
    assert_same_run(unbroken, last, (expected, fit(last, config, tmp_path)))
    assert len(calls) == expected.steps - 8


def test_ctrl_c_puts_the_best_weights_back_and_says_what_was_saved(
    make: Callable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    setting = make()
    best: dict[str, Tensor] = {}

    def validate(model: object) -> dict[str, float]:
        if not best:
            best.update(state_of(setting))
            return {"mrr": 0.9}
        return {"mrr": 0.1}

    interrupt_at(setting, 11)
    words = (
        "stopped by Ctrl-C at step 10 of 24, .* without a run_dir no resume checkpoint was saved"
    )
    with pytest.raises(KeyboardInterrupt, match=words):
        Trainer(TrainConfig(**HARD)).fit(
            *setting.fit_arguments, graph=setting.graph.tensors(), validate=validate
        )
    assert not caplog.text  # who caught it says what was lost
    for key, value in state_of(setting).items():
        assert torch.equal(value, best[key])
    assert not setting.model.training


def test_another_config_or_other_data_is_refused(make: Callable, tmp_path: Path) -> None:
    config = TrainConfig(**HARD | {"epochs": 2})
    fit(make(), config, tmp_path)
    with pytest.raises(ValueError, match=r"learning_rate was 0\.02, is 0\.5.*another run_dir"):
        fit(make(), TrainConfig(**HARD | {"epochs": 2, "learning_rate": 0.5}), tmp_path)
    with pytest.raises(ValueError, match=r"got: other batches\)"):
        fit(make(batch_size=9), config, tmp_path)
    with pytest.raises(ValueError, match="other model"):
        fit(make(dropout=0.3), config, tmp_path)
    other = make()
    other.objective.negatives = 5
    with pytest.raises(ValueError, match="other objective"):
        fit(other, config, tmp_path)
    other = make()
    other.graph = other.graph.with_triples(other.graph.triples[1:])
    with pytest.raises(ValueError, match="got: other graph"):
        fit(other, config, tmp_path)
    shown = TrainConfig(**HARD | {"epochs": 2, "progress": True, "save_every": 9})
    assert fit(make(), shown, tmp_path).steps == 8


def test_the_resume_checkpoint_holds_no_pickle(make: Callable, tmp_path: Path) -> None:
    fit(make(), TrainConfig(**HARD | {"epochs": 1}), tmp_path)
    files = {path.suffix for path in (tmp_path / "resume").iterdir()}
    assert files == {".json", ".safetensors"}


def test_the_best_weights_of_before_the_break_are_put_back(make: Callable, tmp_path: Path) -> None:
    config = TrainConfig(**HARD | {"epochs": 3, "patience": None})

    def falling(model: object) -> dict[str, float]:
        return {"mrr": 1 / (1 + model.encoder.calls.item())}

    best: dict[str, Tensor] = {}
    setting = make()
    interrupt_at(setting, 6)
    with pytest.raises(KeyboardInterrupt):
        Trainer(config, tmp_path).fit(
            *setting.fit_arguments, graph=setting.graph.tensors(), validate=falling
        )
    best.update(state_of(setting))
    last = make(seed=1)
    history = Trainer(config, tmp_path).fit(
        *last.fit_arguments, graph=last.graph.tensors(), validate=falling
    )
    assert (history.best_epoch, len(history.rows)) == (1, 3)
    for key, value in state_of(last).items():
        assert torch.equal(value, best[key]), key
