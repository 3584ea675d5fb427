"""A model of any graph, of entities and relations never seen: ULTRA's conditional messages."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, cast

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors
from pyg_kgtransfer.kernels.relational_csr import RelationalCSR
from pyg_kgtransfer.kernels.relational_spmm import relational_spmm
from pyg_kgtransfer.models.kg_model import GraphModel

META_RELATIONS = ("head to head", "tail to tail", "head to tail", "tail to head")
_KEPT_BYTES = 256 * 2**20  # of relation vectors, at most, kept between queries


def relation_graph(graph: GraphTensors) -> tuple[Tensor, Tensor]:
    """Which relations meet at an entity, and with which of their ends.

    Relations and inverses, 2R of them, are the nodes. There is an edge between i and j of type 0
    where a head of i is a head of j, 1 where a tail is a tail, 2 where a head of i is a tail of j,
    and 3 where a tail of i is a head of j; i may be j.

    Args:
        graph: Of entities, its inverses included.

    Returns:
        [2, E] int64 (j above i: messages go to i) and types [E] int64, each edge once.

    Source: Galkin et al. 2024, arXiv 2310.04562, section 4.1.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> graph = kgt.KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")])
        >>> edges, kinds = relation_graph(graph.tensors())
        >>> edges.tolist(), kinds.tolist()  # the tail of a fact is the head of its inverse
        ([[0, 1, 0, 1, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1, 0, 1]], [0, 0, 1, 1, 2, 2, 3, 3])
    """
    number = 2 * graph.num_relations
    kind = graph.edge_type.cpu().numpy()
    heads, tails = (
        scipy.sparse.csr_array(
            (np.ones(len(kind), np.float32), (kind, ends.cpu().numpy())),
            (number, len(graph.entity)),
        )
        for ends in graph.edge_index
    )
    edges, kinds = [], []
    for meta, (mine, other) in enumerate(
        ((heads, heads), (tails, tails), (heads, tails), (tails, heads))
    ):
        row, column = (mine @ other.T).nonzero()
        order = np.lexsort((column, row))
        edges.append(torch.from_numpy(np.stack([column[order], row[order]])).long())
        kinds.append(torch.full((len(row),), meta))
    device = graph.edge_index.device
    return torch.cat(edges, 1).to(device), torch.cat(kinds).to(device)


class ReadGraph:
    """A graph as the foundation model reads it; sorted when first asked about.

    Args:
        graph: Its inverses included.

    Attributes:
        entity: [N] int64, the entity of each row.
        num_relations: R.
        kept: Relation vectors by relation, while nothing is trained.
        kept_for: Of which weights.
    """

    def __init__(self, graph: GraphTensors) -> None:
        self.graph, self.entity, self.num_relations = graph, graph.entity, graph.num_relations
        self.kept: dict[int, Tensor] = {}
        self.kept_for: tuple[Any, ...] = ()

    @cached_property
    def edges(self) -> RelationalCSR:
        """Of entities: row v gathers over facts (v, r, u) with r, and (u, r, v) with r + R."""
        number = self.num_relations
        inverse = (self.graph.edge_type + number) % (2 * number)
        return RelationalCSR(self.graph.edge_index, inverse, len(self.entity), 2 * number)

    @cached_property
    def relation_edges(self) -> RelationalCSR:
        """Of relations, by meta relation."""
        edges, kinds = relation_graph(self.graph)
        return RelationalCSR(edges, kinds, 2 * self.num_relations, len(META_RELATIONS))


class ConditionalLayer(nn.Module):
    """x' = x + ReLU(LayerNorm(W [x, b + sum over edges (u, r) -> v of z_r * x_u])).

    The boundary b is the query's vector at one row, and zero elsewhere.

    Args:
        width: D.

    Source: Zhu et al. 2021, "Neural Bellman-Ford Networks", arXiv 2106.06935, eq. 5-6.

    Example:
        >>> plan = RelationalCSR(torch.tensor([[0], [1]]), torch.tensor([0]), 2, 1)
        >>> x, z = torch.zeros(2, 1, 4), torch.ones(1, 1, 4)
        >>> ConditionalLayer(4)(plan, x, z, torch.ones(1, 4), torch.tensor([0])).shape
        torch.Size([2, 1, 4])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * width, width)
        self.layer_norm = nn.LayerNorm(width)

    def forward(
        self, plan: RelationalCSR, x: Tensor, z: Tensor, query: Tensor, start: Tensor
    ) -> Tensor:
        """States after the layer.

        Args:
            plan: The edges.
            x: [N, B, D] states of B queries.
            z: [R, D], or [R, B, D], relation vectors.
            query: [B, D], b of each query.
            start: [B], the row where it is.
        """
        width = x.shape[2]
        found = relational_spmm(plan, x, z, op="mul")
        at = start * len(start) + torch.arange(len(start), device=start.device)
        found = found.view(-1, width).index_add(0, at, query)
        own, gathered = self.linear.weight.split(width, dim=1)
        states = torch.addmm(self.linear.bias, found, gathered.T)
        states = torch.addmm(states, x.reshape(-1, width), own.T)
        changed: Tensor = self.layer_norm(states).relu()
        return x + changed.view_as(x)


