import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.linking.pair_files import PairRow, read_rows, write_rows

KNOWN = {
    "entity": (Vocabulary(["a", "b"], kind="entity"), Vocabulary(["A", "B"], kind="entity")),
    "relation": (Vocabulary(["r"], kind="relation"), Vocabulary(["R"], kind="relation")),
}
HEADER = "kind\tleft\tright\tconfidence\theld_out\n"
names = st.lists(st.text(max_size=6), min_size=1, max_size=5, unique=True)


@given(names, names, st.floats(0, 1, width=32), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_name_comes_back(tmp_path_factory, left, right, confidence, held_out) -> None:
    path = tmp_path_factory.mktemp("pairs") / "pairs.tsv"
    rows = [PairRow("entity", a, b, confidence, held_out) for a in left for b in right]
    write_rows(path, rows)
    again = read_rows(path, {"entity": (Vocabulary(left), Vocabulary(right))})
    assert [row[:3] + row[4:] for row in again] == [row[:3] + row[4:] for row in rows]
    assert [row.confidence for row in again] == pytest.approx([confidence] * len(rows), rel=1e-8)


def test_backslashes_tabs_and_line_ends_are_told_apart(tmp_path) -> None:
    path = tmp_path / "pairs.tsv"
    hard = ["\\t", "\t", "\\\\n", "\\\n", "\r", "x\\"]
    write_rows(path, [PairRow("entity", name, name, 1.0, False) for name in hard])
    vocabulary = Vocabulary(hard)
    assert [row.left for row in read_rows(path, {"entity": (vocabulary, vocabulary)})] == hard


def test_short_lines_and_windows_line_ends_are_read(tmp_path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_bytes(b"kind\tleft\tright\r\nentity\ta\tB\r\nrelation\tr\tR\t0.5\r\n")
    assert read_rows(path, KNOWN) == [
        PairRow("entity", "a", "B", 1.0, False),
        PairRow("relation", "r", "R", 0.5, False),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("entity\ta", r"3 to 5 fields.*\(got 2\)"),
        ("place\ta\tA", r"one of \['entity', 'relation'\] \(got 'place'\)"),
        ("entity\taa\tA", "unknown entity: 'aa'.*nearest known: 'a'"),
        ("entity\ta\tA\tsure", r"number in \[0, 1\] \(got 'sure'\)"),
        ("entity\ta\tA\tnan", "got 'nan'"),
        ("entity\ta\tA\t1.1", "got '1.1'"),
        ("entity\ta\tA\t1\tyes", "0 or 1 \\(got 'yes'\\)"),
        ("entity\ta\\x\tA", r"written as two.*'\\\\x'"),
        ("entity\tb\tB", "already on line 2"),
    ],
)
def test_a_wrong_line_is_named_with_its_number(tmp_path, line, reason) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(f"{HEADER}entity\tb\tB\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}:3: .*{reason}"):
        read_rows(path, KNOWN)


def test_many_wrong_lines_are_counted(tmp_path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(HEADER + "entity\tz\tA\n" * 9, encoding="utf-8")
    with pytest.raises(ValueError, match="and 4 more lines") as error:
        read_rows(path, KNOWN)
    assert str(error.value).count("unknown entity") == 5


@pytest.mark.parametrize("text", ["", "a\tA\n", "\n"])
def test_a_header_is_needed(tmp_path, text) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r":1: .*header"):
        read_rows(path, KNOWN)


def test_bytes_that_are_not_utf8_are_named(tmp_path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_bytes(HEADER.encode() + b"entity\t\xff\tA\n")
    with pytest.raises(ValueError, match=r":2: .*utf-8"):
        read_rows(path, KNOWN)
