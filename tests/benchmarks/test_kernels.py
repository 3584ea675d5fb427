"""Other ways to sum neighbours do the same; the slope is that of a power."""

import pytest
import torch

from benchmarks.kernels import peers, slope


def test_peers_sum_neighbours() -> None:
    edge_index = torch.tensor([[0, 1, 1, 3], [2, 2, 2, 0]])
    x = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
    for name, way in peers(edge_index, 4).items():
        assert way(x).view(-1).tolist() == [8.0, 0.0, 5.0, 0.0], name


def test_the_slope_of_a_power_is_its_exponent() -> None:
    sizes = [1, 10, 100, 1000]
    figures = {f"edges_{n}.seconds": 3.0 * n**1.5 for n in sizes}
    assert slope(figures, sizes, "seconds") == pytest.approx(1.5)
