"""Graphs and features in files that are read where they are used: memory-mapped, not loaded."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.graph.supplied_negatives import SuppliedNegatives
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.tensor_files import map_tensors, write_tensors
from pyg_kgtransfer.sources.whole_file import whole_file

INDEX, NAMES, TENSORS = "graph.json", "names.json", "graph.safetensors"
FORMAT = 1
_ROLES: tuple[Literal["valid", "test"], ...] = ("valid", "test")


def write_mapped(
    split: Split, folder: Path | str, *, features: Mapping[str, Tensor] | None = None
) -> Path:
    """Write a split to a folder from which ``read_mapped`` opens it without loading it.

    Args:
        split: Its training graph and held-out facts. A graph without held-out facts is a split
            with empty ones.
        folder: Where to; created. A graph that was written there before is replaced, its index
            last: a folder without an index is not a graph.
        features: By name, tables with a row per entity ([N, ...], or of any size).

    Raises:
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
    folder = Path(folder)
    others = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if others and INDEX not in others and {*others} - {NAMES, TENSORS}:
        raise FileExistsError(f"{folder} holds something else, so no graph is written there")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INDEX).unlink(missing_ok=True)
    graph = split.train
    tensors = {"train": graph.triples, "valid": split.valid.triples, "test": split.test.triples}
    for held_out in (split.valid, split.test):
        if held_out.negatives is not None:
            tensors[f"{held_out.role}.heads"] = held_out.negatives.head
            tensors[f"{held_out.role}.tails"] = held_out.negatives.tail
    if graph.entity_type is not None:
        tensors["entity_type"] = graph.entity_type
    tensors |= {f"feature.{name}": table for name, table in (features or {}).items()}
    names = {
        "entities": graph.entities.names,
        "relations": graph.relations.names,
        "labels": graph.labels,
        "entity_types": None if graph.entity_types is None else graph.entity_types.names,
    }
    with whole_file(folder / TENSORS) as part:
        write_tensors(part, tensors)
    with whole_file(folder / NAMES) as part:
        part.write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")
    index = {
        "format": FORMAT,
        "graph": graph.name,
        "symmetric": split.symmetric,
        "fingerprint": graph.fingerprint(),
        "bytes": {name: (folder / name).stat().st_size for name in (TENSORS, NAMES)},
    }
    with whole_file(folder / INDEX) as part:
        part.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return folder


def read_mapped(folder: Path | str) -> Split:
    """Open a split that ``write_mapped`` wrote; the system reads its facts where they are used.

    Triples take memory only while they are read, and give it back when others need it. Names are
    loaded. The files must stay as they are for as long as the split is used.

    Raises:
        FileNotFoundError: If there is no graph, or a file of it is missing.
        ValueError: If it is of another format, or a file was changed or cut off.

    Example:
        >>> import tempfile
        >>> import pyg_kgtransfer as kgt
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     read_mapped(write_mapped(kgt.planted(24), folder)).train.num_entities
        24
    """
    folder = Path(folder)
    index = _index(folder)
    tensors = map_tensors(folder / TENSORS)
    names = json.loads((folder / NAMES).read_text(encoding="utf-8"))
    kinds, labels = names["entity_types"], names["labels"]
    graph = KnowledgeGraph(
        Vocabulary(names["entities"], kind="entity"),
        Vocabulary(names["relations"], kind="relation"),
        tensors["train"],
        index["graph"],
        None if labels is None else tuple(labels),
        None if kinds is None else Vocabulary(kinds, kind="entity type"),
        tensors.get("entity_type"),
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
    _index(Path(folder))
    prefix = "feature."
    return {
        name.removeprefix(prefix): table
        for name, table in map_tensors(Path(folder) / TENSORS).items()
        if name.startswith(prefix)
    }


def is_mapped(folder: Path) -> bool:
    """Whether ``write_mapped`` wrote this folder."""
    return (folder / INDEX).is_file() and (folder / TENSORS).is_file()


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
