"""How one model is trained by several processes: copies whose gradients are reduced, or shards."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import ClusterEnvironment, LightningEnvironment
from lightning_fabric.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from pyg_kgtransfer.training.config import ROWWISE, TrainConfig
from pyg_kgtransfer.training.processes import (
    end_group_at_exit,
    environment,
    local_size,
    num_processes,
)

_FSDP = "torch.distributed.fsdp"
_MISSING, _ROWS, _WHOLE = range(3)  # gradients; where processes differ the greatest holds
FSDP_PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "16-true")


def training_device(config: TrainConfig) -> torch.device:
    """Where a trainer of ``config`` takes its steps; what an objective reads must be there."""
    place = environment()
    device = Fabric(accelerator=config.accelerator, devices=1, plugins=_alone()).device
    if place is not None and device.type == "cuda":
        return torch.device("cuda", place.local_rank())
    return device


def _alone() -> Any:
    """Where Fabric is to count on no other process."""
    return None if environment() is None else LightningEnvironment()


def fabric_of(config: TrainConfig, module: nn.Module) -> Fabric:
    """The engine for one process, or for all that torchrun or srun started, connected.

    Args:
        config: Device, precision, strategy.
        module: What is trained.

    Raises:
        ValueError: If the strategy needs several processes, or they cannot train this.
    """
    place, precision = environment(), config.precision
    options: dict[str, Any] = {"accelerator": config.accelerator, "precision": precision}
    if place is None:
        if config.strategy != "auto" or num_processes() > 1:
            raise ValueError(
                "several processes are started by torchrun or srun, as "
                "`torchrun --nproc_per_node 2 -m pyg_kgtransfer pretrain ...` "
                f"(got strategy {config.strategy!r} and none of them)"
            )
        return Fabric(devices=1, **options)
    local, device = local_size(place), training_device(config)
    if device.type == "cuda" and torch.cuda.device_count() < local:
        raise ValueError(
            f"each of {local} processes on a machine needs a GPU of its own "
            f"(got {torch.cuda.device_count()}): start fewer, or take accelerator cpu"
        )
    strategy = _strategy(config, module, place.world_size())
    nodes = place.world_size() // local
    fabric = Fabric(devices=local, num_nodes=nodes, strategy=strategy, **options)
    if not dist.is_initialized():
        _connect(place, device, timedelta(seconds=config.timeout_seconds))
        end_group_at_exit()
    fabric.launch()
    return fabric


def _connect(place: ClusterEnvironment, device: torch.device, timeout: timedelta) -> None:
    """Join the group. Where torchrun starts all processes of a machine again, it is a new one.

    The store of torchrun outlives them, with the addresses of those that are gone.
    """
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = place.main_address, str(place.main_port)
    rank, size = place.global_rank(), place.world_size()
    store, _, _ = next(dist.rendezvous("env://", rank, size, timeout=timeout))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if local_size(place) == size:  # agents of several machines may count otherwise
        store = dist.PrefixStore(f"attempt {attempt}", store)
    is_cuda = device.type == "cuda"
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if is_cuda else "gloo",  # objects go over gloo in any case
        store=store, rank=rank, world_size=size, timeout=timeout,
        device_id=device if is_cuda else None,
    )  # fmt: skip


def _strategy(config: TrainConfig, module: nn.Module, world_size: int) -> Strategy:
    if config.strategy != "fsdp":
        return DDPStrategy(
            find_unused_parameters=True,  # frozen parts, what a loss does not read
            broadcast_buffers=False,  # tables of features among them; all processes have the same
            init_sync=False,  # checked instead: whose weights differ is told
        )
    if any(getattr(part, "sparse", False) for part in module.modules()):
        raise ValueError(
            "strategy fsdp spreads the optimizer's state of whole tables, and sparse rows need "
            "none: take one of them (got strategy 'fsdp' and sparse=True)"
        )
    if config.optimizer == ROWWISE:
        raise ValueError(
            f"strategy fsdp goes with optimizers of torch, such as adagrad (got {ROWWISE!r})"
        )
    if config.precision not in FSDP_PRECISIONS:
        raise ValueError(
            f"strategy fsdp goes with precision {', '.join(FSDP_PRECISIONS)} "
            f"(got {config.precision!r})"
        )
    return ModelParallelStrategy(_shard, data_parallel_size=world_size, tensor_parallel_size=1)


def _shard(module: nn.Module, mesh: Any) -> nn.Module:
    fully_shard(module, mesh=mesh["data_parallel"], ignored_params=set(reduced_apart(module)))
    return module


def reduced_apart(module: nn.Module) -> list[nn.Parameter]:
    """Parameters whose gradients the strategy leaves alone: sparse rows, and scalars of shards.

    To be asked before the module is set up, for DDP, and gives the same after.
    """
    sparse = {
        parameter
        for part in module.modules()
        if getattr(part, "sparse", False)
        for parameter in part.parameters(recurse=False)
    }
    return [p for p in module.parameters() if p in sparse or not p.dim()]


def leave_apart(module: nn.Module, apart: list[nn.Parameter]) -> None:
    """Tell DDP, before it is set up, which parameters it is to leave alone."""
    names = [name for name, p in module.named_parameters() if any(p is one for one in apart)]
    if names:
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, names)


@torch.no_grad()
def reduce_apart(parameters: list[nn.Parameter]) -> None:
    """Replace the gradients of these by their mean over all processes; sparse ones stay sparse.

    What a process reads of its own rows decides whether its gradient is of rows, of the whole table
    or missing. So all agree first: a whole one in any of them makes all whole.
    """
    kinds = torch.tensor([_kind(parameter.grad) for parameter in parameters])
    dist.all_reduce(kinds, dist.ReduceOp.MAX)
    for parameter, kind in zip(parameters, kinds.tolist(), strict=True):
        if kind == _MISSING:
            continue
        gradient = parameter.grad if parameter.grad is not None else _no_rows(parameter)
        if kind == _ROWS:  # over gloo, which has it
            rows = gradient.cpu().coalesce()
            dist.all_reduce(rows)
            gradient = rows.to(gradient.device)
        else:
            gradient = gradient.to_dense() if gradient.is_sparse else gradient
            dist.all_reduce(gradient)
        parameter.grad = gradient / num_processes()


def _kind(gradient: Tensor | None) -> int:
    if gradient is None:
        return _MISSING
    return _ROWS if gradient.is_sparse else _WHOLE


def _no_rows(parameter: Tensor) -> Tensor:
    """A gradient that names no row; of a scalar, zero."""
    if not parameter.dim():
        return torch.zeros_like(parameter)
    ids = torch.empty(1, 0, dtype=torch.int64, device=parameter.device)
    values = parameter.new_empty(0, *parameter.shape[1:])
    return torch.sparse_coo_tensor(ids, values, parameter.shape)


@torch.no_grad()
def settle_norms(module: nn.Module) -> None:
    """Give all processes the mean of what each batch norm has seen of its own rows."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            for seen in (part.running_mean, part.running_var):
                if seen is not None:
                    dist.all_reduce(seen)
                    seen /= num_processes()


