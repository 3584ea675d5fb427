"""A loss on each source's own graph, for models that read a graph as a whole."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors
from pyg_kgtransfer.models.kg_model import GraphModel
from pyg_kgtransfer.objectives.objective import Batch, Objective


class OwnGraph(NamedTuple):
    """A source by itself.

    Attributes:
        graph: Its own rows; relations have the joint graph's ids.
        facts: [M, 3] int64, of its own rows.
        row: [N] int64, for each joint entity its own row, or -1.
    """

    graph: GraphTensors
    facts: Tensor
    row: Tensor


class AcrossSources(Objective):
    """The mean over a batch of losses that each source's facts have on that source's own graph.

    The facts of the batch, and their inverses, are not in the graph that is read for them. What a
    foundation model learns from many graphs is learned so: a query sees its own graph alone, and
    its own entities are the candidates. The graph of relations is made of what is left, too, where
    ULTRA's code keeps the whole one.

    Args:
        sources: Each by itself, in the order of the batches' sources.
        losses: The loss of each.

    Raises:
        ValueError: If there is not one loss for each source; in training, if a batch has all facts
            of a source.

    Source: Galkin et al. 2024, arXiv 2310.04562, section 4.3.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [("Athens", "in", "Greece"), ("Rome", "in", "Italy"), ("Rome", "by", "Athens")]
        >>> graph = kgt.KnowledgeGraph.from_names(facts)
        >>> own = OwnGraph(graph.tensors(), graph.triples, torch.arange(4))
        >>> model = kgt.FoundationModel(width=8, layers=2)
        >>> batch = kgt.Batch(graph.triples[:1], torch.Generator())
        >>> AcrossSources([own], [kgt.OneVsAll()])(model, None, batch).shape
        torch.Size([])
    """

    encodes_itself = True

    def __init__(self, sources: Sequence[OwnGraph], losses: Sequence[Objective]) -> None:
        super().__init__()
        if len(sources) != len(losses):
            raise ValueError(
                f"each of {len(sources)} sources needs a loss of its own (got {len(losses)})"
            )
        self.losses = nn.ModuleList(losses)
        self.sizes = [source.graph.num_relations for source in sources]
        for number, (graph, _, row) in enumerate(sources):
            for name, table in zip(_TABLES, (*graph[:3], row), strict=True):
                self.register_buffer(f"{name}{number}", table, persistent=False)

    def forward(self, model: GraphModel, representations: object, batch: Batch) -> Tensor:
        whole, share = batch.whole, batch.share if batch.is_part else None
        place = batch.source if share is None else share.source
        if place is None:
            place = torch.zeros(len(whole), dtype=torch.long, device=whole.device)
        total = torch.zeros((), device=whole.device)
        for number in torch.unique(place).tolist():
            mask = place == number
            entity, edges, kinds, row = (self.get_buffer(f"{n}{number}") for n in _TABLES)
            graph = GraphTensors(entity, edges, kinds, self.sizes[number])
            head, relation, tail = whole[mask].unbind(1)
            triples = torch.stack([row[head], relation, row[tail]], 1)
            left = graph.without(triples)
            if not left.edge_index.shape[1]:
                raise ValueError(
                    f"a batch must leave facts of each source to read (got one with all "
                    f"{edges.shape[1] // 2:,} of source {number}): a smaller batch_size does"
                )
            read = model.encode(left)
            asked = batch._replace(triples=triples, source=None)
            if share is None:
                total = total + self.losses[number](model, read, asked) * mask.sum() / len(mask)
                continue
            start, stop = (int(mask[:end].sum()) for end in (share.start, share.stop))
            loss = self.losses[number](model, read, asked.part(start, stop))
            total = total + batch.as_part(loss, stop - start, len(mask))
        return total


_TABLES = ("entity", "edges", "kinds", "row")
