"""Running text: files of any size as lines of words, and which words are worth a vector."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.lines import is_utf8, read_lines

WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
JOINT = "_"  # between the words of a mention
_SUFFIXES = (".txt", ".txt.gz", ".txt.xz")


def words_of(text: str, *, fold: bool = True) -> list[str]:
    """The words of a text: runs of letters and digits of any script, hyphens, apostrophes inside.

    Args:
        text: Any string.
        fold: Without case.

    Example:
        >>> words_of("Don't go to Saint-Denis, Ελλάδα (1821)!")
        ["don't", 'go', 'to', 'saint-denis', 'ελλάδα', '1821']
    """
    return WORD.findall(text.casefold() if fold else text)


class Place(NamedTuple):
    """Where reading stands: so many lines of a file are read.

    Attributes:
        file: Which file, by number.
        line: Lines read of it.
    """

    file: int
    line: int


_START = Place(0, 0)


@dataclass(frozen=True, eq=False)
class Corpus:
    """Text files as lines of words; no window of words reaches over the end of a line.

    Attributes:
        files: Read in this order; ``.gz`` and ``.xz`` are unpacked on the way.
        fold: Whether case is folded.
        mentions: Sequences of words that are one, such as the names of entities: the longest that
            matches is taken, its words joined by ``_``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "text.txt"
        ...     _ = path.write_text("He lives in New York City.")
        ...     corpus = Corpus.at(path, mentions=["New York", "New York City"])
        ...     [words for _, words in corpus.lines()]
        [['he', 'lives', 'in', 'new_york_city']]
    """

    files: tuple[Path, ...]
    fold: bool = True
    mentions: dict[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)

    @classmethod
    def at(cls, path: Path, *, fold: bool = True, mentions: Iterable[str] = ()) -> "Corpus":
        """The corpus in a file, or in all text files (``.txt``, packed or not) below a folder.

        Args:
            path: The file or folder.
            fold: Whether case is folded.
            mentions: Names; those of one word join nothing.

        Raises:
            FileNotFoundError: If nothing is at ``path``, or a folder has no text file.
        """
        if path.is_dir():
            found = [p for p in sorted(path.rglob("*")) if p.name.endswith(_SUFFIXES)]
            if not found:
                raise FileNotFoundError(
                    f"{path} must have files named *{', *'.join(_SUFFIXES)} (got none)"
                )
            files = tuple(found)
        elif path.exists():
            files = (path,)
        else:
            raise FileNotFoundError(f"there is no text file or folder {path}")
        return cls(files, fold, _by_first_word(mentions, fold=fold))

    def lines(self, start: Place = _START) -> Iterator[tuple[Place, list[str]]]:
        """The words of each line with at least one, and where reading stands after it.

        Args:
            start: Where to go on.

        Raises:
            ValueError: If a line is not UTF-8 text, with file and line.
        """
        for number, path in enumerate(self.files[start.file :], start=start.file):
            skip = start.line if number == start.file else 0
            for line, text in enumerate(islice(read_lines(path), skip, None), start=skip + 1):
                if "\0" in text or not is_utf8(text):
                    what = "a NUL byte" if "\0" in text else "bytes that are not UTF-8"
                    raise ValueError(f"{path}:{line}: the corpus must be UTF-8 text (got {what})")
                words = words_of(text, fold=self.fold)
                if words:
                    yield Place(number, line), self._joined(words) if self.mentions else words

    def _joined(self, words: list[str]) -> list[str]:
        found, at = [], 0
        while at < len(words):
            for mention in self.mentions.get(words[at], ()):
                if tuple(words[at : at + len(mention)]) == mention:
                    found.append(JOINT.join(mention))
                    at += len(mention)
                    break
            else:
                found.append(words[at])
                at += 1
        return found


def _by_first_word(
    mentions: Iterable[str], *, fold: bool
) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Mentions of several words by their first one, the longest first."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for mention in mentions:
        words = tuple(words_of(mention, fold=fold))
        if len(words) > 1:
            found.setdefault(words[0], set()).add(words)
    return {first: tuple(sorted(each, key=lambda m: (-len(m), m))) for first, each in found.items()}


class WordCounts(NamedTuple):
    """Words worth a vector, the most frequent first.

    Attributes:
        words: The vocabulary.
        counts: How often each occurs.
        num_tokens: Words of the corpus in all, those left out included.
    """

    words: Vocabulary
    counts: Sequence[int]
    num_tokens: int


def count_words(corpus: Corpus, *, min_count: int = 5, max_words: int | None = None) -> WordCounts:
    """Which words occur often enough.

    Args:
        corpus: The text.
        min_count: Least occurrences, at least 1.
        max_words: At most so many, the most frequent; of equally frequent ones the first in order
            of code points. ``None``: all.

    Raises:
        ValueError: If a number is out of range, or no word is left.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "text.txt"
        ...     _ = path.write_text("a rose is a rose")
        ...     count_words(Corpus.at(path), min_count=2).words.names
        ('a', 'rose')
    """
    for name, value in (("min_count", min_count), ("max_words", max_words)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1 (got {value})")
    counts: Counter[str] = Counter()
    for _, words in corpus.lines():
        counts.update(words)
    kept = sorted(((-n, word) for word, n in counts.items() if n >= min_count))[:max_words]
    if not kept:
        files = ", ".join(map(str, corpus.files[:3]))
        raise ValueError(
            f"the corpus must have a word that occurs {min_count} times (got {counts.total():,} "
            f"words, {len(counts):,} different ones, in {files})"
        )
    vocabulary = Vocabulary([word for _, word in kept], kind="word")
    return WordCounts(vocabulary, [-n for n, _ in kept], counts.total())
