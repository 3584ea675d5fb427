"""Proposing pairs: by a shared key, by an exact unique label, by similar labels."""

import logging
import unicodedata
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.linking.alignment import Alignment, Pairs

logger = logging.getLogger(__name__)
CHUNK = 1024  # left entities compared at once


@dataclass(frozen=True)
class SimilarityOptions:
    """How ``match_similar`` (``kgt link --by similarity``) compares labels.

    Attributes:
        threshold: Least Jaccard similarity of a pair, in (0, 1].
        ngram: Characters per n-gram, at least 1.
        max_block: At least 1. An n-gram that more right labels have brings no candidates, though it
            counts in the similarity. Higher finds more and takes longer.

    Raises:
        ValueError: If a value is out of range.
    """

    threshold: float = 0.8
    ngram: int = 3
    max_block: int = 1000

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1] (got {self.threshold})")
        if self.ngram < 1 or self.max_block < 1:
            raise ValueError(
                f"ngram and max_block must be at least 1 (got {self.ngram} and {self.max_block})"
            )


def normalise_label(label: str) -> str:
    """A label reduced to letters and digits: NFKD, casefold, no accents, blanks or punctuation.

    Accents and the optional vowel points of Hebrew and Arabic go; vowel signs that carry the word
    (of Devanagari, Thai ...) and the voicing marks of kana stay.

    Example:
        >>> normalise_label("São Tomé & Príncipe")
        'saotomeprincipe'
    """
    if label.isascii():
        return "".join(filter(str.isalnum, label.casefold()))
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", label).casefold())
    return "".join(c for c in folded if c.isalnum() or _is_vowel_sign(c))


def match_keys(
    left: KnowledgeGraph,
    right: KnowledgeGraph,
    left_keys: Sequence[str | None],
    right_keys: Sequence[str | None],
) -> Alignment:
    """Entities that share a key (a code, an identifier of a third party), with confidence 1.

    One to one: a key that two entities of one graph have is dropped; the log counts them.

    Args:
        left: Left graph.
        right: Right graph.
        left_keys: One per left entity in id order; ``None`` or ``""``: it has none.
        right_keys: Likewise.

    Raises:
        ValueError: If there is not one entry per entity.

    Example:
        >>> left = KnowledgeGraph.from_names([("country/DE", "borders", "country/FR")], name="left")
        >>> right = KnowledgeGraph.from_names([("DEU", "part_of", "EU")], name="right")
        >>> match_keys(left, right, ["DE", "FR"], ["DE", None]).entities.index.tolist()
        [[0, 0]]
    """
    for graph, keys in ((left, left_keys), (right, right_keys)):
        if len(keys) != graph.num_entities:
            raise ValueError(
                f"one key or None per entity of {graph.name!r} is needed "
                f"(got {len(keys)} for {graph.num_entities} entities)"
            )
    index = _unique_matches(
        left, right, [key or None for key in left_keys], [key or None for key in right_keys]
    )
    return _alignment(left, right, index, torch.ones(len(index)))


def match_labels(
    left: KnowledgeGraph,
    right: KnowledgeGraph,
    *,
    types: Mapping[str, str] | None = None,
    confidence: float = 1.0,
) -> Alignment:
    """Entities with the same normalised label, where it is unique in both graphs.

    A label that two entities of one graph have is ambiguous and dropped; the log counts them. With
    ``types``, only entities of those types are matched, and a label must be unique within its type.

    Args:
        left: Left graph; entities without labels show their name.
        right: Right graph.
        types: Left type name -> right type name; default: types are not looked at.
        confidence: Of each pair, in [0, 1]. Without a type check such pairs can be far from right
            (a city and its province share a label).

    Raises:
        ValueError: If ``types`` is given and a graph has no types, or a type is unknown.

    Example:
        >>> left = KnowledgeGraph.from_names([("Bogotá", "capital_of", "Colombia")], name="left")
        >>> right = KnowledgeGraph.from_names([("bogota", "in", "COLOMBIA")], name="right")
        >>> match_labels(left, right).entities.index.tolist()
        [[0, 0], [1, 1]]
    """
    kinds = _kinds(left, right, types)
    keys = [
        [(kind, label) if label and kind >= 0 else None for label, kind in zip(*side, strict=True)]
        for side in zip((_labels(left), _labels(right)), kinds, strict=True)
    ]
    index = _unique_matches(left, right, keys[0], keys[1])
    return _alignment(left, right, index, torch.full((len(index),), confidence))


