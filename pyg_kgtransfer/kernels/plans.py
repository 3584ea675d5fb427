"""From whatever a layer is given to sorted edges, once per graph."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyg_kgtransfer.kernels.relational_csr import RelationalCSR

Edges = Tensor | Any  # a tensor, or a ``SparseTensor``, whose package need not be there
PlanBuilder = Callable[[Tensor, Tensor, int, int], RelationalCSR]


def plain_edges(edges: Any, edge_type: Tensor | None) -> tuple[Tensor, Tensor]:
    """The edges of whatever a PyG layer takes, as two tensors.

    Args:
        edges: [2, M] int64, source above target (a tensor or an ``EdgeIndex``); or the transposed
            adjacency matrix [targets, sources], a ``SparseTensor`` or a sparse torch tensor.
        edge_type: [M] int64; ``None``: the values of the adjacency matrix.

    Returns:
        edge_index [2, M] and edge_type [M].

    Raises:
        ValueError: If there are no edge types.

    Example:
        >>> adjacency = torch.sparse_coo_tensor([[2], [0]], torch.tensor([7]), (3, 3))  # 0 -> 2
        >>> [part.tolist() for part in plain_edges(adjacency, None)]
        [[[0], [2]], [7]]
    """
    values = None
    if isinstance(edges, Tensor) and edges.layout != torch.strided:
        matrix = edges if edges.layout == torch.sparse_coo else edges.to_sparse_coo()
        row, column = matrix._indices()  # uncoalesced: parallel edges stay apart
        edges, values = torch.stack([column, row]), matrix._values()
    elif not isinstance(edges, Tensor):  # a SparseTensor
        row, column, values = edges.coo()
        edges = torch.stack([column, row])
    elif hasattr(edges, "as_tensor"):  # an EdgeIndex
        edges = edges.as_tensor()
    kinds = values if edge_type is None else edge_type
    if kinds is None:
        raise ValueError("edges need types: pass edge_type, or an adjacency matrix of types")
    return edges, kinds.long() if edge_type is None else kinds


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
