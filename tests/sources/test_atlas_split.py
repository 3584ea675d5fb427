import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.sources.atlas_split import hold_out_pairs

FACTS = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("rst"), st.sampled_from("abcdefgh")),
    unique=True,
    max_size=40,
)


def graph_of(facts: list[tuple[str, str, str]]) -> KnowledgeGraph:
    return KnowledgeGraph.from_names(facts, entities="abcdefgh", relations="rst")


@settings(max_examples=30, deadline=None)
@given(facts=FACTS, seed=st.integers(0, 5))
def test_parts_cover_the_facts_and_share_no_pair(
    facts: list[tuple[str, str, str]], seed: int
) -> None:
    graph = graph_of(facts)
    split = hold_out_pairs(
        graph, train_share=0.4, valid_share=0.3, symmetric=["s"], context=["t"], seed=seed
    )
    parts = [split.train.triples, split.valid.triples, split.test.triples]
    together = sorted(fact for part in parts for fact in map(tuple, part.tolist()))
    assert together == sorted(map(tuple, graph.triples.tolist()))
    pairs = [{frozenset((h, t)) for h, _, t in part.tolist()} for part in parts]
    assert len(set().union(*pairs)) == sum(map(len, pairs))
    known = set(split.train.triples[:, [0, 2]].flatten().tolist())
    assert set(torch.cat(parts[1:])[:, [0, 2]].flatten().tolist()) <= known
    assert 2 not in torch.cat(parts[1:])[:, 1].tolist()  # context
    assert split.symmetric == (1,)


def test_shares_are_met_where_every_entity_is_well_known() -> None:
    names = [f"e{i}" for i in range(30)]
    facts = [(a, "r", b) for a in names for b in names if a < b]  # 435 pairs
    split = hold_out_pairs(KnowledgeGraph.from_names(facts), train_share=0.3, valid_share=0.2)
    assert (split.train.num_triples, len(split.valid), len(split.test)) == (130, 87, 218)


def test_repair_moves_no_more_than_it_must() -> None:
    """A leaf with one fact must end in train; of one with two facts, one fact must."""
    facts = [(f"leaf{i}", "r", "hub") for i in range(10)]
    twice = facts + [(f"leaf{i}", "r", "other") for i in range(10)]
    alone = hold_out_pairs(KnowledgeGraph.from_names(facts), train_share=0.3, valid_share=0.2)
    assert alone.train.num_triples == 10
    split = hold_out_pairs(KnowledgeGraph.from_names(twice), train_share=0.3, valid_share=0.2)
    # 6 of 20 are drawn; they know 3 to 6 leaves, and each other leaf (or the second hub) costs one
    assert 10 <= split.train.num_triples <= 14
