"""Tables of entities and the groups that they belong to."""

from pathlib import Path

from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.lines import LineFaults, check_is_file, is_utf8
from pyg_kgtransfer.sources.tables import TableFormat, read_fields


def read_entity_groups(path: Path, entities: Vocabulary) -> dict[str, str]:
    """Read a table of two columns, entity and group: tab-separated, or ``.csv``; no header.

    ``.gz`` and ``.xz`` are unpacked.

    Args:
        path: The file.
        entities: Those of the graph.

    Returns:
        From the name of an entity to that of its group.

    Raises:
        FileNotFoundError: If nothing is at ``path``.
        ValueError: If lines are wrong (all are counted, the first listed by file:line): another
            number of fields, an unknown entity (the nearest are offered), or one told twice.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "groups.csv"
        ...     _ = path.write_text("Athens,south")
        ...     read_entity_groups(path, Vocabulary(["Athens", "Oslo"], kind="entity"))
        {'Athens': 'south'}
    """
    check_is_file(path)
    faults = LineFaults("a table of groups")
    lines: dict[str, int] = {}
    groups: dict[str, str] = {}
    for number, fields in read_fields(path, TableFormat().delimiter_of(path), faults):
        reason = _fault(fields)
        entity, group = ("", "") if reason else fields
        if not reason and entity in lines:
            reason = f"{entity!r} has a line already ({lines[entity]})"
        elif not reason and entity not in entities:
            reason = _unknown(entity, entities, is_listed=not faults.are_listed)
        if reason:
            faults.add(path, number, reason)
            continue
        lines[entity], groups[entity] = number, group
    faults.raise_if_any()
    return groups


def _fault(fields: list[str]) -> str:
    if len(fields) != 2:
        got = f"{len(fields)}: {' | '.join(fields)[:60]!r}"
        return f"two fields are wanted, entity and group (got {got})"
    if not all(map(is_utf8, fields)):
        return "there are bytes that are not UTF-8"
    if not all(fields):
        return f"the {'group' if fields[0] else 'entity'} is empty"
    return ""


def _unknown(entity: str, entities: Vocabulary, *, is_listed: bool) -> str:
    """What to say of a name; looking for near ones is slow."""
    near = entities.nearest(entity) if is_listed else []
    hint = f"; nearest known: {', '.join(map(repr, near))}" if near else ""
    return f"unknown entity: {entity!r} (of {len(entities):,} known){hint}"
