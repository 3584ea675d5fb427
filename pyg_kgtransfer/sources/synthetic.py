"""Small planted graphs whose facts follow rules one can learn, and aligned pairs of them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import Split, random_split
from pyg_kgtransfer.graph.vocabulary import Vocabulary

Shift = tuple[int, int]  # added to (cluster, place)
Rules = dict[str, list[Shift]]  # relation -> the shifts that make its facts


@dataclass(frozen=True)
class PlantedOptions:
    """The shape of a planted graph.

    Attributes:
        num_clusters: C, kinds of entities; they become the entity types.
        num_maps: K, relations that are drawn; three more follow from them.
        noise: Share of the facts whose tail is drawn at random, in [0, 1).
        valid_share: Share of valid facts, at least 0.
        test_share: Share of test facts, at least 0; with the valid share below 1.

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
    """How the sparse and the rich graph of a pair differ, and where they meet.

    Attributes:
        sparse: The shape of the sparse graph; its valid and test shares leave it few facts to
            learn from. The rich graph has the same clusters.
        rich_maps: Relations of the rich graph, at least 1.
        overlap: Share of the entities that the rich graph knows, in (0, 1].

    Raises:
        ValueError: If a number is out of range.
    """

    sparse: PlantedOptions = PlantedOptions(num_maps=3, valid_share=0.1, test_share=0.65)
    rich_maps: int = 6
    overlap: float = 1.0

    def __post_init__(self) -> None:
        if self.rich_maps < 1 or not 0 < self.overlap <= 1:
            raise ValueError(
                "a rich graph needs at least 1 map and an overlap in (0, 1] "
                f"(got {self.rich_maps} and {self.overlap})"
            )


@dataclass(frozen=True, eq=False)
class PlantedPair:
    """Two graphs of one hidden world, under different names.

    Attributes:
        sparse: The target: few facts to learn from, many to be asked.
        rich: All facts of relations of its own. It links no entity pair that the sparse graph's
            facts link, so that nothing can be copied: what helps is where entities are.
        unrelated: The control: ``rich`` with its entities' names exchanged at random. It has the
            same names, and the same shape, but the pairs say nothing.
        entity_pairs: (name in sparse, name in rich) of the entities that both know.
    """

    sparse: Split
    rich: KnowledgeGraph
    unrelated: KnowledgeGraph
    entity_pairs: list[tuple[str, str]]


def planted(
    num_entities: int = 80, *, options: PlantedOptions | None = None, seed: int = 0
) -> Split:
    """A split of a graph whose facts follow from hidden positions.

    Each entity has a cluster c in Z_C and a place p in Z_S, S = N / C. A drawn relation ``map_k``
    leads from each entity (c, p) to the one at (c + a_k mod C, p + b_k mod S), with a shift
    (a_k, b_k) of its own. From them follow

    - ``inverse``: the inverse of ``map_0``,
    - ``composition``: ``map_0``, then ``map_1``,
    - ``near``: to (c, p + 1) and (c, p - 1); symmetric, both directions stated.

    No other two relations link the same entities, in either direction. Which facts are held out is
    drawn by ``random_split``, all facts of an entity pair together, so that none can be copied from
    its inverse. Ids and names are drawn and say nothing about positions.

    Args:
        num_entities: N, a multiple of the clusters, with at least 5 places in each.
        options: The shape.
        seed: The draw.

    Raises:
        ValueError: If N does not fit, or has too few shifts for so many maps.

    Example:
        >>> planted(24, seed=1)
        Split(KnowledgeGraph('planted': 24 entities, 7 relations, 153 triples), 23 valid, 16 test)
    """
    options = options or PlantedOptions()
    generator = torch.Generator().manual_seed(seed)
    rules = _planted_rules(num_entities, options, generator)
    return _planted_split(num_entities, options, rules, generator)


def planted_pair(
    num_entities: int = 80, *, options: PairOptions | None = None, seed: int = 0
) -> PlantedPair:
    """A sparse graph, a rich one over the same hidden positions, and an unrelated control.

    The sparse graph is made as by ``planted``. The rich one states all facts of relations ``way_k``
    with other shifts, among the entities it knows. Learning on both, with paired entities as one,
    must beat the sparse graph alone; with ``unrelated`` in the place of ``rich`` it cannot.

    Args:
        num_entities: N of the sparse graph, as in ``planted``.
        options: How the graphs differ.
        seed: The draw.

    Raises:
        ValueError: If N does not fit, or has too few shifts for so many relations.

    Example:
        >>> pair = planted_pair(40, seed=1)
        >>> pair.rich, pair.entity_pairs[0]
        (KnowledgeGraph('rich': 40 entities, 6 relations, 240 triples), ('e0', 'x13'))
    """
    options = options or PairOptions()
    generator = torch.Generator().manual_seed(seed)
    rules = _planted_rules(num_entities, options.sparse, generator)
    # one draw for both, so that no shift is used twice
    taken = {shift for shifts in rules.values() for shift in shifts}
    ways = _draw_shifts(num_entities, options.sparse, options.rich_maps, taken, generator)
    at = torch.randperm(num_entities, generator=generator)  # sparse id of each position
    sparse = _planted_split(num_entities, options.sparse, rules, generator, at=at)
    num_known = max(1, round(options.overlap * num_entities))
    known = torch.randperm(num_entities, generator=generator)[:num_known]  # positions, by rich id
    rich = _rich_graph(num_entities, options, ways, known)
    exchanged = torch.randperm(num_known, generator=generator)
    triples = rich.triples.clone()
    triples[:, [0, 2]] = exchanged[triples[:, [0, 2]]]
    order = torch.argsort(at[known])
    pairs = [
        (sparse.train.entities.name(left), rich.entities.name(right))
        for left, right in zip(at[known][order].tolist(), order.tolist(), strict=True)
    ]
    return PlantedPair(sparse, rich, rich.with_triples(triples, name="unrelated"), pairs)


