"""Miniatures of OGB's knowledge graphs in the very files of the downloads, with planted facts."""

import csv
import gzip
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from pyg_kgtransfer.sources.ogb import OGB
from pyg_kgtransfer.sources.ogb_files import NODE

Array = np.ndarray[Any, np.dtype[np.int64]]
Kind = tuple[str, str, str]
_KINDS: Sequence[Kind] = (
    ("disease", "disease-protein", "protein"),
    ("drug", "drug-disease", "disease"),
    ("drug", "drug-drug_pain", "drug"),
    ("drug", "drug-sideeffect", "sideeffect"),
    ("function", "function-function", "function"),
    ("protein", "protein-function", "function"),
)
_SHARES: Mapping[str, float] = {
    "disease": 0.7, "drug": 0.9, "function": 1.6, "protein": 1.2, "sideeffect": 0.6,
}  # fmt: skip


_GROUPS = 10


@dataclass(frozen=True)
class MiniatureOptions:
    """The size of a miniature.

    Attributes:
        num_entities: Of ogbl-wikikg2; of a type of ogbl-biokg on average.
        num_facts: Of each relation, about.
        num_negatives: K, for each held-out fact and side.
        seed: Of the draw.
        protocol: Of pickle, of the split files.

    Raises:
        ValueError: If there are too few entities to draw negatives from.
    """

    num_entities: int = 60
    num_facts: int = 150
    num_negatives: int = 20
    seed: int = 0
    protocol: int = 4

    def __post_init__(self) -> None:
        if self.num_entities < 20 or self.num_facts < 10 or self.num_negatives < 1:
            raise ValueError(
                "a miniature needs at least 20 entities, 10 facts of each relation and 1 negative "
                f"(got {self.num_entities}, {self.num_facts} and {self.num_negatives})"
            )


class _Relation(NamedTuple):
    """Facts of a relation between two types, in ids local to them."""

    kind: Kind
    facts: Array  # [m, 3]


def write_miniature(name: str, root: str | Path, options: MiniatureOptions | None = None) -> Path:
    """Write a small data set under the name of a real one, for tests and rehearsals.

    Files, headers, types of numbers and folders are those of the download. Entities are in groups,
    and a relation goes from each group to one other, so that there is something to learn. Held-out
    facts repeat no training fact; negatives are of the answer's type and make no fact.

    Args:
        name: ``"ogbl-biokg"`` or ``"ogbl-wikikg2"``.
        root: Where the folder ``ogbl_biokg`` or ``ogbl_wikikg2`` goes.
        options: The size.

    Returns:
        That folder.

    Raises:
        ValueError: If the name is another.
        FileExistsError: If the folder is there already.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     folder = write_miniature("ogbl-wikikg2", root)
        ...     sorted(path.name for path in folder.iterdir())
        ['RELEASE_v1.txt', 'mapping', 'processed', 'raw', 'split']
    """
    if name not in OGB:
        raise ValueError(f"there are miniatures of {', '.join(OGB)} (got {name!r})")
    options = MiniatureOptions() if options is None else options
    known, folder = OGB[name], Path(root) / name.replace("-", "_")
    folder.mkdir(parents=True)
    (folder / "processed").mkdir()  # empty, as in the downloads: ogb writes there
    (folder / f"RELEASE_v{known.version}.txt").write_text("a miniature\n", encoding="utf-8")
    draw = np.random.default_rng(options.seed)
    if known.is_typed:
        sizes = {kind: max(20, int(_SHARES[kind] * options.num_entities)) for kind in _SHARES}
        kinds = _KINDS
    else:
        sizes, kinds = {NODE: options.num_entities}, [(NODE, f"P{i}", NODE) for i in range(4)]
    relations = [
        _Relation(kind, _planted(number, sizes[kind[0]], sizes[kind[2]], options.num_facts, draw))
        for number, kind in enumerate(kinds)
    ]
    parts = _parts(relations, draw)
    write = _write_typed if known.is_typed else _write_plain
    write(folder, sizes, parts["train"])
    for part, facts in parts.items():
        rivals = None if part == "train" else _Rivals(relations, sizes, options.num_negatives, draw)
        _save(folder / "split" / known.split / f"{part}.pt", facts, rivals, known.is_typed, options)
    return folder


