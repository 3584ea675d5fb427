import gzip
import lzma

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_kgtransfer.sources.lines import (
    LineFaults,
    check_is_file,
    is_utf8,
    read_lines,
    write_text,
)

SUFFIXES = ["", ".gz", ".xz"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_text_comes_back_line_by_line(tmp_path, suffix) -> None:
    path = tmp_path / f"text{suffix}"
    text = "Ἀθήνα\u2028x\x85\rb\r\n\n  last"
    with write_text(path) as stream:
        stream.write(text)
    assert list(read_lines(path)) == ["Ἀθήνα\u2028x\x85\rb\r\n", "\n", "  last"]


def test_files_are_really_packed_and_the_same_each_time(tmp_path) -> None:
    for name in ("a.gz", "b.gz", "a.xz", "b.xz"):
        with write_text(tmp_path / name) as stream:
            stream.write("fact\n" * 100)
    packed = {name: (tmp_path / name).read_bytes() for name in ("a.gz", "b.gz", "a.xz", "b.xz")}
    assert gzip.decompress(packed["a.gz"]) == lzma.decompress(packed["a.xz"]) == b"fact\n" * 100
    assert packed["a.gz"] == packed["b.gz"]
    assert packed["a.xz"] == packed["b.xz"]


def test_one_byte_order_mark_is_dropped(tmp_path) -> None:
    path = tmp_path / "text"
    path.write_bytes("\ufeff\ufeffa\n\ufeffb".encode())
    assert list(read_lines(path)) == ["\ufeffa\n", "\ufeffb"]


def test_bytes_that_are_not_utf8_are_told_apart(tmp_path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"good \xc3\xa9\nbad \xe9\n")
    assert [is_utf8(line) for line in read_lines(path)] == [True, False]


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(exclude_categories=[]), max_size=5))
def test_is_utf8_is_whether_it_encodes(text) -> None:
    try:
        text.encode("utf-8")
        encodes = True
    except UnicodeEncodeError:
        encodes = False
    assert is_utf8(text) == encodes


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.gz", b"plain text"),
        ("a.gz", gzip.compress(b"fact\n" * 1000, mtime=0)[:-20]),
        (
            "a.gz",
            gzip.compress(b"fact\n" * 9, mtime=0)[:12]
            + b"\xff" * 9
            + gzip.compress(b"f", mtime=0)[21:],
        ),
        ("a.xz", b"plain text"),
        ("a.xz", lzma.compress(b"fact\n" * 1000)[:-20]),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, content) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} must be a whole \.\w\w file"):
        list(read_lines(tmp_path / name))


def test_what_is_no_file_is_refused(tmp_path) -> None:
    with pytest.raises(IsADirectoryError, match="a file is wanted, not a folder"):
        list(read_lines(tmp_path))
    (tmp_path / "train.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"no file .*train\.tsv; the folder has train\.txt"):
        check_is_file(tmp_path / "train.tsv")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        check_is_file(tmp_path / "nowhere" / "train.tsv")


@pytest.mark.parametrize(("count", "listed"), [(1, 20), (20, 20), (21, 20), (3, 1)])
def test_all_faults_are_counted_and_the_first_listed(tmp_path, count, listed) -> None:
    faults = LineFaults("a table", listed=listed)
    for line in range(1, count + 1):
        assert faults.are_listed == (line > listed)
        faults.add(tmp_path / "x", line, f"reason {line}")
    with pytest.raises(ValueError, match=rf"a table must have no faulty line \(got {count}\)") as e:
        faults.raise_if_any()
    shown = str(e.value).splitlines()[1:]
    more = [f"  and {count - listed} more"] if count > listed else []
    first = [f"  {tmp_path / 'x'}:{i}: reason {i}" for i in range(1, min(count, listed) + 1)]
    assert shown == first + more


def test_no_faults_no_error() -> None:
    LineFaults("a table").raise_if_any()
    with pytest.raises(ValueError, match="at least one faulty line must be listed"):
        LineFaults("a table", listed=0)
