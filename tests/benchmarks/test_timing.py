"""Alternating runs: medians, spreads, memory of one call."""

import sys

import pytest
import torch

from benchmarks.timing import Paired, alternate, forward_and_backward, peak_bytes, seconds


def test_figures_are_of_the_ratios() -> None:
    figures = Paired([1.0, 2.0, 1.0], [8.0, 8.0, 2.0]).figures("speedup", scale=2.0)
    assert figures == {
        "speedup": 8.0,
        "speedup.lowest": 4.0,
        "speedup.highest": 16.0,
        "speedup.ours_seconds": 1.0,
        "speedup.theirs_seconds": 8.0,
    }


def test_turns_alternate_after_one_untimed_call_each() -> None:
    turns: list[str] = []
    paired = alternate(lambda: turns.append("a"), lambda: turns.append("b"), repeats=2)
    assert turns == ["a", "b"] * 3
    assert len(paired.ours) == len(paired.theirs) == 2
    assert seconds(lambda: None) < 1.0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_of_a_call_is_what_it_touches() -> None:
    megabytes = peak_bytes(lambda: torch.ones(2**24).sum()) / 2**20  # 64 MB
    assert 60 < megabytes < 80


def test_forward_and_backward_reads_the_gradients_of_all() -> None:
    layer = torch.nn.Linear(2, 3)
    x = torch.ones(1, 2, requires_grad=True)
    seen: list[torch.Tensor] = []
    layer.weight.register_hook(seen.append)
    x.register_hook(seen.append)
    forward_and_backward(layer, x)()
    assert sorted(tuple(grad.shape) for grad in seen) == [(1, 2), (3, 2)]
