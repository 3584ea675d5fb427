"""``kgt link``: which entities of two graphs are the same, written to a file of pairs."""

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser, Namespace

from pyg_kgtransfer.commands.inputs import DATA_HELP, load_graph
from pyg_kgtransfer.commands.outputs import Json, Show, graph_counts
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.linking import matching
from pyg_kgtransfer.linking.alignment import Alignment
from pyg_kgtransfer.linking.matching import (
    SimilarityOptions,
    match_keys,
    match_labels,
    match_similar,
)
from pyg_kgtransfer.serving import report
from pyg_kgtransfer.sources.whole_file import whole_file

USAGE = "kgt link --left DATA --right DATA [--by label|similarity|key] --out LEFT~RIGHT.tsv"
SHOWN = 5  # pairs


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of ``kgt link``."""
    for side in ("left", "right"):
        parser.add_argument(
            f"--{side}",
            required=True,
            metavar="DATA",
            help=f"the {side} graph: a checkpoint (its graph), {DATA_HELP}"
            if side == "left"
            else "the right graph, named in the same ways",
        )
    parser.add_argument(
        "--by",
        type=Literal["label", "similarity", "key"],
        default="label",
        help="label: equal labels, but for case, accents and punctuation; similarity: labels that "
        "share most of their letter groups; key: equal names, or the part of them that --key finds",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="FILE",
        help="file to write; called LEFT~RIGHT.tsv after its graphs, any training finds its way",
    )
    parser.add_argument(
        "--key",
        default=".+",
        metavar="REGEX",
        help="with --by key: the part of a name that is the key, as '[^/]+$' in country/DE",
    )
    parser.add_argument(
        "--types",
        type=dict[str, str] | None,
        help="with --by label or similarity: match these entity types only, as "
        '\'{"country": "territory"}\'',
    )
    parser.add_argument(
        "--relations",
        type=bool,
        default=False,
        help="take relations with equal names as the same, too",
    )
    parser.add_class_arguments(SimilarityOptions, "similarity")


def run(options: Namespace, show: Show) -> Json:
    """Match, write, and tell how many pairs there are and how many were ambiguous."""
    left, right = load_graph(options.left), load_graph(options.right)
    out = Path(options.out)
    with _dropped_counts() as dropped:
        alignment = _matched(left, right, options)
    if options.relations:
        alignment = _with_equal_relations(alignment, left, right)
    if not len(alignment.entities):
        raise ValueError(
            f"no entity of {left.name!r} was matched with one of {right.name!r} by {options.by} "
            f"({sum(dropped):,} were ambiguous): try another --by; nothing was written"
        )
    with whole_file(out) as part:
        alignment.write(part, left, right)
    told: Json = {
        "out": str(out),
        "left": graph_counts(left),
        "right": graph_counts(right),
        "by": options.by,
        "pairs": len(alignment.entities),
        "relation_pairs": len(alignment.relations),
        "dropped_as_ambiguous": sum(dropped),
    }
    show(report.facts_table(f"links written to {out}", told))
    first = zip(
        alignment.entities.index[:SHOWN].tolist(), alignment.entities.confidence, strict=False
    )
    pairs = [
        {left.name: left.label(one), right.name: right.label(other), "confidence": float(sure)}
        for (one, other), sure in first
    ]
    show(report.records_table("the first pairs", pairs))
    return told


def _matched(left: KnowledgeGraph, right: KnowledgeGraph, options: Namespace) -> Alignment:
    if options.by == "label":
        return match_labels(left, right, types=options.types)
    if options.by == "similarity":
        return match_similar(left, right, options.similarity, types=options.types)
    try:
        pattern = re.compile(options.key)
    except re.error as error:
        raise ValueError(f"--key is a regular expression (got {options.key!r}: {error})") from error
    keys = [[_key(pattern, name) for name in graph.entities] for graph in (left, right)]
    return match_keys(left, right, *keys)


def _key(pattern: re.Pattern[str], name: str) -> str | None:
    """What the pattern finds in a name: its first group if it has one, else all of it."""
    found = pattern.search(name)
    return None if found is None else found[1 if pattern.groups else 0]


def _with_equal_relations(
    alignment: Alignment, left: KnowledgeGraph, right: KnowledgeGraph
) -> Alignment:
    shared = [(name, name) for name in left.relations if name in right.relations]
    return replace(alignment, relations=Alignment.from_names(left, right, [], shared).relations)


@contextlib.contextmanager
def _dropped_counts() -> Iterator[list[int]]:
    """What matching says in its log of candidates that it dropped as ambiguous."""
    counts: list[int] = []

    class Counter(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            counts.append(getattr(record, "dropped", 0))

    handler, level = Counter(logging.INFO), matching.logger.level
    matching.logger.addHandler(handler)
    matching.logger.setLevel(logging.INFO)
    try:
        yield counts
    finally:
        matching.logger.removeHandler(handler)
        matching.logger.setLevel(level)
