"""KG-FIT against its base models: what text, anchor and hierarchy add, one after the other.

    python -m benchmarks.kg_fit [--quick] [--data NAME ...] [--models NAME ...] --out FILE.json

Nine base models on codex-s, five on the atlas, three on umls and wn18rr, with hierarchies made
here; two on fb15k-237 with those that language models made. Needs the extra ``text``; with --quick
two models on umls, texts by TF-IDF. Runs on record are not done again: interrupt it, or do some
--models at a time.
"""

import csv
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import bootstrap
from torch import Tensor

from benchmarks.protocol import Benchmark, Found, fingerprints, parser
from benchmarks.reproduce_kge import with_seed
from benchmarks.timing import peak_bytes
from pyg_kgtransfer.evaluation.result import LinkPredictionResult
from pyg_kgtransfer.graph.clustering import Clustered, seed_hierarchy
from pyg_kgtransfer.graph.hierarchy import Hierarchy
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.models.build import ModelConfig
from pyg_kgtransfer.objectives.build import ObjectiveConfig
from pyg_kgtransfer.objectives.hierarchy import HierarchyOptions
from pyg_kgtransfer.sources.atlas import load_atlas, load_atlas_names
from pyg_kgtransfer.sources.datasets import Places, load, load_descriptions
from pyg_kgtransfer.sources.hierarchies import read_nested_hierarchy
from pyg_kgtransfer.sources.refinement import refine
from pyg_kgtransfer.sources.refiners import LocalRefiner
from pyg_kgtransfer.sources.text import (
    CachedText,
    SentenceText,
    TextEncoder,
    TfidfText,
    text_vectors,
)
from pyg_kgtransfer.training.batches import BatchOptions
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.transfer.kg_fit import KGFitConfig, kg_fit
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import alone, evaluate
from pyg_kgtransfer.transfer.recipe import Recipe

GOAL = 0.06  # relative gain in hits@10 over the base
DATA = ("codex-s", "atlas", "umls", "wn18rr", "fb15k-237")
TUNED = ("codex-s", "atlas", "umls")  # runs on the others take too long for trials
FEW = 0.25  # facts whose rarer end is among the rarest quarter are those of few-triple entities
LARGE_EPOCHS = 8  # on wn18rr and fb15k-237
MANY = 120_000  # entities, as in YAGO3-10
NOTHING = HierarchyOptions(cohesion=0.0, separation=0.0, distance=0.0, anchor=0.0)
STAGES: Mapping[str, HierarchyOptions] = {
    "mixture": NOTHING,
    "anchor": HierarchyOptions(cohesion=0.0, separation=0.0, distance=0.0),
    "cohesion": HierarchyOptions(separation=0.0, distance=0.0),
    "separation": HierarchyOptions(distance=0.0),
    "kg_fit": HierarchyOptions(),
}
MADE_BY = {"seed": "seed_hierarchy", "gpt35": "llm_hierarchy_gpt35", "gpt4o": "llm_hierarchy"}


def _recipe(
    decoder: str,
    objective: ObjectiveConfig,
    optimizer: tuple[str, float],
    *,
    epochs: int,
    width: int = 128,
    **model: Any,
) -> Recipe:
    return Recipe(
        ModelConfig(decoder=decoder, width=width, **{"encoder": "shallow", **model}),
        objective,
        BatchOptions(batch_size=512),
        TrainConfig(
            epochs=epochs,
            optimizer=optimizer[0],
            learning_rate=optimizer[1],
            schedule="linear",
            validate_every=5,
            progress=False,
            accelerator="cpu",
        ),
    )


def _sampled(decoder: str, margin: float, *, negatives: int = 64, **more: Any) -> Recipe:
    loss = ObjectiveConfig("self_adversarial", margin=margin, num_negatives=negatives)
    return _recipe(decoder, loss, ("adam", 1e-2), **{"epochs": 25, **more})


def _one_vs_all(decoder: str, optimizer: tuple[str, float], n3: float = 0.0, **more: Any) -> Recipe:
    return _recipe(decoder, ObjectiveConfig("one_vs_all", n3=n3), optimizer, **more)


