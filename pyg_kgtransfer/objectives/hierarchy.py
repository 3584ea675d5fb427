"""KG-FIT's constraints: entities near their cluster, apart from others, true to their own text."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_kgtransfer.graph.hierarchy import Hierarchy, Neighbours
from pyg_kgtransfer.kernels.pair_scores import Pairing, score_own
from pyg_kgtransfer.models.encoder import Representations
from pyg_kgtransfer.models.kg_model import GraphModel
from pyg_kgtransfer.objectives.objective import Batch, Objective


@dataclass(frozen=True)
class HierarchyOptions:
    """What each constraint weighs, at least 0; one that weighs 0 is not computed.

    The default weights are zeta_1 lambda_1, zeta_1 lambda_2, zeta_1 lambda_3 and zeta_2 as
    released; the default decay is ours.

    Attributes:
        cohesion: Of the distance to the entity's own cluster.
        separation: Of the mean distance to neighbouring clusters, which is to be large.
        distance: Of the hierarchical distance: clusters up the path should be farther and farther.
        anchor: Of the distance to the entity's own text vector.
        num_neighbours: Neighbouring clusters per cluster, at least 1.
        neighbours: ``"nearest"`` or ``"released"``, see ``Hierarchy.neighbours``.
        decay: phi, at least 0: step j up the path weighs exp(-phi j).

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> options = HierarchyOptions(anchor=0.0, neighbours="released")  # no anchor
        >>> options.cohesion, options.separation
        (0.5, 0.2)
    """

    cohesion: float = 0.5
    separation: float = 0.2
    distance: float = 0.25
    anchor: float = 0.5
    num_neighbours: int = 5
    neighbours: Neighbours = "nearest"
    decay: float = 0.4

    def __post_init__(self) -> None:
        for name in ("cohesion", "separation", "distance", "anchor", "decay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0 (got {getattr(self, name)})")
        if self.num_neighbours < 1:
            raise ValueError(f"num_neighbours must be at least 1 (got {self.num_neighbours})")
        if self.neighbours not in ("nearest", "released"):
            raise ValueError(
                f"neighbours must be 'nearest' or 'released' (got {self.neighbours!r})"
            )


class HierarchyObjective(Objective):
    """Four constraints on the vectors of a batch's entities, with d = 1 - cosine.

    cohesion d(a, c), separation -mean d(a, neighbours of c), hierarchical distance
    -1 / (h - 1) sum_j exp(-phi j) (d(a, p_{j+1}) - d(a, p_j)) along the path p_1 = c ... p_h to the
    root, and the anchor d(a, text of a); means over the heads and tails of the batch that have what
    the constraint needs: a cluster, neighbours, a parent cluster, a text vector other than zero.

    Args:
        hierarchy: Of the entities of the graph that is encoded, in its order, N of them.
        text: [N, D] text vectors, as wide as the entity vectors; clusters have the means of theirs.
        options: Weights; defaults if ``None``.

    Raises:
        ValueError: If there is not a text vector for each entity.

    Source: Jiang et al. 2024, arXiv 2405.16412 (KG-FIT); the released code sums the
    hierarchical distance over the wrong axis, we over the path.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> entities = kgt.Vocabulary(["Athens", "Greece"])
        >>> tree = kgt.Hierarchy(
        ...     entities, torch.tensor([-1, 0, 0]), torch.tensor([1, 2]), ("", "city", "country")
        ... )
        >>> text = torch.eye(2)
        >>> objective = kgt.HierarchyObjective(tree, text)
        >>> model = kgt.KGModel(kgt.Shallow(kgt.Lookup(2, 2), 1), kgt.TransE())
        >>> vectors = kgt.Representations(text, torch.zeros(1, 2))  # each as its text
        >>> batch = kgt.Batch(torch.tensor([[0, 0, 1]]), torch.Generator())
        >>> {name: round(t.item(), 3) for name, t in objective.terms(model, vectors, batch).items()}
        {'cohesion': 0.0, 'separation': -0.2, 'distance': -0.049, 'anchor': 0.0}
    """

    paths: Tensor
    neighbours: Tensor
    clusters: Tensor
    text: Tensor
    decays: Tensor

    def __init__(
        self, hierarchy: Hierarchy, text: Tensor, options: HierarchyOptions | None = None
    ) -> None:
        super().__init__()
        if text.dim() != 2 or len(text) != len(hierarchy.entities):
            raise ValueError(
                f"each of {len(hierarchy.entities)} entities needs a text vector "
                f"(got {list(text.shape)})"
            )
        self.options = HierarchyOptions() if options is None else options
        cluster = hierarchy.cluster_of
        near = hierarchy.neighbours(self.options.num_neighbours, kind=self.options.neighbours)
        steps = torch.arange(1, hierarchy.paths.shape[1])
        for name, table in (
            ("paths", _rows_of(hierarchy.paths, cluster)),
            ("neighbours", _rows_of(near, cluster)),
            ("clusters", F.normalize(hierarchy.vectors(text), dim=1)),
            ("text", F.normalize(text, dim=1)),
            ("decays", torch.exp(-self.options.decay * steps).to(text.dtype)),
        ):
            self.register_buffer(name, table, persistent=False)

    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        return torch.stack(list(self.terms(model, representations, batch).values())).sum()

    def terms(
        self, model: GraphModel, representations: Representations, batch: Batch
    ) -> dict[str, Tensor]:
        """The constraints that weigh more than 0, weighted, by name."""
        options = self.options
        ids = batch.triples[:, ::2].flatten()
        unit = F.normalize(representations.rows(ids), dim=1)
        terms: dict[str, Tensor] = {}
        if options.cohesion or options.distance:
            path, distance = self._distances(unit, self.paths[ids])  # [B, H]
        if options.cohesion:
            terms["cohesion"] = options.cohesion * _mean(distance[:, 0], path[:, 0])
        if options.separation:
            has, apart = self._distances(unit, self.neighbours[ids])
            count = has.sum(1)
            mean = (apart * has).sum(1) / count.clamp(min=1)
            terms["separation"] = -options.separation * _mean(mean, count > 0)
        if options.distance:
            steps = path[:, 1:].sum(1)  # [B], h - 1
            farther = (distance[:, 1:] - distance[:, :-1]) * path[:, 1:] * self.decays
            mean = farther.sum(1) / steps.clamp(min=1)
            terms["distance"] = -options.distance * _mean(mean, steps > 0)
        if options.anchor:
            own = self.text[ids]
            away = 1.0 - (unit * own).sum(1)
            terms["anchor"] = options.anchor * _mean(away, own.any(1))
        return terms or {"hierarchy": unit.new_zeros(())}

    def _distances(self, unit: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Where there are clusters, and the distances to them, 0 where there are none: [B, K]."""
        has = index >= 0
        table = self.clusters.to(unit.dtype)
        cosine = score_own(unit, table, index.clamp(min=0), Pairing.DOT)
        return has, (1.0 - cosine) * has


def _rows_of(table: Tensor, cluster: Tensor) -> Tensor:
    """The rows of each entity's cluster, -1 for an entity in none."""
    return torch.where((cluster < 0).unsqueeze(1), -1, table[cluster.clamp(min=0)])


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """The mean of the values that count, 0 where none does."""
    return (values * counted).sum() / counted.sum().clamp(min=1)
