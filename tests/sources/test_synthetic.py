from collections import Counter, defaultdict

import pytest
import torch
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.sources.synthetic import (
    PairOptions,
    PlantedOptions,
    PlantedPair,
    planted,
    planted_pair,
)

CHANCE = sum(1 / rank for rank in range(1, 41)) / 40  # MRR of guessing among 40 entities: 0.107


def all_facts(split: Split) -> set[tuple[str, str, str]]:
    triples = torch.cat([split.train.triples, split.valid.triples, split.test.triples])
    return set(split.train.with_triples(triples).named_triples())


def by_relation(facts: set[tuple[str, str, str]]) -> dict[str, set[tuple[str, str]]]:
    pairs = defaultdict(set)
    for head, relation, tail in facts:
        pairs[relation].add((head, tail))
    return pairs


def complex_mrr(split: Split, extra: Tensor | None = None, num_relations: int = 0) -> float:
    """Filtered MRR, both sides, of a plain ComplEx with inverse relations after 100 full steps."""
    torch.manual_seed(0)
    size = split.train.num_entities
    extra = torch.empty(0, 3, dtype=torch.long) if extra is None else extra
    total = split.train.num_relations + num_relations
    entity = torch.nn.Parameter(torch.randn(size, 32, 2) * 0.1)
    relation = torch.nn.Parameter(torch.randn(2 * total, 32, 2) * 0.1)
    optimizer = torch.optim.Adagrad([entity, relation], lr=0.1)

    def both_ways(triples: Tensor) -> Tensor:
        head, kind, tail = triples.unbind(1)
        return torch.cat([triples, torch.stack([tail, kind + total, head], dim=1)])

    def scores(triples: Tensor) -> Tensor:
        head, kind = entity[triples[:, 0]], relation[triples[:, 1]]
        query = torch.view_as_complex(head) * torch.view_as_complex(kind)
        return torch.view_as_real(query).flatten(1) @ entity.flatten(1).t()

    train = both_ways(torch.cat([split.train.triples, extra]))
    for _ in range(100):
        optimizer.zero_grad()
        cubes = [entity[train[:, 0]], relation[train[:, 1]], entity[train[:, 2]]]
        penalty = sum(part.pow(2).sum(-1).pow(1.5).sum() for part in cubes) / len(train)
        loss = torch.nn.functional.cross_entropy(scores(train), train[:, 2]) + 0.05 * penalty
        loss.backward()
        optimizer.step()
    known = both_ways(torch.cat([split.train.triples, split.valid.triples, split.test.triples]))
    test = both_ways(split.test.triples)
    reciprocal = 0.0
    with torch.no_grad():
        for triple, row in zip(test.tolist(), scores(test), strict=True):
            others = known[(known[:, 0] == triple[0]) & (known[:, 1] == triple[1]), 2]
            better = row > row[triple[2]]
            better[others] = False
            reciprocal += 1 / (1 + int(better.sum()))
    return reciprocal / len(test)


def transferred(pair: PlantedPair, source: KnowledgeGraph) -> tuple[Tensor, int]:
    """The source's facts in ids of the sparse graph, relations after its own."""
    to_sparse = torch.full((source.num_entities,), -1)
    for left, right in pair.entity_pairs:
        to_sparse[source.entities.id(right)] = pair.sparse.train.entities.id(left)
    triples = source.triples.clone()
    triples[:, [0, 2]] = to_sparse[triples[:, [0, 2]]]
    triples[:, 1] += pair.sparse.train.num_relations
    return triples, source.num_relations


def test_the_same_seed_gives_the_same_split_and_another_another() -> None:
    prints = []
    for seed in (0, 0, 1):
        split = planted(40, seed=seed)
        prints.append((split.train.fingerprint(), split.test.triples.tolist()))
    assert prints[0] == prints[1]
    assert prints[0] != prints[2]


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    planted(40)
    planted_pair(40)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("seed", range(4))
def test_the_relations_are_what_they_are_said_to_be(seed) -> None:
    pairs = by_relation(all_facts(planted(40, seed=seed)))
    assert set(pairs) == {"map_0", "map_1", "map_2", "map_3", "inverse", "composition", "near"}
    for name in set(pairs) - {"near"}:
        assert len(pairs[name]) == len(dict(pairs[name])) == 40  # a map of all entities ...
        assert len({tail for _, tail in pairs[name]}) == 40  # ... one to one
    assert pairs["inverse"] == {(tail, head) for head, tail in pairs["map_0"]}
    second = dict(pairs["map_1"])
    assert pairs["composition"] == {(head, second[tail]) for head, tail in pairs["map_0"]}
    assert pairs["near"] == {(tail, head) for head, tail in pairs["near"]}
    assert set(Counter(head for head, _ in pairs["near"]).values()) == {2}


@pytest.mark.parametrize("seed", range(4))
def test_only_inverses_link_the_same_entities(seed) -> None:
    pairs = by_relation(all_facts(planted(40, seed=seed)))
    del pairs["inverse"]
    linked = Counter(
        pair for found in pairs.values() for pair in {tuple(sorted(ends)) for ends in found}
    )
    assert set(linked.values()) == {1}


def test_no_held_out_fact_can_be_copied() -> None:
    split = planted(40)
    given = {frozenset(pair) for pair in split.train.triples[:, [0, 2]].tolist()}
    held_out = torch.cat([split.valid.triples, split.test.triples])
    assert not given & {frozenset(pair) for pair in held_out[:, [0, 2]].tolist()}


