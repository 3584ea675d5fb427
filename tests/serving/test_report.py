import io

import pytest
from rich.table import Table

from pyg_kgtransfer.serving import report
from pyg_kgtransfer.serving.predictor import Answer


def shown(table: Table) -> str:
    """What a pipe gets."""
    stream = io.StringIO()
    report.console(stream).print(table)
    return stream.getvalue()


def rows(text: str) -> list[list[str]]:
    """The cells of each row of a shown table."""
    lines = [line for line in text.splitlines() if line[:1] in "│┃" and line]
    return [[cell.strip() for cell in line[1:-1].replace("┃", "│").split("│")] for line in lines]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1234567, "1,234,567"),
        (0.00001234, "1.234e-05"),
        (2.0, "2"),
        (123456.7, "123,457"),
        (float("nan"), "nan"),
        (False, "no"),
        ([], "-"),
        ({}, "-"),
        ({"a": 1, "b": [True]}, "a 1, b yes"),
        ("text", "text"),
    ],
)
def test_cells(value: object, text: str) -> None:
    assert report.cell(value) == text


def test_names_are_shown_as_they_are() -> None:
    strange = "[bold]x[/bold] :smile: ☃"
    text = shown(report.facts_table(strange, {strange: strange}))
    assert text.count(strange) == 3


def test_long_names_are_folded_not_cut() -> None:
    name = "x" * 500
    text = shown(report.facts_table("t", {"name": name}))
    assert text.count("x") == 500
    assert max(map(len, text.splitlines())) <= report.PIPE_WIDTH


def test_records_have_a_column_per_key() -> None:
    records = [{"relation": "in", "facts": 1200}, {"relation": "near", "facts": 3}]
    table = report.records_table("relations", records)
    assert rows(shown(table)) == [["relation", "facts"], ["in", "1,200"], ["near", "3"]]
    assert [column.justify for column in table.columns] == ["left", "right"]
    assert report.records_table("none", []).row_count == 0


def test_numbers_made_text_stand_right_too() -> None:
    records = [{"gain": "+0.012 [+0.001, +0.02]", "id": "2e7f", "date": "2026-11-21", "left": ""}]
    table = report.records_table("gains", records)
    assert [column.justify for column in table.columns] == ["right", "left", "left", "right"]


def test_metrics_come_in_their_order_and_count_first() -> None:
    table = report.metrics_table(
        "test", {"all": {"mr": 12.34, "mrr": 0.5}, "in": {"mrr": 0.25, "count": 8, "mr": 1.0}}
    )
    assert rows(shown(table)) == [
        ["", "count", "MRR", "MR"],
        ["all", "", "0.500", "12.3"],
        ["in", "8", "0.250", "1.0"],
    ]


def test_answers_show_names_only_where_labels_differ() -> None:
    plain = [Answer("a", "a", 1.0, True), Answer("b", "b", -0.5, False)]
    assert rows(shown(report.answers_table("?", plain))) == [
        ["", "answer", "score", ""],
        ["1", "a", "1.000", "known"],
        ["2", "b", "-0.500", ""],
    ]
    likely = [plain[0]._replace(probability=0.98765), plain[1]]
    assert rows(shown(report.answers_table("?", likely))) == [
        ["", "answer", "score", "probability", ""],
        ["1", "a", "1.000", "0.988", "known"],
        ["2", "b", "-0.500", "", ""],
    ]
    labelled = [Answer("country/GR", "Greece", 1.0, False)]
    assert rows(shown(report.answers_table("?", labelled)))[1] == [
        "1", "Greece", "country/GR", "1.000", "",
    ]  # fmt: skip


def test_the_protocol_is_a_sentence() -> None:
    protocol = {
        "split": "valid",
        "triples": 1200,
        "candidates": 15000,
        "filter_splits": "not stated",
        "sides": ["head", "tail"],
        "ties": "realistic",
    }
    assert report.protocol_text(protocol) == (
        "valid: 1,200 facts, head and tail asked, among 15,000 entities, filtered by not stated; "
        "ties: realistic."
    )
