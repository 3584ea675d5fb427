"""What training did: one row per epoch, the best of them, and why it stopped."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(eq=False)
class History:
    """The record of a training run, resumed parts included.

    Attributes:
        monitor: The metric that selected the best weights; higher is better.
        rows: One per epoch: ``epoch`` (from 1), ``step`` (steps done), ``loss`` and ``terms``
            (means over the epoch's triples), ``learning_rate`` (of the last step, first group),
            ``metrics`` (empty where the epoch was not validated), ``seconds`` (since the start,
            validations included), ``epoch_seconds`` and ``triples_per_second`` (training alone).
        best_epoch: The epoch of the best monitored metric; ``None`` without a validation.
        best_metric: That metric; ``None`` without a validation.
        stop_reason: ``"epochs"``, ``"patience"`` or ``"max_seconds"``; ``""`` while running.
        steps: Optimizer steps done.
        seconds: Wall clock of the whole run.

    Example:
        >>> history = History("mrr", [{"epoch": 1, "seconds": 2.0, "metrics": {"mrr": 0.3}}])
        >>> history.seconds_to(0.25), history.seconds_to(0.5)
        (2.0, None)
    """

    monitor: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int | None = None
    best_metric: float | None = None
    stop_reason: str = ""
    steps: int = 0
    seconds: float = 0.0

    def seconds_to(self, metric_value: float) -> float | None:
        """Seconds until the monitored metric was first at least ``metric_value``, or ``None``."""
        for row in self.rows:
            if row["metrics"].get(self.monitor, float("-inf")) >= metric_value:
                return float(row["seconds"])
        return None


class HistoryLog:
    """``log.jsonl``: the rows of a history, one JSON object a line, written as they come.

    Args:
        path: The file; rows of a run that is not resumed are replaced.
        rows: Rows that a resumed run already has; later rows of the file (epochs that were run
            but not saved) are dropped, for they are run again.
    """

    def __init__(self, path: Path, rows: list[dict[str, Any]]) -> None:
        self.path = path
        partial = path.with_name(path.name + ".partial")
        partial.write_text("".join(map(_line, rows)), encoding="utf-8")
        os.replace(partial, path)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(_line(row))


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


class TensorBoardCurves:
    """The rows of a history as TensorBoard curves over steps.

    Args:
        folder: Where TensorBoard looks.
        first_step: Steps done before a resume; what an earlier part drew from there on is dropped.

    Raises:
        ImportError: If TensorBoard is not installed.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "curves for TensorBoard need `pip install pyg-kgtransfer[tensorboard]`"
            ) from error
        self.writer = SummaryWriter(str(folder), purge_step=first_step + 1)

    def append(self, row: Mapping[str, Any]) -> None:
        """Draw one row."""
        step = row["step"]
        for name in ("loss", "learning_rate", "triples_per_second"):
            self.writer.add_scalar(f"train/{name}", row[name], step)
        for name, value in row["terms"].items():
            self.writer.add_scalar(f"term/{name}", value, step)
        for name, value in row["metrics"].items():
            self.writer.add_scalar(f"valid/{name}", value, step)
        self.writer.flush()

    def close(self) -> None:
        """Finish the file."""
        self.writer.close()


class Record:
    """What is written of a run as it goes: ``log.jsonl``, and curves if wished.

    Args:
        run_dir: Where to; made if it is not there.
        rows: Those that a resumed run already has.
        steps: Done so far.
        curves: Whether TensorBoard gets some.
    """

    def __init__(
        self, run_dir: Path, rows: list[dict[str, Any]], *, steps: int, curves: bool
    ) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        self.log = HistoryLog(run_dir / "log.jsonl", rows)
        self.curves = TensorBoardCurves(run_dir / "tensorboard", steps) if curves else None

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row."""
        self.log.append(row)
        if self.curves is not None:
            self.curves.append(row)

    def close(self, rows: list[dict[str, Any]], *, is_cut: bool) -> None:
        """Write all rows as they are at the end; ``is_cut``: the last one was not yet written."""
        self.log = HistoryLog(self.log.path, rows)
        if self.curves is not None:
            if is_cut:
                self.curves.append(rows[-1])
            self.curves.close()
