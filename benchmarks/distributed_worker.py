"""One of the processes of ``benchmarks.distributed``; torchrun, or nothing, starts it.

python -m benchmarks.distributed_worker SPEC.json OUT.json
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from benchmarks.training import many_entities
from pyg_kgtransfer.models.build import ModelConfig, build_model
from pyg_kgtransfer.objectives.build import ObjectiveConfig, build_objective
from pyg_kgtransfer.sources.datasets import load
from pyg_kgtransfer.training.batches import BatchOptions, TripleBatches
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.training.learner import Learner
from pyg_kgtransfer.training.processes import mean_over_processes, num_processes, rank

Json = dict[str, Any]


class Steps:
    """Steps of one model, each on the next batch.

    Args:
        spec: ``data`` (a name, or how many entities to make up), ``width``, ``sparse``, ``batch``,
            ``negatives``, ``strategy``.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        torch.manual_seed(0)
        data = spec["data"]
        split = many_entities(data) if isinstance(data, int) else load(data, offline=True)
        graph = split.train
        model = ModelConfig(
            encoder="shallow", decoder="distmult", width=spec["width"], sparse=spec["sparse"]
        )
        loss = ObjectiveConfig("softplus", num_negatives=spec["negatives"], shared_negatives=True)
        training = TrainConfig(
            optimizer="adagrad", learning_rate=0.1, accelerator="cpu", timeout_seconds=120,
            strategy=spec["strategy"] if spec["processes"] > 1 else "auto",
        )  # fmt: skip
        self.learner = Learner(
            training,
            build_model(model, num_entities=graph.num_entities, num_relations=graph.num_relations),
            build_objective(loss, split.known(("train",))),
            None,
        )
        self.batches = TripleBatches(graph.triples, BatchOptions(batch_size=spec["batch"]))
        self.graph, self.done = graph.tensors(), 0
        whole = len(graph.triples) // spec["batch"]  # every batch timed is a full one
        self.per_epoch = max(whole, 1)

    def step(self) -> Tensor:
        """Take one, and give this process's part of the loss, whose mean is that of the batch.

        Nothing is asked of other processes but what the learner asks.
        """
        batch = self.batches.batch(*divmod(self.done, self.per_epoch))
        terms = self.learner.terms(self.graph, batch)
        self.learner.descend(terms, learning_rate_factor=1.0)
        self.done += 1
        return torch.stack(list(terms.values())).sum().detach().double()

    def gradient_bytes(self) -> tuple[int, int]:
        """What a process gives away of dense gradients, and of rows with their ids, in bytes."""
        with self.learner.without_reducing():
            self.step()
        dense = rows = 0
        for parameter in self.learner.module.parameters():
            gradient = parameter.grad
            if gradient is not None and gradient.is_sparse:
                gradient = gradient.coalesce()
                values, ids = gradient.values(), gradient.indices()
                rows += values.numel() * values.element_size() + ids.numel() * ids.element_size()
            elif gradient is not None:
                dense += gradient.numel() * gradient.element_size()
        return dense, rows


def seconds_of(work: Callable[[], object], steps: int) -> float:
    """Of one step, when all processes have done so many."""
    if num_processes() > 1:
        dist.barrier()
    start = time.perf_counter()
    for _ in range(steps):
        work()
    if num_processes() > 1:
        dist.barrier()
    return (time.perf_counter() - start) / steps


def timed(steps: Steps, *, number: int, repeats: int) -> Json:
    """Seconds of a step with its reduction and without it, turn by turn."""
    whole: list[float] = []
    alone: list[float] = []
    reduces = num_processes() > 1 and not steps.learner.is_sharded
    seconds_of(steps.step, number)  # untimed
    for _ in range(repeats):
        whole.append(seconds_of(steps.step, number))
        if reduces:
            with steps.learner.without_reducing():
                alone.append(seconds_of(steps.step, number))
    return {"seconds": whole, "seconds_alone": alone}


def reductions(sizes: list[int], repeats: int) -> list[tuple[int, float]]:
    """Bytes of a tensor, and the median seconds of its all-reduce."""
    found = []
    for size in sizes:
        numbers = torch.ones(size // 4)
        dist.all_reduce(numbers)
        taken = [seconds_of(lambda x=numbers: dist.all_reduce(x), 1) for _ in range(repeats)]
        found.append((size, statistics.median(taken)))
    return found


def work(spec: Mapping[str, Any]) -> Json:
    """What a spec asks for."""
    torch.set_num_threads(spec["threads"])
    steps = Steps(spec)
    losses = [mean_over_processes(steps.step()) for _ in range(spec["losses"])]
    found: Json = {"losses": [float(loss) for loss in losses]}
    found |= timed(steps, number=spec["steps"], repeats=spec["repeats"])
    if not steps.learner.is_sharded:
        found["dense_bytes"], found["sparse_bytes"] = steps.gradient_bytes()
    if num_processes() > 1 and spec["reduce"]:
        found["reductions"] = reductions(spec["reduce"], spec["repeats"])
    return found


if __name__ == "__main__":
    result = work(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    if rank() == 0:
        Path(sys.argv[2]).write_text(json.dumps(result), encoding="utf-8")
