import itertools
import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import HeldOut, random_split
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.linking.alignment import Alignment, Pairs
from pyg_kgtransfer.linking.linked import link, linked_subgraph

N, R = 5, 2
names = st.sampled_from(["a", "b", "c"])
triple_lists = st.lists(
    st.tuples(st.integers(0, N - 1), st.integers(0, R - 1), st.integers(0, N - 1)), max_size=12
)
pair_sets = st.lists(
    st.tuples(st.integers(0, N - 1), st.integers(0, N - 1)), unique=True, max_size=4
)
relation_sets = st.lists(
    st.tuples(st.integers(0, R - 1), st.integers(0, R - 1)), unique=True, max_size=2
)


def graph_of(name: str, triples, *, shared_names: bool = False) -> KnowledgeGraph:
    prefix = "" if shared_names else name
    return KnowledgeGraph(
        Vocabulary((f"{prefix}e{i}" for i in range(N)), kind="entity"),
        Vocabulary((f"{prefix}r{i}" for i in range(R)), kind="relation"),
        torch.tensor(triples, dtype=torch.long).view(-1, 3),
        name,
    )


def pairs_of(pairs) -> Pairs:
    return Pairs.of(torch.tensor(pairs, dtype=torch.long).view(-1, 2))


def alignment_of(left, right, entities, relations=()) -> Alignment:
    return Alignment(left, right, pairs_of(entities), pairs_of(list(relations)))


@st.composite
def worlds(draw):
    graphs = [graph_of(name, draw(triple_lists)) for name in "abc"]
    alignments = [
        alignment_of(left, right, draw(pair_sets), draw(relation_sets))
        for left, right in (("a", "b"), ("c", "b"), ("c", "a"))
    ]
    return graphs, alignments


def sets_of(alignments, kind: str, size: int):
    """Which (graph, id) are one, by joining sets; the first graph's own are never joined."""
    sets = [{(name, i)} for name in "abc" for i in range(size)]
    for alignment in alignments:
        for left, right in getattr(alignment, kind).index.tolist():
            a = next(s for s in sets if (alignment.left, left) in s)
            b = next(s for s in sets if (alignment.right, right) in s)
            if a is not b and sum(name == "a" for name, _ in a | b) < 2:
                sets = [s for s in sets if s is not a and s is not b] + [a | b]
    sets.sort(key=lambda members: min(members))
    return {member: number for number, members in enumerate(sets) for member in members}


@given(worlds())
@settings(max_examples=30, deadline=None)
def test_sharing_equals_joining_sets_by_hand(world) -> None:
    graphs, alignments = world
    linked = link(graphs, alignments)
    entity = sets_of(alignments, "entities", N)
    relation = sets_of(alignments, "relations", R)
    for graph, entities, relations in zip(
        graphs, linked.entity_maps, linked.relation_maps, strict=True
    ):
        assert entities.tolist() == [entity[graph.name, i] for i in range(N)]
        assert relations.tolist() == [relation[graph.name, i] for i in range(R)]
    facts: dict[tuple[int, int, int], int] = {}
    for number, graph in enumerate(graphs):
        for h, r, t in graph.triples.tolist():
            name = graph.name
            facts.setdefault((entity[name, h], relation[name, r], entity[name, t]), number)
    assert linked.graph.triples.tolist() == [list(fact) for fact in facts]
    assert linked.source.tolist() == list(facts.values())
    assert len(linked.pairs) == 0
    assert linked.graph.num_entities == len(set(entity.values()))


@given(worlds(), st.sampled_from(["sharing", "mapping", "swapping"]))
@settings(max_examples=30, deadline=None)
def test_the_first_graph_keeps_its_ids_and_names_in_every_mode(world, mode) -> None:
    graphs, alignments = world
    linked = link(graphs, alignments, mode=mode)
    assert linked.entity_maps[0].tolist() == list(range(N))
    assert linked.relation_maps[0].tolist() == list(range(R))
    assert linked.graph.entities.names[:N] == graphs[0].entities.names
    assert linked.graph.relations.names[:R] == graphs[0].relations.names
    distinct = list(dict.fromkeys(map(tuple, graphs[0].triples.tolist())))
    assert list(map(tuple, linked.graph.triples[: len(distinct)].tolist())) == distinct
    again = link(graphs, alignments, mode=mode)
    assert again.graph.fingerprint() == linked.graph.fingerprint()


