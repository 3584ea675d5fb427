"""A loss on sampled neighbourhoods: each step encodes what its facts need, not the whole graph."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors
from pyg_kgtransfer.graph.neighbours import FanOut, Neighbours
from pyg_kgtransfer.models.kg_model import GraphModel, with_vectors
from pyg_kgtransfer.objectives.objective import Batch, Objective


class OnNeighbours(Objective):
    """A loss whose entities are encoded from a few drawn neighbours, without the batch's own facts.

    The entities of a step are those of its facts and as many random ones as asked for; they are the
    candidates, too, so that a loss over all entities is one over these. An encoder learns so to do
    with the few neighbours that a new entity has.

    Args:
        loss: Of link prediction, over the entities of a step.
        graph: Where neighbours are drawn from.
        fan_out: Neighbours at each step away, a number for each layer of the encoder; or a
            ``FanOut``.
        num_others: Random entities in each step, at least 0.

    Raises:
        ValueError: If ``fan_out`` is empty or a number is out of range; in training, if the encoder
            has another number of layers.

    Source: Hamilton, Ying and Leskovec 2017, arXiv 1706.02216, algorithm 2.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [("Athens", "in", "Greece"), ("Rome", "in", "Italy"), ("Rome", "by", "Athens")]
        >>> graph = kgt.KnowledgeGraph.from_names(facts)
        >>> config = kgt.ModelConfig(encoder="rgcn", width=8)
        >>> model = kgt.build_model(config, num_entities=4, num_relations=2)
        >>> batch = kgt.Batch(graph.triples[:1], torch.Generator())
        >>> OnNeighbours(kgt.OneVsAll(), graph.tensors(), [10])(model, None, batch).shape
        torch.Size([])
    """

    encodes_itself = True

    def __init__(
        self,
        loss: Objective,
        graph: GraphTensors,
        fan_out: Sequence[int] | FanOut,
        *,
        num_others: int = 256,
    ) -> None:
        super().__init__()
        drawn = fan_out if isinstance(fan_out, FanOut) else FanOut(tuple(fan_out))
        if num_others < 0:
            raise ValueError(f"num_others must be at least 0 (got {num_others})")
        self.loss, self.fan_out, self.num_others = loss, drawn.numbers, num_others
        self.near = Neighbours(graph, per_relation=drawn.per_relation)

    def forward(self, model: GraphModel, representations: object, batch: Batch) -> Tensor:
        encoder = with_vectors(model, "neighbour sampling").encoder
        if encoder.num_layers != len(self.fan_out):
            raise ValueError(
                f"fan_out needs a number for each of the encoder's {encoder.num_layers} layers "
                f"(got {self.fan_out})"
            )
        triples = batch.triples
        if self.near.entity.device != triples.device:
            self.near = self.near.to(triples.device)
        number = len(self.near.entity)
        others = torch.randint(
            number, (self.num_others,), generator=batch.generator, device=triples.device
        )
        ends = triples[:, [0, 2]].flatten()
        rows, place = torch.unique(torch.cat([ends, others]), return_inverse=True)
        part = self.near.sample(rows, self.fan_out, generator=batch.generator)
        head, tail = place[: len(ends)].view(-1, 2).unbind(1)
        own = torch.stack([head, triples[:, 1], tail], 1)
        vectors = model.encode(part.without(own))
        vectors = vectors._replace(entity=vectors.entity[: len(rows)], hidden=())
        return self.loss(model, vectors, batch._replace(triples=own))
