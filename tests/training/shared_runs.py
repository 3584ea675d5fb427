"""What one process and two processes train alike."""

import errno
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch

import pyg_kgtransfer as kgt
from benchmarks.distributed_worker import Steps
from pyg_kgtransfer.cli import main
from pyg_kgtransfer.process import place_among_processes
from pyg_kgtransfer.training.strategies import reduce_apart, training_device

NORMS = {"encoder": "compgcn", "decoder": "conve", "reciprocal": True}
SIZE = 30  # entities
SHALLOW = {"encoder": "shallow"}
SOFTPLUS = {"loss": "softplus", "num_negatives": 3}
# name -> model, loss, batch size and training, where they are not as usual
CASES: dict[str, tuple[dict, dict, int, dict]] = {
    "layers": ({"encoder": "rgcn"}, {"n3": 0.1}, 40, {"leave_out_batch": True, "clip_norm": 0.5}),
    "dropout": ({"encoder": "compgcn", "dropout": 0.2}, {}, 40, {"edge_dropout": 0.2}),
    "independent": (SHALLOW, {**SOFTPLUS, "filtered": True}, 40, {}),
    "shared": (SHALLOW, {"loss": "self_adversarial", "shared_negatives": True}, 71, {}),
    "sparse": ({**SHALLOW, "sparse": True}, SOFTPLUS, 40, {"optimizer": "adagrad"}),
    "all answers": (SHALLOW, {"loss": "k_vs_all", "label_smoothing": 0.1}, 40, {}),
    "candidates": (SHALLOW, {"num_candidates": 5, "balance": 0.5}, 40, {}),
    "foundation": ({"encoder": "foundation"}, SOFTPLUS, 40, {}),
    "one a batch": (SHALLOW, {}, 1, {"epochs": 1}),
    "sharded": (
        {"encoder": "rgcn"},
        {"n3": 0.1},
        40,
        {"strategy": "fsdp", "precision": "32-true", "clip_norm": 0.5},
    ),
    "sharded, Adagrad": (
        SHALLOW,
        {},
        40,
        {"strategy": "fsdp", "precision": "32-true", "optimizer": "adagrad"},
    ),
}
# where sums are rounded to 8 bits, or each process has norms and draws of its own rows
OWN_ROWS = {
    "rounded": (
        {**SHALLOW, "sparse": True, "table": "bfloat16"},
        SOFTPLUS,
        40,
        {"optimizer": "rowwise_adagrad", "precision": "32-true"},
    ),
    "norms": (NORMS, {}, 40, {}),
    "neighbours": ({"encoder": "rgcn"}, SOFTPLUS, 40, {"fan_out": (3,)}),
    "rows of neighbours": (  # which are all entities in one process at times, and not in the other
        {"encoder": "compgcn", "layers": 1, "sparse": True},
        SOFTPLUS,
        40,
        {"fan_out": (3,), "optimizer": "adagrad"},
    ),
}  # fmt: skip


def split_of(seed: int = 0) -> kgt.Split:
    """119 random facts, of which 11 each are held out: an odd number for two processes."""
    generator = torch.Generator().manual_seed(seed)
    ends = torch.randint(SIZE, (2, 119), generator=generator)
    relation = torch.randint(3, (119,), generator=generator)
    graph = kgt.KnowledgeGraph.from_names(
        [], entities=map(str, range(SIZE)), relations=list("rst"), name="random"
    )
    triples = torch.stack([ends[0], relation, ends[1]], dim=1)
    return kgt.random_split(graph.with_triples(triples), 0.1, 0.1)


def recipe_of(name: str) -> kgt.Recipe:
    model, loss, size, training = (CASES | OWN_ROWS)[name]
    options = {"epochs": 2, "precision": "64-true", "learning_rate": 0.05, **training}
    options["timeout_seconds"] = 60  # should two wait for each other
    if place_among_processes()[1] == 1:
        options.pop("strategy", None)
    return kgt.Recipe(
        kgt.ModelConfig(width=16, **model),
        kgt.ObjectiveConfig(**loss),
        kgt.BatchOptions(batch_size=size),
        kgt.TrainConfig(progress=False, accelerator="cpu", **options),
    )


def trained(name: str, run_dir: Path | None = None) -> dict[str, torch.Tensor]:
    """Weights, and the curves of losses and metrics."""
    split, recipe = split_of(), recipe_of(name)
    checkpoint = kgt.pretrain(kgt.link([split.train], []), [split], recipe=recipe, run_dir=run_dir)
    found = {f"weights.{n}": p.detach() for n, p in checkpoint.model.state_dict().items()}
    for key in ("mrr", "hits@1", "hits@10"):
        found[key] = torch.tensor([row[key] for row in checkpoint.metrics["curve"]])
    return found


