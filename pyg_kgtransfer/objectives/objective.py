"""What training minimises: a scalar made of named terms."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pyg_kgtransfer.models.encoder import Representations
from pyg_kgtransfer.models.kg_model import GraphModel


class Batch(NamedTuple):
    """What one step learns from.

    Attributes:
        triples: [B, 3] int64 true triples, rows of the encoded graph and real relation ids.
        generator: Where negatives and samples are drawn from; on the device of ``triples``.
        source: [B] int64, the source graph of each triple; ``None`` with a single source.
        progress: Share of the training done, in [0, 1]; annealed weights read it.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> graph = kgt.KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")])
        >>> batch = kgt.Batch(graph.triples, torch.Generator().manual_seed(0))
        >>> batch.triples.tolist(), batch.source, batch.progress
        ([[0, 0, 1]], None, 0.0)
    """

    triples: Tensor
    generator: torch.Generator
    source: Tensor | None = None
    progress: float = 0.0


class Objective(nn.Module, ABC):
    """A scalar to minimise, a mean over the batch. May own parameters (projections).

    Attributes:
        encodes_itself: It reads no representations of the whole graph (it is given ``None``).

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> class MeanScore(kgt.Objective):
        ...     def forward(self, model, representations, batch):
        ...         return -model.score(representations, batch.triples).mean()
        >>> model = kgt.KGModel(kgt.Shallow(kgt.Lookup(2, 1), 1), kgt.TransE())
        >>> vectors = kgt.Representations(torch.tensor([[0.0], [3.0]]), torch.tensor([[1.0]]))
        >>> batch = kgt.Batch(torch.tensor([[0, 0, 1]]), torch.Generator())
        >>> MeanScore()(model, vectors, batch).item()
        2.0
    """

    encodes_itself: bool = False

    @abstractmethod
    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        """The loss, a scalar."""

    def terms(
        self, model: GraphModel, representations: Representations, batch: Batch
    ) -> dict[str, Tensor]:
        """The loss split into named scalars that sum to it; for the log."""
        return {"loss": self(model, representations, batch)}


class Mixture(Objective):
    """A weighted sum of objectives; each term is logged under its name, weighted.

    A mixture inside a mixture logs ``outer.inner``. An objective whose weight is 0 from start to
    end is not computed.

    Args:
        objectives: Name -> objective.
        weights: Name -> weight, at least 0; names left out weigh 1.
        final_weights: Name -> weight at the end of training, reached linearly; names left out
            keep their weight.

    Raises:
        ValueError: If a weight is negative or names no objective.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> model = kgt.KGModel(kgt.Shallow(kgt.Lookup(2, 1), 1), kgt.TransE())
        >>> vectors = kgt.Representations(torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0]]))
        >>> batch = kgt.Batch(torch.tensor([[0, 0, 1]]), torch.Generator())
        >>> mixture = kgt.Mixture({"task": kgt.OneVsAll(), "n3": kgt.N3()}, {"n3": 0.1})
        >>> {name: round(t.item(), 3) for name, t in mixture.terms(model, vectors, batch).items()}
        {'task': 0.313, 'n3': 0.2}
    """

    def __init__(
        self,
        objectives: Mapping[str, Objective],
        weights: Mapping[str, float] | None = None,
        *,
        final_weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.objectives = nn.ModuleDict(dict(objectives))
        self._named = dict(objectives)  # the same objects, with their type
        self.encodes_itself = all(each.encodes_itself for each in self._named.values())
        self.weights = {name: 1.0 for name in objectives} | dict(weights or {})
        self.final_weights = self.weights | dict(final_weights or {})
        for name, weight in (*self.weights.items(), *self.final_weights.items()):
            if name not in self.objectives:
                raise ValueError(
                    f"a weight names no objective (got {name!r}, have {list(objectives)})"
                )
            if weight < 0:
                raise ValueError(f"weights must be at least 0 (got {weight} for {name!r})")

    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        return torch.stack(list(self.terms(model, representations, batch).values())).sum()

    def terms(
        self, model: GraphModel, representations: Representations, batch: Batch
    ) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        for name, objective in self._named.items():
            start, end = self.weights[name], self.final_weights[name]
            weight = start + (end - start) * batch.progress
            if not (start or end):
                continue
            parts = objective.terms(model, representations, batch)
            for part, value in parts.items():
                terms[name if len(parts) == 1 else f"{name}.{part}"] = weight * value
        return terms
