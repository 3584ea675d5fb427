"""Features that stay in their file: an encoder's input for tables larger than memory."""

import torch
from torch import Tensor, nn

from pyg_kgtransfer.models.decoders import Decoder
from pyg_kgtransfer.models.inputs import EntityInput

_SAMPLE = 4096  # rows that tell how large features are


class MappedFeatures(EntityInput):
    """Given features through a trained linear map; only the rows asked for are read.

    The table is neither copied nor moved to another device, and is no part of checkpoints: it
    stays where it is, say in a file (``read_features``). Use it with drawn neighbours, whose steps
    ask for few rows.

    Args:
        features: [num_entities, F] floats, memory-mapped or not.
        width: D.

    Raises:
        ValueError: If the features are not a floating [N, F] table; in a step, if a row that it
            asks for is not finite.

    Example:
        >>> MappedFeatures(torch.eye(5), 8)(torch.tensor([3, 1])).shape
        torch.Size([2, 8])
    """

    def __init__(self, features: Tensor, width: int) -> None:
        super().__init__()
        if features.dim() != 2 or not features.is_floating_point():
            raise ValueError(
                "features must be floats, one row per entity "
                f"(got {features.dtype} {list(features.shape)})"
            )
        self.width = width
        self.features = features  # no buffer: it is not to move, and not to be saved
        self.projection = nn.Linear(features.shape[1], width)

    def forward(self, entity: Tensor) -> Tensor:
        weight = self.projection.weight
        rows = self.features.index_select(0, entity.to(self.features.device)).to(weight)
        if not bool(torch.isfinite(rows).all()):
            place = int((~torch.isfinite(rows)).any(1).nonzero()[0])
            raise ValueError(
                f"features must be finite (got NaN or inf in row {int(entity[place])})"
            )
        projected: Tensor = self.projection(rows)
        return projected

    @torch.no_grad()
    def initialise(self, decoder: Decoder) -> None:
        """Scale the map so that its vectors are as large as those ``decoder`` starts from."""
        nn.init.xavier_normal_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)
        size = min(_SAMPLE, len(self.features))
        some = torch.linspace(0, len(self.features) - 1, size).long()
        wanted = torch.empty(size, self.width)
        decoder.initialise(wanted, None)
        got = self.projection(self.features[some].to(self.projection.weight))
        got_size, wanted_size = (t.square().mean().sqrt() for t in (got, wanted))
        if got_size > 0:
            self.projection.weight *= wanted_size.to(got_size) / got_size

    def extra_repr(self) -> str:
        return f"{self.features.shape[0]}, {self.features.shape[1]} -> {self.width}"