MODELS: Mapping[str, Recipe] = {
    "transe": _sampled("transe_l2", 9.0),
    "rotate": _sampled("rotate", 6.0),
    "protate": _sampled("protate", 6.0, negatives=32, width=64),
    "hake": _sampled("hake", 6.0, negatives=32, width=64),
    "distmult": _one_vs_all("distmult", ("adagrad", 0.1), 0.01, epochs=20),
    "complex": _one_vs_all("complex", ("adagrad", 0.1), 0.01, epochs=20),
    "tucker": _one_vs_all("tucker", ("adam", 3e-3), epochs=10, width=64),
    "conve": _one_vs_all("conve", ("adam", 3e-3), epochs=10, width=64),
    "compgcn": _one_vs_all(
        "distmult", ("adagrad", 0.1), 0.005, epochs=15,
        encoder="compgcn", operator="mult", residual=False, jump=True,
    ),
}  # fmt: skip
ON = {
    "codex-s": tuple(MODELS),
    "atlas": ("transe", "rotate", "distmult", "complex", "compgcn"),
    "umls": ("transe", "rotate", "distmult"),
    "wn18rr": ("transe", "rotate", "distmult"),
    "fb15k-237": ("transe", "rotate"),
}


@dataclass(frozen=True)
class Setting:
    """What a trial changes in a model's recipe.

    Attributes:
        rate: Learning rate, in that of the recipe.
        firmness: Margin or N3 weight, in that of the recipe.
        share: Of free vectors in the mixture (KG-FIT only).
        adapter: Hidden units on the text vectors (KG-FIT only).
    """

    rate: float = 1.0
    firmness: float = 1.0
    share: float = 0.6
    adapter: int = 0

    def recipe(self, model: str, data: str = "") -> Recipe:
        """The recipe of a model under this setting; the few facts of the atlas want more N3."""
        given = MODELS[model]
        loss, training = given.objective, given.training
        if data == "atlas":
            loss = replace(loss, n3=20 * loss.n3)
        return replace(
            given,
            model=replace(given.model, share=self.share),
            objective=replace(loss, margin=loss.margin * self.firmness, n3=loss.n3 * self.firmness),
            training=replace(training, learning_rate=training.learning_rate * self.rate),
        )


BASE_TRIALS = tuple(Setting(rate, firm) for rate in (1.0, 0.3) for firm in (1.0, 0.5))
RATE_TRIALS = tuple(Setting(rate) for rate in (1.0, 0.3, 0.5, 2.0))  # no margin, no N3
FIT_TRIALS = tuple((share, adapter) for adapter in (0, 128) for share in (0.6, 0.9))
LINK_WEIGHT = 10.0  # of the facts beside the constraints; with 2 RotatE lost


@dataclass(eq=False)
class Task:
    """A graph with the words for its entities.

    Attributes:
        name: Of the data set.
        split: The graph.
        descriptions: Of its entities.
        encoder: From text to vectors.
        trees: Hierarchies by who made them.
        built: What making them took.
    """

    name: str
    split: Split
    descriptions: Mapping[str, str]
    encoder: TextEncoder
    trees: dict[str, Hierarchy] = field(default_factory=dict)
    built: dict[str, float] = field(default_factory=dict)

    def vectors(self, width: int) -> Tensor:
        """Text vectors of a width."""
        graph = self.split.train
        return text_vectors(
            graph.entities,
            self.labels,
            self.descriptions,
            self.encoder,
            width=width,
            cut="principal",
        )

    @property
    def labels(self) -> dict[str, str]:
        """What each entity is called."""
        graph = self.split.train
        return {name: graph.label(i) for i, name in enumerate(graph.entities)}

    def make_tree(self) -> None:
        """Cluster the entities, refine by rules, and note time, memory and threshold."""
        vectors = self.vectors(256)
        start = time.perf_counter()
        found = seed_hierarchy(vectors, self.split.train.entities)
        tree = refine(found.hierarchy, list(self.labels.values()), LocalRefiner(vectors)).hierarchy
        self.trees = {"here": tree}
        self.built = {
            "seconds": time.perf_counter() - start,
            "threshold": found.best.threshold,
            "silhouette": found.best.silhouette or 0.0,
            "clusters": len(tree),
        }
        work = partial(seed_hierarchy, vectors, self.split.train.entities)
        self.built["memory_mb"] = peak_bytes(work) / 2**20

    def read_trees(self, folder: Path) -> None:
        """KG-FIT's own hierarchies; entities are told apart by a table of their labels there."""
        with (folder / "mid2leaf.tsv").open(encoding="utf-8", newline="") as file:
            labels = {row[0]: row[1] for row in csv.reader(file, delimiter="\t")}
        entities = self.split.train.entities
        for name, file_name in MADE_BY.items():
            path = folder / f"{file_name}.json"
            self.trees[name] = read_nested_hierarchy(path, entities, labels, missing="leave")


