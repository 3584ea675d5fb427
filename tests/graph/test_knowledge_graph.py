from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors, KnowledgeGraph
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from tests.graphs import assert_same, knowledge_graphs

FACTS = [("Ἀθήνα", "capital_of", "Ἑλλάς"), ("Ἑλλάς", "borders", "Türkiye")]


def graph_of(triples, **options) -> KnowledgeGraph:
    return KnowledgeGraph(
        Vocabulary(["a", "b", "c"]), Vocabulary(["r", "s"]), torch.tensor(triples), **options
    )


def edges_by_hand(graph: KnowledgeGraph) -> list[tuple[str, str, str, str, str]]:
    """(head, relation, tail, head type, tail type) by a plain loop."""

    def kind(entity: int) -> str:
        if graph.entity_types is None or graph.entity_type is None:
            return "entity"
        return graph.entity_types.name(int(graph.entity_type[entity]))

    return [
        (graph.entities.name(h), graph.relations.name(r), graph.entities.name(t), kind(h), kind(t))
        for h, r, t in graph.triples.tolist()
    ]


@settings(max_examples=60, deadline=None)
@given(knowledge_graphs())
def test_hetero_data_and_back_loses_nothing(graph) -> None:
    assert_same(KnowledgeGraph.from_data(graph.data), graph)


@settings(max_examples=30, deadline=None)
@given(knowledge_graphs())
def test_hetero_data_holds_each_edge_in_its_types(graph) -> None:
    data = graph.data
    assert sum(data[kind].num_nodes for kind in data.node_types) == graph.num_entities
    found = [
        (data[head].name[h], relation, data[tail].name[t], head, tail)
        for head, relation, tail in data.edge_types
        for h, t in data[head, relation, tail].edge_index.t().tolist()
    ]
    assert Counter(found) == Counter(edges_by_hand(graph))


def test_one_relation_over_several_type_pairs_stays_one_relation() -> None:
    named = [
        ("Athens", "near", "Aegina"),
        ("Aegina", "near", "Athens"),
        ("Athens", "near", "Patra"),
    ]
    types = {"Athens": "city", "Aegina": "island", "Patra": "city"}
    graph = KnowledgeGraph.from_names(named, types=types, name="g")
    assert len(graph.data.edge_types) == 3
    back = KnowledgeGraph.from_data(graph.data)
    assert back.num_relations == 1
    assert back.named_triples() == named


def test_labels_equal_to_names_stay_labels() -> None:
    graph = KnowledgeGraph.from_names(FACTS, labels={})
    assert KnowledgeGraph.from_data(graph.data).labels == graph.entities.names


def test_an_entity_type_called_as_an_attribute_of_the_data_is_refused() -> None:
    types = {"Ἀθήνα": "relations", "Ἑλλάς": "name", "Türkiye": "name"}
    graph = KnowledgeGraph.from_names(FACTS, types=types)
    with pytest.raises(ValueError, match=r"no entity type can be called .* \(got 'relations'\)"):
        _ = graph.data


def test_foreign_data_may_have_such_attributes_in_their_stores() -> None:
    data = HeteroData()
    data["node"].relations = torch.zeros(2)
    data["node"].num_nodes = 2
    data["node", "to", "node"].edge_index = torch.tensor([[0], [1]])
    assert KnowledgeGraph.from_data(data).relations.names == ("to",)


def test_foreign_data_get_names_by_type_and_place() -> None:
    data = HeteroData()
    data["user"].num_nodes = 2
    data["film"].x = torch.zeros(2, 5)
    data["film"].entity = torch.zeros(2)  # theirs, and no id
    data["user", "likes", "film"].edge_index = torch.tensor([[0, 1, 1], [1, 0, 0]])
    data["film", "likes", "user"].edge_index = torch.tensor([[0], [1]])
    graph = KnowledgeGraph.from_data(data, name="taste")
    assert graph.entities.names == ("user:0", "user:1", "film:0", "film:1")
    assert graph.named_triples() == [
        ("user:0", "likes", "film:1"),
        ("user:1", "likes", "film:0"),
        ("user:1", "likes", "film:0"),
        ("film:0", "likes", "user:1"),
    ]
    assert graph.entity_types is not None
    assert graph.entity_types.names == ("user", "film")
    assert graph.name == "taste"


def test_foreign_nodes_with_names_need_no_count(recwarn) -> None:
    data = HeteroData()
    data["city"].name = ["Athens", "Rome"]
    data["land"].x = torch.zeros(1, 3)
    data["city", "in", "land"].edge_index = torch.tensor([[1], [0]])
    assert KnowledgeGraph.from_data(data).named_triples() == [("Rome", "in", "land:0")]
    assert not recwarn.list  # PyG warns where it cannot tell


