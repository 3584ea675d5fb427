"""Files that are whole or not there: written under another name, forced to disk, renamed."""

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from pyg_kgtransfer.sources.whole_file import sync


def write_json(path: Path, content: Any) -> None:
    """Write JSON and force it to disk."""
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    sync(path)


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes (hexadecimal)."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def replace_file(new: Path, path: Path) -> None:
    """Put the finished file ``new`` in the place of ``path``; readers see one or the other."""
    os.replace(new, path)
    sync(path.parent)


def previous_of(path: Path) -> Path:
    """Where ``replace_folder`` keeps the old folder while it puts the new one in its place."""
    return path.with_name(f".{path.name}.previous")


def partial_of(path: Path) -> Path:
    """Where a folder is made ready before it is put in its place."""
    return path.with_name(f".{path.name}.partial")


def standing_folder(path: Path) -> Path:
    """``path``, or the folder it was to replace if that was cut off between the two renames."""
    return previous_of(path) if not path.exists() and previous_of(path).is_dir() else path


def replace_folder(new: Path, path: Path) -> None:
    """Put the finished folder ``new`` in the place of the folder ``path``.

    A folder cannot be renamed onto another, so the old one steps aside first;
    ``standing_folder`` finds it should the process die in between.
    """
    previous = previous_of(path)
    sync(new)
    if path.exists():
        shutil.rmtree(previous, ignore_errors=True)
        os.replace(path, previous)
    try:
        os.replace(new, path)
        sync(path.parent)
    except OSError:
        if path.exists():
            os.replace(path, new)
        if previous.exists():
            os.replace(previous, path)
        raise
    shutil.rmtree(previous, ignore_errors=True)


def in_words(error: OSError, what: str, path: Path, *, kept: str) -> OSError:
    """The error of a failed save, said in words.

    Args:
        error: What the system said.
        what: What was to be written: ``"the checkpoint"``.
        path: Where to.
        kept: What is still there.
    """
    reason = (
        "the disk is full"
        if error.errno in (errno.ENOSPC, errno.EDQUOT)
        else (error.strerror or str(error))
    )
    return type(error)(error.errno, f"{what} could not be written to {path}: {reason}; {kept}")
