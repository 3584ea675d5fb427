"""Lines of text files, compressed or not, and an account of all that are wrong."""

import contextlib
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal, TextIO

from pyg_kgtransfer.sources.whole_file import whole_file

LISTED = 20
_UNREADABLE = (gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError)


class LineFaults:
    """What is wrong in files, by line: all of it is counted, the first ``listed`` are shown.

    Args:
        what: What the files were read as: ``"a table of triples"``.
        listed: How many faults to show, at least 1.

    Raises:
        ValueError: If ``listed`` is below 1.

    Example:
        >>> faults = LineFaults("a table of triples")
        >>> faults.add(Path("facts.tsv"), 7, "the tail is empty")
        >>> faults.raise_if_any()
        Traceback (most recent call last):
        ValueError: a table of triples must have no faulty line (got 1):
          facts.tsv:7: the tail is empty
    """

    def __init__(self, what: str, *, listed: int = LISTED) -> None:
        if listed < 1:
            raise ValueError(f"at least one faulty line must be listed (got listed={listed})")
        self.what, self.listed, self.count = what, listed, 0
        self._shown: list[str] = []

    def add(self, path: Path, line: int, reason: str) -> None:
        """Record that ``line`` (1-based) of ``path`` is wrong, and why."""
        self.count += 1
        if len(self._shown) < self.listed:
            self._shown.append(f"  {path}:{line}: {reason}")

    @property
    def are_listed(self) -> bool:
        """Whether the list is full, so that further reasons would not be shown."""
        return len(self._shown) >= self.listed

    def raise_if_any(self) -> None:
        """Raise if anything was recorded.

        Raises:
            ValueError: With the number of faults and the first of them as file:line: reason.
        """
        if not self.count:
            return
        more = self.count - len(self._shown)
        rest = [f"  and {more:,} more"] if more else []
        raise ValueError(
            f"{self.what} must have no faulty line (got {self.count:,}):\n"
            + "\n".join(self._shown + rest)
        )


def check_is_file(path: Path) -> None:
    """Raise unless ``path`` is a file.

    Raises:
        FileNotFoundError: If nothing is there; names the files of that folder that look alike.
        IsADirectoryError: If it is a folder.
    """
    if path.is_dir():
        raise IsADirectoryError(f"a file is wanted, not a folder (got {path})")
    if not path.exists():
        near = sorted(p.name for p in path.parent.glob(f"{path.name.split('.')[0]}*"))
        hint = f"; the folder has {', '.join(near[:5])}" if near else ""
        raise FileNotFoundError(f"there is no file {path}{hint}")


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file with their line ends, ``.gz`` and ``.xz`` unpacked on the way.

    Lines end with a line feed and nothing else. A byte order mark is dropped. Bytes that are not
    UTF-8 come as lone surrogates (U+DC80 to U+DCFF): see ``is_utf8``.

    Raises:
        FileNotFoundError: If nothing is there.
        IsADirectoryError: If it is a folder.
        ValueError: If a compressed file is damaged.
    """
    check_is_file(path)
    try:
        with path.open("rb") as raw, _packed(path, raw, "rb") as stream:
            for number, line in enumerate(stream):
                text = line.decode("utf-8", "surrogateescape")
                yield text.removeprefix("\ufeff") if number == 0 else text
    except _UNREADABLE as error:
        raise ValueError(
            f"{path} must be a whole {path.suffix} file (got: {error}): it is damaged, or its "
            "name is wrong"
        ) from error


def is_utf8(text: str) -> bool:
    """Whether ``text`` has no lone surrogates, so that it came from UTF-8 and goes back to it."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


@contextlib.contextmanager
def write_text(path: Path) -> Iterator[TextIO]:
    """A UTF-8 text stream into a file that is whole or not there; ``.gz`` and ``.xz`` are packed.

    The same text gives the same bytes.

    Raises:
        OSError: If the file cannot be written.
    """
    with (
        whole_file(path) as part,
        part.open("wb") as raw,
        _packed(path, raw, "wb") as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="") as stream,
    ):
        yield stream


def _packed(
    path: Path, raw: BinaryIO, mode: Literal["rb", "wb"]
) -> BinaryIO | gzip.GzipFile | lzma.LZMAFile:
    """``raw`` itself, or what packs or unpacks it as the name of ``path`` says."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return gzip.GzipFile("", mode, fileobj=raw, mtime=0)
    return lzma.LZMAFile(raw, mode) if suffix == ".xz" else raw
