"""Ranks against a slow dense twin, the protocol, and what is refused."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pyg_kgtransfer.evaluation.link_prediction import LinkPrediction
from pyg_kgtransfer.evaluation.result import Groups
from pyg_kgtransfer.evaluation.streaming import SCORE_BYTES
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.models.decoders import ComplEx
from pyg_kgtransfer.models.encoder import Encoder, Representations
from pyg_kgtransfer.models.kg_model import KGModel


class Table(nn.Module):
    """A model that looks scores up: [N, R, N]. It fails above ``most`` queries at a time."""

    def __init__(self, table: torch.Tensor, most: int = 10**9) -> None:
        super().__init__()
        self.table = table
        self.most = most
        self.asked: list[int] = []

    def score_tails(self, representations, head, relation, candidates=None):
        return self._answer(self.table[head, relation], candidates)

    def score_heads(self, representations, relation, tail, candidates=None):
        return self._answer(self.table[:, relation, tail].t(), candidates)

    def _answer(self, scores, candidates):
        assert not self.training
        assert not torch.is_grad_enabled()
        self.asked.append(len(scores))
        if len(scores) > self.most:
            raise torch.OutOfMemoryError("simulated")
        return scores if candidates is None else scores[:, candidates]


def slow_ranks(table, triples, known, candidates):
    """(optimistic, pessimistic, candidates) of each triple's head and tail side, in plain loops."""
    facts = {tuple(t) for t in known} | {tuple(t) for t in triples}
    every = []
    for h, r, t in triples:
        sides = []
        for is_tail in (False, True):
            true = table[h][r][t]
            above = same = competing = 0
            for c in candidates:
                fact = (h, r, c) if is_tail else (c, r, t)
                if fact in facts and fact != (h, r, t):
                    continue
                competing += 1
                score = table[fact[0]][r][fact[2]]
                above += score > true
                same += score == true  # the true answer included
            sides.append((above + 1, above + same, competing))
        every.append(sides)
    return torch.tensor(every).double()  # [T, 2, 3]


@st.composite
def worlds(draw: st.DrawFn):
    n, r = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    entity = st.integers(0, n - 1)
    triple = st.tuples(entity, st.integers(0, r - 1), entity)  # self-loops, repeats, any relation
    triples = draw(st.lists(triple, min_size=1, max_size=6))
    known = draw(st.lists(triple, max_size=8))
    score = st.integers(-1, 2)  # many ties
    flat = draw(st.lists(score, min_size=n * r * n, max_size=n * r * n))
    table = torch.tensor(flat, dtype=torch.float).view(n, r, n)
    needed = {end for h, _, t in triples for end in (h, t)}
    extra = draw(st.sets(entity))
    order = draw(st.permutations(sorted(needed | extra)))
    return table, triples, known, draw(st.sampled_from([None, order]))


def known_of(triples, table):
    rows = torch.tensor(triples, dtype=torch.long).view(-1, 3)
    return KnownTriples([rows], num_entities=len(table), num_relations=table.shape[1])


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_ranks_equal_the_slow_twin_for_every_chunk(world):
    table, triples, known, candidates = world
    own = list(range(len(table))) if candidates is None else candidates
    expected = slow_ranks(table.tolist(), triples, known, own)
    index = known_of(known, table)
    for queries in range(1, len(triples) + 1):
        evaluate = LinkPrediction(
            torch.tensor(triples),
            index,
            candidates=None if candidates is None else torch.tensor(candidates),
            memory_mb=queries * len(own) * SCORE_BYTES / 2**20,
        )
        model = Table(table)
        result = evaluate(model, None)
        assert max(model.asked) <= queries
        assert torch.equal(result.optimistic, expected[:, :, 0])
        assert torch.equal(result.pessimistic, expected[:, :, 1])
        assert torch.equal(result.ranks, expected[:, :, :2].mean(2))
        assert torch.equal(result.num_candidates, expected[:, :, 2].long())


