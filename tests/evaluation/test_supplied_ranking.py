"""Ranks among supplied negatives: those of ogb's Evaluator, and what may go wrong."""

import pytest
import torch
from torch import Tensor

import pyg_kgtransfer as kgt
from pyg_kgtransfer.evaluation.supplied_ranking import Moved
from pyg_kgtransfer.serving.report import protocol_text

N, R, T, K = 40, 3, 60, 12


def held_out(seed: int = 0) -> kgt.HeldOut:
    generator = torch.Generator().manual_seed(seed)

    def drawn(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=generator)

    triples = torch.stack([drawn(N, T), drawn(R, T), drawn(N, T)], dim=1)
    negatives = kgt.SuppliedNegatives(drawn(N, T, K).int(), drawn(N, T, K).int())
    return kgt.HeldOut(triples, "test", negatives)


class Table:
    """Scores that were drawn, in tenths, so that many are equal."""

    def __init__(self, levels: int, seed: int = 1) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.scores = torch.randint(levels, (N, R, N), generator=generator).float() / 10
        self.asked: list[int] = []

    def score_tails(self, representations, head, relation, candidates) -> Tensor:
        self.asked.append(len(head))
        return self.scores[head[:, None], relation[:, None], candidates]

    def score_heads(self, representations, relation, tail, candidates) -> Tensor:
        return self.scores[candidates, relation[:, None], tail[:, None]]


@pytest.mark.parametrize("levels", [2, 5, 10_000, 1])
def test_ranks_are_those_of_ogb(levels: int) -> None:
    """Some ties, many, none, all."""
    evaluator = pytest.importorskip("ogb.linkproppred").Evaluator("ogbl-wikikg2")
    test, model = held_out(), Table(levels)
    metrics = kgt.SuppliedRanking(test, N)(model, None).metrics()
    head, relation, tail = test.triples.unbind(1)
    theirs = {}
    for side, scores in (
        ("head", model.score_heads(None, relation, tail, test.negatives.head.long())),
        ("tail", model.score_tails(None, head, relation, test.negatives.tail.long())),
    ):
        true = model.scores[head, relation, tail]
        theirs[side] = evaluator.eval({"y_pred_pos": true, "y_pred_neg": scores})
        for name in ("mrr", "hits@1", "hits@3", "hits@10"):
            ours = metrics[f"{side}.{name}"]
            assert ours == pytest.approx(theirs[side][f"{name}_list"].mean().item(), abs=1e-6)
    for name in ("mrr", "hits@1", "hits@3", "hits@10"):
        both = torch.cat([theirs[side][f"{name}_list"] for side in ("head", "tail")])
        assert metrics[name] == pytest.approx(both.mean().item(), abs=1e-6)


def test_ranks_by_loops() -> None:
    test, model = held_out(), Table(4)
    found = kgt.SuppliedRanking(test, N)(model, None)
    for row, (h, r, t) in enumerate(test.triples.tolist()):
        true = model.scores[h, r, t]
        others = [model.scores[e, r, t] for e in test.negatives.head[row].tolist()]
        rank = 1 + 0.5 * (sum(o > true for o in others) + sum(o >= true for o in others))
        assert found.ranks[row, 0] == rank
        others = [model.scores[h, r, e] for e in test.negatives.tail[row].tolist()]
        rank = 1 + 0.5 * (sum(o > true for o in others) + sum(o >= true for o in others))
        assert found.ranks[row, 1] == rank
    assert found.num_candidates.unique().tolist() == [K + 1]


def test_chunks_follow_the_budget_and_change_nothing() -> None:
    test = held_out()
    whole, parts = Table(4), Table(4)
    first = kgt.SuppliedRanking(test, N)(whole, None)
    second = kgt.SuppliedRanking(test, N, memory_mb=7 * 28 * (K + 1) / 2**20)(parts, None)
    assert torch.equal(first.ranks, second.ranks)
    assert (whole.asked, parts.asked) == ([60], [7] * 8 + [4])


@pytest.mark.parametrize("encoder", ["shallow", "compgcn"])
@pytest.mark.parametrize("decoder", ["complex", "transe_l1", "rotate", "transr", "conve"])
def test_models_score_candidates_of_their_own_as_they_score_all(encoder, decoder) -> None:
    test = held_out()
    config = kgt.ModelConfig(encoder=encoder, decoder=decoder, width=12, dropout=0.5)
    torch.manual_seed(0)
    model = kgt.build_model(config, num_entities=N, num_relations=R).train()
    triples = held_out(7).triples
    edges = kgt.GraphTensors(torch.arange(N), triples[:, [0, 2]].T, triples[:, 1], R)
    vectors = model.eval().encode(edges)
    found = kgt.SuppliedRanking(test, N)(model.train(), vectors)
    assert model.training
    with torch.no_grad():
        head, relation, tail = test.triples.unbind(1)
        every = model.eval().score_tails(vectors, head, relation)
    own = every.gather(1, test.negatives.tail.long())
    true = every.gather(1, tail[:, None])
    distance = (own - true).abs()
    clear = ((distance > 1e-5) | (test.negatives.tail == tail[:, None])).all(1)
    ranks = 1 + 0.5 * ((own > true).sum(1) + (own >= true).sum(1))
    assert clear.sum() > T // 2
    assert torch.equal(found.ranks[clear, 1], ranks[clear].double())


