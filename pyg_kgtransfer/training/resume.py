"""The resume checkpoint of a run: everything that an exact continuation needs, without pickle."""

import functools
import hashlib
import json
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors
from pyg_kgtransfer.sources.tensor_files import read_tensors, write_tensors
from pyg_kgtransfer.training.durable_files import in_words, replace_file, sync, write_json
from pyg_kgtransfer.training.strategies import placed_as, whole

FORMAT = 1
_INDEX = "state.json"
Scalars = dict[str, Any]


@dataclass(frozen=True, eq=False)
class RunState:
    """A run at one moment.

    Attributes:
        tensors: Weights, optimizer moments, random states, by name.
        scalars: Everything else, as JSON takes it.
    """

    tensors: dict[str, Tensor]
    scalars: Scalars


def write_state(folder: Path, state: RunState) -> None:
    """Put ``state`` in the place of the one in ``folder``.

    The tensors go to a file of a new name; then ``state.json``, which names that file, is renamed
    into place. Whenever the process dies, ``state.json`` names a file that is whole.

    Raises:
        OSError: If it cannot be written; the state before it is left as it was.
    """
    partial = folder / f"{_INDEX}.partial"
    current = _tensor_file(folder)
    name = f"tensors-{state.scalars['step']:012d}.safetensors"
    if current is not None and current.name == name:  # the same step is saved twice
        name = f"tensors-{state.scalars['step']:012d}-again.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(folder / name, state.tensors)
        index = {"format": FORMAT, "tensors": name, "bytes": (folder / name).stat().st_size}
        write_json(partial, index | {"state": state.scalars})
        sync(folder)
        replace_file(partial, folder / _INDEX)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if _tensor_file(folder) == folder / name:  # renamed, but perhaps not yet on disk
            kept = "it is in place, but may be lost if the machine stops now"
        else:
            (folder / name).unlink(missing_ok=True)
            kept = "the last resume checkpoint is untouched" if current else "nothing is left"
        raise in_words(error, "the resume checkpoint", folder, kept=kept) from error
    for old in folder.iterdir():
        if old.name not in (_INDEX, name):
            old.unlink()


def read_state(folder: Path) -> RunState | None:
    """The state in ``folder``, or ``None`` if none was ever completed there.

    Raises:
        ValueError: If the state is damaged or of another format.
    """
    index = folder / _INDEX
    if not index.exists():
        return None
    content = _read_index(index)
    if content.get("format") != FORMAT:
        raise ValueError(
            f"{index} must have format {FORMAT}, which this version continues "
            f"(got {content.get('format')!r}); start again in another run_dir"
        )
    path = folder / content["tensors"]
    size = path.stat().st_size if path.exists() else None
    if size != content["bytes"]:
        raise ValueError(f"{path} must have {content['bytes']} bytes (got {size}): it was changed")
    return RunState(read_tensors(path), content["state"])


def _read_index(index: Path) -> Scalars:
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{index} must be JSON (got: {error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{index} must hold a JSON object (got {type(content).__name__})")
    return content


def _tensor_file(folder: Path) -> Path | None:
    index = folder / _INDEX
    return folder / str(_read_index(index).get("tensors")) if index.exists() else None


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], Scalars]:
    """An optimizer's state as named tensors and JSON scalars; see ``restore_optimizer``."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Scalars] = {}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{key}"] = whole(value)
            else:
                scalars.setdefault(str(index), {})[key] = value
    return tensors, {"state": scalars, "groups": state["param_groups"]}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], scalars: Scalars
) -> None:
    """Give an optimizer of the same parameters what ``flatten_optimizer`` took."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, Scalars] = {int(i): dict(entries) for i, entries in scalars["state"].items()}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = placed_as(tensor, parameters[int(index)])
    groups = [
        {
            key: tuple(value) if isinstance(value, list) and key != "params" else value
            for key, value in group.items()
        }
        for group in scalars["groups"]
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors with ``prefix`` before their names."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, named without it."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def graph_digest(graph: GraphTensors) -> str:
    """The sha256 of an encoded graph (hexadecimal)."""
    digest = hashlib.sha256(str(graph.num_relations).encode())
    for tensor in (graph.entity, graph.edge_index, graph.edge_type):
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def module_digest(module: nn.Module) -> str:
    """The sha256 of a module's make-up: classes, settings, shapes of its state; no weights."""
    parts = [
        (name, type(part).__qualname__, _settings(vars(part)))
        for name, part in module.named_modules()
    ]
    shapes = [(key, tuple(value.shape)) for key, value in module.state_dict().items()]
    return hashlib.sha256(repr((parts, shapes)).encode()).hexdigest()


def _settings(value: Any) -> Any:
    """What of a setting can be compared between processes; other things by their type's name."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return [
            (str(key), _settings(entry))
            for key, entry in value.items()
            if not str(key).startswith("_") and key != "training"
        ]
    if isinstance(value, list | tuple):
        return [_settings(entry) for entry in value]
    if isinstance(value, functools.partial):
        return [_settings(value.func), _settings(value.args), _settings(value.keywords)]
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return value.__qualname__
    return type(value).__qualname__


def check_same_run(stored: Scalars, present: Scalars, folder: Path) -> None:
    """Refuse to continue a run with another configuration or other data.

    Args:
        stored: The identity that the resume checkpoint holds: name -> digest, and ``config``.
        present: The identity of what was asked for.
        folder: Where the checkpoint is, for the message.

    Raises:
        ValueError: If they differ; the message says in what.
    """
    was, now = stored["config"], present["config"]
    changed = [
        f"{name} was {was.get(name)!r}, is {now.get(name)!r}"
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name)
    ]
    changed += [
        f"the {name} was {stored.get(name)}, is {value}" if name == "device" else f"other {name}"
        for name, value in present.items()
        if name != "config" and stored.get(name) != value
    ]
    if changed:
        raise ValueError(
            f"{folder} holds the resume checkpoint of another run (got: {'; '.join(changed)}); "
            "go on with what it was begun with, or choose another run_dir"
        )
