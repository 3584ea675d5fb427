"""Whom a model favours: where its scores go, by popularity, relation and group of entities."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyg_kgtransfer.evaluation.comparison import bootstrap_means
from pyg_kgtransfer.evaluation.link_prediction import LinkPrediction, ScoredQueries
from pyg_kgtransfer.evaluation.result import LinkPredictionResult
from pyg_kgtransfer.evaluation.streaming import Scorer
from pyg_kgtransfer.functional import ranking
from pyg_kgtransfer.functional.segments import segment_counts
from pyg_kgtransfer.graph.entity_groups import EntityGroups
from pyg_kgtransfer.kernels.counting import filtered_counts

TOP = 10  # places that count as shown
_COPIES = 3  # of an answer's row of scores, in float64, for each row of scores in float32


class Interval(NamedTuple):
    """A figure with a bootstrap interval over facts.

    Attributes:
        value: Of all facts.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class BiasResult:
    """Where the scores of a model go, and how well each group of answers is ranked.

    A query's scores become shares of 1, its *mass*, by a softmax over its candidates: other known
    answers are left out, the true one is kept. Scores have no unit: twice the scores, or half the
    temperature, make a sharper softmax. Places among the first ten have no such scale.

    Attributes:
        ranks: Of the same T triples, by the same scores.
        candidates: [K] int64, entities ranked among.
        mass: [K] float64, mean over queries of the mass on each candidate; sums to 1.
        places: [K] float64, mean over queries of each candidate's share of the first ten places
            (equal scores share them); sums to 1.
        answer_mass: [T, 2] float64, the mass on the true answer, in [0, 1]; columns as in ranks.
        excess: [T, 2] float64, mean popularity percentile of candidates, weighted by mass, less
            that of the true answer, in [-1, 1].
        temperature: Scores were divided by it.
        groups: Of entities; ``None``: none.

    Example:
        >>> from pyg_kgtransfer.evaluation.copy_rule import CopyRule
        >>> from pyg_kgtransfer.evaluation.result import Groups
        >>> from pyg_kgtransfer.graph.known_triples import KnownTriples
        >>> train, test = torch.tensor([[0, 0, 1], [2, 0, 1]]), torch.tensor([[3, 0, 1]])
        >>> known = KnownTriples([train, test], num_entities=4, num_relations=1)
        >>> rule = CopyRule(train, train[:0], num_entities=4, num_relations=1)
        >>> groups = Groups(popularity=torch.tensor([1, 2, 1, 0]))
        >>> found = bias_of(LinkPrediction(test, known, groups=groups), rule, None)
        >>> [(row["group"], row["answers"]) for row in found.rows("popularity")]
        [('unseen in training', 1), ('degree 1', 0), ('degree 2', 1)]
        >>> found
        BiasResult(1 triples, popularity bias +0.115, MRR 0.833)
    """

    ranks: LinkPredictionResult
    candidates: Tensor
    mass: Tensor
    places: Tensor
    answer_mass: Tensor
    excess: Tensor
    temperature: float = 1.0
    groups: EntityGroups | None = None

    def __len__(self) -> int:
        return len(self.ranks)

    def __repr__(self) -> str:
        mrr = self.ranks.metrics()["mrr"]
        bias = self.excess.mean().item()
        return f"BiasResult({len(self):,} triples, popularity bias {bias:+.3f}, MRR {mrr:.3f})"

    def popularity_bias(
        self, *, samples: int = 2000, seed: int = 0, level: float = 0.95
    ) -> Interval:
        """How much more popular what is favoured is than what is true: in [-1, 1], 0 is none.

        The mean over queries of sum_c mass_c * percentile_c - percentile_answer. Above 0 popular
        entities are favoured. A model that scores all alike has 1/2 less the mean percentile of the
        answers, which is below 0 where answers are popular.

        Args:
            samples: Bootstrap resamples, at least 100; facts are drawn with both of their sides.
            seed: Of the resampling.
            level: Coverage of the interval, in (0, 1).

        Raises:
            ValueError: If an option is out of range.
        """
        if samples < 100:
            raise ValueError(f"at least 100 bootstrap samples are needed (got {samples})")
        if not 0 < level < 1:
            raise ValueError(f"level must be in (0, 1) (got {level})")
        of_facts = self.excess.mean(1, keepdim=True)  # [T, 1]
        generator = torch.Generator().manual_seed(seed)
        drawn = bootstrap_means(of_facts, samples, generator=generator).view(-1)
        tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=drawn.dtype)
        low, high = torch.quantile(drawn, tails).tolist()
        return Interval(of_facts.mean().item(), low, high)

    def available_groups(self) -> tuple[str, ...]:
        """What ``rows`` can be of."""
        return ("popularity", "relation", *(() if self.groups is None else ("group",)))

    def rows(self, by: str = "popularity") -> list[dict[str, Any]]:
        """A row for each popularity band, relation or group of entities.

        ``answers`` counts the queries whose answer is in the group, and ``share_of_answers`` is
        their share; ``mrr``, ``hits@10``, ``answer_mass`` and ``popularity_bias`` are of these
        queries, ``None`` where there are none. For entities, ``candidates`` counts those in the
        group, ``share_of_mass`` and ``share_of_top10`` are theirs in all queries: more than the
        share of answers is favour, less is neglect.

        Args:
            by: ``"popularity"`` (bands of ``LinkPredictionResult.by``), ``"relation"``, or
                ``"group"``, where groups were given.

        Raises:
            ValueError: If ``by`` is none of them, or there are no groups.
        """
        if by not in self.available_groups():
            known = ", ".join(map(repr, self.available_groups()))
            lacking = "; pass groups" if by == "group" else ""
            raise ValueError(f"bias is told by {known} (got {by!r}){lacking}")
        if by == "relation":
            names, of_answers = self.ranks.members("relation")
            return [self._of_answers(name, of_answers == i, {}) for i, name in enumerate(names)]
        names, member = self.members(by)
        of_answers = member[self.ranks.triples[:, [0, 2]]]
        own = member[self.candidates]
        count = segment_counts(own, len(names))
        mass, places = (
            torch.zeros(len(names), dtype=torch.double).index_add(0, own, share)
            for share in (self.mass, self.places)
        )
        return [
            self._of_answers(
                name,
                of_answers == i,
                {
                    "candidates": int(count[i]),
                    "share_of_mass": mass[i].item(),
                    "share_of_top10": places[i].item(),
                },
            )
            for i, name in enumerate(names)
            if count[i]
        ]

    def members(self, by: str) -> tuple[list[str], Tensor]:
        """Names of popularity bands or of groups, and the one of every entity, int64 [N]."""
        if by == "group" and self.groups is not None:
            return list(self.groups.names), self.groups.member
        return self.ranks.bands()

    def _of_answers(
        self, name: str, mask: Tensor, of_entities: Mapping[str, float]
    ) -> dict[str, Any]:
        """How the queries of ``mask`` ([T, 2] bool) are answered, and what their group has."""
        number = int(mask.sum())

        def mean(values: Tensor) -> float | None:
            return values[mask].mean().item() if number else None

        return {
            "group": name,
            "answers": number,
            "share_of_answers": number / mask.numel(),
            **of_entities,
            "mrr": mean(self.ranks.ranks.reciprocal()),
            "hits@10": mean((self.ranks.ranks <= TOP).double()),
            "answer_mass": mean(self.answer_mass),
            "popularity_bias": mean(self.excess),
        }

    def to_dict(self) -> dict[str, Any]:
        """Protocol, popularity bias with its interval (95 %), and all rows, ready for JSON."""
        return {
            "protocol": {**self.ranks.protocol, "temperature": self.temperature, "top": TOP},
            "popularity_bias": self.popularity_bias()._asdict(),
            "by": {by: self.rows(by) for by in self.available_groups()},
        }


