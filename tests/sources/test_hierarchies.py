"""Hierarchies in files: both formats there and back, and what is refused."""

import json
from pathlib import Path

import pytest
import torch

from pyg_kgtransfer.graph.hierarchy import Hierarchy
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.hierarchies import (
    read_hierarchy,
    read_nested_hierarchy,
    write_hierarchy,
    write_nested_hierarchy,
)

ENTITIES = Vocabulary(["Q1", "Q2", "Q3", "Q4"], kind="entity")
LABELS = {"Q1": "Paris", "Q2": "Paris", "Q3": "Götterdämmerung", "Q4": "Rome"}
NESTED = {"top": {"cities": {"A": ["Paris", "Rome"], "B": ["Paris"]}, "works": ["Götterdämmerung"]}}


def shape(tree: Hierarchy) -> dict[str, list[str]]:
    """Each entity's path by names."""
    return {
        name: [tree.names[c] for c in tree.path(int(cluster))] if cluster >= 0 else []
        for name, cluster in zip(tree.entities, tree.cluster_of, strict=True)
    }


def nested(tmp_path: Path, content: object = NESTED) -> Path:
    path = tmp_path / "nested.json"
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def test_entities_that_share_a_label_have_its_places_in_turn(tmp_path: Path) -> None:
    tree = read_nested_hierarchy(nested(tmp_path), ENTITIES, LABELS)
    found = shape(tree)
    assert found["Q1"] == ["A", "cities", "top"]
    assert found["Q2"] == ["B", "cities", "top"]
    assert found["Q3"] == ["works", "top"]
    assert found["Q4"] == ["A", "cities", "top"]


def test_both_formats_go_there_and_back(tmp_path: Path) -> None:
    tree = read_nested_hierarchy(nested(tmp_path), ENTITIES, LABELS)
    write_hierarchy(tree, tmp_path / "own.json")
    assert shape(read_hierarchy(tmp_path / "own.json")) == shape(tree)
    write_nested_hierarchy(tree, tmp_path / "again.json")
    assert shape(read_nested_hierarchy(tmp_path / "again.json", ENTITIES)) == shape(tree)
    write_nested_hierarchy(tree, tmp_path / "labels.json", LABELS)
    assert shape(read_nested_hierarchy(tmp_path / "labels.json", ENTITIES, LABELS)) == shape(tree)


def test_clusters_that_share_a_name_stay_apart(tmp_path: Path) -> None:
    parent, cluster_of = torch.tensor([-1, 0, 0, 0]), torch.tensor([1, 2, 3, 3])
    tree = Hierarchy(ENTITIES, parent, cluster_of, ("top", "same", "same", ""))
    write_nested_hierarchy(tree, tmp_path / "nested.json")
    again = read_nested_hierarchy(tmp_path / "nested.json", ENTITIES)
    groups = [again.members(c) for c in again.is_leaf.nonzero().view(-1).tolist()]
    assert sorted(groups) == [["Q1"], ["Q2"], ["Q3", "Q4"]]


def test_entities_that_the_file_does_not_name_are_refused_or_left_out(tmp_path: Path) -> None:
    more = ENTITIES.grow(["Q5", "Q6"])
    with pytest.raises(ValueError, match=r"each of 6 entities \(got none of 2: 'Q5', 'Q6'\)"):
        read_nested_hierarchy(nested(tmp_path), more, LABELS)
    tree = read_nested_hierarchy(nested(tmp_path), more, LABELS, missing="leave")
    assert shape(tree)["Q5"] == []
    few = Vocabulary(["Q3"])
    assert shape(read_nested_hierarchy(nested(tmp_path), few, LABELS)) == {"Q3": ["works", "top"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": ["x"], "b": ["y"]}', "one root"),
        ('["x"]', r"one root.*\(got list\)"),
        ('{"top": "x"}', r"children or a list of labels \(got 'x' in 'top'\)"),
        ('{"top": [1]}', r"a label is a string \(got 1 in 'top'\)"),
        ('{"top": {"a": ["x"], "a": ["y"]}}', r"'a' twice"),
        ('{"top": ', "JSON that can be read"),
    ],
)
def test_what_is_no_nested_tree_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_nested_hierarchy(path, Vocabulary(["x"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, r"written by write_hierarchy \(got 'other'\)"),
        ({"version": 2}, r"version 1.*\(got 2\)"),
        ({"entities": {"Q1": "x"}}, "does not hold a hierarchy"),
        ({"clusters": [{"name": "a"}]}, "does not hold a hierarchy"),
        ({"clusters": [{"name": str(i), "parent": i ^ 1} for i in range(6)]}, "one root"),
    ],
)
def test_what_is_no_hierarchy_of_ours_is_refused(tmp_path: Path, change, message) -> None:
    path = tmp_path / "own.json"
    write_hierarchy(read_nested_hierarchy(nested(tmp_path), ENTITIES, LABELS), path)
    content = json.loads(path.read_text(encoding="utf-8")) | change
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_hierarchy(path)


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_hierarchy(tmp_path / "none.json")
    with pytest.raises(ValueError, match="not a folder"):
        read_hierarchy(tmp_path)
