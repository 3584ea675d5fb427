"""The tree around an entity, as text and as a picture."""

from pathlib import Path

import pytest
import torch
from rich.console import Console
from rich.tree import Tree

from pyg_kgtransfer.graph.hierarchy import Hierarchy
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.serving.tree_view import (
    LARGEST_PICTURE,
    draw_subtree,
    members_below,
    tree_around,
)


def deep(depth: int = 6, each: int = 3) -> Hierarchy:
    """A comb: at each level one leaf of ``each`` entities, and the way on."""
    parent, cluster_of, names = [-1], [], ["root"]
    for level in range(depth):
        above = 2 * level
        parent += [above, above]  # a leaf, and the next inner cluster (the last one is a leaf)
        names += [f"leaf {level}", f"inner {level + 1}"]
        cluster_of += [above + 1] * each
    cluster_of += [2 * depth] * each
    entities = Vocabulary([f"e{i}" for i in range(len(cluster_of))], kind="entity")
    return Hierarchy(entities, torch.tensor(parent), torch.tensor(cluster_of), tuple(names))


def text_of(tree: Tree) -> str:
    console = Console(width=120, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115
    console.print(tree)
    return console.export_text()


def test_every_entity_below_is_counted() -> None:
    tree = deep(depth=2, each=1)
    assert [sorted(members) for members in members_below(tree)] == [
        [0, 1, 2],
        [0],
        [1, 2],
        [1],
        [2],
    ]


def test_levels_are_opened_and_the_rest_is_told() -> None:
    tree = deep()
    entity = len(tree.entities) - 1
    shown = text_of(tree_around(tree, entity, tree.entities.names, levels=2))
    assert shown.startswith("4 levels above · inner 4 · 9 entities")
    assert "leaf 4 · 3 entities: e12, e13, e14" in shown
    assert f"e{entity}  ◀" in shown
    assert "leaf 3" not in shown
    whole = text_of(tree_around(tree, entity, tree.entities.names, levels=99))
    assert whole.startswith("root · 21 entities")


def test_long_lists_are_cut_and_counted() -> None:
    tree = deep(depth=1, each=30)
    shown = text_of(tree_around(tree, 0, tree.entities.names, shown=4))
    assert "and 25 more" in shown
    assert "e30, e31, e32, e33 ..." in shown


def test_an_entity_in_no_cluster_is_named() -> None:
    entities = Vocabulary(["a", "b"], kind="entity")
    tree = Hierarchy(entities, torch.tensor([-1]), torch.tensor([0, -1]), ("all",))
    with pytest.raises(ValueError, match="'B' is in no cluster"):
        tree_around(tree, 1, ["A", "B"])


@pytest.mark.parametrize(("depth", "each"), [(0, 1), (2, 2), (3, 200), (60, 1)])
def test_a_picture_of_any_tree(tmp_path: Path, depth: int, each: int) -> None:
    pytest.importorskip("matplotlib")
    tree = deep(depth, each)
    path = tmp_path / "tree.png"
    draw_subtree(tree, tree.root, tree.entities.names, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size < 100 * 50 * LARGEST_PICTURE
    assert [p.name for p in tmp_path.iterdir()] == ["tree.png"]
