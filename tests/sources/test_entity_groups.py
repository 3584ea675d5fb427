"""Tables of groups: layouts, and what is wrong with their lines."""

from pathlib import Path

import pytest

from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.entity_groups import read_entity_groups

ENTITIES = Vocabulary(["Athens", "Oslo", "Rome"], kind="entity")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("g.tsv", "Athens\tsouth\nOslo\tnorth\n"),
        ("g.tsv", "\ufeffAthens\tsouth\r\nOslo\tnorth"),
        ("g.csv", 'Athens,south\n"Oslo",north\n'),
    ],
)
def test_layouts(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode())
    assert read_entity_groups(path, ENTITIES) == {"Athens": "south", "Oslo": "north"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Athens\tsouth\nRome\n", r"g.tsv:2: two fields are wanted, entity and group \(got 1"),
        (b"Athens\tsouth\tx\n", r"g.tsv:1: two fields are wanted.*\(got 3"),
        (b"Roma\tsouth\n", r"g.tsv:1: unknown entity: 'Roma'.*nearest known: 'Rome'"),
        (b"Rome\ta\nRome\tb\n", r"g.tsv:2: 'Rome' has a line already \(1\)"),
        (b"Rome\t\n", "g.tsv:1: the group is empty"),
        (b"\tsouth\n", "g.tsv:1: the entity is empty"),
        (b"Rome\t\xff\n", "g.tsv:1: there are bytes that are not UTF-8"),
    ],
)
def test_what_is_wrong_is_told_by_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "g.tsv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_entity_groups(path, ENTITIES)


def test_all_that_is_wrong_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "g.tsv"
    path.write_text("".join(f"x{i}\tsouth\n" for i in range(50)))
    with pytest.raises(ValueError, match=r"no faulty line \(got 50\)"):
        read_entity_groups(path, ENTITIES)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_entity_groups(tmp_path / "none.tsv", ENTITIES)
