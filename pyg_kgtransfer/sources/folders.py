"""Folders of OpenKE and DGL-KE, which keep ids, to splits and back; every bad line is named."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.files import find_part, log_unseen
from pyg_kgtransfer.sources.lines import LISTED, LineFaults, is_utf8, read_lines, write_text
from pyg_kgtransfer.sources.tables import TableFormat, read_rows

Numbered = Iterator[tuple[int, str]]

log = logging.getLogger(__name__)


def read_openke(
    folder: str | os.PathLike[str], *, name: str | None = None, listed: int = LISTED
) -> Split:
    """A split from a folder of OpenKE; ids are those of its files.

    ``entity2id.txt`` and ``relation2id.txt`` have a line with the number of names, then lines of
    name and id; ``train2id.txt``, ``valid2id.txt`` and ``test2id.txt`` a line with the number of
    triples, then lines of *head, tail, relation* ids, apart by tabs or spaces. Without a valid or
    test file that part is empty, which is logged.

    Args:
        folder: Where the files are.
        name: What to call the graph; default: the folder's name.
        listed: How many faulty lines the error shows, at least 1; all are counted.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If lines are wrong: a count that does not match, an id that is no number, out
            of range or given twice, a name given twice.

    Source: Han et al. 2018, "OpenKE: An Open Toolkit for Knowledge Embedding", and its README.
    """
    folder = Path(folder)
    faults = LineFaults(f"the OpenKE folder {folder}", listed=listed)
    entities, relations = (
        _vocabulary(folder / f"{kind}2id.txt", _counted, _name_then_id, faults, kind)
        for kind in ("entity", "relation")
    )
    faults.raise_if_any()
    sizes = (len(entities), len(entities), len(relations))
    parts: dict[str, Tensor] = {}
    for part in ("train", "valid", "test"):
        path = folder / f"{part}2id.txt"
        if part != "train" and not path.exists():
            log.info("%s: there is no %s; the part is empty", folder, path.name)
            parts[part] = torch.empty(0, 3, dtype=torch.long)
            continue
        rows = [_ids(line, sizes, path, number, faults) for number, line in _counted(path, faults)]
        ids = torch.tensor([row for row in rows if row], dtype=torch.long).view(-1, 3)
        parts[part] = ids[:, [0, 2, 1]]  # head, tail, relation on disk
    faults.raise_if_any()
    return _split(folder, name, (entities, relations), parts)


def write_openke(graph: KnowledgeGraph | Split, folder: str | os.PathLike[str]) -> None:
    """Write a graph (as train) or a split as a folder of OpenKE: see ``read_openke``.

    Each file is whole or not there. Types and labels are not written.

    Raises:
        ValueError: If a name is empty, has a tab or line end, or is not text of UTF-8.
        OSError: If a file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_openke(KnowledgeGraph.from_names([("a", "r", "b")]), folder)
        ...     read_openke(folder, name="tiny").train.named_triples()
        [('a', 'r', 'b')]
    """
    folder, split = Path(folder), _as_split(graph)
    vocabularies = {"entity": split.train.entities, "relation": split.train.relations}
    for vocabulary in vocabularies.values():
        _check_names(vocabulary)
    for kind, vocabulary in vocabularies.items():
        with write_text(folder / f"{kind}2id.txt") as stream:
            stream.write(f"{len(vocabulary)}\n")
            stream.writelines(f"{name}\t{i}\n" for i, name in enumerate(vocabulary))
    for part, triples in _parts(split).items():
        with write_text(folder / f"{part}2id.txt") as stream:
            stream.write(f"{len(triples)}\n")
            stream.writelines(f"{h}\t{t}\t{r}\n" for h, r, t in triples.tolist())


def read_dglke(
    folder: str | os.PathLike[str], *, name: str | None = None, listed: int = LISTED
) -> Split:
    """A split from a folder of DGL-KE; ids are those of its files.

    ``entities.dict`` and ``relations.dict`` have lines of id and name; ``train``, ``valid`` and
    ``test`` (``.tsv`` or ``.txt``) have lines of head, relation and tail *names*; tabs are between
    all of them. Without a valid or test file, or with an empty one, that part is empty, which is
    logged.

    Args:
        folder: Where the files are.
        name: What to call the graph; default: the folder's name.
        listed: How many faulty lines the error shows, at least 1; all are counted.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If lines are wrong: an id that is no number, out of range or given twice, a
            name given twice, a triple with a name that the dictionaries lack.

    Source: Zheng et al. 2020, "DGL-KE: Training Knowledge Graph Embeddings at Scale", and its
    documentation of the format ``raw_udd_hrt``.
    """
    folder = Path(folder)
    faults = LineFaults(f"the DGL-KE folder {folder}", listed=listed)
    entities = _vocabulary(folder / "entities.dict", _numbered, _id_then_name, faults, "entity")
    relations = _vocabulary(folder / "relations.dict", _numbered, _id_then_name, faults, "relation")
    faults.raise_if_any()
    parts: dict[str, Tensor] = {}
    for part in ("train", "valid", "test"):
        try:
            path = find_part(folder, part, suffixes=(".tsv", ".txt"))
        except FileNotFoundError:
            if part == "train":
                raise
            log.info("%s: there is no file of %s triples; the part is empty", folder, part)
            parts[part] = torch.empty(0, 3, dtype=torch.long)
            continue
        parts[part] = _named_ids(path, entities, relations, faults)
    faults.raise_if_any()
    return _split(folder, name, (entities, relations), parts)


def write_dglke(graph: KnowledgeGraph | Split, folder: str | os.PathLike[str]) -> None:
    """Write a graph (as train) or a split as a folder of DGL-KE: see ``read_dglke``.

    Each file is whole or not there. Types and labels are not written.

    Raises:
        ValueError: If a name is empty, has a tab or line end, or is not text of UTF-8.
        OSError: If a file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_dglke(KnowledgeGraph.from_names([("a", "r", "b")]), folder)
        ...     read_dglke(folder, name="tiny").train.named_triples()
        [('a', 'r', 'b')]
    """
    folder, split = Path(folder), _as_split(graph)
    train = split.train
    for vocabulary in (train.entities, train.relations):
        _check_names(vocabulary)
    for file, vocabulary in (
        ("entities.dict", train.entities),
        ("relations.dict", train.relations),
    ):
        with write_text(folder / file) as stream:
            stream.writelines(f"{i}\t{name}\n" for i, name in enumerate(vocabulary))
    for part, triples in _parts(split).items():
        rows = train.with_triples(triples).named_triples()
        with write_text(folder / f"{part}.tsv") as stream:
            text = "".join("\t".join(row) + "\n" for row in rows)
            stream.write(("\ufeff" if text.startswith("\ufeff") else "") + text)


def _numbered(path: Path, faults: LineFaults) -> Numbered:
    """Line number and line, without its end."""
    for number, line in enumerate(read_lines(path), start=1):
        yield number, line.removesuffix("\n").removesuffix("\r")


def _counted(path: Path, faults: LineFaults) -> Numbered:
    """The same for a file whose first line says how many lines follow."""
    lines = _numbered(path, faults)
    _, first = next(lines, (1, ""))
    if not _is_number(first.strip()):
        faults.add(path, 1, f"the first line is the number of lines that follow (got {first!r})")
        return
    count = 0
    for number, line in lines:
        count += 1
        yield number, line
    if count != int(first):
        faults.add(path, 1, f"the file must have the {int(first)} lines it states (got {count})")


def _name_then_id(line: str) -> tuple[str, str]:
    fields = line.rpartition("\t") if "\t" in line else line.rstrip(" ").rpartition(" ")
    return fields[0], fields[2].strip(" ")


def _id_then_name(line: str) -> tuple[str, str]:
    index, _, name = line.partition("\t")
    return name, index.strip(" ")


def _vocabulary(
    path: Path,
    lines: Callable[[Path, LineFaults], Numbered],
    parse: Callable[[str], tuple[str, str]],
    faults: LineFaults,
    kind: str,
) -> Vocabulary:
    """The names of a file in id order; of what its faulty lines leave, when there are any."""
    rows = [(number, *parse(line)) for number, line in lines(path, faults)]
    names: dict[int, str] = {}
    line_of: dict[str, int] = {}
    for number, name, index in rows:
        if not name or not is_utf8(name):
            faults.add(path, number, f"the name must be non-empty text of UTF-8 (got {name!r})")
        elif not _is_number(index) or int(index) >= len(rows):
            faults.add(path, number, f"the id must be in [0, {len(rows)}) (got {index!r})")
        elif int(index) in names:
            other = line_of[names[int(index)]]
            faults.add(path, number, f"the id {index} is already on line {other}")
        elif name in line_of:
            faults.add(path, number, f"the name {name!r} is already on line {line_of[name]}")
        else:
            names[int(index)] = name
            line_of[name] = number
    return Vocabulary((names[index] for index in sorted(names)), kind=kind)


def _ids(
    line: str, sizes: tuple[int, int, int], path: Path, number: int, faults: LineFaults
) -> tuple[int, ...]:
    """The ids of a line in its own order; none if it is faulty."""
    fields = line.split()
    if len(fields) != len(sizes):
        faults.add(path, number, f"a line has head, tail and relation id (got {line[:60]!r})")
        return ()
    for role, field, size in zip(("head", "tail", "relation"), fields, sizes, strict=True):
        if not _is_number(field) or int(field) >= size:
            faults.add(path, number, f"the {role} id must be in [0, {size}) (got {field!r})")
            return ()
    return tuple(map(int, fields))


def _named_ids(
    path: Path, entities: Vocabulary, relations: Vocabulary, faults: LineFaults
) -> Tensor:
    """The triples of a table of names as ids of the vocabularies: [M, 3]."""
    if not any(True for _ in read_lines(path)):
        log.info("%s has no line; the part is empty", path)
        return torch.empty(0, 3, dtype=torch.long)
    rows = read_rows(path, TableFormat(delimiter="\t"), faults)
    if faults.count:  # rows do not tell their lines when some are missing
        return torch.empty(0, 3, dtype=torch.long)
    for number, row in enumerate(rows, start=1):
        for name, vocabulary in zip(row, (entities, relations, entities), strict=True):
            if name not in vocabulary:
                near = [] if faults.are_listed else vocabulary.nearest(name, count=1)
                hint = f"; nearest known: {near[0]!r}" if near else ""
                faults.add(path, number, f"unknown {vocabulary.kind} {name!r}{hint}")
    if faults.count:
        return torch.empty(0, 3, dtype=torch.long)
    head, relation, tail = zip(*rows, strict=True)
    return torch.stack([entities.ids(head), relations.ids(relation), entities.ids(tail)], dim=1)


def _split(
    folder: Path,
    name: str | None,
    vocabularies: tuple[Vocabulary, Vocabulary],
    parts: dict[str, Tensor],
) -> Split:
    name = folder.absolute().name if name is None else name
    train = KnowledgeGraph(*vocabularies, parts["train"], name)
    log_unseen(train)
    return Split(train, HeldOut(parts["valid"], "valid"), HeldOut(parts["test"], "test"))


def _as_split(graph: KnowledgeGraph | Split) -> Split:
    if isinstance(graph, Split):
        return graph
    nothing = graph.triples[:0]
    return Split(graph, HeldOut(nothing, "valid"), HeldOut(nothing, "test"))


def _parts(split: Split) -> dict[str, Tensor]:
    return {
        "train": split.train.triples,
        "valid": split.valid.triples,
        "test": split.test.triples,
    }


def _check_names(vocabulary: Vocabulary) -> None:
    for name in vocabulary:
        if not name or not is_utf8(name) or any(mark in name for mark in "\t\n\r"):
            raise ValueError(
                f"a name in such a folder is non-empty text of UTF-8 without tab or line end "
                f"(got the {vocabulary.kind} {name!r})"
            )


def _is_number(text: str) -> bool:
    """Whether ``text`` is a whole number of at least 0, in plain digits."""
    return text.isascii() and text.isdigit()
