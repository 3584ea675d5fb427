"""KG-FIT against its base models: what text, anchor and hierarchy add, one after the other.

    python -m benchmarks.kg_fit [--quick] [--data NAME ...] [--models NAME ...] --out FILE.json

Nine base models on codex-s, five on the atlas, three on umls, two on wn18rr, with hierarchies made
here; two on fb15k-237 with those that language models made. Needs the extra ``text``; with --quick
two models on umls, texts by TF-IDF. Runs on record are not done again: interrupt it, or do some
--models at a time.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kg_fit_models import (
    DATA,
    FROM_TEXT,
    MODELS,
    ON,
    SHUFFLED,
    STAGES,
    STEPWISE,
    TUNED,
    Setting,
    base_trials,
    fit_trials,
    shorter,
    trials_around,
)
from benchmarks.kg_fit_task import Task, descriptions_of, many_entities, measured, split_of
from benchmarks.protocol import Benchmark, fingerprints, parser, relative
from benchmarks.recipes import with_seed
from pyg_kgtransfer.sources.datasets import Places
from pyg_kgtransfer.sources.text import CachedText, SentenceText, TextEncoder, TfidfText
from pyg_kgtransfer.transfer.kg_fit import KGFitConfig
from pyg_kgtransfer.transfer.recipe import Recipe

FEW = 0.25  # facts whose rarer end is among the rarest quarter are those of few-triple entities
MANY = 120_000  # entities, as in YAGO3-10


class Runs:
    """The runs of a benchmark: each with its settings, trials and seeds."""

    def __init__(self, benchmark: Benchmark, task: Task) -> None:
        self.benchmark, self.task = benchmark, task
        self.own = {"data": {task.name: benchmark.data[task.name]}, "text": task.encoder.key}

    def run(
        self,
        name: str,
        recipe: Recipe,
        seed: int,
        *,
        run: str = "",
        tree: str = "here",
        fit: KGFitConfig | None = None,
    ) -> dict[str, float]:
        """One training; ``run`` names its record where it is not a stage of its own."""
        chosen, full = with_seed(recipe, seed), f"{self.task.name}.{name}"
        settings = self.own | {"recipe": asdict(chosen)}
        if fit is not None:
            settings |= {"tree": tree, "fit": asdict(fit)}
        work = partial(measured, run or full, self.task, chosen, tree, fit)
        return self.benchmark.run(f"{run or full}.seed{seed}", work, settings=settings)

    def best(
        self, name: str, model: str, first: Mapping[str, Setting], *, seed: int, with_text: bool
    ) -> Setting:
        """The setting of the highest validation MRR: of the first trials, then of those around."""

        def valid(trial: str, setting: Setting) -> float:
            run = f"trial.{self.task.name}.{name}.{trial}"
            fit = setting.kg_fit("kg_fit") if with_text else None
            recipe = setting.recipe(model, self.task.name)
            return self.run(name, recipe, seed, run=run, fit=fit)[f"{run}.valid.mrr"]

        found = {trial: valid(trial, setting) for trial, setting in first.items()}
        best = max(found, key=found.__getitem__)
        settings = {best: first[best]} | trials_around(best, first[best], model)
        found |= {trial: valid(trial, settings[trial]) for trial in settings if trial != best}
        return settings[max(settings, key=found.__getitem__)]


def tuned(runs: Runs, model: str, seed: int) -> tuple[Setting, Setting]:
    """The settings of base and KG-FIT that validate best, each of as many trials."""
    base = runs.best(model, model, base_trials(model), seed=seed, with_text=False)
    fit = runs.best(f"{model}.kg_fit", model, fit_trials(base), seed=seed, with_text=True)
    return base, fit


def stepwise(runs: Runs, model: str, *, stages: Sequence[str]) -> None:
    """Base and stages of one model, all seeds; the first seed's trials choose the settings."""
    name, seeds = runs.task.name, runs.benchmark.seeds
    base, fit = tuned(runs, model, seeds[0])
    recipe = fit.recipe(model, name)
    for seed in seeds:
        runs.run(f"{model}.base", base.recipe(model, name), seed)
        for stage in stages:
            runs.run(f"{model}.{stage}", recipe, seed, fit=fit.kg_fit(stage))
        if "shuffled" in runs.task.trees and model in SHUFFLED:
            options = {"tree": "shuffled", "fit": fit.kg_fit("kg_fit")}
            runs.run(f"{model}.shuffled", recipe, seed, **options)