def bias_of(
    rank: LinkPrediction,
    model: Scorer,
    representations: Any,
    groups: EntityGroups | None = None,
    *,
    temperature: float = 1.0,
) -> BiasResult:
    """Rank, and measure whom the scores favour, in one pass over them.

    The percentile of an entity is the share of candidates with fewer training facts, those with as
    many (itself too) counting half: in (0, 1), 1/2 on average. Memory holds a chunk of queries
    against all candidates, never [B, N, D].

    Args:
        rank: What is asked, among which candidates; with ``groups.popularity``.
        model: Scores the candidates.
        representations: What its ``encode`` made of the training graph.
        groups: Of the entities of ``rank``.
        temperature: Scores are divided by it, above 0. A model trained by 1-vs-all learns scores
            whose softmax is a distribution, so that 1 is its own; of others compare shares of
            places, or masses at one temperature for scores of one scale.

    Raises:
        ValueError: If the ranking has no popularity, the temperature is not above 0, groups do not
            fit, or a score is not finite (the message names the triple).
    """
    popularity, size = rank.groups.popularity, rank.known.num_entities
    if popularity is None:
        raise ValueError("bias needs the training degrees: pass Groups(popularity=...) (got none)")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be above 0 and finite (got {temperature})")
    if groups is not None and groups.member.shape != (size,):
        raise ValueError(
            f"groups must be those of {size} entities (got {tuple(groups.member.shape)})"
        )
    candidates = torch.arange(size) if rank.candidates is None else rank.candidates.cpu()
    percentile = popularity_percentiles(popularity.cpu()[candidates])
    mass, places = torch.zeros(2, len(candidates), dtype=torch.double).unbind(0)
    read = _reading(percentile, temperature, mass, places)
    found = rank.read(model, representations, read)  # [5, T, 2]
    ranks = rank.result(found[:3].long())
    at = torch.zeros(size, dtype=torch.double).index_copy(0, candidates, percentile)
    excess = found[4] - at[ranks.triples[:, [0, 2]]]
    queries = found[0].numel()
    return BiasResult(
        ranks, candidates, mass / queries, places / queries, found[3], excess, temperature, groups
    )


