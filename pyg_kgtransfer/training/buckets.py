"""Entities in buckets, of which two are in memory at a time, and the facts between two of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pyg_kgtransfer.functional.segments import segment_counts
from pyg_kgtransfer.sources.tensor_files import map_tensors, write_tensors
from pyg_kgtransfer.sources.whole_file import whole_file
from pyg_kgtransfer.training.batches import mixed_seed

Pair = tuple[int, int]
_BUCKETS = 3  # what a seed is for


@dataclass(frozen=True, eq=False)
class EntityBuckets:
    """Which entity is in which bucket, drawn at random: sizes differ by one at most.

    Attributes:
        place: [N] int64, where each entity is in the order of buckets.
        starts: Where each of P buckets begins in that order, and the last one ends: P + 1.

    Example:
        >>> buckets = EntityBuckets.draw(10, 4, seed=0)
        >>> [buckets.size(bucket) for bucket in range(4)], sorted(buckets.place.tolist())[:3]
        ([3, 3, 2, 2], [0, 1, 2])
    """

    place: Tensor
    starts: tuple[int, ...]

    @classmethod
    def draw(cls, num_entities: int, num_buckets: int, *, seed: int) -> "EntityBuckets":
        """Put entities into buckets.

        Raises:
            ValueError: If there is no bucket, or one would be empty.
        """
        if not 1 <= num_buckets <= num_entities:
            raise ValueError(
                f"the buckets of {num_entities:,} entities must be at least 1, and none empty "
                f"(got {num_buckets:,} buckets)"
            )
        generator = torch.Generator().manual_seed(mixed_seed(seed, _BUCKETS))
        size, longer = divmod(num_entities, num_buckets)
        starts = [0]
        for bucket in range(num_buckets):
            starts.append(starts[-1] + size + (bucket < longer))
        return cls(torch.randperm(num_entities, generator=generator), tuple(starts))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def size(self, bucket: int) -> int:
        """How many entities are in a bucket."""
        return self.starts[bucket + 1] - self.starts[bucket]

    @property
    def largest(self) -> int:
        """The size of the largest bucket."""
        return self.size(0)

    @property
    def room(self) -> int:
        """Rows that the two largest buckets have, or the one that there is."""
        return self.largest * min(2, len(self))

    def of(self, place: Tensor) -> Tensor:
        """The bucket of each place ([*])."""
        return torch.bucketize(place.contiguous(), torch.tensor(self.starts[1:]), right=True)


def pair_order(num_buckets: int, epoch: int) -> Iterator[Pair]:
    """Every pair of buckets once, each bucket with itself too.

    Row by row, there and back, and every other epoch backwards: where the last two buckets stay in
    memory, a pair needs at most one that is not there.

    Example:
        >>> list(pair_order(3, 0))
        [(0, 0), (0, 1), (0, 2), (1, 2), (1, 1), (2, 2)]
    """
    pairs: list[Pair] = []
    for row in range(num_buckets):
        columns = range(row, num_buckets)
        pairs += [(row, column) for column in (columns if row % 2 == 0 else reversed(columns))]
    return iter(pairs if epoch % 2 == 0 else pairs[::-1])


class PairedTriples:
    """The facts of a graph by the pair of buckets that their two ends are in, in a file.

    Args:
        path: The file, as ``write`` made it.
        buckets: Of the entities.

    Raises:
        ValueError: If the file is of other buckets.
    """

    def __init__(self, path: Path, buckets: EntityBuckets) -> None:
        tensors = map_tensors(path)
        self.triples, self.offsets = tensors["triples"], tensors["offsets"].tolist()
        self.num_buckets = len(buckets)
        if len(self.offsets) != self.num_buckets**2 + 1:
            raise ValueError(
                f"{path} must hold the facts of {self.num_buckets} buckets "
                f"(got {len(self.offsets) - 1} pairs)"
            )

    @classmethod
    def write(cls, triples: Tensor, buckets: EntityBuckets, path: Path) -> "PairedTriples":
        """Sort the facts ([M, 3]) into a file, whole or not there.

        Raises:
            OSError: If it cannot be written (disk full).
        """
        head, relation, tail = triples.unbind(1)
        head, tail = buckets.place[head], buckets.place[tail]
        one, other = buckets.of(head), buckets.of(tail)
        pair = torch.minimum(one, other) * len(buckets) + torch.maximum(one, other)
        order = torch.argsort(pair, stable=True)
        counts = segment_counts(pair, len(buckets) ** 2)
        by_place = torch.stack([head, relation, tail], 1)[order].to(torch.int32)
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        with whole_file(path) as part:
            write_tensors(part, {"triples": by_place, "offsets": offsets})
        return cls(path, buckets)

    def of(self, pair: Pair) -> Tensor:
        """The facts between two buckets, either way: [M', 3] int32, entities by place."""
        number = pair[0] * self.num_buckets + pair[1]
        return self.triples[self.offsets[number] : self.offsets[number + 1]]

    def count(self, pair: Pair) -> int:
        """How many facts are between two buckets."""
        number = pair[0] * self.num_buckets + pair[1]
        return int(self.offsets[number + 1] - self.offsets[number])
