"""Agreement of word vectors with people."""

from pathlib import Path

import pytest
import torch

from pyg_kgtransfer.evaluation.word_similarity import (
    analogies,
    completions,
    neighbours,
    read_analogies,
    read_rated_pairs,
    word_similarity,
)
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.word_vectors import WordVectors

NAMES = ["athens", "greece", "rome", "italy", "tea"]
PLACES = torch.tensor([[1.0, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1], [-1, -1, 0, 0]])
VECTORS = WordVectors(Vocabulary(NAMES, kind="word"), PLACES)


def test_ranks_count_not_sizes() -> None:
    pairs = [("athens", "greece", 3.0), ("athens", "italy", 2.9), ("athens", "tea", -50.0)]
    assert word_similarity(VECTORS, pairs) == (pytest.approx(1.0), 3, 3)
    turned = [(a, b, -rating) for a, b, rating in pairs]
    assert word_similarity(VECTORS, turned).spearman == pytest.approx(-1.0)


@pytest.mark.parametrize(
    "pairs", [[], [("x", "y", 1.0)], [("athens", "rome", 1.0)], [("athens", "rome", 1.0)] * 3]
)
def test_where_nothing_can_be_said_it_is_zero(pairs) -> None:
    assert word_similarity(VECTORS, pairs).spearman == 0.0


def test_analogies_by_group_with_their_coverage(tmp_path: Path) -> None:
    path = tmp_path / "questions.txt"
    path.write_text(
        ": capitals\nAthens Greece Rome Italy\nRome Italy Athens Greece\nParis France Rome Italy\n"
        ": wrong\nathens greece rome tea\n"
    )
    found = analogies(VECTORS, read_analogies(path), memory_mb=1e-4)
    assert found.right == {"capitals": 2, "wrong": 0}
    assert found.covered == {"capitals": 2, "wrong": 1}
    assert found.total == {"capitals": 3, "wrong": 1}
    assert found.accuracy == pytest.approx(2 / 3)


def test_neighbours() -> None:
    assert [word for word, _ in neighbours(VECTORS, "athens", k=9)][-1] == "tea"
    with pytest.raises(ValueError, match="athens"):
        neighbours(VECTORS, "athen")
    with pytest.raises(ValueError, match=r"at least 1 \(got 0\)"):
        neighbours(VECTORS, "athens", k=0)


def test_completions() -> None:
    assert completions(VECTORS, "athens", "greece", "rome", k=1)[0][0] == "italy"
    assert len(completions(VECTORS, "athens", "greece", "rome")) == 2


def test_faulty_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("a\tb\t1\na\tb\n")
    with pytest.raises(ValueError, match=r"pairs\.txt:2: two words and a number"):
        read_rated_pairs(path)
    with pytest.raises(ValueError, match=r"pairs\.txt:1: four words are wanted"):
        read_analogies(path)
