"""What a process that trains should ask of the system, before it imports torch."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable, Iterator

# of glibc's mallopt: keep so much freed memory, ask for so much at once, and hand back at once only
# blocks from this size on (the largest that it takes)
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = (-1, 2**31 - 1), (-2, 2**28), (-3, 2**25)


# how often GNU's OpenMP looks before it sleeps: some microseconds, as between two loops of a step
_SPINS = "1000"


def prepare() -> None:
    """Threads that soon sleep when they wait, and memory that is kept between training steps.

    Threads that spin while they wait are many times slower as soon as anything else runs on the
    machine; steps take a third longer where nothing does if threads sleep at once. And glibc hands
    large blocks back to the system as soon as they are freed, so that each step pays for zeroed
    pages anew. For programs (``kgt``, benchmarks); a library must not decide this for the program
    that imports it. Settings of the user's own (``OMP_WAIT_POLICY``, ``GOMP_SPINCOUNT``,
    ``MALLOC_*``) stay as they are.

    Example:
        >>> prepare()
        >>> "OMP_WAIT_POLICY" in os.environ
        True
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
    if place_among_processes()[1] > 1:  # a warning of each that some layer might have been unread
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if sys.platform.startswith("linux") and not any(k.startswith("MALLOC_") for k in os.environ):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in every C library
        if mallopt is not None:
            for name, value in (_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD):
                mallopt(name, value)


def place_among_processes() -> tuple[int, int]:
    """The rank of this process, from 0, and how many torchrun or srun started together with it.

    Example:
        >>> place_among_processes()  # alone
        (0, 1)
    """
    asked = os.environ.get
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(asked("RANK", 0)), int(asked("WORLD_SIZE", 1))
    # a batch script has the tasks of its job, and only what srun starts has those of a step
    size = int(asked("SLURM_STEP_NUM_TASKS") or 1)
    return (int(asked("SLURM_PROCID", 0)), size) if size > 1 else (0, 1)


@contextlib.contextmanager
def progress_bar(what: str, total: int, *, show: bool) -> Iterator[Callable[[], None]]:
    """A bar with the time left on stderr, where that is a terminal; gives what moves it on by one.

    Args:
        what: What is counted.
        total: How many there are.
        show: Whether it is wanted.

    Example:
        >>> with progress_bar("questions", 2, show=True) as advance:
        ...     advance()
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeLeft()
    is_seen = show and sys.stderr.isatty()
    with Progress(
        *columns, console=Console(stderr=True), transient=True, disable=not is_seen
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
