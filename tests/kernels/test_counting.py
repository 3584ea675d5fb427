"""Filtered counts: the compiled pass against the definition."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from pyg_kgtransfer.kernels.counting import NotFiniteScoreError, filtered_counts
from pyg_kgtransfer.kernels.engines import forced_engine
from tests.kernels.test_pair_scores import FUSED

Lists = tuple[Tensor, Tensor]


@st.composite
def problems(draw: st.DrawFn) -> tuple[Tensor, Lists, Lists]:
    """Scores with ties; known and true answers, apart, overlapping, none."""
    rows, columns = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    values = draw(st.lists(st.integers(0, 2), min_size=rows * columns, max_size=rows * columns))
    place = st.tuples(st.integers(0, rows - 1), st.integers(0, columns - 1))
    known, true = (
        torch.tensor(sorted(draw(st.lists(place, max_size=5))), dtype=torch.long).view(-1, 2)
        for _ in range(2)
    )
    scores = torch.tensor(values, dtype=torch.float32).view(rows, columns)
    return scores, known.t().contiguous().unbind(0), true.t().contiguous().unbind(0)


@pytest.mark.parametrize("engine", ["torch", FUSED])
@given(problem=problems())
@settings(max_examples=60, deadline=None)
def test_counts_are_the_definition(engine, problem) -> None:
    scores, known, true = problem
    before = scores.clone()
    with forced_engine(engine):
        counts = filtered_counts(scores, known, true, chunk=2)
    assert torch.equal(scores, before)
    out = {
        place for pair in (known, true) for place in zip(*(t.tolist() for t in pair), strict=True)
    }
    for at, (row, column) in enumerate(zip(*(t.tolist() for t in true), strict=True)):
        rivals = [scores[row, c] for c in range(scores.shape[1]) if (row, c) not in out]
        mine = scores[row, column]
        expected = sum(r > mine for r in rivals), sum(r == mine for r in rivals), len(rivals) + 1
        assert tuple(int(count[at]) for count in counts) == tuple(map(int, expected))


@pytest.mark.parametrize("engine", ["torch", FUSED])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_row_that_is_not_finite_is_named(engine, number) -> None:
    scores = torch.zeros(3, 4)
    scores[1, 2] = number
    none = torch.zeros(0, dtype=torch.long)
    with forced_engine(engine), pytest.raises(NotFiniteScoreError, match="row 1") as caught:
        filtered_counts(scores, (none, none), (none, none), chunk=1)
    assert caught.value.row == 1
