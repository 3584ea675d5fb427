"""The parts of the benchmark ``scale``, each in a process of its own: its memory is its own."""

import multiprocessing
import os
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.timing import resident_bytes
from pyg_kgtransfer.evaluation.supplied_ranking import SuppliedRanking
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.graph.supplied_negatives import SuppliedNegatives
from pyg_kgtransfer.models.build import ModelConfig, build_model
from pyg_kgtransfer.objectives.build import ObjectiveConfig, build_objective
from pyg_kgtransfer.process import prepare
from pyg_kgtransfer.sources.mapped import read_mapped, write_mapped
from pyg_kgtransfer.sources.synthetic_large import LargeOptions, large_planted
from pyg_kgtransfer.training.batches import BatchOptions, TripleBatches
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.training.learner import Learner
from pyg_kgtransfer.training.partition import Partition
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.pretrain_partitioned import pretrain_partitioned
from pyg_kgtransfer.transfer.ranking import alone
from pyg_kgtransfer.transfer.recipe import Recipe

GB = 1e9
BATCH, STEP, NEGATIVES, PER_QUERY = 1024, 4096, 256, 500  # STEP: beside other libraries
Figures = dict[str, float]


def in_a_process(work: Callable[..., Figures], *given: Any) -> Figures:
    """The figures of ``work`` done in a fresh process, with its highest memory in GB.

    Raises:
        RuntimeError: If the process ends without an answer.
    """
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(send, work, given))
    process.start()
    send.close()
    try:
        found: Figures = receive.recv()
    except EOFError:
        process.join()
        raise RuntimeError(
            f"{work.__name__} ended without an answer (exit code {process.exitcode}; -9: killed, "
            "perhaps for its memory)"
        ) from None
    process.join()
    return found


def _answer(send: Any, work: Callable[..., Figures], given: tuple[Any, ...]) -> None:
    prepare()
    found = work(*given)
    send.send({**found, "peak_gb": resident_bytes("VmHWM") / GB})
    send.close()


def built(options: Mapping[str, Any], folder: Path) -> Figures:
    """Make the graph, with negatives, and write it to a folder."""
    began = time.perf_counter()
    split = large_planted(LargeOptions(**options))
    generator = torch.Generator().manual_seed(1)
    size = split.train.num_entities

    def with_negatives(held_out: HeldOut) -> HeldOut:
        drawn = torch.randint(size, (2, len(held_out), PER_QUERY), generator=generator)
        return replace(held_out, negatives=SuppliedNegatives(*drawn.int().unbind(0)))

    split = Split(split.train, with_negatives(split.valid), with_negatives(split.test))
    made = time.perf_counter()
    write_mapped(split, folder)
    written = sum(path.stat().st_size for path in folder.iterdir())
    return {
        "seconds": made - began,
        "write_seconds": time.perf_counter() - made,
        "file_gb": written / GB,
    }


def loaded(folder: Path) -> Figures:
    """Open the graph, and touch every fact of it."""
    before = resident_bytes("RssAnon")
    began = time.perf_counter()
    split = read_mapped(folder)
    opened = time.perf_counter()
    degrees = split.train.degrees()
    return {
        "seconds": opened - began,
        "degrees_seconds": time.perf_counter() - opened,
        "own_memory_gb": (resident_bytes("RssAnon") - before) / GB,
        "largest_degree": float(degrees.max()),
        "triples": float(split.train.num_triples),
        "entities": float(split.train.num_entities),
        "relations": float(split.train.num_relations),
    }


