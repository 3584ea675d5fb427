"""The main job on the embedded atlas: what does knowledge of other graphs gain for one of them?

GeoNames is the target. A teacher is pre-trained on GeoNames, CLDR and ISO, linked; a smaller
student is re-trained for GeoNames on the linked subgraph under that teacher. Beside it stand a rule
that only copies, a student's twin without any source, the teacher itself, the teacher fine-tuned,
and a control whose links are shuffled.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyg_kgtransfer.demo.report import (
    graph_rows,
    link_rows,
    plot_curves,
    protocol,
    relation_rows,
    study_figures,
    table_rows,
)
from pyg_kgtransfer.demo.study import (
    AtlasSettings,
    atlas_task,
    gains_over_target_only,
    retrain,
    study_rows,
    teach,
    trained_row,
)

# some epochs less than in the benchmark: under four minutes on two cores
SETTINGS = AtlasSettings(teacher_epochs=15, student_epochs=22)
Show = Callable[[str, Sequence[Mapping[str, Any]]], None]


def run_demo(
    out: Path, *, seed: int = 0, show: Show, settings: AtlasSettings | None = None
) -> dict[str, Any]:
    """Train everything, compare, and write ``report.json``, the checkpoints and the curves.

    Args:
        out: The folder to write to; what an earlier demo left there is replaced.
        seed: Of weights and batches.
        show: Called with a title and the rows of a table as parts of the result are there, and
            with a title and no rows when a stage begins.
        settings: Sizes and lengths; default: what the README's table was made with.

    Returns:
        The report as written: ``figures`` (flat name -> number), ``protocol``, ``graphs``.

    Raises:
        OSError: If ``out`` cannot be written.
        ImportError: If matplotlib (extra ``plot``) is missing.
    """
    began = time.monotonic()
    settings = replace(settings or SETTINGS, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    task, control = atlas_task(), atlas_task(shuffle_seed=seed)
    show("Three knowledge graphs of the world", graph_rows(task))
    show("Their links (entities that are the same)", link_rows(task))

    def say(stage: str) -> None:
        show(stage, [])

    rows = study_rows(task, settings, say)
    say("Control: teacher and student again, with shuffled links ...")
    misled = retrain(teach(control, settings), control, settings)
    rows.append(trained_row("shuffled", "shuffled links", misled, task))
    gains = gains_over_target_only(rows, task)
    show(
        "What transfer gained for GeoNames (strict; gains with their 95 % interval)",
        table_rows(rows, gains, task),
    )
    show("Gain of the student by relation", relation_rows(gains["student"]))
    figures = study_figures(rows, gains, task)
    figures["seconds"] = time.monotonic() - began
    report = {"figures": figures, "protocol": protocol(task, settings), "seeds": [seed]}
    for row in rows:
        if row.checkpoint is not None:
            row.checkpoint.save(out / row.name)
    plot_curves(rows, out / "curves.png")
    _write_json(out / "report.json", report)
    show(f"Written to {out}: report.json, curves.png and a checkpoint for each model.", [])
    return report


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(partial, path)
