"""From typed options to the objective of a link prediction task."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from pyg_kgtransfer.functional import losses
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.objectives.balance import BALANCES, balanced_weights
from pyg_kgtransfer.objectives.link_prediction import (
    N3,
    KvsAll,
    NegativeSampling,
    OneVsAll,
    PairLoss,
)
from pyg_kgtransfer.objectives.objective import Mixture, Objective


@dataclass(frozen=True)
class ObjectiveConfig:
    """What link prediction minimises.

    Attributes:
        loss: ``"one_vs_all"``, ``"k_vs_all"``, or negative sampling with ``"softplus"``,
            ``"margin"`` or ``"self_adversarial"``.
        n3: Weight of the nuclear 3-norm, at least 0.
        label_smoothing: In [0, 1); for 1-vs-all and k-vs-all.
        num_candidates: 1-vs-all over so many sampled entities; ``None``: over all.
        num_negatives: Corrupted triples per true one and side.
        shared_negatives: One draw of negatives for the whole batch.
        filtered: Known facts never count as negatives.
        with_self: The entity asked about is one more negative; not with shared ones.
        margin: In units of the score, for margin and self-adversarial losses.
        temperature: Of the self-adversarial weights.
        balance: beta in [0, 1]: an answer weighs in proportion to count^-beta, and training answers
            1 on average. 0: all alike. More of it serves rare answers at the cost of common ones;
            not for k-vs-all.
        balance_by: What is counted: ``"popularity"``, the training facts that the answer is in;
            ``"relation"``, those of its relation; ``"group"``, the training answers from its group
            of entities, which whoever trains gives.

    Raises:
        ValueError: If a word is unknown (the nearest is named), a number is out of range, or
            ``balance`` goes with k-vs-all.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> config = kgt.ObjectiveConfig(loss="self_adversarial", num_negatives=16, margin=6.0)
        >>> config.num_negatives, config.temperature, config.n3
        (16, 1.0, 0.0)
    """

    loss: str = "one_vs_all"
    n3: float = 0.0
    label_smoothing: float = 0.0
    num_candidates: int | None = None
    num_negatives: int = 64
    shared_negatives: bool = False
    filtered: bool = False
    with_self: bool = False
    margin: float = 9.0
    temperature: float = 1.0
    balance: float = 0.0
    balance_by: str = "popularity"

    def __post_init__(self) -> None:
        _check_word("loss", self.loss, ("one_vs_all", "k_vs_all", *_PAIR_LOSSES))
        _check_word("balance_by", self.balance_by, BALANCES)
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1) (got {self.label_smoothing})")
        if self.with_self and self.shared_negatives:
            raise ValueError("with_self needs negatives of each triple (got shared_negatives)")
        if self.n3 < 0:
            raise ValueError(f"n3 must be at least 0 (got {self.n3})")
        if not 0 <= self.balance <= 1:
            raise ValueError(f"balance must be in [0, 1] (got {self.balance})")
        if self.balance and self.loss == "k_vs_all":
            raise ValueError(
                "balance weighs each answer by itself, and k-vs-all learns all answers of a query "
                f"at once: take one_vs_all or negative sampling (got balance={self.balance})"
            )


def _check_word(name: str, given: str, known: Sequence[str]) -> None:
    if given not in known:
        nearest = difflib.get_close_matches(given, known, n=1, cutoff=0.4)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise ValueError(f"{name} must be one of {', '.join(known)} (got {given!r}){hint}")


_PAIR_LOSSES: dict[str, Callable[[ObjectiveConfig], PairLoss]] = {
    "softplus": lambda config: losses.softplus_loss,
    "margin": lambda config: partial(losses.margin_loss, margin=config.margin),
    "self_adversarial": lambda config: partial(
        losses.self_adversarial_loss, margin=config.margin, temperature=config.temperature
    ),
}


def build_objective(
    config: ObjectiveConfig, known: KnownTriples, *, groups: Tensor | None = None
) -> Objective:
    """The objective that ``config`` describes.

    Args:
        config: Options.
        known: The training facts: labels of k-vs-all, the filter of negative sampling, and what
            ``balance`` counts.
        groups: [N] int64, at least 0, the group of each entity, to balance by.

    Raises:
        ValueError: If it is to be balanced by groups and there are none, or they do not fit.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> graph = kgt.KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")])
        >>> known = kgt.KnownTriples([graph.triples], num_entities=2, num_relations=1)
        >>> kgt.build_objective(kgt.ObjectiveConfig(loss="k_vs_all", n3=0.01), known).weights
        {'task': 1.0, 'n3': 0.01}
    """
    task: Objective
    weights = None
    if config.balance:
        weights = balanced_weights(known, config.balance, config.balance_by, groups=groups)
    if config.loss == "one_vs_all":
        task = OneVsAll(
            label_smoothing=config.label_smoothing,
            num_candidates=config.num_candidates,
            answer_weights=weights,
        )
    elif config.loss == "k_vs_all":
        task = KvsAll(known, label_smoothing=config.label_smoothing)
    else:
        task = NegativeSampling(
            _PAIR_LOSSES[config.loss](config),
            num_negatives=config.num_negatives,
            shared=config.shared_negatives,
            known=known if config.filtered else None,
            with_self=config.with_self,
            answer_weights=weights,
        )
    if not config.n3:
        return task
    return Mixture({"task": task, "n3": N3()}, {"n3": config.n3})
