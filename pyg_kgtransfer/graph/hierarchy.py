"""A tree of clusters over entities: parents, depths, paths, neighbours and vectors of clusters."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from pyg_kgtransfer.graph.vocabulary import Vocabulary

Neighbours = Literal["nearest", "released"]


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """An immutable tree of clusters; its leaves hold entities, each entity at most once.

    Entities are meant by id, never by label: two entities with one label are two entities.

    Attributes:
        entities: Whose clusters these are, N of them.
        parent: [C] int64, the parent of each cluster; -1 for the root.
        cluster_of: [N] int64, the leaf of each entity; -1 for an entity in no cluster.
        names: What each cluster is called; "" for one without a name.

    Raises:
        ValueError: If there is not one root, a cluster is its own ancestor, an id is out of range,
            an inner cluster holds entities or a leaf holds none.

    Example:
        >>> entities = Vocabulary(["Athens", "Rome", "Greece"], kind="entity")
        >>> parent, cluster_of = torch.tensor([-1, 0, 0]), torch.tensor([1, 1, 2])
        >>> tree = Hierarchy(entities, parent, cluster_of, ("places", "cities", "countries"))
        >>> tree.depth.tolist(), tree.path(1), tree.members(1)
        ([0, 1, 1], [1, 0], ['Athens', 'Rome'])
    """

    entities: Vocabulary
    parent: Tensor
    cluster_of: Tensor
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        count = len(self.parent)
        if len(self.names) != count:
            raise ValueError(f"{count} clusters need as many names (got {len(self.names)})")
        if len(self.cluster_of) != len(self.entities):
            raise ValueError(
                f"each of {len(self.entities)} entities needs a cluster, or -1 "
                f"(got {len(self.cluster_of)})"
            )
        for name, ids in (("parents", self.parent), ("clusters of entities", self.cluster_of)):
            if ids.dtype != torch.long:
                raise ValueError(f"{name} must be int64 (got {ids.dtype})")
            if len(ids) and not (int(ids.min()) >= -1 and int(ids.max()) < count):
                raise ValueError(
                    f"{name} must be in [-1, {count}) (got {int(ids.min())} to {int(ids.max())})"
                )
        roots = (self.parent < 0).nonzero().view(-1).tolist()
        if len(roots) != 1:
            raise ValueError(f"a hierarchy has one root (got {len(roots)})")
        self._check_depths()
        self._check_leaves()

    def _check_depths(self) -> None:
        lost = (self.depth < 0).nonzero().view(-1)
        if len(lost):
            raise ValueError(
                f"each cluster must lead to the root (got {self._called(int(lost[0]))!r}, which is "
                f"its own ancestor or below one that is; {len(lost)} such clusters)"
            )

    def _check_leaves(self) -> None:
        holds = torch.zeros(len(self.parent), dtype=torch.bool)
        holds[self.cluster_of[self.cluster_of >= 0]] = True
        for wrong, what in (
            (holds & ~self.is_leaf, "an inner cluster holds no entities of its own"),
            (~holds & self.is_leaf, "a leaf holds entities"),
        ):
            found = wrong.nonzero().view(-1)
            if len(found) and (len(self.parent) > 1 or what.startswith("an")):
                raise ValueError(
                    f"{what} (got {self._called(int(found[0]))!r} and {len(found) - 1} more)"
                )

    def _called(self, cluster: int) -> str:
        return self.names[cluster] or f"cluster {cluster}"

    def __len__(self) -> int:
        return len(self.parent)

    def __repr__(self) -> str:
        return (
            f"Hierarchy({len(self)} clusters, {int(self.is_leaf.sum())} of them leaves, "
            f"depth {int(self.depth.max())}, {int((self.cluster_of >= 0).sum())} of "
            f"{len(self.entities)} entities)"
        )

    @property
    def root(self) -> int:
        """The cluster without a parent."""
        return int((self.parent < 0).nonzero()[0])

    @cached_property
    def depth(self) -> Tensor:
        """[C] int64, edges from the root; -1 where a cluster does not lead to it."""
        depth = torch.where(self.parent < 0, 0, -1)
        while True:
            of_parent = depth[self.parent.clamp(min=0)]
            found = (depth < 0) & (of_parent >= 0)
            if not bool(found.any()):
                return depth
            depth = torch.where(found, of_parent + 1, depth)

    @cached_property
    def is_leaf(self) -> Tensor:
        """Bool [C], whether a cluster has no children."""
        leaf = torch.ones(len(self.parent), dtype=torch.bool)
        leaf[self.parent[self.parent >= 0]] = False
        return leaf

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """The children of each cluster, in order."""
        found: list[list[int]] = [[] for _ in range(len(self))]
        for cluster, parent in enumerate(self.parent.tolist()):
            if parent >= 0:
                found[parent].append(cluster)
        return tuple(map(tuple, found))

    def members(self, cluster: int) -> list[str]:
        """The names of the entities that a leaf holds."""
        return [self.entities.name(i) for i in (self.cluster_of == cluster).nonzero().view(-1)]

    def path(self, cluster: int) -> list[int]:
        """From a cluster up to the root, both included."""
        found = [cluster]
        while (parent := int(self.parent[found[-1]])) >= 0:
            found.append(parent)
        return found

    @cached_property
    def paths(self) -> Tensor:
        """[C, H] int64: the path of each cluster up to the root, then -1; H is the depth plus 1."""
        steps = [torch.arange(len(self))]
        for _ in range(int(self.depth.max())):
            below = steps[-1]
            steps.append(torch.where(below < 0, -1, self.parent[below.clamp(min=0)]))
        return torch.stack(steps, dim=1)

    def vectors(self, entity: Tensor) -> Tensor:
        """A vector for each cluster: of leaves the mean of their entities, else of their children.

        Args:
            entity: [N, D] floats.

        Returns:
            [C, D].
        """
        holds = self.cluster_of >= 0
        sums = entity.new_zeros(len(self), entity.shape[1])
        sums.index_add_(0, self.cluster_of[holds], entity[holds])
        counts = torch.bincount(self.cluster_of[holds], minlength=len(self))
        means = sums / counts.clamp(min=1).to(entity.dtype).unsqueeze(1)
        inner = torch.bincount(self.parent[self.parent >= 0], minlength=len(self))
        for level in range(int(self.depth.max()), 0, -1):
            at = (self.depth == level).nonzero().view(-1)
            above = self.parent[at]
            means.index_add_(0, above, means[at] / inner[above].to(entity.dtype).unsqueeze(1))
        return means

    def neighbours(self, count: int = 5, *, kind: Neighbours = "nearest") -> Tensor:
        """The clusters nearest to each leaf, by edges through the lowest common ancestor.

        Args:
            count: How many, at least 1.
            kind: ``"nearest"``: other leaves. ``"released"``: any cluster, as the lists released
                with KG-FIT have it; more than half of those are the leaf's own ancestors, from
                which separation then pushes its entities away.

        Returns:
            [C, count] int64, nearest first, of equally near ones the lower id; -1 where there are
            fewer, and for clusters that are no leaves.
        """
        if count < 1:
            raise ValueError(f"count must be at least 1 (got {count})")
        found = torch.full((len(self), count), -1)
        for leaf in self.is_leaf.nonzero().view(-1).tolist():
            near = self._nearest(leaf, count, leaves_alone=kind == "nearest")
            found[leaf, : len(near)] = torch.tensor(near, dtype=torch.long)
        return found

    def _nearest(self, leaf: int, count: int, *, leaves_alone: bool) -> list[int]:
        """Breadth first from a leaf, ring by ring."""
        seen, ring, found = {leaf}, deque([leaf]), list[int]()
        while ring and len(found) < count:
            reached = sorted({near for cluster in ring for near in self._beside(cluster)} - seen)
            seen.update(reached)
            found += [c for c in reached if not leaves_alone or not self.children[c]]
            ring = deque(reached)
        return found[:count]

    def _beside(self, cluster: int) -> Sequence[int]:
        parent = int(self._parents[cluster])
        return self.children[cluster] if parent < 0 else (*self.children[cluster], parent)

    @cached_property
    def _parents(self) -> list[int]:
        found: list[int] = self.parent.tolist()
        return found

    def of(self, entities: Vocabulary) -> "Hierarchy":
        """The same tree for another vocabulary: entities by name, -1 for those it does not hold.

        Clusters that hold none of them are left out.
        """
        position = self.entities.positions_of(entities)
        cluster_of = torch.where(position < 0, -1, self.cluster_of[position.clamp(min=0)])
        return Hierarchy.pruned(entities, self.parent, cluster_of, self.names)

    @classmethod
    def pruned(
        cls, entities: Vocabulary, parent: Tensor, cluster_of: Tensor, names: tuple[str, ...]
    ) -> "Hierarchy":
        """A tree without the clusters that hold no entity, themselves or below; see the class."""
        kept, cluster = torch.zeros(len(parent), dtype=torch.bool), cluster_of.unique()
        cluster = torch.cat([cluster[cluster >= 0], (parent < 0).nonzero().view(-1)])
        while len(cluster):
            cluster = cluster[~kept[cluster]]
            kept[cluster] = True
            above = parent[cluster]
            cluster = above[above >= 0].unique()
        number = torch.where(kept, kept.cumsum(0) - 1, -1)
        parent = parent[kept]
        return cls(
            entities,
            torch.where(parent < 0, -1, number[parent.clamp(min=0)]),
            torch.where(cluster_of < 0, -1, number[cluster_of.clamp(min=0)]),
            tuple(name for name, keep in zip(names, kept.tolist(), strict=True) if keep),
        )
