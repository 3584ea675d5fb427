import sys

import networkx as nx
import pandas
import pytest
from hypothesis import given, settings

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.sources.conversions import (
    from_hetero,
    from_networkx,
    from_pandas,
    to_hetero,
    to_networkx,
    to_pandas,
)
from tests.graphs import WORDS, assert_same, knowledge_graphs

FACTS = [("Ἀθήνα", "capital_of", "Ἑλλάς"), ("Ἑλλάς", "borders", "Türkiye")]


@settings(max_examples=60, deadline=None)
@given(knowledge_graphs())
def test_networkx_and_back_loses_nothing(graph) -> None:
    assert_same(from_networkx(to_networkx(graph)), graph)


@settings(max_examples=20, deadline=None)
@given(knowledge_graphs())
def test_hetero_data_and_back_loses_nothing(graph) -> None:
    assert_same(from_hetero(to_hetero(graph)), graph)


@settings(max_examples=20, deadline=None)
@given(knowledge_graphs(WORDS))
def test_pandas_and_back_keeps_the_triples(graph) -> None:
    frame = to_pandas(graph)
    assert list(frame.columns) == ["head", "relation", "tail"]
    assert from_pandas(frame, name="x").named_triples() == graph.named_triples()


def test_parallel_edges_are_edges_of_their_own() -> None:
    graph = to_networkx(KnowledgeGraph.from_names([*FACTS, FACTS[0], FACTS[0]]))
    assert graph.number_of_edges("Ἀθήνα", "Ἑλλάς") == 3
    keys = set(graph["Ἀθήνα"]["Ἑλλάς"])
    assert keys == {"capital_of", ("capital_of", 1), ("capital_of", 2)}


def test_nodes_carry_labels_and_types() -> None:
    kinds = {"Ἀθήνα": "city", "Ἑλλάς": "country", "Türkiye": "country"}
    graph = to_networkx(KnowledgeGraph.from_names(FACTS, types=kinds, labels={"Ἀθήνα": "Athens"}))
    assert graph.nodes["Ἀθήνα"] == {"label": "Athens", "type": "city"}
    assert to_networkx(KnowledgeGraph.from_names(FACTS)).nodes["Ἀθήνα"] == {}


def test_any_directed_graph_with_relations_will_do() -> None:
    plain: nx.DiGraph = nx.DiGraph(name="g")
    plain.add_edge(1, 2, relation="next")
    plain.add_node("lone")
    graph = from_networkx(plain)
    assert graph.named_triples() == [("1", "next", "2")]
    assert graph.entities.names == ("1", "2", "lone")
    assert graph.name == "g"
    keyed: nx.MultiDiGraph = nx.MultiDiGraph()
    keyed.add_edge("a", "b", key="likes")
    keyed.add_edge("a", "b", key="knows")
    assert from_networkx(keyed, name="k").relations.names == ("likes", "knows")


def test_edges_added_to_ours_come_last_and_removed_ones_are_gone() -> None:
    graph = to_networkx(KnowledgeGraph.from_names(FACTS))
    graph.remove_edge(*FACTS[0][::2])
    graph.add_edge("Ἀθήνα", "Πάτρα", relation="near")
    assert from_networkx(graph).named_triples() == [FACTS[1], ("Ἀθήνα", "near", "Πάτρα")]


def test_an_undirected_graph_is_refused() -> None:
    with pytest.raises(ValueError, match="directed networkx graph"):
        from_networkx(nx.Graph([(1, 2)]))


def test_an_edge_without_relation_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"every edge needs a relation.*\(got neither for 1 -> 2\)"
    ):
        from_networkx(nx.MultiDiGraph([(1, 2)]))


def test_nodes_with_one_string_are_refused() -> None:
    graph: nx.DiGraph = nx.DiGraph()
    graph.add_edge(1, "1", relation="r")
    with pytest.raises(ValueError, match="entity names must be unique"):
        from_networkx(graph)


def test_types_are_for_all_nodes_or_none() -> None:
    graph: nx.DiGraph = nx.DiGraph()
    graph.add_node("a", type="city")
    graph.add_node("b")
    with pytest.raises(
        ValueError, match=r"all nodes need a type, or none \(got none for \['b'\]\)"
    ):
        from_networkx(graph)


def test_other_columns_of_a_frame_are_left_alone() -> None:
    frame = pandas.DataFrame({"s": ["a"], "score": [0.5], "p": ["r"], "o": ["b"]})
    assert from_pandas(frame, columns=("s", "p", "o")).named_triples() == [("a", "r", "b")]


@pytest.mark.parametrize("bad", [None, 3, "", float("nan")])
def test_a_name_that_is_no_text_is_refused(bad) -> None:
    frame = pandas.DataFrame({"head": ["a", bad], "relation": ["r", "r"], "tail": ["b", "b"]})
    with pytest.raises(ValueError, match=r"every head must be a non-empty string .* in row 1"):
        from_pandas(frame)


def test_a_missing_column_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"needs the columns head, relation, tail.*\(got head, rel\)"
    ):
        from_pandas(pandas.DataFrame({"head": ["a"], "rel": ["r"]}))


def test_the_extra_is_named_without_pandas(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"needs `pip install pyg-kgtransfer\[pandas\]`"):
        to_pandas(KnowledgeGraph.from_names(FACTS))