def _planted_rules(num_entities: int, options: PlantedOptions, generator: torch.Generator) -> Rules:
    """The shifts of each relation of a planted graph."""
    size, rest = divmod(num_entities, options.num_clusters)
    if rest or size < 5:
        raise ValueError(
            f"the {options.num_clusters} clusters need equally many entities, at least 5 each "
            f"(got {num_entities} entities)"
        )
    near: list[Shift] = [(0, 1), (0, size - 1)]
    maps = _draw_shifts(num_entities, options, options.num_maps, set(near), generator)
    first, second = maps[:2]
    rules: Rules = {f"map_{k}": [shift] for k, shift in enumerate(maps)}
    rules["inverse"] = [_modulo((-first[0], -first[1]), num_entities, options)]
    both = (first[0] + second[0], first[1] + second[1])
    rules["composition"] = [_modulo(both, num_entities, options)]
    rules["near"] = near
    return rules


def _modulo(shift: Shift, num_entities: int, options: PlantedOptions) -> Shift:
    clusters = options.num_clusters
    return shift[0] % clusters, shift[1] % (num_entities // clusters)


def _draw_shifts(
    num_entities: int,
    options: PlantedOptions,
    count: int,
    taken: set[Shift],
    generator: torch.Generator,
) -> list[Shift]:
    """Shifts that are not their own inverse, all apart, and apart from ``taken`` and all inverses.

    The composition of the first two is set apart in the same way.
    """
    size = num_entities // options.num_clusters

    def with_inverse(shift: Shift) -> set[Shift]:
        a, b = shift
        return {
            _modulo(shift, num_entities, options),
            _modulo((-a, -b), num_entities, options),
        }

    used = {(0, 0)}.union(*(with_inverse(shift) for shift in taken))
    drawn: list[Shift] = []
    for index in torch.randperm(num_entities, generator=generator).tolist():
        shift = divmod(index, size)
        new = with_inverse(shift)
        if len(drawn) == 1:
            both = with_inverse((drawn[0][0] + shift[0], drawn[0][1] + shift[1]))
            if both & (used | new):
                continue
            new |= both
        if len(with_inverse(shift)) == 2 and shift not in used:
            drawn.append(shift)
            used |= new
        if len(drawn) == count:
            return drawn
    raise ValueError(
        f"{num_entities} entities in {options.num_clusters} clusters have too few shifts for "
        f"{count} relations (got {len(drawn)}): ask for fewer, or for more entities"
    )


def _facts(num_entities: int, options: PlantedOptions, rules: Rules) -> Tensor:
    """All facts of the rules, as positions c * S + p: [M, 3]."""
    clusters = options.num_clusters
    size = num_entities // clusters
    head = torch.arange(num_entities)
    facts = []
    for relation, shifts in enumerate(rules.values()):
        for a, b in shifts:
            tail = (head // size + a) % clusters * size + (head % size + b) % size
            facts.append(torch.stack([head, torch.full_like(head, relation), tail], dim=1))
    return torch.cat(facts)


def _planted_split(
    num_entities: int,
    options: PlantedOptions,
    rules: Rules,
    generator: torch.Generator,
    *,
    at: Tensor | None = None,
) -> Split:
    """The split of a planted graph; ``at`` is the id of each position, by default drawn."""
    at = torch.randperm(num_entities, generator=generator) if at is None else at
    facts = _facts(num_entities, options, rules)
    is_noise = torch.rand(len(facts), generator=generator) < options.noise
    anything = torch.randint(num_entities, (len(facts),), generator=generator)
    facts[:, 2] = torch.where(is_noise, anything, facts[:, 2])
    facts[:, [0, 2]] = at[facts[:, [0, 2]]]
    facts = facts[torch.randperm(len(facts), generator=generator)]
    graph = KnowledgeGraph(
        Vocabulary((f"e{i}" for i in range(num_entities)), kind="entity"),
        Vocabulary(rules, kind="relation"),
        facts,
        "planted",
        entity_types=Vocabulary(
            (f"cluster_{c}" for c in range(options.num_clusters)), kind="entity type"
        ),
        entity_type=torch.argsort(at) // (num_entities // options.num_clusters),
    ).deduplicated()
    seed = int(torch.randint(1 << 31, (), generator=generator))
    return random_split(graph, options.valid_share, options.test_share, seed=seed)


def _rich_graph(
    num_entities: int, options: PairOptions, ways: list[Shift], known: Tensor
) -> KnowledgeGraph:
    """All facts of ``ways`` between the ``known`` positions, which are in the order of the ids."""
    rules: Rules = {f"way_{k}": [shift] for k, shift in enumerate(ways)}
    facts = _facts(num_entities, options.sparse, rules)
    new_id = torch.full((num_entities,), -1)
    new_id[known] = torch.arange(len(known))
    facts[:, [0, 2]] = new_id[facts[:, [0, 2]]]
    graph = KnowledgeGraph(
        Vocabulary((f"x{i}" for i in range(len(known))), kind="entity"),
        Vocabulary(rules, kind="relation"),
        facts[(facts >= 0).all(1)],
        "rich",
    )
    return graph
