"""Staying near a start: what was learned before is not forgotten for a few new facts."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pyg_kgtransfer.models.encoder import Representations
from pyg_kgtransfer.models.kg_model import GraphModel
from pyg_kgtransfer.objectives.objective import Batch, Objective


class Anchor(Objective):
    """Sum of squared differences to the starting values, divided by the number of values.

    With ``importance`` F it is elastic: the mean is weighted by F, and what matters little is free
    to move far.

    Args:
        start: Parameter name of the model -> its starting values.
        rows: Parameter name -> bool mask over its first dimension: only these rows are held (rows
            that were copied, not those that are new); names left out are held whole.
        importance: Parameter name -> F of each value, at least 0, of the values' shape, for every
            name of ``start``; ``fact_importance`` estimates it. ``None``: all are held alike.

    Raises:
        ValueError: If there is nothing to hold, or importances do not fit.

    Source: L2-SP, Li, Grandvalet, Davoine 2018, arXiv 1802.01483, eq. 3 (a mean, so that the weight
    does not depend on the size of the model); with importances, elastic weight consolidation,
    Kirkpatrick et al. 2017, arXiv 1612.00796, eq. 3, less its scale: the paper's lambda is 2 / sum
    of F times this objective's weight. Where facts are learned to the last, F is next to 0 however
    much a value matters to them, but what matters more than others is seen all the same.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> model = kgt.KGModel(kgt.Shallow(kgt.Lookup(2, 1), 1), kgt.TransE())  # 3 numbers in all
        >>> graph = kgt.KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")])
        >>> anchor = kgt.Anchor(dict(model.named_parameters()))
        >>> model.encoder.relation.data += 3.0  # one of them moves away
        >>> batch = kgt.Batch(graph.triples, torch.Generator())
        >>> round(anchor(model, model.encode(graph.tensors()), batch).item(), 3)
        3.0
    """

    def __init__(
        self,
        start: Mapping[str, Tensor],
        rows: Mapping[str, Tensor] | None = None,
        *,
        importance: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        if not start:
            raise ValueError("an anchor needs parameters to hold (got none)")
        self.names = tuple(start)
        self.start = nn.ParameterList(
            nn.Parameter(value.detach().clone(), requires_grad=False) for value in start.values()
        )
        self.rows = dict(rows or {})
        self.num_values = sum(
            value[self.rows[name]].numel() if name in self.rows else value.numel()
            for name, value in start.items()
        )
        self.importance: nn.ParameterList | None = None
        if importance is not None:
            shares = _shares(start, importance)
            self.importance = nn.ParameterList(
                nn.Parameter(value, requires_grad=False) for value in shares
            )

    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        parameters = dict(model.named_parameters())
        total = representations.entity.new_zeros(())
        for place, (name, start) in enumerate(zip(self.names, self.start, strict=True)):
            squared = (parameters[name] - start) ** 2
            if self.importance is not None:
                squared = self.importance[place] * squared
            if name in self.rows:
                squared = squared[self.rows[name].to(squared.device)]
            total = total + torch.sum(squared)
        return total / max(1, self.num_values) if self.importance is None else total


def _shares(start: Mapping[str, Tensor], importance: Mapping[str, Tensor]) -> list[Tensor]:
    """The importances of the values, which sum to 1."""
    for name, value in start.items():
        given = importance.get(name)
        if given is None or given.shape != value.shape:
            got = "none" if given is None else tuple(given.shape)
            raise ValueError(
                f"the importance of {name} needs the shape of its values, {tuple(value.shape)} "
                f"(got {got})"
            )
        if not bool((given >= 0).all()):
            raise ValueError(f"an importance is at least 0 (got another in {name})")
    total = torch.stack([importance[name].double().sum() for name in start]).sum()
    if not total > 0:
        raise ValueError("an elastic anchor needs an importance above 0 (got none)")
    return [(importance[name].detach().double() / total).to(value) for name, value in start.items()]
