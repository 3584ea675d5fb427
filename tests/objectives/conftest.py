"""A ten-entity graph, a table encoder with two hidden states, and batches of its facts."""

import pytest
import torch
from torch import nn

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors, KnowledgeGraph
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.models.decoders import DistMult
from pyg_kgtransfer.models.encoder import Encoder, Representations
from pyg_kgtransfer.models.kg_model import KGModel
from pyg_kgtransfer.objectives.objective import Batch


class TwoLayers(Encoder):
    """Free tables; the hidden states are linear maps of the entity table."""

    def __init__(self, num_entities: int, num_relations: int, width: int) -> None:
        super().__init__()
        self.width, self.num_layers = width, 2
        self.entity = nn.Parameter(torch.randn(num_entities, width))
        self.relation = nn.Parameter(torch.randn(2 * num_relations, width))
        self.maps = nn.ModuleList(nn.Linear(width, width) for _ in range(2))

    def forward(self, graph: GraphTensors) -> Representations:
        first = self.maps[0](self.entity)
        return Representations(self.entity, self.relation, (first, self.maps[1](first)))


@pytest.fixture
def graph() -> KnowledgeGraph:
    generator = torch.Generator().manual_seed(0)
    triples = torch.stack(
        [torch.randint(size, (40,), generator=generator) for size in (10, 3, 10)], dim=1
    )
    return KnowledgeGraph(
        Vocabulary([f"e{i}" for i in range(10)]), Vocabulary(["a", "b", "c"]), triples
    )


@pytest.fixture
def model() -> KGModel:
    torch.manual_seed(1)
    return KGModel(TwoLayers(10, 3, 6), DistMult())


@pytest.fixture
def make_model():
    def make(width: int, seed: int, *, reciprocal: bool = False) -> KGModel:
        torch.manual_seed(seed)
        return KGModel(TwoLayers(10, 3, width), DistMult(), reciprocal=reciprocal)

    return make


@pytest.fixture
def batch(graph: KnowledgeGraph) -> Batch:
    return Batch(graph.triples[:16], torch.Generator().manual_seed(3))
