"""What an encoder takes and gives: the contract between graphs and decoders."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors


class Representations(NamedTuple):
    """What an encoder makes of a graph.

    Attributes:
        entity: [N, D], one row per row of the graph.
        relation: [2R, D'] (r + R is the inverse of r), or [R, D'] from a shallow encoder whose
            model is not reciprocal.
        hidden: One [N, D_l] per message-passing layer, first to last; empty without layers.
    """

    entity: Tensor
    relation: Tensor
    hidden: tuple[Tensor, ...] = ()


class Encoder(nn.Module, ABC):
    """What an encoder of your own must offer; pass the object to ``KGModel``.

    Attributes:
        width: D, the width of the entity vectors it gives.
        num_layers: Message-passing layers, 0 if none.
    """

    width: int
    num_layers: int

    @abstractmethod
    def forward(self, graph: GraphTensors) -> Representations:
        """Vectors for the rows of ``graph``."""
