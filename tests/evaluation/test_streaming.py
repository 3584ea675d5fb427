"""Chunks within a budget, halving, and evaluation mode."""

import pytest
import torch
from torch import nn

from pyg_kgtransfer.evaluation.streaming import Chunks, device_of, evaluating


def test_chunks_fit_the_budget_and_cover_all_rows():
    seen = Chunks(1, row_bytes=2**18).run(10, lambda start, stop: (start, stop))
    assert seen == [(0, 4), (4, 8), (8, 10)]
    assert Chunks(1, row_bytes=2**30).rows == 1
    assert Chunks(1, row_bytes=1).run(0, lambda start, stop: (start, stop)) == []


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_the_chunk_is_halved_until_it_fits_and_stays_so(error: RuntimeError):
    tried = []

    def step(start: int, stop: int) -> int:
        tried.append(stop - start)
        if stop - start > 3:
            raise error
        return stop - start

    chunks = Chunks(1, row_bytes=2**17)  # 8 rows
    assert chunks.run(7, step) == [2, 2, 2, 1]
    assert tried == [7, 4, 2, 2, 2, 1]
    assert chunks.run(4, step) == [2, 2]


def test_what_cannot_be_halved_is_raised():
    def no_room(start: int, stop: int) -> None:
        raise torch.OutOfMemoryError("not even one")

    def broken(start: int, stop: int) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(torch.OutOfMemoryError):
        Chunks(1, row_bytes=2**17).run(7, no_room)
    with pytest.raises(RuntimeError, match="shapes differ"):
        Chunks(1, row_bytes=2**17).run(7, broken)
    with pytest.raises(ValueError, match=r"above 0 \(got 0\)"):
        Chunks(0, row_bytes=1)


def test_modes_come_back_each_as_it_was_even_after_an_error():
    model = nn.Sequential(nn.Dropout(), nn.Dropout())
    model[1].eval()  # frozen by its owner

    def look_and_fail() -> None:
        with evaluating(model):
            assert not any(module.training for module in model.modules())
            assert not torch.is_grad_enabled()
            raise KeyError

    with pytest.raises(KeyError):
        look_and_fail()
    assert [module.training for module in model.modules()] == [True, True, False]
    assert torch.is_grad_enabled()


def test_the_device_is_that_of_the_entity_vectors():
    class Vectors:
        entity = torch.empty(1, device="meta")

    assert device_of(Vectors(), torch.device("cpu")).type == "meta"
    assert device_of(None, torch.device("cpu")).type == "cpu"
