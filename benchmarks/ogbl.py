"""ogbl-biokg and ogbl-wikikg2 under the protocol of their leaderboards.

    python -m benchmarks.ogbl --dataset ogbl-biokg|ogbl-wikikg2 --model complex|distmult|rotate|...
        [--encoder compgcn] [--teacher CHECKPOINT [--how distill|finetune]] [--root DIR]
        [--seeds 0..9] [--width N] [--epochs N] [--quick] --out FILE.json

Every run learns from the training facts, is selected on validation facts and reports test facts,
each asked from both sides among the 500 negatives that come with it. A line as on the leaderboard
closes the report: ten seeds (--seeds 0..9), unbiased standard deviation, parameters of all stages,
external data. With --quick and no data at hand, a miniature in the files of the real one is made.
"""

import hashlib
import logging
import re
import statistics
import sys
import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.ogbl_recipes import (
    MODELS,
    SOURCE,
    Settings,
    recipe_for,
    settings_of,
    start_as_ogb,
)
from benchmarks.protocol import Benchmark, Found, fingerprints, parser
from benchmarks.recipes import with_seed
from pyg_kgtransfer.commands.inputs import without_held_out_pairs
from pyg_kgtransfer.functional.losses import self_adversarial_loss
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.linking.alignment import Alignment
from pyg_kgtransfer.linking.linked import linked_subgraph
from pyg_kgtransfer.linking.linked_kg import LinkedKG
from pyg_kgtransfer.models.build import ENCODERS
from pyg_kgtransfer.objectives.objective import Objective
from pyg_kgtransfer.objectives.typed_negatives import TypedNegatives
from pyg_kgtransfer.sources.datasets import Places
from pyg_kgtransfer.sources.ogb import OGB, find_ogb, is_published, load_ogb
from pyg_kgtransfer.sources.synthetic_ogb import write_miniature
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.distill import distill
from pyg_kgtransfer.transfer.finetune import finetune
from pyg_kgtransfer.transfer.ranking import alone, evaluate, own_alignment
from pyg_kgtransfer.transfer.recipe import (
    Recipe,
    checkpoint_of,
    fit,
    fresh_model,
    task_objective,
    training_device,
)

METRICS = ("mrr", "hits@1", "hits@3", "hits@10", "head.mrr", "tail.mrr")
PARTS = ("valid", "test")
PROTOCOL = {
    "Task": "the split of OGB; training facts alone are learned from and read by encoders, "
    "validation facts select the weights and nothing else",
    "Ranks": "each held-out fact from both sides among the negatives that OGB supplies for it, "
    "rank = 1 + (negatives above + negatives at least equal) / 2, heads and tails pooled: as "
    "ogb.linkproppred.Evaluator. Not comparable with ranks among all entities",
    "Selection": "the weights of the highest MRR of 20,000 validation facts (all where there are "
    "fewer), a fixed sample, after every epoch; the table has all validation facts",
    "Settings": f"width, gamma, rate, negatives, batch size, steps and starting range of {SOURCE}, "
    "not tuned further; --quick takes small ones of its own",
    "Negatives": "on ogbl-biokg of the answer's type, as there; with an encoder or a teacher, of "
    "all entities",
    "Unlike there": "every fact weighs the same; no penalty on the norms of the whole table; the "
    "learning rate falls along a line instead of to a tenth at half of the steps",
    "Parameters": "all that any stage has trained, a teacher's included",
    "sd": "unbiased, over seeds",
}


def negatives_sha256(part: HeldOut) -> str:
    """Of the negatives of a part: they decide its ranks."""
    digest = hashlib.sha256()
    if part.negatives is not None:
        for side in (part.negatives.head, part.negatives.tail):
            digest.update(side.numpy().data)
    return digest.hexdigest()


def described(split: Split) -> dict[str, Any]:
    """Fingerprints of facts and negatives."""
    of_negatives = {
        f"{part.role}_negatives_sha256": negatives_sha256(part)
        for part in (split.valid, split.test)
    }
    return fingerprints(split) | of_negatives