def test_a_single_foreign_type_is_untyped_and_named_by_place() -> None:
    data = HeteroData()
    data["node"].num_nodes = 2
    data["node", "to", "node"].edge_index = torch.tensor([[0], [1]])
    graph = KnowledgeGraph.from_data(data)
    assert graph.named_triples() == [("0", "to", "1")]
    assert graph.entity_types is None


def test_edges_added_to_our_data_come_last_with_their_relation() -> None:
    data = KnowledgeGraph.from_names(FACTS).data
    data["entity", "near", "entity"].edge_index = torch.tensor([[0], [2]])
    assert KnowledgeGraph.from_data(data).named_triples() == [*FACTS, ("Ἀθήνα", "near", "Türkiye")]


def test_data_without_nodes_make_an_empty_graph() -> None:
    graph = KnowledgeGraph.from_data(HeteroData())
    assert (graph.num_entities, graph.num_relations, graph.num_triples) == (0, 0, 0)


@pytest.mark.parametrize("bad", [[[0], [2]], [[-1], [0]]])
def test_an_edge_out_of_range_is_refused(bad) -> None:
    data = HeteroData()
    data["node"].num_nodes = 2
    data["node", "to", "node"].edge_index = torch.tensor(bad)
    with pytest.raises(ValueError, match=r"'node' node ids must be in \[0, 2\)"):
        KnowledgeGraph.from_data(data)


def test_an_edge_to_an_unknown_type_is_refused() -> None:
    data = HeteroData()
    data["node"].num_nodes = 2
    data["node", "to", "other"].edge_index = torch.tensor([[0], [1]])
    with pytest.raises(ValueError, match=r"'other' node ids must be in \[0, 0\)"):
        KnowledgeGraph.from_data(data)


def test_a_store_with_too_few_names_is_refused() -> None:
    data = KnowledgeGraph.from_names(FACTS).data
    data["entity"].name = ["one"]
    with pytest.raises(ValueError, match="one name each"):
        KnowledgeGraph.from_data(data)


def test_an_edge_store_without_edge_index_is_refused() -> None:
    data = HeteroData()
    data["node"].num_nodes = 2
    data["node", "to", "node"].weight = torch.ones(1)
    with pytest.raises(ValueError, match="need an edge_index"):
        KnowledgeGraph.from_data(data)


@pytest.mark.parametrize(
    ("triples", "message"),
    [
        ([[0, 0, 3]], r"tail ids must be in \[0, 3\)"),
        ([[-1, 0, 0]], r"head ids must be in \[0, 3\)"),
        ([[0, 2, 0]], r"relation ids must be in \[0, 2\)"),
        ([[0.0, 0.0, 0.0]], "int64"),
        ([[0, 0]], r"\[M, 3\]"),
    ],
)
def test_wrong_triples_are_refused(triples, message) -> None:
    with pytest.raises(ValueError, match=message):
        graph_of(triples)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ("x",)}, "one label per entity"),
        ({"entity_types": Vocabulary(["t"])}, "go together"),
        ({"entity_type": torch.zeros(3, dtype=torch.long)}, "go together"),
        ({"entity_types": Vocabulary(["t"]), "entity_type": torch.tensor([0])}, "shape"),
        (
            {"entity_types": Vocabulary(["t"]), "entity_type": torch.tensor([0, 1, 0])},
            r"entity type ids must be in \[0, 1\)",
        ),
        ({"entity_types": Vocabulary(["t"]), "entity_type": torch.zeros(3)}, "int64"),
    ],
)
def test_wrong_attributes_are_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        graph_of([[0, 0, 1]], **options)


def test_from_names_keeps_given_orders_and_isolated_entities() -> None:
    graph = KnowledgeGraph.from_names(
        FACTS, entities=["lone", "Türkiye", "Ἑλλάς", "Ἀθήνα"], relations=["borders", "capital_of"]
    )
    assert graph.triples.tolist() == [[3, 1, 2], [2, 0, 1]]
    assert graph.degrees().tolist() == [0, 1, 2, 1]
    assert graph.named_triples() == FACTS


def test_from_names_refuses_unknown_names_and_missing_types() -> None:
    with pytest.raises(ValueError, match="nearest known: 'Ἑλλάς'"):
        KnowledgeGraph.from_names([("Ἑλλάς", "r", "Ἑλλάσ")], entities=["Ἑλλάς"])
    with pytest.raises(ValueError, match="every entity needs a type"):
        KnowledgeGraph.from_names(FACTS, types={"Ἀθήνα": "city"})


