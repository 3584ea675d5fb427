"""Counts, offsets and the sorted-key join against Python loops."""

import hypothesis.strategies as st
import torch
from hypothesis import given, settings

from pyg_kgtransfer.functional.segments import segment_counts, segment_offsets, sorted_join

IDS = st.lists(st.integers(0, 4), max_size=12)


@given(IDS)
@settings(max_examples=30, deadline=None)
def test_counts_and_offsets_are_those_of_a_list(ids: list[int]) -> None:
    tensor = torch.tensor(sorted(ids), dtype=torch.long)
    counts = [ids.count(i) for i in range(5)]
    assert segment_counts(tensor, 5).tolist() == counts
    assert segment_offsets(tensor, 5).tolist() == [sum(counts[:i]) for i in range(6)]


@given(IDS, IDS)
@settings(max_examples=30, deadline=None)
def test_the_join_is_every_pair_of_equal_keys(keys: list[int], queries: list[int]) -> None:
    keys = sorted(keys)
    row, position = sorted_join(
        torch.tensor(keys, dtype=torch.long), torch.tensor(queries, dtype=torch.long)
    )
    expected = [(i, j) for i, q in enumerate(queries) for j, k in enumerate(keys) if q == k]
    assert list(zip(row.tolist(), position.tolist(), strict=True)) == expected
