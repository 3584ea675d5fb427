import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_kgtransfer.training.batches import (
    BatchOptions,
    TripleBatches,
    mixed_seed,
    source_quotas,
)


def triples(count: int) -> torch.Tensor:
    """Distinct triples, (i, 0, i)."""
    ids = torch.arange(count)
    return torch.stack([ids, torch.zeros_like(ids), ids], dim=1)


def heads_of(batches: TripleBatches, epoch: int) -> list[int]:
    return [head for batch in batches.epoch(epoch) for head in batch.triples[:, 0].tolist()]


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 40), size=st.integers(1, 12), seed=st.integers(0, 2**40))
def test_an_epoch_has_each_triple_once_in_ceil_steps(count: int, size: int, seed: int) -> None:
    batches = TripleBatches(triples(count), BatchOptions(batch_size=size, seed=seed))
    assert len(batches) == math.ceil(count / size)
    assert sorted(heads_of(batches, epoch=3)) == list(range(count))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    batches = TripleBatches(triples(50), BatchOptions(batch_size=7, seed=1))
    other = TripleBatches(triples(50), BatchOptions(batch_size=7, seed=2))
    orders = [heads_of(batches, 0), heads_of(batches, 1), heads_of(other, 0), list(range(50))]
    assert len(set(map(tuple, orders))) == 4


def test_a_batch_is_the_same_whenever_it_is_read() -> None:
    source = torch.arange(40) % 3
    options = BatchOptions(batch_size=6, seed=3, temperature=2.0)
    in_order = TripleBatches(triples(40), options, source=source)
    all_batches = [(e, s, in_order.batch(e, s)) for e in range(3) for s in range(len(in_order))]
    alone = TripleBatches(triples(40), options, source=source)
    for epoch, step, batch in reversed(all_batches):
        again = alone.batch(epoch, step)
        assert torch.equal(batch.triples, again.triples)
        assert torch.equal(batch.source, again.source)
        one, other = (torch.rand(5, generator=b.generator) for b in (batch, again))
        assert torch.equal(one, other)
    late = list(alone.epoch(2, start=4))
    assert torch.equal(late[0].triples, in_order.batch(2, 4).triples)
    assert len(late) == len(alone) - 4


def test_generators_differ_between_steps_and_epochs() -> None:
    batches = TripleBatches(triples(20), BatchOptions(batch_size=5))
    draws = {
        tuple(torch.randint(1000, (6,), generator=batch.generator).tolist())
        for epoch in range(5)
        for batch in batches.epoch(epoch)
    }
    assert len(draws) == 20


def test_mixed_seeds_of_a_grid_are_distinct_and_spread() -> None:
    seeds = [mixed_seed(a, b) for a in range(60) for b in range(60)]
    assert len(set(seeds)) == 3600
    assert len({seed & 0xFFFFFFFF for seed in seeds}) > 3595  # the bits that the CPU generator uses
    assert 0 <= min(seeds) < 2**60 < max(seeds) < 2**63


@settings(max_examples=30, deadline=None)
@given(
    counts=st.lists(st.integers(0, 200), min_size=1, max_size=5).filter(any),
    temperature=st.sampled_from([0.01, 0.5, 1.0, 1.7, 5.0, 1e6, math.inf]),
)
def test_quotas_follow_the_formula(counts: list[int], temperature: float) -> None:
    quotas = source_quotas(counts, temperature)
    assert sum(quotas) == sum(counts)
    weights = [0.0 if not n else (n / max(counts)) ** (1 / temperature) for n in counts]
    for quota, weight in zip(quotas, weights, strict=True):
        assert abs(quota - sum(counts) * weight / sum(weights)) < 1
        assert quota == 0 or weight > 0


def test_sources_are_mixed_by_their_quotas_and_evenly_within() -> None:
    source = torch.tensor([0] * 60 + [2] * 12)  # source 1 has none
    options = BatchOptions(batch_size=10, temperature=math.inf)
    batches = TripleBatches(triples(72), options, source=source)
    assert len(batches) == 8
    seen: Counter[int] = Counter()
    for batch in batches.epoch(0):
        assert torch.equal(batch.source, source[batch.triples[:, 0]])
        seen.update(batch.triples[:, 0].tolist())
    assert sum(seen[i] for i in range(60)) == 36
    assert max(seen[i] for i in range(60)) == 1
    assert [seen[i] for i in range(60, 72)] == [3] * 12


def test_temperature_one_takes_each_triple_once() -> None:
    source = torch.tensor([0] * 9 + [1])
    batches = TripleBatches(triples(10), BatchOptions(batch_size=4), source=source)
    assert sorted(heads_of(batches, 0)) == list(range(10))


def test_the_fingerprint_sees_triples_sources_and_options() -> None:
    source = torch.zeros(10, dtype=torch.long)
    prints = {
        TripleBatches(triples(10)).fingerprint(),
        TripleBatches(triples(10).flip(0)).fingerprint(),
        TripleBatches(triples(10), BatchOptions(seed=1)).fingerprint(),
        TripleBatches(triples(10), source=source).fingerprint(),
        TripleBatches(triples(10), source=1 - source).fingerprint(),
    }
    assert len(prints) == 5
    assert TripleBatches(triples(10)).fingerprint() in prints


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"batch_size must be at least 1 \(got 0\)"):
        BatchOptions(batch_size=0)
    with pytest.raises(ValueError, match="temperature"):
        BatchOptions(temperature=math.nan)
    with pytest.raises(ValueError, match="at least one triple"):
        TripleBatches(triples(0))
    with pytest.raises(ValueError, match="int64"):
        TripleBatches(triples(3).float())
    with pytest.raises(ValueError, match="one entry per triple"):
        TripleBatches(triples(3), source=torch.zeros(2, dtype=torch.long))
    with pytest.raises(ValueError, match="count from 0"):
        TripleBatches(triples(3), source=torch.tensor([0, -1, 0]))
    with pytest.raises(ValueError, match=r"steps 0 to 2 \(got 3\)"):
        TripleBatches(triples(3), BatchOptions(batch_size=1)).batch(0, 3)
