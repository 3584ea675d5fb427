"""Lines of words from files, joined mentions, vocabularies by frequency."""

import gzip
from pathlib import Path

import pytest

from pyg_kgtransfer.sources.corpus import Corpus, Place, count_words, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, world!", ["hello", "world"]),
        ("snake_case 3.14 e-mail don\u2019t", ["snake", "case", "3", "14", "e-mail", "don\u2019t"]),
        ("Straße ΑΘΗΝΑ Москва 東京", ["strasse", "αθηνα", "москва", "東京"]),
        ("-- ... '", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_case_stays_on_demand() -> None:
    assert words_of("Athens", fold=False) == ["Athens"]


def test_files_of_a_folder_in_order_packed_or_not(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.txt.gz").write_bytes(gzip.compress(b"three\n"))
    (tmp_path / "a.txt").write_text("one two\n\nbetween\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    lines = list(Corpus.at(tmp_path).lines())
    assert lines == [
        (Place(0, 1), ["one", "two"]),
        (Place(0, 3), ["between"]),
        (Place(1, 1), ["three"]),
    ]
    assert list(Corpus.at(tmp_path).lines(Place(0, 1))) == lines[1:]
    assert list(Corpus.at(tmp_path).lines(Place(1, 0))) == lines[2:]


def test_the_longest_mention_is_one_word(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("New York City and New York; new. Yorkshire")
    mentions = ["New York", "New York City", "Yorkshire", "city and the sea"]
    [(_, words)] = Corpus.at(path, mentions=mentions).lines()
    assert words == ["new_york_city", "and", "new_york", "new", "yorkshire"]


def test_the_most_frequent_words_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("b a b c a b\nc d")
    found = count_words(Corpus.at(path), min_count=2)
    assert found.words.names == ("b", "a", "c")
    assert (list(found.counts), found.num_tokens) == ([3, 2, 2], 8)
    assert count_words(Corpus.at(path), min_count=1, max_words=1).words.names == ("b",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"occurs 5 times \(got 0 words, 0 different ones"),
        (b"one two", r"occurs 5 times \(got 2 words, 2 different ones"),
        (b"fine\n\xff\xfe", r"a\.txt:2: the corpus must be UTF-8 text \(got bytes that are not"),
        (b"fine\nELF\0\1\2", r"a\.txt:2: the corpus must be UTF-8 text \(got a NUL byte"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        count_words(Corpus.at(path))


def test_missing_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no text file or folder"):
        Corpus.at(tmp_path / "none.txt")
    with pytest.raises(FileNotFoundError, match=r"must have files named \*\.txt"):
        Corpus.at(tmp_path)
    with pytest.raises(ValueError, match=r"min_count must be at least 1 \(got 0\)"):
        count_words(Corpus((tmp_path,)), min_count=0)