def by_maker(runs: Runs, model: str) -> None:
    """Base, mixture and KG-FIT under each of the hierarchies that others made; the first seed."""
    seed, setting, trees = runs.benchmark.seeds[0], Setting(), list(runs.task.trees)
    recipe = shorter(setting.recipe(model))
    runs.run(f"{model}.base", recipe, seed)
    # whose hierarchy it is does not matter to the mixture
    runs.run(f"{model}.mixture", recipe, seed, tree=trees[0], fit=setting.kg_fit("mixture"))
    for maker in trees:
        stage = "kg_fit" if maker == "here" else f"kg_fit.{maker}"
        runs.run(f"{model}.{stage}", recipe, seed, tree=maker, fit=setting.kg_fit("kg_fit"))
    recipe, fit = shorter(FROM_TEXT.recipe(model)), FROM_TEXT.kg_fit("kg_fit")
    runs.run(f"{model}.from_text", recipe, seed, tree=trees[-1], fit=fit)


@cache
def _few(name: str) -> np.ndarray:
    """Test facts whose rarer end is among the rarest quarter."""
    split = split_of(name)
    rarer = split.train.degrees()[split.test.triples[:, [0, 2]]].min(1).values.double()
    return (rarer <= rarer.quantile(FEW)).numpy()


def gains(benchmark: Benchmark, name: str) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Relative gains in hits@10 over the base, with intervals; and the rows of the table."""
    hits: dict[str, list[np.ndarray]] = {}
    for run, found in benchmark.done.items():
        full, _, seed = run.rpartition(".seed")
        if full.startswith(f"{name}.") and seed.isdigit():
            digits = np.frombuffer(found.notes["hits"].encode(), np.uint8) - ord("0")
            hits.setdefault(full, []).append(digits / 2)
    figures: dict[str, float] = {}
    rows = []
    for full, of_seeds in hits.items():
        model, _, stage = full.removeprefix(f"{name}.").partition(".")
        mine, base = np.mean(of_seeds, axis=0), np.mean(hits[f"{name}.{model}.base"], axis=0)
        row = {"data": name, "model": model, "stage": stage, "seeds": len(of_seeds)}
        row |= {
            "hits@10": mine.mean(),
            "gain": None,
            "low": None,
            "high": None,
            "few triples": None,
        }
        if stage != "base":
            gain, low, high = relative(base, mine)
            few, few_low, few_high = relative(base[_few(name)], mine[_few(name)])
            row |= {"gain": gain, "low": low, "high": high, "few triples": few}
            figures |= {
                f"{full}.gain": gain, f"{full}.gain_low": low, f"{full}.gain_high": high,
                f"{full}.few.gain": few, f"{full}.few.gain_low": few_low,
                f"{full}.few.gain_high": few_high,
            }  # fmt: skip
        rows.append(row)
    full = "kg_fit.gpt4o" if name == "fb15k-237" else "kg_fit"
    for end, figure in (("gain", "mean_gain"), ("few.gain", "few.mean_gain")):
        found = [value for key, value in figures.items() if key.endswith(f".{full}.{end}")]
        if found:
            figures[f"{name}.{figure}"] = float(np.mean(found))
    return figures, rows


def plot_curves(benchmark: Benchmark, name: str, path: Path) -> None:
    """Validation hits@10 over epochs, a panel for each model (PNG).

    Raises:
        ImportError: If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("the curves need `pip install pyg-kgtransfer[bench]`") from error
    models = ON[name]
    figure = Figure(figsize=(5 * len(models), 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(models), squeeze=False)[0]
    for axes, model in zip(panels, models, strict=True):
        for run, found in benchmark.done.items():
            full, _, _ = run.rpartition(".seed")
            start = f"{name}.{model}."
            if full.startswith(start):
                points = found.notes["curve"]
                axes.plot(
                    [p["epoch"] for p in points],
                    [p["hits@10"] for p in points],
                    marker="o",
                    markersize=3,
                    label=full.removeprefix(start),
                )
        axes.set(title=f"{model} on {name}", xlabel="epoch", ylabel="validation hits@10")
        axes.legend()
    figure.savefig(path, dpi=120)


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not on record yet, and report."""
    options = parser(__doc__ or "")
    options.add_argument("--data", nargs="+", choices=DATA, metavar="NAME", help="these sets alone")
    options.add_argument(
        "--models", nargs="+", choices=MODELS, metavar="NAME", help="these base models alone"
    )
    options.add_argument(
        "--stages", nargs="+", choices=STAGES, default=list(STAGES), metavar="NAME",
        help=f"these stages alone, beside the base; on all but {STEPWISE} kg_fit alone",
    )  # fmt: skip
    given = options.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    names = given.data or (("umls",) if given.quick else DATA)
    splits = {name: split_of(name) for name in names}
    data = {name: fingerprints(split) for name, split in splits.items()}
    benchmark = Benchmark.begin("kg_fit", given, data=data)
    words: TextEncoder = TfidfText(128)
    sentences = words if given.quick else CachedText(SentenceText(), Places.given().cache / "text")
    if not (given.data or given.models):
        count = 1000 if given.quick else MANY
        settings = {"data": {}, "entities": count}
        benchmark.run("many", partial(many_entities, count), settings=settings)
    figures: dict[str, float] = {}
    rows: list[dict[str, Any]] = []
    for name in names:
        encoder = words if name == "atlas" else sentences
        task = Task(name, splits[name], descriptions_of(name), encoder)
        if name == "fb15k-237":
            task.read_trees(Places.given().root / "kg-fit" / "FB15K-237")
        else:
            task.make_tree()
            if name == STEPWISE:
                task.make_tree("shuffled")
        figures |= {f"{name}.hierarchy.{key}": value for key, value in task.built.items()}
        runs = Runs(benchmark, task)
        for model in ON[name][: 2 if given.quick else None]:
            if given.models and model not in given.models:
                continue
            if name in TUNED:
                stages = [s for s in given.stages if name == STEPWISE or s == "kg_fit"]
                stepwise(runs, model, stages=stages)
            else:
                by_maker(runs, model)
        found, more = gains(benchmark, name)
        figures |= found
        rows += more
    benchmark.finish(protocol=PROTOCOL, figures=figures, table=rows)
    if "fb15k-237" in names:
        plot_curves(benchmark, "fb15k-237", given.out.with_suffix(".png"))


PROTOCOL = {
    "Task": "filtered link prediction of both sides, all entities candidates, realistic ranks; the "
    "epoch with the highest validation MRR is ranked",
    "Budget": "the same epochs, batches, width and negatives for a base model and all its stages; "
    "text adds time per epoch (see seconds)",
    "Stages": "each adds a constraint to the one before: mixture (free vector and text), anchor, "
    "cohesion, separation, kg_fit (hierarchical distance)",
    "Tuning": f"on {', '.join(TUNED)}, by validation MRR of the first seed, six trials each: for "
    "the base four of learning rate and of margin or N3, for KG-FIT on top of the base's best four "
    "of the share of free vectors and of an adapter; then half and twice the margin or N3 of the "
    "best of the four (the rate, where there is neither); other sets: the first of these settings",
    "Text": "names and descriptions by all-MiniLM-L6-v2, principal directions of either half; in "
    "the atlas names in twelve languages by TF-IDF, as everywhere with --quick",
    "Hierarchies": "made here by average linkage and refined by rules; on fb15k-237 those released "
    "with KG-FIT (seed, by GPT-3.5, by GPT-4o)",
    "Controls": "shuffled: kg_fit with the text vectors exchanged between entities at random, and "
    "a hierarchy made from those; "
    "from_text: kg_fit whose free vectors begin at the text vectors, nothing frozen (ours, too)",
    "Gain": "of hits@10, relative to the base on the same facts, mean over seeds; 95 % paired "
    "bootstrap over facts",
    "Few triples": f"facts whose rarer end is among the rarest {FEW:.0%} by training degree",
}

if __name__ == "__main__":
    main()