def trained(task: Task, recipe: Recipe, tree: str, fit: KGFitConfig | None) -> Checkpoint:
    """The base model where ``fit`` is ``None``, else under KG-FIT."""
    if fit is None:
        return pretrain(alone(task.split.train), [task.split], recipe=recipe)
    text = task.vectors(recipe.model.width)
    return kg_fit(task.split, text, task.trees[tree], recipe=recipe, config=fit)


def measured(
    name: str, task: Task, recipe: Recipe, tree: str = "here", fit: KGFitConfig | None = None
) -> Found:
    """Train, select on validation, rank the test facts."""
    checkpoint = trained(task, recipe, tree, fit)
    result = evaluate(checkpoint, task.split)
    metrics = result.metrics()
    figures = {f"{name}.{metric}": metrics[metric] for metric in ("mrr", "hits@1", "hits@10")}
    figures[f"{name}.valid.mrr"] = checkpoint.metrics["valid"]["mrr"]
    figures[f"{name}.seconds"] = checkpoint.metrics["seconds"]
    curve = [
        {k: row[k] for k in ("epoch", "mrr", "hits@10")} for row in checkpoint.metrics["curve"]
    ]
    return Found(figures, {"hits": hits_of(result), "curve": curve})


def hits_of(result: LinkPredictionResult) -> str:
    """Of each test fact on how many sides the answer is among the first ten: a digit each."""
    return "".join(map(str, (result.ranks <= 10).sum(1).tolist()))


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

    def best(self, name: str, trials: Mapping[str, Callable[[str], dict[str, float]]]) -> str:
        """The trial with the highest validation MRR."""
        found = {
            trial: work(f"trial.{self.task.name}.{name}.{trial}") for trial, work in trials.items()
        }
        valid = {
            trial: figures[f"trial.{self.task.name}.{name}.{trial}.valid.mrr"]
            for trial, figures in found.items()
        }
        return max(valid, key=valid.__getitem__)


def tuned(runs: Runs, model: str, seed: int) -> tuple[Setting, Setting]:
    """The settings of base and KG-FIT that validate best, each of as many trials."""

    def of_base(setting: Setting, run: str) -> dict[str, float]:
        return runs.run(model, setting.recipe(model, runs.task.name), seed, run=run)

    loss = MODELS[model].objective
    trials = BASE_TRIALS if loss.n3 or loss.loss == "self_adversarial" else RATE_TRIALS
    named = {f"rate{t.rate:g}.firmness{t.firmness:g}": t for t in trials}
    base = named[runs.best(model, {n: partial(of_base, t) for n, t in named.items()})]
    candidates = {
        f"share{share:g}.adapter{adapter}": replace(base, share=share, adapter=adapter)
        for share, adapter in FIT_TRIALS
    }

    def of_fit(setting: Setting, run: str) -> dict[str, float]:
        fit = fit_config(setting, "kg_fit")
        return runs.run(model, setting.recipe(model, runs.task.name), seed, run=run, fit=fit)

    best = runs.best(f"{model}.kg_fit", {n: partial(of_fit, t) for n, t in candidates.items()})
    return base, candidates[best]


def fit_config(setting: Setting, stage: str) -> KGFitConfig:
    """KG-FIT up to a stage."""
    return KGFitConfig(LINK_WEIGHT, STAGES[stage], adapter=setting.adapter)


def stepwise(runs: Runs, model: str, *, stages: Sequence[str]) -> None:
    """Base and stages of one model, all seeds; the first seed's trials choose the settings."""
    seeds = runs.benchmark.seeds
    base, fit = tuned(runs, model, seeds[0])
    for seed in seeds:
        runs.run(f"{model}.base", base.recipe(model, runs.task.name), seed)
        for stage in stages:
            runs.run(
                f"{model}.{stage}",
                fit.recipe(model, runs.task.name),
                seed,
                fit=fit_config(fit, stage),
            )


def _shorter(recipe: Recipe) -> Recipe:
    """Fewer epochs, for a large graph."""
    return replace(recipe, training=replace(recipe.training, epochs=LARGE_EPOCHS, validate_every=2),
                   validation_size=2000)  # fmt: skip


