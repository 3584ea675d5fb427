"""What is learned beside the facts, or before them, on graphs of few facts: what each part brings.

    python -m benchmarks.augmentation [--quick] [--only DATA ...] --out FILE.json

CompGCN with ComplEx on the atlas (GeoNames alone) and on umls with a fixed quarter of its training
facts: plain; with facts that rules propose; with edge dropout; with hidden edges asked for and with
two views told apart, each beside the loss and before it. Every case has two settings, of which
validation chooses; so has the plain one.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch

from benchmarks.protocol import Benchmark, Found, fingerprints, parser
from pyg_kgtransfer.demo.study import AtlasSettings
from pyg_kgtransfer.evaluation.comparison import compare
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.objectives.auxiliary import AuxiliaryConfig
from pyg_kgtransfer.sources.atlas import load_atlas
from pyg_kgtransfer.sources.datasets import load
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.finetune import finetune
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import alone, evaluate
from pyg_kgtransfer.transfer.recipe import Recipe

DATA = ("atlas", "umls")
FEW = 0.25  # of the training facts of umls
FIRST_EPOCHS = 20  # of what is learned before the facts
N3, BATCH, EPOCHS = {"atlas": 0.2, "umls": 0.03}, {"atlas": 512, "umls": 64}, 60


@dataclass(frozen=True)
class Way:
    """One setting of a case.

    Attributes:
        auxiliary: What is learned beside the facts.
        first: What is learned before them; ``None``: nothing.
        edge_dropout: In training on the facts.
        n3: What the recipe's N3 is multiplied with.
    """

    auxiliary: AuxiliaryConfig = field(default_factory=AuxiliaryConfig)
    first: AuxiliaryConfig | None = None
    edge_dropout: float = 0.0
    n3: float = 1.0


def _before(**options: Any) -> Way:
    return Way(first=AuxiliaryConfig(task=0.0, **options))


CASES: Mapping[str, tuple[Way, Way]] = {
    "plain": (Way(), Way(n3=0.5)),
    "proposed": tuple(Way(AuxiliaryConfig(proposed=weight)) for weight in (0.1, 0.5)),
    "edge_dropout": tuple(Way(edge_dropout=share) for share in (0.1, 0.3)),
    "masked": tuple(Way(AuxiliaryConfig(masked=weight)) for weight in (0.1, 1.0)),
    "masked_first": tuple(_before(masked=1.0, mask_share=share) for share in (0.2, 0.5)),
    "contrastive": tuple(Way(AuxiliaryConfig(contrastive=weight)) for weight in (0.01, 0.1)),
    "contrastive_first": tuple(_before(contrastive=1.0, view_dropout=s) for s in (0.2, 0.5)),
}


def split_of(name: str) -> Split:
    """The graph: GeoNames, or a quarter of the training facts of umls, the same each time."""
    if name == "atlas":
        return load_atlas().geonames
    whole = load(name, offline=True)
    facts = whole.train.triples
    order = torch.randperm(len(facts), generator=torch.Generator().manual_seed(0))
    few = facts[order[: round(FEW * len(facts))].sort().values]
    return replace(whole, train=whole.train.with_triples(few))


def recipe_of(name: str, seed: int, *, quick: bool) -> Recipe:
    """That of the demo's model of GeoNames alone; for umls smaller batches and less N3."""
    settings = AtlasSettings(encoder="compgcn", seed=seed, progress=False)
    recipe = settings.recipe(16 if quick else 100, 3 if quick else EPOCHS, N3[name])
    return replace(
        recipe,
        objective=replace(recipe.objective, num_candidates=None),
        batches=replace(recipe.batches, batch_size=BATCH[name]),
        training=replace(recipe.training, validate_every=3),
    )


def trained(split: Split, recipe: Recipe, way: Way, first_epochs: int) -> Checkpoint:
    """A model of one setting, the best of its epochs by validation."""
    chosen = replace(
        recipe,
        objective=replace(recipe.objective, n3=way.n3 * recipe.objective.n3),
        training=replace(recipe.training, edge_dropout=way.edge_dropout),
        auxiliary=way.auxiliary,
    )
    if way.first is None:
        return pretrain(alone(split.train), [split], recipe=chosen)
    training = replace(recipe.training, epochs=first_epochs, patience=None)
    before = replace(recipe, training=training, auxiliary=way.first)
    start = pretrain(alone(split.train), recipe=before)  # nothing is validated: no question is seen
    return finetune(start, split, recipe=chosen)


