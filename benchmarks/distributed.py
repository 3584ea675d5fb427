"""One process against two: the same losses, how fast, and what of a step is communication.

    python -m benchmarks.distributed [--quick] [--page docs/distributed.md] --out FILE.json

DistMult with shared negatives and Adagrad over gloo on this machine: a small dense table (codex-s),
a large one of which a batch names few rows (sparse), and the small one cut in parts (fsdp). From
what is measured a cost model tells when communication takes as long as computing. With --quick:
umls and a smaller large table.
"""

import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from subprocess import run
from typing import Any, NamedTuple

import numpy as np

from benchmarks.protocol import Benchmark, Found, fingerprints, parser, show
from pyg_kgtransfer.process import prepare
from pyg_kgtransfer.sources.datasets import load

SETUPS = {  # processes, threads of each
    "1x1": (1, 1),
    "1x2": (1, 2),
    "2x1": (2, 1),
}
REDUCED = [2**k for k in range(12, 25, 2)]  # bytes, 4 KiB to 16 MiB
WORLDS, WIDTHS, ENTITIES = (2, 8, 32), (50, 200, 500), (10**4, 10**6)
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
NUMBER, ID = 4, 8  # bytes of a float and of a row's id
PROTOCOL: Mapping[str, str] = {
    "Losses": "of each of the first steps of the same model, batch for batch, in 32 bits; the gap "
    "is the largest difference relative to the loss",
    "Speed": "triples per second of full steps, the median over blocks in fresh processes; setups "
    "take turns; 2x1 is two processes with one thread each, gloo on this machine",
    "Communication": "1 - seconds without reducing / seconds with it, blocks of both in turns, so "
    "that what backward passes hide of it is not counted",
    "Bytes": "of gradients that a process gives to a reduction; of two processes each sends as "
    "many. A ring of W sends 2 (W - 1) / W of them, rows go to all others, W - 1 times",
    "Cost model": "seconds of an all-reduce = latency + sent bytes / bandwidth, least squares over "
    "4 KiB to 16 MiB; computing = seconds per triple x triples, of 2x1 without reducing, growing "
    "with the width, an optimizer's pass over a larger table not counted. Break-even: triples of a "
    "process and step at which both are equal, here; rows / computing: sparse, for any batch",
}


class Costs(NamedTuple):
    """Measured constants.

    Attributes:
        latency: Seconds of the smallest all-reduce.
        bandwidth: Bytes per second that a process sends.
        triple: Seconds of computing per triple, at the measured width.
        width: That width.
    """

    latency: float
    bandwidth: float
    triple: float
    width: int


def sent_bytes(strategy: str, *, world: int, entities: int, width: int, rows: int = 0) -> float:
    """What each of ``world`` processes sends in a step.

    Args:
        strategy: ``"ddp"``: a ring all-reduce of the table; ``"fsdp"``: its parts are gathered, and
            its gradient reduced to parts, as much; ``"sparse"``: ``rows`` with their ids go to all.
        world: W.
        entities: Rows of the table.
        width: D, numbers of 32 bits.
        rows: That a process's part of a batch names.

    Example:
        >>> sent_bytes("ddp", world=2, entities=1000, width=100)
        400000.0
        >>> sent_bytes("sparse", world=3, entities=1000, width=100, rows=10)
        8160.0
    """
    if strategy == "sparse":
        return float((world - 1) * rows * (NUMBER * width + ID))
    return 2 * (world - 1) / world * NUMBER * entities * width


def communication(costs: Costs, sent: float) -> float:
    """Seconds of sending so many bytes."""
    return costs.latency + sent / costs.bandwidth


def break_even(costs: Costs, sent: float, width: int) -> float:
    """Triples of a process and step at which communication takes as long as computing.

    Computing is taken to grow with the width; with more triples it takes longer.

    Example:
        >>> break_even(Costs(0.0, 1e9, 1e-5, 100), 4e6, 200)
        200.0
    """
    return communication(costs, sent) / (costs.triple * width / costs.width)


