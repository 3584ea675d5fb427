"""What an encoder takes and gives: the contract between graphs and decoders."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding
from torch.utils.checkpoint import checkpoint

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors

Result = TypeVar("Result")


class Representations(NamedTuple):
    """What an encoder makes of a graph.

    Attributes:
        entity: [N, D], one row per row of the graph.
        relation: [2R, D'] (r + R is the inverse of r), or [R, D'] from a shallow encoder whose
            model is not reciprocal.
        hidden: One [N, D_l] per message-passing layer, first to last; empty without layers.
        sparse: Whether ``rows`` give ``entity``, a parameter then, a sparse gradient.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> graph = kgt.KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")])
        >>> config = kgt.ModelConfig(encoder="rgcn", width=8, layers=2)
        >>> model = kgt.build_model(config, num_entities=2, num_relations=1)
        >>> vectors = model.encode(graph.tensors())
        >>> vectors.entity.shape, vectors.relation.shape, len(vectors.hidden)
        (torch.Size([2, 8]), torch.Size([2, 8]), 2)
    """

    entity: Tensor
    relation: Tensor
    hidden: tuple[Tensor, ...] = ()
    sparse: bool = False

    def rows(self, ids: Tensor) -> Tensor:
        """The entity vectors of ``ids``, at least as precise as the relations: [*] to [*, D]."""
        rows = embedding(ids, self.entity, sparse=self.sparse)  # far faster than indexing
        return rows.to(torch.promote_types(rows.dtype, self.relation.dtype))

    def narrowed(self, *ids: Tensor) -> tuple["Representations", list[Tensor]]:
        """Only the entity vectors of ``ids``, and the places of each of ``ids`` among them.

        What is read several times is then gathered once, and gives the whole table one gradient.

        Example:
            >>> vectors = Representations(torch.tensor([[0.0], [1.0], [2.0]]), torch.zeros(1, 1))
            >>> few, (first, second) = vectors.narrowed(torch.tensor([2, 0]), torch.tensor([[1]]))
            >>> few.entity.tolist(), first.tolist(), second.tolist()
            ([[2.0], [0.0], [1.0]], [0, 1], [[2]])
        """
        flat = torch.cat([each.flatten() for each in ids])
        places = torch.arange(len(flat), device=flat.device).split([each.numel() for each in ids])
        few = self._replace(entity=self.rows(flat), sparse=False)
        return few, [place.view_as(each) for place, each in zip(places, ids, strict=True)]


class Encoder(nn.Module, ABC):
    """What an encoder of your own must offer; pass the object to ``KGModel``.

    Attributes:
        width: D, the width of the entity vectors it gives.
        num_layers: Message-passing layers, 0 if none.

    Any module inside may name, in ``entity_rows`` and ``relation_rows``, its parameters and buffers
    that hold one row per entity, and one per relation (R, or 2R with the inverses last): growing
    vocabularies move those rows and copy everything else.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> class Degree(kgt.Encoder):
        ...     width, num_layers = 1, 0
        ...     def forward(self, graph):
        ...         degree = torch.bincount(graph.edge_index[1], minlength=len(graph.entity))
        ...         relation = torch.ones(2 * graph.num_relations, 1)
        ...         return kgt.Representations(degree[:, None].float(), relation)
        >>> facts = [("Athens", "capital_of", "Greece"), ("Greece", "borders", "Bulgaria")]
        >>> graph = kgt.KnowledgeGraph.from_names(facts)
        >>> kgt.KGModel(Degree(), kgt.DistMult()).encode(graph.tensors()).entity.tolist()
        [[1.0], [2.0], [1.0]]
    """

    width: int
    num_layers: int

    @abstractmethod
    def forward(self, graph: GraphTensors) -> Representations:
        """Vectors for the rows of ``graph``."""


@dataclass(frozen=True)
class LayerOptions:
    """What an encoder does around its message-passing layers.

    Attributes:
        num_layers: At least 1.
        dropout: Share of each layer's numbers dropped in training, in [0, 1).
        activation: After each layer, elementwise.
        normalise: Layer norm before the activation.
        residual: A layer's output is its input plus a gate (a trained number) times its result.
        jump: The final entity vector is the encoder's input plus a gate times the last layer's
            output, so that the encoder can do at least what its input alone can.
        gate: Where the gates start; small, so that training starts near the encoder's input.
        recompute: Keep nothing of what layers compute for the backward pass, compute it again then:
            less memory, more time.

    Raises:
        ValueError: If a number is out of range.
    """

    num_layers: int = 1
    dropout: float = 0.0
    activation: Callable[[Tensor], Tensor] = torch.tanh
    normalise: bool = False
    residual: bool = False
    jump: bool = False
    gate: float = 0.1
    recompute: bool = False

    def __post_init__(self) -> None:
        if self.num_layers < 1:
            raise ValueError(f"an encoder with layers needs at least 1 (got {self.num_layers})")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1) (got {self.dropout})")


def run_layer(propagate: Callable[..., Result], *arguments: Any, recompute: bool) -> Result:
    """What a layer gives, its inner vectors forgotten until the backward pass if wished."""
    if not (recompute and torch.is_grad_enabled()):
        return propagate(*arguments)
    result: Result = checkpoint(propagate, *arguments, use_reentrant=False)
    return result


class LayerOutput(nn.Module):
    """From a layer's result to the next hidden state: norm, activation, dropout, residual.

    Args:
        width: D.
        options: Which of them.
    """

    def __init__(self, width: int, options: LayerOptions) -> None:
        super().__init__()
        self.activation = options.activation
        self.norm = nn.LayerNorm(width) if options.normalise else nn.Identity()
        self.dropout = nn.Dropout(options.dropout)
        gate = nn.Parameter(torch.tensor(float(options.gate))) if options.residual else None
        self.gate: nn.Parameter | None = gate

    def forward(self, previous: Tensor, result: Tensor) -> Tensor:
        """The next hidden state: [N, D] before the layer, [N, D] from it -> [N, D]."""
        result = self.dropout(self.activation(self.norm(result)))
        return result if self.gate is None else previous + self.gate * result
