import pytest

from pyg_kgtransfer.sources.lines import LineFaults
from pyg_kgtransfer.sources.tables import TableFormat, read_rows


@pytest.mark.parametrize(
    ("columns", "width"),
    [
        ((0, 1), None),
        ((0, 1, 1), None),
        (("head", "relation", 2), None),
        (("head", "head", "tail"), None),
        ((0, 1, -1), None),
        ((0, 1, 3), 3),
        ((True, 0, 2), None),
    ],
)
def test_columns_are_three_of_a_kind_that_fit(columns, width) -> None:
    with pytest.raises(ValueError, match="columns"):
        TableFormat(columns, width=width)


@pytest.mark.parametrize("delimiter", ["", "||", "\n", '"'])
def test_a_delimiter_is_one_plain_character(delimiter) -> None:
    with pytest.raises(ValueError, match="a delimiter is one character"):
        TableFormat(delimiter=delimiter)


@pytest.mark.parametrize(
    ("name", "delimiter"),
    [("a.csv", ","), ("a.CSV.gz", ","), ("a.tsv", "\t"), ("a.txt", "\t"), ("a", "\t")],
)
def test_the_delimiter_goes_by_the_name(tmp_path, name, delimiter) -> None:
    assert TableFormat().delimiter_of(tmp_path / name) == delimiter
    assert TableFormat(delimiter="|").delimiter_of(tmp_path / name) == "|"


def test_faults_of_several_files_come_together(tmp_path) -> None:
    faults = LineFaults("both")
    for name in ("a.tsv", "b.tsv"):
        (tmp_path / name).write_text("x\tr\ty\nx\tr\n", encoding="utf-8")
        assert read_rows(tmp_path / name, TableFormat(), faults) == [("x", "r", "y")]
    assert faults.count == 2


def test_a_file_with_faulty_lines_only_is_not_called_empty(tmp_path) -> None:
    faults = LineFaults("one")
    (tmp_path / "a.tsv").write_text("x\n", encoding="utf-8")
    assert read_rows(tmp_path / "a.tsv", TableFormat(), faults) == []
    assert faults.count == 1
