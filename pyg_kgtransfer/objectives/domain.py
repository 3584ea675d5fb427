"""Domain adaptation: vectors of source and target entities that cannot be told apart."""

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pyg_kgtransfer.models.encoder import Representations
from pyg_kgtransfer.models.kg_model import GraphModel, with_vectors
from pyg_kgtransfer.objectives.objective import Batch, Objective

_BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # in that of the mean squared distance


class ReverseGradient(torch.autograd.Function):
    """The same forward; backward the gradient times -strength.

    Source: Ganin and Lempitsky 2015, arXiv 1409.7495, eq. 12-13.
    """

    @staticmethod
    def forward(context: Any, x: Tensor, strength: float) -> Tensor:
        context.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -context.strength * gradients[0], None


class _Domains(Objective):
    """Draws entities of each domain in every step.

    Args:
        domains: Rows of each domain's entities ([N_d] int64), two or more; shared ones in none.
        sample_size: Entities of each, at most; at least 2.

    Raises:
        ValueError: If a domain has fewer than 2 entities or there is one alone.
    """

    def __init__(self, domains: Sequence[Tensor], sample_size: int) -> None:
        super().__init__()
        if len(domains) < 2:
            raise ValueError(f"domain adaptation needs two domains (got {len(domains)})")
        for number, rows in enumerate(domains):
            if rows.dim() != 1 or len(rows) < 2:
                raise ValueError(
                    f"each domain needs 2 entities of its own or more, [N] (got "
                    f"{tuple(rows.shape)} for domain {number})"
                )
            self.register_buffer(f"rows{number}", rows, persistent=False)
        if sample_size < 2:
            raise ValueError(f"sample_size must be at least 2 (got {sample_size})")
        self.number, self.sample_size = len(domains), sample_size
        own = b"".join(rows.cpu().numpy().tobytes() for rows in domains)
        self.fingerprint = hashlib.sha256(own).hexdigest()  # a resumed run has the same

    def drawn(
        self, model: GraphModel, representations: Representations, batch: Batch
    ) -> list[Tensor]:
        """Vectors of entities of each domain, [S, D] each; small domains whole."""
        with_vectors(model, "domain adaptation")
        generator, found = batch.generator, []
        for number in range(self.number):
            rows = self.get_buffer(f"rows{number}")
            order = torch.randperm(len(rows), generator=generator, device=generator.device)
            found.append(representations.rows(rows[order[: self.sample_size]]))
        return found


class DomainAdversary(_Domains):
    """A classifier learns to tell domains apart; what it reads learns, reversed, to prevent it.

    The reversed gradient grows with the share p of the training done: 2 / (1 + exp(-10 p)) - 1.

    Args:
        domains: Rows of each domain's entities ([N_d] int64), two or more; shared ones in none.
        width: D, of entity vectors.
        hidden: Units of the classifier's hidden layer, at least 1.
        strength: Of the reversed gradient at the end, at least 0.
        sample_size: Entities of each domain in a step, at most; at least 2.

    Raises:
        ValueError: If a domain has fewer than 2 entities, there is one alone, or a number is out of
            range.

    Source: Ganin et al. 2016, "Domain-Adversarial Training of Neural Networks", section 4 and 5.2.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> vectors = kgt.Representations(torch.eye(4), torch.eye(4))
        >>> batch = kgt.Batch(torch.tensor([[0, 0, 1]]), torch.Generator())
        >>> adversary = kgt.DomainAdversary([torch.tensor([0, 1]), torch.tensor([2, 3])], width=4)
        >>> model = kgt.build_model(kgt.ModelConfig(width=4), num_entities=4, num_relations=2)
        >>> 0.4 < adversary(model, vectors, batch).item() < 1.1  # about log 2: not learned yet
        True
    """

    def __init__(
        self,
        domains: Sequence[Tensor],
        width: int,
        *,
        hidden: int = 64,
        strength: float = 1.0,
        sample_size: int = 256,
    ) -> None:
        super().__init__(domains, sample_size)
        if hidden < 1 or not strength >= 0:
            raise ValueError(
                f"hidden must be at least 1 and strength at least 0 (got {hidden} and {strength})"
            )
        self.strength = strength
        self.classifier = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, len(domains))
        )

    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        drawn = self.drawn(model, representations, batch)
        found = torch.cat(drawn)
        strength = self.strength * (2 / (1 + math.exp(-10 * batch.progress)) - 1)
        reversed_: Tensor = ReverseGradient.apply(found, strength)
        scores = self.classifier(reversed_).split([len(each) for each in drawn])
        losses = [
            cross_entropy(each, torch.full((len(each),), number, device=found.device))
            for number, each in enumerate(scores)
        ]
        return torch.stack(losses).mean()


