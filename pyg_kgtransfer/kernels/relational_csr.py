"""Relational sums over a fixed graph as sparse products: sorted once, kept for every layer.

Everything a relational layer sums over edges (u, r) -> v is a product of a fixed sparse matrix with
a dense table. The matrices are built when first asked for.
"""

from bisect import bisect_left, bisect_right
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from pyg_kgtransfer.kernels.csr import EdgeOrder, segment_bounds
from pyg_kgtransfer.kernels.sparse_matrix import SparseMatrix


class RelationPairs(NamedTuple):
    """The distinct (node, relation) pairs of a graph, P of them, between sources and rows.

    ``scatter(f(gather(x), relation_gather(z)))`` computes f once per pair instead of per edge.

    Attributes:
        relation: [P] int64, the relation of each pair.
        gather: [P, S], from source vectors to pairs.
        relation_gather: [P, R], from relation vectors to pairs: a one in each row.
        scatter: [N, P], from pairs to rows.
    """

    relation: Tensor
    gather: SparseMatrix
    relation_gather: SparseMatrix
    scatter: SparseMatrix


class Piece(NamedTuple):
    """Consecutive rows that are gathered, transformed and sent on together.

    Attributes:
        rows: Which rows.
        relations: From the first to behind the last relation among them.
        parts: Of each of these relations that has some: its number from the first, and its rows
            from the piece's first.
    """

    rows: slice
    relations: slice
    parts: list[tuple[int, slice]]


class RelationRows:
    """(relation, node) rows, by relation, that a matrix per relation transforms: P of them.

    A row belongs to a target or to a source, whichever the relation has fewer of. Rows gathered by
    ``sources``, transformed and sent through the transpose of ``targets`` sum over relations the
    mean of what neighbours send.

    Args:
        bounds: [R + 1], where the rows of each relation start.
        sources: [P, S], what each row gathers.
        targets: [P, N], where each row is sent.
    """

    def __init__(
        self, bounds: tuple[int, ...], sources: SparseMatrix, targets: SparseMatrix
    ) -> None:
        self.bounds, self.sources, self.targets = bounds, sources, targets
        self._pieces: dict[int, list[Piece]] = {}

    def pieces(self, limit: int) -> list[Piece]:
        """All rows in order, at most ``limit`` of them in a piece; found once."""
        if limit not in self._pieces:
            cuts = range(0, self.bounds[-1], limit)
            self._pieces[limit] = [
                self._piece(start, min(start + limit, self.bounds[-1])) for start in cuts
            ]
        return self._pieces[limit]

    def _piece(self, start: int, stop: int) -> Piece:
        first, last = bisect_right(self.bounds, start) - 1, bisect_left(self.bounds, stop)
        found = [
            (relation, max(self.bounds[first + relation], start) - start,
             min(self.bounds[first + relation + 1], stop) - start)
            for relation in range(last - first)
        ]  # fmt: skip
        parts = [(relation, slice(a, b)) for relation, a, b in found if a < b]
        return Piece(slice(start, stop), slice(first, last), parts)