def match_similar(
    left: KnowledgeGraph,
    right: KnowledgeGraph,
    options: SimilarityOptions | None = None,
    *,
    types: Mapping[str, str] | None = None,
) -> Alignment:
    """Entities with similar labels: each the best of the other, by Jaccard over character n-grams.

    s(a, b) = |A ∩ B| / |A ∪ B|, A and B the sets of n-grams of the normalised labels with a mark at
    either end. Only labels that share an n-gram which at most ``max_block`` right labels have are
    compared. Ties for the best are ambiguous and dropped; the log counts them.

    Args:
        left: Left graph.
        right: Right graph.
        options: Threshold, n-gram length and block size.
        types: Left type name -> right type name: only entities of those types are matched.

    Returns:
        One-to-one pairs, their similarity as confidence.

    Raises:
        ValueError: If ``types`` is given and a graph has no types, or a type is unknown.

    Example:
        >>> left = KnowledgeGraph.from_names([("Kyrgyzstan", "borders", "China")], name="left")
        >>> right = KnowledgeGraph.from_names([("Kyrgyzstan (KG)", "in", "Asia")], name="right")
        >>> match_similar(left, right, SimilarityOptions(0.6)).entities.index.tolist()
        [[0, 0]]
    """
    options = options or SimilarityOptions()
    left_kinds, right_kinds = (np.array(kinds) for kinds in _kinds(left, right, types))
    columns: dict[str, int] = {}
    matrices = [_gram_matrix(_labels(graph), options.ngram, columns) for graph in (left, right)]
    for matrix in matrices:
        matrix.resize((matrix.shape[0], len(columns)))
    rare = (matrices[1].sum(axis=0) <= options.max_block).nonzero()[0]
    left_grams, right_grams = (_Grams(matrix, matrix[:, rare]) for matrix in matrices)
    found = []
    for start in range(0, left.num_entities, CHUNK):
        rows = slice(start, start + CHUNK)
        part = _Grams(left_grams.every[rows], left_grams.rare[rows])
        row, column, score = _similar(part, right_grams, options.threshold)
        same = (left_kinds[row + start] == right_kinds[column]) & (right_kinds[column] >= 0)
        found.append((row[same] + start, column[same], score[same]))
    empty = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))
    row, column, score = (np.concatenate(parts) for parts in zip(empty, *found, strict=True))
    best = _mutual_best(row, column, score, (left.num_entities, right.num_entities))
    index = torch.from_numpy(np.stack([row[best], column[best]], axis=1).astype(np.int64))
    return _alignment(left, right, index, torch.from_numpy(score[best]).float())


def _is_vowel_sign(character: str) -> bool:
    """Whether a combining mark is part of the word: neither an accent nor an optional point."""
    if not unicodedata.category(character).startswith("M"):
        return False
    place = unicodedata.combining(character)  # 1 overlay, 10-36 points, 200-240 accents
    return place != 1 and not 10 <= place <= 36 and place < 200


def _labels(graph: KnowledgeGraph) -> list[str]:
    """The normalised label of each entity, possibly empty."""
    return [normalise_label(label) for label in graph.labels or graph.entities.names]


def _kinds(
    left: KnowledgeGraph, right: KnowledgeGraph, types: Mapping[str, str] | None
) -> tuple[list[int], list[int]]:
    """Per entity a number that agrees for types that may be matched; -1: not to be matched."""
    if types is None:
        return [0] * left.num_entities, [0] * right.num_entities
    if left.entity_types is None or right.entity_types is None:
        untyped = [graph.name for graph in (left, right) if graph.entity_types is None]
        raise ValueError(f"matching by types needs typed graphs (got {untyped} without types)")
    left.entity_types.ids(list(types))
    number = {name: right.entity_types.id(name) for name in types.values()}
    left_kind = [number[types[n]] if n in types else -1 for n in left.entity_types]
    right_kind = [number.get(name, -1) for name in right.entity_types]
    return (
        [left_kind[of] for of in _type_ids(left)],
        [right_kind[of] for of in _type_ids(right)],
    )