class _RelationLayer(ConditionalLayer):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.relation = nn.Embedding(len(META_RELATIONS), width)


class _EntityLayer(ConditionalLayer):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.relation_projection = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )


class RelationNetwork(nn.Module):
    """From a query's relation to vectors of all relations.

    Args:
        width: D.
        layers: At least 1.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.ModuleList(_RelationLayer(width) for _ in range(layers))

    def forward(self, plan: RelationalCSR, relation: Tensor) -> Tensor:
        """Vectors [2R, U, D] for each of U relations ([U]) that are asked for."""
        first = cast(_RelationLayer, self.layers[0])
        query = first.relation.weight.new_ones(len(relation), self.width)
        x = _boundary(plan.num_rows, relation, query)
        for layer in cast("Iterator[_RelationLayer]", self.layers):
            x = layer(plan, x, layer.relation.weight, query, relation)
        return x


class EntityNetwork(nn.Module):
    """From vectors of relations and an entity to scores of all entities.

    Args:
        width: D.
        layers: At least 1.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_EntityLayer(width) for _ in range(layers))
        self.mlp = nn.Sequential(
            nn.Linear(2 * width, 2 * width), nn.ReLU(), nn.Linear(2 * width, 1)
        )

    def forward(
        self,
        plan: RelationalCSR,
        relations: Tensor,
        place: Tensor,
        query: Tensor,
        start: Tensor,
        candidates: Tensor | None,
    ) -> Tensor:
        """Scores.

        Args:
            plan: The edges.
            relations: [2R, U, D], for each distinct relation that is asked for.
            place: [B], which of the U is each query's.
            query: [B, D].
            start: [B], the rows asked about.
            candidates: ``None``, [K] or [B, K] rows.

        Returns:
            [B, N] or [B, K].
        """
        x = _boundary(plan.num_rows, start, query)
        for layer in cast("Iterator[_EntityLayer]", self.layers):
            x = layer(plan, x, layer.relation_projection(relations)[:, place], query, start)
        if candidates is not None and candidates.dim() == 1:
            x = x[candidates]
        elif candidates is not None:
            x = x[candidates.T, torch.arange(len(start), device=start.device)]
        first, last = cast(nn.Linear, self.mlp[0]), cast(nn.Linear, self.mlp[2])
        own, asked = first.weight.split(query.shape[1], dim=1)
        hidden = (x @ own.T + (query @ asked.T + first.bias)).relu()
        scores: Tensor = last(hidden)
        return scores.squeeze(2).T


