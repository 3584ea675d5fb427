"""What can be set about training: TrainConfig, the optimizer and its schedule."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from pyg_kgtransfer.training.rowwise_adagrad import RowwiseAdagrad

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adagrad": torch.optim.Adagrad,
    "sgd": torch.optim.SGD,
    "rowwise_adagrad": RowwiseAdagrad,
}
FUSED_ON = {
    "adam": {"cpu", "cuda"},
    "adamw": {"cpu", "cuda"},
    "adagrad": {"cpu"},
    "sgd": {"cpu", "cuda"},
}
ROWWISE = "rowwise_adagrad"
SPARSE = ("adagrad", "sgd", ROWWISE)  # exact with gradients of some rows
SCHEDULES = ("constant", "linear", "cosine")
PRECISIONS = ("32-true", "64-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true")
ACCELERATORS = ("auto", "cpu", "cuda", "gpu", "mps")
STRATEGIES = ("auto", "ddp", "fsdp")
# Settings that a resumed run may change: they decide how long and how visibly, not what is learned.
FREE_TO_CHANGE = (
    "accelerator",  # the device that it gives is compared instead
    "max_seconds",
    "progress",
    "save_every",
    "save_seconds",
    "strategy",  # the same gradients, reduced in another order
    "tensorboard",
    "timeout_seconds",
)


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        epochs: Passes over the triples, at least 1.
        max_seconds: Stop when so many seconds of training are over, counted over all resumed parts;
            ``None``: no limit.
        optimizer: ``"adam"``, ``"adamw"``, ``"adagrad"``, ``"sgd"``, or ``"rowwise_adagrad"``,
            which keeps one number of state per row of a table (see ``RowwiseAdagrad``).
        learning_rate: At its highest, above 0.
        weight_decay: At least 0 (``"adamw"`` decouples it from the gradient, the others do not).
        schedule: ``"constant"``, or after the warmup down to 0 at the last step, along a line
            (``"linear"``) or half a cosine (``"cosine"``).
        warmup: Share of all steps, in [0, 1), in which the learning rate rises along a line.
        clip_norm: Largest 2-norm of the gradient, all parameters joined; ``None``: as it is.
        precision: ``"32-true"``, ``"64-true"``, ``"bf16-mixed"``, ``"16-mixed"``, ``"bf16-true"``
            or ``"16-true"``.
        patience: Stop after so many validations in a row without an improvement; ``None``: never.
        min_delta: What counts as an improvement for ``patience``: the monitored metric above the
            last improvement by more than this (absolute, at least 0). The best weights are those
            of the highest metric, however small the margin.
        validate_every: Epochs between validations; the last epoch is always validated.
        monitor: The metric that selects the best weights; higher is better.
        leave_out_batch: Encode the graph without the batch's own edges and their inverses, so that
            no fact is in view of its own prediction.
        edge_dropout: In each step leave a random share, in [0, 1), of the facts out of the graph
            that is encoded, with their inverses (of those left, where the batch is left out); for
            encoders with layers. Source: Rong et al. 2020, arXiv 1907.10903 (DropEdge).
        fan_out: Of each entity of a step's facts, and 256 random ones beside, encode so many
            neighbours, drawn anew, a number for each layer; the step's own facts are left out.
            Empty: encode the whole graph.
        fan_out_per_relation: Draw so many neighbours of each relation, not of all together.
        accelerator: ``"auto"``, ``"cpu"``, ``"cuda"`` (or ``"gpu"``) or ``"mps"``.
        strategy: Of the processes that torchrun or srun starts, each with its part of every batch:
            ``"ddp"``, a copy of the model in each; ``"fsdp"``, weights between steps, gradients and
            the optimizer's state cut in parts. ``"auto"``: ddp, or nothing in a single process.
        timeout_seconds: So long a process waits for the others before it takes them for lost.
        seed: Of dropout and of whatever the model draws; batches have a seed of their own.
        save_every: Epochs between resume checkpoints, at least 1.
        save_seconds: Save within an epoch as well, when the last save is so many seconds old.
        progress: Show how training goes, on stderr: a live bar in a terminal, else a few lines.
        tensorboard: Write curves to ``run_dir/tensorboard`` (extra ``tensorboard``).

    Raises:
        ValueError: If a setting is out of range or misspelt.

    Example:
        >>> config = TrainConfig(epochs=5, schedule="cosine", warmup=0.1)
        >>> round(learning_rate_factor(50, 100, config), 3)
        0.587
    """

    epochs: int = 100
    max_seconds: float | None = None
    optimizer: str = "adam"
    learning_rate: float = 1e-2
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup: float = 0.0
    clip_norm: float | None = None
    precision: str = "32-true"
    patience: int | None = None
    min_delta: float = 0.0
    validate_every: int = 1
    monitor: str = "mrr"
    leave_out_batch: bool = False
    edge_dropout: float = 0.0
    fan_out: tuple[int, ...] = ()
    fan_out_per_relation: bool = False
    accelerator: str = "auto"
    strategy: str = "auto"
    timeout_seconds: float = 1800.0
    seed: int = 0
    save_every: int = 1
    save_seconds: float | None = None
    progress: bool = True
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name, known in (
            ("optimizer", tuple(OPTIMIZERS)),
            ("schedule", SCHEDULES),
            ("precision", PRECISIONS),
            ("accelerator", ACCELERATORS),
            ("strategy", STRATEGIES),
        ):
            value = getattr(self, name)
            if value not in known:
                near = get_close_matches(str(value), known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"{name} must be one of {', '.join(known)} (got {value!r}){hint}")
        for name in ("epochs", "validate_every", "save_every", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1 (got {value})")
        for name in ("learning_rate", "clip_norm", "max_seconds", "timeout_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0 (got {value})")
        for name in ("weight_decay", "min_delta", "save_seconds"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must be at least 0 (got {value})")
        if self.fan_out and min(self.fan_out) < 1:
            raise ValueError(f"fan_out needs numbers of at least 1 (got {self.fan_out})")
        if self.fan_out_per_relation and not self.fan_out:
            raise ValueError("fan_out_per_relation needs a fan_out (got none)")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is a share of all steps, in [0, 1) (got {self.warmup})")
        if not 0 <= self.edge_dropout < 1:
            raise ValueError(
                f"edge_dropout is a share of the facts, in [0, 1) (got {self.edge_dropout})"
            )

    def decisive(self) -> dict[str, Any]:
        """The settings that decide what is learned; a resumed run must have the same."""
        settings = {f.name: getattr(self, f.name) for f in fields(self)}
        settings["fan_out"] = list(self.fan_out)  # as JSON has it
        return {name: value for name, value in settings.items() if name not in FREE_TO_CHANGE}


def learning_rate_factor(step: int, total_steps: int, config: TrainConfig) -> float:
    """The factor in [0, 1] of the learning rate at ``step`` (from 0) of ``total_steps``."""
    warmup_steps = round(config.warmup * total_steps)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if config.schedule == "constant":
        return 1.0
    done = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    return 1.0 - done if config.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))


