"""Hidden edges, relations of a pair, two views: what is asked, what is seen, what is learned."""

import pytest
import torch
import torch.nn.functional as F

import pyg_kgtransfer as kgt
from pyg_kgtransfer.functional import losses
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.models.build import ModelConfig, build_model
from pyg_kgtransfer.objectives.link_prediction import OneVsAll
from pyg_kgtransfer.objectives.objective import Batch, Mixture, Objective
from pyg_kgtransfer.objectives.self_supervision import (
    ContrastiveViews,
    MaskedEdges,
    RelationPrediction,
)
from pyg_kgtransfer.sources.synthetic import planted

DECODERS = ("transe_l1", "transr", "distmult", "complex", "rotate", "tucker", "conve")


def relation_loss(model, vectors, triples, candidates, known=frozenset()) -> float:
    """Fact by fact and relation by relation, from both ends where the model is reciprocal."""
    total = []
    for head, relation, tail in triples.tolist():
        h, t = torch.tensor([head]), torch.tensor([tail])
        kept = [r for r in candidates if r == relation or (head, r, tail) not in known]
        place = torch.tensor([kept.index(relation)])
        for asked in ("tail", "head")[: 1 + model.reciprocal]:
            scores = [
                model.score_tails(vectors, h, torch.tensor([r]))[0, tail]
                if asked == "tail"
                else model.score_heads(vectors, torch.tensor([r]), t)[0, head]
                for r in kept
            ]
            total.append(F.cross_entropy(torch.stack(scores)[None], place))
    return torch.stack(total).mean().item()


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("reciprocal", [False, True])
def test_relations_are_told_apart_as_fact_by_fact(graph, batch, decoder, reciprocal) -> None:
    if decoder in ("tucker", "conve") and not reciprocal:
        pytest.skip("these answer heads by inverse relations alone")
    config = ModelConfig("shallow", decoder, width=12, reciprocal=reciprocal)
    torch.manual_seed(0)
    model = build_model(config, num_entities=10, num_relations=3).eval()
    vectors = model.encode(graph.tensors())
    known = KnownTriples([graph.triples], num_entities=10, num_relations=3)
    stated = {tuple(fact) for fact in graph.triples.tolist()}
    assert len({(h, t) for h, _, t in stated}) < len(stated)  # some pairs have two relations
    for given, facts in ((None, frozenset()), (known, stated)):
        value = RelationPrediction(3, known=given)(model, vectors, batch)
        expected = relation_loss(model, vectors, batch.triples, [0, 1, 2], facts)
        assert value.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("encoder", ["shallow", "compgcn"])
def test_inverse_relations_are_no_candidates(graph, batch, encoder) -> None:
    """A CompGCN has vectors of inverses though its model is not reciprocal."""
    torch.manual_seed(0)
    config = ModelConfig(encoder, "distmult", width=6, reciprocal=False)
    model = build_model(config, num_entities=10, num_relations=3)
    vectors = model.encode(graph.tensors())
    value = RelationPrediction(3)(model, vectors, batch)
    expected = relation_loss(model, vectors, batch.triples, [0, 1, 2])
    assert value.item() == pytest.approx(expected, rel=1e-4)


def test_sampled_relations_hold_the_batches_own(graph, model) -> None:
    batch = Batch(graph.triples[graph.triples[:, 1] > 0][:6], torch.Generator().manual_seed(0))
    vectors = model.encode(graph.tensors())
    whole = RelationPrediction(3)(model, vectors, batch)
    torch.testing.assert_close(
        RelationPrediction(3, num_candidates=3)(model, vectors, batch), whole
    )
    seen = {
        round(RelationPrediction(3, num_candidates=1)(model, vectors, batch).item(), 5)
        for _ in range(20)
    }
    few = (relation_loss(model, vectors, batch.triples, own) for own in ([1, 2], [0, 1, 2]))
    assert seen == {round(value, 5) for value in few}