class MMD(_Domains):
    """The squared maximum mean discrepancy between domains, mean over pairs of them.

    The kernel is the mean of Gaussians whose widths are multiples of the mean squared distance of
    the sample; the estimate leaves out pairs of an entity and itself and may fall a little below 0.

    Args:
        domains: Rows of each domain's entities ([N_d] int64), two or more; shared ones in none.
        sample_size: Entities of each domain in a step, at most; at least 2.

    Raises:
        ValueError: If a domain has fewer than 2 entities, or there is one alone.

    Source: Gretton et al. 2012, "A Kernel Two-Sample Test", eq. 3; Long et al. 2015, arXiv
    1502.02791, for several widths.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> near, far = torch.zeros(2, 1), torch.full((2, 1), 9.0)
        >>> vectors = kgt.Representations(torch.cat([near, far]), torch.zeros(1, 1))
        >>> batch = kgt.Batch(torch.tensor([[0, 0, 1]]), torch.Generator())
        >>> apart = kgt.MMD([torch.tensor([0, 1]), torch.tensor([2, 3])])
        >>> model = kgt.KGModel(kgt.Shallow(kgt.Lookup(4, 1), 1), kgt.TransE())
        >>> apart(model, vectors, batch).item() > 0.5
        True
    """

    def __init__(self, domains: Sequence[Tensor], *, sample_size: int = 256) -> None:
        super().__init__(domains, sample_size)

    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        found = self.drawn(model, representations, batch)
        gaps = [
            squared_mmd(found[i], found[j])
            for i in range(self.number)
            for j in range(i + 1, self.number)
        ]
        return torch.stack(gaps).mean()


def squared_mmd(left: Tensor, right: Tensor) -> Tensor:
    """The squared maximum mean discrepancy of two samples, [P, D] and [Q, D].

    Raises:
        ValueError: If a sample has fewer than 2 rows.

    Example:
        >>> one = torch.tensor([[0.0], [1.0]])
        >>> squared_mmd(one, one + 9) > squared_mmd(one, one + 0.5)
        tensor(True)
    """
    size = len(left)
    if min(size, len(right)) < 2:
        raise ValueError(f"a discrepancy needs 2 rows of each (got {size} and {len(right)})")
    both = torch.cat([left, right])
    distance = torch.cdist(both, both).square()
    with torch.no_grad():
        others = len(both) * (len(both) - 1)
        usual = (distance.sum() / others).clamp(min=1e-12)
    kernel = torch.stack([(-distance / (width * usual)).exp() for width in _BANDWIDTHS]).mean(0)

    def inner(block: Tensor) -> Tensor:
        number = len(block)
        return (block.sum() - block.diagonal().sum()) / (number * (number - 1))

    own, other = kernel[:size, :size], kernel[size:, size:]
    return inner(own) + inner(other) - 2 * kernel[:size, size:].mean()


def domain_gap(left: Tensor, right: Tensor, *, seed: int = 0) -> dict[str, float]:
    """How far apart two domains' vectors are, [P, D] and [Q, D].

    Returns:
        ``a_distance`` in [0, 2]: 2 (1 - 2 error) of a linear classifier, two-fold
        cross-validated, both domains with the same weight; ``mmd``, the squared discrepancy of up
        to 1,000 of each.

    Raises:
        ValueError: If a domain has fewer than 4 entities.

    Source: Ben-David et al. 2007, "Analysis of Representations for Domain Adaptation", section 5.

    Example:
        >>> one = torch.arange(8.0).view(8, 1)
        >>> domain_gap(one, one + 100)["a_distance"]
        2.0
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    for name, side in (("left", left), ("right", right)):
        if len(side) < 4:
            raise ValueError(f"a domain gap needs 4 entities of each (got {len(side)}, {name})")
    rows = torch.cat([left, right]).detach().double().cpu().numpy()
    domain = [0] * len(left) + [1] * len(right)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    folds = StratifiedKFold(2, shuffle=True, random_state=seed)
    scored = cross_val_score(classifier, rows, domain, cv=folds, scoring="balanced_accuracy")
    generator = torch.Generator().manual_seed(seed)
    few = [side[torch.randperm(len(side), generator=generator)[:1000]] for side in (left, right)]
    with torch.no_grad():
        mmd = float(squared_mmd(few[0].float().cpu(), few[1].float().cpu()))
    return {"a_distance": max(0.0, 2 * (2 * float(scored.mean()) - 1)), "mmd": mmd}
