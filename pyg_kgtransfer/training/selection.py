"""Which weights are the best, and when to stop waiting for better ones."""

import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from torch import Tensor, nn

from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.training.strategies import whole


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """A copy of a module's state in main memory, shards put together (all processes must ask).

    Raises:
        ValueError: If the state holds something that is not a tensor.
    """
    state = module.state_dict()
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise ValueError(
                f"the state of {type(module).__name__} must hold tensors only, for it is stored "
                f"without pickle (got {type(value).__name__} at {key!r})"
            )
    return {key: whole(value.detach()).cpu().clone() for key, value in state.items()}


class Selection:
    """Keeps the best weights and counts validations without an improvement.

    The best weights are those of the highest metric, by any margin. Patience counts validations
    since the metric last rose above its reference by more than ``min_delta``; the reference is the
    metric at that time. So many small rises that add up to an improvement count as one.

    Attributes:
        best_metric: The highest metric, ``None`` before the first validation.
        best_epoch: Its epoch, from 1.
        weights: The module's state then.
        failures: Validations in a row without an improvement.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.best_metric: float | None = None
        self.best_epoch: int | None = None
        self.weights: dict[str, Tensor] = {}
        self.reference = -math.inf
        self.failures = 0

    def update(self, metrics: Mapping[str, float], module: nn.Module, *, epoch: int) -> None:
        """Take the metrics of the validation after ``epoch`` (from 1).

        Raises:
            ValueError: If the monitored metric is missing, or a metric is not finite.
        """
        monitor = self.config.monitor
        if monitor not in metrics:
            near = get_close_matches(monitor, metrics, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"validation must give the monitored metric {monitor!r} "
                f"(got {', '.join(metrics) or 'nothing'}){hint}"
            )
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise ValueError(
                    f"the validation after epoch {epoch} must give finite metrics "
                    f"(got {name} = {value})"
                )
        value = float(metrics[monitor])
        if self.best_metric is None or value > self.best_metric:
            self.weights = snapshot(module)
            self.best_metric, self.best_epoch = value, epoch
        if value > self.reference + self.config.min_delta:
            self.reference, self.failures = value, 0
        else:
            self.failures += 1

    @property
    def is_exhausted(self) -> bool:
        """Whether patience is at its end."""
        return self.config.patience is not None and self.failures >= self.config.patience

    def explanation(self) -> str:
        """Why patience ended, in words."""
        return (
            f"{self.config.monitor} did not rise above {self.reference:.6g} by more than "
            f"{self.config.min_delta:g} in {self.failures} validations"
        )

    def counters(self) -> dict[str, Any]:
        """The state but for the weights, as JSON takes it."""
        return {
            "best_metric": self.best_metric,
            "best_epoch": self.best_epoch,
            "reference": None if math.isinf(self.reference) else self.reference,
            "failures": self.failures,
        }

    def restore(self, counters: Mapping[str, Any], weights: dict[str, Tensor]) -> None:
        """Take back what ``counters`` gave, and the weights."""
        self.best_metric, self.best_epoch = counters["best_metric"], counters["best_epoch"]
        self.reference = -math.inf if counters["reference"] is None else counters["reference"]
        self.failures = counters["failures"]
        self.weights = weights
