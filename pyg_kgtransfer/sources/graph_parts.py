"""A graph as named tensors and a table of names, and back: what folders of ours hold of it."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.vocabulary import Vocabulary


def graph_parts(graph: KnowledgeGraph) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Its tensors (``triples``, and ``entity_type`` where it has types), and its names for JSON.

    Example:
        >>> facts = [("Athens", "capital_of", "Greece")]
        >>> tensors, names = graph_parts(KnowledgeGraph.from_names(facts, name="world"))
        >>> tensors["triples"].tolist(), names["entities"]
        ([[0, 0, 1]], ['Athens', 'Greece'])
    """
    tensors = {"triples": graph.triples}
    if graph.entity_type is not None:
        tensors["entity_type"] = graph.entity_type
    return tensors, {
        "graph": graph.name,
        "entities": list(graph.entities),
        "relations": list(graph.relations),
        "labels": None if graph.labels is None else list(graph.labels),
        "entity_types": None if graph.entity_types is None else list(graph.entity_types),
    }


def graph_from_parts(tensors: Mapping[str, Tensor], names: Mapping[str, Any]) -> KnowledgeGraph:
    """The graph that ``graph_parts`` took apart."""
    types, labels = names["entity_types"], names["labels"]
    return KnowledgeGraph(
        Vocabulary(names["entities"], kind="entity"),
        Vocabulary(names["relations"], kind="relation"),
        tensors["triples"],
        names["graph"],
        None if labels is None else tuple(labels),
        None if types is None else Vocabulary(types, kind="entity type"),
        tensors.get("entity_type"),
    )
