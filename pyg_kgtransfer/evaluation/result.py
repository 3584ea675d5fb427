"""What an evaluation of link prediction found: ranks, metrics, groups, and under which protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from pyg_kgtransfer.functional import ranking

SIDES = ("head", "tail")
HITS = (1, 3, 10)
GROUPS = ("side", "relation", "source", "popularity")
_NUM_BANDS = 4


@dataclass(frozen=True, eq=False)
class Groups:
    """What results are named and grouped by. Everything is optional.

    Attributes:
        entity_names: N names, for messages.
        relation_names: R names; without them relations are called by id.
        source: [T] int64, the source graph of each ranked triple.
        source_names: The name of each source.
        popularity: [N] int64, how many training triple ends touch each entity
            (``KnowledgeGraph.degrees()``).
    """

    entity_names: Sequence[str] | None = None
    relation_names: Sequence[str] | None = None
    source: Tensor | None = None
    source_names: Sequence[str] | None = None
    popularity: Tensor | None = None

    def relation(self, index: int) -> str:
        """What to call relation ``index``."""
        return f"relation {index}" if self.relation_names is None else self.relation_names[index]

    def entity(self, index: int) -> str:
        """What to call entity ``index``."""
        return f"entity {index}" if self.entity_names is None else self.entity_names[index]

    def cpu(self) -> "Groups":
        """The same with tensors on the CPU."""
        source, popularity = self.source, self.popularity
        return replace(
            self,
            source=None if source is None else source.cpu(),
            popularity=None if popularity is None else popularity.cpu(),
        )

    def triple(self, triple: Sequence[int]) -> str:
        """A triple in words."""
        head, relation, tail = triple
        return f"({self.entity(head)}, {self.relation(relation)}, {self.entity(tail)})"


def rank_metrics(ranks: Tensor, num_candidates: Tensor) -> dict[str, float]:
    """MRR, MR, hits@1, 3 and 10, and AMRI of ``ranks`` (any shape, not empty)."""
    ranks, num_candidates = ranks.reshape(-1), num_candidates.reshape(-1)
    return {
        "mrr": ranking.mean_reciprocal_rank(ranks).item(),
        "mr": ranking.mean_rank(ranks).item(),
        **{f"hits@{k}": ranking.hits_at_k(ranks, k).item() for k in HITS},
        "amri": ranking.adjusted_mean_rank_index(ranks, num_candidates).item(),
    }


@dataclass(frozen=True, eq=False)
class LinkPredictionResult:
    """The filtered ranks of T triples from both sides. Column 0 asks (?, r, t), column 1 (h, r, ?).

    Attributes:
        triples: [T, 3] int64, as they were given, repeats included.
        optimistic: [T, 2] float64 ranks with every tie won.
        pessimistic: [T, 2] float64 ranks with every tie lost.
        num_candidates: [T, 2] int64, candidates left after filtering, the answer included.
        protocol: How they were ranked; see ``LinkPrediction``.
        groups: Names and groups.

    Example:
        >>> one = torch.ones(1, 2)
        >>> result = LinkPredictionResult(torch.tensor([[0, 0, 1]]), one, 3 * one, 3 * one.long())
        >>> result.ranks.tolist(), result.metrics()["mrr"], result.metrics()["amri"]
        ([[2.0, 2.0]], 0.5, 0.0)
    """

    triples: Tensor
    optimistic: Tensor
    pessimistic: Tensor
    num_candidates: Tensor
    protocol: Mapping[str, Any] = field(default_factory=dict)
    groups: Groups = field(default_factory=Groups)

    @property
    def ranks(self) -> Tensor:
        """Realistic ranks, [T, 2] float64, 1-based: the mean of optimistic and pessimistic."""
        return (self.optimistic + self.pessimistic) / 2

    def __len__(self) -> int:
        return len(self.triples)

    def __repr__(self) -> str:
        metrics = self.metrics()
        among = ", among supplied negatives" if "negatives" in self.protocol else ""
        return (
            f"LinkPredictionResult({len(self):,} triples, MRR {metrics['mrr']:.3f}, "
            f"hits@10 {metrics['hits@10']:.3f}{among})"
        )

    def metrics(self) -> dict[str, float]:
        """Metrics of realistic ranks, both sides pooled.

        ``mrr``, ``hits@k`` in [0, 1] and ``amri`` in [-1, 1] are better when higher, ``mr`` when
        lower. ``head.`` and ``tail.`` prefix those of one side; ``relation_macro.mrr`` gives every
        relation the same weight; ``optimistic.mrr`` and ``pessimistic.mrr`` bound what ties can do.
        """
        metrics = rank_metrics(self.ranks, self.num_candidates)
        metrics["optimistic.mrr"] = ranking.mean_reciprocal_rank(self.optimistic).item()
        metrics["pessimistic.mrr"] = ranking.mean_reciprocal_rank(self.pessimistic).item()
        _, relation = torch.unique(self.triples[:, 1], return_inverse=True)
        reciprocal = self.ranks.reciprocal().mean(1)  # [T]
        total = torch.zeros(int(relation.max()) + 1, dtype=reciprocal.dtype)
        total = total.index_add(0, relation, reciprocal)
        metrics["relation_macro.mrr"] = (total / torch.bincount(relation)).mean().item()
        for column, side in enumerate(SIDES):
            of_side = rank_metrics(self.ranks[:, column], self.num_candidates[:, column])
            metrics |= {f"{side}.{name}": value for name, value in of_side.items()}
        return metrics

    def by(self, group: str) -> dict[str, dict[str, float]]:
        """Metrics apart, with ``count``, the number of ranked answers (two per triple).

        Args:
            group: ``"side"``, ``"relation"``, ``"source"``, or ``"popularity"``: of the answer
                asked for, in training degrees; never seen ones (degree 0) apart, the others in up
                to four bands cut at the quartiles of the answers' degrees, equal degrees together.

        Raises:
            ValueError: If the group is unknown, or needs something that ``groups`` lacks.
        """
        names, member = self.members(group)
        ranks, candidates = self.ranks, self.num_candidates
        table: dict[str, dict[str, float]] = {}
        for index, name in enumerate(names):
            mask = member == index
            if mask.any():
                metrics = rank_metrics(ranks[mask], candidates[mask])
                table[name] = {"count": int(mask.sum()), **metrics}
        return table

    def select(self, mask: Tensor) -> "LinkPredictionResult":
        """The result for the triples where ``mask`` ([T] bool) is true, say the copyable ones.

        Raises:
            ValueError: If the mask is not [T] bool, or selects nothing.
        """
        if mask.shape != (len(self),) or mask.dtype != torch.bool:
            raise ValueError(
                f"the mask must be bool of shape [{len(self)}] "
                f"(got {mask.dtype} {tuple(mask.shape)})"
            )
        mask = mask.to(self.triples.device)
        if not mask.any():
            raise ValueError(f"the mask selects none of the {len(self):,} ranked triples")
        source = self.groups.source
        return replace(
            self,
            triples=self.triples[mask],
            optimistic=self.optimistic[mask],
            pessimistic=self.pessimistic[mask],
            num_candidates=self.num_candidates[mask],
            protocol={**self.protocol, "triples": int(mask.sum()), "selected_from": len(self)},
            groups=replace(self.groups, source=None if source is None else source[mask]),
        )

    def available_groups(self) -> tuple[str, ...]:
        """The groups that ``by`` can answer."""
        given = {
            "source": self.groups.source is not None,
            "popularity": self.groups.popularity is not None,
        }
        return tuple(group for group in GROUPS if given.get(group, True))

    def to_dict(self) -> dict[str, Any]:
        """Protocol, metrics and every available group, ready for JSON."""
        return {
            "protocol": dict(self.protocol),
            "metrics": self.metrics(),
            "by": {group: self.by(group) for group in self.available_groups()},
        }

    def members(self, group: str) -> tuple[list[str], Tensor]:
        """Names of the groups of ``by``, and each rank's index among them, [T, 2].

        Raises:
            ValueError: As ``by`` does.
        """
        count = len(self)
        if group not in self.available_groups():
            known = ", ".join(map(repr, self.available_groups()))
            lacking = "; pass it in groups" if group in GROUPS else ""
            raise ValueError(f"results can be grouped by {known} (got {group!r}){lacking}")
        if group == "side":
            return list(SIDES), torch.arange(2).expand(count, 2)
        if group == "relation":
            relations, member = torch.unique(self.triples[:, 1], return_inverse=True)
            names = [self.groups.relation(index) for index in relations.tolist()]
        elif group == "source" and self.groups.source is not None:
            sources, member = torch.unique(self.groups.source, return_inverse=True)
            given = self.groups.source_names
            names = [f"source {i}" if given is None else given[i] for i in sources.tolist()]
        else:
            names, band = self.bands()
            return names, band[self.triples[:, [0, 2]]]
        return names, member.unsqueeze(1).expand(count, 2)

    def bands(self) -> tuple[list[str], Tensor]:
        """Names of the popularity bands of ``by``, and the band of every entity, int64 [N].

        Bands are cut and named by the degrees of the answers; an entity whose degree lies between
        two of them is in the lower one.

        Raises:
            ValueError: If there are no training degrees.
        """
        if self.groups.popularity is None:
            raise ValueError("popularity bands need the training degrees (got no popularity)")
        popularity = self.groups.popularity
        degree = popularity[self.triples[:, [0, 2]]]  # [T, 2] of the answers
        seen = degree[degree > 0].sort().values
        cuts = [seen[len(seen) * part // _NUM_BANDS] for part in range(1, _NUM_BANDS) if len(seen)]
        edges = torch.stack([torch.ones_like(degree.view(-1)[0]), *cuts]).unique()
        band = torch.bucketize(popularity, edges, right=True)  # 0 is unseen
        member = band[self.triples[:, [0, 2]]]
        names = ["unseen in training"]
        for index in range(1, len(edges) + 1):
            of_band = degree[member == index]
            if not len(of_band):  # below all answers that are seen
                above = popularity.max() + 1 if index == len(edges) else edges[index]
                of_band = torch.stack([edges[index - 1], above - 1])
            low, high = int(of_band.min()), int(of_band.max())
            names.append(f"degree {low}" if low == high else f"degree {low}-{high}")
        return names, band