def _boundary(rows: int, start: Tensor, query: Tensor) -> Tensor:
    """[N, B, D]: ``query`` [B, D] at rows ``start`` [B], zero elsewhere."""
    x = query.new_zeros(rows, *query.shape)
    return x.index_put((start, torch.arange(len(start), device=start.device)), query)


class FoundationModel(GraphModel):
    """Scores facts of any graph, for nothing in it belongs to an entity or a relation.

    For a query (h, r, ?) messages run from r through the graph of relations and give every relation
    a vector; with those they run from h through the graph of entities. A query (?, r, t) starts at
    t and asks for the inverse of r.

    Args:
        width: D.
        layers: Of each of the two networks.

    Raises:
        ValueError: If a number is below 1.

    Source: ULTRA: Galkin et al. 2024, arXiv 2310.04562. Messages run against the edges, as in the
    kernel that its weights were trained with.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [("Athens", "capital_of", "Greece"), ("Rome", "capital_of", "Italy")]
        >>> graph = kgt.KnowledgeGraph.from_names(facts)
        >>> model = FoundationModel(width=8, layers=2)
        >>> head, relation, tail = graph.triples.unbind(1)
        >>> model.score_tails(model.encode(graph.tensors()), head, relation).shape
        torch.Size([2, 4])
    """

    def __init__(self, width: int = 64, layers: int = 6) -> None:
        super().__init__()
        for name, value in {"width": width, "layers": layers}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1 (got {value})")
        self.relation_model = RelationNetwork(width, layers)
        self.entity_model = EntityNetwork(width, layers)

    def query_bytes(self, representations: ReadGraph) -> int:
        """What a query takes at its peak: some six states of each entity and relation, float32."""
        rows = len(representations.entity) + 2 * representations.num_relations
        return 6 * 4 * self.relation_model.width * rows

    def encode(self, graph: GraphTensors) -> ReadGraph:
        """The graph, ready for messages; pass it to the scoring methods.

        Raises:
            ValueError: If the graph has no relation.
        """
        if not graph.num_relations:
            raise ValueError("a foundation model needs a graph with relations (got none)")
        return ReadGraph(graph)

    def score_tails(
        self,
        representations: ReadGraph,
        head: Tensor,
        relation: Tensor,
        candidates: Tensor | None = None,
    ) -> Tensor:
        return self._score(representations, head, relation, relation, candidates)

    def score_heads(
        self,
        representations: ReadGraph,
        relation: Tensor,
        tail: Tensor,
        candidates: Tensor | None = None,
    ) -> Tensor:
        inverse = relation + representations.num_relations
        return self._score(representations, tail, relation, inverse, candidates)

    def _score(
        self,
        graph: ReadGraph,
        start: Tensor,
        relation: Tensor,
        asked: Tensor,
        candidates: Tensor | None,
    ) -> Tensor:
        distinct, place = torch.unique(relation, return_inverse=True)
        relations = self._relations(graph, distinct)
        query = relations[asked, place]
        found: Tensor = self.entity_model(graph.edges, relations, place, query, start, candidates)
        return found

    def _relations(self, graph: ReadGraph, distinct: Tensor) -> Tensor:
        """Vectors of all relations for each of those asked for, [2R, U, D]."""
        if torch.is_grad_enabled() or not len(distinct):
            found: Tensor = self.relation_model(graph.relation_edges, distinct)
            return found
        weights = tuple((id(p), p._version, p.dtype) for p in self.relation_model.parameters())
        if graph.kept_for != weights:
            graph.kept.clear()
            graph.kept_for = weights
        missing = [relation for relation in distinct.tolist() if relation not in graph.kept]
        if missing:
            asked = torch.tensor(missing, device=distinct.device)
            fresh = self.relation_model(graph.relation_edges, asked)
            graph.kept.update(zip(missing, fresh.unbind(1), strict=True))
        found = torch.stack([graph.kept[relation] for relation in distinct.tolist()], 1)
        size = 4 * found[:, 0].numel()
        if len(graph.kept) * size > _KEPT_BYTES:
            graph.kept.clear()
        return found
