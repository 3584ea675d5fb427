"""The files of OGB's knowledge graphs: those of the downloads (csv.gz) and of its saver (npz)."""

import csv
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pyg_kgtransfer.sources.lines import check_is_file, read_lines

Array = np.ndarray[Any, np.dtype[np.int64]]
PARTS = ("train", "valid", "test")
NODE = "entity"  # the one type of a graph without types
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, zipfile.BadZipFile, ValueError, KeyError)
_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class OGBFolder:
    """A data set's folder as it was downloaded, or as ``ogb.io.DatasetSaver`` wrote it.

    Attributes:
        name: Of the data set.
        path: Its folder.
        version: That its release note must have.
        split: How it is split: ``"random"`` or ``"time"``.
        is_typed: Whether entities have types, and ids that are local to them.
    """

    name: str
    path: Path
    version: int
    split: str
    is_typed: bool

    @property
    def is_binary(self) -> bool:
        """Whether ``ogb.io.DatasetSaver`` wrote it."""
        return (
            self.path / "raw" / ("edge_index_dict.npz" if self.is_typed else "data.npz")
        ).exists()

    def parts(self) -> dict[str, Path]:
        """The file of each part of the split; one file may hold all three."""
        folder = self.path / "split" / self.split
        joint = folder / "split_dict.pt"
        return {part: joint if joint.exists() else folder / f"{part}.pt" for part in PARTS}

    def check(self) -> None:
        """Refuse a folder that is of another release or incomplete, before anything is read.

        Raises:
            ValueError: If the release is another one.
            FileNotFoundError: If files are missing; all of them are listed.
        """
        note = self.path / f"RELEASE_v{self.version}.txt"
        others = sorted(path.name for path in self.path.glob("RELEASE_v*.txt"))
        if others and note.name not in others:
            raise ValueError(
                f"{self.name} must be of release {self.version} (got {', '.join(others)} in "
                f"{self.path}): fetch that release"
            )
        wanted = [note, *dict.fromkeys(self.parts().values())]
        wanted += [self.path / "raw" / name for name in self._raw_names()]
        self._check_there(wanted)
        if self.is_typed and not self.is_binary:
            self._check_there(
                [
                    self._of_kind(kind) / f"{name}.csv.gz"
                    for kind in self._kinds()
                    for name in ("edge", "edge_reltype", "num-edge-list")
                ]
            )

    def num_nodes(self) -> dict[str, int]:
        """Entities of each type, types sorted by name.

        Raises:
            ValueError: If a file is damaged.
        """
        raw = self.path / "raw"
        if not self.is_typed:
            if self.is_binary:
                return {NODE: int(read_npz(raw / "data.npz", "num_nodes_list")[0])}
            path = raw / "num-node-list.csv.gz"
            table = read_integers(path, 1)
            if len(table) != 1:
                raise ValueError(f"{path} must hold one number of entities (got {len(table)})")
            return {NODE: int(table[0, 0])}
        if self.is_binary:
            sizes = read_npz_files(raw / "num_nodes_dict.npz")
            return {kind: int(sizes[kind][0]) for kind in sorted(sizes)}
        path = raw / "num-node-dict.csv.gz"
        rows = _rows(path)
        if (
            len(rows) < 2
            or len(rows[0]) != len(rows[1])
            or not all(map(_NUMBER.fullmatch, rows[1]))
        ):
            raise ValueError(f"{path} must have a row of types and one of numbers (got {rows[:2]})")
        return dict(sorted(zip(rows[0], map(int, rows[1]), strict=True)))

    def edges(self) -> dict[tuple[str, str], list[Array]]:
        """The facts of the raw graph: (head type, tail type) -> [m, 3] in ids local to the types.

        Raises:
            ValueError: If a file is damaged.
        """
        raw, found = self.path / "raw", dict[tuple[str, str], list[Array]]()
        if not self.is_typed:
            if self.is_binary:
                ends = read_npz(raw / "data.npz", "edge_index").T
                relation = read_npz(raw / "data.npz", "edge_reltype")
            else:
                ends = read_integers(raw / "edge.csv.gz", 2)
                relation = read_integers(raw / "edge_reltype.csv.gz", 1)
            return {(NODE, NODE): [_facts(ends, relation, raw)]}
        if self.is_binary:
            index = read_npz_files(raw / "edge_index_dict.npz")
            relations = read_npz_files(raw / "edge_reltype.npz")
            pairs = {key: (index[key].T, relations[key]) for key in sorted(index)}
        else:
            pairs = {
                "___".join(kind): (
                    read_integers(self._of_kind(kind) / "edge.csv.gz", 2),
                    read_integers(self._of_kind(kind) / "edge_reltype.csv.gz", 1),
                )
                for kind in self._kinds()
            }
        for key, (ends, relation) in pairs.items():
            head, _, tail = key.split("___")
            found.setdefault((head, tail), []).append(_facts(ends, relation, raw))
        return found

    def names(self, kind: str, size: int) -> list[str] | None:
        """The names of ``size`` entities of a type, or of relations (``"relation"``), by id.

        ``None`` where the folder has none. An id that the file leaves out is called by its number.

        Raises:
            ValueError: If a line is not an id in [0, size) and a name.
        """
        file = {"relation": "reltype2relid", NODE: "nodeidx2entityid"}.get(kind)
        if self.is_typed:
            file = "relidx2relname" if kind == "relation" else f"{kind}_entidx2name"
        path = self.path / "mapping" / f"{file}.csv.gz"
        return read_names(path, size) if path.is_file() else None

    def num_named_relations(self) -> int:
        """Relations that the folder has names for."""
        file = "relidx2relname" if self.is_typed else "reltype2relid"
        path = self.path / "mapping" / f"{file}.csv.gz"
        return len(_rows(path)) - 1 if path.is_file() else 0

    def _raw_names(self) -> Sequence[str]:
        if self.is_binary:
            typed = ["num_nodes_dict", "num_edges_dict", "edge_index_dict", "edge_reltype"]
            return [f"{name}.npz" for name in (typed if self.is_typed else ["data"])]
        typed = ["num-node-dict", "triplet-type-list"]
        plain = ["edge", "edge_reltype", "num-node-list", "num-edge-list"]
        return [f"{name}.csv.gz" for name in (typed if self.is_typed else plain)]

    def _kinds(self) -> list[tuple[str, str, str]]:
        """(head type, relation, tail type) of each file of facts."""
        path = self.path / "raw" / "triplet-type-list.csv.gz"
        rows = _rows(path)
        wrong = next((row for row in rows if len(row) != 3), None)
        if wrong is not None:
            raise ValueError(f"each line of {path} must be head, relation, tail (got {wrong})")
        return [(head, relation, tail) for head, relation, tail in sorted(rows)]

    def _of_kind(self, kind: tuple[str, str, str]) -> Path:
        return self.path / "raw" / "relations" / "___".join(kind)

    def _check_there(self, wanted: Sequence[Path]) -> None:
        missing = [str(path.relative_to(self.path)) for path in wanted if not path.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{self.name} in {self.path} is incomplete: it lacks {', '.join(missing)}; fetch "
                "it again"
            )


