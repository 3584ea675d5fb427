"""Which tails are known for a (head, relation), and which heads for a (relation, tail)."""

from collections.abc import Iterable

import torch
from torch import Tensor

from pyg_kgtransfer.functional.segments import sorted_join


class KnownTriples:
    """An index over triples: serves the ranking filter, the filtered sampler and k-vs-all labels.

    Args:
        triples: Tensors of shape [*, 3] int64; they are joined and repeats dropped.
        num_entities: N.
        num_relations: R, real relations only.
        symmetric: Relation ids whose facts hold both ways though they are stored one way
            (``borders``): they are known in both directions.

    Raises:
        ValueError: If ids are out of range, or there are more possible triples than int64 counts.

    Example:
        >>> facts = torch.tensor([[0, 0, 1], [0, 0, 2]])
        >>> known = KnownTriples([facts], num_entities=3, num_relations=1)
        >>> known.tails(torch.tensor([0]), torch.tensor([0]))[1].tolist()
        [1, 2]
    """

    def __init__(
        self,
        triples: Iterable[Tensor],
        *,
        num_entities: int,
        num_relations: int,
        symmetric: Iterable[int] = (),
    ) -> None:
        self.num_entities = num_entities
        self.num_relations = num_relations
        given = list(triples)
        device = given[0].device if given else None
        joined = torch.cat([torch.empty(0, 3, dtype=torch.long, device=device), *given])
        both_ways = torch.tensor(sorted(symmetric), dtype=torch.long, device=joined.device)
        mirrored = joined[torch.isin(joined[:, 1], both_ways)][:, [2, 1, 0]]
        joined = torch.cat([joined, mirrored])
        limits = torch.tensor([num_entities, num_relations, num_entities], device=joined.device)
        if len(joined) and (bool((joined < 0).any()) or bool((joined >= limits).any())):
            raise ValueError(
                f"known triples need ids of {num_entities} entities and {num_relations} relations "
                f"(got {joined.amin(0).tolist()} to {joined.amax(0).tolist()})"
            )
        if num_entities * num_relations * num_entities > torch.iinfo(torch.long).max:
            raise ValueError(
                "known triples are kept as 64-bit keys, which entities x relations x entities must "
                f"fit (got {num_entities} entities and {num_relations} relations)"
            )
        head, relation, tail = joined.unbind(1)
        keys = (head * num_relations + relation) * num_entities + tail
        self._by_head = torch.unique(keys)  # sorted by (head, relation), then tail
        self._by_tail = torch.unique((tail * num_relations + relation) * num_entities + head)
        self._head_keys = self._by_head // max(num_entities, 1)
        self._tail_keys = self._by_tail // max(num_entities, 1)

    def __len__(self) -> int:
        return len(self._by_head)

    def to(self, device: torch.device | str) -> "KnownTriples":
        """The same index on ``device``."""
        moved = object.__new__(KnownTriples)
        moved.num_entities, moved.num_relations = self.num_entities, self.num_relations
        for field in ("_by_head", "_by_tail", "_head_keys", "_tail_keys"):
            setattr(moved, field, getattr(self, field).to(device))
        return moved

    @property
    def triples(self) -> Tensor:
        """The distinct known triples, by head, relation and tail: [P, 3] int64."""
        entities, relations = max(self.num_entities, 1), max(self.num_relations, 1)
        tail, rest = self._by_head % entities, self._head_keys
        return torch.stack([rest // relations, rest % relations, tail], dim=1)

    def tails(self, head: Tensor, relation: Tensor) -> tuple[Tensor, Tensor]:
        """Known tails of (head, relation, ?).

        Args:
            head: [B] entity ids.
            relation: [B] relation ids, real ones.

        Returns:
            ``row`` [P], the index of the query, ascending, and ``entity`` [P], a known tail of it.
        """
        row, position = sorted_join(self._head_keys, head * self.num_relations + relation)
        return row, self._by_head[position] % self.num_entities

    def heads(self, relation: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """Known heads of (?, relation, tail); returns as ``tails`` does."""
        row, position = sorted_join(self._tail_keys, tail * self.num_relations + relation)
        return row, self._by_tail[position] % self.num_entities

    def contains(self, triples: Tensor) -> Tensor:
        """Whether each triple ([*, 3]) is known: bool, shape [*]."""
        head, relation, tail = triples.unbind(-1)
        keys = (head * self.num_relations + relation) * self.num_entities + tail
        if not len(self._by_head):
            return torch.zeros_like(keys, dtype=torch.bool)
        found = torch.searchsorted(self._by_head, keys).clamp(max=len(self._by_head) - 1)
        return torch.eq(self._by_head[found], keys)
