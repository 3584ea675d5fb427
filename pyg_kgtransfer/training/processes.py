"""Several processes that train one model: who they are, what they agree on, how one is missed."""

import atexit
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments import (
    ClusterEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

from pyg_kgtransfer.process import place_among_processes

logger = logging.getLogger(__name__)
Result = TypeVar("Result")
_ROLL_CALL_SECONDS = 2.0  # in which a process that still runs notices that another is gone
# What gloo, NCCL and the store say of a process that is no more, or does not answer.
_LOSS = re.compile(r"gloo|nccl|c10d|connection|broken pipe|timed out|timeout|socket", re.IGNORECASE)


class ProcessLostError(ConnectionError):
    """Another process of the run ended, or did not answer in time."""


def environment() -> ClusterEnvironment | None:
    """What started this process as one of several, torchrun or srun; ``None``: it is alone.

    Example:
        >>> environment() is None
        True
    """
    if place_among_processes()[1] == 1:
        return None
    return TorchElasticEnvironment() if TorchElasticEnvironment.detect() else SLURMEnvironment()


def local_size(place: ClusterEnvironment) -> int:
    """How many processes there are on each machine.

    Raises:
        ValueError: If machines have different numbers of them.
    """
    size = place.world_size()
    if isinstance(place, TorchElasticEnvironment):
        return int(os.environ["LOCAL_WORLD_SIZE"])
    nodes = int(os.environ.get("SLURM_STEP_NUM_NODES") or os.environ.get("SLURM_NNODES") or 1)
    if size % nodes:
        raise ValueError(f"each machine needs as many processes (got {size} on {nodes} machines)")
    return size // nodes


def num_processes() -> int:
    """W, how many processes train together; 1 before training begins, too.

    Example:
        >>> num_processes(), rank()
        (1, 0)
    """
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0; the first one writes and speaks."""
    return dist.get_rank() if num_processes() > 1 else 0


def own_part(number: int) -> tuple[int, int]:
    """Of ``number`` things, this process's: from, to; parts follow one another and differ by 1.

    Example:
        >>> own_part(7)
        (0, 7)
    """
    size, own = num_processes(), rank()
    return own * number // size, (own + 1) * number // size


def gathered(value: Result) -> list[Result]:
    """The values of all processes, by rank."""
    if num_processes() == 1:
        return [value]
    values: list[Any] = [None] * num_processes()
    dist.all_gather_object(values, value)
    return values


def from_first(value: Result) -> Result:
    """The value that the first process has."""
    if num_processes() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def once(work: Callable[[], object]) -> None:
    """Let the first process do what is to be done once, files above all; the others wait.

    Raises:
        OSError: If it could not: in every process, with the same words.
        ValueError: Likewise.
    """
    error: Exception | None = None
    if rank() == 0:
        try:
            work()
        except (OSError, ValueError) as failure:
            error = failure
    told = from_first(error)
    if told is not None:
        raise told if error is None else error


def together(work: Callable[[], Result]) -> Result:
    """What this process finds; where it fails in one, it fails in all.

    Raises:
        OSError: That of the lowest rank, or its own.
        ValueError: Likewise.
    """
    found: list[Result] = []
    error: Exception | None = None
    try:
        found.append(work())
    except (OSError, ValueError) as failure:
        if num_processes() == 1:
            raise
        error = failure
    first = next((each for each in gathered(error) if each is not None), None)
    if first is not None:
        raise first if error is None else error
    return found[0]


def check_same(present: Mapping[str, Any]) -> None:
    """Refuse to train together where processes differ: gradients of other things have no mean.

    Args:
        present: Name -> digest, or name -> settings.

    Raises:
        ValueError: In every process; it says which rank differs from rank 0 in what.
    """
    first, *others = gathered(dict(present))
    differences = [
        f"rank {number} differs from rank 0 in {', '.join(_differences(first, other))}"
        for number, other in enumerate(others, start=1)
        if other != first
    ]
    if differences:
        raise ValueError(
            "all processes must train the same model on the same data with the same settings and "
            f"seeds (got: {'; '.join(differences)})"
        )


def _differences(first: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    for name, value in first.items():
        own = other.get(name)
        if isinstance(value, Mapping) and isinstance(own, Mapping):
            for key in sorted(value.keys() | own.keys()):
                if value.get(key) != own.get(key):
                    yield f"{key} ({own.get(key)!r}, not {value.get(key)!r})"
        elif own != value:
            yield name


@contextmanager
def watched(words: Callable[[], str]) -> Iterator[None]:
    """Say in words that another process was lost, whatever the transport says of it.

    A process that is told to stop (SIGTERM), as torchrun does with those that are left, says so.

    Args:
        words: Where training was, and what of it is saved.

    Raises:
        ProcessLostError: If another process ended, did not answer in time, or this one is told to
            stop.
    """
    if num_processes() == 1:
        yield
        return
    is_ending = False

    def stop(number: int, frame: object) -> None:
        if not is_ending:
            raise ProcessLostError("this process was told to stop")

    is_ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if is_ours:
        signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except (RuntimeError, ConnectionError) as error:
        is_ending = True
        told = isinstance(error, ProcessLostError)
        if not told and _LOSS.search(f"{type(error).__name__} {error}") is None:
            raise
        lost = _lost_in_words(error)
        message = f"{lost} {words()}"
        logger.error(message)
        raise ProcessLostError(message) from error
    finally:
        if is_ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _lost_in_words(error: Exception) -> str:
    missing = _missing_at_roll_call()
    if missing:
        several = len(missing) > 1
        ranks = f"rank{'s' if several else ''} {', '.join(map(str, missing))}"
        return f"{ranks} {'were' if several else 'was'} lost"
    if isinstance(error, ProcessLostError):
        return str(error)
    brief = str(error).partition("\n")[0]
    return f"another process was lost or did not answer in time ({brief})"


def _missing_at_roll_call() -> list[int]:
    """Ranks that do not answer through the store, which outlives them under torchrun."""
    if num_processes() == 1:
        return []
    try:
        store = dist.distributed_c10d._get_default_store()
        store.set(f"alive/{rank()}", "yes")
        missing = [number for number in range(num_processes()) if number != rank()]
        until = time.monotonic() + _ROLL_CALL_SECONDS
        while missing and time.monotonic() < until:
            missing = [number for number in missing if not store.check([f"alive/{number}"])]
            time.sleep(0.02)
    except RuntimeError:  # the store went with the first process, which kept it
        return [0] if rank() else []
    return missing


def mean_over_processes(values: torch.Tensor) -> torch.Tensor:
    """The mean of each number over all processes."""
    if num_processes() == 1:
        return values
    values = values.clone()
    dist.all_reduce(values)
    return values / num_processes()


def end_group_at_exit() -> None:
    """Leave the others properly when the program ends."""
    atexit.register(_leave)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
