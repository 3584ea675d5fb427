"""What is learned from and what is held out."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.graph.supplied_negatives import SuppliedNegatives

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Triples for evaluation only. No function that builds or links graphs takes this type.

    Attributes:
        triples: [T, 3] int64, ids of the split's training graph.
        role: ``"valid"`` or ``"test"``.
        negatives: Wrong answers that a data set supplies for each of them, to rank the true ones
            among; ``None``: they are ranked among all entities.

    Raises:
        ValueError: If there are not as many rows of negatives as triples.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [("Athens", "capital_of", "Greece"), ("Athens", "located_in", "Greece")]
        >>> graph = kgt.KnowledgeGraph.from_names(facts)
        >>> test = kgt.HeldOut(graph.triples[1:], "test")
        >>> len(test), test.triples.tolist()
        (1, [[0, 1, 1]])
    """

    triples: Tensor
    role: Literal["valid", "test"]
    negatives: SuppliedNegatives | None = None

    def __post_init__(self) -> None:
        if self.negatives is not None and len(self.negatives) != len(self.triples):
            raise ValueError(
                f"each of {len(self.triples):,} held-out facts needs a row of supplied negatives "
                f"(got {len(self.negatives):,} rows)"
            )

    def __len__(self) -> int:
        return len(self.triples)


@dataclass(frozen=True, eq=False)
class Split:
    """A training graph with held-out facts in the same vocabularies.

    Attributes:
        train: The graph to learn from; its vocabularies cover all three parts.
        valid: Facts for model selection.
        test: Facts for the report.
        symmetric: Relation ids whose facts hold both ways though stored one way (``borders``);
            the ranking filter knows them in both directions.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [("Athens", "capital_of", "Greece"), ("Athens", "located_in", "Greece")]
        >>> graph = kgt.KnowledgeGraph.from_names(facts, name="world")
        >>> train = graph.with_triples(graph.triples[:1])
        >>> test = kgt.HeldOut(graph.triples[1:], "test")
        >>> kgt.Split(train, kgt.HeldOut(graph.triples[:0], "valid"), test)
        Split(KnowledgeGraph('world': 2 entities, 2 relations, 1 triples), 0 valid, 1 test)
    """

    train: KnowledgeGraph
    valid: HeldOut
    test: HeldOut
    symmetric: tuple[int, ...] = ()

    def known(self, parts: Sequence[str] = ("train", "valid", "test")) -> KnownTriples:
        """The facts of ``parts``: all three filter test ranks, train and valid select models."""
        triples = {
            "train": self.train.triples,
            "valid": self.valid.triples,
            "test": self.test.triples,
        }
        return KnownTriples(
            [triples[part] for part in parts],
            num_entities=self.train.num_entities,
            num_relations=self.train.num_relations,
            symmetric=self.symmetric,
        )

    def __repr__(self) -> str:
        return f"Split({self.train!r}, {len(self.valid):,} valid, {len(self.test):,} test)"


@dataclass(frozen=True, eq=False)
class InductiveSplit:
    """Learn on some entities, be asked about others. Relations have the same ids in both.

    Attributes:
        seen: A split over the training entities: learn and select models on it.
        unseen: A split over entities that training never meets, with a vocabulary of its own:
            ``unseen.train`` are the facts given at inference, the held-out ones are asked.
    """

    seen: Split
    unseen: Split


@dataclass(frozen=True, eq=False)
class FewShotSplit:
    """A few facts of some relations to learn from, the others to be asked.

    Attributes:
        background: The facts of all other relations; the vocabularies have all relations.
        support: [k * Q, 3] int64, k facts of each chosen relation.
        query: The other facts of the chosen relations.
        relations: Ids of the chosen relations, Q of them.
    """

    background: KnowledgeGraph
    support: Tensor
    query: HeldOut
    relations: tuple[int, ...]

    def as_split(self) -> Split:
        """The same as a ``Split``: background and support to learn from, no valid facts."""
        train = self.background.with_triples(torch.cat([self.background.triples, self.support]))
        return Split(train, HeldOut(self.support[:0], "valid"), self.query)


