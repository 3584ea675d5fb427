"""A graph of the size of ogbl-wikikg2 on two cores and 16 GB, and a table larger than memory.

    python -m benchmarks.scale [--quick] --out FILE.json [--folder DIR]

Builds a planted graph of 2.5 million entities, 535 relations and 16.1 million facts, opens it
memory-mapped, trains ComplEx for some minutes and ranks test facts among 500 negatives; goes on
with a table of 1024 numbers an entity in buckets on disk, and with CompGCN on drawn neighbours;
and times training steps beside PyKEEN's and PyG's on the same graph. Needs 30 GB of disk in
--folder, and the extra ``bench`` (PyKEEN). With --quick: 20,000 entities, a few seconds each.
"""

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks import timing
from benchmarks.protocol import Benchmark, parser
from benchmarks.scale_others import OTHERS
from benchmarks.scale_task import (
    NEGATIVES,
    Figures,
    built,
    compared,
    in_a_process,
    loaded,
    machine,
    on_neighbours,
    partitioned,
    shape_of,
    trained,
)
from pyg_kgtransfer.process import prepare
from pyg_kgtransfer.sources.synthetic_large import LargeOptions

GOALS = {"peak_gb": 16.0, "speedup": 20.0}
QUICK = LargeOptions(20_000, 50, 100_000, num_held_out=200, num_clusters=10)


def named(part: str, figures: Mapping[str, float]) -> Figures:
    """Figures of a part under its name."""
    return {f"{part}.{name}": value for name, value in figures.items()}


def parts(given, folder: Path) -> dict[str, tuple]:
    """What runs, in order: name -> the work and its arguments."""
    options = shape_of(QUICK if given.quick else LargeOptions())
    seconds = 2.0 if given.quick else 240.0
    width, buckets = (64, 4) if given.quick else (1024, 16)
    steps = {"ours": 4, "theirs": 2} if given.quick else {"ours": 6, "theirs": 1}
    repeats = 2 if given.quick else 3
    graph, run_dir = folder / "graph", folder / "buckets"
    found = {
        "build": (built, options, graph),
        "load": (loaded, graph),
        "train": (trained, graph, seconds, {}),
        "train_bf16": (trained, graph, seconds / 2, {"table": "bfloat16"}),
        "partitioned": (partitioned, graph, run_dir, seconds, width, buckets),
        "neighbours": (on_neighbours, graph, seconds / 4, False),
        "neighbours_by_relation": (on_neighbours, graph, seconds / 4, True),
    }
    return found | {name: (compared, graph, name, steps, repeats) for name in OTHERS}


def rows(found: Mapping[str, float], names: Sequence[str]) -> list[dict[str, object]]:
    """The table: a row for each part."""
    shown = (
        ("triples per second", "triples_per_second"),
        ("theirs", "triples_per_second.theirs"),
        ("ratio", "speedup"),
        ("MRR of 500", "mrr_of_500"),
        ("peak GB", "peak_gb"),
        ("seconds", "seconds"),
    )
    return [
        {
            "part": name,
            **{title: found.get(f"{name}.{key}") for title, key in shown},
            "goal": f"ratio {GOALS['speedup']:g}" if name in OTHERS else f"{GOALS['peak_gb']:g} GB",
        }
        for name in names
    ]


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--folder", type=Path, help="for the graph and the buckets")
    arguments.add_argument("--parts", nargs="+", help="of these alone (build comes first anyway)")
    given = arguments.parse_args(argv)
    given.seeds = given.seeds or [0]
    prepare()
    benchmark = Benchmark.begin("scale", given, data={"planted": shape_of(LargeOptions())})
    folder = given.folder or benchmark.folder / "data"
    todo = parts(given, folder)
    strange = sorted({*(given.parts or ())} - {*todo})
    if strange:
        raise ValueError(f"--parts must be of {', '.join(todo)} (got {', '.join(strange)})")
    wanted = [name for name in todo if not given.parts or name in given.parts or name == "build"]
    if not (folder / "graph").exists():
        (benchmark.folder / "build.json").unlink(missing_ok=True)
    for name in wanted:
        work, *rest = todo[name]
        shutil.rmtree(folder / "buckets", ignore_errors=True)

        def run(name: str, work, rest) -> Figures:
            return named(name, in_a_process(work, *rest))

        settings = {"given": [str(each) for each in rest if not isinstance(each, Path)]}
        benchmark.run(name, partial(run, name, work, rest), settings=settings)
    shutil.rmtree(folder / "buckets", ignore_errors=True)
    protocol = dict(timing.PROTOCOL) | {
        "Graph": "planted: relation r leads from cluster c to cluster c + a_r mod C; entities and "
        f"relations drawn unequally; {shape_of(QUICK if given.quick else LargeOptions())}",
        "Machine": f"{machine()}; each part is a process of its own, its peak the highest resident "
        "size, mapped files that were read included (peak_gb), or its own pages (memory_*)",
        "Training": f"softplus loss, {NEGATIVES} negatives a side drawn once for a batch of 1,024 "
        "facts (4,096 beside other libraries), row-wise Adagrad of the rows that a batch names",
        "Ranking": "the test facts' heads and tails among 500 random entities each, OGB's rank; by "
        "chance an MRR of .0136; of the partitioned table the first 1,000 facts",
        "Partitioned": "two of the buckets in memory; the time includes reading and writing them",
        **{name: other.described for name, other in OTHERS.items() if name in wanted},
    }
    found = benchmark.figures()
    benchmark.finish(protocol=protocol, table=rows(found, wanted))


if __name__ == "__main__":
    main()
