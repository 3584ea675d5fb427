"""Downloads that are checked by sha256 and are whole or not there."""

import hashlib
import http.client
import logging
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple
from zlib import error as DamagedStream

from pyg_kgtransfer.sources.whole_file import whole_file

TIMEOUT = 60.0  # seconds without a byte
_BLOCK = 1 << 20

log = logging.getLogger(__name__)


class Wanted(NamedTuple):
    """Where a downloaded file goes and what it must be.

    Attributes:
        path: Where to.
        sha256: Of its bytes, hexadecimal.
    """

    path: Path
    sha256: str


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def fetch(url: str, wanted: Wanted) -> None:
    """Download one file.

    Raises:
        ConnectionError: If the server cannot be reached, or refuses.
        ValueError: If what comes has another sha256; nothing is kept.
        OSError: If the file cannot be written.
    """
    with whole_file(wanted.path) as part:
        _download(url, part)
        _check(part, wanted, url)


def fetch_members(url: str, wanted: Mapping[str, Wanted]) -> None:
    """Download an archive (``.zip`` or ``.tar.gz``) and keep some of its files.

    Args:
        url: Of the archive.
        wanted: Name of a member, without folders, -> where it goes. Of several members of that
            name the one with the right sha256 is taken.

    Raises:
        ConnectionError: If the server cannot be reached, or refuses.
        ValueError: If it is no such archive, or lacks a file of that name and sha256.
        OSError: If a file cannot be written.
    """
    folder = next(iter(wanted.values())).path.parent
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f".{Path(url).name}.part"
    try:
        _download(url, archive)
        found: set[str] = set()
        try:
            for name, stream in _members(archive):
                if name in wanted and name not in found and _keep(stream, wanted[name]):
                    found.add(name)
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, DamagedStream) as error:
            raise ValueError(f"{url} must be a whole archive (got: {error})") from error
    finally:
        archive.unlink(missing_ok=True)
    if missing := sorted(set(wanted) - found):
        raise ValueError(
            f"the archive {url} must have {', '.join(missing)} with sha256 "
            f"{', '.join(wanted[name].sha256 for name in missing)} (got no such file)"
        )


def fetch_folder(url: str, member: str, path: Path) -> None:
    """Download a ``.zip`` archive and keep one folder of it, which is whole or not there.

    Args:
        url: Of the archive.
        member: The folder in it.
        path: Where that goes.

    Raises:
        ConnectionError: If the server cannot be reached, refuses, or ends early.
        ValueError: If it is no such archive, or has no such folder.
        OSError: If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=path.parent) as part:
        archive, folder = Path(part) / "archive.zip", Path(part) / "unpacked"
        with whole_file(archive) as file:
            _download(url, file)
        try:
            with zipfile.ZipFile(archive) as packed:
                names = [name for name in packed.namelist() if name.startswith(f"{member}/")]
                packed.extractall(folder, names)
        except (zipfile.BadZipFile, EOFError, DamagedStream, RuntimeError) as error:
            raise ValueError(f"{url} must be a whole archive (got: {error})") from error
        except OSError as error:
            reason = f"could not be unpacked: {error.strerror or error}"
            raise type(error)(error.errno, reason, str(path)) from error
        if not names:
            raise ValueError(f"the archive {url} must have a folder {member!r} (got none)")
        (folder / member).rename(path)


def _download(url: str, path: Path) -> None:
    log.info("downloading %s", url)
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, path.open("wb") as stream:
            shutil.copyfileobj(answer, stream, _BLOCK)
            length = answer.headers.get("Content-Length") or ""
    except urllib.error.HTTPError as error:
        error.close()
        raise ConnectionError(
            f"{url} could not be downloaded (got: {error.code} {error.reason})"
        ) from error
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        TimeoutError,
        ConnectionError,
    ) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise ConnectionError(
            f"{url} could not be reached (got: {reason!r}): is there a network?"
        ) from error
    size = path.stat().st_size
    if length.isdecimal() and int(length) != size:
        raise ConnectionError(
            f"{url} ended early (got {size:,} of {int(length):,} bytes): try it again"
        )


def _check(path: Path, wanted: Wanted, source: str) -> None:
    digest = sha256_of(path)
    if digest != wanted.sha256:
        raise ValueError(
            f"{source} must have sha256 {wanted.sha256} (got {digest} of {path.stat().st_size:,} "
            "bytes): it has changed, or came damaged; nothing was kept"
        )


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name without folders, and bytes, of each file of an archive; nothing is unpacked to disk."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for entry in packed.infolist():
                if not entry.is_dir():
                    with packed.open(entry) as stream:
                        yield entry.filename.rpartition("/")[2], stream
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            unpacked = tar.extractfile(member) if member.isfile() else None
            if unpacked is not None:
                with unpacked:
                    yield member.name.rpartition("/")[2], unpacked


def _keep(stream: IO[bytes], wanted: Wanted) -> bool:
    """Write a member where it is wanted, if it is the right one."""
    content = stream.read()
    if hashlib.sha256(content).hexdigest() != wanted.sha256:
        return False
    with whole_file(wanted.path) as part:
        part.write_bytes(content)
    return True
