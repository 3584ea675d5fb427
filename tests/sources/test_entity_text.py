"""Tables of texts: layouts, faulty lines."""

from pathlib import Path

import pytest

from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.entity_text import read_entity_text

ENTITIES = Vocabulary(["Q1", "Q2"], kind="entity")
BOTH = ({"Q1": "Athens"}, {"Q1": "capital of Greece"})


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("t.tsv", "Q1\tcapital of Greece\n", ({}, BOTH[1])),
        ("t.tsv", "Q1\tAthens\tcapital of Greece\nQ9\tRome\t\n", BOTH),
        ("t.tsv", "description\tid\tEntity\tname\ncapital of Greece\t7\tQ1\tAthens\n", BOTH),
        ("t.csv", 'entity,name,description\nQ1,Athens,"capital of Greece"\n', BOTH),
        ("t.tsv", "name\tentity\nAthens\tQ1\n", (BOTH[0], {})),
    ],
)
def test_layouts(tmp_path: Path, name, content, expected) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert tuple(read_entity_text(path, ENTITIES)) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "got 0 columns"),
        ("Q1\n", "got 1 columns"),
        ("entity\tdescriptions\nQ1\tx\n", "did you mean 'descriptions'"),
        ("Q1\ta\nQ2\n", r"t.tsv:2: 2 fields are wanted \(got 1"),
        ("Q1\ta\n\tb\n", "t.tsv:2: the entity is empty"),
        ("Q1\ta\nQ1\tb\n", r"t.tsv:2: 'Q1' has a line already \(1\)"),
        ("Q8\ta\n", "must tell of entities of the graph"),
        (b"Q1\t\xff\n", "not UTF-8"),
    ],
)
def test_what_is_wrong_is_told_by_line(tmp_path: Path, content, message) -> None:
    path = tmp_path / "t.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        read_entity_text(path, ENTITIES)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.tsv"):
        read_entity_text(tmp_path / "none.tsv", ENTITIES)
