"""The foundation model: held to a slow twin, to ULTRA's golden scores, and to what it promises."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import pyg_kgtransfer as kgt
from pyg_kgtransfer.graph.knowledge_graph import GraphTensors
from pyg_kgtransfer.sources.datasets import DEFAULT_ROOT

GOLDEN = Path(os.environ.get("KGT_DATA") or DEFAULT_ROOT) / "ultra-ckpts"


def graph_of(seed: int, entities: int = 7, relations: int = 3, facts: int = 12) -> GraphTensors:
    generator = torch.Generator().manual_seed(seed)
    head, tail = torch.randint(entities, (2, facts), generator=generator)
    relation = torch.randint(relations, (facts,), generator=generator)
    edges = torch.stack([torch.cat([head, tail]), torch.cat([tail, head])])
    kinds = torch.cat([relation, relation + relations])
    return GraphTensors(torch.arange(entities), edges, kinds, relations)


def model_of(seed: int = 0, width: int = 4, layers: int = 2) -> kgt.FoundationModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kgt.FoundationModel(width, layers)


def meta_edges(graph: GraphTensors) -> set[tuple[int, int, int]]:
    """(i, j, type), from the definition."""
    number = 2 * graph.num_relations
    heads, tails = (
        [set(ends[graph.edge_type == r].tolist()) for r in range(number)]
        for ends in graph.edge_index
    )
    pairs = ((heads, heads), (tails, tails), (heads, tails), (tails, heads))
    return {
        (i, j, kind)
        for kind, (mine, other) in enumerate(pairs)
        for i in range(number)
        for j in range(number)
        if mine[i] & other[j]
    }


def slow_score(model: kgt.FoundationModel, graph: GraphTensors, start: int, r: int, asked: int):
    """Scores of all entities for one query, edge by edge, in the words of the paper."""

    def run(layers, rows: int, edges, vectors, at: int, query: Tensor) -> Tensor:
        boundary = torch.zeros(rows, len(query)).index_put((torch.tensor([at]),), query)
        x = boundary
        for layer, z in zip(layers, vectors, strict=True):
            found = [row for row in boundary]
            for target, source, kind in edges:
                found[target] = found[target] + z[kind] * x[source]
            y = layer.linear(torch.cat([x, torch.stack(found)], 1))
            x = torch.relu(layer.layer_norm(y)) + x
        return x

    number = graph.num_relations
    layers = model.relation_model.layers
    metas = [layer.relation.weight for layer in layers]
    ones = torch.ones(model.relation_model.width)
    relations = run(layers, 2 * number, sorted(meta_edges(graph)), metas, r, ones)
    # of a stored edge (a, b, type) a receives from b
    edges = [
        (a, b, kind)
        for a, b, kind in zip(*graph.edge_index.tolist(), graph.edge_type.tolist(), strict=True)
    ]
    layers = model.entity_model.layers
    vectors = [layer.relation_projection(relations) for layer in layers]
    query = relations[asked]
    x = run(layers, len(graph.entity), edges, vectors, start, query)
    return model.entity_model.mlp(torch.cat([x, query.expand_as(x)], 1)).squeeze(1)


@pytest.mark.parametrize("seed", range(3))
def test_relations_meet_as_defined(seed: int) -> None:
    graph = graph_of(seed)
    edges, kinds = kgt.relation_graph(graph)
    found = list(zip(edges[1].tolist(), edges[0].tolist(), kinds.tolist(), strict=True))
    assert len(found) == len(set(found))
    assert set(found) == meta_edges(graph)


def test_scores_and_gradients_are_those_of_the_slow_twin() -> None:
    graph, model = graph_of(0), model_of()
    read = model.encode(graph)
    head, relation = torch.tensor([0, 3, 3]), torch.tensor([1, 2, 1])
    tails, heads = (
        model.score_tails(read, head, relation),
        model.score_heads(read, relation, head),
    )
    slow_tails = torch.stack(
        [slow_score(model, graph, h, r, r) for h, r in zip(head, relation, strict=True)]
    )
    slow_heads = torch.stack(
        [slow_score(model, graph, h, r, r + 3) for h, r in zip(head, relation, strict=True)]
    )
    torch.testing.assert_close(tails, slow_tails)
    torch.testing.assert_close(heads, slow_heads)
    parameters = list(model.parameters())
    own = torch.autograd.grad(tails.square().sum() + heads.sum(), parameters)
    slow = torch.autograd.grad(slow_tails.square().sum() + slow_heads.sum(), parameters)
    for mine, other in zip(own, slow, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


def test_candidates_are_columns_and_kept_vectors_are_the_same() -> None:
    graph, model = graph_of(1), model_of().eval()
    read = model.encode(graph)
    head, relation = torch.tensor([0, 3]), torch.tensor([1, 2])
    every = model.score_tails(read, head, relation)
    few, own = torch.tensor([5, 2]), torch.tensor([[1, 1, 6], [0, 4, 2]])
    torch.testing.assert_close(model.score_tails(read, head, relation, few), every[:, few])
    torch.testing.assert_close(model.score_tails(read, head, relation, own), every.gather(1, own))
    with torch.no_grad():
        for _ in range(2):  # found, then kept
            torch.testing.assert_close(model.score_tails(read, head, relation), every)
    assert set(read.kept) == {1, 2}
    with torch.no_grad():
        model.relation_model.layers[0].linear.bias.add_(1.0)
        changed = model.score_tails(read, head, relation)
    torch.testing.assert_close(changed, model.score_tails(model.encode(graph), head, relation))
    with torch.no_grad():
        assert model.score_tails(read, head[:0], relation[:0]).shape == (0, 7)
        double = model.double()
        found = double.score_tails(double.encode(graph), head, relation)
    torch.testing.assert_close(found.float(), changed)


def test_names_of_entities_and_relations_do_not_count() -> None:
    """Other ids, and an entity and a relation more, give the same scores to the same things."""
    graph, model = graph_of(2), model_of().eval()
    entity, relation = torch.randperm(8)[:7], torch.randperm(4)[:3]
    number = graph.num_relations
    inverse = graph.edge_type >= number
    kinds = relation[graph.edge_type % number] + 4 * inverse
    other = GraphTensors(torch.arange(8), entity[graph.edge_index], kinds, 4)
    heads, asked = torch.arange(7), torch.arange(7) % 3
    before = model.score_tails(model.encode(graph), heads, asked)
    after = model.score_tails(model.encode(other), entity[heads], relation[asked])
    torch.testing.assert_close(after[:, entity], before)


@pytest.mark.parametrize("name", ["nell_v1", "fb237_v1"])
def test_published_weights_give_the_golden_scores(name: str) -> None:
    if not GOLDEN.is_dir():
        pytest.skip(f"needs the weights in {GOLDEN} (see KGT_DATA)")
    golden = np.load(GOLDEN / f"golden_{name}.npz", allow_pickle=False)
    model = kgt.read_foundation(GOLDEN / "ultra_3g.pth").eval()
    triples = torch.from_numpy(golden["graph_triples"]).long()
    head, relation, tail = triples.unbind(1)
    number = len(golden["relations"])
    edges = torch.stack([torch.cat([head, tail]), torch.cat([tail, head])])
    graph = GraphTensors(
        torch.arange(len(golden["entities"])), edges,
        torch.cat([relation, relation + number]), number,
    )  # fmt: skip
    with torch.no_grad():
        read = model.encode(graph)
        head, relation, tail = torch.from_numpy(golden["queries"]).long().unbind(1)
        tails = model.score_tails(read, head, relation)
        heads = model.score_heads(read, relation, tail)
    for found, wanted in ((tails, "tail_scores"), (heads, "head_scores")):
        torch.testing.assert_close(found, torch.from_numpy(golden[wanted]), rtol=0, atol=1e-4)


def test_bad_sizes_and_graphs_are_named() -> None:
    with pytest.raises(ValueError, match=r"layers must be at least 1 \(got 0\)"):
        kgt.FoundationModel(layers=0)
    empty = GraphTensors(torch.arange(2), torch.empty(2, 0).long(), torch.empty(0).long(), 0)
    with pytest.raises(ValueError, match="a graph with relations"):
        model_of().encode(empty)
    with pytest.raises(ValueError, match="reads no features"):
        kgt.build_model(
            kgt.ModelConfig(encoder="foundation"), num_entities=2, num_relations=1,
            features=torch.ones(2, 3),
        )  # fmt: skip