def _type_ids(graph: KnowledgeGraph) -> list[int]:
    """The type id of each entity of a typed graph."""
    return [] if graph.entity_type is None else [int(of) for of in graph.entity_type.tolist()]


def _unique_matches(
    left: KnowledgeGraph,
    right: KnowledgeGraph,
    left_keys: Sequence[Hashable | None],
    right_keys: Sequence[Hashable | None],
) -> Tensor:
    """The pairs [P, 2] of entities whose key occurs once on either side; counts the others."""
    left_count, right_count = Counter(left_keys), Counter(right_keys)
    shared = (left_count.keys() & right_count.keys()) - {None}
    unique = {key for key in shared if left_count[key] == right_count[key] == 1}
    of_right = {key: index for index, key in enumerate(right_keys) if key in unique}
    pairs = [(index, of_right[key]) for index, key in enumerate(left_keys) if key in unique]
    logger.info(
        "%d pairs of %r and %r; %d shared keys or labels dropped as ambiguous "
        "(%d several times in %r, %d in %r)",
        len(pairs), left.name, right.name, len(shared) - len(unique),
        sum(left_count[key] > 1 for key in shared), left.name,
        sum(right_count[key] > 1 for key in shared), right.name,
        extra={"dropped": len(shared) - len(unique)},
    )  # fmt: skip
    return torch.tensor(pairs, dtype=torch.long).view(-1, 2)


def _alignment(
    left: KnowledgeGraph, right: KnowledgeGraph, index: Tensor, confidence: Tensor
) -> Alignment:
    return Alignment(left.name, right.name, Pairs.of(index, confidence), Pairs.empty())


def _gram_matrix(labels: Sequence[str], size: int, columns: dict[str, int]) -> csr_array:
    """Which n-grams each label has: 0/1, [labels, n-grams]; new n-grams enter ``columns``."""
    indices: list[int] = []
    ends = [0]
    for label in labels:
        if label:
            marked = f"^{label}$"
            places = range(max(1, len(marked) - size + 1))
            grams = {marked[place : place + size] for place in places}
            indices += sorted(columns.setdefault(gram, len(columns)) for gram in grams)
        ends.append(len(indices))
    ones = np.ones(len(indices), dtype=np.int64)
    return csr_array((ones, indices, ends), shape=(len(labels), len(columns)))


class _Grams(NamedTuple):
    """Which n-grams labels have: 0/1, [labels, n-grams]."""

    every: csr_array
    rare: csr_array  # only those that bring candidates


def _similar(
    left: _Grams, right: _Grams, threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Rows, columns and similarities of the pairs that reach the threshold."""
    product = (left.rare @ right.rare.T).tocoo()
    row, column = product.row.astype(np.int64), product.col.astype(np.int64)
    size, other = left.every.sum(axis=1)[row], right.every.sum(axis=1)[column]
    left_rest = size - left.rare.sum(axis=1)[row]
    right_rest = other - right.rare.sum(axis=1)[column]
    most = product.data + np.minimum(left_rest, right_rest)  # an upper bound of what is shared
    hopeful = most >= threshold * (size + other - most) - 1e-9
    row, column, size, other = row[hopeful], column[hopeful], size[hopeful], other[hopeful]
    shared = (left.every[row] * right.every[column]).sum(axis=1)
    score = shared / np.maximum(size + other - shared, 1)
    reached = score >= threshold
    return row[reached], column[reached], score[reached].astype(np.float64)


def _mutual_best(
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    score: NDArray[np.float64],
    sizes: tuple[int, int],
) -> NDArray[np.bool_]:
    """Which candidates are the one best of both their sides; counts the ties."""
    best = np.ones(len(row), dtype=bool)
    single = np.ones(len(row), dtype=bool)
    for side, size in zip((row, column), sizes, strict=True):
        highest = np.zeros(size)
        np.maximum.at(highest, side, score)
        is_highest = score == highest[side]
        best &= is_highest
        single &= np.bincount(side[is_highest], minlength=size)[side] == 1
    dropped = int((best & ~single).sum())
    logger.info("%d pairs; %d best candidates dropped as ambiguous", int((best & single).sum()),
                dropped, extra={"dropped": dropped})  # fmt: skip
    return best & single
