"""Graphs and features in files that are read where they are used: memory-mapped, not loaded."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.graph.supplied_negatives import SuppliedNegatives
from pyg_kgtransfer.sources.graph_parts import graph_from_parts, graph_parts
from pyg_kgtransfer.sources.tensor_files import map_tensors, write_tensors
from pyg_kgtransfer.sources.whole_file import whole_file

INDEX = "graph.json"  # names the two other files, of the same number
FORMAT = 1
_ROLES: tuple[Literal["valid", "test"], ...] = ("valid", "test")
_NUMBERED = re.compile(r"graph-(\d+)\.safetensors|names-(\d+)\.json")
_PART = re.compile(r"\.part-\d+-.*")  # of a write that was cut off


def write_mapped(
    split: Split, folder: Path | str, *, features: Mapping[str, Tensor] | None = None
) -> Path:
    """Write a split to a folder from which ``read_mapped`` opens it without loading it.

    What is written is the whole folder: of a graph that was there before nothing is kept, its
    features neither. It is replaced by the last step, which renames the index; until then, and if
    the writing fails, it stays as it was.

    Args:
        split: Its training graph and held-out facts. A graph without held-out facts is a split
            with empty ones.
        folder: Where to; created. It must be empty, or hold nothing but such a graph.
        features: By name, tables with a row per entity ([N, ...], or of any size), not sparse.

    Raises:
        ValueError: If a feature is not a dense tensor.
        FileExistsError: If the folder holds something else.
        OSError: If it cannot be written (disk full).

    Example:
        >>> import tempfile
        >>> import torch
        >>> import pyg_kgtransfer as kgt
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_mapped(kgt.planted(24), folder, features={"degree": torch.ones(24)})
        ...     read_mapped(path).train.num_triples, read_features(path)["degree"].shape
        (153, torch.Size([24]))
    """
    folder, features = Path(folder), features or {}
    _check_features(features)
    found = _own_files(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors, names = graph_parts(split.train)
    index = {
        "format": FORMAT,
        "symmetric": split.symmetric,
        "fingerprint": split.train.fingerprint(),
    }
    number = 1 + max(map(_number, found), default=0)
    files = f"graph-{number}.safetensors", f"names-{number}.json"
    try:
        with whole_file(folder / files[0]) as part:
            write_tensors(part, tensors | _beside(split, features))
        with whole_file(folder / files[1]) as part:
            part.write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")
        index["bytes"] = {name: (folder / name).stat().st_size for name in files}
        with whole_file(folder / INDEX) as part:
            part.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    finally:
        for name in {*found, *files} - {INDEX, *_own_index(folder).get("bytes", ())}:
            (folder / name).unlink(missing_ok=True)
    return folder


def read_mapped(folder: Path | str, *, verify: bool = False) -> Split:
    """Open a split that ``write_mapped`` wrote; the system reads its facts where they are used.

    Triples take memory only while they are read, and give it back when others need it. Names are
    loaded. The files must stay as they are for as long as the split is used.

    Args:
        folder: Where it was written.
        verify: Read all names and training facts, and compare their fingerprint with the one that
            was stored. Else the files' sizes alone are compared.

    Raises:
        FileNotFoundError: If there is no graph, or a file of it is missing.
        ValueError: If it is of another format, a file is of another size, or with ``verify`` names
            or training facts are not those that were written.

    Example:
        >>> import tempfile
        >>> import pyg_kgtransfer as kgt
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     read_mapped(write_mapped(kgt.planted(24), folder), verify=True).train.num_entities
        24
    """
    folder = Path(folder)
    index = _index(folder)
    tensors = map_tensors(folder / _file(index, ".safetensors"))
    names = json.loads((folder / _file(index, ".json")).read_text(encoding="utf-8"))
    graph = graph_from_parts(tensors, names)
    if verify and graph.fingerprint() != index["fingerprint"]:
        raise ValueError(
            f"the names and facts in {folder} must be those that were written, of fingerprint "
            f"{index['fingerprint'][:12]}... (got {graph.fingerprint()[:12]}...): it was changed"
        )
    held_out = {role: HeldOut(tensors[role], role, _negatives(tensors, role)) for role in _ROLES}
    return Split(graph, held_out["valid"], held_out["test"], tuple(index["symmetric"]))


def read_features(folder: Path | str) -> dict[str, Tensor]:
    """The features of a graph that ``write_mapped`` wrote, by name, memory-mapped.

    Raises:
        FileNotFoundError: As ``read_mapped``.
        ValueError: As ``read_mapped``.

    Example:
        >>> import tempfile
        >>> import torch
        >>> import pyg_kgtransfer as kgt
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_mapped(kgt.planted(24), folder, features={"text": torch.eye(24)})
        ...     kgt.MappedFeatures(read_features(path)["text"], 8)(torch.tensor([3])).shape
        torch.Size([1, 8])
    """
    file = Path(folder) / _file(_index(Path(folder)), ".safetensors")
    prefix = "feature."
    return {
        name.removeprefix(prefix): table
        for name, table in map_tensors(file).items()
        if name.startswith(prefix)
    }


def is_mapped(folder: Path) -> bool:
    """Whether ``write_mapped`` wrote this folder."""
    named = any(_number(path.name) for path in folder.iterdir())
    return bool(_own_index(folder)) or ((folder / INDEX).is_file() and named)


def _beside(split: Split, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that go with the training graph's."""
    tensors = {"valid": split.valid.triples, "test": split.test.triples}
    for held_out in (split.valid, split.test):
        if held_out.negatives is not None:
            tensors[f"{held_out.role}.heads"] = held_out.negatives.head
            tensors[f"{held_out.role}.tails"] = held_out.negatives.tail
    return tensors | {f"feature.{name}": table for name, table in features.items()}


