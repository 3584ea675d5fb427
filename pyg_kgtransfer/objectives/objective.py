"""What training minimises: a scalar made of named terms."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pyg_kgtransfer.models.encoder import Representations
from pyg_kgtransfer.models.kg_model import GraphModel


class Share(NamedTuple):
    """Which rows of a whole batch one of several processes learns from.

    Attributes:
        whole: [B', 3] int64, the triples of all processes' parts.
        own: The rows that are in the batch, the same object; a batch whose triples were replaced
            is a whole batch by itself.
        start: The first own row.
        stop: The one after the last; ``start`` where the batch was too small for all processes:
            its one row then weighs nothing.
        source: [B'] int64, the sources of ``whole``, or ``None``.
    """

    whole: Tensor
    own: Tensor
    start: int
    stop: int
    source: Tensor | None = None


class Batch(NamedTuple):
    """What one step learns from.

    Where several processes train, each has a part of the batch, and the whole of it decides what is
    drawn and how much a mean over the part weighs: so their mean gradient is that of the batch.

    Attributes:
        triples: [B, 3] int64 true triples, rows of the encoded graph and real relation ids.
        generator: Where negatives and samples are drawn from; on the device of ``triples``.
        source: [B] int64, the source graph of each triple; ``None`` with a single source.
        progress: Share of the training done, in [0, 1]; annealed weights read it.
        share: Which part of a larger batch this is; ``None``: it is whole.

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
    share: Share | None = None

    def part(self, start: int, stop: int) -> "Batch":
        """Rows ``start`` to ``stop`` of this whole batch, as one process learns from them.

        Example:
            >>> triples = torch.tensor([[0, 0, 1], [1, 0, 2], [2, 0, 0]])
            >>> part = Batch(triples, torch.Generator()).part(1, 3)
            >>> part.triples.tolist(), len(part.whole), round(part.weight, 2)
            ([[1, 0, 2], [2, 0, 0]], 3, 0.67)
        """
        rows = _at_least_one(start, stop, len(self.triples))
        own = self.triples[rows]
        source = None if self.source is None else self.source[rows]
        share = Share(self.triples, own, start, stop, self.source)
        return self._replace(triples=own, source=source, share=share)

    @property
    def is_part(self) -> bool:
        """Whether other processes have other rows of the batch."""
        return self._share is not None

    @property
    def whole(self) -> Tensor:
        """The triples of the whole batch: [B', 3]."""
        share = self._share
        return self.triples if share is None else share.whole

    @property
    def weight(self) -> float:
        """How much of the whole batch this is, in [0, 1]."""
        share = self._share
        return 1.0 if share is None else (share.stop - share.start) / len(share.whole)

    def own(self, drawn: Tensor) -> Tensor:
        """Of something with a row for each triple of the whole batch the rows of this part."""
        share = self._share
        return drawn if share is None else drawn[_at_least_one(*share[2:4], len(share.whole))]

    def own_of(self, things: Tensor) -> tuple[Tensor, int]:
        """Of things that the whole batch asks this part's, at least one, and how many count."""
        share = self._share
        if share is None:
            return things, len(things)
        whole = len(share.whole)
        start, stop = (end * len(things) // whole for end in share[2:4])
        return things[_at_least_one(start, stop, len(things))], stop - start

    def as_part(self, mean: Tensor, own: Tensor | float, whole: Tensor | float) -> Tensor:
        """A mean over something else than triples, so that it counts for as much as it should.

        Args:
            mean: Over this part of them.
            own: How many they are, or their weights' sum.
            whole: The same of the whole batch.
        """
        if self._share is None:
            return mean
        weight = self.weight
        return mean * (own / (whole * weight)) if weight else mean * 0.0

    @property
    def _share(self) -> Share | None:
        share = self.share
        return share if share is not None and share.own is self.triples else None


def _at_least_one(start: int, stop: int, number: int) -> slice:
    """These rows of ``number``, or one of them where there are none."""
    return slice(start, stop) if start < stop else slice(min(start, number - 1), start + 1)


class Objective(nn.Module, ABC):
    """A scalar to minimise, a mean over the batch. May own parameters (projections).

    An objective of your own trains in several processes as it is if it is a mean over
    ``batch.triples``, or takes nothing from them; what it draws for each triple it draws for
    ``batch.whole`` and takes ``batch.own`` of. What is not a mean over triples goes through
    ``batch.as_part``.

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
