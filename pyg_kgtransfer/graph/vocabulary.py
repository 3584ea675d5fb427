"""Names of things and their ids: an immutable bijection."""

import difflib
import hashlib
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor


class Vocabulary:
    """An immutable bijection between names and the ids ``0 .. len - 1``.

    Names are unique; two things with one label need two names (see ``KnowledgeGraph.labels``).

    Args:
        names: The names, in id order. Any iterable of strings.
        kind: What is named, for error messages: ``"entity"``, ``"relation"`` ...

    Raises:
        ValueError: If a name occurs twice or is not a string.

    Example:
        >>> vocabulary = Vocabulary(["Athens", "Greece"], kind="entity")
        >>> vocabulary.id("Greece"), vocabulary.name(0)
        (1, 'Athens')
    """

    __slots__ = ("_fingerprint", "_ids", "kind", "names")

    def __init__(self, names: Iterable[str], *, kind: str = "name") -> None:
        self.names: tuple[str, ...] = tuple(names)
        self.kind = kind
        self._fingerprint: str | None = None
        for name in self.names:
            if not isinstance(name, str):
                raise ValueError(f"each {kind} name must be a string (got {name!r})")
        self._ids = {name: i for i, name in enumerate(self.names)}
        if len(self._ids) != len(self.names):
            twice = next(name for i, name in enumerate(self.names) if self._ids[name] != i)
            raise ValueError(f"{kind} names must be unique (got {twice!r} twice)")

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.names == other.names

    def __hash__(self) -> int:
        return hash(self.names)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} {self.kind} names)"

    def id(self, name: str) -> int:
        """The id of ``name``.

        Raises:
            ValueError: If the name is unknown; the message offers the nearest known names.
        """
        try:
            return self._ids[name]
        except KeyError:
            raise ValueError(self._unknown([name])) from None

    def ids(self, names: Sequence[str]) -> Tensor:
        """The ids of ``names``: int64, shape [len(names)].

        Raises:
            ValueError: If names are unknown; all of them are counted, the first ones listed.
        """
        unknown = [name for name in names if name not in self._ids]
        if unknown:
            raise ValueError(self._unknown(unknown))
        return torch.tensor([self._ids[name] for name in names], dtype=torch.long)

    def name(self, index: int) -> str:
        """The name of id ``index``.

        Raises:
            ValueError: If the id is not in [0, len).
        """
        if not 0 <= index < len(self.names):
            raise ValueError(f"{self.kind} ids must be in [0, {len(self)}) (got {index})")
        return self.names[index]

    def grow(self, names: Iterable[str]) -> "Vocabulary":
        """A vocabulary that keeps every id and appends the names not yet known, in order."""
        return Vocabulary(dict.fromkeys((*self.names, *names)), kind=self.kind)

    def subset(self, ids: Tensor) -> "Vocabulary":
        """A vocabulary of the names at ``ids`` ([K] int64), renumbered in that order.

        Raises:
            ValueError: If an id is not in [0, len), or occurs twice.
        """
        return Vocabulary((self.name(i) for i in ids.tolist()), kind=self.kind)

    def positions_of(self, other: "Vocabulary") -> Tensor:
        """For each name of ``other`` its id here, or -1: int64, shape [len(other)]."""
        return torch.tensor([self._ids.get(name, -1) for name in other.names], dtype=torch.long)

    def nearest(self, name: str, *, count: int = 3) -> list[str]:
        """Up to ``count`` known names that look most like ``name`` (case is ignored)."""
        folded = {known.casefold(): known for known in reversed(self.names)}
        wanted = name.casefold()
        close = difflib.get_close_matches(wanted, folded, n=count, cutoff=0.6)
        inside = [key for key in folded if wanted and wanted in key]
        return [folded[key] for key in dict.fromkeys(close + sorted(inside, key=len))][:count]

    def fingerprint(self) -> str:
        """The sha256 of the names in order (hexadecimal)."""
        if self._fingerprint is None:
            digest = hashlib.sha256()
            for name in self.names:
                raw = name.encode("utf-8", "surrogatepass")
                digest.update(len(raw).to_bytes(8, "little"))
                digest.update(raw)
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def _unknown(self, names: Sequence[str]) -> str:
        listed = ", ".join(repr(name) for name in names[:5])
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        nearest = self.nearest(names[0])
        hint = f"; nearest known: {', '.join(map(repr, nearest))}" if nearest else ""
        return f"unknown {self.kind}: {listed}{more} (of {len(self)} known){hint}"
