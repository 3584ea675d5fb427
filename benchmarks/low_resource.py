"""How much data transfer saves: targets with 5, 10, 25, 50 and 100 % of their training facts.

    python -m benchmarks.low_resource [--quick] [--data NAME ...] [--shares S ...] --out FILE.json

Targets: GeoNames of the embedded atlas (sources: CLDR and ISO) and DBP-5L's Greek (sources: four
other languages), learned from scratch, jointly, fine-tuned, distilled, adapted, and asked of
published foundation weights without training. Control: umls beside nations, which is unrelated.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.low_resource_task import ADAPTATION, AtlasAt, GreekAt, UnrelatedAt, ranked
from benchmarks.protocol import Benchmark, Found, fingerprints, parser
from pyg_kgtransfer.evaluation.comparison import compare
from pyg_kgtransfer.evaluation.result import LinkPredictionResult
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.sources.datasets import Places
from pyg_kgtransfer.training.durable_files import file_sha256
from pyg_kgtransfer.training.foundation_weights import read_foundation
from pyg_kgtransfer.transfer.zero_shot import zero_shot

TASKS = {"atlas": AtlasAt, "greek": GreekAt, "umls": UnrelatedAt}
SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
WEIGHTS = "ultra_3g"
METHODS = {
    "scratch": "from scratch",
    "placebo": "beside random facts",
    "unlinked": "with the sources, unlinked",
    "joint": "jointly with the sources",
    "finetuned": "joint model, fine-tuned",
    "distilled": "distilled student",
    "adapted": "joint model, adapted",
    "foundation": "foundation model, untrained",
}
TITLES = {"atlas": "GeoNames, from CLDR and ISO", "greek": "Greek, from four languages"}


def share_figures(name: str, share: float, seed: int, *, quick: bool) -> Found:
    """Test MRR of each way to learn, and what it gains over learning from scratch."""
    task = TASKS[name](share, seed, quick)
    began = time.perf_counter()
    models = dict(task.models())
    if name != "umls":
        models["foundation"] = zero_shot(read_foundation(weights_path()), task.split.train)
    results = {
        method: in_target_order(ranked(model, task.split, task.whole), task.whole)
        for method, model in models.items()
    }
    stem = f"{name}.{share:g}"
    figures = {f"{stem}.facts": float(task.split.train.num_triples)}
    notes: dict[str, Any] = {}
    for method, result in results.items():
        metrics = result.metrics()
        figures |= {
            f"{stem}.{method}.mrr": metrics["mrr"],
            f"{stem}.{method}.hits@10": metrics["hits@10"],
        }
        if method != "scratch":
            gain = compare(results["scratch"], result).overall["mrr"]
            figures |= {
                f"{stem}.{method}.gain": gain.gain,
                f"{stem}.{method}.gain.low": gain.low,
                f"{stem}.{method}.gain.high": gain.high,
            }
            notes[f"{method}: compare says"] = gain.verdict
    if "placebo" in models:
        gain = compare(results["placebo"], results["joint"]).overall["mrr"]
        figures |= {
            f"{stem}.over_placebo": gain.gain,
            f"{stem}.over_placebo.low": gain.low,
            f"{stem}.over_placebo.high": gain.high,
        }
        notes["joint over placebo: compare says"] = gain.verdict
    if "adapted" in models:
        for when, gap in models["adapted"].metrics["domain_gap"].items():
            figures |= {f"{stem}.gap.{when}.{kind}": value for kind, value in gap.items()}
    figures[f"{stem}.seconds"] = time.perf_counter() - began
    return Found(figures, notes)


def settings_of(name: str, share: float, seed: int, *, quick: bool) -> dict[str, Any]:
    """What decides the result of a run."""
    settings: dict[str, Any] = TASKS[name](share, seed, quick).decisive()
    return settings if name == "umls" else settings | {"weights": file_sha256(weights_path())}


def weights_path() -> Path:
    """The published weights."""
    return Places.given().root / "ultra-ckpts" / f"{WEIGHTS}.pth"


def in_target_order(result: LinkPredictionResult, split: Split) -> LinkPredictionResult:
    """The same ranks under the target's own ids, so that models of other graphs compare."""
    return replace(result, triples=split.test.triples)


def savings(found: Mapping[str, float], name: str, shares: Sequence[float]) -> dict[str, float]:
    """The smallest share with which each way does as well as from scratch with all facts."""
    whole = found.get(f"{name}.1.scratch.mrr")
    if whole is None:
        return {}
    enough = {
        method: [s for s in sorted(shares) if found.get(f"{name}.{s:g}.{method}.mrr", 0) >= whole]
        for method in METHODS
        if method != "scratch"
    }
    return {f"{name}.{method}.enough": few[0] for method, few in enough.items() if few}


