"""A few neighbours of a few entities: the part of a graph that encodes them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pyg_kgtransfer.functional.segments import segment_offsets
from pyg_kgtransfer.graph.knowledge_graph import GraphTensors


class Neighbours:
    """The edges of a graph by where they lead, to draw from.

    Args:
        graph: Its inverses included; sorted once, here.

    Source: Hamilton, Ying and Leskovec 2017, arXiv 1706.02216, algorithm 2 (GraphSAGE).

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [("Athens", "in", "GR"), ("Patras", "in", "GR"), ("Rome", "in", "IT")]
        >>> graph = kgt.KnowledgeGraph.from_names(facts)
        >>> near = Neighbours(graph.tensors())
        >>> part = near.sample(torch.tensor([0]), [5, 5], generator=torch.Generator())
        >>> [graph.entities.name(i) for i in part.entity.tolist()]  # two steps from Athens
        ['Athens', 'GR', 'Patras']
    """

    def __init__(self, graph: GraphTensors) -> None:
        source, target = graph.edge_index
        order = torch.argsort(target, stable=True)
        self.entity, self.num_relations = graph.entity, graph.num_relations
        self.source, self.kind = source[order], graph.edge_type[order]
        self.offsets = segment_offsets(target[order], len(graph.entity))

    def to(self, device: torch.device | str) -> "Neighbours":
        """The same on ``device``."""
        moved = object.__new__(Neighbours)
        moved.num_relations = self.num_relations
        for name in ("entity", "source", "kind", "offsets"):
            setattr(moved, name, getattr(self, name).to(device))
        return moved

    def sample(
        self, rows: Tensor, fan_out: Sequence[int], *, generator: torch.Generator
    ) -> GraphTensors:
        """The graph around some entities: of each, at most so many edges that lead to it.

        Args:
            rows: [S] int64, distinct rows of the graph; on the device of the graph, as is the
                generator.
            fan_out: For each step away from them, how many edges to draw for an entity, without
                replacement; as many steps as the encoder has layers. Each at least 1.
            generator: Decides the draw.

        Returns:
            The part; its first S rows are ``rows``, in their order.

        Raises:
            ValueError: If there is no step, or it draws nothing.
        """
        check_fan_out(fan_out)
        place = torch.full((len(self.entity),), -1, device=rows.device)
        place[rows] = torch.arange(len(rows), device=rows.device)
        known, frontier = rows, rows
        sources, targets, kinds = [], [], []
        for number in fan_out:
            edge, of = self._drawn(frontier, number, generator)
            source = self.source[edge]
            new = torch.unique(source[place[source] < 0])
            place[new] = torch.arange(len(known), len(known) + len(new), device=rows.device)
            known = torch.cat([known, new])
            sources.append(place[source])
            targets.append(place[frontier[of]])
            kinds.append(self.kind[edge])
            frontier = new
        edge_index = torch.stack([torch.cat(sources), torch.cat(targets)])
        return GraphTensors(self.entity[known], edge_index, torch.cat(kinds), self.num_relations)

    def _drawn(
        self, rows: Tensor, number: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """At most ``number`` edges into each row: places of edges, and of their rows, [E] each."""
        start, size = self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows]
        of = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), size)
        first = size.cumsum(0) - size
        edge = torch.arange(len(of), device=rows.device) - first[of] + start[of]
        if bool((size > number).any()):
            key = torch.rand(len(of), generator=generator, device=rows.device)
            order = torch.argsort(key)
            order = order[torch.argsort(of[order], stable=True)]  # by row, random within
            rank = torch.arange(len(of), device=rows.device) - first[of[order]]
            kept = order[rank < number]
            edge, of = edge[kept], of[kept]
        return edge, of


def check_fan_out(fan_out: Sequence[int]) -> None:
    """Refuse numbers of neighbours that are none.

    Raises:
        ValueError: If there is no step, or one draws nothing.
    """
    if not fan_out or min(fan_out) < 1:
        raise ValueError(
            f"fan_out needs a number of at least 1 for each layer (got {tuple(fan_out)})"
        )
