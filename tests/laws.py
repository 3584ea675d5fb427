"""The laws that every encoder, decoder and model obeys; a model of your own can be held to them."""

import copy

import torch
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors
from pyg_kgtransfer.models.encoder import Representations
from pyg_kgtransfer.models.kg_model import KGModel

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def encoded(model: KGModel, graph: GraphTensors) -> Representations:
    model.eval()
    with torch.no_grad():
        return model.encode(graph)


def some_triples(graph: GraphTensors) -> Tensor:
    """Six triples of the graph's ids, true or not."""
    generator = torch.Generator().manual_seed(5)
    rows = torch.randint(len(graph.entity), (6, 2), generator=generator)
    relation = torch.randint(graph.num_relations, (6, 1), generator=generator)
    return torch.cat([rows[:, :1], relation, rows[:, 1:]], dim=1)


def shapes_are_as_promised(model: KGModel, graph: GraphTensors) -> None:
    out = encoded(model, graph)
    num_rows, width = len(graph.entity), model.encoder.width
    assert out.entity.shape == (num_rows, width)
    assert out.relation.shape[1] == model.decoder.relation_width(width)
    assert len(out.hidden) == model.encoder.num_layers
    assert all(hidden.shape == (num_rows, width) for hidden in out.hidden)
    assert all(bool(torch.isfinite(t).all()) for t in (out.entity, out.relation, *out.hidden))


def edge_order_does_not_matter(model: KGModel, graph: GraphTensors) -> None:
    order = torch.randperm(len(graph.edge_type), generator=torch.Generator().manual_seed(1))
    shuffled = graph._replace(
        edge_index=graph.edge_index[:, order], edge_type=graph.edge_type[order]
    )
    expected, got = encoded(model, graph), encoded(model, shuffled)
    torch.testing.assert_close(got.entity, expected.entity, **CLOSE)
    torch.testing.assert_close(got.hidden, expected.hidden, **CLOSE)


def row_order_does_not_matter(model: KGModel, graph: GraphTensors) -> None:
    order = torch.randperm(len(graph.entity), generator=torch.Generator().manual_seed(2))
    new_row = torch.argsort(order)
    permuted = graph._replace(entity=graph.entity[order], edge_index=new_row[graph.edge_index])
    expected, got = encoded(model, graph), encoded(model, permuted)
    torch.testing.assert_close(got.entity, expected.entity[order], **CLOSE)
    torch.testing.assert_close(got.relation, expected.relation, **CLOSE)


def scores_agree_in_every_form(model: KGModel, graph: GraphTensors) -> None:
    out, triples = encoded(model, graph), some_triples(graph)
    head, relation, tail = triples.unbind(1)
    rows = torch.arange(len(triples))
    shared = torch.tensor([3, 0, 0])
    own = shared[torch.stack([rows % 3, (rows + 1) % 3], dim=1)]  # [6, 2]
    with torch.no_grad():
        single = model.score(out, triples)
        for given, answer, function in (
            ((head, relation), tail, model.score_tails),
            ((relation, tail), head, model.score_heads),
        ):
            every = function(out, *given)
            assert every.shape == (len(triples), len(graph.entity))
            if answer is tail or not model.reciprocal:
                torch.testing.assert_close(every[rows, answer], single, **CLOSE)
            torch.testing.assert_close(function(out, *given, shared), every[:, shared], **CLOSE)
            torch.testing.assert_close(function(out, *given, own), every.gather(1, own), **CLOSE)


def evaluation_is_deterministic(model: KGModel, graph: GraphTensors) -> None:
    first, second = encoded(model, graph), encoded(model, graph)
    assert torch.equal(first.entity, second.entity)
    assert torch.equal(first.relation, second.relation)


def saved_and_loaded_is_the_same(model: KGModel, fresh: KGModel, graph: GraphTensors) -> None:
    before = encoded(fresh, graph)
    expected = encoded(model, graph)
    assert not torch.equal(before.entity, expected.entity)  # else loading shows nothing
    fresh.load_state_dict(copy.deepcopy(model.state_dict()))
    got = encoded(fresh, graph)
    assert torch.equal(got.entity, expected.entity)
    assert torch.equal(got.relation, expected.relation)


def every_parameter_gets_a_gradient(model: KGModel, graph: GraphTensors) -> None:
    model.train()
    model.zero_grad()
    out, triples = model.encode(graph), some_triples(graph)
    head, relation, tail = triples.unbind(1)
    scores = model.score_tails(out, head, relation), model.score_heads(out, relation, tail)
    sum(score.square().mean() for score in scores).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{name} gets no gradient"
        assert bool(torch.isfinite(parameter.grad).all()), f"{name} gets a bad gradient"
        assert bool(parameter.grad.any()), f"{name} gets a zero gradient"


def compiled_equals_eager(model: KGModel, graph: GraphTensors) -> None:
    model.eval()
    triples = some_triples(graph)

    def loss(encoded_graph: GraphTensors) -> Tensor:
        return model.score(model.encode(encoded_graph), triples).square().mean()

    results = []
    for function in (loss, torch.compile(loss, backend="aot_eager")):
        model.zero_grad()
        value = function(graph)
        value.backward()
        results.append((value.detach(), [p.grad.clone() for p in model.parameters()]))
    torch.testing.assert_close(results[0], results[1], **CLOSE)


def device_does_not_matter(model: KGModel, graph: GraphTensors, device: str) -> None:
    triples = some_triples(graph)
    expected = model.score(encoded(model, graph), triples)
    moved = copy.deepcopy(model).to(device)
    got = moved.score(encoded(moved, graph.to(device)), triples.to(device))
    torch.testing.assert_close(got.cpu(), expected, rtol=1e-3, atol=1e-4)
