"""How often words stand near each other, counted from text of any size in bounded memory."""

import contextlib
import hashlib
import json
import logging
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.corpus import Corpus, Place, WordCounts
from pyg_kgtransfer.sources.whole_file import whole_file

log = logging.getLogger(__name__)
_BLOCK_TOKENS = 1 << 20  # words read, then counted
_SAVE_TOKENS = 1 << 23  # words after which what was counted is put on disk: what a crash may lose
_SLOT_BYTES = 12  # of a table of counts: a pair and its sum
_FULL = 0.8  # share of a table's slots in use from which searching gets slow
_UNREADABLE = (OSError, ValueError, KeyError, zipfile.BadZipFile)
_LONGEST = 1 << 16  # words of a line; longer ones are cut
_LINE_END = -1
_MERGED = 1 << 22  # pairs merged at a time

Counts = tuple[np.ndarray, np.ndarray]  # pairs (row * words + column), ascending, and their sums


@dataclass(frozen=True, eq=False)
class Cooccurrences:
    """Sums of 1 / distance over all places where two words stand near each other.

    Attributes:
        words: The vocabulary, V of them.
        counts: [V] int64, how often each word occurs.
        row: [P] int32, one word of each pair.
        column: [P] int32, the other; never lower than ``row``, for counts hold both ways.
        value: [P] float32, above 0. Pairs are sorted by row, then by column.

    Example:
        >>> import tempfile
        >>> from pyg_kgtransfer.sources.corpus import count_words
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "text.txt"
        ...     _ = path.write_text("green tea or black tea")
        ...     corpus = Corpus.at(path)
        ...     words = count_words(corpus, min_count=1)
        ...     found = count_cooccurrences(corpus, words, Path(folder) / "counts.npz", window=2)
        >>> tea, green = found.words.id("tea"), found.words.id("green")
        >>> found.value[(found.row == tea) & (found.column == green)].tolist()
        [1.0]
    """

    words: Vocabulary
    counts: Tensor
    row: Tensor
    column: Tensor
    value: Tensor

    def __len__(self) -> int:
        return len(self.row)

    def both_ways(self) -> tuple[Tensor, Tensor, Tensor]:
        """Row, column and value of every ordered pair: those of two words come twice."""
        other = self.row != self.column
        return (
            torch.cat([self.row, self.column[other]]),
            torch.cat([self.column, self.row[other]]),
            torch.cat([self.value, self.value[other]]),
        )

    def save(self, path: Path, *, settings: str = "") -> None:
        """Write an ``.npz`` file that ``load`` and numpy read.

        Args:
            path: Of the file.
            settings: What decided the counts, kept with them.
        """
        with whole_file(path) as part, part.open("wb") as file:
            np.savez(
                file,
                words=_bytes("\n".join(self.words.names)),
                settings=_bytes(settings),
                counts=self.counts.numpy(),
                row=self.row.numpy(),
                column=self.column.numpy(),
                value=self.value.numpy(),
            )

    @classmethod
    def load(cls, path: Path) -> "Cooccurrences":
        """Read what ``save`` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it holds something else.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                words = file["words"].tobytes().decode("utf-8").split("\n")
                tables = (torch.from_numpy(file[name]) for name in _TABLES)
                return cls(Vocabulary(words, kind="word"), *tables)
        except FileNotFoundError:
            raise
        except _UNREADABLE as error:
            raise ValueError(f"{path} does not hold co-occurrences: {error}") from error


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-8"), dtype=np.uint8)


_TABLES = ("counts", "row", "column", "value")


def count_cooccurrences(
    corpus: Corpus,
    words: WordCounts,
    path: Path,
    *,
    window: int = 10,
    memory_mb: float = 256,
) -> Cooccurrences:
    """Count, and write the result to ``path``; a count that was interrupted goes on.

    Where ``path`` holds the counts of the same files, as they are now, of the same words and
    window, they are read instead.

    Each word meets the ``window`` words before it in its line, nearest first; words outside the
    vocabulary are passed over and take no place, and lines of more than 65,536 words are cut.
    Counts are kept in a table that is emptied to sorted files beside ``path`` when it is full,
    which are merged at the end.

    Args:
        corpus: The text.
        words: Its vocabulary.
        path: Of the result (``.npz``).
        window: At least 1.
        memory_mb: Of the table of counts, in MiB, at least some 20 for a window of 10; to empty it
            takes some three times as much for a moment. The result is held as a whole at the end.

    Raises:
        ValueError: If a number is out of range, or the corpus is not text.
        OSError: If a file cannot be read or written.

    Source: Pennington, Socher and Manning 2014, "GloVe", section 4.2.

    Example:
        >>> import tempfile
        >>> from pyg_kgtransfer.sources.corpus import count_words
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "text.txt"
        ...     _ = path.write_text("to be or not to be")
        ...     corpus, out = Corpus.at(path), Path(folder) / "counts.npz"
        ...     len(count_cooccurrences(corpus, count_words(corpus, min_count=1), out))
        8
    """
    if window < 1:
        raise ValueError(f"window must be at least 1 (got {window})")
    if not memory_mb > 0:
        raise ValueError(f"memory_mb must be above 0 (got {memory_mb})")
    settings = _settings(corpus, words, window)
    if path.exists() and _settings_in(path) == settings:
        log.info("%s holds these counts already", path)
        return Cooccurrences.load(path)
    count = _Count(corpus, words, path, window, memory_mb, settings)
    tables = map(torch.from_numpy, count.result())
    found = Cooccurrences(words.words, torch.tensor(words.counts), *tables)
    found.save(path, settings=settings)
    count.clear()
    return found


def _settings(corpus: Corpus, words: WordCounts, window: int) -> str:
    """What decides the counts, as JSON."""
    files = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in corpus.files]
    mentions = hashlib.sha256(repr(sorted(corpus.mentions.items())).encode()).hexdigest()
    return json.dumps([files, corpus.fold, mentions, window, words.words.fingerprint()])


def _settings_in(path: Path) -> str:
    """What decided the counts of a file; empty if it does not say, or holds something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return str(file["settings"].tobytes().decode("utf-8"))
    except _UNREADABLE:
        return ""


