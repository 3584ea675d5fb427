"""What takes the steps: model, objective and optimizer on one device, in one precision."""

import hashlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors
from pyg_kgtransfer.kernels.engines import forced_engine
from pyg_kgtransfer.models.kg_model import GraphModel
from pyg_kgtransfer.objectives.objective import Batch, Objective
from pyg_kgtransfer.objectives.sampled import OnNeighbours
from pyg_kgtransfer.training.checkpoint_format import weights_digest
from pyg_kgtransfer.training.config import TrainConfig, build_optimizer
from pyg_kgtransfer.training.loss_meter import NotFiniteError
from pyg_kgtransfer.training.processes import (
    check_same,
    gathered,
    mean_over_processes,
    num_processes,
    own_part,
    rank,
    watched,
)
from pyg_kgtransfer.training.resume import (
    Scalars,
    flatten_optimizer,
    module_digest,
    prefixed,
    restore_optimizer,
    without_prefix,
)
from pyg_kgtransfer.training.selection import snapshot
from pyg_kgtransfer.training.strategies import (
    fabric_of,
    gathered_parameters,
    groups_of_names,
    leave_apart,
    named_groups,
    placed_as,
    reduce_apart,
    reduced_apart,
    settle_norms,
    unshard_for_good,
)


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

    Where several processes were started, each learns from its rows of every batch, and the mean of
    their gradients, that of the whole batch, moves the same weights in all of them.

    Args:
        config: Device, precision, optimizer, clipping, strategy.
        model: What is trained.
        objective: What is minimised.
        parameter_groups: As ``build_optimizer`` takes them.

    Raises:
        ValueError: If nothing can be trained so, or processes differ in what they train.
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
        self.module = TrainingStep(model, objective)
        self.fabric = fabric_of(config, self.module)
        self._apart: list[nn.Parameter] = []  # whose gradients are reduced here
        if num_processes() > 1:
            with watched(lambda: "before the first step"):
                self._prepare_to_share()
        given = named_groups(parameter_groups, self.module)
        with warnings.catch_warnings():  # broadcast_buffers: what is to replace it does the same
            warnings.simplefilter("ignore", FutureWarning)
            self._wrapped = self.fabric.setup_module(self.module)
        groups = groups_of_names(given, self.module)
        self._optimizer = build_optimizer(config, model, objective, groups)
        for group in self._optimizer.param_groups if self.is_sharded else ():
            group["fused"] = group["foreach"] = False  # not there for shards, or not for all
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

    def _prepare_to_share(self) -> None:
        check_same(
            {
                "settings": self.config.decisive(),
                "model": module_digest(self.module.model),
                "objective": module_digest(self.module.objective),
                "weights": weights_digest(self.module),
                "data of the objective": _buffers_digest(self.module.objective),
                "version of torch": torch.__version__,
            }
        )
        apart = reduced_apart(self.module)
        if self.config.strategy != "fsdp":
            apart = [p for p in apart if p.dim()]
            leave_apart(self.module, apart)
        self._apart = apart
        self.fabric.to_device(self.module)

    def terms(self, graph: GraphTensors, batch: Batch) -> dict[str, Tensor]:
        """The loss of a batch; in one of several processes, that of its own rows.

        The mean of a term over processes is that of the whole batch.

        Raises:
            ValueError: If the objective gives no term, or one that is not a scalar.
        """
        seen = graph.without(batch.triples) if self.config.leave_out_batch else graph
        if self.config.edge_dropout:
            seen, _ = seen.thinned(self.config.edge_dropout, batch.generator)
        if num_processes() > 1:
            batch = batch.part(*own_part(len(batch.triples)))
        with self._engine():
            terms: dict[str, Tensor] = self._wrapped(seen, batch)
        if not terms:
            raise ValueError("the objective must give at least one term (got none: all weigh 0)")
        for name, term in terms.items():
            if term.dim():
                raise ValueError(
                    f"each term of the loss must be a scalar (got {tuple(term.shape)} for {name!r})"
                )
        if num_processes() > 1:
            terms = {n: t * (num_processes() * batch.weight) for n, t in terms.items()}
        return terms

    def descend(self, terms: Mapping[str, Tensor], *, learning_rate_factor: float) -> None:
        """One optimizer step down the sum of ``terms``."""
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * learning_rate_factor
        self.module.zero_grad(set_to_none=True)
        with self._engine():
            self.fabric.backward(torch.stack(list(terms.values())).sum())
        if self._apart:
            reduce_apart(self._apart)
        if self.config.clip_norm is not None:
            self.fabric.clip_gradients(
                self._wrapped,
                self._wrapped_optimizer,
                max_norm=self.config.clip_norm,
                error_if_nonfinite=False,  # a check that waits for the device at every step
            )
        self._wrapped_optimizer.step()
        if self.is_sharded:  # before the next step's backward pass its shards are not in place
            self.module.zero_grad(set_to_none=True)

    @contextmanager
    def without_reducing(self) -> Iterator[None]:
        """In it each process keeps gradients of its own: to measure what reducing them costs."""
        apart, self._apart = self._apart, []
        try:
            with self.fabric.no_backward_sync(self._wrapped, enabled=num_processes() > 1):
                yield
        finally:
            self._apart = apart

    def check_weights(self, *, epoch: int, step: int) -> None:
        """Refuse weights that are not finite: the loss was, so a gradient was not.

        Raises:
            NotFiniteError: Names the parameters.
        """
        named = [(n, p) for n, p in self.module.named_parameters() if p.is_floating_point()]
        own = [getattr(p, "to_local", lambda p=p: p)() for _, p in named]  # of shards, its own
        finite = torch.stack([_is_finite(p.detach()) for p in own])
        shares = (
            mean_over_processes(finite.float()).tolist() if self.is_sharded else finite.tolist()
        )
        broken = [name for (name, _), fine in zip(named, shares, strict=True) if fine < 1]
        if broken:
            raise NotFiniteError(
                f"weights must be finite (got NaN or infinity in {', '.join(broken[:3])} at step "
                f"{step}, in epoch {epoch})"
            )

    def state(self) -> tuple[dict[str, Tensor], Scalars]:
        """Weights, optimizer, gradient scaler and random states, for the resume checkpoint."""
        moments, scalars = flatten_optimizer(self._optimizer)
        tensors = prefixed("module.", snapshot(self.module)) | prefixed("optimizer.", moments)
        tensors |= self.random_states()
        return tensors, {
            "optimizer": scalars,
            "precision": self.fabric.strategy.precision.state_dict(),
        }

    def restore(self, tensors: Mapping[str, Tensor], scalars: Scalars) -> None:
        """Take back what ``state`` gave."""
        self.load(without_prefix("module.", tensors))
        restore_optimizer(
            self._optimizer, without_prefix("optimizer.", tensors), scalars["optimizer"]
        )
        self.fabric.strategy.precision.load_state_dict(scalars["precision"])
        self.restore_random_states(tensors)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Give the module these weights, as ``snapshot`` has them."""
        like = self.module.state_dict()
        self.module.load_state_dict({n: placed_as(w, like[n]) for n, w in weights.items()})

    @property
    def is_sharded(self) -> bool:
        """Whether each process holds a part of the weights."""
        return isinstance(self.module, FSDPModule)

    @contextmanager
    def whole_weights(self) -> Iterator[None]:
        """In it the model can be used outside of a step."""
        if num_processes() > 1:
            settle_norms(self.module)
        with self._engine(), gathered_parameters(self.module):
            yield

    def _engine(self) -> AbstractContextManager[None]:
        """Shards are freed after use, which memory that NumPy has seen cannot be."""
        is_seen = self.is_sharded and self.device.type == "cpu"
        return forced_engine("torch") if is_seen else nullcontext()

    def finish(self, best: Mapping[str, Tensor]) -> None:
        """Leave the model with these weights, or where there are none with the last ones."""
        if self.is_sharded:
            unshard_for_good(self.module)
        if best:
            self.load(best)
        self.module.zero_grad(set_to_none=True)
        self.module.eval()

    def random_states(self) -> dict[str, Tensor]:
        """Those of torch; of further processes by their rank, where they are others."""
        kinds = {"random.cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            kinds["random.cuda"] = torch.cuda.get_rng_state(self.device)
        states: dict[str, Tensor] = {}
        for kind, state in kinds.items():
            first, *others = gathered(state)
            states[kind] = first
            if not all(torch.equal(first, other) for other in others):
                states |= {f"{kind}.{number}": s for number, s in enumerate(others, start=1)}
        return states

    def restore_random_states(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what ``random_states`` gave.

        Raises:
            ValueError: If each of several processes drew by itself, and now there are others.
        """
        kinds = ("random.cpu", "random.cuda") if self.device.type == "cuda" else ("random.cpu",)
        for kind in kinds:
            several = [name for name in tensors if name.startswith(f"{kind}.")]
            if several and len(several) + 1 != num_processes():
                raise ValueError(
                    f"this run draws in each of {len(several) + 1} processes by itself, and goes "
                    f"on with as many alone (got {num_processes()})"
                )
            own = tensors[f"{kind}.{rank()}" if several and rank() else kind]
            if kind == "random.cpu":
                torch.set_rng_state(own)
            else:
                torch.cuda.set_rng_state(own, self.device)


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


def _buffers_digest(objective: Objective) -> str:
    """The sha256 of what an objective keeps beside parameters, stored with it or not."""
    digest = hashlib.sha256()
    for name, kept in objective.named_buffers():
        digest.update(f"{name} {kept.dtype} {tuple(kept.shape)}\n".encode())
        digest.update(
            kept.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        )
    return digest.hexdigest()
