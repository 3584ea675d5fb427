"""Files that are whole or not there: written under another name, forced to disk, renamed."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to, in the folder of ``path``; renamed to ``path`` when the block ends well.

    When it does not (an error, a full disk), nothing is left behind and an earlier file at ``path``
    stays as it was. The name under which the file is made keeps the suffixes of ``path``. Folders
    on the way are created.

    Args:
        path: Where the finished file goes.

    Raises:
        OSError: If the file cannot be written, in words: the disk is full, it is a folder ...

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with whole_file(Path(folder) / "facts.tsv") as part:
        ...         _ = part.write_text("Athens", encoding="utf-8")
        ...     (Path(folder) / "facts.tsv").read_text(encoding="utf-8")
        'Athens'
    """
    if path.is_dir():
        raise IsADirectoryError(f"a file is to be written, not a folder (got {path})")
    part: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        suffix = "".join(path.suffixes[-2:])
        descriptor, name = tempfile.mkstemp(suffix, f".part-{os.getpid()}-", path.parent)
        part = Path(name)
        os.close(descriptor)
        part.chmod(0o666 & ~_umask())
        yield part
        sync(part)
        part.replace(path)
        part = None
        sync(path.parent)
    except OSError as error:
        if error.errno is None:  # raised in words already
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        reason = "the disk is full" if full else error.strerror or str(error)
        raise type(error)(error.errno, f"could not be written: {reason}", str(path)) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def sync(path: Path) -> None:
    """Force a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
