"""Scoring in chunks that fit a memory budget, with the model in evaluation mode."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

Result = TypeVar("Result")

# Bytes per (query, candidate): scores, their filtered copy and a gathered copy in float32, two
# comparisons, and as much again for what the decoder holds meanwhile.
SCORE_BYTES = 28
_TRIPLE_BYTES = 1 << 14  # one scored triple: a few vectors of width up to a thousand


class Scorer(Protocol):
    """What can be ranked: a ``KGModel``, a foundation model, a rule.

    An optional attribute ``score_bytes`` states how many bytes scoring one query against one
    candidate takes at its peak, where that is far more than a few numbers; an optional method
    ``query_bytes`` of the representations, how many one query takes however few its candidates.
    """

    def score_tails(
        self,
        representations: Any,
        head: Tensor,
        relation: Tensor,
        candidates: Tensor | None = None,
    ) -> Tensor:
        """Scores of (head [B], relation [B], candidate): [B, N], or [B, K] of given candidates."""
        ...

    def score_heads(
        self,
        representations: Any,
        relation: Tensor,
        tail: Tensor,
        candidates: Tensor | None = None,
    ) -> Tensor:
        """Scores of (candidate, relation [B], tail [B]): [B, N], or [B, K] of given candidates."""
        ...


@contextmanager
def evaluating(model: object) -> Iterator[None]:
    """No gradients and evaluation mode inside; afterwards every submodule is as it was."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        with torch.no_grad():
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


def device_of(representations: object, default: torch.device) -> torch.device:
    """The device of ``representations.entity``, or ``default`` where there is none."""
    entity = getattr(representations, "entity", None)
    return entity.device if isinstance(entity, Tensor) else default


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of memory, on an accelerator or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def query_bytes(model: object, representations: object) -> int:
    """What one query takes besides its scores; 0 where the model does not say."""
    told = getattr(model, "query_bytes", None)
    return 0 if told is None else int(told(representations))


class Chunks:
    """Runs a step over rows, chunk by chunk; halves the chunk when memory runs out.

    The smaller chunk lasts as long as this object: one evaluation.

    Args:
        memory_mb: Budget in MiB, above 0.
        row_bytes: What one row takes.

    Raises:
        ValueError: If the budget is not above 0.

    Example:
        >>> Chunks(1, row_bytes=1 << 19).run(5, lambda start, stop: (start, stop))
        [(0, 2), (2, 4), (4, 5)]
    """

    def __init__(self, memory_mb: float, *, row_bytes: int) -> None:
        if not memory_mb > 0:
            raise ValueError(f"memory_mb must be above 0 (got {memory_mb})")
        self.rows = max(1, int(memory_mb * 2**20) // max(1, row_bytes))

    def run(self, count: int, step: Callable[[int, int], Result]) -> list[Result]:
        """The results of ``step(start, stop)`` over ``range(count)``, in order.

        Raises:
            torch.OutOfMemoryError: If not even one row fits; on the CPU torch's RuntimeError.
        """
        results: list[Result] = []
        start = 0
        while start < count:
            stop = min(start + self.rows, count)
            try:
                results.append(step(start, stop))
            except RuntimeError as error:
                if self.rows == 1 or not is_out_of_memory(error):
                    raise
                self.rows //= 2  # a step may split by rows inside as well
            else:
                start = stop
                continue
            if torch.cuda.is_initialized():  # here the failed step's tensors are gone
                torch.cuda.empty_cache()
        return results


def score_triples(
    model: Any, representations: Any, triples: Tensor, *, memory_mb: float = 512
) -> Tensor:
    """The scores of given triples, as tail queries, in bounded memory.

    Args:
        model: Has ``score(representations, triples [B, 3]) -> [B]``; it is in evaluation mode
            meanwhile.
        representations: What it scores with.
        triples: [T, 3] int64 in the model's ids.
        memory_mb: Budget for a chunk of triples, in MiB, above 0.

    Returns:
        [T] float64 on the CPU.

    Raises:
        ValueError: If a score is not finite, or the budget is not above 0.

    Example:
        >>> class Nearness:
        ...     def score(self, representations, triples):
        ...         return -(triples[:, 0] - triples[:, 2]).abs().float()
        >>> score_triples(Nearness(), None, torch.tensor([[0, 0, 1], [4, 0, 2]])).tolist()
        [-1.0, -2.0]
    """
    triples = triples.to(device_of(representations, triples.device))
    row = _TRIPLE_BYTES + query_bytes(model, representations)
    with evaluating(model):
        parts = Chunks(memory_mb, row_bytes=row).run(
            len(triples), lambda start, stop: model.score(representations, triples[start:stop])
        )
    scores = torch.cat(parts).double().cpu() if parts else torch.zeros(0, dtype=torch.double)
    if not torch.isfinite(scores).all():
        place = int((~torch.isfinite(scores)).nonzero()[0])
        raise ValueError(
            f"every score must be finite (got {scores[place].item()} for the triple with ids "
            f"{triples[place].tolist()})"
        )
    return scores