def build_optimizer(
    config: TrainConfig,
    model: nn.Module,
    objective: nn.Module,
    groups: Iterable[Mapping[str, Any]] | None = None,
) -> torch.optim.Optimizer:
    """The optimizer of ``config`` for the parameters of a model and an objective.

    Args:
        config: Optimizer, learning rate, weight decay.
        model: Its parameters that require gradients are trained, or those that ``groups`` name.
        objective: Its own parameters (projections) are trained in any case.
        groups: As torch takes them: ``{"params": [...], "lr": 1e-4}``, with any other option of the
            optimizer; parameters of the model in no group are not trained. ``None``: all alike.

    Raises:
        ValueError: If nothing is left to train, a group holds a parameter of something else, or the
            model has sparse rows and the optimizer would move others.
    """
    known = set(model.parameters()) | set(objective.parameters())
    if groups is None:
        groups = [{"params": [p for p in model.parameters() if p.requires_grad]}]
    chosen: list[dict[str, Any]] = []
    for number, group in enumerate(groups):
        given = group["params"]
        listed = [given] if isinstance(given, Tensor) else list(given)
        strangers = [tuple(p.shape) for p in listed if p not in known]
        if strangers:
            raise ValueError(
                f"parameter_groups[{number}] must hold parameters of the model or the objective "
                f"(got others, of shapes {strangers[:3]})"
            )
        chosen.append({**group, "params": [p for p in listed if p.requires_grad]})
    taken = {p for group in chosen for p in group["params"]}
    own = [p for p in objective.parameters() if p.requires_grad and p not in taken]
    chosen = [group for group in (*chosen, {"params": own}) if group["params"]]
    if not chosen:
        raise ValueError(
            "training needs a parameter to change (got a model and an objective of which every "
            "parameter is frozen or in no group)"
        )
    is_sparse = any(getattr(module, "sparse", False) for module in model.modules())
    if is_sparse:
        _check_sparse(config)
    _check_rounded(config, model)
    numbers = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.optimizer == ROWWISE:
        optimizer: torch.optim.Optimizer = RowwiseAdagrad(chosen, **numbers)
    else:
        devices = {p.device.type for group in chosen for p in group["params"]}
        # fused: one pass over parameters and moments
        fused = not is_sparse and devices <= FUSED_ON[config.optimizer]
        optimizer = OPTIMIZERS[config.optimizer](chosen, **numbers, fused=fused)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def _check_rounded(config: TrainConfig, model: nn.Module) -> None:
    """Refuse to step a table in bfloat16 that would swallow small steps, or not stay as it is."""
    if not any(getattr(module, "is_rounded", False) for module in model.modules()):
        return
    if config.optimizer != ROWWISE or config.precision == "64-true":
        raise ValueError(
            f"a table in bfloat16 needs optimizer {ROWWISE!r}, which rounds so that small steps "
            f"are not lost, and another precision than '64-true' (got {config.optimizer!r} and "
            f"{config.precision!r})"
        )


def _check_sparse(config: TrainConfig) -> None:
    if config.optimizer not in SPARSE:
        raise ValueError(
            f"sparse rows need an optimizer that leaves other rows alone: {', '.join(SPARSE)} "
            f"(got {config.optimizer!r}); set it in the recipe's training"
        )
    for name, value in (("weight_decay", config.weight_decay), ("clip_norm", config.clip_norm)):
        if value:
            raise ValueError(f"sparse rows allow no {name} (got {value})")
