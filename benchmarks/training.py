"""Training steps of DistMult with negative samples: ours against PyKEEN's sLCWA loop.

    python -m benchmarks.training [--quick] --out FILE.json

256 negatives per positive, half of them heads and half tails, drawn for each positive alone
(independent) or once a batch (shared), on fb15k-237, width 200, Adam; and the MRR that each kind
reaches on codex-s. With --quick: umls. Needs the extra ``bench``.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch

from benchmarks import timing
from benchmarks.protocol import Benchmark, fingerprints, parser
from benchmarks.pykeen_steps import DESCRIBED, pykeen_steps
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.models.build import ModelConfig, build_model
from pyg_kgtransfer.objectives.build import ObjectiveConfig, build_objective
from pyg_kgtransfer.process import prepare
from pyg_kgtransfer.sources.datasets import load
from pyg_kgtransfer.training.batches import BatchOptions, TripleBatches
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.training.learner import Learner
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import alone, evaluate
from pyg_kgtransfer.transfer.recipe import Recipe

GOALS = {"independent": 20, "shared": 70}
NEGATIVES, BATCH = 256, 1024
MODEL = ModelConfig(encoder="shallow", decoder="distmult", width=200, reciprocal=False)
_TRAINING = TrainConfig(
    epochs=40, learning_rate=1e-2, validate_every=5, patience=2, progress=False, accelerator="cpu"
)


def loss_of(kind: str) -> ObjectiveConfig:
    """Softplus loss with negatives of one kind, half of them on either side."""
    return ObjectiveConfig(
        "softplus", num_negatives=NEGATIVES // 2, shared_negatives=kind == "shared"
    )


def our_steps(
    split: Split, kind: str, steps: int, model: ModelConfig = MODEL, optimizer: str = "adam"
) -> timing.Work:
    """So many steps of our learner."""
    torch.manual_seed(0)
    graph = split.train
    sizes = {"num_entities": graph.num_entities, "num_relations": graph.num_relations}
    objective = build_objective(loss_of(kind), split.known(("train",)))
    training = replace(_TRAINING, optimizer=optimizer)
    learner = Learner(training, build_model(model, **sizes), objective, None)
    batches = TripleBatches(graph.triples, BatchOptions(batch_size=BATCH))
    tensors = graph.tensors()

    def work() -> None:
        for step in range(steps):
            batch = batches.batch(0, step % len(batches))
            learner.descend(learner.terms(tensors, batch), learning_rate_factor=1.0)

    return work


def their_steps(split: Split, steps: int) -> timing.Work:
    """So many batches of PyKEEN's training loop."""
    sizes = {"num_entities": split.train.num_entities, "num_relations": split.train.num_relations}
    order = torch.randperm(len(split.train.triples), generator=torch.Generator().manual_seed(0))
    part = split.train.triples[order[: steps * BATCH]]
    return pykeen_steps(part, sizes, width=MODEL.width, batch_size=BATCH, num_negatives=NEGATIVES)


def speed(split: Split, kind: str, *, repeats: int, steps: tuple[int, int]) -> dict[str, float]:
    """Positives per second of both."""
    ours, theirs = our_steps(split, kind, steps[0]), their_steps(split, steps[1])
    paired = timing.alternate(ours, theirs, repeats=repeats)
    name = f"training_{kind}"
    figures = paired.figures(f"{name}_speedup", scale=steps[0] / steps[1])
    per_second = steps[0] * BATCH / figures[f"{name}_speedup.ours_seconds"]
    other = steps[1] * BATCH / figures[f"{name}_speedup.theirs_seconds"]
    return figures | {
        f"{name}_per_second": per_second,
        f"{name}_per_second.theirs": other,
        f"{name}_memory": timing.peak_bytes(ours) / timing.peak_bytes(theirs),
    }