@given(worlds())
@settings(max_examples=25, deadline=None)
def test_mapping_keeps_entities_apart_and_names_the_pairs(world) -> None:
    graphs, alignments = world
    linked = link(graphs, alignments, mode="mapping")
    assert [ids.tolist() for ids in linked.entity_maps] == [
        list(range(k * N, (k + 1) * N)) for k in range(3)
    ]
    start = {name: k * N for k, name in enumerate("abc")}
    expected = {
        frozenset((start[al.left] + left, start[al.right] + right))
        for al in alignments
        for left, right in al.entities.index.tolist()
    }
    assert {frozenset(pair) for pair in linked.pairs.index.tolist()} == expected
    assert len(linked.pairs) == len(expected)
    relation = sets_of(alignments, "relations", R)
    assert linked.relation_maps[1].tolist() == [relation["b", i] for i in range(R)]


@given(worlds())
@settings(max_examples=25, deadline=None)
def test_swapping_equals_exchanging_by_hand(world) -> None:
    graphs, alignments = world
    linked = link(graphs, alignments, mode="swapping")
    entity, relation = set(), set()
    place = {name: k for k, name in enumerate("abc")}
    for al in alignments:
        for kind, size, into in (("entities", N, entity), ("relations", R, relation)):
            for left, right in getattr(al, kind).index.tolist():
                a, b = place[al.left] * size + left, place[al.right] * size + right
                into |= {(a, b), (b, a)}
    sources: dict[tuple[int, int, int], set[int]] = {}
    originals = set()
    for k, graph in enumerate(graphs):
        for h, r, t in graph.triples.tolist():
            fact = (k * N + h, k * R + r, k * N + t)
            originals.add(fact)
            copies = [(b, fact[1], fact[2]) for a, b in entity if a == fact[0]]
            copies += [(fact[0], b, fact[2]) for a, b in relation if a == fact[1]]
            copies += [(fact[0], fact[1], b) for a, b in entity if a == fact[2]]
            for copy in (fact, *copies):
                sources.setdefault(copy, set()).add(k)
    found = [tuple(fact) for fact in linked.graph.triples.tolist()]
    assert set(found) == set(sources)
    assert len(found) == len(set(found))
    assert set(found[: len(originals)]) == originals
    for fact, source in zip(found, linked.source.tolist(), strict=True):
        assert source in sources[fact]


def test_two_names_of_one_entity_merge_but_not_in_the_first_graph(caplog) -> None:
    first, second = graph_of("a", [(0, 0, 1)]), graph_of("b", [(0, 0, 1)])
    linked = link([first, second], [alignment_of("a", "b", [(0, 0), (0, 1)])])
    assert linked.entity_maps[1].tolist() == [0, 0, 5, 6, 7]
    assert linked.back_map("b")[0].tolist() == [0, -1, -1, -1, -1, 2, 3, 4]
    sure = Pairs.of(torch.tensor([[0, 0], [1, 0]]), torch.tensor([0.4, 0.9]))
    with caplog.at_level(logging.WARNING):
        kept = link([first, second], [Alignment("a", "b", sure, Pairs.empty())])
    assert kept.entity_maps[1][0] == 1  # the surer pair
    assert "1 pairs would merge entities of 'a'" in caplog.text


def test_names_labels_and_types_of_the_joint_graph() -> None:
    left = KnowledgeGraph.from_names(
        [("DE", "in", "EU")],
        name="geo",
        types={"DE": "country", "EU": "continent"},
        labels={"DE": "Germany"},
    )
    right = KnowledgeGraph.from_names(
        [("DEU", "in", "EU")],
        name="cldr",
        types={"DEU": "territory", "EU": "continent"},
        labels={"DEU": "Deutschland", "EU": "union"},
    )
    joint = link([left, right], [Alignment.from_names(left, right, [("DE", "DEU")])]).graph
    assert joint.name == "geo+cldr"
    assert joint.entities.names == ("DE", "EU", "cldr:EU")
    assert joint.relations.names == ("in", "cldr:in")
    assert joint.labels == ("Germany", "EU", "union")
    assert list(joint.entity_types) == ["country", "continent", "territory"]
    assert joint.entity_type.tolist() == [0, 1, 1]
    untyped = KnowledgeGraph.from_names([("x", "in", "y")], name="plain")
    joint = link([left, untyped], []).graph
    assert joint.entity_types is None
    assert joint.labels == ("Germany", "EU", "x", "y")
    assert link([untyped], []).graph.name != "plain"


