"""Tables of triples (TSV, CSV, parquet) to knowledge graphs and back; every bad line is named."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.sources.conversions import ROLES, to_pandas
from pyg_kgtransfer.sources.lines import LISTED, LineFaults, is_utf8, write_text
from pyg_kgtransfer.sources.tables import Columns, NamedTriple, TableFormat, read_rows
from pyg_kgtransfer.sources.whole_file import whole_file

PART_NAMES = {"train": ("train",), "valid": ("valid", "val", "dev"), "test": ("test",)}
_TABLE_SUFFIXES = (".txt", ".tsv", ".csv")
_PACKED_SUFFIXES = ("", ".gz", ".xz")

log = logging.getLogger(__name__)


def read_triples(
    path: str | os.PathLike[str],
    *,
    columns: Columns = (0, 1, 2),
    delimiter: str | None = None,
    width: int | None = None,
    name: str | None = None,
    listed: int = LISTED,
) -> KnowledgeGraph:
    r"""A graph from a table of named triples: UTF-8 text, plain, ``.gz`` or ``.xz``, or parquet.

    Entities and relations get ids by first occurrence. Fields are taken as they stand: nothing is
    trimmed, and a line is either read or reported. In a tab-separated file every character but tab
    and line end stands for itself; with any other delimiter, fields may be quoted as in CSV.

    Args:
        path: The file. ``.parquet`` needs the extra ``pandas``.
        columns: Where head, relation and tail are: three indices from 0 in a file without a header
            line, or three names in one whose first line is a header. In a parquet file, indices
            count its columns.
        delimiter: One character; default: a comma in ``.csv`` files, else a tab.
        width: How many fields a line has; default: as many as the header, or just enough for the
            largest index. Say it where a file without a header has columns you do not want.
        name: What to call the graph; default: the file's name without suffixes.
        listed: How many faulty lines the error shows, at least 1; all are counted.

    Raises:
        FileNotFoundError: If nothing is at ``path``.
        IsADirectoryError: If it is a folder.
        ValueError: If lines are wrong (number of fields, empty field, bytes that are not UTF-8,
            broken quotes), there are no triples, or the header lacks a column.
        ImportError: If parquet is read without the extra.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "facts.tsv"
        ...     _ = path.write_text("Athens\tcapital_of\tGreece\n", encoding="utf-8")
        ...     read_triples(path)
        KnowledgeGraph('facts': 2 entities, 1 relations, 1 triples)
    """
    path = Path(path)
    faults = LineFaults(str(path), listed=listed)
    rows = read_rows(path, TableFormat(columns, delimiter, width), faults)
    faults.raise_if_any()
    return KnowledgeGraph.from_names(rows, name=_stem(path) if name is None else name)


def write_triples(
    graph: KnowledgeGraph,
    path: str | os.PathLike[str],
    *,
    header: NamedTriple | None = None,
    delimiter: str | None = None,
) -> None:
    r"""Write the triples by name, in order; the file is whole or not there.

    A table of triples holds neither ids nor types, labels or things that occur in no triple; the
    log counts the latter. ``write_openke`` and ``write_dglke`` keep ids.

    Args:
        graph: What to write; at least one triple.
        path: Where to; ``.gz`` and ``.xz`` are packed, ``.parquet`` needs the extra ``pandas``.
        header: Names of the head, relation and tail column, for a first line; default: none
            (in a parquet file ``head``, ``relation``, ``tail``).
        delimiter: As in ``read_triples``. With other than tabs, fields are quoted where needed.

    Raises:
        ValueError: If there are no triples, or a name cannot be written: it is empty, has a lone
            surrogate, or, between tabs, a tab or line end.
        OSError: If the file cannot be written.
        ImportError: If parquet is written without the extra.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     facts = KnowledgeGraph.from_names([("Paris, Texas", "in", "Texas")])
        ...     write_triples(facts, Path(folder) / "facts.csv")
        ...     (Path(folder) / "facts.csv").read_text(encoding="utf-8")
        '"Paris, Texas",in,Texas\n'
    """
    path = Path(path)
    if not graph.num_triples:
        raise ValueError(f"a table of triples needs at least one (got {graph!r})")
    separator = TableFormat(delimiter=delimiter).delimiter_of(path)
    used = graph.triples[:, 1].unique().numel(), graph.triples[:, [0, 2]].unique().numel()
    left_out = graph.num_relations - used[0], graph.num_entities - used[1]
    if any(left_out):
        log.warning(
            "%s: %d relations and %d entities are in no triple: not written", path, *left_out
        )
    if path.suffix == ".parquet":
        frame = to_pandas(graph)
        frame.columns = list(header or ROLES)
        with whole_file(path) as part:
            frame.to_parquet(part, index=False)
        return
    written = {
        name: _written(name, separator)
        for name in (*graph.entities.names, *graph.relations.names, *(header or ()))
    }
    rows = ([header] if header else []) + graph.named_triples()
    with write_text(path) as stream:
        first = written[rows[0][0]]
        stream.write("\ufeff" if first.startswith("\ufeff") else "")  # readers drop one such mark
        for row in rows:
            stream.write(separator.join(written[field] for field in row) + "\n")


def read_split(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    columns: Columns = (0, 1, 2),
    delimiter: str | None = None,
    width: int | None = None,
    name: str | None = None,
    listed: int = LISTED,
) -> Split:
    r"""A split from a folder with train, valid and test tables, or from their three paths.

    In a folder the files are called ``train``, ``valid`` (or ``val``, ``dev``) and ``test``, with
    ``.txt``, ``.tsv`` or ``.csv``, plain or as ``.gz`` or ``.xz``; one file for each part.

    The training graph's vocabularies cover all three parts: entities and relations in order of
    first occurrence, those of train first. What train lacks is kept, and counted in the log.

    Args:
        source: The folder, or the paths of train, valid and test.
        columns: As in ``read_triples``.
        delimiter: As in ``read_triples``.
        width: As in ``read_triples``.
        name: What to call the graph; default: the name of the folder, or of the train file's.
        listed: As in ``read_triples``.

    Raises:
        FileNotFoundError: If a part is missing.
        ValueError: If a part has two files, or as in ``read_triples``; faulty lines of all three
            parts are reported together.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for part in ("train.tsv", "dev.tsv", "test.tsv"):
        ...         _ = (Path(folder) / part).write_text("a\tr\tb\n", encoding="utf-8")
        ...     read_split(folder, name="tiny")
        Split(KnowledgeGraph('tiny': 2 entities, 1 relations, 1 triples), 1 valid, 1 test)
    """
    if isinstance(source, str | os.PathLike):
        folder = Path(source)
        paths = [find_part(folder, part) for part in PART_NAMES]
    else:
        paths = [Path(path) for path in source]
        if len(paths) != 3:
            raise ValueError(f"a split has three files, train, valid, test (got {len(paths)})")
        folder = paths[0].absolute().parent
    faults = LineFaults(f"the split {folder}", listed=listed)
    form = TableFormat(columns, delimiter, width)
    parts = [read_rows(path, form, faults) for path in paths]
    faults.raise_if_any()
    split = split_from_names(*parts, name=folder.name if name is None else name)
    log_unseen(split.train)
    return split


def split_from_names(
    train: Sequence[NamedTriple],
    valid: Sequence[NamedTriple],
    test: Sequence[NamedTriple],
    *,
    name: str = "",
) -> Split:
    """A split of named triples; the training graph's vocabularies cover all parts, train first."""
    graph = KnowledgeGraph.from_names([*train, *valid, *test], name=name)
    parts = graph.triples.split([len(train), len(valid), len(test)])
    return Split(
        graph.with_triples(parts[0]), HeldOut(parts[1], "valid"), HeldOut(parts[2], "test")
    )


