"""Counts of pairs against a slow twin: in a table, in files, after interruptions."""

from collections import defaultdict
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from pyg_kgtransfer.sources import cooccurrence
from pyg_kgtransfer.sources.cooccurrence import Cooccurrences, count_cooccurrences
from pyg_kgtransfer.sources.corpus import Corpus, Place, count_words

TABLES = [
    "_Sums",
    pytest.param("_HashedSums", marks=pytest.mark.skipif(not find_spec("numba"), reason="Numba")),
]


def by_hand(lines: list[list[str]], known: set[str], window: int) -> dict[frozenset[str], float]:
    sums: dict[frozenset[str], float] = defaultdict(float)
    for line in lines:
        words = [word for word in line if word in known]
        for i, word in enumerate(words):
            for j in range(max(0, i - window), i):
                sums[frozenset((word, words[j]))] += 1 / (i - j)
    return sums


def pairs_of(found: Cooccurrences) -> dict[frozenset[str], float]:
    names = found.words.names
    rows = zip(found.row.tolist(), found.column.tolist(), found.value.tolist(), strict=True)
    return {frozenset((names[i], names[j])): value for i, j, value in rows}


def text_at(path: Path, lines: list[list[str]]) -> Corpus:
    path.write_text("".join(" ".join(line) + "\n" for line in lines))
    return Corpus.at(path)


def use(monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    monkeypatch.setattr(cooccurrence, "find_spec", lambda name: table == "_HashedSums" or None)


LINES = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=12), min_size=1, max_size=6)


@pytest.mark.parametrize("table", TABLES)
@given(lines=LINES, window=st.integers(1, 4), min_count=st.integers(1, 2))
@settings(max_examples=30, deadline=None)
def test_counts_are_those_of_a_loop(tmp_path_factory, table, lines, window, min_count) -> None:
    corpus = text_at(tmp_path_factory.mktemp("counts") / "a.txt", [*lines, ["a", "a"]])
    words = count_words(corpus, min_count=min_count)
    with pytest.MonkeyPatch.context() as patch:
        use(patch, table)
        found = count_cooccurrences(
            corpus, words, corpus.files[0].with_suffix(".npz"), window=window
        )
    expected = by_hand([*lines, ["a", "a"]], set(words.words.names), window)
    assert pairs_of(found) == pytest.approx(expected)
    key = found.row.long() * len(words.words) + found.column
    assert bool((key.diff() > 0).all())
    assert bool((found.row <= found.column).all())


@pytest.mark.parametrize("table", TABLES)
def test_a_table_that_is_full_goes_to_files_that_are_merged(tmp_path, monkeypatch, table) -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(60, (200, 12), generator=generator)
    lines = [[f"w{i}" for i in row] for row in ids.tolist()]
    corpus = text_at(tmp_path / "a.txt", lines)
    words = count_words(corpus, min_count=1)
    whole = count_cooccurrences(corpus, words, tmp_path / "whole.npz", window=3)
    use(monkeypatch, table)
    monkeypatch.setattr(cooccurrence, "_LONGEST", 16)
    monkeypatch.setattr(cooccurrence, "_BLOCK_TOKENS", 200)
    monkeypatch.setattr(cooccurrence, "_MERGED", 64)
    written = []
    empty = cooccurrence._Count._empty
    monkeypatch.setattr(cooccurrence._Count, "_empty", lambda self: written.append(empty(self)))
    found = count_cooccurrences(corpus, words, tmp_path / "parts.npz", window=3, memory_mb=0.002)
    assert len(written) > 5
    assert torch.equal(found.row, whole.row)
    assert torch.equal(found.column, whole.column)
    torch.testing.assert_close(found.value, whole.value)
    assert not list(tmp_path.glob("*.parts"))


def test_an_interrupted_count_goes_on(tmp_path: Path, monkeypatch) -> None:
    lines = [[f"w{(i * j) % 7}" for j in range(9)] for i in range(50)]
    corpus = text_at(tmp_path / "a.txt", lines)
    words = count_words(corpus, min_count=1)
    whole = count_cooccurrences(corpus, words, tmp_path / "whole.npz")
    monkeypatch.setattr(cooccurrence, "_BLOCK_TOKENS", 40)
    monkeypatch.setattr(cooccurrence, "_SAVE_TOKENS", 80)
    seen: list[int] = []

    def counted(corpus: Corpus, stop: int) -> None:
        lines = Corpus.lines

        def until(self: Corpus, start: Place = Place(0, 0)) -> Iterator[tuple[Place, list[str]]]:  # noqa: B008
            for place, words in lines(self, start):
                if place.line > stop:
                    raise KeyboardInterrupt
                seen.append(place.line)
                yield place, words

        with monkeypatch.context() as patch:
            patch.setattr(Corpus, "lines", until)
            count_cooccurrences(corpus, words, tmp_path / "again.npz")

    with pytest.raises(KeyboardInterrupt):
        counted(corpus, stop=31)
    assert seen == list(range(1, 32))
    seen.clear()
    counted(corpus, stop=99)
    assert 27 < seen[0] <= 32  # a block of 40 words has at most five lines
    assert seen[-1] == 50
    found = Cooccurrences.load(tmp_path / "again.npz")
    assert pairs_of(found) == pytest.approx(pairs_of(whole))
    assert torch.equal(found.counts, whole.counts)


def test_counts_of_the_same_text_are_read_again(tmp_path: Path, monkeypatch) -> None:
    corpus = text_at(tmp_path / "a.txt", [["a", "b", "a", "c"]] * 3)
    words, path = count_words(corpus, min_count=1), tmp_path / "counts.npz"
    first = count_cooccurrences(corpus, words, path)
    with monkeypatch.context() as patch:
        patch.setattr(cooccurrence, "_Count", None)  # nothing is counted
        again = count_cooccurrences(corpus, words, path)
    assert pairs_of(again) == pairs_of(first)
    assert pairs_of(count_cooccurrences(corpus, words, path, window=1)) != pairs_of(first)
    path.write_bytes(path.read_bytes()[:-40])  # cut short
    with pytest.raises(ValueError, match="does not hold co-occurrences"):
        Cooccurrences.load(path)
    assert pairs_of(count_cooccurrences(corpus, words, path)) == pairs_of(first)
    text_at(tmp_path / "a.txt", [["a", "b", "a", "c"]] * 4)
    assert count_cooccurrences(corpus, words, path).value.sum() > first.value.sum()


def test_both_ways(tmp_path: Path) -> None:
    corpus = text_at(tmp_path / "a.txt", [["a", "a", "b"]])
    found = count_cooccurrences(corpus, count_words(corpus, min_count=1), tmp_path / "c.npz")
    rows = sorted(zip(*(table.tolist() for table in found.both_ways()), strict=True))
    assert rows == [(0, 0, 1.0), (0, 1, 1.5), (1, 0, 1.5)]


@pytest.mark.parametrize(
    ("options", "message"), [({"window": 0}, "window"), ({"memory_mb": 0}, "memory_mb")]
)
def test_options_out_of_range(tmp_path: Path, options, message) -> None:
    corpus = text_at(tmp_path / "a.txt", [["a"]])
    words = count_words(corpus, min_count=1)
    with pytest.raises(ValueError, match=f"{message} must be"):
        count_cooccurrences(corpus, words, tmp_path / "c.npz", **options)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"c\.npz does not hold co-occurrences"):
        Cooccurrences.load(path)
    with pytest.raises(FileNotFoundError):
        Cooccurrences.load(tmp_path / "none.npz")
