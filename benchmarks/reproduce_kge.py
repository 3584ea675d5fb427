"""Known models on known graphs: do they reach the figures that others have published?

    python -m benchmarks.reproduce_kge [--quick] [--rerun-pykeen] --out FILE.json

DistMult, ComplEx, RotatE, TransE and CompGCN before DistMult on umls, kinship and codex-s, and
ComplEx on fb15k-237 for twenty minutes. With --quick: umls and kinship, one seed. A reference is a
published figure under the same protocol, or PyKEEN's model trained here on the same triples
(--rerun-pykeen, needs the extra ``bench``); where there is neither, none is claimed.
"""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import pykeen_rerun
from benchmarks.protocol import Benchmark, Found, fingerprints, parser
from benchmarks.recipes import ADAGRAD, recipe_of, with_seed
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.models.build import ModelConfig
from pyg_kgtransfer.objectives.build import ObjectiveConfig
from pyg_kgtransfer.sources.datasets import load
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import alone, evaluate
from pyg_kgtransfer.transfer.recipe import Recipe

QUICK, LONG = ("umls", "kinship"), ("fb15k-237",)
DATA = (*QUICK, "codex-s", *LONG)
TOLERANCE = 0.01  # of MRR, below a reference
BUDGET_SECONDS = 1200.0  # of training on fb15k-237

PROTOCOL = {
    "Task": "link prediction on the published split; every test fact asked from both sides, heads "
    "and tails pooled, among all entities of the graph",
    "Filter": "test ranks by train, valid and test; validation ranks by train and valid",
    "Ranks": "realistic: the mean of the optimistic and the pessimistic rank of ties, 1-based",
    "Models": "reciprocal relations: (?, r, t) is asked with a vector of its own, as with inverse "
    "triples; compgcn is one CompGCN layer before DistMult; widths count real numbers",
    "Selection": "the weights of the highest validation MRR, every five epochs, stopping after "
    "several without a better one; hyper-parameters were chosen on validation MRR, lightly",
    "Seeds": "medians over seeds, with lowest and highest in the figures; one seed on fb15k-237",
    "Verdict": f"reached: at most {TOLERANCE} MRR below the reference, or above it",
    "PyKEEN": pykeen_rerun.PROTOCOL,
    "PyKEEN on codex-s": pykeen_rerun.LONG_PROTOCOL,
    "PyKEEN's CompGCN": "one layer before DistMult, trained as the bilinear ones",
}


@dataclass(frozen=True)
class Reference:
    """A figure of others: its MRR, and who says so, under which protocol."""

    mrr: float
    source: str


_CODEX = (
    "Safavi and Koutra 2020, arXiv 2009.07810, and the table of github.com/tsafavi/codex: LibKGE, "
    "filtered, both sides, ties at the rounded mean rank; "
)
PUBLISHED: Mapping[tuple[str, str], Reference] = {
    ("codex-s", "complex"): Reference(
        0.465,
        _CODEX + "1vsAll-kl (Chen et al. 2021, arXiv 2110.02834, with N3 and width 2000: 0.472)",
    ),
    ("codex-s", "transe"): Reference(0.354, _CODEX + "NegSamp-kl, L2, reciprocal, width 512"),
    ("fb15k-237", "complex"): Reference(
        0.348,
        "README of github.com/uma-pi1/kge (LibKGE): filtered, both sides, ties at the rounded mean "
        "rank; NegSamp-kl (Chen et al. 2021, arXiv 2110.02834, N3, width 2000: 0.366)",
    ),
}


def _recipe(
    decoder: str,
    loss: ObjectiveConfig,
    optimizer: tuple[str, float],
    *,
    epochs: int,
    width: int = 256,
    batch_size: int = 256,
    schedule: str = "constant",
) -> Recipe:
    """A shallow model with its loss and training; what is not listed is the same for all."""
    return recipe_of(
        ModelConfig(encoder="shallow", decoder=decoder, width=width),
        loss,
        optimizer,
        batch_size=batch_size,
        epochs=epochs,
        schedule=schedule,
        patience=6 if schedule == "constant" else None,
        save_every=epochs,
        save_seconds=60,
    )


def _with_compgcn(shallow: Recipe) -> Recipe:
    """The same behind one CompGCN layer that adds to the entities' free vectors."""
    model = replace(shallow.model, encoder="compgcn", operator="mult", residual=False, jump=True)
    return replace(shallow, model=model)


