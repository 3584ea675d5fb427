"""How well word vectors agree with people: similarity of pairs, analogies, neighbours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.functional import normalize

from pyg_kgtransfer.evaluation.streaming import Chunks
from pyg_kgtransfer.sources.lines import LineFaults, read_lines
from pyg_kgtransfer.sources.word_vectors import WordVectors

_CELL_BYTES = 8  # of a score and its copy
RatedPair = tuple[str, str, float]


class SimilarityResult(NamedTuple):
    """Agreement with people on pairs of words.

    Attributes:
        spearman: Rank correlation of cosines and ratings, in [-1, 1]; 0 below two covered pairs or
            where one side is constant.
        covered: Pairs both of whose words have a vector.
        total: All pairs.
    """

    spearman: float
    covered: int
    total: int


def read_rated_pairs(path: Path) -> list[RatedPair]:
    """Pairs of words that people rated: two words and a number on a line, tabs between.

    Raises:
        FileNotFoundError: If nothing is at ``path``.
        ValueError: If lines are wrong: all are counted, the first listed by file:line.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "pairs.txt"
        ...     _ = path.write_text("tiger,cat,7.35".replace(",", chr(9)))
        ...     read_rated_pairs(path)
        [('tiger', 'cat', 7.35)]
    """
    faults = LineFaults("a list of rated pairs")
    pairs = []
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split()
        try:
            one, other, rating = fields
            pairs.append((one, other, float(rating)))
        except ValueError:
            faults.add(path, number, f"two words and a number are wanted (got {line.strip()!r})")
    faults.raise_if_any()
    return pairs


def word_similarity(vectors: WordVectors, pairs: Sequence[RatedPair]) -> SimilarityResult:
    """Spearman's correlation of cosines with ratings, over pairs whose words are known.

    Case is folded where a word is not known as it is written.

    Example:
        >>> from pyg_kgtransfer.graph.vocabulary import Vocabulary
        >>> words = Vocabulary(["tiger", "cat", "tax"])
        >>> vectors = WordVectors(words, torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]))
        >>> pairs = [("Tiger", "cat", 7.4), ("cat", "tax", 0.3), ("a", "b", 1.0)]
        >>> found = word_similarity(vectors, pairs)
        >>> round(found.spearman, 3), found.covered, found.total
        (1.0, 2, 3)
    """
    ids = [(_id(vectors, one), _id(vectors, other)) for one, other, _ in pairs]
    known = [i for i, (one, other) in enumerate(ids) if one is not None and other is not None]
    if not known:
        return SimilarityResult(0.0, 0, len(pairs))
    unit = normalize(vectors.vectors.double(), dim=1)
    one, other = torch.tensor([ids[i] for i in known]).unbind(1)
    cosine = (unit[one] * unit[other]).sum(1)
    rated = torch.tensor([pairs[i][2] for i in known], dtype=torch.double)
    is_constant = len(known) < 2 or bool((cosine == cosine[0]).all() or (rated == rated[0]).all())
    agreement = 0.0 if is_constant else float(spearmanr(cosine, rated).statistic)
    return SimilarityResult(agreement, len(known), len(pairs))


@dataclass(frozen=True)
class AnalogyResult:
    """How many analogies a : b = c : d are completed.

    Attributes:
        right: By group.
        covered: By group, those all of whose words are known.
        total: By group.
    """

    right: Mapping[str, int]
    covered: Mapping[str, int]
    total: Mapping[str, int]

    @property
    def accuracy(self) -> float:
        """Of the covered ones, 0 if there are none."""
        return sum(self.right.values()) / max(1, sum(self.covered.values()))


def read_analogies(path: Path) -> dict[str, list[tuple[str, ...]]]:
    """Analogies by group: ``: NAME`` begins one, four words on each line after.

    Raises:
        FileNotFoundError: If nothing is at ``path``.
        ValueError: If lines are wrong: all are counted, the first listed by file:line.
    """
    faults = LineFaults("a list of analogies")
    groups: dict[str, list[tuple[str, ...]]] = {}
    name = ""
    for number, line in enumerate(read_lines(path), start=1):
        words = tuple(line.split())
        if words[:1] == (":",):
            name = " ".join(words[1:])
        elif len(words) == 4:
            groups.setdefault(name, []).append(words)
        else:
            faults.add(path, number, f"four words are wanted (got {line.strip()!r})")
    faults.raise_if_any()
    return groups


def analogies(
    vectors: WordVectors, groups: Mapping[str, Sequence[tuple[str, ...]]], *, memory_mb: float = 512
) -> AnalogyResult:
    """Whether the word nearest to b - a + c, but for a, b and c themselves, is d.

    Args:
        vectors: Compared by cosine.
        groups: Analogies (a, b, c, d) by group; case as in ``word_similarity``.
        memory_mb: Budget for a chunk of scores, in MiB.

    Source: Mikolov, Yih and Zweig 2013, "Linguistic regularities", section 4 (3CosAdd).

    Example:
        >>> from pyg_kgtransfer.graph.vocabulary import Vocabulary
        >>> words = Vocabulary(["athens", "greece", "rome", "italy"])
        >>> table = torch.tensor([[1.0, 0, 1], [1, 0, 0], [0, 1, 1], [0, 1, 0]])
        >>> groups = {"capitals": [("Athens", "Greece", "Rome", "Italy")]}
        >>> analogies(WordVectors(words, table), groups).accuracy
        1.0
    """
    unit = normalize(vectors.vectors.float(), dim=1)
    right, covered, total = {}, {}, {}
    for name, given in groups.items():
        ids = [[_id(vectors, word) for word in words] for words in given]
        known = torch.tensor([row for row in ids if None not in row], dtype=torch.long).view(-1, 4)

        def hits(start: int, stop: int, known: Tensor = known) -> Tensor:
            a, b, c, d = known[start:stop].unbind(1)
            scores = (unit[b] - unit[a] + unit[c]) @ unit.t()
            scores.scatter_(1, known[start:stop, :3], -torch.inf)
            return scores.argmax(1) == d

        chunks = Chunks(memory_mb, row_bytes=_CELL_BYTES * max(1, len(unit)))
        found = chunks.run(len(known), hits) if len(known) else []
        right[name] = int(sum(int(hit.sum()) for hit in found))
        covered[name], total[name] = len(known), len(given)
    return AnalogyResult(right, covered, total)


def neighbours(vectors: WordVectors, word: str, *, k: int = 10) -> list[tuple[str, float]]:
    """The nearest other words by cosine, nearest first.

    Raises:
        ValueError: If the word is unknown (the nearest ones are offered) or ``k`` is below 1.

    Example:
        >>> from pyg_kgtransfer.graph.vocabulary import Vocabulary
        >>> words = Vocabulary(["tiger", "cat", "tax"])
        >>> vectors = WordVectors(words, torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 1.0]]))
        >>> [(word, round(cosine, 2)) for word, cosine in neighbours(vectors, "tiger", k=1)]
        [('cat', 0.6)]
    """
    unit = normalize(vectors.vectors.float(), dim=1)
    at = vectors.words.id(word)
    return _nearest(vectors, unit, unit[at], [at], k)


def completions(
    vectors: WordVectors, a: str, b: str, c: str, *, k: int = 10
) -> list[tuple[str, float]]:
    """What is to c as b is to a: the words nearest to b - a + c but for these, nearest first.

    Raises:
        ValueError: As ``neighbours``.

    Source: as ``analogies``.
    """
    unit = normalize(vectors.vectors.float(), dim=1)
    ids = [vectors.words.id(word) for word in (a, b, c)]
    wanted = normalize(unit[ids[1]] - unit[ids[0]] + unit[ids[2]], dim=0)
    return _nearest(vectors, unit, wanted, ids, k)


def _nearest(
    vectors: WordVectors, unit: Tensor, wanted: Tensor, without: list[int], k: int
) -> list[tuple[str, float]]:
    if k < 1:
        raise ValueError(f"k must be at least 1 (got {k})")
    cosine = unit @ wanted
    cosine[without] = -torch.inf
    best = cosine.topk(min(k, len(cosine) - len(set(without))))
    return [
        (vectors.words.name(i), value)
        for i, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def _id(vectors: WordVectors, word: str) -> int | None:
    """The word as it is written, else without case."""
    for spelling in (word, word.casefold()):
        if spelling in vectors.words:
            return vectors.words.id(spelling)
    return None
