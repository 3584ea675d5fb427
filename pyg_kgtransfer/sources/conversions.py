"""networkx graphs, pandas frames and HeteroData to knowledge graphs and back."""

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import networkx as nx
from torch_geometric.data import HeteroData

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.vocabulary import Vocabulary

if TYPE_CHECKING:
    import pandas

ROLES = ("head", "relation", "tail")
SHOWN = 5


def to_networkx(graph: KnowledgeGraph) -> "nx.MultiDiGraph[str]":
    """A directed multigraph that holds all of ``graph``: ``from_networkx`` gives the same back.

    Nodes are entity names in id order, isolated ones included, with ``label`` and ``type`` where
    the graph has them. Edges have ``relation``, and ``triple``, the row in ``graph.triples``; their
    key is the relation, or (relation, n) for the n-th repeat of a triple. The graph has ``name``,
    ``relations`` and, if typed, ``entity_types``, in id order.

    Example:
        >>> graph = to_networkx(KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")]))
        >>> graph.edges["Athens", "Greece", "capital_of"]
        {'relation': 'capital_of', 'triple': 0}
    """
    result: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    result.graph.update(name=graph.name, relations=list(graph.relations))
    kinds = None if graph.entity_type is None else graph.entity_type.tolist()
    if graph.entity_types is not None:
        result.graph["entity_types"] = list(graph.entity_types)
    for entity, name in enumerate(graph.entities):
        result.add_node(name)
        if graph.labels is not None:
            result.nodes[name]["label"] = graph.labels[entity]
        if graph.entity_types is not None and kinds is not None:
            result.nodes[name]["type"] = graph.entity_types.name(kinds[entity])
    repeats: dict[tuple[str, str, str], int] = {}
    for row, triple in enumerate(graph.named_triples()):
        head, relation, tail = triple
        number = repeats.get(triple, 0)
        repeats[triple] = number + 1
        key: Hashable = (relation, number) if number else relation
        result.add_edge(head, tail, key=key, relation=relation, triple=row)
    return result


def from_networkx(
    graph: "nx.DiGraph[Any] | nx.MultiDiGraph[Any]", *, name: str | None = None
) -> KnowledgeGraph:
    """A knowledge graph from a directed networkx graph: ours (lossless) or any other.

    A node is named by its string. An edge's relation is its attribute ``relation``, else its key if
    that is a string. Node attributes ``type`` (for all nodes or none) and ``label`` are kept, other
    attributes are not.

    Args:
        graph: Directed, with or without parallel edges.
        name: What to call the graph; default: its own name.

    Raises:
        ValueError: If the graph is undirected, an edge has no relation, some but not all nodes
            have a type, or two nodes have the same string.

    Example:
        >>> graph = nx.DiGraph()
        >>> graph.add_edge("Athens", "Greece", relation="capital_of")
        >>> from_networkx(graph, name="tiny")
        KnowledgeGraph('tiny': 2 entities, 1 relations, 1 triples)
    """
    if not graph.is_directed():
        raise ValueError(
            "a knowledge graph needs a directed networkx graph (got an undirected one): "
            "graph.to_directed() states each edge in both directions"
        )
    edges: list[tuple[int | None, tuple[str, str, str]]] = []
    for head, tail, key, attributes in _edges(graph):
        relation = attributes.get("relation", key if isinstance(key, str) else None)
        if not isinstance(relation, str):
            raise ValueError(
                "every edge needs a relation, as its attribute `relation` or as a string key "
                f"(got neither for {head!r} -> {tail!r})"
            )
        row = attributes.get("triple")
        edges.append((row if isinstance(row, int) else None, (str(head), relation, str(tail))))
    edges.sort(key=lambda edge: (edge[0] is None, edge[0] or 0))  # new edges last, in order
    triples = [triple for _, triple in edges]
    relations = dict.fromkeys((*graph.graph.get("relations", ()), *(r for _, r, _ in triples)))
    plain = KnowledgeGraph.from_names(
        triples,
        entities=[str(node) for node in graph],
        relations=relations,
        name=str(graph.graph.get("name", "")) if name is None else name,
    )
    return _with_attributes(plain, graph)


