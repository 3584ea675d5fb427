"""Link prediction: filtered ranks of held-out triples from both sides, in bounded memory."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
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
from pyg_kgtransfer.functional.segments import segment_offsets
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.kernels.counting import NotFiniteScoreError, filtered_counts

Pairs = tuple[Tensor, Tensor]
_FILTERS = {"valid": ("train", "valid"), "test": ("train", "valid", "test")}


class ScoredQueries(NamedTuple):
    """A chunk of distinct queries with the scores of all candidates.

    Attributes:
        scores: [B, K]; whoever reads them checks that they are finite.
        known: Rows [P], ascending, and columns [P] of the known answers.
        true: Rows [t], ascending, and columns [t] of the answers that are ranked.
        chunk: How many answers, each with a row of scores, fit into memory at a time.
    """

    scores: Tensor
    known: Pairs
    true: Pairs
    chunk: int


@dataclass(frozen=True, eq=False)
class _Side:
    """One direction of asking. A query is an anchor (the given end) and a relation.

    Attributes:
        queries: [T, 3] int64 (anchor, relation, answer).
        score: (anchor [B], relation [B]) -> [B, K].
        known: (anchor [B], relation [B]) -> row [P], entity [P] of the known answers.
        is_head: Whether the head is asked for, the anchor being the tail.
    """

    queries: Tensor
    score: Callable[[Tensor, Tensor], Tensor]
    known: Callable[[Tensor, Tensor], Pairs]
    is_head: bool


class LinkPrediction:
    """Ranks the true head and the true tail of each triple among the candidates.

    Every distinct query (h, r, ?) and (?, r, t) is scored once, against all candidates; the scores
    of all its true answers are read from that one row, so that ties are exact. Other known answers
    do not compete. Entities and relations that training has never seen are ranked like all others:
    nothing is left out. Memory holds a chunk of queries against all candidates, never [B, N, D].

    Args:
        triples: [T, 3] int64 to rank, or a ``HeldOut``. Repeats count as often as they occur.
        known: Facts that do not compete; the ranked triples need not be among them.
        candidates: [K] distinct entity ids to rank among; ``None``: all entities of ``known``. Give
            the target's entities where the model knows a joint graph.
        groups: Names and groups for the result and for messages.
        filter_splits: Which splits ``known`` was made of, for the protocol.
        memory_mb: Budget for a chunk of scores, in MiB. The chunk is halved when memory runs out
            nevertheless, for that evaluation only.

    Raises:
        ValueError: If there is nothing to rank, ids are out of range, candidates repeat, or a true
            answer is not among the candidates.

    Example:
        >>> from pyg_kgtransfer.evaluation.copy_rule import CopyRule
        >>> train, test = torch.tensor([[0, 0, 1], [2, 0, 1]]), torch.tensor([[3, 0, 1]])
        >>> known = KnownTriples([train, test], num_entities=4, num_relations=1)
        >>> rule = CopyRule(train, train[:0], num_entities=4, num_relations=1)
        >>> LinkPrediction(test, known)(rule, None).ranks.tolist()  # (?, 0, 1), then (3, 0, ?)
        [[1.5, 1.0]]
    """

    def __init__(
        self,
        triples: Tensor | HeldOut,
        known: KnownTriples,
        *,
        candidates: Tensor | None = None,
        groups: Groups | None = None,
        filter_splits: Sequence[str] = (),
        memory_mb: float = 512,
    ) -> None:
        self.role = triples.role if isinstance(triples, HeldOut) else ""
        self.triples = triples.triples if isinstance(triples, HeldOut) else triples
        self.known = known
        self.candidates = candidates
        self.groups = groups if groups is not None else Groups()
        self.filter_splits = tuple(filter_splits)
        self.memory_mb = memory_mb
        self._check()

    @classmethod
    def from_split(
        cls,
        split: Split,
        role: str = "test",
        *,
        candidates: Tensor | None = None,
        groups: Groups | None = None,
        memory_mb: float = 512,
    ) -> "LinkPrediction":
        """The usual protocol of a split, with its names and training degrees.

        Test ranks are filtered by train, valid and test; valid ranks, which select models, by train
        and valid, for the test facts must not be known then.

        Raises:
            ValueError: If ``role`` is neither ``"valid"`` nor ``"test"``.
        """
        if role not in _FILTERS:
            raise ValueError(f"the part to rank is 'valid' or 'test' (got {role!r})")
        given = groups if groups is not None else Groups()
        filled = Groups(
            given.entity_names or split.train.entities.names,
            given.relation_names or split.train.relations.names,
            given.source,
            given.source_names,
            split.train.degrees() if given.popularity is None else given.popularity,
        )
        return cls(
            split.test if role == "test" else split.valid,
            split.known(_FILTERS[role]),
            candidates=candidates,
            groups=filled,
            filter_splits=_FILTERS[role],
            memory_mb=memory_mb,
        )

    def __call__(self, model: Scorer, representations: Any) -> LinkPredictionResult:
        """Rank with ``model``, given what its ``encode`` made of the training graph.

        Raises:
            ValueError: As ``read`` does.
        """
        return self.result(self.counts(model, representations))

    def read(
        self, model: Scorer, representations: Any, reading: Callable[[ScoredQueries], Tensor]
    ) -> Tensor:
        """What is found in the scores, chunk by chunk: [C, T, 2], (?, r, t) before (h, r, ?).

        Queries are made on the device of ``representations.entity``, or on that of the triples
        where there is no such tensor.

        Args:
            model: Scores the candidates.
            representations: What its ``encode`` made of the training graph.
            reading: From a chunk with t answers to C numbers of each, [C, t]; it raises
                ``NotFiniteScoreError``, and is given fewer queries again where memory runs out.

        Raises:
            ValueError: If a score is not finite (the message names the triple), or the model scores
                another number of candidates than asked for.
        """
        device = device_of(representations, self.triples.device)
        known, triples = self.known.to(device), self.triples.to(device)
        given = None if self.candidates is None else self.candidates.to(device)
        candidates = torch.arange(known.num_entities, device=device) if given is None else given
        cell = max(SCORE_BYTES, int(getattr(model, "score_bytes", 0)))
        row = cell * len(candidates) + query_bytes(model, representations)
        chunks = Chunks(self.memory_mb, row_bytes=row)

        def score_heads(anchor: Tensor, relation: Tensor) -> Tensor:
            return model.score_heads(representations, relation, anchor, given)

        def score_tails(anchor: Tensor, relation: Tensor) -> Tensor:
            return model.score_tails(representations, anchor, relation, given)

        def known_heads(anchor: Tensor, relation: Tensor) -> Pairs:
            return known.heads(relation, anchor)

        heads = _Side(triples[:, [2, 1, 0]], score_heads, known_heads, is_head=True)
        tails = _Side(triples, score_tails, known.tails, is_head=False)
        with evaluating(model):
            sides = [self._read_side(side, candidates, chunks, reading) for side in (heads, tails)]
        return torch.stack(sides, dim=2).cpu()

    def part(self, start: int, stop: int) -> "LinkPrediction":
        """The same ranking of the triples ``start`` to ``stop`` alone, at least one."""
        source = self.groups.source
        own = None if source is None else source[start:stop]
        part = copy(self)
        part.triples, part.groups = self.triples[start:stop], replace(self.groups, source=own)
        return part

    def counts(self, model: Scorer, representations: Any) -> Tensor:
        """Greater, equal and competing candidates of each answer, for ``result``: [3, T, 2] int64.

        Raises:
            ValueError: As ``read`` does.
        """
        return self.read(model, representations, _counted)

    def result(self, counts: Tensor) -> LinkPredictionResult:
        """Ranks from greater, equal and competing candidates of each answer ([3, T, 2] int64)."""
        greater, equal, competing = counts
        return LinkPredictionResult(
            self.triples.cpu(),
            ranking.optimistic_ranks(greater),
            ranking.pessimistic_ranks(greater, equal),
            competing,
            self._protocol(),
            self.groups.cpu(),
        )

    def _read_side(
        self,
        side: _Side,
        candidates: Tensor,
        chunks: Chunks,
        reading: Callable[[ScoredQueries], Tensor],
    ) -> Tensor:
        """What is read of each triple: [C, T]."""
        anchor, relation, answer = side.queries.unbind(1)
        num_relations = self.known.num_relations
        keys, query = torch.unique(anchor * num_relations + relation, return_inverse=True)
        order = torch.argsort(query, stable=True)  # triples by query
        offsets = segment_offsets(query[order], len(keys)).tolist()
        columns = self._columns(candidates)

        def step(start: int, stop: int) -> Tensor:
            anchors, relations = keys[start:stop] // num_relations, keys[start:stop] % num_relations
            scores = side.score(anchors, relations)  # [stop - start, K]
            self._check_shape(scores, len(anchors), candidates)
            triples = order[offsets[start] : offsets[stop]]
            true = query[triples] - start, columns[answer[triples]]
            row, known = side.known(anchors, relations)
            is_candidate = columns[known] >= 0
            filtered = row[is_candidate], columns[known][is_candidate]
            try:
                return reading(ScoredQueries(scores, filtered, true, chunks.rows))
            except NotFiniteScoreError as error:
                asked = anchors[error.row].item(), relations[error.row].item()
                raise self._not_finite(scores[error.row], side, asked, candidates) from None

        by_query = torch.cat(chunks.run(len(keys), step), dim=1)  # [C, T]
        return torch.empty_like(by_query).index_copy(1, order, by_query)

    def _columns(self, candidates: Tensor) -> Tensor:
        """Where each entity stands among the candidates, or -1: int64 [N]."""
        columns = torch.full((self.known.num_entities,), -1, device=candidates.device)
        columns[candidates] = torch.arange(len(candidates), device=candidates.device)
        return columns

    def _check(self) -> None:
        triples, name = self.triples, self.role or "given"
        if triples.dim() != 2 or triples.shape[1] != 3 or triples.dtype != torch.long:
            raise ValueError(
                f"the triples to rank must be int64 of shape [T, 3] "
                f"(got {triples.dtype} {tuple(triples.shape)})"
            )
        if not len(triples):
            raise ValueError(f"there is nothing to rank: the {name} split is empty (got 0 triples)")
        sizes = (self.known.num_entities, self.known.num_relations, self.known.num_entities)
        limits = torch.tensor(sizes, device=triples.device)
        if bool((triples < 0).any()) or bool((triples >= limits).any()):
            raise ValueError(
                f"the triples to rank need entity ids in [0, {sizes[0]}) and relation ids in "
                f"[0, {sizes[1]}), as in the known facts (got {triples.amin(0).tolist()} to "
                f"{triples.amax(0).tolist()})"
            )
        source = self.groups.source
        if source is not None and source.shape != (len(triples),):
            raise ValueError(
                f"groups.source needs one entry per ranked triple, [{len(triples)}] "
                f"(got {tuple(source.shape)})"
            )
        popularity = self.groups.popularity
        if popularity is not None and len(popularity) < sizes[0]:
            raise ValueError(
                f"groups.popularity needs one degree per entity, [{sizes[0]}] "
                f"(got {tuple(popularity.shape)})"
            )
        if self.candidates is not None:
            self._check_candidates(self.candidates)

    def _check_candidates(self, candidates: Tensor) -> None:
        size = self.known.num_entities
        if candidates.dim() != 1 or candidates.dtype != torch.long or not len(candidates):
            raise ValueError(
                f"candidates must be int64 of shape [K], K > 0 "
                f"(got {candidates.dtype} {tuple(candidates.shape)})"
            )
        if int(candidates.min()) < 0 or int(candidates.max()) >= size:
            raise ValueError(
                f"candidates must be entity ids in [0, {size}) "
                f"(got {int(candidates.min())} to {int(candidates.max())})"
            )
        distinct = len(torch.unique(candidates))
        if distinct != len(candidates):
            raise ValueError(
                f"candidates must be distinct (got {len(candidates)}, {distinct} of them distinct)"
            )
        triples = self.triples.to(candidates.device)
        outside = ~torch.isin(triples[:, [0, 2]], candidates)  # [T, 2]
        if outside.any():
            row, end = outside.nonzero()[0].tolist()
            triple = triples[row].tolist()
            raise ValueError(
                f"every true answer must be a candidate (got {self.groups.triple(triple)}, whose "
                f"{'tail' if end else 'head'} is not among the {len(candidates):,} candidates; "
                f"{int(outside.any(1).sum()):,} of {len(triples):,} triples have such an end)"
            )

    def _check_shape(self, scores: Tensor, num_queries: int, candidates: Tensor) -> None:
        wanted = (num_queries, len(candidates))
        if scores.shape != wanted:
            hint = "" if self.candidates is not None else (
                "; where the model knows more entities than the ranked graph, say a joint graph, "
                "pass candidates"
            )  # fmt: skip
            raise ValueError(
                f"the model must score {wanted[1]:,} candidates for each of {wanted[0]:,} queries "
                f"(got {tuple(scores.shape)}){hint}"
            )

    def _not_finite(
        self, scores: Tensor, side: _Side, asked: tuple[int, int], candidates: Tensor
    ) -> ValueError:
        """What to say of the first score of a query that is not finite."""
        column = int((~torch.isfinite(scores)).nonzero()[0])
        (anchor, relation), answer = asked, int(candidates[column])
        triple = (answer, relation, anchor) if side.is_head else (anchor, relation, answer)
        return ValueError(
            f"every score must be finite (got {scores[column].item()} for "
            f"{self.groups.triple(triple)}); the model has diverged or its input is not finite"
        )

    def _protocol(self) -> dict[str, Any]:
        every = self.known.num_entities
        return {
            "split": self.role or "not stated",
            "filter_splits": list(self.filter_splits) or "not stated",
            "known_triples": len(self.known),
            "ties": "realistic",
            "candidates": every if self.candidates is None else len(self.candidates),
            "entities": every,
            "sides": list(SIDES),
            "triples": len(self.triples),
            "unseen": "entities and relations not seen in training are ranked like all others",
        }


def _counted(asked: ScoredQueries) -> Tensor:
    """Greater, equal and competing candidates of each answer: int64 [3, t]."""
    return torch.stack(filtered_counts(asked.scores, asked.known, asked.true, chunk=asked.chunk))
