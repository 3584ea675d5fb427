"""``kgt rules``: rules that the facts of a graph follow, and how many facts each proposes."""

import csv
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from pyg_kgtransfer.commands.inputs import DATA_HELP, load_graph
from pyg_kgtransfer.commands.outputs import Json, Show, graph_counts
from pyg_kgtransfer.graph.rules import mine_rules, proposal_counts, propose_facts
from pyg_kgtransfer.serving import report
from pyg_kgtransfer.sources.whole_file import whole_file

USAGE = "kgt rules --data DATA [--out FILE.tsv]"
SHOWN = 40  # rules
COLUMNS = ("rule", "kind", "support", "confidence", "pca_confidence", "proposes")


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of ``kgt rules``."""
    parser.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="the graph, of which training facts alone are read: a checkpoint (its graph), "
        f"{DATA_HELP}",
    )
    parser.add_argument(
        "--min_support",
        type=int,
        default=10,
        help="pairs of which a rule's both sides are stated, at least 1",
    )
    parser.add_argument(
        "--min_confidence",
        type=float,
        default=0.5,
        help="share of a rule's pairs of which its head is stated, among those whose first entity "
        "has the head's relation to something; in [0, 1]",
    )
    parser.add_argument(
        "--out", type=str | None, metavar="FILE", help="write all rules to this table, .tsv"
    )


def run(options: Namespace, show: Show) -> Json:
    """Mine, count what is proposed, show the surest, write all."""
    graph = load_graph(options.data)
    rules = mine_rules(
        graph, min_support=options.min_support, min_confidence=options.min_confidence
    )
    counts = proposal_counts(graph, rules)
    rows: list[Json] = [
        {
            "rule": rule.formula,
            "kind": rule.kind,
            "body": list(rule.body),
            "head": rule.head,
            "support": rule.support,
            "confidence": rule.confidence,
            "pca_confidence": rule.pca_confidence,
            "proposes": count,
        }
        for rule, count in zip(rules, counts, strict=True)
    ]
    told: Json = {
        "graph": graph_counts(graph),
        "min_support": options.min_support,
        "min_confidence": options.min_confidence,
        "rules": len(rules),
        "proposed": len(propose_facts(graph, rules).triples),
    }
    show(report.facts_table(f"rules of {graph.name}", told))
    if rows:
        title = f"the surest {SHOWN} of {len(rows):,}" if len(rows) > SHOWN else "the surest first"
        shown = [{name: row[name] for name in COLUMNS} for row in rows[:SHOWN]]
        show(report.records_table(title, shown))
    if options.out is not None:
        told["out"] = options.out
        _write(Path(options.out), rows)
        show(f"written to {options.out}")
    return told | {"rules": rows}


def _write(path: Path, rows: Sequence[Json]) -> None:
    """A table with a line for each rule, and one of names above."""
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as stream:
        delimiter = "," if path.suffix.casefold() == ".csv" else "\t"
        table = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows([row[name] for name in COLUMNS] for row in rows)
