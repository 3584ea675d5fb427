"""Planted graphs of millions of facts: something to learn at the size that a machine can hold."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.graph.vocabulary import Vocabulary


@dataclass(frozen=True)
class LargeOptions:
    """The size and shape of a large planted graph.

    Attributes:
        num_entities: N, at least ``num_clusters``.
        num_relations: R.
        num_triples: Training facts.
        num_held_out: Valid facts, and as many test facts.
        num_clusters: C; a relation leads from a cluster to another.
        skew: How unequal entities are, at least 1: the share of facts of the most frequent
            fraction x of a cluster is x^(1 / skew).

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> LargeOptions().num_triples  # those of ogbl-wikikg2
        16109182
    """

    num_entities: int = 2_500_604
    num_relations: int = 535
    num_triples: int = 16_109_182
    num_held_out: int = 10_000
    num_clusters: int = 20
    skew: float = 3.0

    def __post_init__(self) -> None:
        if not 1 <= self.num_clusters <= self.num_entities or self.num_relations < 1:
            raise ValueError(
                "a large graph needs a relation, and at least as many entities as clusters, of "
                f"which one at least (got {self.num_relations} relations, {self.num_entities} "
                f"entities and {self.num_clusters} clusters)"
            )
        if self.num_triples < 1 or self.num_held_out < 0 or not self.skew >= 1:
            raise ValueError(
                "a large graph needs a fact, at least 0 held-out ones, and a skew of at least 1 "
                f"(got {self.num_triples}, {self.num_held_out} and {self.skew})"
            )


def large_planted(options: LargeOptions | None = None, *, seed: int = 0) -> Split:
    """A split of distinct facts: relation r leads from cluster c to cluster c + a_r mod C.

    Heads are drawn from all clusters, relations and the entities of a cluster unequally, as in
    real graphs: few have many facts. A fact's tail follows from its head and relation but for
    which of the cluster it is, so that among random candidates it can be told. Ids say nothing.
    The default is as large as ogbl-wikikg2.

    Args:
        options: Size and shape.
        seed: The draw.

    Raises:
        ValueError: If so many distinct facts cannot be drawn.

    Example:
        >>> options = LargeOptions(500, 4, 2000, num_held_out=50, num_clusters=10)
        >>> large_planted(options)
        Split(KnowledgeGraph('large': 500 entities, 4 relations, 2,000 triples), 50 valid, 50 test)
    """
    options = options or LargeOptions()
    generator = torch.Generator().manual_seed(seed)
    names = torch.randperm(options.num_entities, generator=generator)
    shift = torch.randint(options.num_clusters, (options.num_relations,), generator=generator)
    wanted = options.num_triples + 2 * options.num_held_out
    size, relations = options.num_entities, options.num_relations
    keys = torch.empty(0, dtype=torch.long)
    for _ in range(20):
        head, relation, tail = _draw(options, shift, int(1.1 * (wanted - len(keys))), generator)
        new = (names[head] * relations + relation) * size + names[tail]
        keys = torch.unique(torch.cat([keys, new]))
        if len(keys) >= wanted:
            break
    if len(keys) < wanted:
        raise ValueError(
            f"{wanted:,} distinct facts cannot be drawn from so few entities and relations "
            f"(got {len(keys):,} of {size:,} entities and {relations:,} relations)"
        )
    keys = keys[torch.randperm(len(keys), generator=generator)[:wanted]]
    rest, tail = keys // size, keys % size
    triples = torch.stack([rest // relations, rest % relations, tail], dim=1)
    train, valid, test = triples.split(
        [options.num_triples, options.num_held_out, options.num_held_out]
    )
    graph = KnowledgeGraph(
        Vocabulary((f"Q{i}" for i in range(size)), kind="entity"),
        Vocabulary((f"P{i}" for i in range(relations)), kind="relation"),
        train,
        "large",
    )
    return Split(graph, HeldOut(valid, "valid"), HeldOut(test, "test"))


def _draw(
    options: LargeOptions, shift: Tensor, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Heads, relations and tails of so many facts, by position: [count] each."""
    clusters, share = options.num_clusters, torch.rand(3, count, generator=generator)
    relation = (share[0] ** options.skew * options.num_relations).long()
    cluster = torch.randint(clusters, (count,), generator=generator)
    head = _member(cluster, share[1], options)
    return head, relation, _member((cluster + shift[relation]) % clusters, share[2], options)


def _member(cluster: Tensor, share: Tensor, options: LargeOptions) -> Tensor:
    """An entity of each cluster, the first ones most often; those of c are c, c + C, c + 2C ..."""
    clusters, entities = options.num_clusters, options.num_entities
    size = (entities - cluster + clusters - 1) // clusters
    place = (share.double() ** options.skew * size).long()
    return cluster + torch.minimum(place, size - 1) * clusters
