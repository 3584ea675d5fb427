"""Word vectors in text files, as GloVe and word2vec write them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.lines import LineFaults, is_utf8, read_lines, write_text


@dataclass(frozen=True, eq=False)
class WordVectors:
    """A vector for each word.

    Attributes:
        words: V of them.
        vectors: [V, D] floats.

    Raises:
        ValueError: If there is not a vector for each word.

    Example:
        >>> vectors = WordVectors(Vocabulary(["tea", "wine"]), torch.eye(2))
        >>> vectors.of("wine").tolist()
        [0.0, 1.0]
    """

    words: Vocabulary
    vectors: Tensor

    def __post_init__(self) -> None:
        if self.vectors.dim() != 2 or len(self.vectors) != len(self.words):
            raise ValueError(
                f"each of {len(self.words)} words needs a vector (got {list(self.vectors.shape)})"
            )

    def of(self, word: str) -> Tensor:
        """The vector of a word: [D].

        Raises:
            ValueError: If there is none; the nearest words are offered.
        """
        return self.vectors[self.words.id(word)]


def read_word_vectors(path: Path, words: Vocabulary | None = None) -> WordVectors:
    """Read a text file of vectors: word and numbers on a line, blanks between; may be packed.

    A first line of two whole numbers (how many words, how wide), as word2vec writes it, is no
    vector. Of a word on several lines the first counts.

    Args:
        path: The file.
        words: Read those of these words alone, in the file's order; ``None``: all.

    Raises:
        FileNotFoundError: If nothing is at ``path``.
        ValueError: If lines are wrong (another width, no number): all are counted, the first listed
            by file:line; or there is no vector.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "vectors.txt"
        ...     write_word_vectors(WordVectors(Vocabulary(["tea", "wine"]), torch.eye(2)), path)
        ...     read_word_vectors(path).words.names
        ('tea', 'wine')
    """
    faults = LineFaults("a file of word vectors")
    found: dict[str, np.ndarray] = {}
    width = 0
    for number, line in enumerate(read_lines(path), start=1):
        word, _, rest = line.rstrip("\r\n").rstrip(" ").partition(" ")
        if number == 1 and word.isdigit() and rest.isdigit():
            width = int(rest)
            continue
        try:
            vector = np.array(rest.split(" "), dtype=np.float32)
        except ValueError:
            faults.add(path, number, f"numbers are wanted after the word (got {rest[:40]!r})")
            continue
        width = width or len(vector)
        if not word or not is_utf8(word):
            faults.add(path, number, f"a word in UTF-8 is wanted (got {word!r})")
        elif len(vector) != width:
            faults.add(path, number, f"{width} numbers are wanted (got {len(vector)})")
        elif not np.isfinite(vector).all():
            faults.add(path, number, "numbers must be finite")
        elif words is None or word in words:
            found.setdefault(word, vector)
    faults.raise_if_any()
    if not found:
        which = "" if words is None else " of the words asked for"
        raise ValueError(f"{path} must have a vector{which} (got none)")
    vectors = torch.from_numpy(np.stack(list(found.values())))
    return WordVectors(Vocabulary(found, kind="word"), vectors)


def write_word_vectors(vectors: WordVectors, path: Path) -> None:
    """Write what ``read_word_vectors`` reads: GloVe's format, without a header.

    Raises:
        ValueError: If a word has a blank or a line end in it.
        OSError: If the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "vectors.txt"
        ...     write_word_vectors(WordVectors(Vocabulary(["tea"]), torch.ones(1, 2)), path)
        ...     path.read_text().strip()
        'tea 1 1'
    """
    for word in vectors.words:
        if not word or any(letter.isspace() for letter in word):
            raise ValueError(f"a word in a file of vectors has no blanks (got {word!r})")
    with write_text(path) as file:
        for word, vector in zip(vectors.words, vectors.vectors.tolist(), strict=True):
            file.write(f"{word} {' '.join(f'{number:.6g}' for number in vector)}\n")