def _check_features(features: Mapping[str, Tensor]) -> None:
    for name, table in features.items():
        if not isinstance(table, Tensor) or table.layout != torch.strided:
            got = table.layout if isinstance(table, Tensor) else type(table).__name__
            raise ValueError(f"features must be dense tensors (got {got} for {name!r})")


def _own_files(folder: Path) -> list[str]:
    """The files in a folder, if ``write_mapped`` put all of them there."""
    found = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    own = _own_index(folder)
    ours = {INDEX, *own["bytes"]} if own else set()
    strange = [n for n in found if n not in ours and not _number(n) and not _PART.fullmatch(n)]
    if strange:
        raise FileExistsError(
            f"{folder} holds something else, so no graph is written there "
            f"(got {', '.join(sorted(strange)[:3])})"
        )
    return found


def _number(name: str) -> int:
    """Of a file of data, from 1; 0 for others."""
    found = _NUMBERED.fullmatch(name)
    return int(found[1] or found[2]) if found else 0


def _own_index(folder: Path) -> dict[str, Any]:
    """The index of a graph that was written here; empty where there is none, or another's file."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    is_own = isinstance(index, dict) and {"format", "fingerprint"} <= index.keys()
    return index if is_own and isinstance(index.get("bytes"), dict) else {}


def _file(index: Mapping[str, Any], suffix: str) -> str:
    """The name of the index's file that ends so."""
    return next(str(name) for name in index["bytes"] if name.endswith(suffix))


def _negatives(tensors: Mapping[str, Tensor], role: str) -> SuppliedNegatives | None:
    if f"{role}.heads" not in tensors:
        return None
    return SuppliedNegatives(tensors[f"{role}.heads"], tensors[f"{role}.tails"])


def _index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no memory-mapped graph: it has no {INDEX}, which is written last"
        )
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} must be JSON (got: {error}): it was changed") from error
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        got = index.get("format") if isinstance(index, dict) else index
        raise ValueError(f"{path} must have format {FORMAT}, which this version reads (got {got})")
    ends = sorted(Path(name).suffix for name in index.get("bytes", ()))
    if ends != [".json", ".safetensors"]:
        raise ValueError(f"{path} must name two files, of facts and names (got {len(ends)})")
    for name, size in index["bytes"].items():
        file = folder / name
        if not file.is_file():
            raise FileNotFoundError(f"the graph in {folder} lacks its file {name}")
        if file.stat().st_size != size:
            raise ValueError(
                f"{file} must have {size:,} bytes (got {file.stat().st_size:,}): it was changed, "
                "or copied in part"
            )
    return index