def measured(
    name: str, split: Split, recipe: Recipe, cases: Mapping[str, Sequence[Way]], first_epochs: int
) -> Found:
    """Each case, by the setting that validates best, against the plain one."""
    figures: dict[str, float] = {}
    chosen: dict[str, int] = {}
    results = {}
    for case, ways in cases.items():
        models = [trained(split, recipe, way, first_epochs) for way in ways]
        valid = [model.metrics["valid"]["mrr"] for model in models]
        chosen[case] = valid.index(max(valid))
        best = models[chosen[case]]
        results[case] = evaluate(best, split)
        gain = compare(results["plain"], results[case]).overall["mrr"]
        stem = f"{name}.{case}"
        figures |= {
            f"{stem}.valid_mrr": max(valid),
            f"{stem}.mrr": gain.other,
            f"{stem}.hits@10": results[case].metrics()["hits@10"],
            f"{stem}.gain": gain.gain,
            f"{stem}.gain.low": gain.low,
            f"{stem}.gain.high": gain.high,
            f"{stem}.seconds": best.metrics["seconds"],
        }
    return Found(figures, {"chosen": chosen})


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not on record yet, and report."""
    options = parser(__doc__ or "")
    options.add_argument("--only", nargs="+", choices=DATA, default=list(DATA), metavar="DATA")
    given = options.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    splits = {name: split_of(name) for name in given.only}
    data = {name: fingerprints(split) for name, split in splits.items()}
    benchmark = Benchmark.begin("augmentation", given, data=data)
    first_epochs = 2 if given.quick else FIRST_EPOCHS
    cases = {case: ways[: 1 if given.quick else 2] for case, ways in CASES.items()}
    for seed in benchmark.seeds:
        for name, split in splits.items():
            recipe = recipe_of(name, seed, quick=given.quick)
            benchmark.run(
                f"{name}.seed{seed}",
                partial(measured, name, split, recipe, cases, first_epochs),
                settings={
                    "recipe": asdict(recipe),
                    "cases": {case: list(map(asdict, ways)) for case, ways in cases.items()},
                    "first_epochs": first_epochs,
                    "data": {name: data[name]},
                },
            )
    benchmark.finish(protocol=PROTOCOL, table=rows_of(benchmark.figures(), list(splits)))


def rows_of(found: Mapping[str, float], names: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each graph and case."""
    rows = []
    for name in names:
        for case in CASES:
            stem = f"{name}.{case}"
            gain, low, high = (found[f"{stem}.gain{end}"] for end in ("", ".low", ".high"))
            is_plain = case == "plain"
            rows.append({
                "data": name,
                "case": case.replace("_", " "),
                "valid MRR": found[f"{stem}.valid_mrr"],
                "MRR": found[f"{stem}.mrr"],
                "hits@10": found[f"{stem}.hits@10"],
                "gain (95 %)": "" if is_plain else f"{gain:+.3f} [{low:+.3f}, {high:+.3f}]",
                "seconds": round(found[f"{stem}.seconds"]),
            })  # fmt: skip
    return rows


PROTOCOL = {
    "Data": f"GeoNames of the atlas; umls with {FEW:.0%} of its training facts, drawn once",
    "Model": "CompGCN (one layer) with ComplEx, width 100, 1-vs-all with N3, Adagrad, at most "
    f"{EPOCHS} epochs, stopped early; the settings of the demo's model of GeoNames alone",
    "Cases": "proposed: .1 or .5 of the loss on facts of rules mined on the training facts; edge "
    "dropout: .1 or .3; masked: .1 or 1 of asking for hidden facts (a fifth), ends and relation; "
    "contrastive: .01 or .1; first: that alone, on the same training facts, with a share of .2 or "
    f".5, for {FIRST_EPOCHS} epochs, then the plain recipe by fine-tuning; plain: N3 or half of it",
    "Choice": "of two settings a case, and of epochs, by validation MRR, seed by seed",
    "gain": "in test MRR over the plain model of the same seed, with a paired bootstrap interval "
    "over facts (95 %); medians over seeds, of the interval's ends, too",
    "seconds": "of the training that was chosen, without what went before",
}

if __name__ == "__main__":
    main()