def fitted(reductions: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Latency and bandwidth of all-reduces of two processes: bytes and seconds of each.

    Example:
        >>> latency, bandwidth = fitted([(1000, 0.0011), (2000, 0.0012), (4000, 0.0014)])
        >>> round(latency, 6), round(bandwidth)
        (0.001, 10000000)
    """
    sizes, seconds = (np.array(column, dtype=float) for column in zip(*reductions, strict=True))
    slope, latency = np.polyfit(sizes, seconds, 1, w=1 / seconds)  # relative errors
    return max(float(latency), min(seconds) / 10), 1 / float(slope)


def ran(setup: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """What processes find that are started anew."""
    processes, threads = SETUPS[setup]
    given = {**spec, "processes": processes, "threads": threads}
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    environment |= {"NUMBA_NUM_THREADS": str(threads)}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launch += ["--nproc_per_node", str(processes)]
    if processes == 1:
        launch = [sys.executable]
    with tempfile.TemporaryDirectory() as folder:
        asked, found = Path(folder) / "spec.json", Path(folder) / "found.json"
        asked.write_text(json.dumps(given), encoding="utf-8")
        command = [*launch, "-m", "benchmarks.distributed_worker", str(asked), str(found)]
        done = run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{setup} of {given} failed: {done.stderr[-2000:]}")
        answer: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
        return answer


def gap(one: Sequence[float], other: Sequence[float]) -> float:
    """The largest difference relative to the first's loss.

    Example:
        >>> gap([1.0, 2.0], [1.0, 2.5])
        0.25
    """
    return max(abs(b - a) / abs(a) for a, b in zip(one, other, strict=True))


def measured(name: str, spec: Mapping[str, Any], rounds: int) -> Found:
    """All setups of one table, in turns."""
    found: dict[str, list[dict[str, Any]]] = {setup: [] for setup in SETUPS}
    for _ in range(rounds):
        for setup in SETUPS:
            found[setup].append(ran(setup, spec))
    figures = {
        f"{name}.{setup}.triples_per_second": spec["batch"]
        / statistics.median(s for each in several for s in each["seconds"])
        for setup, several in found.items()
    }
    alone, together = found["1x1"][0], found["2x1"]
    figures[f"{name}.loss_gap"] = gap(alone["losses"], together[0]["losses"])
    figures[f"{name}.last_loss"] = alone["losses"][-1]
    shares = [
        1 - without / whole
        for each in together
        for whole, without in zip(each["seconds"], each["seconds_alone"], strict=False)
    ]
    if shares:
        dense, rows = (together[0][f"{kind}_bytes"] for kind in ("dense", "sparse"))
        figures[f"{name}.communication_share"] = statistics.median(shares)
        figures[f"{name}.communication_share.lowest"] = min(shares)
        figures[f"{name}.communication_share.highest"] = max(shares)
        figures[f"{name}.gradient_bytes"] = dense + rows
        figures[f"{name}.sent_bytes"] = dense + rows  # of two: 2 (W - 1) / W = W - 1 = 1
        without = [s for each in together for s in each["seconds_alone"]]
        figures[f"{name}.computing_seconds"] = statistics.median(without)
    notes: dict[str, Any] = {
        "losses": {setup: several[0]["losses"] for setup, several in found.items()}
    }
    if spec["reduce"]:
        notes["reductions"] = together[0]["reductions"]
        latency, bandwidth = fitted(together[0]["reductions"])
        figures |= {"allreduce.latency": latency, "allreduce.bandwidth": bandwidth}
    return Found(figures, notes)


def cost_rows(costs: Costs, rows_per_triple: float) -> list[dict[str, Any]]:
    """Break-even over strategies, widths, entities and world sizes."""
    table = []
    for entities in ENTITIES:
        for width in WIDTHS:
            for world in WORLDS:
                sizes = {"world": world, "entities": entities, "width": width}
                dense = sent_bytes("ddp", **sizes)
                of_row = sent_bytes("sparse", rows=1, **sizes) * rows_per_triple / costs.bandwidth
                computing = costs.triple * width / costs.width
                table.append(
                    {
                        **sizes,
                        "dense MB": dense / 1e6,
                        "dense seconds": communication(costs, dense),
                        "dense break-even": math.ceil(break_even(costs, dense, width)),
                        "rows / computing": of_row / computing,  # for however many triples
                    }
                )
    return table


def filled(page: str, tables: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    """A page of documentation with the tables between its two marks.

    Raises:
        ValueError: If it has not one of each.

    Example:
        >>> print(filled(f"{BEGIN}{END}", [[{"table": "dense", "MB": 1.5}]]))
        <!-- measured: begin -->
        <BLANKLINE>
        | table | MB |
        |---|---|
        | dense | 1.500 |
        <BLANKLINE>
        <!-- measured: end -->
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"the page must hold {BEGIN} and {END} once each (got another page)")
    lines = [""]
    for rows in tables:
        lines += [f"| {' | '.join(rows[0])} |", "|---" * len(rows[0]) + "|"]
        lines += [f"| {' | '.join(map(_cell, row.values()))} |" for row in rows]
        lines.append("")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    return f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__ or "")
    options.add_argument("--page", type=Path, metavar="FILE.md", help="fill its marked place")
    given = options.parse_args(argv)
    given.seeds = given.seeds or [0]
    prepare()
    name, entities = ("umls", 20_000) if given.quick else ("codex-s", 300_000)
    size = {"batch": 1024, "negatives": 64, "width": 64} if given.quick else {
        "batch": 4096, "negatives": 256, "width": 200
    }  # fmt: skip
    number = {"steps": 4, "repeats": 3, "losses": 8} if given.quick else {
        "steps": 10, "repeats": 5, "losses": 50
    }  # fmt: skip
    rounds = 1 if given.quick else 3
    base = {**size, **number, "strategy": "ddp", "sparse": False, "reduce": []}
    specs = {
        "dense": {**base, "data": name, "reduce": REDUCED},
        "sparse": {**base, "data": entities, "sparse": True},
        "sharded": {**base, "data": name, "strategy": "fsdp"},
    }
    benchmark = Benchmark.begin(
        "distributed", given, data={name: fingerprints(load(name, offline=True))}
    )
    for kind, spec in specs.items():
        work = partial(measured, kind, spec, rounds)
        benchmark.run(kind, work, settings={**spec, "rounds": rounds})
    found = benchmark.figures()
    half = size["batch"] / 2
    costs = Costs(
        found["allreduce.latency"],
        found["allreduce.bandwidth"],
        found["dense.computing_seconds"] / half,
        size["width"],
    )
    row_bytes = NUMBER * size["width"] + ID
    rows_per_triple = found["sparse.gradient_bytes"] / row_bytes / half
    costs_table = cost_rows(costs, rows_per_triple)
    table = [
        {
            "table": kind,
            **{setup: found[f"{kind}.{setup}.triples_per_second"] for setup in SETUPS},
            "communication": found.get(f"{kind}.communication_share"),
            "MB a step": found[f"{kind}.sent_bytes"] / 1e6 if kind != "sharded" else None,
            "loss": found[f"{kind}.last_loss"],
            "largest gap": f"{found[f'{kind}.loss_gap']:.1e}",
        }
        for kind in specs
    ]
    more = {
        f"model.{row['entities']}.{row['width']}.{row['world']}.{key}": float(row[key])
        for row in costs_table
        for key in ("dense MB", "dense seconds", "dense break-even", "rows / computing")
    }
    more |= {"model.seconds_per_triple": costs.triple, "model.rows_per_triple": rows_per_triple}
    benchmark.finish(protocol={**PROTOCOL, "Sizes": str(base)}, figures=more, table=table)
    show(benchmark, {}, costs_table)
    if given.page is not None:
        page = given.page.read_text(encoding="utf-8")
        given.page.write_text(filled(page, [table, costs_table]), encoding="utf-8")


if __name__ == "__main__":
    main()