def random_split(
    graph: KnowledgeGraph,
    valid_share: float = 0.1,
    test_share: float = 0.1,
    *,
    seed: int = 0,
    group_pairs: bool = True,
    always_train: Sequence[str] = (),
) -> Split:
    """Hold out random facts, in equal shares of every relation.

    With ``group_pairs`` all facts on one unordered pair of entities go together (as a member of
    their rarest relation): else ``capital_of`` would give ``located_in`` away, and a symmetric
    relation itself. Then coverage is repaired: where an entity or relation of held-out facts does
    not occur in training, one fact with it, and those that go with it, moves to training (the
    number is logged). Repeated triples always go together. For relations stored one way that hold
    both ways, add ``replace(split, symmetric=...)``.

    Args:
        graph: All facts.
        valid_share: Share of valid facts, at least 0.
        test_share: Share of test facts, at least 0; both together below 1.
        seed: The draw.
        group_pairs: Whether facts on one pair go together.
        always_train: Names of relations of which all facts (and what goes with them) stay in
            training.

    Raises:
        ValueError: If shares are out of range, the graph is empty or a relation is unknown.

    Example:
        >>> graph = KnowledgeGraph.from_names([(f"{i}", "next", f"{i + 1}") for i in range(99)])
        >>> split = random_split(graph, 0.1, 0.2)
        >>> len(split.train.triples) + len(split.valid) + len(split.test)
        99
    """
    _check_shares(graph, valid_share, test_share)
    generator = torch.Generator().manual_seed(seed)
    triples, relation = graph.triples, graph.triples[:, 1]
    groups = triples[:, [0, 2]].sort(dim=1).values if group_pairs else triples
    group = torch.unique(groups, dim=0, return_inverse=True)[1]  # [M]
    num_groups = int(group.max()) + 1
    frequency = torch.bincount(relation, minlength=graph.num_relations)
    rarity = torch.argsort(torch.argsort(frequency, stable=True))  # place of each relation
    stratum = torch.full((num_groups,), graph.num_relations).scatter_reduce(
        0, group, rarity[relation], reduce="amin"
    )
    part = _drawn(stratum, valid_share, test_share, generator)  # [G] 0 train, 1 valid, 2 test
    stays = torch.isin(relation, graph.relations.ids(list(always_train)))
    part[group[stays]] = 0
    moved = _uncovered(graph, group, part, generator)
    part[moved] = 0
    logger.info(
        "%d of %d facts moved to training, so that every held-out entity and relation occurs in it",
        int(torch.isin(group, moved).sum()), len(triples),
    )  # fmt: skip
    train, valid, test = (triples[part[group] == number] for number in range(3))
    return Split(graph.with_triples(train), HeldOut(valid, "valid"), HeldOut(test, "test"))