def whole(value: Tensor) -> Tensor:
    """A tensor with all its shards; every process must ask. Others as they are."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def placed_as(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, cut as ``like`` is."""
    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value
    value = value.to(like.device)
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


@contextmanager
def gathered_parameters(module: nn.Module) -> Iterator[None]:
    """In it the module has whole parameters, for use outside of a training step."""
    if not isinstance(module, FSDPModule):
        yield
        return
    module.unshard()
    try:
        yield
    finally:
        module.reshard()


@torch.no_grad()
def unshard_for_good(module: nn.Module) -> None:
    """Give the parts of a sharded module plain parameters again; every process must ask."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            if isinstance(parameter, DTensor):
                plain = nn.Parameter(parameter.full_tensor(), parameter.requires_grad)
                part.register_parameter(name, plain)
        hooks = part._load_state_dict_post_hooks  # which look for shards in what is loaded
        for key in [k for k, hook in hooks.items() if hook.__module__.startswith(_FSDP)]:
            del hooks[key]


def named_groups(
    groups: Iterable[Mapping[str, Any]] | None, module: nn.Module
) -> list[dict[str, Any]] | None:
    """Groups with the names of parameters in their place, for a strategy may replace them."""
    if groups is None:
        return None
    names: dict[Any, str] = {p: name for name, p in module.named_parameters()}
    found = []
    for group in groups:
        given = group["params"]
        listed = [given] if isinstance(given, Tensor) else list(given)
        found.append({**group, "params": [names.get(p, p) for p in listed]})
    return found


def groups_of_names(
    groups: list[dict[str, Any]] | None, module: nn.Module
) -> list[dict[str, Any]] | None:
    """The groups again, with what has those names now."""
    if groups is None:
        return None
    present = dict(module.named_parameters())
    return [
        {**group, "params": [present[p] if isinstance(p, str) else p for p in group["params"]]}
        for group in groups
    ]