def read_integers(path: Path, columns: int) -> Array:
    r"""A table of integers without a header, compressed or not: [rows, columns] int64.

    Raises:
        ValueError: If the file is damaged or something else is in it.
        OSError: If it cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "edge.csv"
        ...     _ = path.write_text("3,1\n2,0\n")
        ...     read_integers(path, 2).tolist()
        [[3, 1], [2, 0]]
    """
    if not next(read_lines(path), ""):
        return np.zeros((0, columns), np.int64)
    try:
        table = np.loadtxt(path, np.int64, delimiter=",", comments=None, ndmin=2)
    except _DAMAGED as error:
        raise _damaged(path, error) from error
    if table.shape[1] != columns:
        raise ValueError(f"{path} must have {columns} columns (got {table.shape[1]})")
    return table


def read_npz(path: Path, key: str) -> Array:
    """An array of integers in an ``.npz`` file.

    Raises:
        ValueError: If the file is damaged or has no such array.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found: npt.NDArray[np.int64] = arrays[key].astype(np.int64, casting="same_kind")
            return found
    except (*_DAMAGED, TypeError) as error:
        raise _damaged(path, error) from error


def read_npz_files(path: Path) -> dict[str, Array]:
    """All arrays in an ``.npz`` file, by name.

    Raises:
        ValueError: As ``read_npz``.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            keys = list(arrays)
    except _DAMAGED as error:
        raise _damaged(path, error) from error
    return {key: read_npz(path, key) for key in keys}