def test_only_graphs_can_be_linked() -> None:
    graph = graph_of("a", [(i, 0, (i + 1) % N) for i in range(N)])
    split = random_split(graph, 0.2, 0.2)
    assert link([split.train], []).graph.num_triples <= N
    for wrong in (split, split.test, graph.triples):
        with pytest.raises(TypeError, match=r"split\.train \(got"):
            link([graph, wrong], [])
        with pytest.raises(TypeError, match=r"split\.train \(got"):
            linked_subgraph(wrong, graph, alignment_of("a", "b", []))
    with pytest.raises(TypeError, match="got one graph"):
        link(graph, [])
    assert isinstance(split.test, HeldOut)


def test_held_out_pairs_are_not_used_and_not_given_away() -> None:
    graphs = [graph_of(name, []) for name in "abc"]
    held = pairs_of([(i, i) for i in range(N)])
    held = Pairs(held.index, held.confidence, torch.tensor([True] + [False] * 4))
    alignment = Alignment("a", "b", held, Pairs.empty())
    for mode in ("mapping", "swapping"):
        assert [0, N] not in link(graphs[:2], [alignment], mode=mode).pairs.index.tolist()
    assert link(graphs[:2], [alignment]).entity_maps[1].tolist() == [N, 1, 2, 3, 4]
    around = [alignment_of("a", "c", [(0, 0)]), alignment_of("c", "b", [(0, 0)])]
    with pytest.raises(ValueError, match=r"1 pairs of entities.*'ae0' of 'a' = 'be0' of 'b'"):
        link(graphs, [alignment, *around])
    assert link(graphs, [alignment, *around], mode="mapping").graph.num_entities == 3 * N
    for mode in ("sharing", "mapping", "swapping"):
        with pytest.raises(ValueError, match="held-out pairs must not follow"):
            link(graphs, [alignment, alignment_of("b", "a", [(0, 0)])], mode=mode)
    assert link(graphs, [alignment.usable(), *around]).entity_maps[1][0] == 0


def test_errors_name_the_graph() -> None:
    graphs = [graph_of("geonames", []), graph_of("cldr", [])]
    with pytest.raises(ValueError, match=r"got 'geoname'; nearest: 'geonames'"):
        link(graphs, [alignment_of("geoname", "cldr", [])])
    with pytest.raises(ValueError, match=r"\[0, 5\) for graph 'cldr' \(got 7\)"):
        link(graphs, [alignment_of("geonames", "cldr", [(0, 7)])])
    with pytest.raises(ValueError, match="between two graphs"):
        link(graphs, [alignment_of("cldr", "cldr", [])])
    with pytest.raises(ValueError, match=r"mode must be one of .*'merging'"):
        link(graphs, [], mode="merging")
    for wrong in ([], [graph_of("", [])], [graphs[0], graphs[0]]):
        with pytest.raises(ValueError, match="distinct, non-empty names"):
            link(wrong, [])


def test_without_pairs_the_union_is_disjoint() -> None:
    graphs = [graph_of("a", [(0, 0, 1)]), graph_of("b", [(0, 0, 1)])]
    linked = link(graphs, [])
    assert linked.graph.num_entities == 2 * N
    assert linked.graph.triples.tolist() == [[0, 0, 1], [N, R, N + 1]]


