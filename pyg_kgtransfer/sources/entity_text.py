"""Tables of what entities are called and what is said of them."""

import difflib
from pathlib import Path
from typing import NamedTuple

from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.lines import LineFaults, check_is_file, is_utf8
from pyg_kgtransfer.sources.tables import TableFormat, read_fields

COLUMNS = ("entity", "name", "description")


class EntityText(NamedTuple):
    """What entities are called and what is said of them, by their name in the graph.

    Attributes:
        names: Labels; an entity may be missing.
        descriptions: Sentences; likewise.
    """

    names: dict[str, str]
    descriptions: dict[str, str]


def read_entity_text(path: Path, entities: Vocabulary) -> EntityText:
    """Read a table of texts: tab-separated, or ``.csv``; ``.gz`` and ``.xz`` are unpacked.

    Without a header line its columns are entity and description, or entity, name and description; a
    header says which is which, by these words, in any order and among others.

    Args:
        path: The file.
        entities: Those of the graph; lines of others are left out.

    Raises:
        FileNotFoundError: If nothing is at ``path``.
        ValueError: If lines are wrong (all are counted, the first listed by file:line), a header
            lacks a column, or no line is of an entity of the graph.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "text.csv"
        ...     _ = path.write_text("Q1524,Athens,capital of Greece")
        ...     read_entity_text(path, Vocabulary(["Q1524", "Q220"]))
        EntityText(names={'Q1524': 'Athens'}, descriptions={'Q1524': 'capital of Greece'})
    """
    check_is_file(path)
    faults = LineFaults("a table of texts")
    rows = list(read_fields(path, TableFormat().delimiter_of(path), faults))
    places, width, body = _layout(path, rows)
    lines: dict[str, int] = {}
    columns: dict[str, dict[str, str]] = {"name": {}, "description": {}}
    for number, fields in body:
        reason = _fault(fields, places["entity"], width)
        entity = "" if reason else fields[places["entity"]]
        if not reason and entity in lines:
            reason = f"{entity!r} has a line already ({lines[entity]})"
        if reason:
            faults.add(path, number, reason)
            continue
        lines[entity] = number
        for column, texts in columns.items():
            if column in places and entity in entities:
                texts[entity] = fields[places[column]]
    faults.raise_if_any()
    found = EntityText(columns["name"], columns["description"])
    if not (found.names or found.descriptions):
        got = ", ".join(map(repr, list(lines)[:3])) or "no line"
        raise ValueError(f"{path} must tell of entities of the graph (got none: {got} ...)")
    return found


def _layout(
    path: Path, rows: list[tuple[int, list[str]]]
) -> tuple[dict[str, int], int, list[tuple[int, list[str]]]]:
    """Where the columns are, how many fields a line has, and the lines without the header."""
    first = rows[0][1] if rows else []
    header = [field.strip().casefold() for field in first]
    if "entity" in header:
        places = {column: header.index(column) for column in COLUMNS if column in header}
        if len(places) < 2:
            near = difflib.get_close_matches("description", header, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r} by it?" if near else ""
            raise ValueError(
                f"{path}:1: the header must have the column 'name' or 'description' "
                f"(got {', '.join(first)}){hint}"
            )
        return places, len(header), rows[1:]
    if len(first) not in (2, 3):
        raise ValueError(
            f"{path}:1: a table of texts has the columns entity and description, or entity, name "
            f"and description, or a header with these words (got {len(first)} columns)"
        )
    columns = ("entity", "description") if len(first) == 2 else COLUMNS
    return {column: place for place, column in enumerate(columns)}, len(first), rows


def _fault(fields: list[str], entity: int, width: int) -> str:
    if len(fields) != width:
        return f"{width} fields are wanted (got {len(fields)}: {' | '.join(fields)[:60]!r})"
    if not fields[entity]:
        return "the entity is empty"
    if not all(map(is_utf8, fields)):
        return "there are bytes that are not UTF-8"
    return ""