def inductive_split(
    graph: KnowledgeGraph,
    unseen_share: float = 0.2,
    valid_share: float = 0.1,
    test_share: float = 0.1,
    *,
    seed: int = 0,
) -> InductiveSplit:
    """Set a region of the graph apart, whose entities training never meets.

    The region grows from random roots along facts, so that it keeps many facts of its own. Facts
    between the two sides, and facts of relations that the training facts lack, are dropped; their
    number is logged. Both sides are then split by ``random_split``.

    Args:
        graph: All facts.
        unseen_share: Share of the entities to set apart, in (0, 1).
        valid_share: Share of valid facts on either side, at least 0.
        test_share: Share of test facts on either side, at least 0; both together below 1.
        seed: The draw.

    Raises:
        ValueError: If shares are out of range, or a side is left without facts.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> graph = kgt.KnowledgeGraph.from_names([(f"{i}", "next", f"{i + 1}") for i in range(99)])
        >>> split = kgt.inductive_split(graph, unseen_share=0.3)
        >>> split.seen.train.num_entities, split.unseen.train.num_entities
        (70, 30)
        >>> set(split.seen.train.entities) & set(split.unseen.train.entities)
        set()
    """
    _check_shares(graph, valid_share, test_share)
    if not 0 < unseen_share < 1:
        raise ValueError(f"the share of unseen entities must be in (0, 1) (got {unseen_share})")
    generator = torch.Generator().manual_seed(seed)
    is_unseen = _region(graph, round(unseen_share * graph.num_entities), generator)
    seen, unseen = _induced(graph, ~is_unseen, "seen"), _induced(graph, is_unseen, "unseen")
    if not seen.num_triples or not unseen.num_triples:
        raise ValueError(
            f"both sides need facts among their own entities (got {seen.num_triples} seen and "
            f"{unseen.num_triples} unseen of {graph.num_triples}): try another share or seed"
        )
    seen_split = random_split(seen, valid_share, test_share, seed=seed)
    met = torch.isin(unseen.triples[:, 1], seen_split.train.triples[:, 1])
    unseen = unseen.with_triples(unseen.triples[met])
    if not unseen.num_triples:
        raise ValueError(
            "the unseen side has no relation that occurs in training: try another seed"
        )
    logger.info(
        "%d of %d facts lie between seen and unseen entities or have an unseen relation: dropped",
        graph.num_triples - seen.num_triples - unseen.num_triples, graph.num_triples,
    )  # fmt: skip
    return InductiveSplit(seen_split, random_split(unseen, valid_share, test_share, seed=seed))


def few_shot_split(
    graph: KnowledgeGraph, relations: Sequence[str], support: int, *, seed: int = 0
) -> FewShotSplit:
    """Keep ``support`` facts of each chosen relation, and ask for the others.

    A fact is neither support nor query, and counted in the log, if it repeats or mirrors a support
    fact, or one of its entities occurs in no background or support fact. Background
    facts on the pair of a query stay: ``leakage_report(split.as_split())`` counts them.

    Args:
        graph: All facts.
        relations: Names of the relations to learn from few facts, at least one.
        support: k, facts per chosen relation, at least 0 (zero-shot).
        seed: The draw.

    Raises:
        ValueError: If a relation is unknown, or too rare to leave a query.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [("Athens", "in", "Greece"), ("Rome", "in", "Italy"), ("Bonn", "in", "Germany")]
        >>> facts += [(city, "capital_of", country) for city, _, country in facts]
        >>> graph = kgt.KnowledgeGraph.from_names(facts)
        >>> split = kgt.few_shot_split(graph, ["capital_of"], support=1)
        >>> split.background.num_triples, len(split.support), len(split.query)
        (3, 1, 2)
    """
    chosen = graph.relations.ids(list(dict.fromkeys(relations)))
    if not len(chosen) or support < 0:
        raise ValueError(
            f"few-shot needs relations and support of at least 0 (got {len(chosen)} and {support})"
        )
    generator = torch.Generator().manual_seed(seed)
    facts = graph.deduplicated().triples
    is_chosen = torch.isin(facts[:, 1], chosen)
    background, facts = facts[~is_chosen], facts[is_chosen]
    facts = facts[torch.randperm(len(facts), generator=generator)]
    facts = facts[torch.argsort(facts[:, 1], stable=True)]  # by relation, random within
    relation = facts[:, 1].contiguous()
    count = torch.bincount(relation, minlength=graph.num_relations)[chosen]
    if bool((count <= support).any()):
        rare = int((count <= support).nonzero()[0])
        raise ValueError(
            f"each few-shot relation needs more than {support} facts "
            f"(got {int(count[rare])} of {graph.relations.name(int(chosen[rare]))!r})"
        )
    is_support = torch.arange(len(facts)) - torch.searchsorted(relation, relation) < support
    given = facts[is_support]
    low, high = facts[:, [0, 2]].aminmax(dim=1)
    pair = (low * graph.num_relations + relation) * graph.num_entities + high
    told = torch.isin(pair, pair[is_support])
    met = torch.isin(facts[:, [0, 2]], torch.cat([background, given])[:, [0, 2]]).all(1)
    query = facts[~told & met]
    logger.info(
        "%d facts mirror a support fact or have an entity that occurs in no given fact: not asked",
        len(facts) - len(given) - len(query),
    )
    return FewShotSplit(
        graph.with_triples(background), given, HeldOut(query, "test"), tuple(chosen.tolist())
    )


