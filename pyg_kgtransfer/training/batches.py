"""Batches of triples: on the device, seeded, resumable at any step, mixed over sources."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from pyg_kgtransfer.objectives.objective import Batch

_MASK = (1 << 64) - 1
_PERMUTATION, _STEP = 1, 2  # what a seed is for


def mixed_seed(*numbers: int) -> int:
    """A seed in [0, 2^63) that depends on every number and on their order.

    Neighbouring inputs give unrelated seeds, so that step 1 of seed 0 does not draw what step 0 of
    seed 1 draws. Source: the finaliser of SplitMix64 (Steele, Lea, Flood 2014), applied in a chain.

    Example:
        >>> mixed_seed(0, 1) == mixed_seed(0, 1), mixed_seed(0, 1) == mixed_seed(1, 0)
        (True, False)
    """
    state = 0
    for number in numbers:
        state = (state ^ (number & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state >> 1


@dataclass(frozen=True)
class BatchOptions:
    """How triples become batches.

    Attributes:
        batch_size: Triples per step, at least 1; the last step of an epoch may have fewer.
        seed: Decides every order and draw.
        temperature: T > 0, for several sources: each takes a share of the epoch in proportion to
            (its triples)^(1/T). 1: in proportion to size, each triple once an epoch; large (or
            ``inf``): all sources alike.

    Raises:
        ValueError: If ``batch_size`` or ``temperature`` is out of range.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> graph = kgt.KnowledgeGraph.from_names([(f"{i}", "next", f"{i + 1}") for i in range(5)])
        >>> batches = kgt.TripleBatches(graph.triples, kgt.BatchOptions(batch_size=2))
        >>> [len(batch.triples) for batch in batches.epoch(0)]
        [2, 2, 1]
    """

    batch_size: int = 1024
    seed: int = 0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1 (got {self.batch_size})")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0 (got {self.temperature})")


def source_quotas(counts: list[int], temperature: float) -> list[int]:
    """How many of an epoch's M = sum(counts) draws each source gets.

    The shares are counts^(1/T) / sum(counts^(1/T)), rounded so that they sum to M (largest
    remainders first); a source without triples gets none.

    Example:
        >>> source_quotas([90, 10], 1.0), source_quotas([90, 10], float("inf"))
        ([90, 10], [50, 50])
    """
    if temperature == 1.0:
        return list(counts)
    total, largest = sum(counts), max(counts)
    weights = [math.exp(math.log(n / largest) / temperature) if n else 0.0 for n in counts]
    exact = [total * weight / sum(weights) for weight in weights]
    quotas = [math.floor(share) for share in exact]
    by_remainder = sorted(
        (s for s, count in enumerate(counts) if count),
        key=lambda s: quotas[s] - exact[s],
    )
    for s in by_remainder[: total - sum(quotas)]:
        quotas[s] += 1
    return quotas


class TripleBatches:
    """The training triples as seeded batches. Nothing changes while it is read.

    Everything follows from (seed, epoch, step): the order of an epoch from (seed, epoch), the
    generator that a batch carries from (seed, global step). Reading batch 7 of epoch 3 at once, or
    after all others, or in another process, gives the same batch on the same kind of device.

    Args:
        triples: [M, 3] int64, rows of the encoded graph and real relation ids; M at least 1.
        options: Batch size, seed, temperature.
        source: [M] int64, the source of each triple, from 0; ``None`` with a single source.

    Raises:
        ValueError: If there are no triples, or shapes disagree.

    Example:
        >>> triples = torch.tensor([[0, 0, 1], [1, 0, 2]])
        >>> batches = TripleBatches(triples, BatchOptions(batch_size=2))
        >>> len(batches), len(batches.batch(epoch=0, step=0).triples)
        (1, 2)
    """

    def __init__(
        self,
        triples: Tensor,
        options: BatchOptions | None = None,
        *,
        source: Tensor | None = None,
    ) -> None:
        if triples.dim() != 2 or triples.shape[1] != 3 or triples.dtype != torch.long:
            raise ValueError(
                f"triples must be int64 of shape [M, 3] "
                f"(got {triples.dtype} {tuple(triples.shape)})"
            )
        if not len(triples):
            raise ValueError("training needs at least one triple (got none)")
        if source is not None and source.shape != (len(triples),):
            raise ValueError(
                f"source must have one entry per triple, shape [{len(triples)}] "
                f"(got {tuple(source.shape)})"
            )
        if source is not None and int(source.min()) < 0:
            raise ValueError(f"source ids count from 0 (got {int(source.min())})")
        self.options = BatchOptions() if options is None else options
        self.triples = triples
        self.source = None if source is None else source.to(triples.device)
        self._latest: tuple[int, Tensor] | None = None  # an epoch and its order, to draw it once

    def __len__(self) -> int:
        """Steps per epoch: ceil(M / batch size)."""
        return math.ceil(len(self.triples) / self.options.batch_size)

    def __repr__(self) -> str:
        return f"TripleBatches({len(self.triples):,} triples, {self.options})"

    @property
    def device(self) -> torch.device:
        """Where the triples are."""
        return self.triples.device

    def to(self, device: torch.device | str) -> "TripleBatches":
        """The same batches on ``device``. The order of an epoch is each kind of device's own."""
        source = None if self.source is None else self.source.to(device)
        return TripleBatches(self.triples.to(device), self.options, source=source)

    def batch(self, epoch: int, step: int) -> Batch:
        """Batch ``step`` of ``epoch``, both from 0; the trainer sets its ``progress``.

        Raises:
            ValueError: If ``step`` is not in [0, len).
        """
        if not 0 <= step < len(self):
            raise ValueError(f"an epoch has steps 0 to {len(self) - 1} (got {step})")
        size = self.options.batch_size
        rows = self._order(epoch)[step * size : (step + 1) * size]
        generator = torch.Generator(device=self.device)
        generator.manual_seed(mixed_seed(self.options.seed, _STEP, epoch * len(self) + step))
        source = None if self.source is None else self.source[rows]
        return Batch(self.triples[rows], generator, source)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of ``epoch`` from step ``start`` on."""
        for step in range(start, len(self)):
            yield self.batch(epoch, step)

    def fingerprint(self) -> str:
        """The sha256 of triples, sources and options (hexadecimal)."""
        digest = hashlib.sha256(repr(sorted(asdict(self.options).items())).encode())
        for tensor in (self.triples, self.source):
            if tensor is not None:
                digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _order(self, epoch: int) -> Tensor:
        """Rows of the triples in the order of ``epoch``: [M]."""
        if self._latest is None or self._latest[0] != epoch:
            self._latest = (epoch, self._draw_order(epoch))
        return self._latest[1]

    def _draw_order(self, epoch: int) -> Tensor:
        generator = torch.Generator(device=self.device)
        generator.manual_seed(mixed_seed(self.options.seed, _PERMUTATION, epoch))
        if self.source is None or self.options.temperature == 1.0:
            return torch.randperm(len(self.triples), generator=generator, device=self.device)
        counts = torch.bincount(self.source).tolist()
        members = torch.argsort(self.source, stable=True).split(counts)
        drawn: list[Tensor] = []
        for rows, quota in zip(
            members, source_quotas(counts, self.options.temperature), strict=True
        ):
            if quota:
                rounds, rest = divmod(quota, len(rows))
                some = torch.randperm(len(rows), generator=generator, device=self.device)[:rest]
                drawn += [rows.repeat(rounds), rows[some]]
        joined = torch.cat(drawn)
        return joined[torch.randperm(len(joined), generator=generator, device=self.device)]