@given(triple_lists, triple_lists, pair_sets, relation_sets, st.integers(0, 2), st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_subgraph_holds_the_source_triples_around_the_target(
    target_triples, source_triples, entities, relations, hops, shared_names
) -> None:
    target = graph_of("t", target_triples)
    source = graph_of("s", source_triples, shared_names=shared_names)
    alignment = alignment_of("t", "s", entities, relations)
    part = linked_subgraph(target, source, alignment, hops=hops, fan_out=None)
    whole = link([target, source], [alignment])
    reached = {e for e in whole.entity_maps[1].tolist() if e < N}
    facts = [
        tuple(fact)
        for fact, of in zip(whole.graph.triples.tolist(), whole.source.tolist(), strict=True)
        if of == 1
    ]
    kept = {fact for fact in facts if fact[0] in reached and fact[2] in reached}
    for _ in range(hops):
        kept |= {fact for fact in facts if fact[0] in reached or fact[2] in reached}
        reached |= {end for h, _, t in kept for end in (h, t)}
    expected = whole.graph.with_triples(torch.tensor(sorted(kept), dtype=torch.long).view(-1, 3))
    got = part.graph.with_triples(part.graph.triples[part.source == 1])
    assert sorted(got.named_triples()) == sorted(expected.named_triples())
    own = part.graph.triples[part.source == 0].tolist()
    assert own == target.deduplicated().triples.tolist()
    assert part.graph.entities.names[:N] == target.entities.names
    assert part.entity_maps[0].tolist() == list(range(N))
    for to in (*part.entity_maps, *part.relation_maps):
        assert int(to.max()) < max(part.graph.num_entities, part.graph.num_relations)


@given(triple_lists, triple_lists, pair_sets, st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_a_teacher_of_the_source_can_be_asked_in_the_students_ids(
    target_triples, source_triples, pairs, fan_out
) -> None:
    target, source = graph_of("t", target_triples), graph_of("s", source_triples)
    part = linked_subgraph(target, source, alignment_of("t", "s", pairs), hops=2, fan_out=fan_out)
    entity, relation = part.back_map("s")
    known = set(map(tuple, source_triples))
    one_to_one = len({b for _, b in pairs}) == len({a for a, _ in pairs}) == len(pairs)
    for h, r, t in part.graph.triples[part.source == 1].tolist():
        asked = (int(entity[h]), int(relation[r]), int(entity[t]))
        assert min(asked) >= 0
        if one_to_one:
            assert asked in known
    if one_to_one:
        for left, right in pairs:
            assert entity[left] == right


def test_a_subgraph_of_a_joint_graph_that_holds_the_target() -> None:
    target = graph_of("t", [(0, 0, 1), (1, 1, 2)])
    source = graph_of("s", [(0, 0, 3), (3, 0, 4), (1, 1, 1)])
    joint = link([source, target], [alignment_of("s", "t", [(0, 1)])])
    part = linked_subgraph(target, joint.graph, joint.alignment_of("t"), hops=1)
    assert part.names == ("t", "s+t")
    assert part.graph.named_triples() == [
        ("te0", "tr0", "te1"),
        ("te1", "tr1", "te2"),
        ("te1", "sr0", "se3"),
    ]
    assert part.source.tolist() == [0, 0, 1]
    entity, relation = part.back_map("s+t")
    assert entity.tolist() == [*joint.entity_maps[1].tolist(), 3]
    assert relation.tolist() == [*joint.relation_maps[1].tolist(), 0]
    assert part.entity_maps[1][2] == -1  # se2 is far away
    further = linked_subgraph(target, joint.graph, joint.alignment_of("t"), hops=2)
    assert further.graph.named_triples()[-1] == ("se3", "sr0", "se4")
    reversed_too = linked_subgraph(target, joint.graph, joint.alignment_of("t").reversed())
    assert reversed_too.graph.fingerprint() == part.graph.fingerprint()


def test_the_cap_of_a_subgraph_is_seeded() -> None:
    source = KnowledgeGraph.from_names([("hub", "r", f"x{i}") for i in range(60)], name="s")
    target = KnowledgeGraph.from_names([("h", "r", "y")], name="t")
    alignment = Alignment.from_names(target, source, [("h", "hub")])
    draws = [
        linked_subgraph(target, source, alignment, fan_out=7, seed=seed).graph for seed in (0, 0, 1)
    ]
    assert [graph.num_triples for graph in draws] == [8, 8, 8]
    prints = [graph.fingerprint() for graph in draws]
    assert prints[0] == prints[1] != prints[2]
    with pytest.raises(ValueError, match=r"\(got -1 and 50\)"):
        linked_subgraph(target, source, alignment, hops=-1)
    with pytest.raises(ValueError, match=r"\(got 1 and 0\)"):
        linked_subgraph(target, source, alignment, fan_out=0)


def test_every_pair_of_sources_stays_apart_in_names() -> None:
    graphs = [graph_of(name, [], shared_names=True) for name in "abc"]
    joint = link(graphs, []).graph
    assert joint.entities.names == tuple(
        prefix + f"e{i}" for prefix, i in itertools.product(("", "b:", "c:"), range(N))
    )
