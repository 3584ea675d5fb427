"""A hierarchy for people: the tree around an entity as text, a subtree as a picture."""

from pathlib import Path

from rich.text import Text
from rich.tree import Tree

from pyg_kgtransfer.graph.hierarchy import Hierarchy

SHOWN = 8  # entities or clusters side by side
LARGEST_PICTURE = 80  # leaves and entities; deeper ones are folded


def tree_around(
    hierarchy: Hierarchy, entity: int, labels: list[str], *, levels: int = 4, shown: int = SHOWN
) -> Tree:
    """The path to an entity, what lies beside it, and its cluster, as a rich tree.

    Rich prints it; a notebook shows it where it is the last line of a cell.

    Args:
        hierarchy: The tree.
        entity: Its position in the hierarchy's vocabulary.
        labels: What each entity is called.
        levels: How many clusters above its own are opened, at least 0.
        shown: How many entities or clusters are listed side by side, at least 1.

    Raises:
        ValueError: If the entity is in no cluster.

    Example:
        >>> import torch
        >>> from pyg_kgtransfer.graph.vocabulary import Vocabulary
        >>> parent, cluster_of = torch.tensor([-1, 0, 0]), torch.tensor([1, 1, 2])
        >>> names = ("places", "cities", "countries")
        >>> tree = Hierarchy(Vocabulary(["Athens", "Rome", "Greece"]), parent, cluster_of, names)
        >>> shown = tree_around(tree, 0, list(tree.entities))
        >>> str(shown.label), [str(child.label) for child in shown.children]
        ('places · 3 entities', ['cities · 2 entities', 'countries · 1 entity: Greece'])
    """
    leaf = int(hierarchy.cluster_of[entity])
    if leaf < 0:
        raise ValueError(f"{labels[entity]!r} is in no cluster of the hierarchy")
    path = hierarchy.path(leaf)
    opened, above = path[: levels + 1], len(path) - 1 - levels
    members = members_below(hierarchy)
    top = opened[-1]
    node = Tree(_cluster_text(hierarchy, top, len(members[top])))
    if above > 0:
        node.label = Text(f"{above} levels above · ").append_text(Text(str(node.label)))
    root = node
    for below in reversed(opened[:-1]):
        inner = node
        beside = [c for c in hierarchy.children[_parent(hierarchy, below)] if c != below]
        node = inner.add(_cluster_text(hierarchy, below, len(members[below])))
        for other in beside[:shown]:
            inner.add(_folded(hierarchy, other, members[other], labels, shown))
        if len(beside) > shown:
            inner.add(Text(f"and {len(beside) - shown} more", style="dim"))
    inside = [e for e in members[leaf] if e != entity]
    node.add(Text(f"{labels[entity]}  ◀", style="bold"))
    for other in inside[:shown]:
        node.add(Text(labels[other]))
    if len(inside) > shown:
        node.add(Text(f"and {len(inside) - shown} more", style="dim"))
    return root


def members_below(hierarchy: Hierarchy) -> list[list[int]]:
    """The entities of each cluster and of all clusters below it."""
    found: list[list[int]] = [[] for _ in range(len(hierarchy))]
    for entity, cluster in enumerate(hierarchy.cluster_of.tolist()):
        if cluster >= 0:
            found[cluster].append(entity)
    for cluster in hierarchy.depth.argsort(descending=True, stable=True).tolist():
        for child in hierarchy.children[cluster]:
            found[cluster] += found[child]
    return found


