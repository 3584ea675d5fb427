import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.linking.merging import (
    components,
    first_occurrences,
    merge_ids,
    merged_names,
    origins,
)

THINGS = 9
pair_lists = st.lists(st.tuples(st.integers(0, THINGS - 1), st.integers(0, THINGS - 1)))


def tensor(pairs) -> torch.Tensor:
    return torch.tensor(pairs, dtype=torch.long).view(-1, 2)


def merged_by_loops(num_kept, pairs, confidence):
    """Sets of things, joined pair by pair from the surest on, never with two kept things."""
    sets = [{thing} for thing in range(THINGS)]
    refused = 0
    order = sorted(range(len(pairs)), key=lambda row: -confidence[row])
    for row in order:
        a, b = (next(s for s in sets if thing in s) for thing in pairs[row])
        if a is b:
            continue
        if sum(thing < num_kept for thing in a | b) > 1:
            refused += 1
            continue
        sets = [s for s in sets if s is not a and s is not b] + [a | b]
    sets.sort(key=min)
    return [next(i for i, s in enumerate(sets) if t in s) for t in range(THINGS)], refused


@given(pair_lists, st.integers(0, THINGS), st.data())
@settings(max_examples=100, deadline=None)
def test_merging_equals_a_loop_over_pairs(pairs, num_kept, data) -> None:
    size = len(pairs)
    sure = data.draw(st.lists(st.sampled_from([0.25, 0.5, 1.0]), min_size=size, max_size=size))
    merged, refused = merge_ids(num_kept, THINGS, tensor(pairs), torch.tensor(sure))
    assert (merged.tolist(), refused) == merged_by_loops(num_kept, pairs, sure)
    assert merged[:num_kept].tolist() == list(range(num_kept))


def test_kept_things_are_told_apart_from_others_that_are_in_order() -> None:
    sure = torch.tensor([0.5, 0.9, 0.1])
    merged, refused = merge_ids(2, 6, tensor([(0, 3), (1, 3), (4, 5)]), sure)
    assert (merged.tolist(), refused) == ([0, 1, 2, 1, 3, 3], 1)


def test_a_pair_repeated_often_still_counts() -> None:
    assert components(2, tensor([(0, 1)] * 256)).tolist() == [0, 0]
    assert components(0, tensor([])).tolist() == []


@given(st.lists(st.integers(0, 4)))
def test_first_occurrences_equal_a_loop(keys) -> None:
    expected = [i for i, key in enumerate(keys) if key not in keys[:i]]
    assert first_occurrences(torch.tensor(keys, dtype=torch.long)).tolist() == expected


def test_origins_skip_what_is_left_out_and_empty_sources() -> None:
    none = torch.empty(0, dtype=torch.long)
    source, own = origins([none, torch.tensor([1, -1]), none, torch.tensor([-1, 0, 1])])
    assert source.tolist() == [3, 1]
    assert own.tolist() == [1, 0]


def test_a_taken_name_gets_its_source_in_front() -> None:
    vocabularies = [Vocabulary(["x", "b:x"]), Vocabulary(["x", "y"])]
    origin = (torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]))
    names = merged_names(vocabularies, ["a", "b"], origin)
    assert names.names == ("x", "b:x", "b:x#2", "y")