def objective_for(split: Split, recipe: Recipe, linked: LinkedKG) -> Objective:
    """The recipe's; of a shallow model of entities with types, with negatives of the same type."""
    types, config = split.train.entity_type, recipe.objective
    if types is None or recipe.model.encoder != "shallow":
        return task_objective(recipe, linked)
    margin, temperature = config.margin, config.temperature
    loss = partial(self_adversarial_loss, margin=margin, temperature=temperature)
    own = TypedNegatives(loss, config.num_negatives, types)
    return own.to(training_device(recipe.training))


def from_scratch(
    split: Split, recipe: Recipe, start: Settings | None, run_dir: Path | None
) -> Checkpoint:
    """A model of the training facts alone, from vectors drawn as ``start`` says, if it does."""
    linked = alone(split.train)
    drawn = fresh_model(recipe, linked)
    if start is not None:
        start_as_ogb(drawn, start, recipe.training.seed)
    objective = objective_for(split, recipe, linked)
    history = fit(drawn, objective, linked, recipe=recipe, splits=[split], run_dir=run_dir)
    return checkpoint_of(drawn, linked, history, recipe)


def taught(
    split: Split, recipe: Recipe, teacher: Checkpoint, how: str, run_dir: Path | None
) -> Checkpoint:
    """A student of a teacher, or the teacher moved to the data set; entities match by name."""
    if how == "finetune":
        return finetune(teacher, split, recipe=recipe, run_dir=run_dir)
    graph, old = split.train, teacher.graph
    sources = () if teacher.sources is None else teacher.sources.names
    if graph.name in sources and teacher.saw(graph):
        alignment = own_alignment(teacher, graph)
    else:
        maps = (
            old.entities.positions_of(graph.entities),
            old.relations.positions_of(graph.relations),
        )
        alignment = Alignment.from_maps(graph.name, old.name, *maps)
    linked = without_held_out_pairs(linked_subgraph(graph, old, alignment), split)
    return distill(teacher, split, linked, recipe=recipe, run_dir=run_dir)


def num_parameters(*stages: Checkpoint) -> int:
    """Numbers that training could change, of all stages."""
    return sum(stage.model.num_trained_parameters() for stage in stages)


def measured(
    given: Namespace, split: Split, recipe: Recipe, teacher: Checkpoint | None, run_dir: Path | None
) -> Found:
    """Train, select on validation facts, rank validation and test facts."""
    if teacher is None:
        start = None if given.quick else settings_of(given.dataset, given.model)
        checkpoint, stages = from_scratch(split, recipe, start, run_dir), []
    else:
        checkpoint, stages = taught(split, recipe, teacher, given.how, run_dir), [teacher]
    figures: dict[str, float] = {}
    for part in PARTS:
        metrics = evaluate(checkpoint, split, part).metrics()
        figures |= {f"{part}.{name}": metrics[name] for name in METRICS}
    figures["parameters"] = num_parameters(checkpoint, *stages)
    figures["seconds"] = checkpoint.metrics["seconds"]
    notes = {key: checkpoint.metrics[key] for key in ("best_epoch", "stop_reason", "curve")}
    return Found(figures, notes)