def draw_subtree(hierarchy: Hierarchy, cluster: int, labels: list[str], path: Path) -> None:
    """Draw a cluster and all below it as a dendrogram (PNG); where it is too large, folded.

    Args:
        hierarchy: The tree.
        cluster: The root of what is drawn.
        labels: What each entity is called.
        path: The picture; it is whole or not there.

    Raises:
        ImportError: If matplotlib is not installed.

    Example:
        >>> import tempfile, torch
        >>> import pyg_kgtransfer as kgt
        >>> parent, cluster_of = torch.tensor([-1, 0, 0]), torch.tensor([1, 1, 2])
        >>> entities = kgt.Vocabulary(["Athens", "Rome", "Greece"])
        >>> tree = kgt.Hierarchy(entities, parent, cluster_of, ("places", "cities", "countries"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "tree.png"
        ...     kgt.draw_subtree(tree, 0, list(entities), path)
        ...     path.read_bytes()[1:4]
        b'PNG'
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("a picture needs `pip install pyg-kgtransfer[plot]`") from error
    from pyg_kgtransfer.sources.whole_file import whole_file

    members = members_below(hierarchy)
    depth = _depth_that_fits(hierarchy, cluster, members)
    rows: list[str] = []  # from top to bottom
    stems: list[tuple[int, float, float]] = []  # of a cluster: its level, and from row to row
    branches: list[tuple[float, int, int | None]] = []  # at a row: from level to level, or the end
    names: list[tuple[int, float, str]] = []

    def row(text: str) -> float:
        rows.append(text)
        return len(rows) - 1.0

    def place(node: int, level: int) -> float:
        """Put a cluster beside what is below it, and say at which row it is."""
        children, entities = hierarchy.children[node], members[node]
        if level < depth and children:
            below = [place(child, level + 1) for child in children]
            branches.extend((height, level, level + 1) for height in below)
        elif level < depth and len(entities) <= LARGEST_PICTURE - len(rows):
            below = [row(labels[entity]) for entity in entities]
            branches.extend((height, level, None) for height in below)
        else:
            below = [row(_one_line(hierarchy, node, entities, labels))]
            branches.append((below[0], level, None))
        stems.append((level, below[0], below[-1]))
        middle = (below[0] + below[-1]) / 2
        if len(below) > 1:
            names.append((level, middle, hierarchy.names[node]))
        return middle

    place(cluster, 0)
    end = max(level for level, _, _ in stems) + 1
    figure = Figure(figsize=(4 + 1.1 * end, 1 + 0.22 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.vlines(*zip(*stems, strict=True), color="tab:blue", linewidth=1)
    lines = [(height, left, end if right is None else right) for height, left, right in branches]
    axes.hlines(*zip(*lines, strict=True), color="tab:blue", linewidth=1)
    for level, height, name in names:
        axes.annotate(
            name, (level, height), textcoords="offset points", xytext=(3, 3), fontsize=7,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [_short(text) for text in rows], fontsize=7)
    axes.yaxis.tick_right()
    axes.tick_params(right=False)
    axes.set_xticks([])
    axes.set_xlim(0, end)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.spines[:].set_visible(False)
    axes.set_title(_short(_one_line(hierarchy, cluster, members[cluster], labels)), fontsize=9)
    with whole_file(path) as part:
        figure.savefig(part, dpi=130, format="png")


def _depth_that_fits(hierarchy: Hierarchy, cluster: int, members: list[list[int]]) -> int:
    """How many levels can be drawn before there are too many rows."""
    level, depth = [cluster], 0
    while True:
        rows = sum(len(hierarchy.children[c]) or len(members[c]) for c in level)
        if rows > LARGEST_PICTURE or not any(hierarchy.children[c] for c in level):
            return max(1, depth + (rows <= LARGEST_PICTURE))
        level = [child for c in level for child in hierarchy.children[c] or (c,)]
        depth += 1


def _parent(hierarchy: Hierarchy, cluster: int) -> int:
    return int(hierarchy.parent[cluster])


def _cluster_text(hierarchy: Hierarchy, cluster: int, count: int) -> Text:
    name = hierarchy.names[cluster] or f"cluster {cluster}"
    return Text(f"{name} · {count:,} {'entity' if count == 1 else 'entities'}")


def _folded(
    hierarchy: Hierarchy, cluster: int, members: list[int], labels: list[str], shown: int
) -> Text:
    text = _cluster_text(hierarchy, cluster, len(members))
    listed = ", ".join(labels[e] for e in members[:shown])
    return text.append(f": {listed}{' ...' if len(members) > shown else ''}", style="dim")


def _one_line(hierarchy: Hierarchy, cluster: int, members: list[int], labels: list[str]) -> str:
    listed = ", ".join(labels[e] for e in members[:3])
    more = f" and {len(members) - 3:,} more" if len(members) > 3 else ""
    name = hierarchy.names[cluster]
    return f"{name}: {listed}{more}" if name else f"{listed}{more}"


def _short(text: str, width: int = 70) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
