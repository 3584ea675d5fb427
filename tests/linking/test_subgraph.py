import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_kgtransfer.linking.subgraph import rows_around

N = 8
triple_lists = st.lists(
    st.tuples(st.integers(0, N - 1), st.just(0), st.integers(0, N - 1)), max_size=25
)
seed_sets = st.sets(st.integers(0, N - 1), max_size=3)


def rows(triples, seeds, hops, fan_out=None, seed=0) -> list[int]:
    return rows_around(
        torch.tensor(triples, dtype=torch.long).view(-1, 3),
        torch.tensor(sorted(seeds), dtype=torch.long),
        N,
        hops=hops,
        fan_out=fan_out,
        generator=torch.Generator().manual_seed(seed),
    ).tolist()


def rows_by_loops(triples, seeds, hops) -> list[int]:
    reached = set(seeds)
    taken = {i for i, (h, _, t) in enumerate(triples) if h in reached and t in reached}
    for _ in range(hops):
        now = {i for i, (h, _, t) in enumerate(triples) if h in reached or t in reached}
        reached |= {end for i in now for end in (triples[i][0], triples[i][2])}
        taken |= now
    return sorted(taken)


@given(triple_lists, seed_sets, st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_without_a_cap_all_triples_within_reach(triples, seeds, hops) -> None:
    assert rows(triples, seeds, hops) == rows_by_loops(triples, seeds, hops)


@given(triple_lists, seed_sets, st.integers(0, 4), st.integers(1, 3), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_a_cap_takes_some_of_them(triples, seeds, hops, fan_out, seed) -> None:
    some = rows(triples, seeds, hops, fan_out, seed)
    assert set(some) <= set(rows(triples, seeds, hops))
    assert some == rows(triples, seeds, hops, fan_out, seed)
    assert rows(triples, seeds, hops, 1000) == rows(triples, seeds, hops)


@given(triple_lists, seed_sets, st.integers(1, 3), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_each_seed_takes_as_many_as_the_cap_allows_beside_those_between_seeds(
    triples, seeds, fan_out, seed
) -> None:
    between = set(rows(triples, seeds, 0))
    further = set(rows(triples, seeds, 1, fan_out, seed)) - between
    for entity in seeds:
        touching = {i for i, (h, _, t) in enumerate(triples) if entity in (h, t)} - between
        assert len(touching & further) == min(fan_out, len(touching))


def test_a_hub_takes_different_triples_under_different_seeds() -> None:
    star = [(0, 0, i % 7 + 1) for i in range(100)]
    draws = [tuple(rows(star, {0}, 1, 10, seed)) for seed in range(5)]
    assert {len(draw) for draw in draws} == {10}
    assert len(set(draws)) == 5


@pytest.mark.parametrize(("hops", "expected"), [(0, []), (1, [1]), (2, [0, 1]), (9, [0, 1, 2])])
def test_hops_walk_along_a_path_in_both_directions(hops, expected) -> None:
    assert rows([(2, 0, 1), (1, 0, 0), (2, 0, 3)], {0}, hops) == expected
