"""Weights of foundation models in files, under the keys of ULTRA's published ones."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from pyg_kgtransfer.models.foundation import FoundationModel
from pyg_kgtransfer.sources.tensor_files import read_tensors, write_tensors
from pyg_kgtransfer.sources.whole_file import whole_file

_FIRST = "relation_model.layers.0.relation.weight"
_NOT_TENSORS = (  # what torch's reader raises on other bytes
    pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, LookupError, ValueError,
    TypeError, AttributeError,
)  # fmt: skip
_SUFFIXES = (".pth", ".pt", ".safetensors")


def read_foundation(path: Path | str) -> FoundationModel:
    """A model from weights: ULTRA's ``.pth``, or what ``write_foundation`` wrote.

    Tensors alone are read; nothing else is unpickled.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds something else, weights of another architecture (key and shape are
            named), or weights that are not finite.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_foundation(FoundationModel(width=8, layers=2), f"{folder}/mine.pth")
        ...     read_foundation(path).relation_model.width
        8
    """
    path = Path(path)
    weights = _weights_in(path)
    first = weights.get(_FIRST)
    if first is None or first.dim() != 2:
        keys = ", ".join(sorted(weights)[:3]) or "none"
        raise ValueError(f"{path}: a foundation model has the key {_FIRST} (got {keys}, ...)")
    layers = sum(key.endswith(".relation.weight") for key in weights)
    model = FoundationModel(width=first.shape[1], layers=layers)
    wanted = model.state_dict()
    for key, value in wanted.items():
        shape = None if key not in weights else tuple(weights[key].shape)
        if shape != tuple(value.shape):
            found = "no such key" if shape is None else shape
            raise ValueError(
                f"{path}: {key} must have the shape {tuple(value.shape)} (got {found})"
            )
    strange = sorted(set(weights) - set(wanted))
    if strange:
        shape = tuple(weights[strange[0]].shape)
        raise ValueError(f"{path}: a foundation model has no {strange[0]} (got one, {shape})")
    _check_finite(weights)
    model.load_state_dict(weights)
    return model


def write_foundation(model: FoundationModel, path: Path | str) -> Path:
    """Write weights as ULTRA's code reads them.

    Args:
        model: Its weights.
        path: ``.pth`` or ``.pt``, or ``.safetensors`` with the same keys.

    Raises:
        ValueError: If a weight is not finite, or the suffix is another.
        OSError: If the file cannot be written; one that is there stays as it was.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_foundation(FoundationModel(width=8, layers=2), f"{folder}/mine.pth").name
        'mine.pth'
    """
    path = Path(path)
    if path.suffix not in _SUFFIXES:
        raise ValueError(f"weights go to {' or '.join(_SUFFIXES)} (got {path.name!r})")
    weights = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    _check_finite(weights)
    with whole_file(path) as part:
        if path.suffix == ".safetensors":
            write_tensors(part, weights)
        else:
            torch.save({"model": weights}, part)
    return path


def _check_finite(weights: Mapping[str, Tensor]) -> None:
    for key, value in weights.items():
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"weights must be finite (got another number in {key})")


def _weights_in(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        return read_tensors(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except _NOT_TENSORS as error:
        raise ValueError(f"{path} must hold tensors alone (got: {error})") from error
    weights = found.get("model", found) if isinstance(found, dict) else {}
    is_named = isinstance(weights, dict) and all(isinstance(v, Tensor) for v in weights.values())
    if not is_named or not weights:
        raise ValueError(f"{path} must hold named tensors (got {type(weights).__name__})")
    return dict(weights)
