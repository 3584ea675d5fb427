"""Which words stand for which entities: by label, by its words, by a text, by a given table."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.corpus import JOINT, words_of

By = Literal["label", "tokens", "text", "table"]
_RARITY = 1e-3  # of a word's share of the corpus: below it words weigh alike


@dataclass(frozen=True, eq=False)
class EntityWords:
    """The words of each entity, some, one or none.

    Attributes:
        words: The vocabulary, V of them.
        offsets: [N + 1] int64, where the words of each entity begin.
        index: [E] int64, words, entity after entity, ascending, each once.
        share: [E] float32 above 0, of each word in its entity; those of an entity sum to 1.
        entity_of: [V] int64, the entity that a word names alone; -1 where there is none, or
            several.

    Example:
        >>> words = Vocabulary(["green", "tea", "wine"])
        >>> found = entity_words(["Green tea", "Wine", "Opera"], words, by="tokens")
        >>> found.means(torch.eye(3)).tolist(), found.covered.tolist()
        ([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]], [True, True, False])
    """

    words: Vocabulary
    offsets: Tensor
    index: Tensor
    share: Tensor
    entity_of: Tensor

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        some, named = int(self.covered.sum()), int((self.entity_of >= 0).sum())
        return (
            f"EntityWords({some:,} of {len(self):,} entities have words, {named:,} are named by "
            "one of their own)"
        )

    @property
    def covered(self) -> Tensor:
        """Bool [N], whether an entity has words."""
        return self.offsets.diff() > 0

    def means(self, table: Tensor, ids: Tensor | None = None) -> Tensor:
        """The mean vector of each entity's words by their shares, 0 for one without.

        Args:
            table: [V, D] vectors of words.
            ids: [...] entities; ``None``: all.

        Returns:
            [..., D], or [N, D].
        """
        index, share, offsets = (t.to(table.device) for t in (self.index, self.share, self.offsets))
        if ids is not None:
            counts = offsets.diff()[ids.reshape(-1)]
            ends = counts.cumsum(0)
            first = torch.repeat_interleave(offsets[ids.reshape(-1)] - ends + counts, counts)
            place = first + torch.arange(len(first), device=table.device)
            index, share = index[place], share[place]
            offsets = torch.cat([ends.new_zeros(1), ends])
        found = embedding_bag(
            index,
            table,
            offsets,
            mode="sum",
            per_sample_weights=share.to(table.dtype),
            include_last_offset=True,
        )
        return found if ids is None else found.view(*ids.shape, table.shape[1])


def entity_words(
    labels: Sequence[str],
    words: Vocabulary,
    *,
    by: By = "label",
    texts: Sequence[str] | None = None,
    counts: Tensor | None = None,
    fold: bool = True,
    accents: bool = True,
) -> EntityWords:
    """Find the words of entities.

    Args:
        labels: What each entity is called, N of them.
        words: Of a corpus, or of a file of vectors.
        by: ``"label"``: the one word that is the label; of a label of several words their joined
            mention (``new_york``). ``"tokens"``: that word, else all words of the label that are
            known. ``"text"``: besides, all known words of ``texts``. ``"table"``: as
            ``"tokens"``, but of ``texts``, a table of your own.
        texts: What is said of each entity, N of them, for ``"text"`` and ``"table"`` alone.
        counts: [V] how often each word occurs: an entity's words have shares in proportion to
            a / (a + p), p a word's share of all and a = 0.001, so that "the" hardly counts.
            ``None``: like shares.
        fold: Case does not matter.
        accents: Accents matter.

    Raises:
        ValueError: If no entity has a word, or there are not as many texts as labels.

    Source: the shares are those of Arora, Liang and Ma 2017, "A simple but tough-to-beat baseline
    for sentence embeddings", algorithm 1, line 2.

    Example:
        >>> entity_words(["New York", "Oslo"], Vocabulary(["new_york", "tea"]))
        EntityWords(1 of 2 entities have words, 1 are named by one of their own)
    """
    wants_texts = by in ("text", "table")
    if wants_texts != (texts is not None) or (texts is not None and len(texts) != len(labels)):
        raise ValueError(
            f"texts must be given with by='text' or 'table' alone, one for each of {len(labels):,} "
            f"labels (got by={by!r} and {0 if texts is None else len(texts):,} texts)"
        )
    shape = _Shape(fold, accents)
    ids: dict[str, int] = {}
    for i, word in enumerate(words):
        ids.setdefault(shape.of(word), i)  # the most frequent of those that look alike
    names = texts if texts is not None and by == "table" else labels
    offsets, index, owners = [0], list[int](), list[tuple[int, int]]()
    for number, name in enumerate(names):
        tokens = [shape.of(word) for word in words_of(name, fold=False)]
        whole = ids.get(JOINT.join(tokens))
        if whole is not None:
            index.append(whole)
            owners.append((whole, number))
        elif by != "label":
            index += [ids[token] for token in tokens if token in ids]
        if texts is not None and by == "text":
            said = (shape.of(word) for word in words_of(texts[number], fold=False))
            index += [ids[word] for word in said if word in ids]
        offsets.append(len(index))
    if not index:
        raise ValueError(
            f"labels and words must have something in common (got none of {len(labels):,} labels, "
            f"such as {', '.join(map(repr, list(names)[:3]))}, among {len(words):,} words, such "
            f"as {', '.join(map(repr, words.names[:3]))})"
        )
    entity = torch.repeat_interleave(torch.arange(len(labels)), torch.tensor(offsets).diff())
    merged = _merged(entity, torch.tensor(index), len(labels), len(words), counts)
    return EntityWords(words, *merged, _named(owners, len(words)))


def _merged(
    entity: Tensor, word: Tensor, num_entities: int, num_words: int, counts: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Offsets, words and shares; a word that is said twice has twice the share."""
    weight = torch.ones(len(word), dtype=torch.double)
    if counts is not None:
        weight = _RARITY / (_RARITY + (counts.double() / counts.sum())[word])
    total = torch.zeros(num_entities, dtype=torch.double).index_add_(0, entity, weight)
    both, place = torch.unique(entity * num_words + word, return_inverse=True)
    share = torch.zeros(len(both), dtype=torch.double)
    share.index_add_(0, place, weight / total[entity])
    found = torch.bincount(both.div(num_words, rounding_mode="floor"), minlength=num_entities)
    offsets = torch.cat([found.new_zeros(1), found.cumsum(0)])
    return offsets, both % num_words, share.float()


def _named(owners: list[tuple[int, int]], number: int) -> Tensor:
    """The entity of each word that names one alone."""
    found = torch.full((number,), -1)
    word, entity = torch.tensor(owners, dtype=torch.long).view(-1, 2).unbind(1)
    found[word] = entity
    found[torch.bincount(word, minlength=number) > 1] = -1
    return found


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
