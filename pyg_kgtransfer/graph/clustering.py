"""A hierarchy from vectors: one dendrogram, cut where clusters are told apart best."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import silhouette_score
from torch import Tensor

from pyg_kgtransfer.graph.hierarchy import Hierarchy
from pyg_kgtransfer.graph.vocabulary import Vocabulary

THRESHOLDS = tuple(round(float(t), 4) for t in np.linspace(0.05, 0.70, 43))


@dataclass(frozen=True)
class ClusterOptions:
    """How entities are clustered.

    Attributes:
        thresholds: Cosine distances at which the dendrogram is tried, each in (0, 2).
        max_exact: Up to so many entities every pair is compared (8 bytes a pair, twice); above,
            entities are put in ``num_groups`` groups first, whose means are compared.
        num_groups: Groups of more entities than that, at least 2.
        sample_size: Entities whose silhouette is measured, at least 3.
        seed: Of the sample and the groups.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> options = ClusterOptions(thresholds=(0.3, 0.5), sample_size=1000)
        >>> options.max_exact, len(ClusterOptions().thresholds)
        (20000, 43)
    """

    thresholds: Sequence[float] = THRESHOLDS
    max_exact: int = 20_000
    num_groups: int = 5_000
    sample_size: int = 4_000
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.thresholds or not all(0 < t < 2 for t in self.thresholds):
            raise ValueError(
                f"thresholds are cosine distances in (0, 2), at least one "
                f"(got {list(self.thresholds)})"
            )
        for name, least in (("max_exact", 1), ("num_groups", 2), ("sample_size", 3)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least} (got {getattr(self, name)})")


class Cut(NamedTuple):
    """One threshold that was tried.

    Attributes:
        threshold: Cosine distance, in (0, 2).
        num_clusters: Leaves that it leaves.
        silhouette: In [-1, 1], higher is better; ``None`` where it is not defined: all entities in
            one cluster, or each in its own.
    """

    threshold: float
    num_clusters: int
    silhouette: float | None


class Clustered(NamedTuple):
    """A hierarchy and how it was chosen.

    Attributes:
        hierarchy: Its leaves are the clusters of the best cut; above them the tree is binary.
        best: The chosen cut.
        cuts: All that were tried, in order.
    """

    hierarchy: Hierarchy
    best: Cut
    cuts: tuple[Cut, ...]


def seed_hierarchy(
    vectors: Tensor, entities: Vocabulary, options: ClusterOptions | None = None
) -> Clustered:
    """Cluster entities by their vectors: average linkage of cosine distances.

    The dendrogram is built once; the threshold with the highest silhouette cuts it.

    Args:
        vectors: [N, D] floats; an entity whose vector is zero is in no cluster.
        entities: Whose vectors these are.
        options: Defaults if ``None``.

    Raises:
        ValueError: If there is not a vector for each entity, one is not finite, or all are zero.

    Source: Jiang et al. 2024, arXiv 2405.16412 (KG-FIT).

    Example:
        >>> vectors = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
        >>> found = seed_hierarchy(vectors, Vocabulary(["a", "b", "c", "d"]))
        >>> found.best.num_clusters, found.hierarchy.members(1), found.hierarchy.members(2)
        (2, ['a', 'b'], ['c', 'd'])
    """
    options = ClusterOptions() if options is None else options
    unit, kept = _unit_rows(vectors, entities)
    group, points = _points(unit, options)
    merges = linkage(points, method="average", metric="cosine") if len(points) > 1 else None
    if merges is not None:
        merges[:, 2] = merges[:, 2].clip(min=0.0)  # rounding
    measure = _Silhouette(unit, group, options)
    cuts = tuple(_cut(merges, threshold, measure) for threshold in options.thresholds)
    defined = [cut for cut in cuts if cut.silhouette is not None]
    best = max(defined, key=lambda cut: cut.silhouette or 0.0) if defined else cuts[len(cuts) // 2]
    parent, leaf = _tree(merges, len(points), best.threshold)
    cluster_of = torch.full((len(entities),), -1)
    cluster_of[torch.from_numpy(kept)] = torch.from_numpy(leaf[group])
    tree = Hierarchy.pruned(entities, torch.from_numpy(parent), cluster_of, ("",) * len(parent))
    return Clustered(tree, best, cuts)


def _unit_rows(vectors: Tensor, entities: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """Rows of length 1 of the entities that have a vector, and which these are."""
    if vectors.dim() != 2 or len(vectors) != len(entities):
        raise ValueError(
            f"each of {len(entities)} entities needs a vector (got {list(vectors.shape)})"
        )
    wrong = (~torch.isfinite(vectors)).any(1).nonzero().view(-1).tolist()
    if wrong:
        raise ValueError(
            f"vectors must be finite (got NaN or infinity for {entities.name(wrong[0])!r} and "
            f"{len(wrong) - 1} more)"
        )
    size = vectors.norm(dim=1)
    kept = (size > 0).nonzero().view(-1)
    if not len(kept):
        raise ValueError("an entity needs a vector other than zero (got none)")
    unit = vectors[kept] / size[kept].unsqueeze(1)
    return unit.float().cpu().numpy(), kept.cpu().numpy()


def _points(unit: np.ndarray, options: ClusterOptions) -> tuple[np.ndarray, np.ndarray]:
    """Which point of the dendrogram each entity belongs to, and the points."""
    if len(unit) <= options.max_exact:
        return np.arange(len(unit)), unit
    groups = MiniBatchKMeans(
        n_clusters=min(options.num_groups, len(unit) // 2),
        batch_size=4096,
        n_init=1,
        init="random",
        random_state=options.seed,
        compute_labels=True,
    ).fit(unit)
    used, group = np.unique(groups.labels_, return_inverse=True)
    centres = groups.cluster_centers_[used]
    return group, centres


class _Silhouette:
    """The mean silhouette of a sample of entities, by cosine distances that are kept."""

    def __init__(self, unit: np.ndarray, group: np.ndarray, options: ClusterOptions) -> None:
        draw = np.random.default_rng(options.seed)
        sample = np.sort(draw.choice(len(unit), min(options.sample_size, len(unit)), replace=False))
        self.group = group[sample]
        self.distance = np.clip(1.0 - unit[sample] @ unit[sample].T, 0.0, 2.0)
        np.fill_diagonal(self.distance, 0.0)

    def __call__(self, cluster_of_point: np.ndarray) -> float | None:
        labels = cluster_of_point[self.group]
        if not 2 <= len(np.unique(labels)) < len(labels):
            return None
        return float(silhouette_score(self.distance, labels, metric="precomputed"))


def _cut(merges: np.ndarray | None, threshold: float, measure: _Silhouette) -> Cut:
    if merges is None:
        return Cut(threshold, 1, None)
    labels = fcluster(merges, threshold, criterion="distance")
    return Cut(threshold, int(labels.max()), measure(labels))


def _tree(
    merges: np.ndarray | None, num_points: int, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Parents of clusters, the root first, and the leaf of each point."""
    parent: list[int] = []
    leaf = np.zeros(num_points, dtype=np.int64)
    waiting = [(2 * num_points - 2, -1)]
    while waiting:
        node, above = waiting.pop()
        parent.append(above)
        left, right, height = (
            merges[node - num_points, :3]
            if merges is not None and node >= num_points
            else (-1, -1, 0.0)
        )
        if height > threshold:
            waiting += [(int(right), len(parent) - 1), (int(left), len(parent) - 1)]
        else:
            leaf[_points_below(merges, num_points, node)] = len(parent) - 1
    return np.array(parent, dtype=np.int64), leaf


def _points_below(merges: np.ndarray | None, num_points: int, node: int) -> list[int]:
    found, waiting = [], [node]
    while waiting:
        node = waiting.pop()
        if node < num_points or merges is None:
            found.append(node)
        else:
            waiting += [int(merges[node - num_points, 0]), int(merges[node - num_points, 1])]
    return found