class MemoryWatch:
    """What the process holds, read every second: its own pages, not those of mapped files."""

    def __init__(self) -> None:
        self.samples = [resident_bytes("RssAnon") / GB]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(1.0):
            self.samples.append(resident_bytes("RssAnon") / GB)

    def figures(self) -> Figures:
        """The mean of the second and of the last quarter of the time, and the highest."""
        quarter = max(1, len(self.samples) // 4)
        early = statistics.mean(self.samples[quarter : 2 * quarter] or self.samples)
        late = statistics.mean(self.samples[-quarter:])
        return {
            "memory_second_quarter_gb": early,
            "memory_last_quarter_gb": late,
            "memory_highest_gb": max(self.samples),
        }


def recipe_of(
    seconds: float, model: Mapping[str, Any], training: Mapping[str, Any] | None = None
) -> Recipe:
    """Softplus loss with shared negatives, row-wise Adagrad, for so many seconds."""
    settings = {"epochs": 100, "optimizer": "rowwise_adagrad", "learning_rate": 0.01,
                "progress": False, "accelerator": "cpu", "max_seconds": seconds}  # fmt: skip
    return Recipe(
        ModelConfig(**{"encoder": "shallow", "decoder": "complex", "width": 100, "sparse": True,
                       "reciprocal": False, **model}),
        ObjectiveConfig("softplus", num_negatives=NEGATIVES, shared_negatives=True),
        BatchOptions(batch_size=BATCH),
        TrainConfig(**{**settings, **(training or {})}),
    )  # fmt: skip


def facts_in(steps: float, num_triples: int) -> float:
    """Facts of so many steps: an epoch's last batch is what is left of it."""
    epochs, rest = divmod(steps, -(-num_triples // BATCH))
    return epochs * num_triples + rest * BATCH


def trained(folder: Path, seconds: float, model: Mapping[str, Any]) -> Figures:
    """Train in memory for a while, and rank the test facts among their negatives."""
    split = read_mapped(folder)
    recipe = recipe_of(seconds, model)
    began = time.perf_counter()
    watch = MemoryWatch()
    with watch:
        checkpoint = pretrain(alone(split.train), recipe=recipe)
    total = time.perf_counter() - began
    facts = facts_in(checkpoint.metrics["steps"], split.train.num_triples)
    per_second = facts / checkpoint.metrics["seconds"]
    began = time.perf_counter()
    vectors = checkpoint.model.encode(split.train.tensors())
    metrics = SuppliedRanking.from_split(split)(checkpoint.model, vectors).metrics()
    ranked = time.perf_counter() - began
    return {
        "triples_per_second": per_second,
        "epochs": facts / split.train.num_triples,
        "training_seconds": checkpoint.metrics["seconds"],
        "seconds_beside_steps": total - checkpoint.metrics["seconds"],
        "mrr_of_500": metrics["mrr"],
        "hits@10_of_500": metrics["hits@10"],
        "evaluation_queries_per_second": 2 * len(split.test) / ranked,
        **watch.figures(),
    }


def partitioned(
    folder: Path, run_dir: Path, seconds: float, width: int, num_buckets: int
) -> Figures:
    """Train a table of so many numbers an entity in buckets for a while; ranks where it lies."""
    split = read_mapped(folder)
    recipe = recipe_of(seconds, {"width": width})
    watch = MemoryWatch()
    with watch:
        model = pretrain_partitioned(
            split.train, recipe=recipe, run_dir=run_dir,
            partition=Partition(num_buckets, save_every=num_buckets),
        )  # fmt: skip
    few = replace(
        split.test,
        triples=split.test.triples[:1000],
        negatives=split.test.negatives.select(torch.arange(min(1000, len(split.test)))),
    )
    began = time.perf_counter()
    ranking = SuppliedRanking(few, split.train.num_entities)
    metrics = ranking(model, model.representations()).metrics()
    return {
        "triples_per_second": model.num_triples / model.history.seconds,
        "training_seconds": model.history.seconds,
        "table_gb": split.train.num_entities * width * 4 / GB,
        "disk_gb": sum(f.stat().st_size for f in run_dir.rglob("*") if f.is_file()) / GB,
        "epochs": model.num_triples / split.train.num_triples,
        "mrr_of_500": metrics["mrr"],
        "evaluation_queries_per_second": 2 * len(few) / (time.perf_counter() - began),
        **watch.figures(),
    }


def on_neighbours(folder: Path, seconds: float, per_relation: bool) -> Figures:
    """Train CompGCN on drawn neighbours for a while."""
    split = read_mapped(folder)
    fan_out = (1,) if per_relation else (10, 5)  # an entity here has facts of many relations
    drawn = {"fan_out": fan_out, "fan_out_per_relation": per_relation}
    model = {"encoder": "compgcn", "width": 64, "layers": len(fan_out)}
    recipe = recipe_of(seconds, model, drawn)
    watch = MemoryWatch()
    with watch:
        checkpoint = pretrain(alone(split.train), recipe=recipe)
    metrics = checkpoint.metrics
    return {
        "triples_per_second": facts_in(metrics["steps"], split.train.num_triples)
        / metrics["seconds"],
        "training_seconds": metrics["seconds"],
        **watch.figures(),
    }


def compared(folder: Path, other: str, steps: Mapping[str, int], repeats: int) -> Figures:
    """Our steps and another library's on the same graph, turn by turn in one process."""
    from benchmarks import timing
    from benchmarks.scale_others import OTHERS

    split = read_mapped(folder)
    task = OTHERS[other]
    ours = our_steps(split, steps["ours"], task.num_negatives, shared=task.shared)
    theirs = task.steps(split, steps["theirs"])
    paired = timing.alternate(ours, theirs, repeats=repeats)
    found = paired.figures("speedup", scale=steps["ours"] / steps["theirs"])
    return found | {
        "triples_per_second": steps["ours"] * STEP / found["speedup.ours_seconds"],
        "triples_per_second.theirs": steps["theirs"] * STEP / found["speedup.theirs_seconds"],
    }


def our_steps(
    split: Split, steps: int, num_negatives: int, *, shared: bool
) -> Callable[[], object]:
    """So many steps of DistMult, width 100, with so many negatives a side."""
    graph = split.train
    torch.manual_seed(0)
    config = ModelConfig(
        encoder="shallow", decoder="distmult", width=100, sparse=True, reciprocal=False
    )
    sizes = {"num_entities": graph.num_entities, "num_relations": graph.num_relations}
    loss = ObjectiveConfig("softplus", num_negatives=num_negatives, shared_negatives=shared)
    objective = build_objective(loss, KnownTriples([], **sizes))
    training = TrainConfig(
        optimizer="rowwise_adagrad", learning_rate=0.1, progress=False, accelerator="cpu"
    )
    learner = Learner(training, build_model(config, **sizes), objective, None)
    batches = TripleBatches(graph.triples, BatchOptions(batch_size=STEP))
    tensors = graph.with_triples(graph.triples[:0]).tensors()

    done = 0

    def work() -> None:
        nonlocal done
        for step in range(done, done + steps):  # each call goes on to new batches
            batch = batches.batch(step // len(batches), step % len(batches))
            learner.descend(learner.terms(tensors, batch), learning_rate_factor=1.0)
        done += steps

    return work


def shape_of(options: LargeOptions) -> dict[str, Any]:
    """The options as JSON has them."""
    return asdict(options)


def machine() -> dict[str, float]:
    """Cores and memory."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"cores": float(os.cpu_count() or 1), "memory_gb": pages / GB}
