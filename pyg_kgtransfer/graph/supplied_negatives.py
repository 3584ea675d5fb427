"""Wrong answers that come with held-out facts, to rank the true ones among."""

from dataclasses import dataclass

import torch
from torch import Tensor

_ROWS = 1 << 16  # read at a time: they may lie on a disk


@dataclass(frozen=True, eq=False)
class SuppliedNegatives:
    """K wrong heads and K wrong tails for each of T facts.

    They may be memory-mapped, so that only the rows that are asked for are read.

    Attributes:
        head: [T, K] int32 or int64 entity ids: none of (id, relation, tail) is a fact.
        tail: [T, K] likewise, for (head, relation, id).

    Raises:
        ValueError: If shapes differ or are not [T, K] with K of at least 1, or ids are no integers.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> negatives = kgt.SuppliedNegatives(torch.tensor([[2, 3]]), torch.tensor([[4, 5]]))
        >>> test = kgt.HeldOut(torch.tensor([[0, 0, 1]]), "test", negatives)
        >>> len(test.negatives), test.negatives.count
        (1, 2)
    """

    head: Tensor
    tail: Tensor

    def __post_init__(self) -> None:
        for side, ids in (("head", self.head), ("tail", self.tail)):
            if ids.dim() != 2 or not ids.shape[1] or ids.dtype not in (torch.int32, torch.int64):
                raise ValueError(
                    f"supplied negatives must be int32 or int64 of shape [T, K], K > 0 "
                    f"(got {ids.dtype} {tuple(ids.shape)} for the {side}s)"
                )
        if self.head.shape != self.tail.shape:
            raise ValueError(
                "supplied negatives must be as many for the head as for the tail of each fact "
                f"(got {tuple(self.head.shape)} and {tuple(self.tail.shape)})"
            )

    def __len__(self) -> int:
        return len(self.head)

    @property
    def count(self) -> int:
        """K, for each fact and side."""
        return self.head.shape[1]

    def select(self, rows: Tensor) -> "SuppliedNegatives":
        """The negatives of some facts: [S] int64 row numbers."""
        return SuppliedNegatives(self.head[rows], self.tail[rows])

    def check_below(self, num_entities: int) -> None:
        """Refuse ids that no entity has.

        Raises:
            ValueError: If an id is not in [0, num_entities).
        """
        for side, ids in (("head", self.head), ("tail", self.tail)):
            for start in range(0, len(ids), _ROWS):
                low, high = map(int, ids[start : start + _ROWS].aminmax())
                if low < 0 or high >= num_entities:
                    raise ValueError(
                        f"supplied negatives must be entity ids in [0, {num_entities}) "
                        f"(got {low} to {high} for the {side}s of facts from {start} on)"
                    )