def rows_of(found: Mapping[str, float], name: str, shares: Sequence[float]) -> list[dict[str, Any]]:
    """A row for each share."""
    rows = []
    for share in shares:
        stem = f"{name}.{share:g}"
        if f"{stem}.facts" not in found:
            continue
        row: dict[str, Any] = {"target": name, "share": f"{share:.0%}"}
        row["facts"] = int(found[f"{stem}.facts"])
        for method, title in METHODS.items():
            value = found.get(f"{stem}.{method}.mrr")
            low = found.get(f"{stem}.{method}.gain.low", 0.0)
            high = found.get(f"{stem}.{method}.gain.high", 0.0)
            mark = "" if method == "scratch" else " +" if low > 0 else " -" if high < 0 else " ="
            row[title] = "-" if value is None else f"{value:.3f}{mark}"
        gain = [found.get(f"{stem}.over_placebo{end}") for end in ("", ".low", ".high")]
        told = "{:+.3f} [{:.3f}, {:.3f}]".format(*gain) if gain[0] is not None else "-"
        row["over random facts"] = told
        rows.append(row)
    return rows


def plot(found: Mapping[str, float], names: Sequence[str], path: Path) -> None:
    """MRR by share of the training facts, a line for each way to learn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4 * len(names), 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        for method, title in METHODS.items():
            points = [
                (100 * share, found[f"{name}.{share:g}.{method}.mrr"])
                for share in SHARES
                if f"{name}.{share:g}.{method}.mrr" in found
            ]
            if points:
                style = {"color": "black", "linewidth": 2.2} if method == "scratch" else {}
                (line,) = axes.plot(*zip(*points, strict=True), marker="o", label=title, **style)
            for percent, _ in points:
                stem = f"{name}.{percent / 100:g}"
                ends = [found.get(f"{stem}.{method}.gain.{end}") for end in ("low", "high")]
                if None not in ends:  # of the gain, from the black line
                    base = found[f"{stem}.scratch.mrr"]
                    axes.vlines(percent, *(base + e for e in ends), color=line.get_color())
        whole = found.get(f"{name}.1.scratch.mrr")
        if whole is not None:
            axes.axhline(whole, color="black", linestyle=":", linewidth=1)
            axes.text(5, whole, "from scratch with all facts", va="bottom", fontsize=8)
        axes.set_xscale("log")
        axes.set_xticks([100 * s for s in SHARES], [f"{100 * s:g} %" for s in SHARES])
        axes.minorticks_off()
        axes.set_xlabel("share of the target's training facts")
        axes.set_ylabel("test MRR")
        axes.set_ylim(bottom=0)
        axes.set_title(TITLES[name])
    panels[0].legend(fontsize=8)
    figure.suptitle("How much data transfer saves")
    figure.savefig(path, dpi=150)


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not on record yet, and report."""
    options = parser(__doc__ or "")
    options.add_argument("--data", nargs="+", choices=TASKS, default=list(TASKS), metavar="NAME")
    options.add_argument("--shares", nargs="+", type=float, default=SHARES, metavar="SHARE")
    given = options.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    names = [n for n in given.data if n != "greek"] if given.quick else given.data
    shares = (0.1, 1.0) if given.quick else tuple(given.shares)
    data = {name: fingerprints(TASKS[name](1.0, 0).whole) for name in names}
    benchmark = Benchmark.begin("low_resource", given, data=data)
    for name in names:
        for seed in benchmark.seeds if name == "umls" else benchmark.seeds[:1]:
            for share in shares:
                work = partial(share_figures, name, share, seed, quick=given.quick)
                run = f"{name}.{share:g}.seed{seed}"
                settings = settings_of(name, share, seed, quick=given.quick)
                benchmark.run(run, work, settings=settings | {"data": {name: data[name]}})
    found = benchmark.figures()
    more = {k: v for name in names for k, v in savings(found, name, shares).items()}
    drawn = [name for name in names if name in TITLES]
    if drawn:
        plot(found, drawn, given.out.with_suffix(".png"))
    table = [row for name in names for row in rows_of(found, name, shares)]
    benchmark.finish(protocol=PROTOCOL, figures=more, table=table)


PROTOCOL = {
    "Share": "a random share of the target's training facts, smaller ones within larger ones; all "
    "validation facts select weights, for every way to learn; test facts are ranked from both "
    "sides among the target's entities, filtered by all facts, those left out too",
    "atlas": "R-GCN before ComplEx, strict links (no source fact on a held-out pair), one seed; "
    "foundation model on the target's own facts",
    "greek": "ComplEx without an encoder, one seed; source facts may state test facts (they do "
    "for 92 % of them): copying is part of what is transferred",
    "from scratch": "three weights of N3 and two batch sizes, chosen by validation (umls: two "
    "batch sizes for all three ways); all others have one setting",
    "adapted": f"the joint model trained on with an MMD loss of weight {ADAPTATION.weight} between "
    "entities of one side alone; its lead over the joint model is also that of more steps",
    "foundation": f"{WEIGHTS}, not trained, reads the target's share of facts alone",
    "unlinked": "a control: the same sources and the same training, no links",
    "umls": "a control: ComplEx, beside nations (no common name, no vector in common) against "
    "alone, and against the placebo: as many facts of random entities; what is over that is told "
    "by nations, and 'compare' must not call it a gain; medians over seeds",
    "plot": "bars: the interval of the gain over from scratch",
    "marks": "+ a gain over from scratch whose paired bootstrap interval (95 %) lies above 0, - a "
    "loss likewise, = neither; of several seeds, medians of the interval's ends",
    "enough": "the smallest share with which a way does as well as from scratch with all facts",
}

if __name__ == "__main__":
    main()
