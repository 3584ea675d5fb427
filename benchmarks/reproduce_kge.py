"""Known models on known graphs: do they reach the figures that others have published?

    python -m benchmarks.reproduce_kge [--quick] [--rerun-pykeen] --out FILE.json

DistMult, ComplEx, RotatE, TransE and CompGCN before DistMult on umls, kinship and codex-s, and
ComplEx on fb15k-237 for twenty minutes. With --quick: umls and kinship, one seed. A reference is a
published figure under the same protocol, or PyKEEN's model trained here on the same triples
(--rerun-pykeen, needs the extra ``bench``); where there is neither, none is claimed.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks import pykeen_rerun
from benchmarks.protocol import Benchmark, Found
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.models.build import ModelConfig
from pyg_kgtransfer.objectives.build import ObjectiveConfig
from pyg_kgtransfer.training.batches import BatchOptions
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import alone, evaluate
from pyg_kgtransfer.transfer.recipe import Recipe

MODELS = ("distmult", "complex", "rotate", "transe", "compgcn")
SMALL, LARGE = ("umls", "kinship"), ("codex-s",)
TOLERANCE = 0.01  # of MRR, below a reference
BUDGET_SECONDS = 1200.0  # of training on fb15k-237

PROTOCOL = {
    "Task": "link prediction on the published split; every test fact asked from both sides, heads "
    "and tails pooled, among all entities of the graph",
    "Filter": "test ranks by train, valid and test; validation ranks by train and valid",
    "Ranks": "realistic: the mean of the optimistic and the pessimistic rank of ties, 1-based",
    "Models": "reciprocal relations: (?, r, t) is asked with a vector of its own, as with inverse "
    "triples; transe is -||h + r - t||_2; compgcn is one CompGCN layer before DistMult",
    "Selection": "the weights of the highest validation MRR, every five epochs, stopping after "
    "several without a better one; hyper-parameters were chosen on validation MRR, lightly",
    "Seeds": "medians over seeds, with lowest and highest in the figures; one seed on fb15k-237",
    "Verdict": f"reached: at most {TOLERANCE} MRR below the reference, or above it",
    "PyKEEN": pykeen_rerun.PROTOCOL,
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
    ("codex-s", "complex"): Reference(0.465, _CODEX + "1vsAll-kl"),
    ("codex-s", "transe"): Reference(0.354, _CODEX + "NegSamp-kl, L2, reciprocal, width 512"),
    ("fb15k-237", "complex"): Reference(
        0.348,
        "README of github.com/uma-pi1/kge (LibKGE): filtered, both sides, ties at the rounded mean "
        "rank; NegSamp-kl",
    ),
}


def recipe(
    decoder: str,
    *,
    encoder: str = "shallow",
    width: int = 256,
    objective: ObjectiveConfig,
    batch_size: int = 256,
    training: TrainConfig,
) -> Recipe:
    """A model, its loss and its training; the rest is the same for all."""
    return Recipe(
        ModelConfig(
            encoder=encoder,
            decoder=decoder,
            width=width,
            operator="mult",
            residual=encoder == "shallow",
            jump=encoder != "shallow",
        ),
        objective,
        BatchOptions(batch_size=batch_size),
        replace(training, validate_every=5, patience=6, progress=False),
    )


def _one_vs_all(n3: float = 0.0) -> ObjectiveConfig:
    return ObjectiveConfig("one_vs_all", n3=n3)


def _self_adversarial(margin: float, num_negatives: int) -> ObjectiveConfig:
    return ObjectiveConfig("self_adversarial", margin=margin, num_negatives=num_negatives)


def _adagrad(epochs: int, learning_rate: float = 0.1) -> TrainConfig:
    return TrainConfig(epochs=epochs, optimizer="adagrad", learning_rate=learning_rate)


def _adam(epochs: int, learning_rate: float) -> TrainConfig:
    return TrainConfig(epochs=epochs, optimizer="adam", learning_rate=learning_rate)


RECIPES: Mapping[tuple[str, str], Recipe] = {}


def with_seed(chosen: Recipe, seed: int) -> Recipe:
    """The same recipe with a seed for weights and batches."""
    return replace(
        chosen,
        batches=replace(chosen.batches, seed=seed),
        training=replace(chosen.training, seed=seed),
    )


def train_and_rank(name: str, split: Split, chosen: Recipe, run_dir: Path | None) -> Found:
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
    """One model on one graph, once a seed."""
    name = f"{dataset}.{model}"
    for seed in benchmark.seeds if dataset != "fb15k-237" else benchmark.seeds[:1]:
        chosen = with_seed(RECIPES[dataset, model], seed)
        run = f"{name}.seed{seed}"
        folder = benchmark.folder / run if dataset == "fb15k-237" else None

        def work(chosen: Recipe = chosen, folder: Path | None = folder) -> Found:
            return train_and_rank(name, split, chosen, folder)

        benchmark.run(run, work, settings={"recipe": asdict(chosen)})


def run_pykeen(benchmark: Benchmark, split: Split, dataset: str, model: str) -> None:
    """PyKEEN's model on the same graph, once a seed."""
    name = f"{dataset}.{model}.pykeen"
    settings = {"settings": pykeen_rerun.settings_of(model)}
    for seed in benchmark.seeds if settings["settings"] else ():

        def work(seed: int = seed) -> Found:
            found = pykeen_rerun.rerun(split, model, seed=seed)
            return Found({f"{name}.{key}": v for key, v in found.figures.items()}, found.notes)

        benchmark.run(f"{name}.seed{seed}", work, settings=settings)


def reference_of(
    figures: Mapping[str, float], dataset: str, model: str
) -> Reference | None:
    """The published figure, else that of PyKEEN trained here, else none."""
    if (dataset, model) in PUBLISHED:
        return PUBLISHED[dataset, model]
    name = f"{dataset}.{model}.pykeen.mrr"
    if name not in figures:
        return None
    return Reference(figures[name], "PyKEEN's model, trained here on the same triples")
