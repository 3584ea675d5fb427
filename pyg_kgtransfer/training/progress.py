"""How training shows itself: a live bar in a terminal, a few plain lines elsewhere."""

import time
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

REFRESH_SECONDS = 0.2  # how often the bar's numbers change
PLAIN_LINES = 10  # about so many epochs of a run get a line where there is no terminal


class Display(Protocol):
    """What shows progress."""

    def __enter__(self) -> "Display": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def step(self, step: int, *, epoch: int, loss: float, triples_per_second: float) -> None:
        """After a step: how many are done, the epoch (from 1), its mean loss so far, the rate."""

    def epoch(self, row: dict[str, Any], best: str, seconds_left: float) -> None:
        """After an epoch: its row of the history, the best metric in words, the time left."""

    def say(self, message: str) -> None:
        """A line of its own."""


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss.

    Example:
        >>> duration(75.4), duration(3700)
        ('1:15', '1:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Silence:
    """Shows nothing."""

    def __enter__(self) -> "Silence":
        return self

    def __exit__(self, *_: object) -> None: ...

    def step(self, step: int, *, epoch: int, loss: float, triples_per_second: float) -> None: ...

    def epoch(self, row: dict[str, Any], best: str, seconds_left: float) -> None: ...

    def say(self, message: str) -> None: ...


class PlainLines(Silence):
    """About ten lines a run, without control codes.

    Args:
        console: Where to.
        epochs: Epochs of the run.
    """

    def __init__(self, console: Console, epochs: int) -> None:
        self.console = console
        self.epochs = epochs
        self.every = max(1, epochs // PLAIN_LINES)

    def epoch(self, row: dict[str, Any], best: str, seconds_left: float) -> None:
        number = row["epoch"]
        if number == 1 or number == self.epochs or number % self.every == 0:
            self.say(
                f"epoch {number}/{self.epochs}  loss {row['loss']:.4f}  {best}"
                f"{row['triples_per_second']:,.0f} triples/s  {duration(seconds_left)} left"
            )

    def say(self, message: str) -> None:
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)


class LiveBar:
    """A bar over all steps of the run.

    Args:
        console: Where to.
        epochs: Epochs of the run.
        steps: Steps of the run.
        done: Steps done before it was resumed.
    """

    def __init__(self, console: Console, epochs: int, *, steps: int, done: int) -> None:
        self.epochs = epochs
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=console,
            expand=True,
        )
        self.task = self.bar.add_task(
            "", total=steps, completed=done, epoch=f"0/{epochs}", numbers=""
        )
        self.best = ""
        self.refreshed = 0.0

    def __enter__(self) -> "LiveBar":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def step(self, step: int, *, epoch: int, loss: float, triples_per_second: float) -> None:
        now = time.monotonic()
        if now - self.refreshed >= REFRESH_SECONDS:
            self.refreshed = now
            numbers = f"loss {loss:.4f}  {self.best}{triples_per_second:,.0f} triples/s"
            self.bar.update(
                self.task, completed=step, epoch=f"{epoch}/{self.epochs}", numbers=numbers
            )

    def epoch(self, row: dict[str, Any], best: str, seconds_left: float) -> None:
        self.best, self.refreshed = best, 0.0
        self.step(
            row["step"],
            epoch=row["epoch"],
            loss=row["loss"],
            triples_per_second=row["triples_per_second"],
        )

    def say(self, message: str) -> None:
        self.bar.console.print(message, markup=False, highlight=False, soft_wrap=True)


def display(*, enabled: bool, epochs: int, steps: int, done: int) -> Display:
    """What fits stderr: a bar in a terminal, lines elsewhere, nothing if not ``enabled``."""
    if not enabled:
        return Silence()
    console = Console(stderr=True)
    if console.is_terminal:
        return LiveBar(console, epochs, steps=steps, done=done)
    return PlainLines(console, epochs)
