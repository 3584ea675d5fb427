"""Relational sums over a fixed graph as sparse products: sorted once, kept for every layer.

Everything a relational layer sums over edges (u, r) -> v is a product of a fixed sparse matrix with
a dense table. The matrices are built when first asked for.
"""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from pyg_kgtransfer.kernels.sparse_matrix import EdgeOrder, SparseMatrix, segment_bounds

_TILE_LIMITS = (8, 128)  # slots of a tile


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


class RelationTiles(NamedTuple):
    """(row, relation) pairs in tiles of one relation each, for one batched matrix product.

    Attributes:
        relation: [T] int64, the relation of each tile.
        size: Slots of each tile.
        gather: [T * size, S], sums of source vectors, one per slot; spare slots give zeros.
        scatter: [N, T * size], the mean over each pair, summed over the pairs of a row.
    """

    relation: Tensor
    size: int
    gather: SparseMatrix
    scatter: SparseMatrix


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
        key, order = torch.sort(edge_index[1] * max(num_relations, 1) + edge_type, stable=True)
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
    def target_pairs(self) -> RelationPairs:
        """(row, relation) pairs: each row receives the sum over its relations of the mean.

        ``gather`` sums w x_u over a pair's edges, ``scatter`` divides by their number.
        """
        with torch.inference_mode(False):
            offsets = segment_bounds(self._pair, len(self._pair_count))
            return RelationPairs(
                self._pair_relation,
                SparseMatrix(offsets, self.source, self.weight, self.num_sources),
                _selection(self._pair_relation, self.num_relations),
                SparseMatrix(
                    segment_bounds(self._pair_target, self.num_rows),
                    torch.arange(len(self._pair_count), device=self.source.device),
                    self._pair_count.double().reciprocal(),
                    len(self._pair_count),
                ),
            )

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
    def target_tiles(self) -> RelationTiles:
        """The pairs of ``target_pairs``, grouped by relation in tiles of equal size."""
        with torch.inference_mode(False):
            relation, count = self._pair_relation, self._pair_count
            per_relation = torch.bincount(relation, minlength=self.num_relations)
            used = int((per_relation > 0).sum())
            mean = len(relation) // max(used, 1)
            size = min(max(1 << mean.bit_length(), _TILE_LIMITS[0]), _TILE_LIMITS[1])
            tiles = (per_relation + size - 1) // size  # [R] tiles of each relation
            by_relation = torch.argsort(relation, stable=True)
            first_pair = torch.cumsum(per_relation, 0) - per_relation
            first_slot = (torch.cumsum(tiles, 0) - tiles) * size
            shift = (first_slot - first_pair)[relation[by_relation]]
            slot = torch.empty_like(relation)  # [P] where each pair goes
            slot[by_relation] = torch.arange(len(relation), device=relation.device) + shift
            num_slots = int(tiles.sum()) * size
            ids = torch.arange(self.num_relations, device=relation.device)
            return RelationTiles(
                torch.repeat_interleave(ids, tiles),
                size,
                SparseMatrix.from_entries(
                    slot[self._pair], self.source, self.weight, (num_slots, self.num_sources)
                ),
                SparseMatrix(
                    segment_bounds(self._pair_target, self.num_rows),
                    slot,
                    count.double().reciprocal(),
                    num_slots,
                ),
            )

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


PlanBuilder = Callable[[Tensor, Tensor, int, int], RelationalCSR]


class PlanCache:
    """The plans of the last few graphs, so that a graph that stays the same is sorted once.

    A plan is handed out again only for equal edges, compared number by number with a copy that the
    cache keeps (a fraction of one product's time): a graph changed in place gets a new plan, and
    equal edges in a new tensor find the old one. Copies and pickles of a cache start empty.

    Args:
        build: Makes the plan from (edge_index, edge_type, num_rows, num_relations).
        size: How many plans to keep, at least 1.
    """

    def __init__(self, build: PlanBuilder = RelationalCSR, size: int = 2) -> None:
        self._build = build
        self._size = size
        self._entries: tuple[tuple[Tensor, Tensor, tuple[int, int], RelationalCSR], ...] = ()

    def __reduce__(self) -> tuple[type["PlanCache"], tuple[PlanBuilder, int]]:
        return PlanCache, (self._build, self._size)

    def __len__(self) -> int:
        return len(self._entries)

    @torch.compiler.disable
    def __call__(
        self, edge_index: Tensor, edge_type: Tensor, num_rows: int, num_relations: int
    ) -> RelationalCSR:
        """The plan of the graph, from the cache if it is there."""
        sizes = (num_rows, num_relations)
        for entry in self._entries:
            if (
                entry[2] == sizes
                and _is_same(entry[1], edge_type)
                and _is_same(entry[0], edge_index)
            ):
                self._entries = (entry, *(other for other in self._entries if other is not entry))
                return entry[3]
        with torch.inference_mode(False), torch.no_grad():
            edge_index, edge_type = edge_index.clone(), edge_type.clone()
            plan = self._build(edge_index, edge_type, num_rows, num_relations)
        self._entries = ((edge_index, edge_type, sizes, plan), *self._entries)[: self._size]
        return plan


def _is_same(kept: Tensor, given: Tensor) -> bool:
    """Whether two tensors hold the same numbers of the same type on the same device."""
    is_alike = kept.device == given.device and kept.dtype == given.dtype
    return is_alike and torch.equal(kept, given)


def _selection(index: Tensor, num_columns: int) -> SparseMatrix:
    """The matrix that copies row ``index[p]`` of a table to row p."""
    return SparseMatrix(torch.arange(len(index) + 1, device=index.device), index, None, num_columns)