def refused(change: Callable[[int], tuple[int, kgt.Recipe]], run_dir: Path | None = None) -> str:
    """What is said where the second process has another data or other settings."""
    seed, recipe = change(place_among_processes()[0])
    split = split_of(seed)
    try:
        kgt.pretrain(kgt.link([split.train], []), [split], recipe=recipe, run_dir=run_dir)
    except (ValueError, OSError) as error:
        return str(error)
    return "nothing"


def with_rate(rank: int) -> kgt.Recipe:
    recipe = recipe_of("independent")
    rate = 0.05 + 0.01 * rank
    return replace(recipe, training=replace(recipe.training, learning_rate=rate))


def gradients() -> list[torch.Tensor | None]:
    """One of each kind, of a table of three rows."""
    rows = torch.sparse_coo_tensor([[2, 1]], torch.ones(2, 2), (3, 2))
    return [None, rows, torch.arange(6.0).view(3, 2)]


def reduced(rank: int) -> list[torch.Tensor | None]:
    """Their means, each in one process with each in the other."""
    pairs = list(product(gradients(), repeat=2))
    tables = [torch.nn.Parameter(torch.zeros(3, 2)) for _ in pairs]
    for table, pair in zip(tables, pairs, strict=True):
        table.grad = None if pair[rank] is None else pair[rank].clone()
    reduce_apart(tables)
    return [table.grad for table in tables]


def asked_in_a_step() -> dict[str, list[str]]:
    """What a step of the benchmark asks of the other process, reducing gradients and not."""
    spec = {
        "data": 500, "width": 8, "sparse": True, "batch": 64, "negatives": 4, "strategy": "ddp",
        "processes": 2,
    }  # fmt: skip
    steps = Steps(spec)
    found = {}
    for name, setting in (("alone", steps.learner.without_reducing()), ("whole", nullcontext())):
        with setting, torch.profiler.profile() as seen:
            steps.step()
        found[name] = [event.key for event in seen.key_averages() if "all_reduce" in event.key]
    return found


def full_disk(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def everything(folder: Path) -> None:
    """Train all cases, try what is refused, and save what was found, for each rank."""
    rank, _ = place_among_processes()
    found: dict[str, object] = {name: trained(name) for name in (*CASES, *OWN_ROWS)}
    found["kinds"] = reduced(rank)
    found["asked"] = asked_in_a_step()
    found["recorded"] = trained("layers", folder / "run")
    usual = recipe_of("independent")
    found["data"] = refused(lambda rank: (rank, usual))
    found["settings"] = refused(lambda rank: (0, with_rate(rank)))
    found["run_dir"] = refused(lambda rank: (0, usual), folder / f"run{rank}")
    found["device"] = str(training_device(usual.training))
    for name in ("broken", "unbroken"):
        found[f"{name} status"] = main(command(folder, name))
    if rank == 0:
        os.fsync = full_disk
    found["disk"] = refused(lambda rank: (0, usual), folder / "full")
    torch.save(found, folder / f"{rank}.pt")


def command(folder: Path, name: str) -> list[str]:
    """A run of the command line on the data in ``folder``."""
    options = {
        "model.width": "8", "model.dropout": "0.1", "batches.batch_size": "5",
        "training.epochs": "16", "training.accelerator": "cpu", "training.progress": "false",
    }  # fmt: skip
    recipe = [word for key, value in options.items() for word in (f"--recipe.{key}", value)]
    places = ["--run_dir", str(folder / name), "--out", str(folder / f"{name} out")]
    return ["pretrain", "--data", str(folder / "a"), "--json", *places, *recipe]


def die_when_logged(log: Path, lines: int) -> None:
    """End this process without a word as soon as so many epochs are recorded."""

    def watch() -> None:
        while not log.exists() or len(log.read_text(encoding="utf-8").splitlines()) < lines:
            time.sleep(0.001)
        os.kill(os.getpid(), 9)

    threading.Thread(target=watch, daemon=True).start()


def begin(rank: int, port: int, folder: Path, what: str) -> None:
    """One of two processes, as torchrun starts them; what it says goes to files in ``folder``."""
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "test", "RANK": str(rank), "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / f"{what}.{rank}.{name}", os.O_CREAT | os.O_WRONLY), descriptor)
    torch.set_num_threads(1)
    if what == "everything":
        everything(folder)
        return
    if rank == 1:
        die_when_logged(folder / "broken" / "log.jsonl", 2)
    sys.exit(main(command(folder, "broken")))
