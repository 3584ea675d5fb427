"""Where scores go, against loops over every query and candidate; what is refused."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_kgtransfer.evaluation.bias import TOP, bias_of, popularity_percentiles
from pyg_kgtransfer.evaluation.link_prediction import LinkPrediction
from pyg_kgtransfer.evaluation.result import Groups
from pyg_kgtransfer.evaluation.streaming import SCORE_BYTES
from pyg_kgtransfer.graph.entity_groups import EntityGroups, entity_groups
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.graph.vocabulary import Vocabulary


class Table:
    """A model that looks scores up: [N, R, N]. It runs out of memory above ``most`` queries."""

    def __init__(self, table: torch.Tensor, most: int = 10**9) -> None:
        self.table, self.most, self.asked = table, most, []

    def score_tails(self, representations, head, relation, candidates=None):
        return self._answer(self.table[head, relation], candidates)

    def score_heads(self, representations, relation, tail, candidates=None):
        return self._answer(self.table[:, relation, tail].t(), candidates)

    def _answer(self, scores, candidates):
        self.asked.append(len(scores))
        if len(scores) > self.most:
            raise torch.OutOfMemoryError("simulated")
        return scores if candidates is None else scores[:, candidates]


def slow_percentile(entity, degree, candidates):
    lower = sum(degree[c] < degree[entity] for c in candidates)
    equal = sum(degree[c] == degree[entity] for c in candidates)
    return (lower + equal / 2) / len(candidates)


def slow_bias(table, triples, known, candidates, degree, temperature):
    """Mass and places of each candidate, mass of each answer, excess of each query: by loops."""
    facts = {tuple(t) for t in known} | {tuple(t) for t in triples}
    mass, places = dict.fromkeys(candidates, 0.0), dict.fromkeys(candidates, 0.0)
    answer_mass, excess = [], []
    for h, r, t in triples:
        for is_tail in (False, True):
            answer = t if is_tail else h
            scores = {}
            for c in candidates:
                fact = (h, r, c) if is_tail else (c, r, t)
                if c == answer or fact not in facts:
                    scores[c] = table[fact[0]][r][fact[2]]
            highest = max(scores.values())
            odds = {c: math.exp((s - highest) / temperature) for c, s in scores.items()}
            share = {c: value / sum(odds.values()) for c, value in odds.items()}
            for c, value in share.items():
                mass[c] += value / (2 * len(triples))
            number = min(TOP, len(scores))
            last = sorted(scores.values(), reverse=True)[number - 1]
            above = [c for c in scores if scores[c] > last]
            equal = [c for c in scores if scores[c] == last]
            for c in above:
                places[c] += 1 / number / (2 * len(triples))
            for c in equal:
                left = (number - len(above)) / len(equal)
                places[c] += left / number / (2 * len(triples))
            answer_mass.append(share[answer])
            mean = sum(p * slow_percentile(c, degree, candidates) for c, p in share.items())
            excess.append(mean - slow_percentile(answer, degree, candidates))
    return mass, places, answer_mass, excess


@st.composite
def worlds(draw: st.DrawFn):
    n, r = draw(st.sampled_from([1, 3, 5, 14])), draw(st.integers(1, 2))
    entity = st.integers(0, n - 1)
    triple = st.tuples(entity, st.integers(0, r - 1), entity)
    triples = draw(st.lists(triple, min_size=1, max_size=6))
    known = draw(st.lists(triple, max_size=8))
    seed = draw(st.integers(0, 1000))
    table = torch.randint(-2, 3, (n, r, n), generator=torch.Generator().manual_seed(seed)).float()
    degree = torch.randint(0, 4, (n,), generator=torch.Generator().manual_seed(seed + 1))
    needed = {end for h, _, t in triples for end in (h, t)}
    order = draw(st.permutations(sorted(needed | draw(st.sets(entity)))))
    return table, triples, known, draw(st.sampled_from([None, order])), degree


@settings(max_examples=60, deadline=None)
@given(worlds(), st.sampled_from([0.5, 1.0, 3.0]), st.sampled_from([1, 2, 100]))
def test_shares_equal_those_of_loops_for_every_chunk(world, temperature, queries):
    table, triples, known, candidates, degree = world
    own = list(range(len(table))) if candidates is None else candidates
    expected = slow_bias(table.tolist(), triples, known, own, degree.tolist(), temperature)
    rows = torch.tensor(known, dtype=torch.long).view(-1, 3)
    rank = LinkPrediction(
        torch.tensor(triples),
        KnownTriples([rows], num_entities=len(table), num_relations=table.shape[1]),
        candidates=None if candidates is None else torch.tensor(candidates),
        groups=Groups(popularity=degree),
        memory_mb=queries * len(own) * SCORE_BYTES / 2**20,
    )
    found = bias_of(rank, Table(table), None, temperature=temperature)
    mass, places, answer_mass, excess = expected
    assert found.candidates.tolist() == own
    assert found.mass.tolist() == pytest.approx([mass[c] for c in own], abs=1e-9)
    assert found.places.tolist() == pytest.approx([places[c] for c in own], abs=1e-6)
    assert found.answer_mass.view(-1).tolist() == pytest.approx(answer_mass, abs=1e-9)
    assert found.excess.view(-1).tolist() == pytest.approx(excess, abs=1e-9)
    assert torch.equal(found.ranks.ranks, rank(Table(table), None).ranks)
    assert found.popularity_bias().value == pytest.approx(sum(excess) / len(excess), abs=1e-9)


def some_world(n=40, t=30, *, by_degree=0.0):
    """Scores at random, or the higher the more popular; and three groups of entities."""
    generator = torch.Generator().manual_seed(0)
    degree = torch.arange(n) // 2
    table = torch.rand(n, 1, n, generator=generator)
    table += by_degree * (degree + degree.view(n, 1, 1))
    triples = torch.stack(
        [torch.randint(size, (t,), generator=generator) for size in (n, 1, n)], dim=1
    )
    known = KnownTriples([triples], num_entities=n, num_relations=1)
    names = Vocabulary([f"e{i}" for i in range(n)], kind="entity")
    groups = entity_groups({f"e{i}": "low" if i < 10 else "middle" for i in range(20)}, names)
    rank = LinkPrediction(triples, known, groups=Groups(names.names, ["r"], popularity=degree))
    return rank, Table(table), groups


def test_rows_add_up_to_one():
    rank, model, groups = some_world()
    found = bias_of(rank, model, None, groups)
    assert found.available_groups() == ("popularity", "relation", "group")
    for by in ("popularity", "group"):
        rows = found.rows(by)
        for share in ("share_of_answers", "share_of_mass", "share_of_top10"):
            assert sum(row[share] for row in rows) == pytest.approx(1.0)
        assert sum(row["candidates"] for row in rows) == 40
        assert sum(row["answers"] for row in rows) == 60
    assert [row["group"] for row in found.rows("group")] == ["low", "middle", "no group"]
    bands = found.ranks.by("popularity")
    for row in found.rows("popularity"):
        if row["answers"]:
            assert row["mrr"] == pytest.approx(bands[row["group"]]["mrr"])
            assert row["hits@10"] == pytest.approx(bands[row["group"]]["hits@10"])
    [relation] = found.rows("relation")
    assert relation["popularity_bias"] == pytest.approx(found.popularity_bias().value)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["protocol"]["temperature"] == 1.0
    assert set(told["by"]) == {"popularity", "relation", "group"}
    assert told["popularity_bias"]["low"] < told["popularity_bias"]["value"]
    assert repr(found).startswith("BiasResult(30 triples, popularity bias ")


def test_a_group_that_no_answer_is_from_has_mass_all_the_same():
    rank, model, _ = some_world()
    answered = set(rank.triples[:, [0, 2]].view(-1).tolist())
    other = torch.tensor([0 if e in answered else 1 for e in range(40)])
    assert other.any()
    rows = bias_of(rank, model, None, EntityGroups(("asked", "never"), other)).rows("group")
    assert rows[1]["answers"] == 0
    assert rows[1]["mrr"] is None
    assert rows[1]["share_of_mass"] > 0.01


def test_what_favours_the_popular_is_told_from_what_does_not():
    rank, fair, _ = some_world()
    _, unfair, _ = some_world(by_degree=1.0)
    even, steep = (bias_of(rank, model, None).popularity_bias() for model in (fair, unfair))
    assert steep.low > 0.3
    assert abs(even.value) < 0.1
    assert even.low < even.value < even.high < steep.low
    highest = bias_of(rank, unfair, None).rows()[-1]
    assert highest["share_of_top10"] > 0.95 > 0.5 > highest["share_of_answers"]
    backwards = bias_of(rank, some_world(by_degree=-1.0)[1], None).popularity_bias()
    assert backwards.high < -0.3


def test_a_model_that_scores_all_alike_has_no_taste():
    rank, model, _ = some_world()
    model.table.zero_()
    found = bias_of(rank, model, None)
    percentile = popularity_percentiles(rank.groups.popularity)
    answers = percentile[rank.triples[:, [0, 2]]].mean().item()
    assert found.popularity_bias().value == pytest.approx(0.5 - answers, abs=0.01)  # filtering
    for row in found.rows():
        assert row["share_of_top10"] == pytest.approx(row["candidates"] / 40, abs=0.01)


def test_a_lower_temperature_is_a_sharper_share():
    rank, model, _ = some_world(by_degree=1.0)
    shares = [
        bias_of(rank, model, None, temperature=t).rows()[-1]["share_of_mass"]
        for t in (100.0, 1.0, 0.01)
    ]
    assert shares == sorted(shares)
    assert shares[2] > shares[0] + 0.3


def test_the_only_candidate_has_it_all():
    known = KnownTriples([torch.tensor([[0, 0, 1], [1, 0, 1]])], num_entities=2, num_relations=1)
    rank = LinkPrediction(
        torch.tensor([[0, 0, 1]]), known, groups=Groups(popularity=torch.tensor([1, 3]))
    )
    scores = torch.tensor([[[0.0, 1e4]], [[0.0, -1e4]]])  # far apart, with the rival filtered
    found = bias_of(rank, Table(scores), None, temperature=1e-3)
    assert found.answer_mass.tolist() == [[1.0, 1.0]]
    assert found.excess[0, 0].item() == 0.0


def test_memory_that_runs_out_changes_nothing():
    rank, model, groups = some_world()
    expected = bias_of(rank, model, None, groups)
    tight = Table(model.table, most=3)
    found = bias_of(rank, tight, None, groups)
    assert tight.asked[0] > 3
    torch.testing.assert_close(found.mass, expected.mass)
    torch.testing.assert_close(found.places, expected.places)
    torch.testing.assert_close(found.excess, expected.excess)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_score_that_is_not_finite_names_its_triple(value):
    rank, model, _ = some_world()
    head, _, tail = rank.triples[3].tolist()
    other = (tail + 1) % 40
    model.table[head, 0, other] = value
    with pytest.raises(ValueError, match=rf"finite .*\(e{head}, r, e{other}\)"):
        bias_of(rank, model, None)


def test_what_does_not_fit_is_told():
    rank, model, _ = some_world()
    for temperature in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="temperature must be above 0 and finite"):
            bias_of(rank, model, None, temperature=temperature)
    with pytest.raises(ValueError, match=r"groups must be those of 40 entities \(got \(3,\)\)"):
        bias_of(rank, model, None, EntityGroups(("a",), torch.zeros(3).long()))
    bare = LinkPrediction(rank.triples, rank.known)
    with pytest.raises(ValueError, match=r"needs the training degrees.*\(got none\)"):
        bias_of(bare, model, None)
    found = bias_of(rank, model, None)
    with pytest.raises(ValueError, match=r"'popularity', 'relation' \(got 'group'\); pass groups"):
        found.rows("group")
    with pytest.raises(ValueError, match="at least 100 bootstrap samples"):
        found.popularity_bias(samples=10)
    with pytest.raises(ValueError, match=r"level must be in \(0, 1\)"):
        found.popularity_bias(level=1.0)


def test_the_interval_narrows_with_facts_and_widens_with_its_level():
    few, many = (some_world(t=t) for t in (10, 400))
    found = [bias_of(rank, model, None) for rank, model, _ in (few, many)]
    widths = [b.high - b.low for b in (each.popularity_bias() for each in found)]
    assert widths[0] > 3 * widths[1]
    wide, narrow = (found[0].popularity_bias(level=level) for level in (0.99, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_percentiles_are_mid_ranks():
    degree = torch.tensor([5, 0, 0, 9, 5, 5])
    found = popularity_percentiles(degree).tolist()
    assert found == [slow_percentile(e, degree.tolist(), range(6)) for e in range(6)]
    assert sum(found) / 6 == pytest.approx(0.5)