class RelationalCSR:
    """The edges of a relational graph, sorted by (row, relation); sums over them as products.

    Args:
        edge_index: [2, M] int64, source above target row.
        edge_type: [M] int64, in [0, R).
        num_rows: N, target rows.
        num_relations: R, the edge types.
        num_sources: S, rows of the source table; default N.
        edge_weight: [M] weights of the edges in every sum; default ones.

    Raises:
        ValueError: If shapes disagree or an id is out of range.

    Example:
        >>> plan = RelationalCSR(torch.tensor([[0, 1], [2, 2]]), torch.tensor([0, 1]), 3, 2)
        >>> plan.neighbour_sum(torch.tensor([[1.0], [2.0], [4.0]])).view(-1).tolist()
        [0.0, 0.0, 3.0]
    """

    def __init__(
        self,
        edge_index: Tensor,
        edge_type: Tensor,
        num_rows: int,
        num_relations: int,
        *,
        num_sources: int | None = None,
        edge_weight: Tensor | None = None,
    ) -> None:
        self.num_rows = num_rows
        self.num_relations = num_relations
        self.num_sources = num_rows if num_sources is None else num_sources
        self.check(edge_index, edge_type, num_rows, num_relations, num_sources=num_sources)
        if edge_weight is not None and edge_weight.shape != edge_type.shape:
            raise ValueError(
                f"edge_weight must have shape {list(edge_type.shape)}, one per edge "
                f"(got {list(edge_weight.shape)})"
            )
        if edge_weight is not None and not bool(torch.isfinite(edge_weight).all()):
            edge = int((~torch.isfinite(edge_weight)).nonzero()[0])
            raise ValueError(
                f"edge weights must be finite (got {edge_weight[edge].item()} at edge {edge})"
            )
        key, order = torch.sort(edge_index[1] * max(num_relations, 1) + edge_type, stable=True)
        self.order = order
        self.source = edge_index[0][order]
        self.target = edge_index[1][order]
        self.relation = edge_type[order]
        self.weight = None if edge_weight is None else edge_weight[order].double()
        pair_key, self._pair, self._pair_count = torch.unique_consecutive(
            key, return_inverse=True, return_counts=True
        )
        self._pair_target = pair_key // max(num_relations, 1)
        self._pair_relation = pair_key % max(num_relations, 1)

    @property
    def num_edges(self) -> int:
        """M."""
        return len(self.source)

    @property
    def device(self) -> torch.device:
        """Where the edges are."""
        return self.source.device

    @cached_property
    def in_degree(self) -> Tensor:
        """[N] int64, how many edges each row has."""
        with torch.inference_mode(False):
            return torch.bincount(self.target, minlength=self.num_rows)

    def in_order(self, weight: Tensor) -> Tensor:
        """Weights of edges ([M], as given to the constructor) sorted, times the plan's own."""
        weight = weight[self.order]
        return weight if self.weight is None else weight * self.weight.to(weight.dtype)

    @cached_property
    def neighbour_sum(self) -> SparseMatrix:
        """[N, S]: row v of the product is the sum of w x_u over the edges (u, r) -> v."""
        with torch.inference_mode(False):
            offsets = segment_bounds(self.target, self.num_rows)
            return SparseMatrix(offsets, self.source, self.weight, self.num_sources)

    @cached_property
    def relation_sum(self) -> SparseMatrix:
        """[N, R]: row v of the product is the sum of w z_r over the edges (u, r) -> v."""
        with torch.inference_mode(False):
            weight = self._pair_count.double()
            if self.weight is not None:
                weight = torch.zeros_like(weight).index_add_(0, self._pair, self.weight)
            offsets = segment_bounds(self._pair_target, self.num_rows)
            return SparseMatrix(offsets, self._pair_relation, weight, self.num_relations)

    @cached_property
    def relation_edges(self) -> SparseMatrix:
        """The same with an entry per edge, for weights given at each product."""
        with torch.inference_mode(False):
            offsets = segment_bounds(self.target, self.num_rows)
            return SparseMatrix(offsets, self.relation, self.weight, self.num_relations)

    @cached_property
    def mean_shares(self) -> SparseMatrix:
        """[M, R]: w / c of each edge, in order, c edges of its relation ending in its row."""
        with torch.inference_mode(False):
            share = self._pair_count.double().reciprocal()[self._pair]
            if self.weight is not None:
                share = share * self.weight
            offsets = torch.arange(self.num_edges + 1, device=self.device)
            return SparseMatrix(offsets, self.relation, share, self.num_relations)

    @cached_property
    def source_pairs(self) -> RelationPairs:
        """(source, relation) pairs: ``gather`` copies x_u, ``scatter`` sums w over the edges."""
        with torch.inference_mode(False):
            stride = max(self.num_relations, 1)
            pair_key, pair = torch.unique(
                self.source * stride + self.relation, return_inverse=True
            )  # pair: [M]
            relation = pair_key % stride
            offsets = segment_bounds(self.target, self.num_rows)
            return RelationPairs(
                relation,
                _selection(pair_key // stride, self.num_sources),
                _selection(relation, self.num_relations),
                SparseMatrix(offsets, pair, self.weight, len(pair_key)),
            )

    @cached_property
    def by_target(self) -> EdgeOrder:
        """Edges by row: (source, relation), what a sum reads."""
        return self._order(self.target, self.source, self.relation, self.num_rows)

    @cached_property
    def by_source(self) -> EdgeOrder:
        """Edges by source: (row, relation), what the sum's gradient in the sources reads."""
        return self._order(self.source, self.target, self.relation, self.num_sources)

    @cached_property
    def by_relation(self) -> EdgeOrder:
        """Edges by relation: (row, source), what the gradient in the relations reads."""
        return self._order(self.relation, self.target, self.source, self.num_relations)

    def _order(self, row: Tensor, first: Tensor, second: Tensor, num_rows: int) -> EdgeOrder:
        with torch.inference_mode(False):
            return EdgeOrder(row, first, second, self.weight, num_rows)

    @cached_property
    def relation_rows(self) -> RelationRows:
        """Rows for a matrix per relation, on the smaller side of each relation."""
        with torch.inference_mode(False):
            stride = max(self.num_rows, self.num_sources, 1)
            by_target = self.relation * stride + self.target
            by_source = self.relation * stride + self.source
            fewer_targets = _distinct(by_target, stride, self.num_relations) <= _distinct(
                by_source, stride, self.num_relations
            )  # [R]
            is_target = fewer_targets[self.relation]  # [M]
            key, row = torch.unique(
                torch.where(is_target, by_target, by_source), return_inverse=True
            )
            of_target = fewer_targets[key // stride]  # [P]
            share = self._pair_count.double().reciprocal()[self._pair]  # [M]
            weight = torch.ones_like(share) if self.weight is None else self.weight
            # a target's row: w x_u from each edge, then 1 / c once; a source's row: x_u once, then
            # w / c along each edge
            nodes, ids = key % stride, torch.arange(len(key), device=key.device)
            first = torch.zeros_like(key).scatter_(0, row, torch.arange(len(row)).to(row))
            sources = SparseMatrix.from_entries(
                torch.cat([row[is_target], ids[~of_target]]),
                torch.cat([self.source[is_target], nodes[~of_target]]),
                None
                if self.weight is None
                else torch.cat([weight[is_target], weight.new_ones(int((~of_target).sum()))]),
                (len(key), self.num_sources),
            )
            targets = SparseMatrix.from_entries(
                torch.cat([ids[of_target], row[~is_target]]),
                torch.cat([nodes[of_target], self.target[~is_target]]),
                torch.cat([share[first[of_target]], (weight * share)[~is_target]]),
                (len(key), self.num_rows),
            )
            bounds = segment_bounds(key // stride, self.num_relations)
            return RelationRows(tuple(bounds.tolist()), sources, targets)

    @staticmethod
    def check(
        edge_index: Tensor,
        edge_type: Tensor,
        num_rows: int,
        num_relations: int,
        *,
        num_sources: int | None = None,
    ) -> None:
        """Refuse edges that are no graph; arguments as in the constructor.

        Raises:
            ValueError: If shapes disagree or an id is out of range.
        """
        if edge_index.dim() != 2 or edge_index.shape[0] != 2:
            raise ValueError(f"edge_index must have shape [2, M] (got {list(edge_index.shape)})")
        if edge_type.shape != edge_index.shape[1:]:
            raise ValueError(
                f"edge_type must have shape [{edge_index.shape[1]}], one per edge "
                f"(got {list(edge_type.shape)})"
            )
        for name, ids, size in (
            ("source rows", edge_index[0], num_rows if num_sources is None else num_sources),
            ("target rows", edge_index[1], num_rows),
            ("edge types", edge_type, num_relations),
        ):
            if ids.dtype != torch.long:
                raise ValueError(f"{name} must be int64 (got {ids.dtype})")
            if len(ids) and (int(ids.min()) < 0 or int(ids.max()) >= size):
                raise ValueError(
                    f"{name} must be in [0, {size}) (got {int(ids.min())} to {int(ids.max())})"
                )


def _distinct(key: Tensor, stride: int, num_relations: int) -> Tensor:
    """How many distinct keys (relation * stride + node) each relation has: [R]."""
    return torch.bincount(torch.unique(key) // stride, minlength=num_relations)


def _selection(index: Tensor, num_columns: int) -> SparseMatrix:
    """The matrix that copies row ``index[p]`` of a table to row p."""
    return SparseMatrix(torch.arange(len(index) + 1, device=index.device), index, None, num_columns)
