"""What one model gains over another on the same triples, with intervals; and what it loses."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from pyg_kgtransfer.evaluation.result import HITS, LinkPredictionResult

METRICS = ("mrr", *(f"hits@{k}" for k in HITS))
MIN_TRIPLES = 10  # below this many triples a relation is not judged
_CHUNK_ELEMENTS = 1 << 22  # of the resampling weights, 32 MB in float64


@dataclass(frozen=True)
class Gain:
    """A metric under two models, and the difference.

    Attributes:
        count: Triples compared.
        baseline: The metric under the baseline, mean of both sides.
        other: The same under the other model.
        gain: ``other - baseline``; above 0 the other model is better.
        low: Lower end of the interval of the gain.
        high: Upper end.
        p_negative: The share of resamples in which the gain is at least 0 (plus one over plus one):
            a one-sided p-value of negative transfer, in (0, 1].
    """

    count: int
    baseline: float
    other: float
    gain: float
    low: float
    high: float
    p_negative: float

    @property
    def is_negative(self) -> bool:
        """Whether the whole interval is below 0, from enough triples to say so."""
        return self.is_judged and self.high < 0

    @property
    def is_judged(self) -> bool:
        """Whether there are at least ``MIN_TRIPLES`` triples."""
        return self.count >= MIN_TRIPLES

    @property
    def verdict(self) -> str:
        """What the interval says, in words."""
        if not self.is_judged:
            return f"too few facts to judge ({self.count})"
        if self.low > 0:
            return "a gain"
        return "a loss" if self.high < 0 else "no gain that can be told from chance"


@dataclass(frozen=True)
class Comparison:
    """Gains by metric name (``mrr``, ``hits@1``, ``hits@3``, ``hits@10``).

    Every interval stands for itself. ``negative_transfer`` lists relations whose own interval lies
    below 0: if nothing changed anywhere, ``expected_by_chance`` of the judged relations would be
    listed on average. ``negative_transfer_corrected`` lists those that remain when the false
    discovery rate over all judged relations is held at 1 - level (Benjamini and Hochberg 1995).

    Attributes:
        overall: Over all triples.
        relations: By relation name. Fewer than ``MIN_TRIPLES`` triples are shown, not judged.
        copyable: ``"copyable"`` and ``"not copyable"`` apart; empty if no mask was given.
        level: Coverage of each interval.
        samples: Bootstrap resamples.
        seed: Of the bootstrap.
    """

    overall: dict[str, Gain]
    relations: dict[str, dict[str, Gain]]
    copyable: dict[str, dict[str, Gain]]
    level: float
    samples: int
    seed: int

    @property
    def negative_transfer(self) -> list[str]:
        """Relations whose MRR falls with its whole interval, the worst first; not corrected."""
        falling = [name for name, gains in self.relations.items() if gains["mrr"].is_negative]
        return sorted(falling, key=lambda name: self.relations[name]["mrr"].gain)

    @property
    def negative_transfer_corrected(self) -> list[str]:
        """The relations of ``negative_transfer`` that survive the correction, the worst first."""
        judged = [gains["mrr"].p_negative for gains in self.relations.values()
                  if gains["mrr"].is_judged]  # fmt: skip
        limit = _benjamini_hochberg(judged, 1 - self.level)
        return [
            name
            for name in self.negative_transfer
            if self.relations[name]["mrr"].p_negative <= limit
        ]

    @property
    def expected_by_chance(self) -> float:
        """How many relations ``negative_transfer`` lists on average if no relation changes."""
        judged = sum(gains["mrr"].is_judged for gains in self.relations.values())
        return judged * (1 - self.level) / 2

    def rows(self, metric: str = "mrr") -> list[dict[str, Any]]:
        """One row per group: all triples, copyable or not, then relations by gain, best first.

        Raises:
            ValueError: If the metric is not one of ``mrr``, ``hits@1``, ``hits@3``, ``hits@10``.
        """
        if metric not in METRICS:
            raise ValueError(f"gains are of {', '.join(METRICS)} (got {metric!r})")
        relations = sorted(self.relations.items(), key=lambda item: -item[1][metric].gain)
        tables = [("all", self.overall), *self.copyable.items(), *relations]
        return [{"group": name, **asdict(gains[metric])} for name, gains in tables]

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            **asdict(self),
            "negative_transfer": self.negative_transfer,
            "negative_transfer_corrected": self.negative_transfer_corrected,
            "expected_by_chance": self.expected_by_chance,
            "min_triples": MIN_TRIPLES,
        }


def compare(
    baseline: LinkPredictionResult,
    other: LinkPredictionResult,
    *,
    copyable: Tensor | None = None,
    samples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Comparison:
    """The gain of ``other`` over ``baseline``, with paired bootstrap intervals.

    Triples are resampled, each with both of its sides and both of its ranks (the sides of a triple
    and the models' ranks of it are not independent); the interval runs between percentiles. It
    covers the choice of test triples, not that of training seeds. Groups are resampled within.

    Args:
        baseline: Say, trained on the target only.
        other: Say, transferred.
        copyable: [T] bool, triples whose pair of entities a source links already; reported apart.
        samples: Resamples, at least 100.
        seed: Of the resampling.
        level: Coverage of each interval, in (0, 1).

    Raises:
        ValueError: If the results rank other triples or other candidates, or an option is out of
            range.

    Example:
        >>> triples, many = torch.tensor([[0, 0, 1]] * 20), torch.full((20, 2), 9)
        >>> slow, fast = (LinkPredictionResult(triples, rank, rank, many)
        ...               for rank in (torch.full((20, 2), 4.0), torch.full((20, 2), 2.0)))
        >>> gain = compare(slow, fast).overall["mrr"]
        >>> gain.gain, gain.low, gain.high
        (0.25, 0.25, 0.25)
    """
    _check_comparable(baseline, other)
    _check_options(len(baseline), copyable, samples, level)
    before, after = _triple_values(baseline), _triple_values(other)  # [T, 4]
    generator = torch.Generator().manual_seed(seed)

    def gains(mask: Tensor) -> dict[str, Gain]:
        drawn = bootstrap_means((after - before)[mask], samples, generator=generator)
        return _gains(before[mask], after[mask], drawn, level=level)

    overall = gains(torch.ones(len(baseline), dtype=torch.bool))
    masks: dict[str, Tensor] = {}
    if copyable is not None:
        masks = {"copyable": copyable.cpu(), "not copyable": ~copyable.cpu()}
    relation = baseline.triples[:, 1]
    return Comparison(
        overall,
        {baseline.groups.relation(r): gains(relation == r) for r in relation.unique().tolist()},
        {name: gains(mask) for name, mask in masks.items() if mask.any()},
        level,
        samples,
        seed,
    )


def bootstrap_means(values: Tensor, samples: int, *, generator: torch.Generator) -> Tensor:
    """Means of resampled rows: [T, C] float64 -> [samples, C]; chunked, without a row gather."""
    count = len(values)
    chunk = max(1, _CHUNK_ELEMENTS // count)
    means = []
    for start in range(0, samples, chunk):
        size = min(chunk, samples - start)
        drawn = torch.randint(count, (size, count), generator=generator)
        drawn += torch.arange(size).unsqueeze(1) * count
        weights = torch.bincount(drawn.view(-1), minlength=size * count)
        means.append(weights.view(size, count).to(values.dtype) @ values / count)
    return torch.cat(means)


def _gains(before: Tensor, after: Tensor, drawn: Tensor, *, level: float) -> dict[str, Gain]:
    """Gains by metric from per-triple values [n, 4] and resampled gains [S, 4]."""
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=drawn.dtype)
    low, high = torch.quantile(drawn, tails, dim=0).tolist()
    p_negative = (((drawn >= 0).sum(0) + 1) / (len(drawn) + 1)).tolist()
    old, new = before.mean(0).tolist(), after.mean(0).tolist()
    gain = (after - before).mean(0).tolist()
    columns = zip(METRICS, old, new, gain, low, high, p_negative, strict=True)
    return {metric: Gain(len(before), *values) for metric, *values in columns}


def _triple_values(result: LinkPredictionResult) -> Tensor:
    """Reciprocal rank and hits of each triple, mean of both sides: [T, 4] float64."""
    ranks = result.ranks
    hits = [(ranks <= k).double() for k in HITS]
    return torch.stack([ranks.reciprocal(), *hits], dim=2).mean(1)


def _benjamini_hochberg(p_values: Sequence[float], rate: float) -> float:
    """The largest p-value that is still a discovery, or -1 if none is."""
    limit = -1.0
    for place, p in enumerate(sorted(p_values), start=1):
        if p <= rate * place / len(p_values):
            limit = p
    return limit


def _check_comparable(baseline: LinkPredictionResult, other: LinkPredictionResult) -> None:
    if not torch.equal(baseline.triples, other.triples):
        raise ValueError(
            "two results can be compared on the same triples in the same order only "
            f"(got {len(baseline):,} and {len(other):,} triples that differ)"
        )
    negatives = [each.protocol.get("negatives") for each in (baseline, other)]
    if negatives[0] != negatives[1]:
        raise ValueError(
            "two results can be compared under one protocol only: ranks among supplied negatives "
            f"are none among all entities (got {negatives[0]!r} and {negatives[1]!r})"
        )
    if not torch.equal(baseline.num_candidates, other.num_candidates):
        raise ValueError(
            "two results can be compared under one protocol only: each query needs as many "
            "candidates in both (got other counts; compare known facts and candidates of "
            f"{dict(baseline.protocol)} and {dict(other.protocol)})"
        )


def _check_options(count: int, copyable: Tensor | None, samples: int, level: float) -> None:
    if samples < 100:
        raise ValueError(f"at least 100 bootstrap samples are needed (got {samples})")
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1) (got {level})")
    if copyable is not None and (copyable.shape != (count,) or copyable.dtype != torch.bool):
        raise ValueError(
            f"copyable must be bool of shape [{count}] "
            f"(got {copyable.dtype} {tuple(copyable.shape)})"
        )
