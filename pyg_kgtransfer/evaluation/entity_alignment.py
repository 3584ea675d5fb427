"""Entity alignment: how well vectors of two graphs find held-out counterparts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from pyg_kgtransfer.evaluation.result import rank_metrics
from pyg_kgtransfer.evaluation.streaming import Chunks
from pyg_kgtransfer.functional import ranking
from pyg_kgtransfer.functional.segments import sorted_join

DIRECTIONS = ("left_to_right", "right_to_left")
_CELL_BYTES = 32  # similarities, their filtered copy, a gathered copy, two comparisons


@dataclass(frozen=True, eq=False)
class EntityAlignmentResult:
    """Ranks of P held-out pairs: column 0 asks for the right entity, column 1 for the left one.

    Attributes:
        ranks: [P, 2] float64 realistic ranks.
        num_candidates: [P, 2] int64.
        protocol: How they were ranked.
    """

    ranks: Tensor
    num_candidates: Tensor
    protocol: Mapping[str, Any]

    def metrics(self) -> dict[str, float]:
        """MRR, MR, hits@k and AMRI over both directions, and apart (``left_to_right.mrr``)."""
        metrics = rank_metrics(self.ranks, self.num_candidates)
        for column, direction in enumerate(DIRECTIONS):
            apart = rank_metrics(self.ranks[:, column], self.num_candidates[:, column])
            metrics |= {f"{direction}.{name}": value for name, value in apart.items()}
        return metrics


class EntityAlignment:
    """Ranks the counterpart of each held-out entity by cosine similarity, in both directions.

    Where an entity has several counterparts among the pairs, the others do not compete.

    Args:
        pairs: [P, 2] int64 held-out (left id, right id).
        candidates: ``"all"``: every entity of the other graph. ``"held_out"``: only the entities of
            ``pairs``, the easier habit of the DBP15K literature.
        csls: k > 0 replaces the cosine by 2 cos(x, y) - r(x) - r(y), r the mean cosine to the k
            nearest candidates across, which tames hubs (Lample et al. 2018, arXiv 1710.04087,
            section 2.3).
        memory_mb: Budget for a chunk of similarities, in MiB.

    Raises:
        ValueError: If there are no pairs, their shape is wrong, or an option is out of range.

    Example:
        >>> evaluate = EntityAlignment(torch.tensor([[0, 1], [1, 0]]))
        >>> left, right = torch.eye(2), torch.eye(2).flip(0)
        >>> evaluate(left, right).metrics()["hits@1"]
        1.0
    """

    def __init__(
        self,
        pairs: Tensor,
        *,
        candidates: Literal["all", "held_out"] = "all",
        csls: int = 0,
        memory_mb: float = 512,
    ) -> None:
        if pairs.dim() != 2 or pairs.shape[1] != 2 or pairs.dtype != torch.long:
            raise ValueError(
                f"pairs must be int64 of shape [P, 2] (got {pairs.dtype} {tuple(pairs.shape)})"
            )
        if not len(pairs):
            raise ValueError("there is nothing to rank: no pair is held out (got 0 pairs)")
        if candidates not in ("all", "held_out"):
            raise ValueError(f"candidates must be 'all' or 'held_out' (got {candidates!r})")
        if csls < 0:
            raise ValueError(f"csls must be 0 (off) or a number of neighbours (got {csls})")
        self.pairs = pairs
        self.candidates = candidates
        self.csls = csls
        self.memory_mb = memory_mb

    @torch.no_grad()
    def __call__(self, left: Tensor, right: Tensor) -> EntityAlignmentResult:
        """Rank with the vectors ``left`` [N_left, D] and ``right`` [N_right, D].

        Raises:
            ValueError: If a pair names no row, widths differ, or a vector is not finite.
        """
        self._check_vectors(left, right)
        pairs = self.pairs.to(left.device)
        rows, places = [], []
        for side, vectors in enumerate((left, right)):
            if self.candidates == "all":
                ids = torch.arange(len(vectors), device=left.device)
            else:
                ids = torch.unique(pairs[:, side])
            rows.append(functional.normalize(vectors[ids], dim=1))
            places.append(torch.searchsorted(ids, pairs[:, side].contiguous()))
        lefts, rights = rows
        index = torch.stack(places, 1)  # [P, 2] rows of lefts and rights
        near_left, near_right = self._nearness(lefts, rights), self._nearness(rights, lefts)
        forward = self._rank(lefts, rights, index, near_left, near_right)
        backward = self._rank(rights, lefts, index.flip(1), near_right, near_left)
        ranks, counts = (torch.stack(part, 1).cpu() for part in zip(forward, backward, strict=True))
        protocol = {
            "candidates": self.candidates,
            "left": len(lefts),
            "right": len(rights),
            "pairs": len(pairs),
            "similarity": f"CSLS, k = {self.csls}" if self.csls else "cosine",
            "ties": "realistic",
        }
        return EntityAlignmentResult(ranks, counts, protocol)

    def _nearness(self, vectors: Tensor, others: Tensor) -> Tensor:
        """Mean cosine of each vector to its k nearest others, [n]; zeros without CSLS."""
        if not self.csls:
            return vectors.new_zeros(len(vectors))
        neighbours = min(self.csls, len(others))
        chunks = Chunks(self.memory_mb, row_bytes=_CELL_BYTES * len(others))
        return torch.cat(
            chunks.run(
                len(vectors),
                lambda a, b: (vectors[a:b] @ others.t()).topk(neighbours, dim=1).values.mean(1),
            )
        )

    def _rank(
        self, queries: Tensor, others: Tensor, index: Tensor, near: Tensor, near_others: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Realistic ranks and numbers of candidates of each pair: [P] and [P]."""
        order = torch.argsort(index[:, 0], stable=True)
        asked, answer = index[order].t().contiguous()
        keys = torch.unique(asked)  # [Q] rows of queries
        chunks = Chunks(self.memory_mb, row_bytes=_CELL_BYTES * len(others))

        def rank(start: int, stop: int) -> tuple[Tensor, Tensor]:
            own = keys[start:stop]
            scores = queries[own] @ others.t()  # [b, n]
            if self.csls:
                scores = 2 * scores - near[own].unsqueeze(1) - near_others
            row, position = sorted_join(asked, own)
            column = answer[position]
            filtered = ranking.filter_scores(scores, row, column)
            competing = ranking.competitor_counts(filtered)[row] + 1
            counts = ranking.rank_counts(filtered, row, scores[row, column], chunk=chunks.rows)
            return ranking.realistic_ranks(*counts), competing

        parts = zip(*chunks.run(len(keys), rank), strict=True)
        ranks, competing = (torch.cat(part) for part in parts)
        return (
            torch.empty_like(ranks).index_copy(0, order, ranks),
            torch.empty_like(competing).index_copy(0, order, competing),
        )

    def _check_vectors(self, left: Tensor, right: Tensor) -> None:
        if left.dim() != 2 or right.dim() != 2 or left.shape[1] != right.shape[1]:
            raise ValueError(
                "left and right vectors must have one width, [N_left, D] and [N_right, D] "
                f"(got {tuple(left.shape)} and {tuple(right.shape)})"
            )
        for side, (name, vectors) in enumerate((("left", left), ("right", right))):
            ids = self.pairs[:, side]
            if int(ids.min()) < 0 or int(ids.max()) >= len(vectors):
                raise ValueError(
                    f"held-out pairs need {name} ids in [0, {len(vectors)}) "
                    f"(got {int(ids.min())} to {int(ids.max())})"
                )
            finite = torch.isfinite(vectors).all(1)
            if not finite.all():
                raise ValueError(
                    f"every vector must be finite (got NaN or infinity for {name} entity "
                    f"{int((~finite).nonzero()[0])})"
                )
