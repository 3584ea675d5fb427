"""Rows of a table of triples: where head, relation and tail are, and what is wrong in a line."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pyg_kgtransfer.sources.conversions import ROLES, from_pandas
from pyg_kgtransfer.sources.lines import LineFaults, check_is_file, is_utf8, read_lines

Columns = tuple[int, int, int] | tuple[str, str, str]
NamedTriple = tuple[str, str, str]


@dataclass(frozen=True)
class TableFormat:
    """How a table of triples is laid out.

    Attributes:
        columns: Indices of head, relation and tail in a table without a header line, or their
            names in one with a header.
        delimiter: One character; ``None``: a comma in ``.csv`` files, else a tab.
        width: Fields per line; ``None``: as many as the header, or just enough for the indices.

    Raises:
        ValueError: If the columns are not three of a kind, all apart, or do not fit the width.
    """

    columns: Columns = (0, 1, 2)
    delimiter: str | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        columns = tuple(self.columns)
        kinds = {type(column) for column in columns}
        if len(columns) != 3 or len(set(columns)) != 3 or kinds not in ({int}, {str}):
            raise ValueError(
                "columns are three indices or three names, of head, relation and tail, all apart "
                f"(got {self.columns!r})"
            )
        indices = [column for column in columns if isinstance(column, int)]
        limit = self.width if self.width is not None else max(indices, default=0) + 1
        if indices and (min(indices) < 0 or max(indices) >= limit):
            raise ValueError(f"columns must be in [0, {limit}) (got {self.columns!r})")
        mark = self.delimiter
        if mark is not None and (len(mark) != 1 or mark in '\r\n"'):
            raise ValueError(f"a delimiter is one character, no quote or line end (got {mark!r})")

    def delimiter_of(self, path: Path) -> str:
        """The delimiter in ``path``."""
        if self.delimiter is not None:
            return self.delimiter
        return "," if ".csv" in (suffix.lower() for suffix in path.suffixes[-2:]) else "\t"


def read_rows(path: Path, form: TableFormat, faults: LineFaults) -> list[NamedTriple]:
    """The named triples of one table. Faulty lines go to ``faults``, which the caller raises.

    Raises:
        FileNotFoundError: If nothing is at ``path``.
        IsADirectoryError: If it is a folder.
        ValueError: If the header lacks a column, or there is no line at all.
        ImportError: If parquet is read without the extra ``pandas``.
    """
    check_is_file(path)
    if path.suffix == ".parquet":
        return _parquet_rows(path, form)
    rows = read_fields(path, form.delimiter_of(path), faults)
    places, width = _places(path, form, rows)
    before = faults.count
    triples: list[NamedTriple] = []
    for number, fields in rows:
        reason = _fault(fields, places, width)
        if reason:
            faults.add(path, number, reason)
        else:
            triples.append((fields[places[0]], fields[places[1]], fields[places[2]]))
    if not triples and faults.count == before:
        raise ValueError(f"{path} must have at least one triple (got none)")
    return triples


def read_fields(path: Path, delimiter: str, faults: LineFaults) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line and fields of each row."""
    if delimiter == "\t":
        for number, line in enumerate(read_lines(path), start=1):
            yield number, line.removesuffix("\n").removesuffix("\r").split("\t")
        return
    reader = csv.reader(read_lines(path), delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            faults.add(path, number, f"the quotes or line ends are broken ({error})")
        else:
            yield number, fields


def _places(
    path: Path, form: TableFormat, rows: Iterator[tuple[int, list[str]]]
) -> tuple[list[int], int]:
    """Indices of head, relation and tail, and the number of fields; reads the header if named."""
    places = [column for column in form.columns if isinstance(column, int)]
    if places:
        return places, form.width or max(places) + 1
    _, header = next(rows, (1, []))
    names = [column for column in form.columns if isinstance(column, str)]
    for column in names:
        if header.count(column) != 1:
            raise ValueError(
                f"{path}:1: the header must have the column {column!r} once "
                f"(got {', '.join(header) or 'an empty line'})"
            )
    return [header.index(column) for column in names], form.width or len(header)


def _fault(fields: list[str], places: list[int], width: int) -> str:
    """What is wrong with the fields of a row; empty if nothing is."""
    if fields in ([], [""]):
        return "the line is empty"
    if len(fields) != width:
        return f"{width} fields are wanted (got {len(fields)}: {' | '.join(fields)[:60]!r})"
    for role, place in zip(ROLES, places, strict=True):
        if not fields[place]:
            return f"the {role} is empty"
        if not is_utf8(fields[place]):
            return f"the {role} has bytes that are not UTF-8 (got {fields[place]!r})"
    return ""


def _parquet_rows(path: Path, form: TableFormat) -> list[NamedTriple]:
    try:
        import pandas
        import pyarrow
    except ImportError as error:
        raise ImportError(f"reading {path} needs `pip install pyg-kgtransfer[pandas]`") from error
    try:
        frame = pandas.read_parquet(path)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path} must be a parquet file (got: {error})") from error
    if not len(frame):
        raise ValueError(f"{path} must have at least one triple (got none)")
    names = list(frame.columns)
    places = [column for column in form.columns if isinstance(column, int)]
    if places and max(places) >= len(names):
        raise ValueError(f"{path} must have a column {max(places)}, from 0 (got {len(names)})")
    head, relation, tail = [names[i] for i in places] or form.columns
    return from_pandas(frame, columns=(str(head), str(relation), str(tail))).named_triples()