def _planted(relation: int, heads: int, tails: int, count: int, draw: np.random.Generator) -> Array:
    """Distinct facts from each group of heads to one of the groups of tails."""
    head = draw.integers(0, heads, 4 * count)
    group = (head + 1 + relation) % _GROUPS  # an entity's group is its id modulo their number
    tail = draw.integers(0, tails // _GROUPS, 4 * count) * _GROUPS + group
    facts = np.stack([head, np.full_like(head, relation), tail], axis=1)
    distinct = np.unique(facts, axis=0)
    return draw.permutation(distinct)[:count]


def _parts(relations: Sequence[_Relation], draw: np.random.Generator) -> dict[str, list[_Relation]]:
    """A tenth of each relation's facts to valid, a tenth to test."""
    parts: dict[str, list[_Relation]] = {"train": [], "valid": [], "test": []}
    for kind, facts in relations:
        cut = max(1, len(facts) // 10)
        for part, rows in zip(
            ("valid", "test", "train"), np.split(facts, [cut, 2 * cut]), strict=True
        ):
            parts[part].append(_Relation(kind, rows))
    return parts


class _Rivals:
    """Draws wrong answers of the right type."""

    def __init__(
        self,
        relations: Sequence[_Relation],
        sizes: Mapping[str, int],
        count: int,
        draw: np.random.Generator,
    ) -> None:
        self.known = {tuple(fact) for _, facts in relations for fact in facts.tolist()}
        self.sizes, self.count, self.draw = sizes, count, draw

    def of(self, relation: _Relation, column: int) -> Array:
        """[m, K]: heads (column 0) or tails (2) that make no fact."""
        size = self.sizes[relation.kind[column]]
        rows = []
        for fact in relation.facts.tolist():
            free = [
                e for e in range(size) if (*fact[:column], e, *fact[column + 1 :]) not in self.known
            ]
            rows.append(self.draw.choice(free, self.count))
        return np.array(rows, np.int64).reshape(len(rows), self.count)


def _save(
    path: Path,
    relations: Sequence[_Relation],
    rivals: _Rivals | None,
    is_typed: bool,
    options: MiniatureOptions,
) -> None:
    """One part of the split: a dict of int64 arrays, and of lists of types."""
    facts = np.concatenate([each.facts for each in relations])
    saved: dict[str, Any] = {}
    for column, side in ((0, "head"), (2, "tail")):
        if is_typed:
            saved[f"{side}_type"] = [r.kind[column] for r in relations for _ in r.facts]
        saved[side] = facts[:, column].copy()
        if rivals is not None:
            negatives = [rivals.of(each, column) for each in relations]
            saved[f"{side}_neg"] = np.concatenate(negatives)
    saved["relation"] = facts[:, 1].copy()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(saved, path, pickle_protocol=options.protocol)


def _write_plain(folder: Path, sizes: Mapping[str, int], train: Sequence[_Relation]) -> None:
    facts, size = np.concatenate([each.facts for each in train]), sizes[NODE]
    raw, mapping = folder / "raw", folder / "mapping"
    _table(raw / "edge.csv.gz", facts[:, [0, 2]].tolist())
    _table(raw / "edge_reltype.csv.gz", facts[:, [1]].tolist())
    _table(raw / "num-node-list.csv.gz", [[size]])
    _table(raw / "num-edge-list.csv.gz", [[len(facts)]])
    entities = [("node idx", "entity id"), *((i, f"Q{7 * i + 1}") for i in range(size))]
    _table(mapping / "nodeidx2entityid.csv.gz", entities)
    names = [(i, each.kind[1]) for i, each in enumerate(train)]
    _table(mapping / "reltype2relid.csv.gz", [("reltype", "rel id"), *names])


def _write_typed(folder: Path, sizes: Mapping[str, int], train: Sequence[_Relation]) -> None:
    raw, mapping = folder / "raw", folder / "mapping"
    _table(raw / "num-node-dict.csv.gz", [list(sizes), list(sizes.values())])
    _table(raw / "triplet-type-list.csv.gz", [each.kind for each in train])
    for kind, facts in train:
        place = raw / "relations" / "___".join(kind)
        _table(place / "edge.csv.gz", facts[:, [0, 2]].tolist())
        _table(place / "edge_reltype.csv.gz", facts[:, [1]].tolist())
        _table(place / "num-edge-list.csv.gz", [[len(facts)]])
    for of_type, size in sizes.items():
        # diseases and side effects share their names, as in UMLS
        first = "C" if of_type in ("disease", "sideeffect") else of_type.upper()
        names = [(i, f"{first}{i:07d}") for i in range(size)]
        _table(mapping / f"{of_type}_entidx2name.csv.gz", [("ent idx", "ent name"), *names])
    relations = [(i, each.kind[1]) for i, each in enumerate(train)]
    _table(mapping / "relidx2relname.csv.gz", [("rel idx", "rel name"), *relations])


def _table(path: Path, rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
