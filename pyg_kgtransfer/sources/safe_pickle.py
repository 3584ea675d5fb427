"""What torch.save wrote, read without running anything: arrays, tensors and plain containers."""

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import IO, Any

import numpy as np
import torch
from torch._utils import _rebuild_tensor_v2

try:
    from numpy._core.multiarray import _reconstruct, scalar
    from numpy._core.numeric import _frombuffer  # type: ignore[attr-defined]
except ImportError:  # NumPy 1
    from numpy.core.multiarray import _reconstruct, scalar  # type: ignore[no-redef]
    from numpy.core.numeric import _frombuffer  # type: ignore[attr-defined, no-redef]


class RefusedPickleError(ValueError):
    """A file asks for something other than arrays, tensors and plain containers."""


def read_saved(path: Path) -> Any:
    """The object in a file that ``torch.save`` wrote, of any pickle protocol, new or old format.

    Arrays, tensors, numbers, text and their dicts, lists and tuples are read. A file that names
    anything else is refused before it is called, so that a file from elsewhere cannot run code.
    (``torch.load(weights_only=True)`` cannot read pickle protocols 4 and 5, which OGB writes.)

    Args:
        path: The file.

    Raises:
        ValueError: If the file names anything else, or is damaged or no such file.
        OSError: If it cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "train.pt"
        ...     torch.save({"head": np.array([3, 1])}, path, pickle_protocol=4)
        ...     read_saved(path)["head"].tolist()
        [3, 1]
    """
    if _is_program(path):
        raise RefusedPickleError(f"{path} holds a program (TorchScript), not arrays: not read")
    try:
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=_RESTRICTED)
    except RefusedPickleError as error:
        raise RefusedPickleError(f"{path} is not read: {error}") from None
    except (pickle.UnpicklingError, EOFError, RuntimeError, UnicodeDecodeError, KeyError) as error:
        raise _damaged(path, error) from error
    except (AttributeError, IndexError, TypeError, ValueError) as error:  # bytes that are no pickle
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ValueError:
    reason = str(error).splitlines()[0] if str(error) else "it ends too early"
    return ValueError(
        f"{path} must be a whole file written by torch.save (got {reason}): it is damaged or was "
        "downloaded in part; fetch it again"
    )


def _is_program(path: Path) -> bool:
    """Whether torch.load would hand the file on to torch.jit."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(Path(name).name == "constants.pkl" for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def _latin1(text: str, encoding: str) -> bytes:
    """How pickle protocols below 3 state bytes."""
    if encoding != "latin1":
        raise RefusedPickleError(f"bytes must be stated in latin1 (got {encoding!r})")
    return text.encode(encoding)


_ALLOWED = MappingProxyType(
    {
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): _latin1,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        **{
            (f"numpy.{core}.{module}", name): value
            for core in ("core", "_core")  # NumPy 1 and 2
            for module, name, value in (
                ("multiarray", "_reconstruct", _reconstruct),
                ("multiarray", "scalar", scalar),
                ("numeric", "_frombuffer", _frombuffer),
            )
        },
    }
)


class _Unpickler(pickle.Unpickler):
    """Knows what arrays, tensors and plain containers are made of, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise RefusedPickleError(
                f"it asks for {module}.{name}, and only arrays, tensors and plain containers are "
                "read from a file that may come from anywhere"
            ) from None


def _load(file: IO[bytes], **options: Any) -> Any:
    return _Unpickler(file, **options).load()


_RESTRICTED = SimpleNamespace(__name__="restricted", Unpickler=_Unpickler, load=_load)
