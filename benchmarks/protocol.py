"""What all benchmarks share: arguments, provenance, runs that survive an interruption, reports."""

import argparse
import csv
import hashlib
import io
import json
import logging
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from scipy.stats import bootstrap

from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.objectives.auxiliary import AuxiliaryConfig

PACKAGES = ("pyg-kgtransfer", "torch", "torch-geometric", "lightning-fabric", "numpy", "pykeen")
# Settings that came after runs were recorded, and what those runs had in effect.
LATER = {
    "recompute": False,
    "sparse": False,
    "adapter": 0,
    "text_start": 0.0,
    "with_self": False,
    "masking": 0.0,
    "balance": 0.0,
    "balance_by": "popularity",
    "edge_dropout": 0.0,
    "fan_out": [],
    "fan_out_per_relation": False,
    "table": "float32",
    "strategy": "auto",
    "timeout_seconds": 1800.0,
    "auxiliary": asdict(AuxiliaryConfig()),
}
QUICK_SEEDS, FULL_SEEDS = (0,), (0, 1, 2)

log = logging.getLogger(__name__)


def parser(description: str) -> argparse.ArgumentParser:
    """The command line that every benchmark has; add your own arguments to it.

    Example:
        >>> given = parser("demo").parse_args(["--quick", "--out", "demo.json"])
        >>> given.quick, given.out.name, given.seeds
        (True, 'demo.json', None)
    """
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--quick", action="store_true", help="a small part, in minutes")
    options.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    options.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        metavar="SEED",
        help=f"default: {' '.join(map(str, FULL_SEEDS))}, with --quick {QUICK_SEEDS[0]}",
    )
    return options


def versions() -> dict[str, str]:
    """Python and the packages that matter, those not installed left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """The processor, its cores and the threads used, and the accelerator if there is one."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text(encoding="utf-8").splitlines() if table.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": platform.platform(),
    }


def provenance() -> dict[str, Any]:
    """Versions and machine, as reports keep them."""
    return {"versions": versions(), "machine": machine()}


def fingerprints(split: Split) -> dict[str, Any]:
    """Counts of a split, and the sha256 of its training graph and of its held-out triples."""
    return {
        "entities": split.train.num_entities,
        "relations": split.train.num_relations,
        "train": split.train.num_triples,
        "valid": len(split.valid),
        "test": len(split.test),
        "train_sha256": split.train.fingerprint(),
        **{
            f"{part.role}_sha256": hashlib.sha256(part.triples.numpy().tobytes()).hexdigest()
            for part in (split.valid, split.test)
        },
    }


def over_seeds(name: str, values: Sequence[float]) -> dict[str, float]:
    """Figures of what was measured once a seed: the median; lowest and highest if several.

    Example:
        >>> over_seeds("mrr", [0.3, 0.1, 0.2])
        {'mrr': 0.2, 'mrr.lowest': 0.1, 'mrr.highest': 0.3}
    """
    figures = {name: statistics.median(values)}
    if len(values) > 1:
        figures |= {f"{name}.lowest": min(values), f"{name}.highest": max(values)}
    return figures


