"""What takes the steps: model, objective and optimizer on one device, in one precision."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors
from pyg_kgtransfer.models.kg_model import GraphModel
from pyg_kgtransfer.objectives.objective import Batch, Objective
from pyg_kgtransfer.objectives.sampled import OnNeighbours
from pyg_kgtransfer.training.config import TrainConfig, build_optimizer
from pyg_kgtransfer.training.loss_meter import NotFiniteError
from pyg_kgtransfer.training.resume import (
    Scalars,
    flatten_optimizer,
    prefixed,
    restore_optimizer,
    without_prefix,
)
from pyg_kgtransfer.training.selection import snapshot


class TrainingStep(nn.Module):
    """Encoding and loss as one forward pass, so that precision and device strategies see it whole.

    Args:
        model: What is trained.
        objective: What is minimised; its own parameters are trained as well.
    """

    def __init__(self, model: GraphModel, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, graph: GraphTensors, batch: Batch) -> dict[str, Tensor]:
        """The named terms of the loss, scalars that sum to it."""
        representations: Any = None if self.objective.encodes_itself else self.model.encode(graph)
        return self.objective.terms(self.model, representations, batch)


class Learner:
    """Moves model and objective to the device and takes optimizer steps.

    Args:
        config: Device, precision, optimizer, clipping.
        model: What is trained.
        objective: What is minimised.
        parameter_groups: As ``build_optimizer`` takes them.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: GraphModel,
        objective: Objective,
        parameter_groups: Iterable[Mapping[str, Any]] | None,
    ) -> None:
        self.config = config
        _check_effective(config, model, objective)
        precision: Any = config.precision  # checked against fabric's names by the config
        self.fabric = Fabric(accelerator=config.accelerator, devices=1, precision=precision)
        self.module = TrainingStep(model, objective)
        self._wrapped = self.fabric.setup_module(self.module)
        self._optimizer = build_optimizer(config, model, objective, parameter_groups)
        self._wrapped_optimizer: Any = self.fabric.setup_optimizers(self._optimizer)

    @property
    def device(self) -> torch.device:
        """Where the steps run."""
        return self.fabric.device

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """What takes the steps."""
        return self._optimizer

    @property
    def learning_rate(self) -> float:
        """That of the first group at the last step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def terms(self, graph: GraphTensors, batch: Batch) -> dict[str, Tensor]:
        """The loss of a batch.

        Raises:
            ValueError: If the objective gives no term, or one that is not a scalar.
        """
        seen = graph.without(batch.triples) if self.config.leave_out_batch else graph
        if self.config.edge_dropout:
            seen, _ = seen.thinned(self.config.edge_dropout, batch.generator)
        terms: dict[str, Tensor] = self._wrapped(seen, batch)
        if not terms:
            raise ValueError("the objective must give at least one term (got none: all weigh 0)")
        for name, term in terms.items():
            if term.dim():
                raise ValueError(
                    f"each term of the loss must be a scalar (got {tuple(term.shape)} for {name!r})"
                )
        return terms

    def descend(self, terms: Mapping[str, Tensor], *, learning_rate_factor: float) -> None:
        """One optimizer step down the sum of ``terms``."""
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * learning_rate_factor
        self.module.zero_grad(set_to_none=True)
        self.fabric.backward(torch.stack(list(terms.values())).sum())
        if self.config.clip_norm is not None:
            self.fabric.clip_gradients(
                self._wrapped,
                self._wrapped_optimizer,
                max_norm=self.config.clip_norm,
                error_if_nonfinite=False,  # a check that waits for the device at every step
            )
        self._wrapped_optimizer.step()

    def check_weights(self, *, epoch: int, step: int) -> None:
        """Refuse weights that are not finite: the loss was, so a gradient was not.

        Raises:
            NotFiniteError: Names the parameters.
        """
        named = [(n, p) for n, p in self.module.named_parameters() if p.is_floating_point()]
        finite = torch.stack([_is_finite(p.detach()) for _, p in named]).tolist()
        broken = [name for (name, _), fine in zip(named, finite, strict=True) if not fine]
        if broken:
            raise NotFiniteError(
                f"weights must be finite (got NaN or infinity in {', '.join(broken[:3])} at step "
                f"{step}, in epoch {epoch})"
            )

    def state(self) -> tuple[dict[str, Tensor], Scalars]:
        """Weights, optimizer, gradient scaler and random states, for the resume checkpoint."""
        moments, scalars = flatten_optimizer(self._optimizer)
        tensors = prefixed("module.", snapshot(self.module)) | prefixed("optimizer.", moments)
        tensors["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        return tensors, {
            "optimizer": scalars,
            "precision": self.fabric.strategy.precision.state_dict(),
        }

    def restore(self, tensors: Mapping[str, Tensor], scalars: Scalars) -> None:
        """Take back what ``state`` gave."""
        self.module.load_state_dict(without_prefix("module.", tensors))
        restore_optimizer(
            self._optimizer, without_prefix("optimizer.", tensors), scalars["optimizer"]
        )
        self.fabric.strategy.precision.load_state_dict(scalars["precision"])
        torch.set_rng_state(tensors["random.cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)


def _is_finite(weights: Tensor) -> Tensor:
    """Whether all numbers are finite, in one pass without a copy: NaN is the least and the most."""
    if not weights.numel():
        return torch.ones((), dtype=torch.bool, device=weights.device)
    return torch.isfinite(torch.stack(torch.aminmax(weights))).all()


def _check_effective(config: TrainConfig, model: GraphModel, objective: Objective) -> None:
    """Refuse settings that this objective or model would pass over in silence."""
    if config.fan_out and not any(isinstance(each, OnNeighbours) for each in objective.modules()):
        raise ValueError(
            "fan_out is carried out by an objective, OnNeighbours, as recipes make it "
            f"(got {config.fan_out} and a {type(objective).__name__})"
        )
    if config.edge_dropout:
        layers = getattr(getattr(model, "encoder", None), "num_layers", 0)
        if objective.encodes_itself or not layers:
            raise ValueError(
                "edge_dropout needs an encoder with layers and an objective that reads what it "
                f"encodes (got {config.edge_dropout}, {layers} layers and a "
                f"{type(objective).__name__})"
            )
