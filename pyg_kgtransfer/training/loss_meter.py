"""The mean of each loss term over an epoch, and the watch for values that are not finite."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor


class NotFiniteError(ValueError):
    """A loss or a weight became NaN or infinite."""


class _Entry(NamedTuple):
    names: tuple[str, ...]
    values: Tensor  # one per name, on the device
    num_triples: int
    step: int  # in all, from 1


class LossMeter:
    """Sums loss terms, each weighted with its batch's triples.

    Reading a value makes the host wait for the device, so terms are read ``every`` steps together.

    Args:
        every: Steps between two readings; 1 reads each at once.
        reduce: From the terms of this process to those of the whole batch; ``None``: they are.
    """

    def __init__(self, *, every: int, reduce: Callable[[Tensor], Tensor] | None = None) -> None:
        self.every = every
        self.reduce = reduce
        self._pending: list[_Entry] = []
        self.reset()

    def reset(self) -> None:
        """Begin an epoch."""
        self.sums: dict[str, float] = {}
        self.num_triples = 0

    def add(self, terms: Mapping[str, Tensor], *, num_triples: int, epoch: int, step: int) -> None:
        """Take the terms of a step (``step`` in all, ``epoch``, both from 1).

        Raises:
            NotFiniteError: If a term read now is NaN or infinite: names the term, step and epoch.
        """
        values = torch.stack([term.detach().float() for term in terms.values()])
        self._pending.append(_Entry(tuple(terms), values, num_triples, step))
        if len(self._pending) >= self.every:
            self.read(epoch)

    def read(self, epoch: int) -> None:
        """Read what is pending; raises as ``add`` does."""
        if not self._pending:
            return
        entries, self._pending = self._pending, []
        values = torch.cat([entry.values for entry in entries])
        numbers = iter((values if self.reduce is None else self.reduce(values)).tolist())
        for entry in entries:
            for name in entry.names:
                value = next(numbers)
                if not math.isfinite(value):
                    raise NotFiniteError(
                        f"the loss must be finite (got {value} for the term {name!r} at step "
                        f"{entry.step}, in epoch {epoch})"
                    )
                self.sums[name] = self.sums.get(name, 0.0) + value * entry.num_triples
            self.num_triples += entry.num_triples

    def means(self) -> dict[str, float]:
        """The mean of each term over the triples read so far."""
        return {name: total / max(self.num_triples, 1) for name, total in self.sums.items()}

    def loss(self) -> float:
        """The mean of the whole loss."""
        return math.fsum(self.means().values())

    def state(self) -> dict[str, Any]:
        """What was read, as JSON takes it; call ``read`` first."""
        return {"sums": dict(self.sums), "num_triples": self.num_triples}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state`` gave."""
        self.sums, self.num_triples = dict(state["sums"]), state["num_triples"]
