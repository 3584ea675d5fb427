"""Files of word vectors: both layouts, faulty lines."""

from pathlib import Path

import pytest
import torch

from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.word_vectors import WordVectors, read_word_vectors, write_word_vectors

WORDS = Vocabulary(["tea", "ouzo", "東京"], kind="word")


@pytest.mark.parametrize("name", ["v.txt", "v.txt.gz"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    vectors = WordVectors(WORDS, torch.tensor([[1.5, -2e-7], [0.0, 3.0], [1 / 3, 4e9]]))
    write_word_vectors(vectors, tmp_path / name)
    again = read_word_vectors(tmp_path / name)
    assert again.words == WORDS
    torch.testing.assert_close(again.vectors, vectors.vectors, rtol=1e-5, atol=0)
    some = read_word_vectors(tmp_path / name, Vocabulary(["ouzo", "wine"]))
    assert some.words.names == ("ouzo",)


def test_a_header_is_no_vector_and_the_first_line_of_a_word_counts(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_text("2 2\ntea 1 2 \nwine 3 4\r\ntea 5 6\n")
    assert read_word_vectors(path).vectors.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"tea 1 2\nwine 3\n", r"v\.txt:2: 2 numbers are wanted \(got 1\)"),
        (b"tea 1 2\nwine 3 x\n", r"v\.txt:2: numbers are wanted after the word \(got '3 x'\)"),
        (b"tea 1 nan\n", r"v\.txt:1: numbers must be finite"),
        (b"\xff 1 2\n", r"v\.txt:1: a word in UTF-8 is wanted"),
        (b"3 2\ntea 1 2 3\n", r"v\.txt:2: 2 numbers are wanted \(got 3\)"),
        (b"", r"must have a vector \(got none\)"),
    ],
)
def test_faulty_lines_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "v.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_word_vectors(path)


def test_words_that_a_line_cannot_hold_are_refused(tmp_path: Path) -> None:
    vectors = WordVectors(Vocabulary(["new york"]), torch.ones(1, 2))
    with pytest.raises(ValueError, match="no blanks"):
        write_word_vectors(vectors, tmp_path / "v.txt")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"each of 3 words needs a vector \(got \[2, 2\]\)"):
        WordVectors(WORDS, torch.ones(2, 2))