def test_labels_are_shown_where_they_are_given() -> None:
    graph = KnowledgeGraph.from_names(FACTS, labels={"Ἀθήνα": "Athens"})
    assert [graph.label(i) for i in range(3)] == ["Athens", "Ἑλλάς", "Türkiye"]
    assert KnowledgeGraph.from_names(FACTS).label(0) == "Ἀθήνα"


@settings(max_examples=30, deadline=None)
@given(knowledge_graphs())
def test_tensors_hold_each_edge_and_its_inverse(graph) -> None:
    tensors = graph.tensors()
    by_hand = [(h, r, t) for h, r, t in graph.triples.tolist()]
    by_hand += [(t, r + graph.num_relations, h) for h, r, t in graph.triples.tolist()]
    source, target = tensors.edge_index.tolist()
    assert list(zip(source, tensors.edge_type.tolist(), target, strict=True)) == by_hand
    assert tensors.entity.tolist() == list(range(graph.num_entities))
    assert tensors.num_relations == graph.num_relations


@settings(max_examples=30, deadline=None)
@given(knowledge_graphs(min_triples=1))
def test_without_leaves_out_the_batch_and_its_inverses(graph) -> None:
    batch = graph.triples[::2]
    left = graph.tensors().without(batch)
    gone = {tuple(t) for t in batch.tolist()}
    kept = [t for t in graph.triples.tolist() if tuple(t) not in gone]
    expected = graph.with_triples(torch.tensor(kept, dtype=torch.long).view(-1, 3)).tensors()
    assert isinstance(left, GraphTensors)
    assert left.edge_index.tolist() == expected.edge_index.tolist()
    assert left.edge_type.tolist() == expected.edge_type.tolist()


@settings(max_examples=30, deadline=None)
@given(knowledge_graphs(), st.floats(0, 1))
def test_thinned_leaves_out_a_share_of_the_facts_with_their_inverses(graph, share) -> None:
    graph = graph.deduplicated()
    tensors = graph.tensors()
    assert tensors.facts().tolist() == graph.triples.tolist()
    left, hidden = tensors.thinned(share, torch.Generator().manual_seed(0))
    gone = {tuple(fact) for fact in hidden.tolist()}
    assert len(gone) == len(hidden) == round(share * graph.num_triples)
    kept = [fact for fact in graph.triples.tolist() if tuple(fact) not in gone]
    assert left.facts().tolist() == kept
    expected = graph.with_triples(torch.tensor(kept, dtype=torch.long).view(-1, 3)).tensors()
    assert left.edge_index.tolist() == expected.edge_index.tolist()


def test_a_repeated_fact_is_thinned_out_with_its_repeats() -> None:
    tensors = graph_of([[0, 0, 1], [0, 0, 1]]).tensors()
    left, hidden = tensors.thinned(0.5, torch.Generator())
    assert (len(hidden), left.edge_index.shape[1]) == (1, 0)


@settings(max_examples=30, deadline=None)
@given(knowledge_graphs())
def test_deduplicated_keeps_first_occurrences_in_order(graph) -> None:
    once = list(dict.fromkeys(tuple(t) for t in graph.triples.tolist()))
    assert [tuple(t) for t in graph.deduplicated().triples.tolist()] == once


@settings(max_examples=30, deadline=None)
@given(knowledge_graphs())
def test_degrees_count_ends(graph) -> None:
    ends = Counter(e for h, _, t in graph.triples.tolist() for e in (h, t))
    assert graph.degrees().tolist() == [ends[e] for e in range(graph.num_entities)]


def test_fingerprint_tells_order_names_and_triples_apart() -> None:
    graph = graph_of([[0, 0, 1], [1, 1, 2]])
    others = [
        graph_of([[1, 1, 2], [0, 0, 1]]),
        graph_of([[0, 0, 1]]),
        KnowledgeGraph(Vocabulary(["a", "b", "d"]), graph.relations, graph.triples),
        KnowledgeGraph(graph.entities, Vocabulary(["s", "r"]), graph.triples),
    ]
    prints = {other.fingerprint() for other in [graph, *others]}
    assert len(prints) == 5
    assert graph_of([[0, 0, 1], [1, 1, 2]], name="other").fingerprint() == graph.fingerprint()


def test_with_triples_renames_on_demand() -> None:
    graph = graph_of([[0, 0, 1]], name="g")
    assert graph.with_triples(graph.triples[:0]).name == "g"
    assert graph.with_triples(graph.triples[:0], name="").name == ""
    assert repr(graph) == "KnowledgeGraph('g': 3 entities, 2 relations, 1 triples)"
