"""A foundation model of our own, pre-trained on a few small graphs, on graphs it never saw.

    python -m benchmarks.foundation [--quick] [--seeds N ...] --out FILE.json

One model learns from umls, kinship, nations and codex-s (training facts, each on its own graph). It
then ranks the facts of the ``_ind`` graphs of fb237_v1, WN18RR_v1 and nell_v1, of which it learned
nothing; so does the same network as it was drawn.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch

from benchmarks.protocol import Benchmark, Found, fingerprints, parser
from benchmarks.recipes import with_seed
from pyg_kgtransfer.evaluation.comparison import compare
from pyg_kgtransfer.evaluation.link_prediction import LinkPrediction
from pyg_kgtransfer.evaluation.result import LinkPredictionResult
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.linking.linked import link
from pyg_kgtransfer.models.build import ModelConfig
from pyg_kgtransfer.models.kg_model import GraphModel
from pyg_kgtransfer.objectives.build import ObjectiveConfig
from pyg_kgtransfer.sources.datasets import load, load_inductive
from pyg_kgtransfer.training.batches import BatchOptions
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.recipe import Recipe, fresh_model

SOURCES, UNSEEN = ("umls", "kinship", "nations", "codex-s"), ("fb237_v1", "WN18RR_v1", "nell_v1")
QUICK_SOURCES, QUICK_UNSEEN = ("nations",), ("nell_v1",)


def recipe_of(*, quick: bool) -> Recipe:
    """A network an eighth as wide and deep as ULTRA's, for a budget of an hour of one core."""
    return Recipe(
        ModelConfig(encoder="foundation", width=8 if quick else 32, layers=2 if quick else 4),
        ObjectiveConfig("self_adversarial", num_negatives=32 if quick else 128, margin=0.0),
        BatchOptions(batch_size=32, temperature=1.0 if quick else 2.0),
        TrainConfig(
            epochs=1 if quick else 3,
            optimizer="adamw",
            learning_rate=5e-3,
            schedule="linear",
            warmup=0.02,
            clip_norm=1.0,
            accelerator="cpu",
        ),
        validation_size=50 if quick else 200,
    )


def ranked(model: GraphModel, split: Split) -> LinkPredictionResult:
    """Validation and test facts of a graph never seen, among all its entities."""
    facts = torch.cat([split.valid.triples, split.test.triples])
    rank = LinkPrediction(HeldOut(facts, "test"), split.known(("train", "valid", "test")))
    with torch.no_grad():
        return rank(model.eval(), model.encode(split.train.tensors()))


def pretrained(recipe: Recipe, sources: Mapping[str, Split], unseen: Mapping[str, Split]) -> Found:
    """Both networks on each graph, and how much training on others brought."""
    linked = link([split.train for split in sources.values()], [])
    drawn = fresh_model(recipe, linked)
    before = {name: ranked(drawn, split) for name, split in unseen.items()}
    checkpoint = pretrain(linked, list(sources.values()), recipe=recipe)
    figures = {"seconds": checkpoint.metrics["seconds"], "steps": checkpoint.metrics["steps"]}
    for name, split in unseen.items():
        after = ranked(checkpoint.model, split)
        for metric, gain in compare(before[name], after).overall.items():
            if metric in ("mrr", "hits@10"):
                figures |= {
                    f"{name}.{metric}.random": gain.baseline,
                    f"{name}.{metric}.pretrained": gain.other,
                    f"{name}.{metric}.gain": gain.gain,
                    f"{name}.{metric}.gain.low": gain.low,
                    f"{name}.{metric}.gain.high": gain.high,
                }
    return Found(figures, {"curve": checkpoint.metrics["curve"]})


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not on record yet, and report."""
    given = parser(__doc__ or "").parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    given.seeds = given.seeds or [0]
    names = (QUICK_SOURCES, QUICK_UNSEEN) if given.quick else (SOURCES, UNSEEN)
    sources = {name: load(name, offline=True) for name in names[0]}
    unseen = {name: load_inductive(name, offline=True).unseen for name in names[1]}
    data = {name: fingerprints(split) for name, split in (sources | unseen).items()}
    benchmark = Benchmark.begin("foundation", given, data=data)
    recipe = recipe_of(quick=given.quick)
    for seed in benchmark.seeds:
        chosen = with_seed(recipe, seed)
        work = partial(pretrained, chosen, sources, unseen)
        benchmark.run(f"seed{seed}", work, settings={"recipe": asdict(chosen)})
    benchmark.finish(protocol=PROTOCOL, table=rows_of(benchmark.figures(), names[1]))


def rows_of(found: Mapping[str, float], names: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each graph."""
    return [
        {
            "data": name,
            "MRR, as drawn": found[f"{name}.mrr.random"],
            "pre-trained": found[f"{name}.mrr.pretrained"],
            "gain": found[f"{name}.mrr.gain"],
            "from": found[f"{name}.mrr.gain.low"],
            "to": found[f"{name}.mrr.gain.high"],
            "hits@10, as drawn": found[f"{name}.hits@10.random"],
            "hits@10, pre-trained": found[f"{name}.hits@10.pretrained"],
        }
        for name in names
    ]


PROTOCOL = {
    "Model": "width 32, 4 layers, trained on the training facts of umls, kinship, nations and "
    "codex-s, three epochs, a source's share of the draws as the square root of its size; each "
    "fact is asked on its own graph without the batch; validation on all four selects the weights",
    "As drawn": "the same network, the same seed, untrained",
    "Ranks": "validation and test facts of the graph of unseen entities, both sides, all its "
    "entities candidates, filtered by all its facts, realistic ranks",
    "gain": "pre-trained less as drawn, with a paired bootstrap interval over facts (95 %)",
    "Goal": "a gain whose interval lies above 0",
}

if __name__ == "__main__":
    main()