def _check_shares(graph: KnowledgeGraph, valid_share: float, test_share: float) -> None:
    if not (valid_share >= 0 and test_share >= 0 and valid_share + test_share < 1):
        raise ValueError(
            "valid_share and test_share must be at least 0 and together below 1 "
            f"(got {valid_share} and {test_share})"
        )
    if not graph.num_triples:
        raise ValueError(f"a graph without triples cannot be split (got {graph!r})")


def _drawn(
    stratum: Tensor, valid_share: float, test_share: float, generator: torch.Generator
) -> Tensor:
    """A part (0 train, 1 valid, 2 test) for each group, in equal shares of every stratum: [G]."""
    drawn = torch.randperm(len(stratum), generator=generator)
    order = drawn[torch.argsort(stratum[drawn], stable=True)]  # [G] strata together
    in_order = stratum[order]
    start = torch.searchsorted(in_order, in_order)
    size = torch.searchsorted(in_order, in_order, right=True) - start
    place = (torch.arange(len(order)) - start + 0.5) / size  # in (0, 1)
    part = torch.zeros_like(stratum)
    part[order] = (place < valid_share + test_share).long() + (place < test_share).long()
    return part


def _uncovered(
    graph: KnowledgeGraph, group: Tensor, part: Tensor, generator: torch.Generator
) -> Tensor:
    """The groups to move to training: a random one for each entity or relation it lacks."""
    head, relation, tail = graph.triples.unbind(1)
    things = torch.cat([head, tail, relation + graph.num_entities])  # [3M]
    groups = group.repeat(3)
    in_train = torch.zeros(graph.num_entities + graph.num_relations, dtype=torch.bool)
    in_train[things[part[groups] == 0]] = True
    lacking = ~in_train[things]
    shuffled = torch.randperm(len(part), generator=generator)  # a rank for each group
    best = torch.full((len(in_train),), len(part)).scatter_reduce(
        0, things[lacking], shuffled[groups[lacking]], reduce="amin"
    )
    return torch.argsort(shuffled)[torch.unique(best[best < len(part)])]


def _region(graph: KnowledgeGraph, size: int, generator: torch.Generator) -> Tensor:
    """A region of ``size`` entities grown from random roots along facts: bool [N]."""
    order = torch.randperm(graph.num_entities, generator=generator)
    rank = torch.argsort(order)
    head, tail = graph.triples[:, 0], graph.triples[:, 2]
    inside = torch.zeros(graph.num_entities, dtype=torch.bool)
    wanted = 1  # roots to draw; more each time a component is used up
    while (room := size - int(inside.sum())) > 0:
        reached = inside.clone()
        reached[tail[inside[head]]] = True
        reached[head[inside[tail]]] = True
        new = (reached & ~inside).nonzero().view(-1)
        if not len(new):
            new = order[~inside[order]][: min(wanted, room)]
            wanted *= 2
        inside[new[torch.argsort(rank[new])][:room]] = True
    return inside


def _induced(graph: KnowledgeGraph, keep: Tensor, suffix: str) -> KnowledgeGraph:
    """The graph over the entities in ``keep`` (bool [N]), renumbered, all relations kept."""
    ids = keep.nonzero().view(-1)
    new_id = keep.cumsum(0) - 1
    head, relation, tail = graph.triples[keep[graph.triples[:, [0, 2]]].all(1)].unbind(1)
    labels = None if graph.labels is None else tuple(graph.labels[i] for i in ids.tolist())
    return replace(
        graph,
        entities=graph.entities.subset(ids),
        triples=torch.stack([new_id[head], relation, new_id[tail]], dim=1),
        name=f"{graph.name}-{suffix}" if graph.name else suffix,
        labels=labels,
        entity_type=None if graph.entity_type is None else graph.entity_type[ids],
    )