def relative(base: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """How much higher the mean is, in that of the base, with a paired bootstrap interval (95 %).

    Example:
        >>> relative(np.array([1.0, 2.0]), np.array([2.0, 4.0]))
        (1.0, 1.0, 1.0)
    """

    def gain(base: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
        return other.mean(axis) / base.mean(axis) - 1.0

    interval = bootstrap(
        (base, other), gain, paired=True, n_resamples=1000, method="percentile", random_state=0
    ).confidence_interval
    return float(gain(base, other)), float(interval.low), float(interval.high)


class Found(NamedTuple):
    """What a run found: dotted name to number, and whatever else is worth keeping, JSON-ready."""

    figures: Mapping[str, float]
    notes: Mapping[str, Any] = {}


@dataclass(eq=False)
class Benchmark:
    """A benchmark as it goes: its runs, kept beside the output one by one, and its report.

    A run that is on file with the same settings is not done again, so that an interrupted benchmark
    goes on where it was.

    Attributes:
        name: Of the benchmark.
        out: The report, a ``.json`` file.
        quick: Whether a small part was asked for.
        seeds: Of the runs.
        data: Data set to ``fingerprints``; a run on file counts for the same data alone.
        done: Run to what it found, so far.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     given = parser("demo").parse_args(["--quick", "--out", f"{folder}/demo.json"])
        ...     benchmark = Benchmark.begin("demo", given, data={})
        ...     benchmark.run("seed0", lambda: {"mrr": 0.5}), benchmark.run("seed0", dict)
        ({'mrr': 0.5}, {'mrr': 0.5})
    """

    name: str
    out: Path
    quick: bool
    seeds: tuple[int, ...]
    data: Mapping[str, Any]
    done: dict[str, Found] = field(default_factory=dict)

    @classmethod
    def begin(cls, name: str, given: argparse.Namespace, *, data: Mapping[str, Any]) -> "Benchmark":
        """A benchmark with the arguments of ``parser``.

        Raises:
            ValueError: If the output is no ``.json`` file or a seed is repeated.
        """
        if given.out.suffix != ".json":
            raise ValueError(f"--out must name a .json file (got {given.out})")
        seeds = tuple(given.seeds or (QUICK_SEEDS if given.quick else FULL_SEEDS))
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"--seeds must differ (got {' '.join(map(str, seeds))})")
        return cls(name, given.out, given.quick, seeds, data)

    @property
    def folder(self) -> Path:
        """Where the runs are kept, one file each: ``OUT.runs``."""
        return self.out.with_suffix(".runs")

    def run(
        self,
        name: str,
        work: Callable[[], Mapping[str, float] | Found],
        *,
        settings: Mapping[str, Any] | None = None,
    ) -> dict[str, float]:
        """The figures of a run, done now or earlier.

        Args:
            name: Of the run, and of its file.
            work: Does it, and returns figures, or figures and notes. Runs of several seeds give
                their figures the same names.
            settings: What decides the result, JSON-ready; ``quick`` and the data count anyway.
        """
        path = self.folder / f"{name}.json"
        settings = {"quick": self.quick, "data": self.data, **(settings or {})}
        wanted = _as_recorded(json.loads(json.dumps(settings)))
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if kept.get("settings") != wanted:
            log.info("%s: %s", self.name, name)
            result = work()
            found = result if isinstance(result, Found) else Found(result)
            record = {"settings": wanted, "figures": found.figures, "notes": found.notes}
            write_json(path, record | provenance())
            kept = json.loads(path.read_text(encoding="utf-8"))
        self.done[name] = Found(kept["figures"], kept["notes"])
        return dict(kept["figures"])

    def figures(self) -> dict[str, float]:
        """Figures of the runs so far, over seeds."""
        values: dict[str, list[float]] = {}
        for found in self.done.values():
            for name, value in found.figures.items():
                values.setdefault(name, []).append(value)
        return {
            name: value
            for figure, of_seeds in values.items()
            for name, value in over_seeds(figure, of_seeds).items()
        }

    def finish(
        self,
        *,
        protocol: Mapping[str, Any],
        figures: Mapping[str, float] | None = None,
        table: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """Write the report, its figures as ``.csv`` beside it, and print protocol and table.

        Args:
            protocol: Topic to sentence: how the figures came about.
            figures: Further ones, that follow from those of the runs.
            table: Rows to print and keep, all with the same keys; default: all figures.

        Returns:
            The report.
        """
        found = self.figures() | dict(figures or {})
        report = {
            "benchmark": self.name,
            "quick": self.quick,
            "seeds": self.seeds,
            "protocol": protocol,
            "figures": found,
            "table": list(table),
            "data": self.data,
            "notes": {name: run.notes for name, run in self.done.items() if run.notes},
            **provenance(),
        }
        write_json(self.out, report)
        write_figures(self.out.with_suffix(".csv"), found)
        show(self, protocol, table or [{"figure": k, "value": float(v)} for k, v in found.items()])
        return report


def _as_recorded(settings: Any) -> Any:
    """The settings without those of ``LATER`` that are as they were before there were any."""
    if not isinstance(settings, dict):
        return settings
    return {
        name: _as_recorded(value)
        for name, value in settings.items()
        if name not in LATER or value != LATER[name]
    }


def show(
    benchmark: Benchmark, protocol: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Print the protocol, and a table whose columns are the keys of the first row."""
    console = Console() if Console().is_terminal else Console(width=160)
    for topic, sentence in protocol.items():
        console.print(f"[bold]{topic}[/bold]: {escape(str(sentence))}", highlight=False)
    count = len(benchmark.seeds)
    table = Table(title=f"{benchmark.name} ({count} seed{'s' if count > 1 else ''})")
    for name in rows[0] if rows else ():
        is_number = any(isinstance(row[name], int | float) for row in rows)
        table.add_column(name, justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    console.print(table)


def write_json(path: Path, content: Any) -> None:
    """Write JSON; the file is whole or not there.

    Raises:
        ValueError: If a number is not finite.
        OSError: If it cannot be written.
    """
    _write(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_figures(path: Path, figures: Mapping[str, float]) -> None:
    """Write a table (CSV) of figures; the file is whole or not there."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(("figure", "value"))
    table.writerows((name, f"{value:.6g}") for name, value in figures.items())
    _write(path, stream.getvalue())


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8", newline="") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else escape(str(value))