def some_world(n=6, r=2, t=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    table = torch.randint(4, (n, r, n), generator=generator).float()
    triples = torch.stack(
        [torch.randint(size, (t,), generator=generator) for size in (n, r, n)], dim=1
    )
    return table, triples, known_of(triples.tolist(), table)


def test_out_of_memory_halves_the_chunk_and_changes_nothing():
    table, triples, known = some_world()
    whole, tight = Table(table), Table(table, most=2)
    evaluate = LinkPrediction(triples, known, memory_mb=4 * 6 * SCORE_BYTES / 2**20)
    expected = evaluate(whole, None).ranks
    assert torch.equal(evaluate(tight, None).ranks, expected)
    assert tight.asked[0] == 4  # too many
    assert max(tight.asked[1:]) <= 2  # kept for the rest of this evaluation
    assert evaluate(whole, None) is not None
    assert max(whole.asked) == 4  # not carried over to the next


def test_each_distinct_query_is_scored_once():
    table = torch.zeros(4, 1, 4)
    triples = torch.tensor([[0, 0, 1], [0, 0, 2], [0, 0, 1], [3, 0, 1]])
    model = Table(table)
    LinkPrediction(triples, known_of([], table))(model, None)
    assert model.asked == [2, 2]  # (?, 0, 1), (?, 0, 2); (0, 0, ?), (3, 0, ?)


def test_a_model_states_what_scoring_costs_it():
    table, triples, known = some_world()
    model = Table(table)
    model.score_bytes = 2**40
    LinkPrediction(triples, known)(model, None)
    assert set(model.asked) == {1}


class Vectors(Encoder):
    """Small whole numbers as vectors: sums of their products are exact in any order."""

    width, num_layers = 4, 0

    def __init__(self, entity, relation):
        super().__init__()
        self.entity, self.relation = nn.Parameter(entity), nn.Parameter(relation)

    def forward(self, graph):
        return Representations(self.entity, self.relation)


@pytest.mark.parametrize("reciprocal", [False, True])
def test_a_kg_model_is_ranked_by_its_own_scores(reciprocal):
    generator = torch.Generator().manual_seed(1)
    entity, relation = (
        torch.randint(-2, 3, (rows, 4), generator=generator).float() for rows in (7, 4)
    )
    model = KGModel(Vectors(entity, relation), ComplEx(), reciprocal=reciprocal)
    _, triples, known = some_world(n=7, t=12)
    names = (Vocabulary(map(str, range(size))) for size in (7, 2))
    vectors = model.encode(KnowledgeGraph(*names, triples).tensors())
    result = LinkPrediction(triples, known)(model, vectors)
    every = torch.cartesian_prod(*(torch.arange(n) for n in (7, 2, 7)))
    tails = model.score(vectors, every).view(7, 2, 7).tolist()
    head, kind, tail = every.t()
    heads = model.score_heads(vectors, kind, tail, head.unsqueeze(1)).view(7, 2, 7).tolist()
    for column, table in enumerate((heads, tails)):
        expected = slow_ranks(table, triples.tolist(), [], range(7))[:, column]
        assert torch.equal(result.optimistic[:, column], expected[:, 0])
        assert torch.equal(result.pessimistic[:, column], expected[:, 1])
    assert model.training
    assert not result.ranks.requires_grad


def test_an_all_equal_scorer_ranks_by_chance():
    table, triples, known = some_world()
    result = LinkPrediction(triples, known)(Table(torch.full_like(table, 7.0)), None)
    assert torch.equal(result.ranks, (result.num_candidates + 1) / 2)
    assert result.metrics()["amri"] == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("candidates", [None, [5, 4, 3, 2, 1, 0]])
def test_a_non_finite_score_is_an_error_that_names_the_triple(bad, candidates):
    table = torch.zeros(6, 2, 6)
    table[2, 1, 5] = bad
    given = None if candidates is None else torch.tensor(candidates)
    names = Groups(entity_names=list("abcdef"), relation_names=["likes", "knows"])
    for fact in ([[2, 1, 0]], [[0, 1, 5]]):  # once as a tail candidate, once as a head
        evaluate = LinkPrediction(
            torch.tensor(fact), known_of([], table), candidates=given, groups=names
        )
        with pytest.raises(ValueError, match=r"finite \(got .*(nan|inf) for \(c, knows, f\)"):
            evaluate(Table(table), None)


def test_a_model_that_scores_a_joint_graph_needs_candidates():
    joint = torch.zeros(6, 1, 6)
    known = KnownTriples([], num_entities=4, num_relations=1)
    triples = torch.tensor([[0, 0, 1]])
    with pytest.raises(ValueError, match=r"must score 4 candidates .*joint graph"):
        LinkPrediction(triples, known)(Table(joint), None)
    result = LinkPrediction(triples, known, candidates=torch.arange(4))(Table(joint), None)
    assert result.num_candidates.tolist() == [[4, 4]]


def test_what_cannot_be_ranked_is_refused_in_words():
    known = KnownTriples([], num_entities=3, num_relations=2)
    fine = torch.tensor([[0, 0, 1]])
    names = Groups(entity_names=["Oslo", "Norway", "Bergen"], relation_names=["in", "near"])
    with pytest.raises(ValueError, match="the valid split is empty"):
        LinkPrediction(HeldOut(fine[:0], "valid"), known)
    with pytest.raises(ValueError, match=r"relation ids in \[0, 2\).*got \[0, 2, 1\]"):
        LinkPrediction(torch.tensor([[0, 2, 1]]), known)
    with pytest.raises(ValueError, match=r"int64 of shape \[T, 3\]"):
        LinkPrediction(fine.float(), known)
    with pytest.raises(ValueError, match=r"got \(Oslo, in, Norway\), whose tail is not"):
        LinkPrediction(fine, known, candidates=torch.tensor([0, 2]), groups=names)
    with pytest.raises(ValueError, match=r"distinct \(got 3, 2 of them distinct\)"):
        LinkPrediction(fine, known, candidates=torch.tensor([0, 1, 1]))
    with pytest.raises(ValueError, match=r"entity ids in \[0, 3\) \(got 0 to 3\)"):
        LinkPrediction(fine, known, candidates=torch.arange(4))
    with pytest.raises(ValueError, match=r"shape \[K\]"):
        LinkPrediction(fine, known, candidates=torch.empty(0, dtype=torch.long))
    with pytest.raises(ValueError, match=r"source needs one entry per ranked triple, \[1\]"):
        LinkPrediction(fine, known, groups=Groups(source=torch.zeros(2, dtype=torch.long)))
    with pytest.raises(ValueError, match=r"popularity needs one degree per entity, \[3\]"):
        LinkPrediction(fine, known, groups=Groups(popularity=torch.ones(2, dtype=torch.long)))
    with pytest.raises(ValueError, match="memory_mb"):
        LinkPrediction(fine, known, memory_mb=-1)(Table(torch.zeros(3, 2, 3)), None)


def small_split() -> Split:
    graph = KnowledgeGraph(
        Vocabulary("abcd", kind="entity"),
        Vocabulary(["r", "unseen"], kind="relation"),
        torch.tensor([[0, 0, 1], [0, 0, 2]]),
    )
    valid = HeldOut(torch.tensor([[0, 0, 3]]), "valid")
    return Split(graph, valid, HeldOut(torch.tensor([[0, 0, 0], [3, 1, 3]]), "test"))


def test_the_split_decides_what_is_filtered():
    split, model = small_split(), Table(torch.zeros(4, 2, 4))
    valid = LinkPrediction.from_split(split, "valid")(model, None)
    test = LinkPrediction.from_split(split, "test")(model, None)
    assert valid.num_candidates[:, 1].tolist() == [2]  # less b, c; the test fact a still competes
    assert test.num_candidates[:, 1].tolist() == [1, 4]  # an unseen relation is ranked as well
    assert valid.protocol["filter_splits"] == ["train", "valid"]
    assert test.protocol["filter_splits"] == ["train", "valid", "test"]
    assert (valid.protocol["split"], test.protocol["split"]) == ("valid", "test")
    assert set(test.by("relation")) == {"r", "unseen"}
    assert set(test.by("popularity")) == {"unseen in training", "degree 2"}
    with pytest.raises(ValueError, match=r"'valid' or 'test' \(got 'train'\)"):
        LinkPrediction.from_split(split, "train")


def test_the_result_carries_its_protocol_into_json():
    result = LinkPrediction.from_split(small_split())(Table(torch.zeros(4, 2, 4)), None)
    read = json.loads(json.dumps(result.to_dict()))
    assert read["protocol"]["ties"] == "realistic"
    assert read["protocol"]["candidates"] == 4
    assert read["protocol"]["triples"] == 2
    assert read["protocol"]["known_triples"] == 5
    assert read["metrics"]["mrr"] == result.metrics()["mrr"]
    assert set(read["by"]) == {"side", "relation", "popularity"}
