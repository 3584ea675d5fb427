r"""Files of pairs: a header, then kind, left, right, confidence, held_out, tab-separated UTF-8.

``kind`` is ``entity`` or ``relation``; confidence (1) and held_out (0) may be left out. Tabs, line
ends and backslashes in names are written as ``\t``, ``\n``, ``\r`` and ``\\``.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from pyg_kgtransfer.graph.vocabulary import Vocabulary

HEADER = ("kind", "left", "right", "confidence", "held_out")
SHOWN = 5
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_UNESCAPES = {escaped: plain for plain, escaped in _ESCAPES.items()}


class PairRow(NamedTuple):
    """One line of the file.

    Attributes:
        kind: ``"entity"`` or ``"relation"``.
        left: Name in the left graph.
        right: Name in the right graph.
        confidence: In [0, 1].
        held_out: Whether the pair is for evaluation only.
    """

    kind: str
    left: str
    right: str
    confidence: float
    held_out: bool


def write_rows(path: Path, rows: Iterable[PairRow]) -> None:
    """Write ``rows`` to ``path``, whole or not at all."""
    lines = ["\t".join(HEADER)]
    for row in rows:
        named = (re.sub(r"[\\\t\n\r]", lambda m: _ESCAPES[m[0]], n) for n in (row.left, row.right))
        lines.append("\t".join((row.kind, *named, f"{row.confidence:.9g}", str(int(row.held_out)))))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(("\n".join(lines) + "\n").encode("utf-8", "surrogatepass"))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_rows(
    path: Path, vocabularies: Mapping[str, tuple[Vocabulary, Vocabulary]]
) -> list[PairRow]:
    """The rows of ``path``, in order.

    Args:
        path: The file.
        vocabularies: Kind -> vocabulary of the left and of the right names.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If lines are wrong: all are counted, the first shown with file:line and reason.
    """
    lines = path.read_bytes().split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    if not lines or not lines[0].strip().startswith(b"\t".join(h.encode() for h in HEADER[:3])):
        raise ValueError(
            f"{path}:1: a file of pairs begins with the header {' '.join(HEADER)}, tab-separated "
            f"(got {lines[0][:60]!r})" if lines else f"{path}:1: a header is needed (got no line)"
        )  # fmt: skip
    rows: list[PairRow] = []
    faults: list[str] = []
    seen: dict[tuple[str, str, str], int] = {}
    for number, raw in enumerate(lines[1:], start=2):
        try:
            row = _parsed(raw)
            if row.kind not in vocabularies:
                raise ValueError(f"kind must be one of {sorted(vocabularies)} (got {row.kind!r})")
            for name, vocabulary in zip(row[1:3], vocabularies[row.kind], strict=True):
                if name not in vocabulary and len(faults) >= SHOWN:
                    raise ValueError("not shown")  # spares the slow search for near names
                vocabulary.id(name)
            earlier = seen.setdefault(row[:3], number)
            if earlier != number:
                raise ValueError(f"the pair is already on line {earlier}")
            rows.append(row)
        except ValueError as error:
            faults.append(f"{path}:{number}: {error}")
    if faults:
        more = f"\nand {len(faults) - SHOWN} more lines" if len(faults) > SHOWN else ""
        raise ValueError("\n".join(faults[:SHOWN]) + more)
    return rows


def _parsed(raw: bytes) -> PairRow:
    """The row of one line, names not yet looked up."""
    fields = raw.removesuffix(b"\r").decode("utf-8", "surrogatepass").split("\t")
    if not 3 <= len(fields) <= 5:
        raise ValueError(f"a line has 3 to 5 fields, {' '.join(HEADER)} (got {len(fields)})")
    kind, left, right = fields[:3]
    confidence = _number(fields[3]) if len(fields) > 3 else 1.0
    held_out = fields[4] if len(fields) > 4 else "0"
    if not 0 <= confidence <= 1:
        raise ValueError(f"confidence must be a number in [0, 1] (got {fields[3]!r})")
    if held_out not in ("0", "1"):
        raise ValueError(f"held_out must be 0 or 1 (got {held_out!r})")
    return PairRow(kind, _unescaped(left), _unescaped(right), confidence, held_out == "1")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"confidence must be a number in [0, 1] (got {text!r})") from None


def _unescaped(name: str) -> str:
    if "\\" not in name:
        return name
    wrong = re.search(r"(?<!\\)(?:\\\\)*(\\(?![\\tnr]).?)", name)
    if wrong:
        raise ValueError(
            f"a backslash in a name is written as two, a tab as \\t (got {wrong[1]!r} in {name!r})"
        )
    return re.sub(r"\\[\\tnr]", lambda m: _UNESCAPES[m[0]], name)
