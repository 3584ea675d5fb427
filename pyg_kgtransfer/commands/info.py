"""``kgt info``: what is in a checkpoint or a data set, where it comes from, and what leaks."""

from collections.abc import Callable
from typing import Any

import torch
from jsonargparse import ArgumentParser, Namespace

from pyg_kgtransfer.commands.inputs import DATA_HELP, is_checkpoint, load_splits
from pyg_kgtransfer.commands.outputs import Json, Show, description, graph_counts
from pyg_kgtransfer.functional.segments import segment_counts
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.leakage import RelationOverlap, RelationPatterns, leakage_report
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.linking.alignment import Alignment
from pyg_kgtransfer.serving import report
from pyg_kgtransfer.training.checkpoint import Checkpoint

USAGE = "kgt info CHECKPOINT_OR_DATA"


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of ``kgt info``."""
    parser.add_argument(
        "checkpoint_or_data", metavar="CHECKPOINT_OR_DATA", help=f"a checkpoint, {DATA_HELP}"
    )


def run(options: Namespace, show: Show) -> Json:
    """Show it."""
    what = options.checkpoint_or_data
    if is_checkpoint(what):
        return _checkpoint(Checkpoint.load(what), what, show)
    splits, alignments = load_splits([what])
    return {
        "kind": "data",
        "graphs": [_split(split, show) for split in splits],
        "links": _links(alignments, show),
    }


def _checkpoint(checkpoint: Checkpoint, path: str, show: Show) -> Json:
    told = description(checkpoint)
    origin = dict(checkpoint.provenance)
    relations = _relation_rows(checkpoint.graph, {"facts": checkpoint.graph.triples})
    show(report.facts_table(f"checkpoint {path}", told))
    show(
        report.facts_table(
            "provenance",
            {
                "parent": origin["parent"],
                "seed": origin["seed"],
                "versions": origin["versions"],
                **{f"saw {name or 'a graph'}": key for key, name in origin["graphs"].items()},
            },
        )
    )
    show(report.records_table("relations of its graph", relations))
    return {
        "kind": "checkpoint",
        "path": path,
        **told,
        "relation_counts": relations,
        "metrics": dict(checkpoint.metrics),
        "provenance": origin,
    }


def _split(split: Split, show: Show) -> Json:
    graph = split.train
    parts = {"train": graph.triples, "valid": split.valid.triples, "test": split.test.triples}
    told: Json = {
        **graph_counts(graph),
        "valid": len(split.valid),
        "test": len(split.test),
        "entity_types": _type_counts(graph),
        "isolated_in_train": int((graph.degrees() == 0).sum()),
        "repeated_in_train": graph.num_triples - graph.deduplicated().num_triples,
        "fingerprint": graph.fingerprint(),
    }
    relations = _relation_rows(graph, parts)
    leaks = {part: _leaks(split, part) for part in ("valid", "test") if len(parts[part])}
    show(report.facts_table(f"graph {graph.name}", told))
    show(report.records_table(f"relations of {graph.name}", relations))
    for part, leak in leaks.items():
        counts, patterns = leak["counts"], leak["patterns"]
        show(report.facts_table(f"{part} facts that a training fact answers", counts))
        if part == "test" and patterns:
            show(report.records_table("relations that give each other away", patterns))
    return {**told, "relation_counts": relations, "leakage": leaks}


def _links(alignments: list[Alignment], show: Show) -> list[Json]:
    rows = [
        {"left": each.left, "right": each.right, "entities": len(each.entities)}
        for each in alignments
    ]
    if rows:
        show(report.records_table("links", rows))
    return rows


def _relation_rows(graph: KnowledgeGraph, parts: dict[str, torch.Tensor]) -> list[Json]:
    """Facts of each relation in each part, the most frequent relations first."""
    counts = {
        part: segment_counts(triples[:, 1].contiguous(), graph.num_relations).tolist()
        for part, triples in parts.items()
    }
    rows = [
        {"relation": name, **{part: of[index] for part, of in counts.items()}}
        for index, name in enumerate(graph.relations)
    ]
    first = next(iter(parts))
    return sorted(rows, key=lambda row: -row[first])


def _type_counts(graph: KnowledgeGraph) -> dict[str, int]:
    if graph.entity_types is None or graph.entity_type is None:
        return {}
    counts = segment_counts(graph.entity_type, len(graph.entity_types)).tolist()
    return dict(zip(graph.entity_types.names, counts, strict=True))


def _leaks(split: Split, part: str) -> Json:
    found = leakage_report(split, role=part)
    return {"counts": found.counts(), "patterns": _patterns(found.patterns, split.train)}


def _patterns(patterns: RelationPatterns, graph: KnowledgeGraph) -> list[dict[str, Any]]:
    name: Callable[[int], str] = graph.relations.name

    def rows(kind: str, overlaps: tuple[RelationOverlap, ...]) -> list[dict[str, Any]]:
        return [
            {
                "pattern": kind,
                "relation": name(each.relation),
                "other": name(each.other),
                "shared_pairs": each.shared,
                "share": each.share,
                "share_other": each.share_other,
            }
            for each in overlaps
        ]

    return [
        *rows("duplicate", patterns.duplicate),
        *rows("inverse", patterns.inverse),
        *rows("symmetric", patterns.symmetric),
    ]
