"""Two ways to do one thing, timed side by side in one process."""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch

Work = Callable[[], object]

PROTOCOL: Mapping[str, str] = {
    "Timing": "ours and theirs alternate in one process, after one untimed call each; a ratio is "
    "the median over repeats of theirs / ours; spread: the lowest and highest ratio",
    "Memory": "the highest resident size during one call, less that before it (Linux); ours / "
    "theirs",
}


class Paired(NamedTuple):
    """What alternating runs showed.

    Attributes:
        ours: Seconds of each of our runs.
        theirs: Seconds of each of theirs.
    """

    ours: list[float]
    theirs: list[float]

    def figures(self, name: str, *, scale: float = 1.0) -> dict[str, float]:
        """Median ratio theirs / ours with its spread, and both medians in seconds.

        Args:
            name: Of the figure.
            scale: How many times more work our run does than theirs.

        Example:
            >>> Paired([1.0, 1.0, 1.0], [2.0, 3.0, 4.0]).figures("sum_speedup")["sum_speedup"]
            3.0
        """
        ratios = [scale * b / a for a, b in zip(self.ours, self.theirs, strict=True)]
        return {
            name: statistics.median(ratios),
            f"{name}.lowest": min(ratios),
            f"{name}.highest": max(ratios),
            f"{name}.ours_seconds": statistics.median(self.ours),
            f"{name}.theirs_seconds": statistics.median(self.theirs),
        }


def alternate(ours: Work, theirs: Work, *, repeats: int) -> Paired:
    """Time both, turn by turn, after one untimed call each."""
    found = Paired([], [])
    ours(), theirs()
    for _ in range(repeats):
        found.ours.append(seconds(ours))
        found.theirs.append(seconds(theirs))
    return found


def seconds(work: Work) -> float:
    """How long one call takes."""
    gc.collect()
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_bytes(work: Work) -> float:
    """The highest resident size during a call, less that before it.

    Raises:
        OSError: If the system has no ``/proc/self/clear_refs``.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = resident_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    work()
    return max(resident_bytes("VmHWM") - before, 1.0)


def resident_bytes(name: str) -> float:
    """``VmRSS``, what the process holds, or ``VmHWM``, the most it has held since last asked to."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return 1024.0 * float(kilobytes)


def forward_and_backward(layer: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> Work:
    """A call of ``layer`` and the gradients of all it reads, given a fixed upstream one."""
    leaves = [table for table in inputs if table.requires_grad]
    parameters = list(layer.parameters()) if isinstance(layer, torch.nn.Module) else []
    with torch.no_grad():
        upstream = torch.ones_like(layer(*inputs))

    def work() -> None:
        torch.autograd.grad(layer(*inputs), leaves + parameters, upstream, allow_unused=True)

    return work