def test_relations_are_never_asked_of_all_entities_at_once() -> None:
    """[B, R, N] would be 64 x 50 x 3,000 numbers; [B x R, D] is what it holds."""
    from tests.test_laws_of_the_house import LargestTensor

    config = ModelConfig("shallow", "distmult", width=8)
    model = build_model(config, num_entities=3000, num_relations=50)
    triples = torch.stack([torch.arange(64), torch.arange(64) % 50, torch.arange(64) + 9], 1)
    vectors = model.encode(kgt.GraphTensors(torch.arange(3000), triples.T, triples.T, 50))
    with LargestTensor() as largest:
        RelationPrediction(50)(model, vectors, Batch(triples, torch.Generator()))
    assert largest.elements <= 64 * 50 * 8


class Seen(Objective):
    """Keeps what was encoded last, and what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[torch.Tensor] = []

    def forward(self, model, representations, batch):
        assert batch.source is None
        self.asked.append(batch.triples)
        return representations.entity.sum()


@pytest.fixture
def watched():
    """A CompGCN of the planted graph, and the graphs that it reads."""
    split = planted(40)
    torch.manual_seed(0)
    config = ModelConfig("compgcn", width=8)
    relations = split.train.num_relations
    model = build_model(config, num_entities=40, num_relations=relations)
    read: list[kgt.GraphTensors] = []
    model.encoder.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    return split.train, model, read


def test_hidden_facts_are_asked_for_and_not_seen(watched) -> None:
    graph, model, read = watched
    asked = Seen()
    masked = MaskedEdges(graph.tensors(), asked, share=0.25, sample_size=10)
    for seed in (0, 0, 1):
        batch = Batch(graph.triples, torch.Generator().manual_seed(seed), torch.zeros(1))
        masked(model, None, batch)
    number = graph.num_triples
    for left, triples in zip(read, asked.asked, strict=True):
        seen = {tuple(fact) for fact in left.facts().tolist()}
        assert left.edge_index.shape[1] == 2 * len(seen) == 2 * (number - round(0.25 * number))
        assert len(triples) == 10
        assert not seen & {tuple(fact) for fact in triples.tolist()}
        stated = {tuple(fact) for fact in graph.triples.tolist()}
        assert seen | {tuple(fact) for fact in triples.tolist()} <= stated
    assert torch.equal(asked.asked[0], asked.asked[1])
    assert not torch.equal(asked.asked[0], asked.asked[2])


def test_terms_of_hidden_facts_keep_their_names(watched) -> None:
    graph, model, _ = watched
    both = Mixture({"entities": OneVsAll(), "relations": RelationPrediction(7)})
    masked = MaskedEdges(graph.tensors(), both)
    terms = Mixture({"masked": masked}, {"masked": 0.5}).terms(
        model, None, Batch(graph.triples, torch.Generator().manual_seed(0))
    )
    assert list(terms) == ["masked.entities", "masked.relations"]
    whole = masked(model, None, Batch(graph.triples, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(0.5 * whole, sum(terms.values()))


def test_two_views_leave_out_facts_of_their_own(watched) -> None:
    graph, model, read = watched
    views = ContrastiveViews(graph.tensors(), share=0.25, temperature=0.7, sample_size=12)
    loss = views(model, None, Batch(graph.triples, torch.Generator().manual_seed(3)))
    left, right = read
    number = graph.num_triples - round(0.25 * graph.num_triples)
    seen = [{tuple(fact) for fact in view.facts().tolist()} for view in (left, right)]
    assert len(seen[0]) == len(seen[1]) == number
    assert len(seen[0] & seen[1]) < number - 10
    generator = torch.Generator().manual_seed(3)
    rows = torch.unique(graph.triples[:, [0, 2]])
    rows = rows[torch.randperm(len(rows), generator=generator)[:12]]
    expected = losses.contrastive_loss(
        model.encode(left).entity[rows], model.encode(right).entity[rows], temperature=0.7
    )
    torch.testing.assert_close(loss, expected)


def test_entities_without_a_fact_are_not_drawn() -> None:
    names = [f"e{i}" for i in range(30)]
    facts = [(f"e{i}", "next", f"e{i + 1}") for i in range(4)]
    graph = kgt.KnowledgeGraph.from_names(facts, entities=names)
    views = ContrastiveViews(graph.tensors(), share=0.3)
    assert views.rows.tolist() == [0, 1, 2, 3, 4]


def trained(objective: Objective, split: kgt.Split, epochs: int, *, residual: bool = True):
    """A CompGCN under ``objective`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = ModelConfig("compgcn", width=32, residual=residual)
        relations = split.train.num_relations
        model = build_model(config, num_entities=40, num_relations=relations)
    training = kgt.TrainConfig(epochs=epochs, learning_rate=0.02, progress=False, accelerator="cpu")
    kgt.Trainer(training).fit(
        model,
        objective,
        kgt.TripleBatches(split.train.triples, kgt.BatchOptions(batch_size=512)),
        graph=split.train.tensors(),
    )
    return model


def test_hidden_edges_teach_what_is_asked_later_and_random_ones_do_not() -> None:
    split = planted(40)
    found = []
    order = torch.randperm(split.train.num_triples, generator=torch.Generator().manual_seed(0))
    triples = split.train.triples
    random = split.train.with_triples(torch.cat([triples[:, :2], triples[order, 2:]], 1))
    for graph in (split.train, random):
        model = trained(MaskedEdges(graph.tensors(), OneVsAll()), split, epochs=60)
        rank = kgt.ranking_of(split)
        found.append(rank(model, model.encode(split.train.tensors())).metrics()["mrr"])
    assert found[0] > 0.5
    assert found[1] < 0.25  # chance is 0.11


def test_after_training_an_entity_is_found_again_in_views_never_seen() -> None:
    split = planted(40)
    tensors, generator = split.train.tensors(), torch.Generator().manual_seed(9)
    views = [tensors.thinned(0.8, generator)[0] for _ in range(2)]
    found = []
    for epochs in (1, 30):
        views_of = ContrastiveViews(tensors, share=0.8)
        model = trained(views_of, split, epochs=epochs, residual=False)
        left, right = (F.normalize(model.encode(view).entity, dim=1) for view in views)
        nearest = (left @ right.t()).argmax(1)
        found.append(float((nearest == torch.arange(40)).float().mean()))
    assert found[1] > 0.95 > found[0] + 0.2


def test_shallow_encoders_and_foundation_models_are_refused(graph) -> None:
    tensors = graph.tensors()
    batch = Batch(graph.triples, torch.Generator())
    shallow = build_model(ModelConfig("shallow", width=8), num_entities=10, num_relations=3)
    foundation = kgt.FoundationModel(4, 1)
    for objective, what in (
        (MaskedEdges(tensors, OneVsAll()), "masked edges"),
        (ContrastiveViews(tensors), "contrastive views"),
    ):
        with pytest.raises(ValueError, match=rf"{what} needs an encoder with message-passing"):
            objective(shallow, shallow.encode(tensors), batch)
        with pytest.raises(ValueError, match=rf"{what} needs a model with a vector"):
            objective(foundation, foundation.encode(tensors), batch)
    with pytest.raises(ValueError, match="relation prediction needs a model with a vector"):
        RelationPrediction(3)(foundation, foundation.encode(tensors), batch)


@pytest.mark.parametrize("share", [0.0, 1.0, 1e-6, 0.999])
@pytest.mark.parametrize("kind", [MaskedEdges, ContrastiveViews])
def test_a_share_must_hide_some_and_leave_some(graph, kind, share) -> None:
    given = (graph.tensors(),) if kind is ContrastiveViews else (graph.tensors(), OneVsAll())
    with pytest.raises(ValueError, match=r"leave.* out .*\(got"):
        kind(*given, share=share)


def test_numbers_out_of_range_are_named(graph) -> None:
    tensors = graph.tensors()
    with pytest.raises(ValueError, match=r"temperature must be above 0 \(got 0.0\)"):
        ContrastiveViews(tensors, temperature=0.0)
    with pytest.raises(ValueError, match=r"sample_size must be at least 2 \(got 1\)"):
        ContrastiveViews(tensors, sample_size=1)
    with pytest.raises(ValueError, match=r"sample_size must be at least 1 \(got 0\)"):
        MaskedEdges(tensors, OneVsAll(), sample_size=0)
    with pytest.raises(ValueError, match=r"num_relations must be at least 1 \(got 0\)"):
        RelationPrediction(0)
    with pytest.raises(ValueError, match=r"num_candidates must be at least 1 \(got 0\)"):
        RelationPrediction(3, num_candidates=0)
