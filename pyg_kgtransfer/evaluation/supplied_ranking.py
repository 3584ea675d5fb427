"""Link prediction among supplied negatives, as the leaderboards of OGB rank."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyg_kgtransfer.evaluation.result import SIDES, Groups, LinkPredictionResult
from pyg_kgtransfer.evaluation.streaming import (
    SCORE_BYTES,
    Chunks,
    Scorer,
    device_of,
    evaluating,
    query_bytes,
)
from pyg_kgtransfer.functional import ranking
from pyg_kgtransfer.graph.splits import HeldOut, Split

_VECTOR_COPIES = 3  # of a candidate's vector, at a time, where an engine gathers them


class Moved(NamedTuple):
    """Where the ids of held-out facts are in the graph that a model reads.

    Attributes:
        entity: [N] int64, the model's row of each entity.
        relation: [R] int64, the model's id of each relation.
    """

    entity: Tensor
    relation: Tensor


class SuppliedRanking:
    """Ranks the true head and the true tail of each fact among the wrong answers that come with it.

    rank = 1 + (#{negatives that score higher} + #{negatives that score at least as high}) / 2,

    the mean of the optimistic and the pessimistic rank. Each query has candidates of its own, [B,
    K + 1] of them, whose vectors alone are read; negatives come from the disk a chunk at a time.
    Nothing is filtered: whoever supplied them has done so. Among 500 negatives a mean reciprocal
    rank is far higher than among all entities; the protocol of the result tells the two apart.

    Args:
        held_out: The facts, with negatives, in ids of their own graph.
        num_entities: N, of that graph.
        moved: Where those ids are in the graph that the model reads; ``None``: they are the same.
        groups: Names and groups for the result and for messages, in ids of the model's graph.
        memory_mb: Budget for a chunk of scores and vectors, in MiB; halved when memory runs out.

    Raises:
        ValueError: If there is nothing to rank or there are no negatives, or an id is out of range.

    Source: Hu et al. 2020, arXiv 2005.00687; ``ogb.linkproppred.Evaluator``, its torch branch.

    Example:
        >>> class Nearness:
        ...     def score_tails(self, representations, head, relation, candidates):
        ...         return -(candidates - head[:, None]).abs().float()
        ...     def score_heads(self, representations, relation, tail, candidates):
        ...         return -(candidates - tail[:, None]).abs().float()
        >>> import pyg_kgtransfer as kgt
        >>> negatives = kgt.SuppliedNegatives(torch.tensor([[0, 9]]), torch.tensor([[4, 5]]))
        >>> test = kgt.HeldOut(torch.tensor([[3, 0, 5]]), "test", negatives)
        >>> kgt.SuppliedRanking(test, 10)(Nearness(), None).ranks.tolist()  # heads, then tails
        [[1.0, 2.5]]
    """

    def __init__(
        self,
        held_out: HeldOut,
        num_entities: int,
        *,
        moved: Moved | None = None,
        groups: Groups | None = None,
        memory_mb: float = 512,
    ) -> None:
        if held_out.negatives is None:
            raise ValueError(
                f"the {held_out.role} facts come without negatives; rank them among all entities, "
                "with LinkPrediction"
            )
        if not len(held_out):
            raise ValueError(
                f"there is nothing to rank: the {held_out.role} split is empty (got 0 triples)"
            )
        ends = held_out.triples[:, [0, 2]]
        if int(held_out.triples.min()) < 0 or int(ends.max()) >= num_entities:
            raise ValueError(
                f"the triples to rank need entity ids in [0, {num_entities}) and relation ids of "
                f"at least 0 (got {held_out.triples.amin(0).tolist()} to "
                f"{held_out.triples.amax(0).tolist()})"
            )
        held_out.negatives.check_below(num_entities)
        self.held_out = held_out
        self.negatives = held_out.negatives
        self.num_entities = num_entities
        self.moved = moved
        self.groups = groups if groups is not None else Groups()
        self.memory_mb = memory_mb

    @classmethod
    def from_split(
        cls, split: Split, role: str = "test", *, memory_mb: float = 512
    ) -> "SuppliedRanking":
        """The usual protocol of a split, with its names and training degrees.

        Raises:
            ValueError: If ``role`` is neither ``"valid"`` nor ``"test"``, or as above.
        """
        if role not in ("valid", "test"):
            raise ValueError(f"the part to rank is 'valid' or 'test' (got {role!r})")
        names = split.train.entities.names, split.train.relations.names
        return cls(
            split.test if role == "test" else split.valid,
            split.train.num_entities,
            groups=Groups(*names, popularity=split.train.degrees()),
            memory_mb=memory_mb,
        )

    def __call__(self, model: Scorer, representations: Any) -> LinkPredictionResult:
        """Rank with ``model``, given what its ``encode`` made of the training graph.

        Raises:
            ValueError: If a score is not finite (the message names the triple), or the model scores
                another number of candidates than asked for.
        """
        triples = self._in_model(self.held_out.triples, None)
        device = device_of(representations, triples.device)
        row = (self.negatives.count + 1) * _cell_bytes(model, representations)
        chunks = Chunks(self.memory_mb, row_bytes=row + query_bytes(model, representations))

        def step(start: int, stop: int) -> Tensor:
            asked = triples[start:stop].to(device)
            found = []
            for side in SIDES:
                candidates = self._candidates(side, start, stop).to(device)  # [B, K + 1]
                scores = _scores(model, representations, side, asked, candidates)
                self._check(scores, asked, candidates, side)
                true, others = scores[:, :1], scores[:, 1:]
                greater, equal = (others > true).sum(1), (others == true).sum(1)
                found.append(torch.stack([greater, equal]))
            return torch.stack(found, dim=2).cpu()  # [2, B, 2]

        with evaluating(model):
            greater, equal = torch.cat(chunks.run(len(triples), step), dim=1)
        return LinkPredictionResult(
            triples.cpu(),
            ranking.optimistic_ranks(greater),
            ranking.pessimistic_ranks(greater, equal),
            torch.full_like(greater, self.negatives.count + 1),
            self._protocol(),
            self.groups.cpu(),
        )

    def _candidates(self, side: str, start: int, stop: int) -> Tensor:
        """The true answer of each fact and its negatives, in the model's ids: int64 [B, K + 1]."""
        column, wrong = (0, self.negatives.head) if side == "head" else (2, self.negatives.tail)
        true = self.held_out.triples[start:stop, column].cpu()
        return self._in_model(torch.column_stack([true, wrong[start:stop].cpu().long()]), "entity")

    def _in_model(self, ids: Tensor, kind: str | None) -> Tensor:
        """Entities, or whole triples, as the model calls them."""
        if self.moved is None:
            return ids
        if kind == "entity":
            return self.moved.entity[ids]
        head, relation, tail = ids.cpu().unbind(1)
        entity, relations = self.moved
        return torch.stack([entity[head], relations[relation], entity[tail]], dim=1)

    def _check(self, scores: Tensor, asked: Tensor, candidates: Tensor, side: str) -> None:
        if scores.shape != candidates.shape:
            raise ValueError(
                f"the model must score {candidates.shape[1]:,} candidates for each of "
                f"{len(candidates):,} queries (got {tuple(scores.shape)})"
            )
        wrong = ~torch.isfinite(scores)
        if wrong.any():
            row, column = wrong.nonzero()[0].tolist()
            triple = asked[row].tolist()
            triple[0 if side == "head" else 2] = int(candidates[row, column])
            raise ValueError(
                f"every score must be finite (got {scores[row, column].item()} for "
                f"{self.groups.triple(triple)}); the model has diverged or its input is not finite"
            )

    def _protocol(self) -> dict[str, Any]:
        return {
            "split": self.held_out.role,
            "negatives": f"supplied: {self.negatives.count} of each fact and side",
            "filter_splits": "as supplied",
            "ties": "realistic",
            "candidates": self.negatives.count + 1,
            "entities": self.num_entities,
            "sides": list(SIDES),
            "triples": len(self.held_out),
            "unseen": "entities and relations not seen in training are ranked like all others",
        }


def _scores(
    model: Scorer, representations: Any, side: str, asked: Tensor, candidates: Tensor
) -> Tensor:
    head, relation, tail = asked.unbind(1)
    if side == "head":
        return model.score_heads(representations, relation, tail, candidates)
    return model.score_tails(representations, head, relation, candidates)


def _cell_bytes(model: object, representations: object) -> int:
    """What scoring one query against one candidate of its own takes: scores and vectors."""
    vectors = getattr(representations, "entity", None)
    width = vectors.shape[-1] * vectors.element_size() if isinstance(vectors, Tensor) else 0
    return max(SCORE_BYTES, int(getattr(model, "score_bytes", 0))) + _VECTOR_COPIES * width