class _Count:
    """A count under way: a table in memory, sorted files on disk, and where reading stands."""

    def __init__(
        self,
        corpus: Corpus,
        words: WordCounts,
        path: Path,
        window: int,
        memory_mb: float,
        settings: str,
    ) -> None:
        self.corpus, self.window, self.number = corpus, window, len(words.words)
        self.ids = {word: i for i, word in enumerate(words.words)}
        self.folder = path.with_name(f"{path.name}.parts")
        slots = int(memory_mb * 2**20 / _SLOT_BYTES)
        self.table = (_HashedSums if find_spec("numba") else _Sums)(slots, self.number, window)
        self.settings = settings
        self.place, self.shards = self._begun()

    def result(self) -> tuple[np.ndarray, ...]:
        """Row, column and value of all pairs, when the rest of the corpus is read."""
        since, is_whole = 0, True  # whether the table holds all up to the place, and no more
        try:
            for place, block in self._blocks():
                start, is_whole = 0, False
                while start < len(block):
                    start = self.table.add(block, start)
                    if self.table.is_full:
                        self._empty()
                self.place, since, is_whole = place, since + len(block), True
                if since >= _SAVE_TOKENS:
                    self._save()
                    since = 0
        except KeyboardInterrupt:
            if is_whole:
                self._save()
            log.warning("what was counted is in %s: the same count goes on there", self.folder)
            raise
        self._save()
        del self.table  # for the result takes its place
        return self._merged()

    def clear(self) -> None:
        """Take the files of the count away."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begun(self) -> tuple[Place, int]:
        """Where an earlier count of the same stopped, else the beginning."""
        path = self.folder / "state.json"
        state: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
        if state.get("settings") != self.settings:
            self.clear()
            self.folder.mkdir(parents=True)
            return Place(0, 0), 0
        log.info("going on after line %d of file %d", state["place"][1], state["place"][0] + 1)
        return Place(*state["place"]), state["shards"]

    def _save(self) -> None:
        """Empty the table, and note where reading stands."""
        self._empty()
        state = {"settings": self.settings, "place": self.place, "shards": self.shards}
        with whole_file(self.folder / "state.json") as part:
            part.write_text(json.dumps(state), encoding="utf-8")

    def _empty(self) -> None:
        """Write the table to a sorted file, which counts when the place behind it is noted."""
        pairs, sums = self.table.emptied()
        if len(pairs):
            for what, numbers in zip(("pairs", "sums"), (pairs, sums), strict=True):
                with whole_file(self._path(self.shards, what)) as part, part.open("wb") as file:
                    np.save(file, numbers)
            self.shards += 1

    def _merged(self) -> tuple[np.ndarray, ...]:
        """One sorted list from sorted files, a range of pairs at a time, by way of the disk."""
        kinds = (np.int32, np.int32, np.float32)
        paths = [self.folder / name for name in ("row", "column", "value")]
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(path.open("wb")) for path in paths]
            for low, high in pairwise(self._bounds()):
                given = [self._range(number, low, high) for number in range(self.shards)]
                pairs, sums = _summed(given)
                tables = (pairs // self.number, pairs % self.number, sums)
                for file, table, kind in zip(files, tables, kinds, strict=True):
                    table.astype(kind).tofile(file)
        return tuple(np.fromfile(path, kind) for path, kind in zip(paths, kinds, strict=True))

    def _bounds(self) -> list[int]:
        """Where ranges of about ``_MERGED`` pairs of all files together begin and end."""
        step = max(1, _MERGED // max(1, self.shards))
        every = [np.array(self._shard(number)[0][::step]) for number in range(self.shards)]
        inner = np.sort(np.concatenate([np.empty(0, np.int64), *every]))[:: max(1, self.shards)]
        return sorted({0, *inner.tolist(), self.number**2})

    def _range(self, number: int, low: int, high: int) -> Counts:
        """The pairs of a file from ``low`` to below ``high``."""
        pairs, sums = self._shard(number)
        start, stop = np.searchsorted(pairs, (low, high))
        return np.array(pairs[start:stop]), np.array(sums[start:stop])

    def _shard(self, number: int) -> Counts:
        pairs, sums = (
            np.load(self._path(number, what), mmap_mode="r") for what in ("pairs", "sums")
        )
        return pairs, sums

    def _path(self, number: int, what: str) -> Path:
        return self.folder / f"{number:05d}.{what}.npy"

    def _blocks(self) -> Iterator[tuple[Place, np.ndarray]]:
        """Ids of words, a line end after each line; whole lines, about a million words."""
        block: list[int] = []
        place, outside, id_of = self.place, len(self.ids), self.ids.get
        for place, line in self.corpus.lines(self.place):
            for start in range(0, len(line), _LONGEST):
                part = line[start : start + _LONGEST]
                block += [id_of(word, outside) for word in part]
                block.append(_LINE_END)
            if len(block) >= _BLOCK_TOKENS:
                yield place, _within(block, outside)
                block = []
        if block:
            yield place, _within(block, outside)


def _within(block: list[int], outside: int) -> np.ndarray:
    ids = np.array(block, dtype=np.int32)
    found: np.ndarray = ids[ids != outside]
    return found


class _Sums:
    """Sums of pairs of words, by sparse matrices.

    Args:
        slots: Pairs that may be held, about.
        number: Words of the vocabulary.
        window: Words that meet the next one.
    """

    def __init__(self, slots: int, number: int, window: int) -> None:
        self.slots, self.number, self.window = slots, number, window
        self.sums = scipy.sparse.csr_array((number, number), dtype=np.float32)

    @property
    def is_full(self) -> bool:
        """Whether the table should be emptied."""
        return bool(self.sums.nnz >= _FULL * self.slots)

    def add(self, ids: np.ndarray, start: int) -> int:
        """Add the words from ``start`` on, lines apart; returns where it stopped."""
        stop, ids = len(ids), ids[start:]
        line = np.cumsum(ids == _LINE_END)[ids != _LINE_END]
        ids = ids[ids != _LINE_END]
        for distance in range(1, self.window + 1):
            same = line[distance:] == line[:-distance]
            one, other = ids[distance:][same], ids[:-distance][same]
            where = np.minimum(one, other), np.maximum(one, other)
            weight = np.full(len(one), 1 / distance, np.float32)
            self.sums = self.sums + scipy.sparse.coo_array((weight, where), self.sums.shape).tocsr()
        return stop

    def emptied(self) -> Counts:
        """All sums, sorted; the table is empty then."""
        found = self.sums.tocoo()
        self.sums = scipy.sparse.csr_array(self.sums.shape, dtype=np.float32)
        pairs = found.row.astype(np.int64) * self.number + found.col
        order = np.argsort(pairs)
        return pairs[order], found.data[order]


class _HashedSums:
    """The same in a compiled loop over a hash table, twice as fast."""

    def __init__(self, slots: int, number: int, window: int) -> None:
        from pyg_kgtransfer.sources import cooccurrence_loops

        self.loops, self.number, self.window, self.used = cooccurrence_loops, number, window, 0
        self.most_new = window * _LONGEST  # pairs of a line
        size = 1 << int(np.log2(max(slots, 2)))
        while _FULL * size < 1.5 * self.most_new:
            size *= 2
        self.pairs, self.sums = np.full(size, -1, np.int64), np.zeros(size, np.float32)

    @property
    def is_full(self) -> bool:
        return self.used + self.most_new > _FULL * len(self.pairs)

    def add(self, ids: np.ndarray, start: int) -> int:
        most = int(_FULL * len(self.pairs)) - self.most_new
        stop, self.used = self.loops.add_pairs(
            ids, start, self.window, self.number, self.pairs, self.sums, self.used, most
        )
        return int(stop)

    def emptied(self) -> Counts:
        taken = np.flatnonzero(self.pairs >= 0)
        pairs, sums = self.pairs[taken], self.sums[taken]
        order = np.argsort(pairs)
        self.pairs[:], self.sums[:], self.used = -1, 0, 0
        return pairs[order], sums[order]


def _summed(given: list[Counts]) -> Counts:
    """Sorted pairs, each once, with the sum of its sums."""
    pairs = np.concatenate([np.empty(0, np.int64), *(p for p, _ in given)])
    sums = np.concatenate([np.empty(0, np.float32), *(s for _, s in given)])
    order = np.argsort(pairs, kind="stable")
    pairs, sums = pairs[order], sums[order]
    first = np.flatnonzero(np.diff(pairs, prepend=-1))
    return pairs[first], np.add.reduceat(sums, first) if len(first) else sums
