"""Negative sampling within types: what is corrupted stays of the answer's type."""

import torch
from torch import Tensor

from pyg_kgtransfer.models.encoder import Representations
from pyg_kgtransfer.models.kg_model import GraphModel
from pyg_kgtransfer.objectives.link_prediction import PairLoss
from pyg_kgtransfer.objectives.objective import Batch, Objective


class TypedNegatives(Objective):
    """True triples against those with another entity of the same type, tails and heads alike.

    Where candidates are of the answer's type when a model is ranked, negatives of other types teach
    it little: types alone tell them from answers.

    Args:
        loss: From scores of true triples [B] and of corrupted ones [B, K] to a scalar, as those of
            ``NegativeSampling``.
        num_negatives: K per side, at least 1.
        entity_type: [N] int64, the type of each entity (``KnowledgeGraph.entity_type``).

    Raises:
        ValueError: If ``num_negatives`` is below 1 or there are no types.

    Source: Hu et al. 2020, arXiv 2005.00687; OGB's example for ogbl-biokg trains so.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> from pyg_kgtransfer.functional import losses
        >>> objective = TypedNegatives(losses.softplus_loss, 3, torch.tensor([0, 1, 0, 1]))
        >>> drawn = objective.drawn(torch.tensor([2, 1]), torch.Generator().manual_seed(0))
        >>> (drawn % 2).tolist()
        [[0, 0, 0], [1, 1, 1]]
    """

    entity_type: Tensor
    members: Tensor  # [N], types together
    first: Tensor  # of each type among them
    count: Tensor

    def __init__(self, loss: PairLoss, num_negatives: int, entity_type: Tensor) -> None:
        super().__init__()
        if num_negatives < 1 or entity_type.dim() != 1 or not len(entity_type):
            raise ValueError(
                "negatives of a type need at least one of them, and a type for each entity "
                f"(got {num_negatives} and {tuple(entity_type.shape)})"
            )
        self.loss = loss
        self.num_negatives = num_negatives
        count = torch.bincount(entity_type)
        self.register_buffer("entity_type", entity_type)
        self.register_buffer("members", torch.argsort(entity_type, stable=True))
        self.register_buffer("count", count)
        self.register_buffer("first", count.cumsum(0) - count)

    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        head, relation, tail = batch.triples.unbind(1)
        drawn = batch.own(self.drawn(batch.whole[:, 2], batch.generator))
        candidates = torch.column_stack([tail, drawn])
        tails = model.score_tails(representations, head, relation, candidates)
        drawn = batch.own(self.drawn(batch.whole[:, 0], batch.generator))
        candidates = torch.column_stack([head, drawn])
        heads = model.score_heads(representations, relation, tail, candidates)
        return 0.5 * (self.loss(tails[:, 0], tails[:, 1:]) + self.loss(heads[:, 0], heads[:, 1:]))

    def drawn(self, answer: Tensor, generator: torch.Generator) -> Tensor:
        """Entities of the type of each answer ([B]), the answer itself among them: [B, K]."""
        kind = self.entity_type[answer]
        shape = (len(answer), self.num_negatives)
        chance = torch.rand(shape, generator=generator, device=answer.device, dtype=torch.float64)
        place = (chance * self.count[kind].unsqueeze(1)).long()  # [B, K], below the type's count
        return self.members[self.first[kind].unsqueeze(1) + place]
