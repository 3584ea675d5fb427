"""What probabilities are worth, before and after calibration.

    python -m benchmarks.calibration [--quick] [--data NAME ...] --out FILE.json

DistMult, ComplEx, RotatE and TransE on codex-s, the atlas's GeoNames and umls: expected calibration
error (ECE) and Brier score of the logistic function of raw scores, of Platt scaling, of isotonic
regression and of Platt scaling by relation; on codex-s also for its own hard negatives. Beside
FILE.json: a reliability diagram of ComplEx on codex-s. With --quick: umls, a few epochs.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from benchmarks.protocol import Benchmark, Found, fingerprints, parser, relative
from benchmarks.recipes import with_seed
from benchmarks.reproduce_kge import RECIPES
from pyg_kgtransfer.evaluation.calibration import reliability
from pyg_kgtransfer.evaluation.triple_classification import LabelledTriples
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.serving.reliability_plot import plot_reliability
from pyg_kgtransfer.sources.atlas import load_atlas
from pyg_kgtransfer.sources.datasets import Places, load
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.training.durable_files import file_sha256
from pyg_kgtransfer.transfer.calibrate import (
    METHODS,
    Scored,
    beside_corruptions,
    errors,
    fitted,
    scorer_of,
)
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import alone, evaluate
from pyg_kgtransfer.transfer.recipe import Recipe

DATA, QUICK = ("codex-s", "atlas", "umls"), ("umls",)
MODELS = ("distmult", "complex", "rotate", "transe")
WIDTH, EPOCHS = 128, {"codex-s": 20, "atlas": 40, "umls": 40}
HARD = ("codex-s",)  # has false triples of its own
DRAWN = "complex"
SHOWN = ("raw", *METHODS, "share")
KINDS = {
    "random": "random",
    "hard": "hard",
    "hard.from_random": "hard, learned from random",
    "random.from_hard": "random, learned from hard",
}


def split_of(name: str) -> Split:
    return load_atlas().geonames if name == "atlas" else load(name, offline=True)


def recipe_of(dataset: str, model: str, *, quick: bool) -> Recipe:
    """As in ``reproduce_kge`` (the atlas: as codex-s), of one width and for fewer epochs."""
    chosen = RECIPES["codex-s" if dataset == "atlas" else dataset, model]
    epochs = 5 if quick else EPOCHS[dataset]
    training = replace(chosen.training, epochs=epochs, save_every=epochs, accelerator="cpu")
    width = 32 if quick else WIDTH
    return replace(chosen, model=replace(chosen.model, width=width), training=training)


def hard_negatives(split: Split, part: HeldOut, folder: str) -> Tensor:
    """The false triples that a data set has for a part, [Q, 3] in the split's ids."""
    text = (Places.given().root / folder / f"{part.role}_negatives.txt").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()]
    entity, relation = split.train.entities.id, split.train.relations.id
    return torch.tensor([[entity(h), relation(r), entity(t)] for h, r, t in rows])


def measured(name: str, split: Split, chosen: Recipe) -> Found:
    """Train, calibrate on validation, judge on test."""
    checkpoint = pretrain(alone(split.train), [split], recipe=chosen)
    figures = {f"{name}.mrr": evaluate(checkpoint, split).metrics()["mrr"]}
    figures[f"{name}.seconds"] = checkpoint.metrics["seconds"]
    valid, test = at_random(checkpoint, split, seed=chosen.training.seed)
    found = {"random": probabilities(valid, test)}
    figures |= errors_of(f"{name}.random", found["random"], test)
    figures |= by_relation_gain(f"{name}.random", found["random"], test)
    notes = {method: reliability(each, test.is_true) for method, each in found["random"].items()}
    if split.train.name in HARD:
        hard = labelled_hard(checkpoint, split, split.train.name)
        for learned, judged, key in (
            (hard[0], hard[1], "hard"),
            (valid, hard[1], "hard.from_random"),
            (hard[0], test, "random.from_hard"),
        ):
            figures |= errors_of(f"{name}.{key}", probabilities(learned, judged), judged)
    return Found(figures, {"reliability": notes})


def at_random(checkpoint: Checkpoint, split: Split, *, seed: int) -> tuple[Scored, Scored]:
    """Validation and test facts, each with one corruption."""
    scored = scorer_of(checkpoint, split)
    generator = torch.Generator().manual_seed(seed)
    valid, test = (
        scored(beside_corruptions(split, part, 1, generator=generator))
        for part in (split.valid, split.test)
    )
    return valid, test


def labelled_hard(checkpoint: Checkpoint, split: Split, folder: str) -> tuple[Scored, Scored]:
    """Validation and test facts and the hard negatives of each."""
    scored = scorer_of(checkpoint, split)
    valid, test = (
        scored(LabelledTriples.of(part.triples, hard_negatives(split, part, folder)))
        for part in (split.valid, split.test)
    )
    return valid, test


def probabilities(valid: Scored, test: Scored) -> dict[str, Tensor]:
    """Of the test triples, [T], before calibration, by each method, and without the score."""
    num_relations = 1 + int(max(valid.relation.max(), test.relation.max()))
    true = torch.bincount(valid.relation[valid.is_true], minlength=num_relations)
    share = (true + 1) / (torch.bincount(valid.relation, minlength=num_relations) + 2)
    found = {"raw": torch.sigmoid(test.scores), "share": share.double()[test.relation]}
    for method in METHODS:
        calibration = fitted(valid, method, num_relations=num_relations)
        found[method] = calibration.probability(test.scores, test.relation)
    return found


