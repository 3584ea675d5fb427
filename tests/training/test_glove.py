"""GloVe alone: against a slow twin, without Numba, from other vectors."""

import math
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.cooccurrence import Cooccurrences
from pyg_kgtransfer.sources.word_vectors import WordVectors
from pyg_kgtransfer.training import glove
from pyg_kgtransfer.training.glove import GloVeTraining, train_glove

NUMBER = 12


@pytest.fixture(scope="module")
def counts() -> Cooccurrences:
    """Words of two kinds that stand with their own kind."""
    pairs = [(i, j) for i in range(NUMBER) for j in range(i, NUMBER)]
    row, column = torch.tensor(pairs, dtype=torch.int32).unbind(1)
    value = torch.where(row % 2 == column % 2, 150.0, 2.0)
    words = Vocabulary([f"w{i}" for i in range(NUMBER)], kind="word")
    return Cooccurrences(words, torch.ones(NUMBER).long(), row, column, value)


def by_hand(counts: Cooccurrences, options: GloVeTraining) -> tuple[np.ndarray, list[float]]:
    """Pair by pair, as the formula says, with the same start and order."""
    generator = torch.Generator().manual_seed(options.seed)
    w, u = ((torch.rand(NUMBER, options.width, generator=generator) - 0.5) / options.width
            for _ in range(2))  # fmt: skip
    w, u = w.double().numpy(), u.double().numpy()
    b, c = np.zeros(NUMBER), np.zeros(NUMBER)
    squares = [np.ones_like(t) for t in (w, u, b, c)]
    row, column, value = (t.tolist() for t in counts.both_ways())
    losses = []
    for _ in range(options.epochs):
        total = 0.0
        for p in torch.randperm(len(row), generator=generator).tolist():
            i, j, x = row[p], column[p], value[p]
            gap = w[i] @ u[j] + b[i] + c[j] - math.log(x)
            pull = min(1.0, (x / options.x_max) ** options.exponent) * gap
            total += pull * gap
            gradients = (pull * u[j], pull * w[i].copy(), pull, pull)
            for table, square, at, g in zip((w, u, b, c), squares, (i, j, i, j), gradients,
                                            strict=True):  # fmt: skip
                table[at] -= options.learning_rate * g / np.sqrt(square[at])
                square[at] += g**2
        losses.append(total / len(row))
    return w + u, losses


@pytest.mark.skipif(find_spec("numba") is None, reason="Numba")
def test_the_compiled_loop_does_what_the_formula_says(counts: Cooccurrences) -> None:
    options = GloVeTraining(width=5, epochs=4, seed=3)
    found = train_glove(counts, options)
    vectors, losses = by_hand(counts, options)
    np.testing.assert_allclose(found.vectors.vectors.numpy(), vectors, rtol=1e-3, atol=1e-4)
    assert found.losses == pytest.approx(losses, rel=1e-4)
    assert found.pairs_per_second > 0
    assert torch.equal(train_glove(counts, options).word, found.word)


def test_batches_learn_the_same_where_no_loop_is_compiled(counts, monkeypatch) -> None:
    monkeypatch.setattr(glove, "find_spec", lambda name: None)
    monkeypatch.setattr(glove, "_BATCH", 16)
    found = train_glove(counts, GloVeTraining(width=5, epochs=40))
    _, losses = by_hand(counts, GloVeTraining(width=5, epochs=40))
    assert found.losses[-1] == pytest.approx(losses[-1], rel=0.3)
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
