import torch

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
