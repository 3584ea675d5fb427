"""How much each training answer weighs, so that frequent ones do not drown rare ones."""

import hashlib
from typing import Literal

import torch
from torch import Tensor, nn

from pyg_kgtransfer.functional.segments import segment_counts
from pyg_kgtransfer.graph.known_triples import KnownTriples

BALANCES = ("popularity", "relation", "group")


class AnswerWeights(nn.Module):
    """A weight for each answer: c * count^-exponent, with c such that training answers average 1.

    Every fact has two answers: its tail, which (h, r, ?) asks for, and its head, which (?, r, t)
    asks for. Answers fall into classes, by entity or by relation; ``count`` is the number of
    training answers in a class. Exponent 0 weighs answers alike, exponent 1 classes.

    Args:
        count: [C] int64, training answers in each class; a class without any weighs as one with 1.
        exponent: In [0, 1].
        class_of: [N] or [R] int64, the class of each entity, or of each relation.
        by: Whether ``class_of`` is of the answer (``"entity"``) or of the ``"relation"``.

    Source: weights by inverse class frequency, and by its square root, as told in Cui et al. 2019,
    arXiv 1901.05555, section 1.

    Example:
        >>> count = torch.tensor([1, 4])
        >>> weigh = AnswerWeights(count, 0.5, class_of=torch.tensor([0, 1]))
        >>> weight = weigh(torch.tensor([0, 1, 1, 1, 1]), torch.zeros(5).long())
        >>> round((weight[0] / weight[1]).item(), 3), round(weight.mean().item(), 3)
        (2.0, 1.0)
    """

    table: Tensor

    def __init__(
        self,
        count: Tensor,
        exponent: float,
        *,
        class_of: Tensor,
        by: Literal["entity", "relation"] = "entity",
    ) -> None:
        super().__init__()
        self.exponent = exponent
        self.by = by
        # so that a run is not continued with the counts of another graph or grouping
        counted = torch.cat([count, class_of]).cpu().numpy().tobytes()
        self.fingerprint = hashlib.sha256(counted).hexdigest()
        weight = count.clamp(min=1).double().pow(-exponent)
        if bool(count.any()):
            weight = weight / ((count * weight).sum() / count.sum())
        self.register_buffer("table", weight[class_of].float(), persistent=False)

    def forward(self, answer: Tensor, relation: Tensor) -> Tensor:
        """The weights of answers [B] (entity ids) to queries of relations [B]: [B]."""
        return self.table[relation if self.by == "relation" else answer]


def balanced_weights(
    known: KnownTriples, exponent: float, by: str, *, groups: Tensor | None = None
) -> AnswerWeights:
    """Weights from the training facts.

    Args:
        known: The training facts; repeats count once.
        exponent: Of how often, in [0, 1].
        by: ``"popularity"``: the more facts an entity is in, the less it weighs as an answer;
            ``"relation"``: the more facts a relation has, the less each weighs; ``"group"``: the
            more answers are of a group of entities, the less each weighs.
        groups: [N] int64, at least 0, the group of each entity; for ``"group"``.

    Raises:
        ValueError: If groups lack where they are needed, are given where they are not, or do not
            fit the facts.

    Example:
        >>> facts = torch.tensor([[0, 0, 1], [2, 0, 1], [3, 0, 1], [4, 0, 1]])
        >>> known = KnownTriples([facts], num_entities=5, num_relations=1)
        >>> weigh = balanced_weights(known, 1.0, "popularity")  # 5 entities, 8 answers
        >>> [round(weight, 2) for weight in weigh.table.tolist()]
        [1.6, 0.4, 1.6, 1.6, 1.6]
    """
    _check_groups(known, by, groups)
    head, relation, tail = known.triples.unbind(1)
    if by == "relation":
        answers, class_of = torch.cat([relation, relation]), torch.arange(known.num_relations)
    else:
        answers, class_of = torch.cat([head, tail]), torch.arange(known.num_entities)
    class_of = class_of.to(answers.device)
    if groups is not None:
        class_of = groups.to(answers.device)
    size = int(class_of.max()) + 1 if len(class_of) else 0
    count = segment_counts(class_of[answers], size)
    kind: Literal["entity", "relation"] = "relation" if by == "relation" else "entity"
    return AnswerWeights(count, exponent, class_of=class_of, by=kind)


def _check_groups(known: KnownTriples, by: str, groups: Tensor | None) -> None:
    if (by == "group") != (groups is not None):
        got = "none" if groups is None else f"some, to balance by {by}"
        raise ValueError(
            f"groups of entities go with balance_by='group', and it with them (got {got})"
        )
    if groups is None:
        return
    if groups.shape != (known.num_entities,) or groups.dtype != torch.long:
        raise ValueError(
            f"groups must be int64 of shape [{known.num_entities}], one per entity "
            f"(got {groups.dtype} {tuple(groups.shape)})"
        )
    if len(groups) and int(groups.min()) < 0:
        raise ValueError(f"groups must be at least 0 (got {int(groups.min())})")
