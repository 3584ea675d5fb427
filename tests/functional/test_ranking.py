"""Filtered ranks against a slow twin."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_kgtransfer.functional import ranking


def slow_rank(scores: list[float], known: set[int], answer: int) -> tuple[int, int, int]:
    """Optimistic rank, pessimistic rank and number of candidates, by sorting and looking."""
    rivals = [s for c, s in enumerate(scores) if c not in known and c != answer]
    ordered = sorted([*rivals, scores[answer]], reverse=True)
    first = ordered.index(scores[answer]) + 1
    last = len(ordered) - ordered[::-1].index(scores[answer])
    return first, last, len(ordered)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[list[int]], list[tuple[int, int]], list[tuple[int, int]]]:
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    scores = draw(
        st.lists(
            st.lists(st.integers(-2, 2), min_size=columns, max_size=columns),
            min_size=rows,
            max_size=rows,
        )
    )
    pair = st.tuples(st.integers(0, rows - 1), st.integers(0, columns - 1))
    return scores, draw(st.lists(pair, min_size=1, max_size=5)), draw(st.lists(pair, max_size=8))


@settings(max_examples=60, deadline=None)
@given(tables())
def test_counts_equal_the_slow_twin(table):
    scores, answers, known = table
    matrix = torch.tensor(scores, dtype=torch.float)
    row, column = torch.tensor(answers).t()
    # all true answers of a query are known answers to each other
    masked_row, masked_column = torch.tensor(answers + known).t()
    filtered = ranking.filter_scores(matrix, masked_row, masked_column)
    greater, equal = ranking.rank_counts(filtered, row, matrix[row, column])
    competing = ranking.competitor_counts(filtered)[row] + 1
    optimistic = ranking.optimistic_ranks(greater)
    pessimistic = ranking.pessimistic_ranks(greater, equal)
    for i, (r, c) in enumerate(answers):
        others = {other for query, other in answers + known if query == r}
        first, last, count = slow_rank(scores[r], others, c)
        assert (optimistic[i], pessimistic[i], competing[i]) == (first, last, count)
        assert ranking.realistic_ranks(greater, equal)[i] == (first + last) / 2
    assert matrix.tolist() == scores  # not changed in place


@pytest.mark.parametrize("n", [1, 2, 7])
def test_an_all_equal_scorer_ranks_by_chance(n: int):
    scores = torch.full((1, n), 3.0)
    zero = torch.zeros(1, dtype=torch.long)
    filtered = ranking.filter_scores(scores, zero, zero)
    ranks = ranking.realistic_ranks(*ranking.rank_counts(filtered, zero, scores[zero, zero]))
    assert ranks.tolist() == [(n + 1) / 2]
    assert ranking.adjusted_mean_rank_index(ranks, torch.tensor([n])) == 0


def test_metrics_by_hand():
    ranks = torch.tensor([1.0, 2.5, 10.0, 11.0])
    assert ranking.hits_at_k(ranks, 1) == 0.25
    assert ranking.hits_at_k(ranks, 2) == 0.25
    assert ranking.hits_at_k(ranks, 10) == 0.75
    assert ranking.mean_rank(ranks) == 6.125
    expected = (1 + 1 / 2.5 + 1 / 10 + 1 / 11) / 4
    assert ranking.mean_reciprocal_rank(ranks).item() == pytest.approx(expected, abs=1e-15)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 9), min_size=1, max_size=5))
def test_amri_is_one_at_best_minus_one_at_worst_and_nought_by_chance(sizes: list[int]):
    counts = torch.tensor(sizes)
    best, worst, chance = torch.ones(len(sizes)), counts.double(), (counts + 1) / 2
    assert ranking.adjusted_mean_rank_index(best, counts) == 1
    assert ranking.adjusted_mean_rank_index(worst, counts).item() == pytest.approx(-1)
    assert ranking.adjusted_mean_rank_index(chance, counts).item() == pytest.approx(0)


def test_amri_is_the_published_formula():
    ranks, counts = torch.tensor([2.0, 5.0, 1.5]), torch.tensor([4, 30, 2])
    expected_rank = ((counts + 1) / 2).double().mean()
    published = 1 - (ranks.double().mean() - 1) / (expected_rank - 1)
    assert ranking.adjusted_mean_rank_index(ranks, counts).item() == pytest.approx(published.item())


def test_the_counting_has_no_graph_breaks():
    def ranks(scores, row, column, true_score):
        filtered = ranking.filter_scores(scores, row, column)
        return ranking.realistic_ranks(*ranking.rank_counts(filtered, row, true_score))

    scores, row, column = torch.tensor([[1.0, 2.0, 2.0]]), torch.tensor([0]), torch.tensor([1])
    compiled = torch.compile(ranks, fullgraph=True, backend="eager")
    assert compiled(scores, row, column, scores[row, column]).tolist() == [1.5]
