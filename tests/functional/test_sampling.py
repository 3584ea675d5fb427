import torch
from hypothesis import given
from hypothesis import strategies as st

from pyg_kgtransfer.functional import sampling


def test_uniform_candidates_cover_the_range_and_repeat_by_seed() -> None:
    draw = sampling.uniform_candidates((50, 40), 7, generator=torch.Generator().manual_seed(0))
    again = sampling.uniform_candidates((50, 40), 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(draw, again)
    assert draw.unique().tolist() == list(range(7))


def test_weighted_candidates_follow_the_weights() -> None:
    weights = torch.tensor([0.0, 1.0, 3.0, 0.0])
    draw = sampling.weighted_candidates(
        (40_000,), weights, generator=torch.Generator().manual_seed(0)
    )
    share = torch.bincount(draw, minlength=4) / len(draw)
    assert share[0] == share[3] == 0
    assert abs(share[2].item() - 0.75) < 0.02


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(1, 5), st.integers(0, 99))
def test_distinct_places_are_distinct_and_as_many_as_there_are(
    sizes: list[int], number: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    row, place = sampling.distinct_places(torch.tensor(sizes).long(), number, generator=generator)
    assert row.tolist() == [i for i, size in enumerate(sizes) for _ in range(min(size, number))]
    pairs = list(zip(row.tolist(), place.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert all(0 <= at < sizes[of] for of, at in pairs)


def test_each_subset_is_as_likely() -> None:
    generator = torch.Generator().manual_seed(0)
    _, place = sampling.distinct_places(torch.full((12000,), 4), 2, generator=generator)
    low, high = place.view(-1, 2).sort(1).values.unbind(1)
    counts = torch.bincount(low * 4 + high, minlength=16)
    assert sorted(counts[counts > 0].tolist())[0] > 1800  # 2000 expected of each of six
    assert len(counts[counts > 0]) == 6
