"""The cost model of several processes, and the worker in one of them."""

import math

import pytest

from benchmarks.distributed import Costs, break_even, communication, cost_rows, fitted, sent_bytes
from benchmarks.distributed_worker import work

SPEC = {
    "data": 500, "width": 8, "sparse": True, "batch": 64, "negatives": 4, "strategy": "ddp",
    "processes": 1, "threads": 1, "losses": 3, "steps": 1, "repeats": 2, "reduce": [],
}  # fmt: skip


@pytest.mark.parametrize("world", [2, 3, 8])
def test_a_ring_sends_each_part_on_until_all_have_it(world: int) -> None:
    """W - 1 rounds to sum a W-th of the table each, and as many to hand the sums on."""
    table = 4 * 1200 * 10
    slow = sum(table / world for _ in range(2) for _ in range(world - 1))
    for strategy in ("ddp", "fsdp"):
        sent = sent_bytes(strategy, world=world, entities=1200, width=10)
        assert sent == pytest.approx(slow)
    rows = sum(7 * (4 * 10 + 8) for other in range(world - 1))
    assert sent_bytes("sparse", world=world, entities=1200, width=10, rows=7) == rows


def test_at_break_even_a_step_is_half_communication() -> None:
    costs = Costs(latency=1e-3, bandwidth=1e8, triple=1e-5, width=50)
    sent = sent_bytes("ddp", world=4, entities=10_000, width=100)
    triples = break_even(costs, sent, 100)
    assert communication(costs, sent) == pytest.approx(triples * costs.triple * 2)
    rows = cost_rows(costs, rows_per_triple=2.0)
    assert len({(row["world"], row["entities"], row["width"]) for row in rows}) == len(rows)
    alike = [row for row in rows if (row["entities"], row["width"]) == (10**6, 200)]
    assert [row["world"] for row in alike] == [2, 8, 32]
    needed = [row["dense break-even"] for row in alike]
    assert needed == sorted(needed)


def test_latency_and_bandwidth_are_found_again() -> None:
    sizes = [2**k for k in range(12, 25, 2)]
    latency, bandwidth = fitted([(size, 2e-4 + size / 3e8) for size in sizes])
    assert (latency, bandwidth) == (pytest.approx(2e-4), pytest.approx(3e8))


def test_a_worker_alone_learns_and_counts_its_rows() -> None:
    found = work(SPEC)
    assert len(found["losses"]) == 3
    assert all(loss == pytest.approx(2 * math.log(2), rel=0.01) for loss in found["losses"])
    assert (len(found["seconds"]), found["seconds_alone"]) == (2, [])
    named = found["sparse_bytes"] / (4 * 8 + 8)  # 128 ends and 8 negatives, some of them alike
    assert named.is_integer()
    assert 100 < named <= 2 * 64 + 8
    assert found["dense_bytes"] == 4 * 8 * 200  # relations and their inverses
