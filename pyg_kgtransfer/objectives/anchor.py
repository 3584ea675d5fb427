"""Staying near a start: what was learned before is not forgotten for a few new facts."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pyg_kgtransfer.models.encoder import Representations
from pyg_kgtransfer.models.kg_model import GraphModel
from pyg_kgtransfer.objectives.objective import Batch, Objective


class Anchor(Objective):
    """Sum of squared differences to the starting values, divided by the number of values.

    Args:
        start: Parameter name of the model -> its starting values.
        rows: Parameter name -> bool mask over its first dimension: only these rows are held (rows
            that were copied, not those that are new); names left out are held whole.

    Raises:
        ValueError: If there is nothing to hold.

    Source: L2-SP, Li, Grandvalet, Davoine 2018, arXiv 1802.01483, eq. 3 (a mean, so that the weight
    does not depend on the size of the model).

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
        self, start: Mapping[str, Tensor], rows: Mapping[str, Tensor] | None = None
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

    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        parameters = dict(model.named_parameters())
        total = representations.entity.new_zeros(())
        for name, start in zip(self.names, self.start, strict=True):
            squared = (parameters[name] - start) ** 2
            if name in self.rows:
                squared = squared[self.rows[name].to(squared.device)]
            total = total + torch.sum(squared)
        return total / max(1, self.num_values)
