"""A tiny model, objective and graph that exercise what training must carry across a break."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from pyg_kgtransfer.functional.losses import softplus_loss
from pyg_kgtransfer.graph.knowledge_graph import GraphTensors, KnowledgeGraph
from pyg_kgtransfer.models.decoders import DistMult
from pyg_kgtransfer.models.encoder import Encoder, Representations
from pyg_kgtransfer.models.kg_model import KGModel
from pyg_kgtransfer.objectives.objective import Batch, Objective
from pyg_kgtransfer.training.batches import BatchOptions, TripleBatches


class NeighbourMean(Encoder):
    """Free vectors plus the mean of the neighbours', after dropout; counts its calls."""

    def __init__(self, num_entities: int, num_relations: int, width: int, dropout: float) -> None:
        super().__init__()
        self.width, self.num_layers = width, 1
        self.entity = nn.Parameter(torch.randn(num_entities, width) * 0.5)
        self.relation = nn.Parameter(torch.randn(2 * num_relations, width) * 0.5)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.seen_edges: list[int] = []

    def forward(self, graph: GraphTensors) -> Representations:
        if self.training:
            self.calls += 1
            self.seen_edges.append(graph.edge_index.shape[1])
        own = self.dropout(self.entity[graph.entity])
        source, target = graph.edge_index
        total = torch.zeros_like(own).index_add(0, target, own[source])
        degree = torch.bincount(target, minlength=len(own)).clamp(min=1).unsqueeze(1)
        return Representations(own + 0.5 * total / degree, self.relation)


class Softplus(Objective):
    """Softplus over random negatives, scaled by a learned factor of its own."""

    def __init__(self, negatives: int = 4) -> None:
        super().__init__()
        self.negatives = negatives
        self.scale = nn.Parameter(torch.ones(()))
        self._before_step: Callable[[], None] = nothing  # no setting of the objective

    def before_each_step(self, act: Callable[[], None]) -> None:
        self._before_step = act

    def forward(self, model: KGModel, representations: Representations, batch: Batch) -> Tensor:
        return sum(self.terms(model, representations, batch).values(), torch.zeros(()))

    def terms(
        self, model: KGModel, representations: Representations, batch: Batch
    ) -> dict[str, Tensor]:
        self._before_step()
        head, relation, tail = batch.triples.unbind(1)
        shape = (len(head), self.negatives)
        drawn = torch.randint(
            len(representations.entity), shape, generator=batch.generator, device=head.device
        )
        positive = model.score_tails(representations, head, relation, tail[:, None]).squeeze(1)
        negative = model.score_tails(representations, head, relation, drawn)
        return {
            "ranking": softplus_loss(self.scale * positive, self.scale * negative),
            "size": 1e-3 * representations.entity.square().mean(),
        }


def nothing() -> None:
    pass


@dataclass
class Setting:
    """What one training call needs."""

    graph: KnowledgeGraph
    model: KGModel
    objective: Softplus
    batches: TripleBatches

    @property
    def fit_arguments(self) -> tuple[KGModel, Softplus, TripleBatches]:
        return self.model, self.objective, self.batches

    def validate(self, model: KGModel) -> dict[str, float]:
        """MRR over the training triples, unfiltered: enough to move and to differ."""
        representations = model.encode(self.graph.tensors())
        head, relation, tail = self.graph.triples.unbind(1)
        scores = model.score_tails(representations, head, relation)
        rank = (scores > scores.gather(1, tail[:, None])).sum(1) + 1
        return {"mrr": float((1 / rank).mean())}


@pytest.fixture
def make() -> Callable[..., Setting]:
    """A setting whose parts are the same for the same arguments."""

    def setting(
        *, seed: int = 0, dropout: float = 0.2, batch_size: int = 8, entities: int = 12
    ) -> Setting:
        generator = torch.Generator().manual_seed(5)
        pairs = torch.randint(entities, (30, 2), generator=generator)
        relation = torch.randint(2, (30,), generator=generator)
        triples = torch.stack([pairs[:, 0], relation, pairs[:, 1]], dim=1)
        names = [f"e{i}" for i in range(entities)]
        graph = KnowledgeGraph.from_names([], entities=names, relations=["r", "s"], name="tiny")
        graph = graph.with_triples(triples)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = NeighbourMean(entities, 2, 6, dropout)
            model = KGModel(encoder, DistMult(), reciprocal=True)
        batches = TripleBatches(triples, BatchOptions(batch_size=batch_size))
        return Setting(graph, model, Softplus(), batches)

    return setting


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """So that a forked child has no thread pool to wait for."""
    torch.set_num_threads(1)
