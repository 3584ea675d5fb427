"""Pulling linked entities together, where linking kept them apart (mapping and swapping)."""

from collections.abc import Callable

import torch
from torch import Tensor

from pyg_kgtransfer.functional.losses import cosine_loss
from pyg_kgtransfer.models.encoder import Representations
from pyg_kgtransfer.models.kg_model import GraphModel
from pyg_kgtransfer.objectives.objective import Batch, Objective


class AlignmentObjective(Objective):
    """Distance between the vectors of aligned entities, over a sample of pairs in each step.

    Args:
        pairs: [P, 2] rows of the encoded graph; held-out pairs must not be among them
            (``LinkedKG.pairs`` holds none).
        loss: From matching rows [P, D], [P, D] to a scalar: ``losses.cosine_loss``,
            ``torch.nn.functional.mse_loss`` or a partial ``losses.contrastive_loss``.
        sample_size: Pairs per step, at least 1.

    Raises:
        ValueError: If there are no pairs or the shape is not [P, 2].

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> left = kgt.KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")], name="left")
        >>> right = kgt.KnowledgeGraph.from_names([("GR", "borders", "BG")], name="right")
        >>> same = kgt.Alignment.from_names(left, right, [("Greece", "GR")])
        >>> pairs = kgt.link([left, right], [same], mode="mapping").pairs.index
        >>> pairs.tolist()
        [[1, 2]]
        >>> model = kgt.build_model(kgt.ModelConfig(width=4), num_entities=4, num_relations=2)
        >>> vectors = kgt.Representations(torch.eye(4), torch.eye(4))  # at right angles: far apart
        >>> batch = kgt.Batch(torch.tensor([[0, 0, 1]]), torch.Generator())
        >>> kgt.AlignmentObjective(pairs)(model, vectors, batch).item()
        1.0
    """

    def __init__(
        self,
        pairs: Tensor,
        *,
        loss: Callable[[Tensor, Tensor], Tensor] = cosine_loss,
        sample_size: int = 1024,
    ) -> None:
        super().__init__()
        if pairs.dim() != 2 or pairs.shape[1] != 2 or not len(pairs):
            raise ValueError(f"pairs must be [P, 2] with P >= 1 (got {tuple(pairs.shape)})")
        self.register_buffer("pairs", pairs)
        self.loss = loss
        self.sample_size = sample_size

    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        pairs = self.get_buffer("pairs")
        if len(pairs) > self.sample_size:
            generator = batch.generator
            drawn = torch.randint(
                len(pairs), (self.sample_size,), generator=generator, device=generator.device
            )
            pairs = pairs[drawn]
        left, right = pairs.unbind(1)
        return self.loss(representations.entity[left], representations.entity[right])