def popularity_percentiles(degree: Tensor) -> Tensor:
    """The share of entities with a lower degree, equal ones counting half: [K] -> [K] float64.

    Example:
        >>> popularity_percentiles(torch.tensor([7, 1, 1, 9])).tolist()
        [0.625, 0.25, 0.25, 0.875]
    """
    ordered = degree.sort().values
    below = torch.searchsorted(ordered, degree)
    upto = torch.searchsorted(ordered, degree, right=True)
    return (below + upto).double() / (2 * max(1, len(degree)))


def _reading(
    percentile: Tensor, temperature: float, mass: Tensor, places: Tensor
) -> Callable[[ScoredQueries], Tensor]:
    """A reading for ``LinkPrediction.read`` that adds to ``mass`` and ``places`` ([K]).

    Of each answer it tells three counts, the mass on it, and the mean percentile: [5, t].
    """

    def read(asked: ScoredQueries) -> Tensor:
        scores, (row, column) = asked.scores, asked.true
        counts = filtered_counts(scores, asked.known, asked.true, chunk=asked.chunk)
        rows, columns = (torch.cat(pair) for pair in zip(asked.known, asked.true, strict=True))
        filtered = ranking.filter_scores(scores, rows, columns)
        size = max(1, asked.chunk // _COPIES)
        sums = torch.zeros(2, len(percentile), dtype=torch.double)
        told = []
        for part in torch.arange(len(row), device=row.device).split(size):
            own, at = filtered[row[part]], column[part].unsqueeze(1)  # [c, K], [c, 1]
            own.scatter_(1, at, scores[row[part]].gather(1, at))
            share = torch.softmax(own.to(_fine(own)) / temperature, dim=1)
            mean = share @ percentile.to(share)
            told.append(torch.stack([share.gather(1, at).squeeze(1), mean]).double().cpu())
            sums[0] += share.sum(0).double().cpu()
            del share
            sums[1] += _top_places(own, counts.competing[part]).double().cpu()
        mass.add_(sums[0])  # at the very end: a chunk that does not fit is read again
        places.add_(sums[1])
        return torch.cat([torch.stack(counts).cpu().double(), torch.cat(told, dim=1)])

    return read


def _fine(scores: Tensor) -> torch.dtype:
    """float64, but for devices without it."""
    return torch.float if scores.device.type == "mps" else torch.double


def _top_places(own: Tensor, competing: Tensor) -> Tensor:
    """Shares of the first places, summed over queries: [c, K] scores, -inf: left out -> [K].

    A query with fewer competitors has fewer places; those with the last score share what is left.
    """
    number = competing.clamp(max=TOP).unsqueeze(1)  # [c, 1]
    best = own.topk(min(TOP, own.shape[1]), dim=1).values
    last = best.gather(1, number - 1)
    above, equal = own > last, own == last
    left = (number - above.sum(1, keepdim=True)) / equal.sum(1, keepdim=True)
    return ((above + left * equal) / number).sum(0)
