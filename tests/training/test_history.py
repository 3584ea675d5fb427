import builtins
import json
from pathlib import Path

import pytest

from pyg_kgtransfer.training.history import History, HistoryLog, TensorBoardCurves


def row(epoch: int, **metrics: float) -> dict[str, object]:
    return {
        "epoch": epoch,
        "step": 10 * epoch,
        "loss": 1.0 / epoch,
        "terms": {"ranking": 1.0 / epoch},
        "learning_rate": 0.1,
        "metrics": metrics,
        "seconds": 1.5 * epoch,
        "triples_per_second": 100.0,
    }


def test_seconds_to_the_first_epoch_that_reached_a_metric() -> None:
    history = History("mrr", [row(1), row(2, mrr=0.3), row(3, mrr=0.5), row(4, mrr=0.4)])
    assert history.seconds_to(0.3) == 3.0
    assert history.seconds_to(0.35) == 4.5
    assert history.seconds_to(0.51) is None


def test_the_log_keeps_the_rows_of_a_resumed_run_and_drops_later_ones(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = HistoryLog(path, [])
    for epoch in (1, 2, 3):
        log.append(row(epoch, mrr=0.1))
    again = HistoryLog(path, [row(1, mrr=0.1)])
    again.append(row(2, mrr=0.2))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(r["epoch"], r["metrics"]["mrr"]) for r in lines] == [(1, 0.1), (2, 0.2)]
    assert [p.name for p in tmp_path.iterdir()] == ["log.jsonl"]


def test_a_log_holds_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        HistoryLog(tmp_path / "log.jsonl", []).append(row(1, mrr=float("nan")))


def test_curves_are_written_for_tensorboard(tmp_path: Path) -> None:
    curves = TensorBoardCurves(tmp_path, 0)
    curves.append(row(1, mrr=0.5))
    curves.close()
    (events,) = tmp_path.iterdir()
    content = events.read_bytes()
    for tag in (b"train/loss", b"term/ranking", b"valid/mrr"):
        assert tag in content


def test_without_tensorboard_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: object) -> object:
        if name == "torch.utils.tensorboard":
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install pyg-kgtransfer\[tensorboard\]"):
        TensorBoardCurves(tmp_path, 0)
