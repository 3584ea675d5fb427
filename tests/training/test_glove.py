"""GloVe alone: against a slow twin, without Numba, from other vectors."""

import numpy as np
import pytest
import torch

from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.cooccurrence import Cooccurrences
from pyg_kgtransfer.sources.word_vectors import WordVectors
from pyg_kgtransfer.training import glove
from pyg_kgtransfer.training.glove import GloVeTraining, Tables, _CompiledPasses, train_glove

NUMBER = 12


@pytest.fixture(scope="module")
def counts() -> Cooccurrences:
    """Words of two kinds that stand with their own kind."""
    pairs = [(i, j) for i in range(NUMBER) for j in range(i, NUMBER)]
    row, column = torch.tensor(pairs, dtype=torch.int32).unbind(1)
    value = torch.where(row % 2 == column % 2, 150.0, 2.0)
    words = Vocabulary([f"w{i}" for i in range(NUMBER)], kind="word")
    return Cooccurrences(words, torch.ones(NUMBER).long(), row, column, value)


def by_hand(order: list[int], given: Tables, tables: Tables, rate: float) -> tuple[list, float]:
    """Pair by pair, as the formula says: the tables after it, and the sum of losses."""
    w, u, b, c, *squares = (table.double().numpy().copy() for table in tables)
    row, column, log, weight = (table.tolist() for table in given)
    total = 0.0
    for p in order:
        i, j = row[p], column[p]
        gap = w[i] @ u[j] + b[i] + c[j] - log[p]
        pull = weight[p] * gap
        total += pull * gap
        gradients = (pull * u[j], pull * w[i].copy(), pull, pull)
        steps = zip((w, u, b, c), squares, (i, j, i, j), gradients, strict=True)
        for table, square, at, gradient in steps:
            table[at] -= rate * gradient / np.sqrt(square[at])
            square[at] += gradient**2
    return [w, u, b, c, *squares], total


def visited(passes: _CompiledPasses) -> list[int]:
    """Positions of pairs in the order of a pass."""
    groups = round((len(passes.strata) - 1) ** 0.5)
    found: list[int] = []
    for shift in range(groups):
        for group in range(groups):
            stratum = group * groups + (group + shift) % groups
            for tile in passes.visits[passes.strata[stratum] : passes.strata[stratum + 1]]:
                found += passes.order[passes.tiles[tile] : passes.tiles[tile + 1]].tolist()
    return found


@pytest.mark.parametrize("number", [12, 5000])  # words in one block of a group, and in several
def test_the_compiled_pass_does_what_the_formula_says(number: int) -> None:
    pytest.importorskip("numba")
    generator = torch.Generator().manual_seed(number)
    pairs = torch.randint(number, (2, 3000), generator=generator, dtype=torch.int32)
    log, weight = torch.rand(2, 3000, generator=generator)
    tables = [torch.rand(number, 5, generator=generator) - 0.5 for _ in range(2)]
    tables += [torch.zeros(number) for _ in range(2)]
    tables += [torch.ones_like(table) for table in tables]
    given = (*pairs, log, weight)
    passes = _CompiledPasses(given, tuple(t.clone() for t in tables), 0.1)
    loss = passes.loss_of_one(torch.Generator().manual_seed(1))
    order = visited(passes)
    assert sorted(order) == list(range(3000))
    assert order[:50] != sorted(order[:50])
    wanted, total = by_hand(order, passes.given, tables, 0.1)
    assert loss == pytest.approx(total, rel=1e-4)
    for table, by_formula in zip(passes.tables, wanted, strict=True):
        np.testing.assert_allclose(table.numpy(), by_formula, rtol=1e-3, atol=1e-5)


def test_words_are_the_same_on_any_number_of_threads(counts: Cooccurrences) -> None:
    options = GloVeTraining(width=5, epochs=4, seed=3)
    found, threads = train_glove(counts, options), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert torch.equal(train_glove(counts, options).word, found.word)
    finally:
        torch.set_num_threads(threads)
    assert found.losses[-1] < found.losses[0]
    assert found.pairs_per_second > 0


@pytest.mark.parametrize("compiled", [True, False])
def test_words_that_stand_together_grow_alike(counts, monkeypatch, compiled: bool) -> None:
    if not compiled:
        monkeypatch.setattr(glove, "why_not", lambda device: "no loop")
        monkeypatch.setattr(glove, "_BATCH", 16)
    found = train_glove(counts, GloVeTraining(width=5, epochs=40))
    assert found.losses[-1] < 0.5 * found.losses[0]
    unit = torch.nn.functional.normalize(found.word, dim=1)
    alike = unit @ unit.t()
    assert alike[0, 2] > alike[0, 1]


def test_vectors_may_begin_from_others(counts: Cooccurrences) -> None:
    start = WordVectors(Vocabulary(["w1", "tea"]), torch.tensor([[8.0, 6.0], [0.0, 1.0]]))
    options = GloVeTraining(width=2, epochs=1, learning_rate=1e-9)
    found = train_glove(counts, options, start=start)
    torch.testing.assert_close(found.vectors.of("w1"), start.of("w1"))
    with pytest.raises(ValueError, match=r"width 3 \(got 2\)"):
        train_glove(counts, GloVeTraining(width=3), start=start)
    with pytest.raises(ValueError, match="words of the corpus"):
        train_glove(counts, options, start=WordVectors(Vocabulary(["x"]), torch.ones(1, 2)))


@pytest.mark.parametrize("name", ["width", "epochs", "learning_rate", "x_max", "exponent"])
def test_options_out_of_range(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        GloVeTraining(**{name: 0})


def test_a_loss_that_runs_away_is_told(counts: Cooccurrences) -> None:
    with pytest.raises(ValueError, match=r"finite \(got (nan|inf) in epoch"):
        train_glove(counts, GloVeTraining(width=4, epochs=30, learning_rate=1e30))
