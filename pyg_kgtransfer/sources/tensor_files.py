"""Named tensors in files (safetensors): written whole, read or memory-mapped, never unpickled."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pyg_kgtransfer.sources.whole_file import sync


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors as safetensors and force them to disk.

    Tensors that share memory (tied weights) are written once each.

    Raises:
        OSError: If the file cannot be written (disk full, no permission).
    """
    apart: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        memory = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if memory in seen else tensor
        seen.add(memory)
    path.touch()
    mode = path.stat().st_mode  # safetensors makes a file that its owner alone may read
    try:
        save_file(apart, path)
        path.chmod(mode)
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from error
    sync(path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """As ``map_tensors``, but in memory of their own."""
    return {name: tensor.clone() for name, tensor in map_tensors(path).items()}


def map_tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors of a safetensors file, each number read from disk where it is used.

    What is changed in them is not written back. The file may be unlinked, but not changed.

    Raises:
        ValueError: If the file is not safetensors.
    """
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} must be a safetensors file (got: {error})") from error
