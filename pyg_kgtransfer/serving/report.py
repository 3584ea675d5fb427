"""Results for people: rich tables of facts, metrics and answers. They are made here, not shown."""

import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:  # torch takes seconds to import, and a table needs none of it
    from pyg_kgtransfer.serving.predictor import Answer

METRICS = ("mrr", "mr", "hits@1", "hits@3", "hits@10", "amri")
PIPE_WIDTH = 140  # columns where there is no terminal to ask
_TITLES = {"mrr": "MRR", "mr": "MR", "amri": "AMRI"}


def console(stream: TextIO | None = None) -> Console:
    """A console for ``stream`` (default: stdout) that shows names as they are, without markup."""
    stream = sys.stdout if stream is None else stream
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def cell(value: object) -> str:
    """A value as people read it: thousands apart, four significant places, yes and no.

    Example:
        >>> cell(12345), cell(0.123456), cell(True), cell(None), cell(["a", "b"])
        ('12,345', '0.1235', 'yes', '-', 'a, b')
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {cell(item)}" for name, item in value.items()) or "-"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(cell, value)) or "-"
    return str(value)


def facts_table(title: str, facts: Mapping[str, object]) -> Table:
    """Two columns: what, and its value.

    Example:
        >>> facts_table("a graph", {"entities": 1200}).row_count
        1
    """
    table = _table(title, [("", "left"), ("", "left")], header=False)
    for name, value in facts.items():
        table.add_row(Text(name), Text(cell(value)))
    return table


def records_table(title: str, records: Iterable[Mapping[str, object]]) -> Table:
    """One row per record, one column per key of the first; numbers to the right.

    Example:
        >>> records_table("relations", [{"relation": "borders", "facts": 3}]).columns[1].header
        'facts'
    """
    rows = list(records)
    keys = list(rows[0]) if rows else []
    justify = {True: "right", False: "left"}
    columns = [(key, justify[all(_is_number(row.get(key)) for row in rows)]) for key in keys]
    table = _table(title, columns)
    for row in rows:
        table.add_row(*(Text(cell(row.get(key))) for key in keys))
    return table


def metrics_table(title: str, rows: Mapping[str, Mapping[str, float]]) -> Table:
    """Metrics of link prediction, one row per name.

    Args:
        title: What was ranked.
        rows: Name -> metrics, of which ``METRICS`` are shown, and ``count`` where a row has it.

    Example:
        >>> table = metrics_table("test", {"both sides": {"mrr": 0.5, "hits@1": 0.25}})
        >>> [column.header for column in table.columns]
        ['', 'MRR', 'hits@1']
    """
    shown = [key for key in ("count", *METRICS) if any(key in row for row in rows.values())]
    table = _table(title, [("", "left"), *((_TITLES.get(key, key), "right") for key in shown)])
    for name, metrics in rows.items():
        table.add_row(Text(name), *(Text(_metric(key, metrics.get(key))) for key in shown))
    return table


def answers_table(title: str, answers: "Sequence[Answer]") -> Table:
    """Answers of a ``Predictor``, best first, those that the training graph states marked.

    Probabilities stand beside the scores where there are some.

    Example:
        >>> from pyg_kgtransfer.serving.predictor import Answer
        >>> answers_table("?", [Answer("country/GR", "Greece", 1.5, True)]).row_count
        1
    """
    named = any(answer.label != answer.name for answer in answers)
    columns = [("", "right"), ("answer", "left"), ("score", "right"), ("", "left")]
    likely = any(answer.probability is not None for answer in answers)
    if likely:
        columns.insert(3, ("probability", "right"))
    if named:
        columns.insert(2, ("name", "left"))
    table = _table(title, columns)
    for place, answer in enumerate(answers, start=1):
        mark = "known" if answer.is_known else ""
        cells = [str(place), answer.label, f"{answer.score:.3f}", mark]
        if likely:
            cells.insert(3, "" if answer.probability is None else f"{answer.probability:.3f}")
        if named:
            cells.insert(2, answer.name)
        table.add_row(*map(Text, cells))
    return table


def protocol_text(protocol: Mapping[str, object]) -> str:
    """The protocol of an evaluation in one sentence.

    Example:
        >>> protocol_text({"split": "test", "triples": 2, "candidates": 9, "ties": "realistic",
        ...                "filter_splits": ["train", "test"], "sides": ["tail"]})
        'test: 2 facts, tail asked, among 9 entities, filtered by train, test; ties: realistic.'
    """
    sides = protocol["sides"]
    asked = " and ".join(sides) if isinstance(sides, list) else str(sides)
    if "negatives" in protocol:
        return (
            f"{protocol['split']}: {cell(protocol['triples'])} facts, {asked} asked, each answer "
            f"among negatives ({protocol['negatives']}), not among all "
            f"{cell(protocol['entities'])} entities; ties: {protocol['ties']}."
        )
    return (
        f"{protocol['split']}: {cell(protocol['triples'])} facts, {asked} asked, among "
        f"{cell(protocol['candidates'])} entities, filtered by {cell(protocol['filter_splits'])}; "
        f"ties: {protocol['ties']}."
    )


def _table(title: str, columns: Sequence[tuple[str, str]], *, header: bool = True) -> Table:
    table = Table(title=Text(title), title_justify="left", show_header=header)
    table.min_width = min(len(title), PIPE_WIDTH)  # a title would be folded to a narrow table
    for name, justify in columns:
        is_right = justify == "right"
        table.add_column(name, justify="right" if is_right else "left", overflow="fold")
    return table


def _is_number(value: object) -> bool:
    """Whether a value is a number, or text that begins like one, or is left open."""
    if isinstance(value, str):
        return not value or re.match(r"[-+]?\d[\d,.]*(?![\w:/-])", value) is not None
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _number(value: float) -> str:
    """Four significant places; whole and large numbers without places."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _metric(key: str, value: float | None) -> str:
    if value is None:
        return ""
    if key == "count":
        return f"{value:,.0f}"
    return f"{value:,.1f}" if key == "mr" else f"{value:.3f}"
