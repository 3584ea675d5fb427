"""Which words stand for which entities: by label, by the words of a label, by a given table."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.corpus import JOINT, words_of

By = Literal["label", "tokens"]


@dataclass(frozen=True, eq=False)
class EntityWords:
    """The words of each entity, some, one or none.

    Attributes:
        words: The vocabulary, V of them.
        offsets: [N + 1] int64, where the words of each entity begin.
        index: [E] int64, words, entity after entity.

    Example:
        >>> words = Vocabulary(["green", "tea", "wine"])
        >>> found = entity_words(["Green tea", "Wine", "Opera"], words, by="tokens")
        >>> found.means(torch.eye(3)).tolist(), found.covered.tolist()
        ([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]], [True, True, False])
    """

    words: Vocabulary
    offsets: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        some, one = int(self.covered.sum()), int((self.offsets.diff() == 1).sum())
        return f"EntityWords({some:,} of {len(self):,} entities have words, {one:,} have one)"

    @property
    def covered(self) -> Tensor:
        """Bool [N], whether an entity has words."""
        return self.offsets.diff() > 0

    @cached_property
    def entity_of(self) -> Tensor:
        """[V] int64, the entity whose only word this is; -1 where there is none, or several."""
        alone = (self.offsets.diff() == 1).nonzero().view(-1)
        word = self.index[self.offsets[alone]]
        found = torch.full((len(self.words),), -1)
        found[word] = alone
        found[torch.bincount(word, minlength=len(self.words)) > 1] = -1
        return found

    def means(self, table: Tensor) -> Tensor:
        """The mean vector of each entity's words, 0 for one without: [V, D] -> [N, D]."""
        index, offsets = (t.to(table.device) for t in (self.index, self.offsets))
        return embedding_bag(index, table, offsets, mode="mean", include_last_offset=True)


def entity_words(
    labels: Sequence[str],
    words: Vocabulary,
    *,
    by: By = "label",
    table: Mapping[str, str] | None = None,
    fold: bool = True,
    accents: bool = True,
) -> EntityWords:
    """Find the words of entities.

    Args:
        labels: What each entity is called, N of them.
        words: Of a corpus, or of a file of vectors.
        by: ``"label"``: the one word that is the label; of a label of several words their joined
            mention (``new_york``). ``"tokens"``: that word, else all words of the label that are
            known.
        table: Words of a label, blanks between, instead of what the label says.
        fold: Case does not matter.
        accents: Accents matter.

    Raises:
        ValueError: If no entity has a word.

    Example:
        >>> entity_words(["New York", "Oslo"], Vocabulary(["new_york", "tea"]))
        EntityWords(1 of 2 entities have words, 1 have one)
    """
    shape = _Shape(fold, accents)
    ids: dict[str, int] = {}
    for i, word in enumerate(words):
        ids.setdefault(shape.of(word), i)  # the most frequent of those that look alike
    given = {} if table is None else table
    offsets, index = [0], list[int]()
    for label in labels:
        if label in given:
            found = [ids[w] for w in map(shape.of, given[label].split()) if w in ids]
        else:
            tokens = [shape.of(word) for word in words_of(label, fold=False)]
            whole = JOINT.join(tokens)
            if whole in ids:
                found = [ids[whole]]
            else:
                found = [ids[t] for t in tokens if t in ids] if by == "tokens" else []
        index += found
        offsets.append(len(index))
    if not index:
        raise ValueError(
            f"labels and words must have something in common (got none of {len(labels):,} labels, "
            f"such as {', '.join(map(repr, list(labels)[:3]))}, among {len(words):,} words, such "
            f"as {', '.join(map(repr, words.names[:3]))})"
        )
    return EntityWords(words, torch.tensor(offsets), torch.tensor(index))


@dataclass(frozen=True)
class _Shape:
    """What of a word counts."""

    fold: bool
    accents: bool

    def of(self, word: str) -> str:
        word = word.casefold() if self.fold else word
        if self.accents:
            return word
        letters = unicodedata.normalize("NFD", word)
        return unicodedata.normalize("NFC", "".join(x for x in letters if not _is_accent(x)))


def _is_accent(letter: str) -> bool:
    return unicodedata.category(letter) == "Mn" and letter < "\u0370"  # of Latin, Greek, Cyrillic
