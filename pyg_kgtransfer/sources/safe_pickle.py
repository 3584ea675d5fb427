"""What torch.save wrote, read without running anything: arrays, tensors and plain containers."""

import errno
import io
import pickle
import re
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyg_kgtransfer.sources.plain_pickle import PlainUnpickler, RefusedPickleError

_ZIP = b"PK\x03\x04"
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of files before PyTorch 1.6
_ENTRY = re.compile(r"data\.pkl|data/\d+|version|byteorder|\.format_version|\.storage_alignment|"
                    r"\.data/serialization_id")  # fmt: skip
_PROGRAM = re.compile(r"constants\.pkl|code/.*")
_DAMAGE = (
    pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, ValueError, TypeError,
    AttributeError, LookupError, ArithmeticError, AssertionError, RuntimeError,
)  # fmt: skip


def read_saved(path: Path) -> Any:
    """The object in a file that ``torch.save`` wrote, of pickle protocol 2 to 5, new or old format.

    Arrays, tensors, numbers, text and their dicts, lists and tuples are read. A file that names
    anything else is refused, so that a file from elsewhere cannot run code. ``torch.load`` has no
    part in it: with ``weights_only`` it cannot read protocols 4 and 5, which OGB writes, and
    without it runs programs and writes files. Arrays may be read-only.

    Args:
        path: The file.

    Raises:
        ValueError: If the file names anything else, or is damaged.
        OSError: If it cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "train.pt"
        ...     torch.save({"head": np.array([3, 1])}, path, pickle_protocol=4)
        ...     read_saved(path)["head"].tolist()
        [3, 1]
    """
    try:
        with path.open("rb") as stream:
            is_zip = stream.read(len(_ZIP)) == _ZIP
        return _read_zip(path) if is_zip else _read_old(path)
    except RefusedPickleError as error:
        raise RefusedPickleError(f"{path} is not read: {error}") from None
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # the directory of a cut archive points before its start
            raise
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ValueError:
    reason = str(error).splitlines()[0] if str(error) else "it ends too early"
    if isinstance(error, LookupError):
        reason = f"it points at what is not in it: {reason}"
    return ValueError(
        f"{path} must be a whole file written by torch.save (got {reason}): it is damaged or was "
        "downloaded in part; fetch it again"
    )


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        top = _checked_top(archive, path.stat().st_size)
        storages = _ZipStorages(archive, top)
        stream = io.BytesIO(archive.read(f"{top}/data.pkl"))
        return _only(PlainUnpickler(stream, storages).plain(), stream)


def _checked_top(archive: zipfile.ZipFile, size: int) -> str:
    """The one folder of an archive in which there is nothing but what torch.save writes."""
    entries = archive.infolist()
    top = entries[0].filename.partition("/")[0]
    names = [entry.filename.removeprefix(f"{top}/") for entry in entries]
    if any(map(_PROGRAM.fullmatch, names)):
        raise RefusedPickleError("it holds a program (TorchScript), not arrays")
    other = next((name for name in names if not _ENTRY.fullmatch(name)), None)
    if other is not None:
        raise RefusedPickleError(f"it holds {other!r}, which torch.save does not write")
    if len(set(names)) != len(names):
        raise ValueError("two entries of one name")
    if any(
        e.compress_type != zipfile.ZIP_STORED or e.file_size != e.compress_size for e in entries
    ):
        raise ValueError("compressed entries, which torch.save does not write")
    if sum(entry.file_size for entry in entries) > size:
        raise ValueError("entries that are larger than the file")
    if "byteorder" in names and archive.read(f"{top}/byteorder") != sys.byteorder.encode():
        raise RefusedPickleError(f"its tensors must be {sys.byteorder}-endian, as this machine is")
    return top


class _ZipStorages:
    """The numbers of tensors, each in an entry of its own."""

    def __init__(self, archive: zipfile.ZipFile, top: str) -> None:
        self.archive, self.top = archive, top
        self.found: dict[str, torch.Tensor] = {}

    def __call__(self, key: str, dtype: torch.dtype, count: int) -> torch.Tensor:
        if key not in self.found:
            content = self.archive.read(f"{self.top}/data/{key}")
            if len(content) != count * dtype.itemsize:
                raise ValueError(f"{len(content):,} bytes for {count:,} numbers")
            self.found[key] = torch.empty(count, dtype=dtype)
            _fill(self.found[key], content)
        return _same(self.found[key], dtype, count)


def _read_old(path: Path) -> Any:
    """Five pickles (magic number, protocol, machine, object, names of storages), then storages."""
    content = path.read_bytes()
    if not content.startswith(pickle.PROTO):
        raise ValueError("no sign of torch.save at its start" if content else "nothing")
    stream = io.BytesIO(content)
    if PlainUnpickler(stream).plain() != _MAGIC:
        raise ValueError("no sign of torch.save at its start")
    if PlainUnpickler(stream).plain() != _PROTOCOL:
        raise ValueError("another version of the format")
    machine = PlainUnpickler(stream).plain()
    if machine["little_endian"] is not (sys.byteorder == "little"):
        raise RefusedPickleError(f"its tensors must be {sys.byteorder}-endian, as this machine is")
    storages = _OldStorages(stream)
    found = PlainUnpickler(stream, storages).plain()
    storages.read(PlainUnpickler(stream).plain())
    return _only(found, stream)


class _OldStorages:
    """The numbers of tensors, which come after what is made of them."""

    def __init__(self, stream: io.BytesIO) -> None:
        self.stream, self.left = stream, len(stream.getbuffer())
        self.found: dict[str, torch.Tensor] = {}

    def __call__(self, key: str, dtype: torch.dtype, count: int) -> torch.Tensor:
        if key not in self.found:
            self.left -= count * dtype.itemsize
            if self.left < 0:
                raise EOFError
            self.found[key] = torch.zeros(count, dtype=dtype)
        return _same(self.found[key], dtype, count)

    def read(self, keys: Any) -> None:
        if not isinstance(keys, list) or keys != sorted(self.found):
            raise ValueError("names of other storages than those of its tensors")
        for key in keys:
            storage = self.found[key]
            content = self.stream.read(8 + storage.nbytes)
            if len(content) != 8 + storage.nbytes:
                raise EOFError
            if int.from_bytes(content[:8], sys.byteorder) != len(storage):
                raise ValueError(f"another size of a storage of {len(storage):,} numbers")
            _fill(storage, content[8:])


def _fill(storage: torch.Tensor, content: bytes) -> None:
    storage.view(torch.uint8).numpy()[:] = np.frombuffer(content, np.uint8)


def _same(storage: torch.Tensor, dtype: torch.dtype, count: int) -> torch.Tensor:
    if storage.dtype != dtype or len(storage) != count:
        raise ValueError("a storage of two sizes or types")
    return storage


def _only(found: Any, stream: io.BytesIO) -> Any:
    """What was found, if nothing comes after it."""
    if stream.read(1):
        raise ValueError("more after its end")
    return found
