import pytest
import torch

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.linking.alignment import Alignment
from pyg_kgtransfer.linking.linked import LinkedKG, link, linked_subgraph

TARGET = KnowledgeGraph.from_names(
    [("DE", "borders", "FR"), ("DE", "speaks", "de")],
    entities=["DE", "FR", "de", "IT"],
    name="target",
)
CLDR = KnowledgeGraph.from_names(
    [("t/FR", "spoken", "l/fr"), ("t/DE", "spoken", "l/de"), ("l/de", "script", "latn"),
     ("l/fr", "script", "latn")],
    name="cldr",
)  # fmt: skip
ISO = KnowledgeGraph.from_names([("FRA", "next", "ITA"), ("ITA", "x", "l")], name="iso")
ALIGNMENTS = [
    Alignment.from_names(TARGET, CLDR, [("DE", "t/DE"), ("FR", "t/FR"), ("de", "l/de")]),
    Alignment.from_names(TARGET, ISO, [("IT", "ITA")]),
    Alignment.from_names(CLDR, ISO, [("t/FR", "FRA")]),
]


def linked_of(mode="sharing") -> LinkedKG:
    return link([TARGET, CLDR, ISO], ALIGNMENTS, mode=mode)


def test_sources_are_found_by_name() -> None:
    linked = linked_of()
    assert [linked.index(name) for name in ("target", "cldr", "iso")] == [0, 1, 2]
    assert linked.sizes().tolist() == [2, 4, 2]
    with pytest.raises(ValueError, match=r"unknown source: 'cdlr'.*nearest known: 'cldr'"):
        linked.index("cdlr")


def test_weights_flatten_with_the_temperature() -> None:
    linked = linked_of()
    assert linked.weights().tolist() == [0.25, 0.5, 0.25]
    root = torch.tensor([2, 4, 2]).double().sqrt()
    assert linked.weights(2.0).tolist() == pytest.approx((root / root.sum()).tolist())
    with pytest.raises(ValueError, match="at least 1"):
        linked.weights(0.5)
    empty = link([TARGET.with_triples(TARGET.triples[:0]), CLDR], [])
    assert empty.weights(5.0).tolist() == [0, 1]


@pytest.mark.parametrize("mode", ["sharing", "mapping", "swapping"])
@pytest.mark.parametrize("graph", [TARGET, CLDR, ISO])
def test_every_source_triple_is_in_the_joint_graph_and_comes_back(mode, graph) -> None:
    linked = linked_of(mode)
    joint = linked.to_joint(graph.name, graph.triples)
    known = set(map(tuple, linked.graph.triples.tolist()))
    assert set(map(tuple, joint.tolist())) <= known
    entity, relation = linked.back_map(graph.name)
    head, kind, tail = joint.unbind(1)
    assert torch.equal(torch.stack([entity[head], relation[kind], entity[tail]], 1), graph.triples)


@pytest.mark.parametrize("graph", [TARGET, CLDR, ISO])
def test_the_alignment_to_the_joint_graph_covers_everything(graph) -> None:
    linked = linked_of()
    alignment = linked.alignment_of(graph.name)
    alignment.check(graph, linked.graph)
    place = linked.index(graph.name)
    assert (alignment.left, alignment.right) == (graph.name, "target+cldr+iso")
    assert torch.equal(alignment.entity_map(graph.num_entities), linked.entity_maps[place])
    assert torch.equal(alignment.relation_map(graph.num_relations), linked.relation_maps[place])


def test_to_joint_refuses_what_is_not_there() -> None:
    countries = Alignment.from_names(TARGET, CLDR, [("DE", "t/DE"), ("FR", "t/FR")])
    part = linked_subgraph(TARGET, CLDR, countries, hops=1)
    latn = CLDR.entities.id("latn")  # two hops away
    with pytest.raises(ValueError, match=rf"lacks a tail of 'cldr' \(got id {latn}\)"):
        part.to_joint("cldr", torch.tensor([[0, 0, 1], [0, 0, latn]]))
    with pytest.raises(ValueError, match=r"head ids of 'cldr' must be in \[0, 5\)"):
        part.to_joint("cldr", torch.tensor([[9, 0, 0]]))
    assert part.to_joint("target", TARGET.triples[0]).tolist() == TARGET.triples[0].tolist()
    assert part.to_joint("target", TARGET.triples[:0]).shape == (0, 3)


@pytest.mark.parametrize("mode", ["sharing", "mapping", "swapping"])
def test_strict_mode_follows_chains_of_alignments(mode) -> None:
    linked = linked_of(mode)
    # FR - IT is linked in ISO, where France is known through CLDR only
    held_out = torch.tensor([[3, 0, 1]])
    strict = linked.without_pairs("target", held_out)
    dropped = set(linked.graph.named_triples()) - set(strict.graph.named_triples())
    relations = {relation for _, relation, _ in dropped}
    assert relations == {"next"}
    assert int((strict.source == 0).sum()) == int((linked.source == 0).sum())
    assert len(strict.source) == strict.graph.num_triples
    if mode == "sharing":
        assert dropped == {("FR", "next", "IT")}


def test_strict_mode_keeps_the_targets_own_facts() -> None:
    strict = linked_of().without_pairs("target", TARGET.triples[1:])
    assert ("DE", "speaks", "de") in strict.graph.named_triples()
    assert ("DE", "spoken", "de") not in strict.graph.named_triples()
    assert strict.sizes().tolist() == [2, 3, 2]


def test_strict_mode_keeps_facts_that_an_earlier_source_states_as_well() -> None:
    first = KnowledgeGraph.from_names([("a", "likes", "b")], name="first")
    second = KnowledgeGraph.from_names(
        [("x", "likes", "y"), ("y", "knows", "x")], relations=["likes", "knows"], name="second"
    )
    same = Alignment.from_names(first, second, [("a", "x"), ("b", "y")], [("likes", "likes")])
    linked = link([first, second], [same])
    assert linked.stated_by.tolist() == [[True, True], [False, True]]
    held_out = torch.tensor([[0, 1, 1]])  # (x, knows, y): a pair that both graphs link
    strict = linked.without_pairs("second", held_out)
    assert strict.graph.num_triples == 2
    assert linked.without_pairs("first", torch.tensor([[0, 0, 1]])).graph.num_triples == 1