def _one_vs_all(n3: float = 0.0, num_candidates: int | None = None) -> ObjectiveConfig:
    return ObjectiveConfig("one_vs_all", n3=n3, num_candidates=num_candidates)


def _sampled(
    decoder: str, margin: float, num_negatives: int, rate: float, *, epochs: int, width: int
) -> Recipe:
    """Self-adversarial sampling, Adam, a linear schedule."""
    loss = ObjectiveConfig("self_adversarial", margin=margin, num_negatives=num_negatives)
    options = {"epochs": epochs, "width": width, "batch_size": 512}
    return _recipe(decoder, loss, ("adam", rate), schedule="linear", **options)


_ADAM = ("adam", 5e-3)
_SMALL_ROTATE = _sampled("rotate", 6.0, 64, 2e-2, epochs=100, width=128)
_FB15K237 = _recipe("complex", _one_vs_all(0.02), ADAGRAD, epochs=100, batch_size=1024)
RECIPES: Mapping[tuple[str, str], Recipe] = {
    ("umls", "distmult"): _recipe("distmult", _one_vs_all(0.003), ADAGRAD, epochs=100),
    ("umls", "complex"): _recipe("complex", _one_vs_all(0.005), ADAGRAD, epochs=100),
    ("umls", "rotate"): _SMALL_ROTATE,
    ("umls", "transe"): _recipe("transe_l2", _one_vs_all(), _ADAM, epochs=100, width=128),
    ("umls", "compgcn"): _with_compgcn(
        _recipe("distmult", _one_vs_all(), _ADAM, epochs=60, width=128, batch_size=512)
    ),
    ("kinship", "distmult"): _recipe("distmult", _one_vs_all(0.01), ADAGRAD, epochs=100),
    ("kinship", "complex"): _recipe("complex", _one_vs_all(0.01), ADAGRAD, epochs=100),
    ("kinship", "rotate"): _SMALL_ROTATE,
    ("kinship", "transe"): _recipe("transe_l1", _one_vs_all(), _ADAM, epochs=200, width=128),
    ("kinship", "compgcn"): _with_compgcn(
        _recipe("distmult", _one_vs_all(), _ADAM, epochs=60, width=128, batch_size=512)
    ),
    ("codex-s", "distmult"): _recipe(
        "distmult", _one_vs_all(0.01), ADAGRAD, epochs=60, batch_size=512
    ),
    ("codex-s", "complex"): _recipe(
        "complex", _one_vs_all(0.01), ADAGRAD, epochs=120, width=512, batch_size=1024
    ),
    ("codex-s", "rotate"): _sampled("rotate", 6.0, 128, 1e-2, epochs=60, width=128),
    ("codex-s", "transe"): _sampled("transe_l2", 9.0, 128, 1e-2, epochs=60, width=256),
    ("codex-s", "compgcn"): _with_compgcn(
        _recipe("distmult", _one_vs_all(0.005), ADAGRAD, epochs=40, width=128, batch_size=512)
    ),
    ("fb15k-237", "complex"): replace(
        _FB15K237,
        training=replace(
            _FB15K237.training, max_seconds=BUDGET_SECONDS, validate_every=1, patience=None
        ),
        validation_size=2000,
    ),
}


def train_and_rank(name: str, split: Split, chosen: Recipe, run_dir: Path | None = None) -> Found:
    """Train on a split, select on its validation facts, rank its test facts."""
    checkpoint = pretrain(alone(split.train), [split], recipe=chosen, run_dir=run_dir)
    metrics = evaluate(checkpoint, split).metrics()
    kept = ("mrr", "hits@1", "hits@10", "head.mrr", "tail.mrr")
    figures = {f"{name}.{metric}": metrics[metric] for metric in kept}
    figures[f"{name}.valid.mrr"] = checkpoint.metrics["valid"]["mrr"]
    figures[f"{name}.seconds"] = checkpoint.metrics["seconds"]
    notes = {key: checkpoint.metrics[key] for key in ("best_epoch", "stop_reason", "curve")}
    return Found(figures, notes)


