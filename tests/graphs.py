"""Random knowledge graphs for hypothesis."""

import torch
from hypothesis import strategies as st

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.vocabulary import Vocabulary

ANY_TEXT = st.text(max_size=6)
PRINTED = st.characters(codec="utf-8", exclude_characters="\t\n\r")
WORDS = st.text(PRINTED, min_size=1, max_size=6)  # what a tab-separated file can hold


@st.composite
def knowledge_graphs(draw, names=ANY_TEXT, *, min_triples: int = 0) -> KnowledgeGraph:
    """Empty, untyped and typed graphs; isolated entities, unused relations, loops and repeats."""
    floor = 1 if min_triples else 0
    entities = draw(st.lists(names, min_size=floor, max_size=7, unique=True))
    relations = draw(st.lists(names, min_size=floor, max_size=4, unique=True))
    entity = st.integers(0, max(len(entities) - 1, 0))
    relation = st.integers(0, max(len(relations) - 1, 0))
    most = 12 if entities and relations else 0
    triples = draw(
        st.lists(st.tuples(entity, relation, entity), min_size=min_triples, max_size=most)
    )
    kinds = draw(st.none() | st.lists(names, min_size=1, max_size=3, unique=True))
    type_ids = labels = None
    if kinds is not None:
        kind = st.integers(0, len(kinds) - 1)
        type_ids = draw(st.lists(kind, min_size=len(entities), max_size=len(entities)))
    if entities and draw(st.booleans()):
        labels = draw(st.lists(names, min_size=len(entities), max_size=len(entities)))
    return KnowledgeGraph(
        Vocabulary(entities, kind="entity"),
        Vocabulary(relations, kind="relation"),
        torch.tensor(triples, dtype=torch.long).view(-1, 3),
        draw(names),
        labels=None if labels is None else tuple(labels),
        entity_types=None if kinds is None else Vocabulary(kinds, kind="entity type"),
        entity_type=None if type_ids is None else torch.tensor(type_ids, dtype=torch.long),
    )


def assert_same(left: KnowledgeGraph, right: KnowledgeGraph) -> None:
    """All that a graph holds is equal, ids and order included."""
    assert left.fingerprint() == right.fingerprint()
    assert left.entities.names == right.entities.names
    assert left.relations.names == right.relations.names
    assert left.triples.tolist() == right.triples.tolist()
    assert (left.name, left.labels) == (right.name, right.labels)
    assert left.entity_types == right.entity_types
    assert (left.entity_type is None) == (right.entity_type is None)
    if left.entity_type is not None and right.entity_type is not None:
        assert left.entity_type.tolist() == right.entity_type.tolist()