def test_only_the_vectors_that_are_asked_for_are_read() -> None:
    """All others are no numbers, and no rank is lost."""
    test = held_out()
    shown = torch.cat([test.triples[:5, [0, 2]].flatten(), test.negatives.head[:5].flatten()])
    shown = torch.cat([shown, test.negatives.tail[:5].flatten()]).long()
    config = kgt.ModelConfig(encoder="shallow", decoder="distmult", width=4)
    model = kgt.build_model(config, num_entities=100 * N, num_relations=R)
    with torch.no_grad():
        kept = model.encoder.inputs.weight[shown].clone()
        model.encoder.inputs.weight.fill_(torch.nan)
        model.encoder.inputs.weight[shown] = kept
    few = kgt.HeldOut(test.triples[:5], "test", test.negatives.select(torch.arange(5)))
    graph = kgt.GraphTensors(torch.arange(100 * N), test.triples[:, [0, 2]].T, test.triples.T[1], R)
    assert len(kgt.SuppliedRanking(few, N)(model, model.encode(graph))) == 5


def test_ids_are_moved_to_those_of_the_model() -> None:
    test, model = held_out(), Table(9)
    entity = torch.randperm(N, generator=torch.Generator().manual_seed(3))
    relation = torch.tensor([2, 0, 1])
    other = Table(9)
    other.scores[entity[:, None, None], relation[None, :, None], entity[None, None]] = model.scores
    moved = Moved(entity, relation)
    found = kgt.SuppliedRanking(test, N, moved=moved)(other, None)
    assert torch.equal(found.ranks, kgt.SuppliedRanking(test, N)(model, None).ranks)
    assert torch.equal(found.triples[:, 0], entity[test.triples[:, 0]])


def test_the_protocol_tells_that_negatives_were_supplied() -> None:
    test, model = held_out(), Table(9)
    found = kgt.SuppliedRanking(test, N)(model, None)
    assert found.protocol["negatives"] == "supplied: 12 of each fact and side"
    assert (found.protocol["candidates"], found.protocol["split"]) == (K + 1, "test")
    assert "among supplied negatives" in repr(found)
    assert "among negatives (supplied: 12 of each fact and side), not among all 40 ent" in (
        protocol_text(found.protocol)
    )
    for more in (0, N - K - 1):  # as many candidates, and all entities
        other = kgt.LinkPredictionResult(
            found.triples, found.optimistic, found.pessimistic, found.num_candidates + more
        )
        with pytest.raises(ValueError, match="ranks among supplied negatives are none among all"):
            kgt.compare(found, other)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("side", ["head", "tail"])
def test_a_score_that_is_not_finite_names_its_triple(value: float, side: str) -> None:
    test, model = held_out(), Table(9)
    h, r, t = test.triples[4].tolist()
    wrong = int(test.negatives.head[4, 2] if side == "head" else test.negatives.tail[4, 2])
    triple = (wrong, r, t) if side == "head" else (h, r, wrong)
    model.scores[triple] = value
    named = "entity {}, relation {}, entity {}".format(*triple)
    with pytest.raises(ValueError, match=rf"must be finite \(got {value} for \({named}\)"):
        kgt.SuppliedRanking(test, N)(model, None)


def test_what_cannot_be_ranked_is_told() -> None:
    test = held_out()
    bare = kgt.HeldOut(test.triples, "valid")
    with pytest.raises(ValueError, match="the valid facts come without negatives"):
        kgt.SuppliedRanking(bare, N)
    none = kgt.HeldOut(test.triples[:0], "test", test.negatives.select(torch.arange(0)))
    with pytest.raises(ValueError, match="nothing to rank: the test split is empty"):
        kgt.SuppliedRanking(none, N)
    with pytest.raises(ValueError, match=r"entity ids in \[0, 20\)"):
        kgt.SuppliedRanking(test, 20)
    high = kgt.SuppliedNegatives(test.negatives.head + N, test.negatives.tail)
    with pytest.raises(ValueError, match=r"negatives must be entity ids in \[0, 40\)"):
        kgt.SuppliedRanking(kgt.HeldOut(test.triples, "test", high), N)

    class Short(Table):
        def score_tails(self, representations, head, relation, candidates):
            return super().score_tails(representations, head, relation, candidates)[:, 1:]

    with pytest.raises(ValueError, match=r"must score 13 candidates .*\(got \(60, 12\)\)"):
        kgt.SuppliedRanking(test, N)(Short(9), None)


def test_a_split_ranks_its_parts() -> None:
    graph = kgt.KnowledgeGraph(
        kgt.Vocabulary(map(str, range(N))), kgt.Vocabulary("abc"), held_out(5).triples, "world"
    )
    test = held_out()
    split = kgt.Split(graph, kgt.HeldOut(test.triples, "valid", test.negatives), test)
    found = kgt.SuppliedRanking.from_split(split, "valid")(Table(9), None)
    assert found.protocol["split"] == "valid"
    assert set(found.by("relation")) == {"a", "b", "c"}
    assert "popularity" in found.available_groups()
    with pytest.raises(ValueError, match=r"'valid' or 'test' \(got 'train'\)"):
        kgt.SuppliedRanking.from_split(split, "train")