def mean_and_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean and the unbiased standard deviation, which one value has not.

    Example:
        >>> mean_and_sd([1.0, 3.0]), mean_and_sd([2.0])
        ((2.0, 1.4142135623730951), (2.0, None))
    """
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None


def row_of(method: str, runs: Sequence[Mapping[str, float]], *, external: bool) -> dict[str, Any]:
    """A row of the leaderboard."""
    row: dict[str, Any] = {"method": method}
    for part in reversed(PARTS):
        row[f"{part} MRR"], row[f"{part} sd"] = mean_and_sd([run[f"{part}.mrr"] for run in runs])
    row["hits@1"] = statistics.mean(run["test.hits@1"] for run in runs)
    row["hits@10"] = statistics.mean(run["test.hits@10"] for run in runs)
    row["#params"] = f"{max(int(run['parameters']) for run in runs):,}"
    row["ext. data"] = "Yes" if external else "No"
    row["seeds"] = len(runs)
    return row


def line_of(row: Mapping[str, Any]) -> str:
    """A row as the leaderboard writes it.

    Example:
        >>> run = {"test.mrr": 0.5, "valid.mrr": 0.6, "test.hits@1": 0.4, "test.hits@10": 0.7}
        >>> line_of(row_of("ComplEx", [run | {"parameters": 9}], external=False))
        'ComplEx | test MRR 0.5000 ± - | valid MRR 0.6000 ± - | 9 parameters | ext. data No'
    """
    told = [
        f"{part} MRR {row[f'{part} MRR']:.4f} ± "
        + ("-" if row[f"{part} sd"] is None else f"{row[f'{part} sd']:.4f}")
        for part in reversed(PARTS)
    ]
    end = f"{row['#params']} parameters | ext. data {row['ext. data']}"
    return " | ".join([str(row["method"]), *told, end])


def seeds_written_out(argv: Sequence[str]) -> list[str]:
    """``0..9`` as the ten numbers.

    Example:
        >>> seeds_written_out(["--seeds", "0..3", "7"])
        ['--seeds', '0', '1', '2', '3', '7']
    """
    found: list[str] = []
    for word in argv:
        ends = re.fullmatch(r"(\d+)\.\.(\d+)", word)
        found += map(str, range(int(ends[1]), int(ends[2]) + 1)) if ends else [word]
    return found


def opened(given: Namespace) -> Split:
    """The data set; with --quick, where it is not at hand, a miniature."""
    places = Places.given(given.root)
    if not given.quick or find_ogb(given.dataset, places) is not None:
        return load_ogb(given.dataset, given.root)
    with tempfile.TemporaryDirectory() as folder:
        write_miniature(given.dataset, folder)
        return load_ogb(given.dataset, folder, cache=folder)  # maps outlive their files


def arguments(argv: Sequence[str] | None) -> Namespace:
    options = parser(__doc__ or "")
    options.add_argument("--dataset", required=True, choices=tuple(OGB))
    options.add_argument("--model", required=True, choices=MODELS, help="the decoder")
    options.add_argument("--encoder", default="shallow", choices=tuple(ENCODERS))
    options.add_argument("--teacher", type=Path, metavar="CHECKPOINT", help="to learn from")
    options.add_argument("--how", default="distill", choices=("distill", "finetune"), help="how")
    options.add_argument("--root", type=Path, metavar="DIR", help="default: KGT_DATA")
    options.add_argument("--width", type=int, help="of entity vectors; default: as published")
    options.add_argument("--epochs", type=int, help="default: as many steps as published")
    return options.parse_args(seeds_written_out(sys.argv[1:] if argv is None else argv))


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not on file yet, and report."""
    given = arguments(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    teacher = None if given.teacher is None else Checkpoint.load(given.teacher)
    split = opened(given)
    benchmark = Benchmark.begin("ogbl", given, data={given.dataset: described(split)})
    chosen = {"encoder": given.encoder, "width": given.width, "epochs": given.epochs}
    recipe = recipe_for(given.dataset, given.model, quick=given.quick, **chosen)
    method = given.model if given.encoder == "shallow" else f"{given.encoder}-{given.model}"
    if teacher is not None:
        method += f"-{given.how}"
    name = f"{given.dataset}.{method}"
    runs = []
    for seed in benchmark.seeds:
        own = with_seed(recipe, seed)
        run_dir = None if given.quick else benchmark.folder / f"{name}.seed{seed}"
        work = partial(measured, given, split, own, teacher, run_dir)
        settings = {"recipe": asdict(own), "teacher": None if teacher is None else teacher.id}
        runs.append(benchmark.run(f"{name}.seed{seed}", work, settings=settings))
    told = method if is_published(split) else f"{method} (a miniature, not {given.dataset})"
    row = row_of(told, runs, external=teacher is not None)
    benchmark.finish(protocol=PROTOCOL | {"Leaderboard": line_of(row)}, table=[row])


if __name__ == "__main__":
    main()
