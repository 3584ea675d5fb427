from functools import partial

import pytest
import torch
import torch.nn.functional as F

from pyg_kgtransfer.functional import losses
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.objectives.build import ObjectiveConfig, build_objective
from pyg_kgtransfer.objectives.link_prediction import N3, KvsAll, NegativeSampling, OneVsAll
from pyg_kgtransfer.objectives.objective import Batch

PAIR_LOSSES = [
    losses.softplus_loss,
    partial(losses.margin_loss, margin=1.0),
    partial(losses.self_adversarial_loss, margin=1.0, temperature=1.0),
]


def descent(objective, model, graph, batch, steps: int = 60) -> tuple[float, float]:
    """The loss before and after some steps of Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    values = []
    for _ in range(steps):
        loss = objective(model, model.encode(graph.tensors()), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    return values[0], values[-1]


@pytest.mark.parametrize("loss", PAIR_LOSSES)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("filtered", [False, True])
def test_negative_sampling_learns(graph, model, batch, loss, shared, filtered) -> None:
    known = KnownTriples([graph.triples], num_entities=10, num_relations=3) if filtered else None
    objective = NegativeSampling(loss, num_negatives=8, shared=shared, known=known)
    first, last = descent(objective, model, graph, batch)
    assert last < 0.8 * first


def test_filtered_negatives_are_never_known(graph, model) -> None:
    seen = []

    def spy(positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
        seen.append(negative)
        return negative.exp().mean()

    every_tail = torch.tensor([[0, 0, t] for t in range(9)])
    known = KnownTriples([every_tail], num_entities=10, num_relations=3)
    batch = Batch(every_tail[:1], torch.Generator().manual_seed(0))
    NegativeSampling(spy, num_negatives=200, known=known)(
        model, model.encode(graph.tensors()), batch
    )
    tails = seen[0]
    assert 0 < torch.isfinite(tails).sum() < 60  # only entity 9 may stand as a tail
    unfiltered = NegativeSampling(spy, num_negatives=200)
    unfiltered(model, model.encode(graph.tensors()), batch)
    assert torch.isfinite(seen[2]).all()


def test_the_entity_asked_about_may_be_a_negative(graph, model) -> None:
    """Of a fact (h, r, t) the last negatives are h and t; of a loop they are drawn ones."""
    seen = []

    def loss(positive, negative):
        seen.append(negative)
        return negative.sum()

    batch = Batch(torch.tensor([[0, 1, 2], [3, 1, 3]]), torch.Generator().manual_seed(0))
    vectors = model.encode(graph.tensors())
    NegativeSampling(loss, num_negatives=4, with_self=True)(model, vectors, batch)
    tails, heads = seen
    assert tails.shape == heads.shape == (2, 5)
    loops = model.score(vectors, torch.tensor([[0, 1, 0], [2, 1, 2], [3, 1, 3]]))
    torch.testing.assert_close(torch.stack([tails[0, -1], heads[0, -1]]), loops[:2])
    assert torch.equal(tails[1, -1], tails[1, 0])
    with pytest.raises(ValueError, match="with_self"):
        NegativeSampling(loss, shared=True, with_self=True)
    with pytest.raises(ValueError, match="with_self"):
        ObjectiveConfig("softplus", shared_negatives=True, with_self=True)


def test_weighted_negatives_come_from_the_weights(graph, model, batch) -> None:
    weights = torch.zeros(10)
    weights[4] = 1.0
    objective = NegativeSampling(lambda p, n: n.sum(), num_negatives=3, entity_weights=weights)
    representations = model.encode(graph.tensors())
    head, relation, tail = batch.triples.unbind(1)
    four = torch.full((len(head), 3), 4)
    expected = model.score_tails(representations, head, relation, four).sum()
    expected = expected + model.score_heads(representations, relation, tail, four).sum()
    assert objective(model, representations, batch).item() == pytest.approx(expected.item() / 2)


@pytest.mark.parametrize("reciprocal", [False, True])
def test_one_vs_all_is_cross_entropy_of_both_sides(graph, make_model, batch, reciprocal) -> None:
    model = make_model(6, 0, reciprocal=reciprocal)
    representations = model.encode(graph.tensors())
    head, relation, tail = batch.triples.unbind(1)
    tails = F.cross_entropy(model.score_tails(representations, head, relation), tail)
    heads = F.cross_entropy(model.score_heads(representations, relation, tail), head)
    value = OneVsAll()(model, representations, batch)
    assert value.item() == pytest.approx(((tails + heads) / 2).item())
    all_sampled = OneVsAll(num_candidates=10)(model, representations, batch)
    assert all_sampled.item() == pytest.approx(value.item())
    assert OneVsAll(num_candidates=4)(model, representations, batch) < value


def test_k_vs_all_labels_every_known_answer(graph, model, batch) -> None:
    known = KnownTriples([graph.triples], num_entities=10, num_relations=3)
    representations = model.encode(graph.tensors())
    total = 0.0
    for side in ("tail", "head"):
        rows = {tuple(t[:2] if side == "tail" else t[1:]) for t in batch.triples.tolist()}
        values = []
        for row in sorted(rows):
            first, second = torch.tensor([row[0]]), torch.tensor([row[1]])
            if side == "tail":
                scores = model.score_tails(representations, first, second)[0]
                answers = {t[2] for t in graph.triples.tolist() if tuple(t[:2]) == row}
            else:
                scores = model.score_heads(representations, first, second)[0]
                answers = {t[0] for t in graph.triples.tolist() if tuple(t[1:]) == row}
            labels = torch.tensor([float(e in answers) for e in range(10)])
            values.append(F.binary_cross_entropy_with_logits(scores, labels))
        total += torch.stack(values).mean().item() / 2
    assert KvsAll(known)(model, representations, batch).item() == pytest.approx(total, rel=1e-5)


def test_n3_counts_inverse_vectors_of_reciprocal_models(graph, make_model, batch) -> None:
    plain, reciprocal = make_model(6, 0), make_model(6, 0, reciprocal=True)
    with torch.no_grad():
        reciprocal.encoder.relation[3:] = reciprocal.encoder.relation[:3]
    values = [N3()(m, m.encode(graph.tensors()), batch).item() for m in (plain, reciprocal)]
    assert values[0] == pytest.approx(values[1])


@pytest.mark.parametrize(
    "config",
    [
        ObjectiveConfig(),
        ObjectiveConfig(n3=0.1, num_candidates=5),
        ObjectiveConfig(loss="k_vs_all", label_smoothing=0.1),
        ObjectiveConfig(loss="margin", margin=1.0, filtered=True),
        ObjectiveConfig(loss="softplus", shared_negatives=True),
        ObjectiveConfig(loss="self_adversarial", num_negatives=4),
    ],
)
def test_built_objectives_are_finite(config, graph, model, batch) -> None:
    known = KnownTriples([graph.triples], num_entities=10, num_relations=3)
    objective = build_objective(config, known)
    assert torch.isfinite(objective(model, model.encode(graph.tensors()), batch))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "one_vs_al"}, "did you mean 'one_vs_all'"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"n3": -1.0}, "n3"),
    ],
)
def test_bad_options_are_named(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        ObjectiveConfig(**options)


def test_no_negatives_is_refused() -> None:
    with pytest.raises(ValueError, match="num_negatives"):
        NegativeSampling(losses.softplus_loss, num_negatives=0)