def read_names(path: Path, size: int) -> list[str]:
    r"""A table of ids and names under a header line, as names by id.

    Names are made unique: one that stood before has ``#ID`` after it.

    Raises:
        ValueError: If a line is not an id in [0, size) and a name, there is no header, or the file
            is damaged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "nodeidx2entityid.csv"
        ...     _ = path.write_text("node idx,entity id\n2,Q64\n0,Q42\n1,Q64\n")
        ...     read_names(path, 4)
        ['Q42', 'Q64', 'Q64#2', '3']
    """
    names = list(map(str, range(size)))
    lines = _lines(path)
    header = next(lines, [])
    if len(header) != 2 or _NUMBER.fullmatch(header[0]):
        raise ValueError(
            f"{path} must begin with a header, such as node idx,entity id (got "
            f"{','.join(header)[:80]!r}): fetch it again"
        )
    for line, row in enumerate(lines, start=2):
        if not row:
            continue
        if len(row) != 2 or not _NUMBER.fullmatch(row[0]) or int(row[0]) >= size:
            raise ValueError(
                f"each line of {path} must be an id in [0, {size}) and a name (got "
                f"{','.join(row)[:80]!r} in line {line})"
            )
        names[int(row[0])] = row[1]
    return unique(names)


def unique(names: Sequence[str]) -> list[str]:
    """The names, those that stood before with ``#`` and their place after them.

    Example:
        >>> unique(["a", "b", "a"])
        ['a', 'b', 'a#2']
    """
    if len(set(names)) == len(names):
        return list(names)
    taken, seen, found = set(names), set[str](), []
    for place, name in enumerate(names):
        own = name
        while own in seen or (own != name and own in taken):
            own = f"{own}#{place}"
        seen.add(own)
        found.append(own)
    return found


def _facts(ends: Array, relation: Array, raw: Path) -> Array:
    relation = relation.reshape(-1)
    if ends.ndim != 2 or ends.shape[1] != 2 or len(ends) != len(relation):
        raise ValueError(
            f"{raw} must have a relation for each pair of entities (got {len(relation):,} for "
            f"{tuple(ends.shape)})"
        )
    return np.stack([ends[:, 0], relation, ends[:, 1]], axis=1)


def _rows(path: Path) -> list[list[str]]:
    return [row for row in _lines(path) if row]


def _lines(path: Path) -> Iterator[list[str]]:
    """The fields of each line."""
    try:
        yield from csv.reader(_text(path), strict=True)
    except csv.Error as error:  # a quote that is not closed, a field without end
        raise _damaged(path, error) from error


def _text(path: Path) -> io.StringIO:
    """The text of a file, unpacked at once: far faster than line by line."""
    check_is_file(path)
    unpacked = gzip.open if path.suffix == ".gz" else open
    try:
        with unpacked(path, "rt", encoding="utf-8-sig", newline="") as stream:
            return io.StringIO(stream.read(), newline="")
    except _DAMAGED as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} is damaged, or was downloaded in part (got {error}): fetch it again")


def local_to_global(num_nodes: Mapping[str, int]) -> dict[str, int]:
    """What is added to the local ids of each type; types come in the order of ``num_nodes``.

    Example:
        >>> local_to_global({"disease": 3, "drug": 2})
        {'disease': 0, 'drug': 3}
    """
    starts = np.cumsum([0, *num_nodes.values()]).tolist()
    return dict(zip(num_nodes, starts, strict=False))
