"""Popularity and group bias of link prediction; what balanced losses do about it, and the price.

    python -m benchmarks.bias [--quick] [--seeds N ...] --out FILE.json

ComplEx on codex-s and on the atlas (GeoNames alone), its loss balanced by popularity with several
exponents, by relation, and by groups of entities. With --quick: the atlas, fewer epochs.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.protocol import Benchmark, Found, fingerprints, parser
from benchmarks.recipes import ADAGRAD, recipe_of, with_seed
from pyg_kgtransfer.evaluation.bias import BiasResult
from pyg_kgtransfer.evaluation.comparison import bootstrap_means, compare
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.models.build import ModelConfig
from pyg_kgtransfer.objectives.build import ObjectiveConfig
from pyg_kgtransfer.sources.atlas import load_atlas
from pyg_kgtransfer.sources.datasets import load
from pyg_kgtransfer.transfer.bias import measure_bias
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import alone
from pyg_kgtransfer.transfer.recipe import Recipe

DATA = ("codex-s", "atlas")
SAMPLES = 2000


@dataclass(frozen=True)
class Arm:
    """A loss: the exponent, what is counted, and whether all seeds are run."""

    beta: float
    by: str = "popularity"
    is_repeated: bool = False

    @property
    def name(self) -> str:
        """In figures."""
        return f"{self.by}{self.beta:g}" if self.beta else "plain"


PLAIN = Arm(0.0, is_repeated=True)
BY_POPULARITY = (PLAIN, Arm(0.25), Arm(0.5, is_repeated=True), Arm(1.0))
ARMS = (*BY_POPULARITY, Arm(0.5, "relation"), Arm(0.5, "group"))


def recipes(*, quick: bool) -> dict[str, Recipe]:
    """The recipe of each data set; the weight of N3 was chosen on validation MRR, without balance.

    On codex-s that of ``reproduce_kge`` at half the width and batch, for a sixth of the epochs.
    """
    model = ModelConfig(encoder="shallow", decoder="complex", width=256)
    options: dict[str, Any] = {"patience": None, "accelerator": "cpu"}
    epochs = (1, 10) if quick else (20, 40)
    return {
        "codex-s": recipe_of(
            model, ObjectiveConfig(n3=0.01), ADAGRAD, batch_size=512, epochs=epochs[0], **options
        ),
        "atlas": recipe_of(
            replace(model, width=128), ObjectiveConfig(n3=0.1), ADAGRAD, batch_size=256,
            epochs=epochs[1], **options,
        ),
    }  # fmt: skip


def kinds(graph: KnowledgeGraph) -> dict[str, str]:
    """A kind for each entity: its type, else its most frequent place in the training facts.

    Of places that are as frequent the first by name is taken; entities without facts have none.
    """
    if graph.entity_types is not None and graph.entity_type is not None:
        names = graph.entity_types.names
        of_entity = zip(graph.entities, graph.entity_type.tolist(), strict=True)
        return {entity: names[kind] for entity, kind in of_entity}
    count: Counter[tuple[str, str]] = Counter()
    for head, relation, tail in graph.named_triples():
        count[head, f"head of {relation}"] += 1
        count[tail, f"tail of {relation}"] += 1
    best: dict[str, str] = {}
    for entity, place in sorted(count, key=lambda key: (-count[key], key)):
        best.setdefault(entity, place)
    return best


def interval(values: Tensor, mask: Tensor) -> tuple[float, float, float]:
    """The mean of [T, 2] values where the mask is true, with a bootstrap over facts (95 %)."""
    parts = torch.stack([(values * mask).sum(1), mask.sum(1).to(values)], dim=1)  # [T, 2]
    drawn = bootstrap_means(parts, SAMPLES, generator=torch.Generator().manual_seed(0))
    means = drawn[:, 0] / drawn[:, 1].clamp(min=1e-12)
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=means.dtype)).tolist()
    return values[mask].mean().item(), low, high


def figures_of(name: str, found: BiasResult, plain: BiasResult) -> dict[str, float]:
    """What a model does, and what changed against the one without balance."""
    figures: dict[str, float] = {}

    def put(key: str, three: Sequence[float]) -> None:
        for end, value in zip(("", ".low", ".high"), three, strict=True):
            figures[f"{name}.{key}{end}"] = value

    metrics = found.ranks.metrics()
    figures[f"{name}.mrr"] = metrics["mrr"]
    figures[f"{name}.hits@10"] = metrics["hits@10"]
    figures[f"{name}.relation_macro.mrr"] = metrics["relation_macro.mrr"]
    gain = compare(plain.ranks, found.ranks, samples=SAMPLES).overall["mrr"]
    put("mrr.gain", (gain.gain, gain.low, gain.high))
    reciprocal = found.ranks.ranks.reciprocal()
    names, band = found.members("popularity")
    of_answers = band[found.ranks.triples[:, [0, 2]]]
    seen = of_answers[of_answers > 0]  # the first band is of entities without training facts
    lowest, highest = of_answers == int(seen.min()), names[int(seen.max())]
    put("lowest_band.mrr", interval(reciprocal, lowest))
    change = reciprocal - plain.ranks.ranks.reciprocal()
    put("lowest_band.mrr.gain", interval(change, lowest))
    put("popularity_bias", found.popularity_bias(samples=SAMPLES))
    top = {row["group"]: row for row in found.rows("popularity")}[highest]
    for share in ("share_of_answers", "share_of_mass", "share_of_top10", "mrr"):
        figures[f"{name}.highest_band.{share}"] = top[share]
    asked = [row["mrr"] for row in found.rows("group") if row["answers"]]
    figures[f"{name}.group_macro.mrr"] = sum(asked) / len(asked)
    return figures


def measured(name: str, split: Split, chosen: Mapping[Arm, Recipe]) -> Found:
    """All arms of one seed: trained, measured on the test facts, compared with the plain one."""
    groups = kinds(split.train)
    figures: dict[str, float] = {}
    notes: dict[str, Any] = {}
    plain: BiasResult | None = None
    for arm, recipe in chosen.items():
        own = groups if arm.by == "group" else None
        checkpoint = pretrain(alone(split.train), [split], recipe=recipe, groups=own)
        found = measure_bias(checkpoint, split, groups)
        plain = found if plain is None else plain  # it comes first
        full = f"{name}.{arm.name}"
        figures |= figures_of(full, found, plain)
        figures[f"{full}.valid.mrr"] = checkpoint.metrics["valid"]["mrr"]
        figures[f"{full}.seconds"] = checkpoint.metrics["seconds"]
        notes[arm.name] = {
            "best_epoch": checkpoint.metrics["best_epoch"],
            "popularity": found.rows("popularity"),
            "group": found.rows("group"),
        }
    return Found(figures, notes)


def chosen_beta(found: Mapping[str, float], name: str) -> float:
    """Of the losses balanced by popularity, or not, the one with the highest validation MRR."""
    return max(BY_POPULARITY, key=lambda arm: found[f"{name}.{arm.name}.valid.mrr"]).beta


def rows_of(found: Mapping[str, float], names: Sequence[str]) -> list[dict[str, Any]]:
    """The trade-off: a row for each loss."""

    def three(key: str) -> str:
        return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*(found[key + e] for e in ("", ".low", ".high")))

    rows = []
    for name in names:
        best = chosen_beta(found, name)
        for arm in ARMS:
            full = f"{name}.{arm.name}"
            mark = " *" if arm in BY_POPULARITY and arm.beta == best else ""
            rows.append({
                "data": name,
                "balanced": f"{arm.by} {arm.beta:g}{mark}" if arm.beta else f"no{mark}",
                "valid": found[f"{full}.valid.mrr"],
                "MRR": found[f"{full}.mrr"],
                "change": three(f"{full}.mrr.gain") if arm.beta else None,
                "lowest band": three(f"{full}.lowest_band.mrr").replace("+", ""),
                "its change": three(f"{full}.lowest_band.mrr.gain") if arm.beta else None,
                "relations": found[f"{full}.relation_macro.mrr"],
                "groups": found[f"{full}.group_macro.mrr"],
                "popularity bias": three(f"{full}.popularity_bias"),
                "mass": found[f"{full}.highest_band.share_of_mass"],
                "top 10": found[f"{full}.highest_band.share_of_top10"],
                "answers": found[f"{full}.highest_band.share_of_answers"],
            })  # fmt: skip
    return rows


def plot_trade_off(found: Mapping[str, float], names: Sequence[str], path: Path) -> None:
    """Overall MRR over the MRR of rare answers, and over popularity bias (PNG).

    Raises:
        ImportError: If matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.5 + 4 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(names), 2, squeeze=False)
    whats = {"lowest_band.mrr": "MRR, least popular answers", "popularity_bias": "popularity bias"}
    for name, line in zip(names, panels, strict=True):
        for axes, (what, label) in zip(line, whats.items(), strict=True):

            def at(arm: Arm, name: str = name, what: str = what) -> tuple[float, float]:
                return found[f"{name}.{arm.name}.{what}"], found[f"{name}.{arm.name}.mrr"]

            axes.plot(*zip(*map(at, BY_POPULARITY), strict=True), marker="o", label="by popularity")
            for arm in ARMS[len(BY_POPULARITY) :]:
                axes.plot(*at(arm), marker="s", linestyle="", label=f"by {arm.by}")
            for arm in ARMS:
                text = f"{arm.beta:g}"
                axes.annotate(text, at(arm), textcoords="offset points", xytext=(5, 5), fontsize=8)
            axes.set(title=name, xlabel=label, ylabel="filtered MRR, all test facts")
            axes.grid(alpha=0.3)
            axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not on record yet, and report."""
    given = parser(__doc__ or "").parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    names = DATA[1:] if given.quick else DATA
    splits = {
        name: load_atlas().geonames if name == "atlas" else load(name, offline=True)
        for name in names
    }
    data = {name: fingerprints(split) for name, split in splits.items()}
    benchmark = Benchmark.begin("bias", given, data=data)
    for name, split in splits.items():
        recipe = recipes(quick=given.quick)[name]
        for place, seed in enumerate(benchmark.seeds):
            chosen = {
                arm: with_seed(replace(recipe, objective=balanced(recipe.objective, arm)), seed)
                for arm in ARMS
                if arm.is_repeated or not place
            }
            settings = {
                "data": {name: data[name]},
                "arms": {arm.name: asdict(each) for arm, each in chosen.items()},
            }
            work = partial(measured, name, split, chosen)
            benchmark.run(f"{name}.seed{seed}", work, settings=settings)
    found = benchmark.figures()
    betas = {f"{name}.chosen_beta": chosen_beta(found, name) for name in names}
    table = rows_of(found, names)
    benchmark.finish(protocol=PROTOCOL, figures=betas, table=table)
    if find_spec("matplotlib") is not None:
        plot_trade_off(found, names, given.out.with_suffix(".png"))


def balanced(plain: ObjectiveConfig, arm: Arm) -> ObjectiveConfig:
    """The loss of an arm."""
    return replace(plain, balance=arm.beta, balance_by=arm.by)


PROTOCOL = {
    "Models": "ComplEx, 1-vs-all, N3, Adagrad; codex-s: width 256, 20 epochs, where reproduce_kge "
    "takes width 512 and 120; atlas: GeoNames alone, width 128, 40 epochs (10 with --quick); the "
    "weights of the highest validation MRR, every five epochs",
    "Balance": "an answer weighs count^-beta in training, 1 on average: the count of training "
    "facts with it (by popularity), of its relation, or of answers from its group; beta 0 and 0.5 "
    "by popularity with every seed, the others with the first; medians over seeds",
    "Groups": "of the atlas: types of entities (79 of 250 countries have their continent in the "
    "training facts, that of others is asked for); of codex-s: the end of the relation at which an "
    "entity stands most often in training",
    "Ranks": "test facts, both sides, filtered, realistic ranks, all entities candidates",
    "change": "of MRR against no balance with the same seed, with a paired bootstrap interval over "
    "facts (95 %)",
    "lowest band": "MRR of answers of the lowest quarter of training degrees among test answers "
    "seen in training, with a bootstrap interval over facts",
    "relations, groups": "mean over relations, and over groups of answers, of their MRR",
    "popularity bias": "mean popularity percentile of candidates, weighted by softmax mass "
    "(temperature 1), less that of the answer: 0 none, above 0 popular entities are favoured",
    "mass, top 10, answers": "shares that the highest band has of mass, of the first ten places, "
    "and of the true answers",
    "*": "beta with the highest validation MRR among those by popularity and none, each a median "
    "over the seeds that it was run with; beta is for the user to choose",
}

if __name__ == "__main__":
    main()
