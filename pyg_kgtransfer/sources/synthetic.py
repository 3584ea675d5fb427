"""Small planted graphs, whose facts follow a rule that can be learned, and aligned pairs of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import Split, random_split
from pyg_kgtransfer.graph.vocabulary import Vocabulary

NamePairs = list[tuple[str, str]]
NEAR, INVERSE, COMPOSITION = "near", "inverse", "composition"
_DERIVED = (NEAR, INVERSE, COMPOSITION)


@dataclass(frozen=True)
class PlantedOptions:
    """The shape of a planted graph.

    Attributes:
        num_clusters: C, kinds of entities; they become the entity types.
        num_maps: K, relations that are drawn; three more follow from them.
        noise: Share of the facts whose tail is drawn at random, in [0, 1).
        valid_share: Share of valid facts.
        test_share: Share of test facts.

    Raises:
        ValueError: If there are no clusters, fewer than two maps, or the noise is out of range.
    """

    num_clusters: int = 4
    num_maps: int = 4
    noise: float = 0.0
    valid_share: float = 0.1
    test_share: float = 0.1

    def __post_init__(self) -> None:
        if self.num_clusters < 1 or self.num_maps < 2:
            raise ValueError(
                "a planted graph needs at least 1 cluster and 2 maps "
                f"(got {self.num_clusters} and {self.num_maps})"
            )
        if not 0 <= self.noise < 1:
            raise ValueError(f"noise must be in [0, 1) (got {self.noise})")


@dataclass(frozen=True)
class PairOptions:
    """How the sparse and the rich graph of a pair differ and meet.

    Attributes:
        overlap: Share of the sparse graph's entities that the rich one knows, in (0, 1].
        train_share: Share of the sparse graph's facts to learn from, in (0, 1).
        sparse_maps: Relations drawn for the sparse graph; three more follow from them.
        rich_maps: Relations drawn for the rich graph; three more follow from them.
        num_clusters: As in ``PlantedOptions``.

    Raises:
        ValueError: If a share is out of range.
    """

    overlap: float = 1.0
    train_share: float = 0.3
    sparse_maps: int = 3
    rich_maps: int = 6
    num_clusters: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.overlap <= 1 or not 0 < self.train_share < 1:
            raise ValueError(
                "overlap must be in (0, 1] and train_share in (0, 1) "
                f"(got {self.overlap} and {self.train_share})"
            )


@dataclass(frozen=True, eq=False)
class PlantedPair:
    """Two graphs of one hidden world, under different names.

    Attributes:
        sparse: The target: few facts to learn from, the others to be asked.
        rich: A graph with all its facts, about relations of its own.
        unrelated: The control: ``rich`` with its entities' names exchanged at random, so that it has
            the same facts, degrees and names, and the pairs say nothing.
        entity_pairs: (name in sparse, name in rich) of the entities that both know.
    """

    sparse: Split
    rich: KnowledgeGraph
    unrelated: KnowledgeGraph
    entity_pairs: NamePairs


def planted(
    num_entities: int = 80, *, options: PlantedOptions | None = None, seed: int = 0
) -> Split:
    """A split of a graph whose facts follow from hidden positions.

    Each entity has a cluster c in Z_C and a place p in Z_S, S = N / C. A drawn relation ``map_k``
    leads each entity (c, p) to the one at (c + a_k mod C, p + b_k mod S), for distinct (a_k, b_k).
    From them follow

    - ``inverse``: the inverse of ``map_0``,
    - ``composition``: ``map_0``, then ``map_1``,
    - ``near``: to (c, p + 1) and (c, p - 1); symmetric, both directions stated.

    All facts hold; which are held out is drawn by ``random_split``, all facts of an entity pair
    together, so that no held-out fact can be copied from its inverse. Ids are drawn, and say
    nothing about positions. Entity types are the clusters.

    Args:
        num_entities: N, a multiple of the clusters with at least 6 places in each.
        options: The shape.
        seed: The draw.

    Raises:
        ValueError: If N does not fit, or there are more maps than distinct shifts.

    Example:
        >>> planted(24, seed=1)
        Split(KnowledgeGraph('planted': 24 entities, 7 relations, 134 triples), 17 valid, 17 test)
    """
    options = options or PlantedOptions()
    generator = torch.Generator().manual_seed(seed)
    world = _World.drawn(num_entities, options.num_clusters, options.num_maps, generator)
    facts = world.facts(range(options.num_maps))
    noisy = torch.rand(len(facts), generator=generator) < options.noise
    anything = torch.randint(num_entities, (len(facts),), generator=generator)
    facts[:, 2] = torch.where(noisy, anything, facts[:, 2])
    graph = world.graph(facts, "planted", [f"map_{k}" for k in range(options.num_maps)], generator)
    return random_split(graph, options.valid_share, options.test_share, seed=seed)