def run_model(benchmark: Benchmark, split: Split, dataset: str, model: str) -> None:
    """One model on one graph, once a seed; on fb15k-237 with the first seed, and resumable."""
    name, is_long = f"{dataset}.{model}", dataset in LONG
    own = {"data": {dataset: benchmark.data[dataset]}}
    for seed in benchmark.seeds[:1] if is_long else benchmark.seeds:
        chosen, run = with_seed(RECIPES[dataset, model], seed), f"{name}.seed{seed}"
        run_dir = benchmark.folder / run if is_long else None
        work = partial(train_and_rank, name, split, chosen, run_dir)
        benchmark.run(run, work, settings=own | {"recipe": asdict(chosen)})
        if run_dir is not None:
            shutil.rmtree(run_dir, ignore_errors=True)


def run_pykeen(benchmark: Benchmark, split: Split, dataset: str, model: str) -> None:
    """PyKEEN's model on the same graph, with the first seed, where nobody published a figure."""
    name = f"{dataset}.{model}.pykeen"
    tried = pykeen_rerun.settings_of(model, is_long=dataset not in QUICK)
    for seed in benchmark.seeds[:1] if tried and (dataset, model) not in PUBLISHED else ():
        work = partial(pykeen_rerun.rerun, name, split, tried, seed=seed)
        settings = {
            "data": {dataset: benchmark.data[dataset]},
            "tried": tried,
            "protocol": pykeen_rerun.PROTOCOL,
        }
        benchmark.run(f"{name}.seed{seed}", work, settings=settings)


def reference_of(figures: Mapping[str, float], dataset: str, model: str) -> Reference | None:
    """The published figure, else that of PyKEEN trained here, else none."""
    if (dataset, model) in PUBLISHED:
        return PUBLISHED[dataset, model]
    found = figures.get(f"{dataset}.{model}.pykeen.mrr")
    return None if found is None else Reference(found, "PyKEEN, trained here (see protocol)")


def compared(
    figures: Mapping[str, float], pairs: Sequence[tuple[str, str]]
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Every model beside its reference: further figures, and the rows of the table."""
    further: dict[str, float] = {}
    rows = []
    for dataset, model in pairs:
        name = f"{dataset}.{model}"
        reference = reference_of(figures, dataset, model)
        mrr, difference = figures[f"{name}.mrr"], None
        verdict, source = "no reference", "no published figure under this protocol"
        if reference is not None:
            difference, source = mrr - reference.mrr, reference.source
            verdict = "reached" if difference >= -TOLERANCE else "not reached"
            further |= {f"{name}.reference": reference.mrr, f"{name}.difference": difference}
            further[f"{name}.reached"] = float(difference >= -TOLERANCE)
        rows.append(
            {
                "data": dataset,
                "model": model,
                "MRR": mrr,
                "lowest": figures.get(f"{name}.mrr.lowest"),
                "highest": figures.get(f"{name}.mrr.highest"),
                "reference": None if reference is None else reference.mrr,
                "difference": difference,
                "verdict": verdict,
                "source": source,
            }
        )
    return further, rows


def plot_curve(curve: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw validation MRR over seconds of training (PNG).

    Raises:
        ImportError: If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("the curve needs `pip install pyg-kgtransfer[bench]`") from error
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot([p["seconds"] for p in curve], [p["mrr"] for p in curve], marker="o")
    axes.axhline(PUBLISHED["fb15k-237", "complex"].mrr, linestyle="--", color="grey")
    axes.set(
        title="ComplEx on fb15k-237: validation; dashed: test of LibKGE",
        xlabel="seconds of training",
        ylabel="filtered MRR of a sample",
    )
    figure.savefig(path, dpi=120)


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not on file yet, and report."""
    options = parser(__doc__ or "")
    options.add_argument("--rerun-pykeen", action="store_true", help="train PyKEEN's models too")
    options.add_argument("--data", nargs="+", choices=DATA, metavar="NAME", help="these sets alone")
    given = options.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    names = given.data or (QUICK if given.quick else DATA)
    splits = {name: load(name, offline=True) for name in names}
    data = {name: fingerprints(split) for name, split in splits.items()}
    benchmark = Benchmark.begin("reproduce_kge", given, data=data)
    pairs = [pair for pair in RECIPES if pair[0] in splits]
    for dataset, model in pairs:
        run_model(benchmark, splits[dataset], dataset, model)
        if given.rerun_pykeen:
            run_pykeen(benchmark, splits[dataset], dataset, model)
    further, rows = compared(benchmark.figures(), pairs)
    benchmark.finish(protocol=PROTOCOL, figures=further, table=rows)
    for run, found in benchmark.done.items():
        if run.startswith("fb15k-237.complex"):
            plot_curve(found.notes["curve"], given.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
