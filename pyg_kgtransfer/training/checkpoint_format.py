"""How a checkpoint lies on disk: its files, its index, and what is checked on the way in."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.sources.graph_parts import graph_parts
from pyg_kgtransfer.sources.tensor_files import write_tensors
from pyg_kgtransfer.training.durable_files import file_sha256, write_json

SCHEMA_VERSION = 1
INDEX, WEIGHTS, GRAPH, NAMES, LINKS = (
    "checkpoint.json",
    "weights.safetensors",
    "graph.safetensors",
    "names.json",
    "links.safetensors",
)
Json = dict[str, Any]
# From a schema version to the next one; an index passes through them until it is of this version.
MIGRATIONS: dict[int, Callable[[Json], Json]] = {}


def write_index(folder: Path, content: Json) -> None:
    """Write ``checkpoint.json`` last: sizes and digests of the files beside it, and its own."""
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in sorted(folder.iterdir())
    }
    index = {"schema_version": SCHEMA_VERSION, **content, "files": files}
    index = json.loads(json.dumps(index))  # keys as they will be read
    write_json(folder / INDEX, {**index, "sha256": _index_digest(index)})


def read_index(folder: Path) -> Json:
    """The index of a checkpoint, in this version's schema; every file is checked against it.

    Raises:
        FileNotFoundError: If there is no such folder, or a file of the checkpoint is missing.
        NotADirectoryError: If it is not a folder.
        ValueError: If it is no checkpoint, of a schema that is not read here, or was changed.
    """
    if not folder.exists():
        raise FileNotFoundError(f"there is no checkpoint at {folder}")
    if not folder.is_dir():
        raise NotADirectoryError(f"a checkpoint is a folder (got the file {folder})")
    path = folder / INDEX
    if not path.exists():
        inside = sorted(p.parent.name for p in folder.glob(f"*/{INDEX}"))
        hint = f"; did you mean {folder / inside[0]}?" if inside else ""
        raise ValueError(f"{folder} is not a checkpoint: it has no {INDEX}{hint}")
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} must be JSON (got: {error}): it was changed or cut off"
        ) from error
    if not isinstance(index, dict) or not isinstance(index.get("schema_version"), int):
        raise ValueError(f"{folder} is not a checkpoint: {INDEX} has no schema_version")
    index = _migrated(index, path)
    _check_files(folder, index["files"])
    return index


def _migrated(index: Json, path: Path) -> Json:
    version = index["schema_version"]
    is_readable = version == SCHEMA_VERSION or version in MIGRATIONS
    if is_readable and index.get("sha256") != _index_digest(index):
        raise ValueError(f"{path} was changed after it was saved (its sha256 differs)")
    while index["schema_version"] in MIGRATIONS:
        index = MIGRATIONS[index["schema_version"]](index)
    if index["schema_version"] != SCHEMA_VERSION:
        readable = ", ".join(map(str, sorted({*MIGRATIONS, SCHEMA_VERSION})))
        advice = "; a newer pyg_kgtransfer wrote it" if version > SCHEMA_VERSION else ""
        raise ValueError(
            f"{path} must have a schema_version that this version of pyg_kgtransfer reads: "
            f"{readable} (got {version}){advice}"
        )
    return index


def _index_digest(index: Json) -> str:
    content = {key: value for key, value in index.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _check_files(folder: Path, files: Mapping[str, Json]) -> None:
    strange = sorted({*files} - {WEIGHTS, GRAPH, NAMES, LINKS})
    lacking = sorted({WEIGHTS, GRAPH, NAMES} - {*files})
    if strange or lacking:
        raise ValueError(
            f"{folder / INDEX} must list the files of a checkpoint "
            f"(got {', '.join(strange) or 'no ' + ', '.join(lacking)})"
        )
    for name, entry in files.items():
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"the checkpoint {folder} lacks its file {name}")
        if path.stat().st_size != entry["bytes"]:
            raise ValueError(
                f"{path} was changed after it was saved: it should have {entry['bytes']} bytes "
                f"(got {path.stat().st_size})"
            )
        if file_sha256(path) != entry["sha256"]:
            raise ValueError(f"{path} was changed after it was saved (its sha256 differs)")


def write_graph(folder: Path, graph: KnowledgeGraph) -> Json:
    """Write the tensors of a graph; its names are returned, for ``names.json``."""
    tensors, names = graph_parts(graph)
    write_tensors(folder / GRAPH, tensors)
    return names


def fit_weights(model: nn.Module, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Load ``weights`` into a model that must have exactly these, in their precision.

    Raises:
        ValueError: If the model lacks a key, has another one, or has it in another shape.
    """
    own = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    stored = {key: tuple(value.shape) for key, value in weights.items()}
    faults = [f"the model has no {key} {stored[key]}" for key in stored if key not in own]
    faults += [f"the checkpoint has no {key} {own[key]}" for key in own if key not in stored]
    faults += [
        f"{key} has shape {stored[key]} in the checkpoint, {shape} in the model"
        for key, shape in own.items()
        if stored.get(key, shape) != shape
    ]
    if faults:
        more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise ValueError(
            f"the weights of {folder} must fit the model (got: {'; '.join(faults[:5])}{more})"
        )
    state = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for key, value in weights.items():
            if state[key].dtype != value.dtype:
                state[key].data = state[key].data.to(value.dtype)
    model.load_state_dict(dict(weights))


def weights_digest(model: nn.Module) -> str:
    """The sha256 of the names, types, shapes and numbers of a model's state (hexadecimal)."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        tensor = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
