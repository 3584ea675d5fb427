"""Sampled neighbourhoods: only edges of the graph, few enough, all where there is room."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors, KnowledgeGraph
from pyg_kgtransfer.graph.neighbours import Neighbours


def graph_of(seed: int, entities: int, facts: int) -> GraphTensors:
    generator = torch.Generator().manual_seed(seed)
    triples = [
        (f"{h}", f"r{r}", f"{t}")
        for h, r, t in zip(
            torch.randint(entities, (facts,), generator=generator).tolist(),
            torch.randint(3, (facts,), generator=generator).tolist(),
            torch.randint(entities, (facts,), generator=generator).tolist(),
            strict=True,
        )
    ]
    return KnowledgeGraph.from_names(triples).tensors()


def edges_of(graph: GraphTensors) -> list[tuple[int, int, int]]:
    """Sorted (source entity, type, target entity)."""
    source, target = graph.entity[graph.edge_index]
    return sorted(zip(source.tolist(), graph.edge_type.tolist(), target.tolist(), strict=True))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 99), st.integers(1, 12), st.integers(1, 30), st.integers(1, 4))
def test_a_sample_is_a_part(seed: int, entities: int, facts: int, number: int) -> None:
    graph = graph_of(seed, entities, facts)
    rows = torch.randperm(len(graph.entity), generator=torch.Generator().manual_seed(seed))[:2]
    near = Neighbours(graph)
    part = near.sample(rows, [number, number], generator=torch.Generator().manual_seed(seed))
    assert torch.equal(part.entity[: len(rows)], rows)
    assert len(torch.unique(part.entity)) == len(part.entity)
    left = edges_of(graph)
    for edge in edges_of(part):  # each edge is the graph's, as often as it is there
        left.remove(edge)
    into = torch.bincount(part.edge_index[1], minlength=len(part.entity))
    whole = torch.bincount(graph.edge_index[1], minlength=len(graph.entity))[part.entity]
    assert torch.equal(into[: len(rows)], whole[: len(rows)].clamp(max=number))
    assert bool((into <= number).all())


def test_with_room_for_all_it_is_what_two_steps_reach() -> None:
    graph = graph_of(3, 30, 40)
    near, rows = Neighbours(graph), torch.tensor([4, 9])
    part = near.sample(rows, [99, 99], generator=torch.Generator())
    reached = {4, 9}
    expected = []
    frontier = set(reached)
    for _ in range(2):
        new = [edge for edge in edges_of(graph) if edge[2] in frontier]
        expected += new
        frontier = {source for source, _, _ in new} - reached
        reached |= frontier
    assert edges_of(part) == sorted(expected)


def test_the_draw_is_seeded_and_fair() -> None:
    star = KnowledgeGraph.from_names([(f"{i}", "to", "hub") for i in range(10)]).tensors()
    hub = torch.tensor([1])
    near = Neighbours(star)

    def drawn(seed: int) -> list[int]:
        part = near.sample(hub, [2], generator=torch.Generator().manual_seed(seed))
        return part.entity[1:].tolist()

    assert drawn(0) == drawn(0)
    counts = torch.bincount(torch.tensor([drawn(seed) for seed in range(500)]).view(-1))
    assert counts[counts > 0].min() > 60  # 100 expected of each of ten
    assert len(counts[counts > 0]) == 10


def test_empty_fan_outs_are_refused() -> None:
    near = Neighbours(graph_of(0, 4, 4))
    for fan_out in ((), (2, 0)):
        with pytest.raises(ValueError, match=r"fan_out needs a number of at least 1"):
            near.sample(torch.tensor([0]), fan_out, generator=torch.Generator())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.integers(1, 12), st.integers(1, 30), st.integers(1, 3))
def test_by_relation_each_has_its_share(seed: int, entities: int, facts: int, number: int) -> None:
    graph = graph_of(seed, entities, facts)
    near = Neighbours(graph, per_relation=True)
    rows = torch.arange(len(graph.entity))
    part = near.sample(rows, [number], generator=torch.Generator().manual_seed(seed))
    left = edges_of(graph)
    for edge in edges_of(part):
        left.remove(edge)
    kinds = 2 * graph.num_relations
    size = len(graph.entity) * kinds
    drawn = torch.bincount(part.edge_index[1] * kinds + part.edge_type, minlength=size)
    there = torch.bincount(graph.edge_index[1] * kinds + graph.edge_type, minlength=size)
    assert torch.equal(drawn, there.clamp(max=number))


def test_a_hub_costs_no_more_than_what_is_drawn_of_it() -> None:
    graph = GraphTensors(
        torch.arange(10**5),
        torch.stack([torch.arange(1, 10**5), torch.zeros(10**5 - 1, dtype=torch.long)]),
        torch.zeros(10**5 - 1, dtype=torch.long),
        1,
    )
    part = Neighbours(graph).sample(torch.tensor([0]), [7], generator=torch.Generator())
    assert len(part.entity) == 8
    assert part.edge_index[1].tolist() == [0] * 7