def log_unseen(train: KnowledgeGraph, *, level: int = logging.WARNING) -> None:
    """Log how many entities and relations of the vocabularies no training triple has, if any."""
    entities = train.num_entities - train.triples[:, [0, 2]].unique().numel()
    relations = train.num_relations - train.triples[:, 1].unique().numel()
    if entities or relations:
        log.log(
            level,
            "%s: %d entities and %d relations do not occur in train; they are in its vocabularies",
            train.name or "split", entities, relations,
        )  # fmt: skip


def find_part(folder: Path, part: str, *, suffixes: Sequence[str] = _TABLE_SUFFIXES) -> Path:
    """The file of a folder that holds ``part``: ``"train"``, ``"valid"`` or ``"test"``.

    Raises:
        FileNotFoundError: If there is none, or no such folder.
        ValueError: If there are several.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    names = [
        f"{stem}{suffix}{packed}"
        for stem in PART_NAMES[part]
        for suffix in suffixes
        for packed in _PACKED_SUFFIXES
    ]
    found = [folder / file for file in names if (folder / file).is_file()]
    if not found:
        have = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        raise FileNotFoundError(
            f"{folder} needs a file of {part} triples, one of "
            f"{' '.join(f'{stem}{suffix}' for stem in PART_NAMES[part] for suffix in suffixes)} "
            f"or these as .gz or .xz (got {have})"
        )
    if len(found) > 1:
        raise ValueError(
            f"{folder} must have one file of {part} triples "
            f"(got {', '.join(path.name for path in found)}): give the three paths instead"
        )
    return found[0]


def _written(name: str, delimiter: str) -> str:
    """A name as a field of a line."""
    if not name or not is_utf8(name):
        raise ValueError(f"a name to write must be non-empty text of UTF-8 (got {name!r})")
    if delimiter == "\t":
        if any(mark in name for mark in "\t\n\r"):
            raise ValueError(
                f"a name between tabs has no tab or line end (got {name!r}): write a .csv file"
            )
        return name
    is_plain = not any(mark in name for mark in (delimiter, '"', "\r", "\n"))
    return name if is_plain else '"' + name.replace('"', '""') + '"'


def _stem(path: Path) -> str:
    """The file's name without .tsv, .csv.gz and the like."""
    name = path.name.removesuffix(path.suffix) if path.suffix in _PACKED_SUFFIXES else path.name
    return Path(name).stem