def by_maker(runs: Runs, model: str) -> None:
    """Base, mixture and KG-FIT under each of the hierarchies that others made; the first seed."""
    seed, setting = runs.benchmark.seeds[0], Setting()
    recipe = _shorter(setting.recipe(model))
    runs.run(f"{model}.base", recipe, seed)
    first = next(iter(runs.task.trees))  # whose it is does not matter to the mixture
    runs.run(f"{model}.mixture", recipe, seed, tree=first, fit=fit_config(setting, "mixture"))
    for maker in runs.task.trees:
        fit = fit_config(setting, "kg_fit")
        stage = "kg_fit" if maker == "here" else f"kg_fit.{maker}"
        runs.run(f"{model}.{stage}", recipe, seed, tree=maker, fit=fit)


def split_of(name: str) -> Split:
    """The graph of a set; of the atlas GeoNames, alone."""
    return load_atlas().geonames if name == "atlas" else load(name, offline=True)


def descriptions_of(name: str) -> dict[str, str]:
    """What is said of the entities of a set; in the atlas their names in a dozen languages."""
    if name == "atlas":
        return {entity: "; ".join(names) for entity, names in load_atlas_names().items()}
    return load_descriptions(name, offline=True)


@cache
def _few(name: str) -> np.ndarray:
    """Test facts whose rarer end is among the rarest quarter."""
    split = split_of(name)
    rarer = split.train.degrees()[split.test.triples[:, [0, 2]]].min(1).values.double()
    return (rarer <= rarer.quantile(FEW)).numpy()


def many_entities(count: int) -> dict[str, float]:
    """What a hierarchy of so many entities takes: synthetic vectors around 3,000 centres."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(3000, 256, generator=generator)
    vectors = torch.randn(count, 256, generator=generator).mul_(0.5)
    vectors += centres[torch.randint(3000, (count,), generator=generator)]
    entities = Vocabulary(map(str, range(count)), kind="entity")
    found: list[Clustered] = []
    start = time.perf_counter()
    peak = peak_bytes(lambda: found.append(seed_hierarchy(vectors, entities)))
    return {
        "many.entities": float(count),
        "many.hierarchy.seconds": time.perf_counter() - start,
        "many.hierarchy.memory_mb": peak / 2**20,
        "many.hierarchy.clusters": float(found[0].best.num_clusters),
        "many.hierarchy.silhouette": found[0].best.silhouette or 0.0,
    }


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


def relative(base: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """How much higher the mean is, in that of the base, with a paired bootstrap interval (95 %)."""

    def gain(base: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
        return other.mean(axis) / base.mean(axis) - 1.0

    interval = bootstrap(
        (base, other), gain, paired=True, n_resamples=1000, method="percentile", random_state=0
    ).confidence_interval
    return float(gain(base, other)), float(interval.low), float(interval.high)


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
        help="these stages alone, beside the base",
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
        benchmark.run("many", partial(many_entities, count), settings={"entities": count})
    figures: dict[str, float] = {}
    rows: list[dict[str, Any]] = []
    for name in names:
        encoder = words if name == "atlas" else sentences
        task = Task(name, splits[name], descriptions_of(name), encoder)
        if name == "fb15k-237":
            task.read_trees(Places.given().root / "kg-fit" / "FB15K-237")
        else:
            task.make_tree()
        figures |= {f"{name}.hierarchy.{key}": value for key, value in task.built.items()}
        runs = Runs(benchmark, task)
        for model in ON[name][: 2 if given.quick else None]:
            if given.models and model not in given.models:
                continue
            if name in TUNED:
                stepwise(runs, model, stages=given.stages)
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
    "Tuning": f"on {' and '.join(TUNED)}, by validation MRR of the first seed: {len(BASE_TRIALS)} "
    "trials for the base (learning rate, and margin or N3 where there is one), then as many for "
    "KG-FIT on top of them "
    "(share of free vectors, adapter or none); other sets: the first of these settings",
    "Text": "names and descriptions by all-MiniLM-L6-v2, principal directions of either half; in "
    "the atlas names in twelve languages by TF-IDF, as everywhere with --quick",
    "Hierarchies": "made here by average linkage and refined by rules; on fb15k-237 those released "
    "with KG-FIT (seed, by GPT-3.5, by GPT-4o)",
    "Gain": "of hits@10, relative to the base on the same facts, mean over seeds; 95 % paired "
    "bootstrap over facts",
    "Few triples": f"facts whose rarer end is among the rarest {FEW:.0%} by training degree",
}

if __name__ == "__main__":
    main()
