"""What training minimises: a scalar made of named terms."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pyg_kgtransfer.models.encoder import Representations
from pyg_kgtransfer.models.kg_model import KGModel


class Batch(NamedTuple):
    """What one step learns from.

    Attributes:
        triples: [B, 3] int64 true triples, rows of the encoded graph and real relation ids.
        generator: Where negatives and samples are drawn from; on the device of ``triples``.
        source: [B] int64, the source graph of each triple; ``None`` with a single source.
        progress: Share of the training done, in [0, 1]; annealed weights read it.
    """

    triples: Tensor
    generator: torch.Generator
    source: Tensor | None = None
    progress: float = 0.0


class Objective(nn.Module, ABC):
    """A scalar to minimise, a mean over the batch. May own parameters (projections)."""

    @abstractmethod
    def forward(self, model: KGModel, representations: Representations, batch: Batch) -> Tensor:
        """The loss, a scalar."""

    def terms(
        self, model: KGModel, representations: Representations, batch: Batch
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
        self.weights = {name: 1.0 for name in objectives} | dict(weights or {})
        self.final_weights = self.weights | dict(final_weights or {})
        for name, weight in (*self.weights.items(), *self.final_weights.items()):
            if name not in self.objectives:
                raise ValueError(
                    f"a weight names no objective (got {name!r}, have {list(objectives)})"
                )
            if weight < 0:
                raise ValueError(f"weights must be at least 0 (got {weight} for {name!r})")

    def forward(self, model: KGModel, representations: Representations, batch: Batch) -> Tensor:
        return torch.stack(list(self.terms(model, representations, batch).values())).sum()

    def terms(
        self, model: KGModel, representations: Representations, batch: Batch
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
