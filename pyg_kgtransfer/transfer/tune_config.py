"""How to search for a recipe, and what all trials are given."""

import difflib
from dataclasses import dataclass

from pyg_kgtransfer.graph.entity_groups import GivenGroups
from pyg_kgtransfer.transfer.features import Features

PRUNERS = ("median", "hyperband", "none")


@dataclass(frozen=True)
class TuneConfig:
    """How to search.

    Attributes:
        trials: So many in all, those of earlier calls on the same study counted; at least 1.
        seconds: Begin no trial after so many seconds of this call; ``None``: no limit.
        seed: Decides what is tried: the same seed, the same trials (one process at a time).
        pruner: What ends a trial early: ``"median"`` (worse than half of those before it at the
            same epoch), ``"hyperband"`` (many short trials, a third of which goes on, and a third
            of those) or ``"none"``.
        startup: Trials that are drawn at random before the search learns from them, and before
            the median is asked; at least 1.
        warmup: Share of a trial's epochs, in [0, 1), in which it is not pruned.

    Raises:
        ValueError: If a number is out of range or a pruner unknown (the nearest one is offered).

    Source: Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization (TPE, the sampler);
    Li et al. 2018, arXiv 1603.06560 (Hyperband); Akiba et al. 2019, arXiv 1907.10902 (Optuna).

    Example:
        >>> TuneConfig(trials=50, pruner="hyperband").startup
        10
    """

    trials: int = 30
    seconds: float | None = None
    seed: int = 0
    pruner: str = "median"
    startup: int = 10
    warmup: float = 0.2

    def __post_init__(self) -> None:
        for name, least in (("trials", 1), ("startup", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least} (got {getattr(self, name)})")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is a share of the epochs, in [0, 1) (got {self.warmup})")
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"seconds must be above 0 (got {self.seconds})")
        if self.pruner not in PRUNERS:
            near = difflib.get_close_matches(self.pruner, PRUNERS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            known = ", ".join(PRUNERS)
            raise ValueError(f"pruner must be one of {known} (got {self.pruner!r}){hint}")


@dataclass(frozen=True, eq=False)
class TuneInputs:
    """What ``pretrain`` takes beside graphs and recipe, the same for all trials.

    Attributes:
        features: As ``pretrain`` takes them.
        groups: As ``pretrain`` takes them.
        alignment_weight: As ``pretrain`` takes it, at least 0.

    Example:
        >>> TuneInputs(alignment_weight=0.5).features is None
        True
    """

    features: Features | None = None
    groups: GivenGroups | None = None
    alignment_weight: float = 1.0