def test_near_stays_in_the_cluster_and_maps_lead_from_cluster_to_cluster() -> None:
    split = planted(40)
    train = split.train
    assert train.entity_type is not None
    assert torch.bincount(train.entity_type).tolist() == [10, 10, 10, 10]
    kinds = defaultdict(set)
    for head, relation, tail in train.triples.tolist():
        kinds[relation, int(train.entity_type[head])].add(int(train.entity_type[tail]))
    assert all(len(found) == 1 for found in kinds.values())
    near = train.relations.id("near")
    assert all(found == {kind} for (relation, kind), found in kinds.items() if relation == near)


def test_ids_say_nothing_about_positions() -> None:
    split = planted(80)
    assert split.train.entity_type is not None
    steps = (split.train.entity_type[1:] == split.train.entity_type[:-1]).float().mean()
    assert steps < 0.5  # 0.96 if ids went by cluster


def test_noise_breaks_its_share_of_the_facts() -> None:
    clean = all_facts(planted(80))
    noisy = all_facts(planted(80, options=PlantedOptions(noise=0.3)))
    assert 0.6 < len(clean & noisy) / len(clean) < 0.8


def test_complex_learns_the_rules_from_train() -> None:
    assert complex_mrr(planted(40)) > 0.9 > 5 * CHANCE


def test_a_pair_is_drawn_by_its_seed() -> None:
    one, again, other = planted_pair(40, seed=0), planted_pair(40, seed=0), planted_pair(40, seed=1)
    assert one.sparse.train.fingerprint() == again.sparse.train.fingerprint()
    assert one.rich.fingerprint() == again.rich.fingerprint() != other.rich.fingerprint()
    assert one.unrelated.fingerprint() == again.unrelated.fingerprint()
    assert one.entity_pairs == again.entity_pairs != other.entity_pairs


def test_the_graphs_of_a_pair_share_no_names_but_most_of_the_world() -> None:
    pair = planted_pair(40)
    train = pair.sparse.train
    assert not set(train.entities) & set(pair.rich.entities)
    assert not set(train.relations) & set(pair.rich.relations)
    assert len(pair.entity_pairs) == 40
    assert {left for left, _ in pair.entity_pairs} == set(train.entities)
    assert {right for _, right in pair.entity_pairs} == set(pair.rich.entities)
    assert pair.rich.num_triples > 3 * train.num_triples
    assert len(pair.sparse.test) > 2 * train.num_triples


def test_a_relation_of_the_rich_graph_is_a_map_between_clusters_of_the_sparse_one() -> None:
    pair = planted_pair(40)
    kind = pair.sparse.train.entity_type
    assert kind is not None

    def num_targets(source: KnowledgeGraph) -> int:
        triples, _ = transferred(pair, source)
        rows = torch.stack([kind[triples[:, 0]], triples[:, 1], kind[triples[:, 2]]], dim=1)
        return len(rows.unique(dim=0))

    assert num_targets(pair.rich) == 4 * pair.rich.num_relations
    assert num_targets(pair.unrelated) > 8 * pair.rich.num_relations


def test_no_fact_of_the_sparse_graph_can_be_copied_from_the_rich_one() -> None:
    for seed in range(4):
        pair = planted_pair(40, seed=seed)
        triples, _ = transferred(pair, pair.rich)
        given = {frozenset(ends) for ends in triples[:, [0, 2]].tolist()}
        held_out = torch.cat([pair.sparse.valid.triples, pair.sparse.test.triples])
        assert not given & {frozenset(ends) for ends in held_out[:, [0, 2]].tolist()}


def test_the_control_has_the_same_names_and_shape() -> None:
    pair = planted_pair(40, options=PairOptions(overlap=0.8))
    assert pair.unrelated.entities == pair.rich.entities
    assert sorted(pair.unrelated.degrees().tolist()) == sorted(pair.rich.degrees().tolist())
    assert not torch.equal(pair.unrelated.triples, pair.rich.triples)


def test_a_partial_overlap_leaves_entities_out() -> None:
    pair = planted_pair(40, options=PairOptions(overlap=0.5))
    assert pair.rich.num_entities == len(pair.entity_pairs) == 20
    assert 0 < pair.rich.num_triples < 6 * 20


def test_transfer_must_help_and_cannot_from_the_control() -> None:
    pair = planted_pair(40)
    alone = complex_mrr(pair.sparse)
    assert complex_mrr(pair.sparse, *transferred(pair, pair.rich)) > alone + 0.15
    assert complex_mrr(pair.sparse, *transferred(pair, pair.unrelated)) < alone


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: planted(42), "equally many entities"),
        (lambda: planted(16), "at least 5 each"),
        (lambda: planted(20, options=PlantedOptions(num_maps=30)), "too few shifts"),
        (lambda: planted_pair(20, options=PairOptions(rich_maps=30)), "too few shifts"),
        (lambda: PlantedOptions(num_clusters=0), "at least 1 cluster and 2 maps"),
        (lambda: PlantedOptions(num_maps=1), "at least 1 cluster and 2 maps"),
        (lambda: PlantedOptions(noise=1.0), r"noise must be in \[0, 1\)"),
        (lambda: PairOptions(overlap=0.0), r"overlap in \(0, 1\]"),
        (lambda: PairOptions(rich_maps=0), "at least 1 map"),
        (lambda: planted(40, options=PlantedOptions(valid_share=0.6, test_share=0.6)), "below 1"),
    ],
)
def test_what_cannot_be_planted_is_refused(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()