def errors_of(name: str, found: Mapping[str, Tensor], test: Scored) -> dict[str, float]:
    """ECE and Brier score by method."""
    return {
        f"{name}.{method}.{error}": value
        for method, probability in found.items()
        for error, value in errors(probability, test.is_true).items()
    }


def by_relation_gain(name: str, found: Mapping[str, Tensor], test: Scored) -> dict[str, float]:
    """The Brier score by relation in that of Platt scaling, less 1, over the test triples."""
    platt, own = (
        (found[method] - test.is_true.double()).square().numpy() for method in ("platt", "relation")
    )
    gain, low, high = relative(platt, own)
    key = f"{name}.relation.brier.gain"
    return {key: gain, f"{key}.low": low, f"{key}.high": high}


def settings_of(dataset: str, chosen: Recipe, data: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a run's result."""
    settings: dict[str, Any] = {"data": {dataset: data[dataset]}, "recipe": asdict(chosen)}
    if dataset in HARD:
        root = Places.given().root / dataset
        files = [root / f"{part}_negatives.txt" for part in ("valid", "test")]
        settings["negatives_sha256"] = [file_sha256(file) for file in files]
    return settings


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not on record yet, and report."""
    options = parser(__doc__ or "")
    options.add_argument("--data", nargs="+", choices=DATA, metavar="NAME", help="these sets alone")
    given = options.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    names = given.data or (QUICK if given.quick else DATA)
    splits = {name: split_of(name) for name in names}
    data = {name: fingerprints(split) for name, split in splits.items()}
    benchmark = Benchmark.begin("calibration", given, data=data)
    for dataset, split in splits.items():
        for model in MODELS:
            for seed in benchmark.seeds:
                name = f"{dataset}.{model}"
                chosen = with_seed(recipe_of(dataset, model, quick=given.quick), seed)
                work = partial(measured, name, split, chosen)
                benchmark.run(
                    f"{name}.seed{seed}", work, settings=settings_of(dataset, chosen, data)
                )
    means = means_of(benchmark.done)
    benchmark.finish(protocol=PROTOCOL, figures=means, table=rows_of(benchmark.figures() | means))
    run = f"{names[0]}.{DRAWN}.seed{benchmark.seeds[0]}"
    bins = benchmark.done[run].notes["reliability"]
    curves = {method: bins[method] for method in ("raw", *METHODS)}
    plot_reliability(curves, given.out.with_suffix(".png"), title=f"{run}: test facts, corruptions")


def means_of(done: Mapping[str, Found]) -> dict[str, float]:
    """Means over seeds."""
    values: dict[str, list[float]] = {}
    for found in done.values():
        for name, value in found.figures.items():
            values.setdefault(name, []).append(value)
    return {f"{name}.mean": mean(each) for name, each in values.items()}


def rows_of(figures: Mapping[str, float]) -> list[dict[str, Any]]:
    """A row for each model, kind of false triples and kind of probabilities."""
    rows = []
    for dataset, model, (kind, told), method in product(DATA, MODELS, KINDS.items(), SHOWN):
        key = f"{dataset}.{model}.{kind}.{method}"
        if f"{key}.ece" in figures:
            row: dict[str, Any] = {"data": dataset, "model": model, "false triples": told}
            row["probabilities"] = method
            for error, title in (("ece", "ECE"), ("brier", "Brier")):
                row[title] = figures[f"{key}.{error}.mean"]
                for end in ("lowest", "highest"):
                    row[f"{title}, {end}"] = figures.get(f"{key}.{error}.{end}")
            rows.append(row)
    return rows


PROTOCOL = {
    "Models": f"shallow, width {WIDTH}, recipes as in reproduce_kge (the atlas: those of codex-s), "
    f"for {', '.join(f'{n} epochs on {name}' for name, n in EPOCHS.items())} at most: fewer, so "
    "their MRR is below what reproduce_kge reports; validation MRR selects the weights",
    "Calibration": "learned from the validation facts, judged on the test facts",
    "random": "one false triple to each fact: head or tail replaced by any other entity, so that "
    "no part of the split states it; the seed is the model's",
    "hard": "codex-s's own false triples, one to a fact, plausible and checked by people (Safavi "
    "and Koutra 2020, arXiv 2009.07810); learned from random: the calibration of corruptions, "
    "judged on hard ones; learned from hard: the other way round",
    "raw": "the logistic function of the score",
    "relation": "Platt scaling with a slope and an intercept for each relation, drawn to those of "
    "all; its figure .brier.gain is its Brier score in that of Platt scaling, less 1, with a "
    "paired bootstrap interval over test triples (95 %)",
    "share": "a control that reads no score: the share of true triples among the relation's in "
    "validation; hard negatives are uneven over relations, corruptions are not",
    "ECE": "expected calibration error, ten bins of equal width; Brier: mean squared error; both "
    "lower is better",
    "Table": "means over seeds, with lowest and highest",
    "Goal": "calibrated ECE below .05 on random corruptions",
}

if __name__ == "__main__":
    main()
