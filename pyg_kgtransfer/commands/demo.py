"""``kgt demo``: a teacher on the atlas, a student, and a table of what the transfer gained."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pyg_kgtransfer.demo.run import run_demo
from pyg_kgtransfer.serving import report

USAGE = "kgt demo [--out DIR] [--seed N]"


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of ``kgt demo``."""
    parser.add_argument(
        "--out", default="runs/demo", metavar="DIR", help="folder for checkpoints, report, curves"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the models and their training")


def run(options: Namespace, show: Callable[[object], None]) -> dict[str, Any]:
    """Run it; the report has every figure under ``figures``."""

    def show_table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
        show(report.records_table(title, rows) if rows else title)

    return run_demo(Path(options.out), seed=options.seed, show=show_table)