def _edges(graph: "nx.DiGraph[Any]") -> list[tuple[Any, Any, Any, dict[str, Any]]]:
    """Head, tail, key (``None`` in a graph without parallel edges) and attributes of each edge."""
    if isinstance(graph, nx.MultiDiGraph):
        return list(graph.edges(keys=True, data=True))
    return [(head, tail, None, attributes) for head, tail, attributes in graph.edges(data=True)]


def _with_attributes(plain: KnowledgeGraph, graph: "nx.DiGraph[Any]") -> KnowledgeGraph:
    """``plain`` with the labels and types of the nodes."""
    labels = dict(graph.nodes(data="label"))
    types = dict(graph.nodes(data="type"))
    shown = entity_types = entity_type = None
    if any(label is not None for label in labels.values()):
        shown = tuple(str(n) if label is None else str(label) for n, label in labels.items())
    known = graph.graph.get("entity_types")
    if known is not None or any(kind is not None for kind in types.values()):
        untyped = [node for node, kind in types.items() if kind is None]
        if untyped:
            raise ValueError(f"all nodes need a type, or none (got none for {untyped[:SHOWN]})")
        kinds = [str(kind) for kind in types.values()]
        entity_types = Vocabulary(dict.fromkeys((*(known or ()), *kinds)), kind="entity type")
        entity_type = entity_types.ids(kinds)
    return KnowledgeGraph(
        plain.entities, plain.relations, plain.triples, plain.name, shown, entity_types, entity_type
    )


def to_pandas(graph: KnowledgeGraph) -> "pandas.DataFrame":
    """A frame of names with the columns head, relation, tail, a row per triple in order.

    Raises:
        ImportError: If pandas is not installed.

    Example:
        >>> frame = to_pandas(KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")]))
        >>> from_pandas(frame).named_triples()
        [('Athens', 'capital_of', 'Greece')]
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError("to_pandas needs `pip install pyg-kgtransfer[pandas]`") from error
    columns = list(zip(*graph.named_triples(), strict=True)) or [(), (), ()]
    return pandas.DataFrame(
        {
            role: pandas.Series(column, dtype=object)
            for role, column in zip(ROLES, columns, strict=True)
        }
    )


def from_pandas(
    frame: "pandas.DataFrame",
    *,
    columns: tuple[str, str, str] = ROLES,
    name: str = "",
) -> KnowledgeGraph:
    """A graph from a frame of names, ids by first occurrence. Needs no pandas of its own.

    Args:
        frame: One row per triple; other columns are ignored.
        columns: The columns of heads, relations and tails.
        name: What to call the graph.

    Raises:
        ValueError: If a column is missing, or a name is missing, empty or no string.
    """
    have = [str(column) for column in frame.columns]
    missing = [column for column in columns if have.count(column) != 1]
    if missing:
        raise ValueError(
            f"the frame needs the columns {', '.join(columns)}, each once "
            f"(got {', '.join(have) or 'none'})"
        )
    parts = [frame.iloc[:, have.index(column)].tolist() for column in columns]
    for column, values in zip(columns, parts, strict=True):
        wrong = [row for row, value in enumerate(values) if not isinstance(value, str) or not value]
        if wrong:
            raise ValueError(
                f"every {column} must be a non-empty string (got {values[wrong[0]]!r} in row "
                f"{wrong[0]}, from 0, the first of {len(wrong):,})"
            )
    return KnowledgeGraph.from_names(zip(*parts, strict=True), name=name)


def to_hetero(graph: KnowledgeGraph) -> HeteroData:
    """The graph as ``HeteroData``: ``graph.data``, under the name that its sisters here have.

    Example:
        >>> graph = KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")])
        >>> from_hetero(to_hetero(graph)).named_triples()
        [('Athens', 'capital_of', 'Greece')]
    """
    return graph.data


def from_hetero(data: HeteroData, *, name: str | None = None) -> KnowledgeGraph:
    """A graph from ``HeteroData``: ours (lossless) or any other; see ``KnowledgeGraph.from_data``.

    Raises:
        ValueError: If the data do not make a graph.
    """
    return KnowledgeGraph.from_data(data, name=name)
