"""A few neighbours of a few entities: the part of a graph that encodes them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pyg_kgtransfer.functional.sampling import distinct_places
from pyg_kgtransfer.functional.segments import segment_counts
from pyg_kgtransfer.graph.knowledge_graph import GraphTensors


@dataclass(frozen=True)
class FanOut:
    """How many neighbours to draw.

    Attributes:
        numbers: For each step away, one number, at least 1.
        per_relation: So many of each relation (and of each inverse) that leads to an entity, so
            that a frequent one does not crowd out the rare ones; else so many of all its edges.

    Raises:
        ValueError: If there is no step, or one draws nothing.

    Example:
        >>> FanOut((10, 5), per_relation=True).numbers
        (10, 5)
    """

    numbers: tuple[int, ...]
    per_relation: bool = False

    def __post_init__(self) -> None:
        check_fan_out(self.numbers)


class Neighbours:
    """The edges of a graph by where they lead, to draw from.

    Args:
        graph: Its inverses included; sorted once, here.
        per_relation: Draw by relation, see ``FanOut``.

    Source: Hamilton, Ying and Leskovec 2017, arXiv 1706.02216, algorithm 2 (GraphSAGE); by
    relation as in Hu et al. 2020, arXiv 2003.01332, section 3.4, though uniformly.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [("Athens", "in", "GR"), ("Patras", "in", "GR"), ("Rome", "in", "IT")]
        >>> graph = kgt.KnowledgeGraph.from_names(facts)
        >>> near = Neighbours(graph.tensors())
        >>> part = near.sample(torch.tensor([0]), [5, 5], generator=torch.Generator())
        >>> [graph.entities.name(i) for i in part.entity.tolist()]  # two steps from Athens
        ['Athens', 'GR', 'Patras']
    """

    def __init__(self, graph: GraphTensors, *, per_relation: bool = False) -> None:
        source, target = graph.edge_index
        group = target
        if per_relation:
            group = target * (2 * graph.num_relations) + graph.edge_type
        order = torch.argsort(group, stable=True)
        self.entity, self.num_relations = graph.entity, graph.num_relations
        self.source, self.kind = source[order], graph.edge_type[order]
        num_rows = len(graph.entity)
        if per_relation:  # the edges of one relation into one row are a group
            group, count = torch.unique_consecutive(group[order], return_counts=True)
            of_row = segment_counts(group // (2 * graph.num_relations), num_rows)
        else:
            count = segment_counts(target, num_rows)
            of_row = torch.ones_like(count)
        self.edge_offsets = _offsets(count)  # of each group
        self.group_offsets = _offsets(of_row)  # of each row

    def to(self, device: torch.device | str) -> "Neighbours":
        """The same on ``device``."""
        moved = object.__new__(Neighbours)
        moved.num_relations = self.num_relations
        for name in ("entity", "source", "kind", "edge_offsets", "group_offsets"):
            setattr(moved, name, getattr(self, name).to(device))
        return moved

    def sample(
        self, rows: Tensor, fan_out: Sequence[int], *, generator: torch.Generator
    ) -> GraphTensors:
        """The graph around some entities: of each, at most so many edges that lead to it.

        Args:
            rows: [S] int64, distinct rows of the graph; on the device of the graph, as is the
                generator.
            fan_out: For each step away from them, how many edges to draw for an entity (and
                relation, if so made), without replacement; as many steps as the encoder has layers.
                Each at least 1.
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
        """At most ``number`` edges of each group of each row: edges, and places of rows: [E]."""
        first, size = self.group_offsets[rows], self.group_offsets[rows + 1]
        size = size - first
        of = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), size)
        begin = size.cumsum(0) - size
        group = torch.arange(len(of), device=rows.device) - begin[of] + first[of]
        start = self.edge_offsets[group]
        drawn, place = distinct_places(
            self.edge_offsets[group + 1] - start, number, generator=generator
        )
        return start[drawn] + place, of[drawn]


def _offsets(counts: Tensor) -> Tensor:
    """Where each of several rows begins, and the last one ends: [S] -> [S + 1]."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def check_fan_out(fan_out: Sequence[int]) -> None:
    """Refuse numbers of neighbours that are none.

    Raises:
        ValueError: If there is no step, or one draws nothing.
    """
    if not fan_out or min(fan_out) < 1:
        raise ValueError(
            f"fan_out needs a number of at least 1 for each layer (got {tuple(fan_out)})"
        )
