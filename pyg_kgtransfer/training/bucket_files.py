"""The entity table on disk, a file a bucket, and the two buckets of it that are in memory."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pyg_kgtransfer.sources.tensor_files import map_tensors, write_tensors
from pyg_kgtransfer.sources.whole_file import whole_file
from pyg_kgtransfer.training.buckets import EntityBuckets, Pair


class Bucket(NamedTuple):
    """The rows of a bucket.

    Attributes:
        weight: [S, D].
        state: [S], the optimizer's number for each.
    """

    weight: Tensor
    state: Tensor


class BucketFiles:
    """Reads and writes buckets; no file that the last resume checkpoint names is overwritten.

    Args:
        folder: Where they are.
        buckets: Of the entities.
        fresh: From a bucket's number to the rows that it starts from, the same each time.
        versions: Bucket -> the version of its file; those left out are fresh.

    Raises:
        FileNotFoundError: If one of these files is missing.
    """

    def __init__(
        self,
        folder: Path,
        buckets: EntityBuckets,
        fresh: Callable[[int], Bucket],
        versions: Mapping[int, int] | None = None,
    ) -> None:
        self.folder, self.buckets, self.fresh = folder, buckets, fresh
        self.versions = dict(versions or {})
        self.kept = dict(self.versions)  # as the last resume checkpoint has them
        for bucket, version in self.versions.items():
            if not self._path(bucket, version).is_file():
                raise FileNotFoundError(
                    f"{folder} lacks {self._path(bucket, version).name}, which the resume "
                    "checkpoint beside it names: put it back, or begin in another run_dir"
                )

    def read(self, bucket: int) -> Bucket:
        """The rows of a bucket; they are read from disk where they are used."""
        version = self.versions.get(bucket)
        if version is None:
            return self.fresh(bucket)
        tensors = map_tensors(self._path(bucket, version))
        return Bucket(tensors["weight"], tensors["state"])

    def write(self, bucket: int, rows: Bucket) -> None:
        """Write a bucket beside what is kept of it.

        Raises:
            OSError: If it cannot be written (disk full); what is kept is untouched.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        before = self.versions.get(bucket, 0)
        version = before + 1
        with whole_file(self._path(bucket, version)) as part:
            write_tensors(part, rows._asdict())
        self.versions[bucket] = version
        if before and before != self.kept.get(bucket):
            self._path(bucket, before).unlink(missing_ok=True)

    def keep(self) -> None:
        """The versions of now are those that a resume needs; drop all others."""
        self.kept = dict(self.versions)
        needed = {self._path(*entry).name for entry in self.kept.items()}
        for path in self.folder.glob("bucket-*"):
            if path.name not in needed:
                path.unlink()

    def rows(self, place: Tensor) -> Tensor:
        """The vectors of entities by place ([*] int64), read row by row: [*, D]."""
        flat = place.reshape(-1)
        of = self.buckets.of(flat)
        found: Tensor | None = None
        for bucket in torch.unique(of).tolist():
            mine = (of == bucket).nonzero().view(-1)
            weight = self.read(bucket).weight
            rows = weight[flat[mine] - self.buckets.starts[bucket]]
            if found is None:
                found = rows.new_empty(len(flat), rows.shape[1])
            found[mine] = rows
        if found is None:
            return self.read(0).weight[:0].reshape(*place.shape, -1)
        return found.view(*place.shape, -1)

    def _path(self, bucket: int, version: int) -> Path:
        return self.folder / f"bucket-{bucket:05d}-{version}.safetensors"


class PagedTable:
    """Room for two buckets: one ends in its middle, the other begins there.

    So the rows of both follow one another whichever sizes they have.

    Args:
        memory: [2S, D], S the size of the largest bucket; [S, D] where there is but one.
        files: All buckets.
    """

    def __init__(self, memory: Tensor, files: BucketFiles) -> None:
        self.memory, self.files = memory, files
        self.sums = torch.zeros(len(memory), device=memory.device)
        self.slots: list[int | None] = [None, None]

    def page_in(self, pair: Pair) -> tuple[dict[int, int], Tensor, Tensor]:
        """Have two buckets in memory; one that is there stays where it is.

        A bucket that is not of this pair stays, too, until its room is needed.

        Returns:
            From a bucket to where its rows begin; the rows in memory, and the optimizer's numbers.
        """
        for new in sorted({*pair} - {*self.slots}):
            slot = next(s for s in (0, 1) if self.slots[s] is None or self.slots[s] not in pair)
            old = self.slots[slot]
            if old is not None:
                self.files.write(old, self._rows(slot))
            self._fill(slot, new)
        half, sizes = self.files.buckets.largest, [self._size(slot) for slot in (0, 1)]
        starts = {bucket: slot * sizes[0] for slot, bucket in enumerate(self.slots)}
        part = slice(half - sizes[0], half + sizes[1])
        offsets = {bucket: start for bucket, start in starts.items() if bucket is not None}
        return offsets, self.memory[part], self.sums[part]

    def write(self) -> None:
        """Write what is in memory to its files; it stays in memory."""
        for slot, bucket in enumerate(self.slots):
            if bucket is not None:
                self.files.write(bucket, self._rows(slot))

    def restore(self, slots: list[int | None]) -> None:
        """Have buckets where they were when a run was saved."""
        for slot, bucket in enumerate(slots):
            if bucket is not None:
                self._fill(slot, bucket)

    def _fill(self, slot: int, bucket: int) -> None:
        self.slots[slot] = bucket
        for here, kept in zip(self._rows(slot), self.files.read(bucket), strict=True):
            here.copy_(kept)

    def _size(self, slot: int) -> int:
        bucket = self.slots[slot]
        return 0 if bucket is None else self.files.buckets.size(bucket)

    def _rows(self, slot: int) -> Bucket:
        half, size = self.files.buckets.largest, self._size(slot)
        part = slice(half - size, half) if slot == 0 else slice(half, half + size)
        return Bucket(self.memory[part], self.sums[part])