def many_entities(count: int) -> Split:
    """A hundred thousand random facts between so many entities; nothing is held out."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.tensor([count, 100, count])
    triples = (torch.rand(100_000, 3, generator=generator).double() * sizes).long()
    entities, relations = (Vocabulary(map(str, range(n))) for n in (count, 100))
    graph = KnowledgeGraph(entities, relations, triples)
    return Split(graph, HeldOut(triples[:0], "valid"), HeldOut(triples[:0], "test"))


def row_updates(count: int, *, repeats: int, steps: int) -> dict[str, float]:
    """Steps on the rows that a batch names, over steps on the whole table."""
    split = many_entities(count)
    rows, table = (
        our_steps(split, "shared", steps, replace(MODEL, sparse=sparse), "adagrad")
        for sparse in (True, False)
    )
    return timing.alternate(rows, table, repeats=repeats).figures("training_rows_speedup")


def quality(split: Split, kind: str, epochs: int) -> dict[str, float]:
    """The test MRR that one kind of negatives reaches."""
    recipe = Recipe(
        MODEL, loss_of(kind), BatchOptions(batch_size=BATCH), replace(_TRAINING, epochs=epochs)
    )
    checkpoint = pretrain(alone(split.train), [split], recipe=recipe)
    return {
        f"quality_{kind}.mrr": evaluate(checkpoint, split).metrics()["mrr"],
        f"quality_{kind}.seconds": checkpoint.metrics["seconds"],
    }


def main(argv: Sequence[str] | None = None) -> None:
    given = parser(__doc__ or "").parse_args(argv)
    given.seeds = given.seeds or [0]
    prepare()
    logging.getLogger("pykeen").setLevel(logging.ERROR)
    names = ("umls", "umls") if given.quick else ("fb15k-237", "codex-s")
    fast, good = (load(name, offline=True) for name in names)
    repeats, steps, epochs = (3, (4, 1), 5) if given.quick else (5, (20, 2), 40)
    data = {name: fingerprints(split) for name, split in zip(names, (fast, good), strict=True)}
    benchmark = Benchmark.begin("training", given, data=data)
    settings = {"repeats": repeats, "steps": steps, "epochs": epochs, "counted": True}
    for kind in GOALS:
        work = partial(speed, fast, kind, repeats=repeats, steps=steps)
        benchmark.run(f"training_{kind}", work, settings=settings)
        benchmark.run(f"quality_{kind}", partial(quality, good, kind, epochs), settings=settings)
    count = 10**5 if given.quick else 300_000
    work = partial(row_updates, count, repeats=repeats, steps=steps[0])
    benchmark.run("training_rows", work, settings={**settings, "entities": count})
    found = benchmark.figures()
    table = [
        {"negatives": kind, "speedup": found[f"training_{kind}_speedup"], "goal": goal,
         "reached": "yes" if found[f"training_{kind}_speedup"] >= goal else "no",
         "positives per second": found[f"training_{kind}_per_second"],
         "PyKEEN": found[f"training_{kind}_per_second.theirs"],
         f"MRR on {names[1]}": found[f"quality_{kind}.mrr"]}
        for kind, goal in GOALS.items()
    ]  # fmt: skip
    protocol = dict(timing.PROTOCOL) | {
        "Task": f"optimizer steps of DistMult, width {MODEL.width}, batches of {BATCH}, Adam, "
        f"softplus loss, {NEGATIVES} negatives per positive, on {names[0]}: PyKEEN draws for each "
        f"which end it corrupts, ours corrupts either end with {NEGATIVES // 2}",
        "PyKEEN": DESCRIBED,
        "Rows": "training_rows_speedup: our steps with shared negatives and Adagrad, gradients of "
        f"the rows that a batch names against whole tables, {count:,} entities",
        "Scale": f"ours {steps[0]} steps a run, PyKEEN {steps[1]}; the ratio is per positive",
    }
    benchmark.finish(protocol=protocol, table=table)


if __name__ == "__main__":
    main()
