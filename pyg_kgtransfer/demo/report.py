"""What a study found: flat figures, tables for people, curves."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pyg_kgtransfer.demo.study import AtlasSettings, AtlasTask, Row
from pyg_kgtransfer.evaluation.comparison import Comparison


def study_figures(
    rows: Sequence[Row], gains: Mapping[str, Comparison], task: AtlasTask
) -> dict[str, float]:
    """The table as flat names: ``student.mrr``, ``student.not_copyable.mrr``, ..."""
    figures: dict[str, float] = {}
    for row in rows:
        parts = {
            "": row.result,
            "copyable.": row.result.select(task.copyable),
            "not_copyable.": row.result.select(~task.copyable),
        }
        for part, result in parts.items():
            metrics = result.metrics()
            for metric in ("mrr", "hits@1", "hits@10"):
                figures[f"{row.name}.{part}{metric}"] = metrics[metric]
        figures[f"{row.name}.parameters"] = row.parameters
        figures[f"{row.name}.seconds"] = row.seconds
    for name, comparison in gains.items():
        gain = comparison.overall["mrr"]
        figures |= {
            f"{name}.gain": gain.gain,
            f"{name}.gain_low": gain.low,
            f"{name}.gain_high": gain.high,
            f"{name}.not_copyable.gain": comparison.copyable["not copyable"]["mrr"].gain,
            f"{name}.not_copyable.gain_low": comparison.copyable["not copyable"]["mrr"].low,
            f"{name}.negative_transfer_relations": len(comparison.negative_transfer),
        }
    return figures


def table_rows(
    rows: Sequence[Row], gains: Mapping[str, Comparison], task: AtlasTask
) -> list[dict[str, Any]]:
    """The table for people: each metric over all, copyable and not copyable test facts."""
    table = []
    for row in rows:
        metrics = row.result.metrics()
        parts = [row.result.select(mask).metrics() for mask in (task.copyable, ~task.copyable)]
        gain = gains[row.name].overall["mrr"] if row.name in gains else None
        table.append(
            {
                "": row.title,
                **{
                    f"{title}: all copy. not": " ".join(
                        f"{part[metric]:.3f}" for part in (metrics, *parts)
                    )
                    for title, metric in (("MRR", "mrr"), ("hits@1", "hits@1"), ("@10", "hits@10"))
                },
                "parameters": f"{row.parameters:,}",
                "seconds": f"{row.seconds:.0f}",
                "gain over target only": ""
                if gain is None
                else f"{gain.gain:+.3f} [{gain.low:.3f}, {gain.high:.3f}]",
            }
        )
    return table


def protocol(task: AtlasTask, settings: AtlasSettings) -> dict[str, Any]:
    """What the figures mean."""
    target = task.target
    return {
        "target": repr(target),
        "joint graph": repr(task.linked),
        "sources": "strict: no source triple links the entities of a validation or test fact"
        if task.is_strict
        else "not strict: sources may state what is asked",
        "copyable": "test facts whose entity pair a source links before that removal",
        "copyable_facts": int(task.copyable.sum()),
        "test_facts": len(target.test),
        "ranking": "filtered (train, valid, test), both sides, realistic ranks, candidates: all "
        f"{target.train.num_entities:,} entities of the target",
        "selection": "best validation MRR of the target (filter: train, valid)",
        "gain": "difference of MRR to target only, paired bootstrap over test facts, 2,000 samples",
        "settings": asdict(settings),
    }


def plot_curves(rows: Sequence[Row], path: Path) -> None:
    """Validation MRR over seconds of training, one line per trained model.

    Raises:
        ImportError: If matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need `pip install pyg-kgtransfer[plot]`") from error
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for row in rows:
        if row.checkpoint is not None:
            curve = row.checkpoint.metrics["curve"]
            seconds, mrr = [p["seconds"] for p in curve], [p["mrr"] for p in curve]
            style = "--" if row.name == "shuffled" else "-"
            axes.plot(seconds, mrr, style, marker="o", markersize=3, label=row.title)
    axes.set_xlabel("seconds of training")
    axes.set_ylabel("validation MRR on GeoNames, filtered")
    axes.set_title("Atlas, strict: what each model knows, and when")
    axes.grid(alpha=0.3)
    axes.legend()
    partial = path.with_suffix(".part.png")
    figure.savefig(partial, dpi=150)
    os.replace(partial, path)


def graph_rows(task: AtlasTask) -> list[dict[str, Any]]:
    """The graphs of the task, for people."""
    linked, rows = task.linked, []
    roles = {"geonames": "target (training part)"}
    for name, count in zip(linked.names, linked.sizes().tolist(), strict=True):
        place = linked.index(name)
        rows.append(
            {
                "graph": name,
                "entities": f"{len(linked.entity_maps[place]):,}",
                "relations": str(len(linked.relation_maps[place])),
                "triples used": f"{count:,}",
                "role": roles.get(name, "source (strict)"),
            }
        )
    graph = linked.graph
    rows.append(
        {
            "graph": "joint",
            "entities": f"{graph.num_entities:,}",
            "relations": str(graph.num_relations),
            "triples used": f"{graph.num_triples:,}",
            "role": "what the teacher reads",
        }
    )
    return rows


def link_rows(task: AtlasTask) -> list[dict[str, Any]]:
    """How many entities are linked, for people."""
    return [{"graphs": pair, "links": f"{count:,}"} for pair, count in task.num_links.items()]


def relation_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Gains by relation, for people."""
    rows = []
    for name, metrics in comparison.relations.items():
        gain = metrics["mrr"]
        rows.append(
            {
                "relation": name,
                "test facts": str(gain.count),
                "target only": f"{gain.baseline:.3f}",
                "student": f"{gain.other:.3f}",
                "gain (95 %)": f"{gain.gain:+.3f} [{gain.low:.3f}, {gain.high:.3f}]",
                "": "negative transfer" if name in comparison.negative_transfer else "",
            }
        )
    return rows
