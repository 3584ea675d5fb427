"""The split of an OGB data set in global ids: checked once, kept as arrays that can be mapped."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyg_kgtransfer.graph.splits import HeldOut
from pyg_kgtransfer.graph.supplied_negatives import SuppliedNegatives
from pyg_kgtransfer.sources.download import sha256_of
from pyg_kgtransfer.sources.ogb_files import NODE, PARTS, Array, OGBFolder, local_to_global
from pyg_kgtransfer.sources.safe_pickle import read_saved
from pyg_kgtransfer.sources.whole_file import whole_file

_FORMAT = 1  # of the arrays
_ROWS = 1 << 15  # of negatives, converted at a time
_SETTLED_SECONDS = 2.0  # a file that has just changed may change again within its time stamp
_HELD_OUT = PARTS[1:]


@dataclass(frozen=True)
class OGBArrays:
    """The split of a data set as arrays in a folder, which is named after what they were made of.

    Attributes:
        folder: Of the data set.
        num_nodes: Entities of each type, types sorted by name.
        path: Where the arrays are.
    """

    folder: OGBFolder
    num_nodes: Mapping[str, int]
    path: Path

    @classmethod
    def of(cls, folder: OGBFolder, num_nodes: Mapping[str, int], cache: Path) -> "OGBArrays":
        """The arrays that belong to the split files as they are now, made or yet to be made."""
        home = cache / "ogb" / folder.name
        files = dict.fromkeys(folder.parts().values())
        made_of = [_FORMAT, dict(num_nodes), [_content(file, home) for file in files]]
        key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
        return cls(folder, num_nodes, home / key[:16])

    @property
    def are_there(self) -> bool:
        """Whether all of them have been made."""
        return all(self._file(name).is_file() for name in _names())

    def triples(self, part: str) -> torch.Tensor:
        """The facts of a part in global ids: [M, 3] int64."""
        return torch.from_numpy(np.load(self._file(part)))

    def held_out(self, part: str) -> HeldOut:
        """The facts of ``"valid"`` or ``"test"`` with their negatives, which stay on the disk."""
        head, tail = (
            torch.from_numpy(np.load(self._file(f"{part}_{side}"), mmap_mode="c"))
            for side in ("head", "tail")
        )
        negatives = SuppliedNegatives(head, tail)
        return HeldOut(self.triples(part), "valid" if part == "valid" else "test", negatives)

    def make(self) -> None:
        """Read and check the split files, and write the arrays: each is whole or not there.

        Raises:
            ValueError: If a file is refused or damaged, something is missing in it, shapes do not
                fit or an id is out of range.
            OSError: If the arrays cannot be written.
        """
        parts = self.folder.parts()
        for file in dict.fromkeys(parts.values()):
            saved = read_saved(file)
            for part in [part for part in PARTS if parts[part] == file]:
                is_joint = file.name == "split_dict.pt"
                self._write(
                    part, _Facts(_entry(saved, part, file) if is_joint else saved, self, file)
                )

    def _write(self, part: str, facts: "_Facts") -> None:
        for side in ("head", "tail") if part in _HELD_OUT else ():
            facts.write_negatives(side, self._file(f"{part}_{side}"))
        with whole_file(self._file(part)) as path:
            np.save(path, facts.triples)

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.npy"


class _Facts:
    """A part of the split as it was saved: checked, with ids made global."""

    def __init__(self, saved: Any, arrays: OGBArrays, file: Path) -> None:
        self.saved, self.file = saved, file
        self.kinds = list(arrays.num_nodes)
        self.sizes = np.array(list(arrays.num_nodes.values()))
        self.starts = np.array(list(local_to_global(arrays.num_nodes).values()))
        relation = self._column("relation")
        self.kind = {
            side: self._kinds(side, len(relation), arrays.folder.is_typed)
            for side in ("head", "tail")
        }
        ends = {side: self._end(side, len(relation)) for side in ("head", "tail")}
        if len(relation) and int(relation.min()) < 0:
            raise ValueError(f"{file}: relations must be at least 0 (got {int(relation.min())})")
        self.triples = np.stack([ends["head"], relation, ends["tail"]], axis=1)  # [T, 3]

    def write_negatives(self, side: str, path: Path) -> None:
        """Global ids of the wrong answers, int32 [T, K], a chunk at a time."""
        name, count = f"{side}_neg", len(self.triples)
        given = _integers(_entry(self.saved, name, self.file), name, self.file)
        if given.ndim != 2 or len(given) != count or not given.shape[1]:
            raise ValueError(
                f"{self.file}: {name} must have a row of negatives for each of {count:,} facts "
                f"(got the shape {given.shape})"
            )
        with whole_file(path) as part:
            if not count:
                np.save(part, given.astype(np.int32))
                return
            kept = np.lib.format.open_memmap(part, "w+", dtype=np.int32, shape=given.shape)
            for start in range(0, count, _ROWS):
                rows = slice(start, start + _ROWS)
                kept[rows] = self._global(given[rows], self.kind[side][rows, None], name)
            kept.flush()

    def _column(self, name: str) -> Array:
        column = _integers(_entry(self.saved, name, self.file), name, self.file)
        if column.ndim != 1:
            raise ValueError(f"{self.file}: {name} must be a list of ids (got {column.shape})")
        return column

    def _end(self, side: str, count: int) -> Array:
        column = self._column(side)
        if len(column) != count:
            raise ValueError(
                f"{self.file}: each fact needs a {side} (got {len(column):,} for {count:,})"
            )
        return self._global(column, self.kind[side], side)

    def _kinds(self, side: str, count: int, is_typed: bool) -> Array:
        """The type of that end of each fact, as an index: [T]."""
        if not is_typed:
            return np.zeros(count, np.int64)
        given = _entry(self.saved, f"{side}_type", self.file)
        if not isinstance(given, list | np.ndarray) or not set(map(type, given)) <= {str, np.str_}:
            raise ValueError(f"{self.file}: {side}_type must be a list of the names of types")
        place = {kind: index for index, kind in enumerate(self.kinds)}
        unknown = sorted({str(kind) for kind in set(given) - set(place)})
        if unknown or len(given) != count:
            raise ValueError(
                f"{self.file}: {side}_type must name one of {', '.join(self.kinds)} for each of "
                f"{count:,} facts (got {len(given):,}{', with ' if unknown else ''}"
                f"{', '.join(unknown[:3])})"
            )
        return np.fromiter(map(place.__getitem__, given), np.int64, count)

    def _global(self, local: Array, kind: Array, name: str) -> Array:
        """Local ids of types (one for each, or for each row) as global ones."""
        wrong = (local < 0) | (local >= self.sizes[kind])
        if wrong.any():
            place = tuple(np.argwhere(wrong)[0])
            of = int(np.broadcast_to(kind, local.shape)[place])
            what = "entities" if self.kinds == [NODE] else f"entities of type {self.kinds[of]!r}"
            raise ValueError(
                f"{self.file}: {name} must hold ids in [0, {self.sizes[of]}), there being so many "
                f"{what} (got {local[place]})"
            )
        found: Array = local + self.starts[kind]
        return found


def _names() -> Iterator[str]:
    yield from PARTS
    yield from (f"{part}_{side}" for part in _HELD_OUT for side in ("head", "tail"))


def _entry(saved: Any, name: str, file: Path) -> Any:
    if not isinstance(saved, dict) or name not in saved:
        got = ", ".join(map(str, saved)) if isinstance(saved, dict) else type(saved).__name__
        raise ValueError(f"{file} must be a dict that has {name!r} (got {got})")
    return saved[name]


def _integers(given: Any, name: str, file: Path) -> Array:
    array: Array = np.asarray(given)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{file}: {name} must be integers (got {array.dtype})")
    return array


def _content(file: Path, home: Path) -> str:
    """The sha256 of a file; what was found before counts while size and time are the same."""
    stat, record = file.stat(), home / "files.json"
    known = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    name, seen = str(file.resolve()), [stat.st_size, stat.st_mtime_ns]
    if name in known and known[name][:2] == seen:
        return str(known[name][2])
    digest = sha256_of(file)
    if time.time() - stat.st_mtime > _SETTLED_SECONDS:
        with whole_file(record) as part:
            part.write_text(json.dumps(known | {name: [*seen, digest]}), encoding="utf-8")
    return digest
