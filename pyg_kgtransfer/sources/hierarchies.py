"""Hierarchies of entities in files: a format of our own, and the nested JSON of KG-FIT."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from pyg_kgtransfer.graph.hierarchy import Hierarchy
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.whole_file import whole_file

FORMAT, VERSION = "pyg_kgtransfer.hierarchy", 1
Missing = Literal["refuse", "leave"]


def write_hierarchy(hierarchy: Hierarchy, path: Path) -> None:
    """Write a hierarchy as JSON: clusters with name and parent, and the cluster of each entity.

    Example:
        >>> import tempfile
        >>> tree = Hierarchy(Vocabulary(["a"]), torch.tensor([-1]), torch.tensor([0]), ("all",))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_hierarchy(tree, Path(folder) / "tree.json")
        ...     read_hierarchy(Path(folder) / "tree.json")
        Hierarchy(1 clusters, 1 of them leaves, depth 0, 1 of 1 entities)
    """
    clusters = zip(hierarchy.names, hierarchy.parent.tolist(), strict=True)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "clusters": [{"name": name, "parent": parent} for name, parent in clusters],
        "entities": dict(zip(hierarchy.entities.names, hierarchy.cluster_of.tolist(), strict=True)),
    }
    _write(path, content)


def read_hierarchy(path: Path) -> Hierarchy:
    """Read what ``write_hierarchy`` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds something else, or no tree (a cluster is its own ancestor).

    Example:
        >>> import tempfile
        >>> tree = Hierarchy(Vocabulary(["a"]), torch.tensor([-1]), torch.tensor([0]), ("all",))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_hierarchy(tree, Path(folder) / "tree.json")
        ...     read_hierarchy(Path(folder) / "tree.json").names
        ('all',)
    """
    content = _read(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(
            f"{path} must hold a hierarchy written by write_hierarchy (got "
            f"{'no format' if not isinstance(content, dict) else content.get('format')!r}); "
            "nested JSON is read by read_nested_hierarchy"
        )
    if content.get("version") != VERSION:
        raise ValueError(
            f"{path} must be of version {VERSION}, which this library reads "
            f"(got {content.get('version')!r})"
        )
    try:
        clusters, entities = content["clusters"], content["entities"]
        parent = torch.tensor([cluster["parent"] for cluster in clusters], dtype=torch.long)
        cluster_of = torch.tensor(list(entities.values()), dtype=torch.long)
        names = tuple(str(cluster["name"]) for cluster in clusters)
        return Hierarchy(Vocabulary(entities, kind="entity"), parent, cluster_of, names)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} does not hold a hierarchy: {error}") from error


def is_nested_hierarchy(path: Path) -> bool:
    """Whether a file holds KG-FIT's nested JSON rather than our own.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no JSON.
    """
    content = _read(path)
    return not (isinstance(content, dict) and "format" in content)


def write_nested_hierarchy(
    hierarchy: Hierarchy, path: Path, labels: Mapping[str, str] | None = None
) -> None:
    """Write KG-FIT's nested JSON: {cluster: {child: ...}}, a leaf's value the list of its labels.

    Args:
        hierarchy: Clusters without a name, or with one that occurs twice, are numbered.
        path: The file.
        labels: What to write for an entity; ``None``: its name.

    Example:
        >>> import tempfile
        >>> tree = Hierarchy(Vocabulary(["Q1"]), torch.tensor([-1]), torch.tensor([0]), ("all",))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "tree.json"
        ...     write_nested_hierarchy(tree, path, {"Q1": "Athens"})
        ...     json.loads(path.read_text(encoding="utf-8"))
        {'all': ['Athens']}
    """
    given = {} if labels is None else labels
    members: dict[int, list[str]] = {}
    for name, cluster in zip(hierarchy.entities.names, hierarchy.cluster_of.tolist(), strict=True):
        members.setdefault(cluster, []).append(given.get(name, name))
    seen: dict[str, int] = {}
    for cluster, name in enumerate(hierarchy.names):
        seen.setdefault(name, cluster)
    keys = [
        name if name and seen[name] == cluster else f"Cluster_{cluster}" + (name and f" {name}")
        for cluster, name in enumerate(hierarchy.names)
    ]
    made: dict[int, Any] = {}
    for cluster in hierarchy.depth.argsort(descending=True).tolist():  # children first
        children = hierarchy.children[cluster]
        made[cluster] = (
            {keys[child]: made.pop(child) for child in children}
            if children
            else members.get(cluster, [])
        )
    _write(path, {keys[hierarchy.root]: made[hierarchy.root]})


def read_nested_hierarchy(
    path: Path,
    entities: Vocabulary,
    labels: Mapping[str, str] | None = None,
    *,
    missing: Missing = "refuse",
) -> Hierarchy:
    """Read KG-FIT's nested JSON for the entities of a graph.

    Entities that share a label are told apart: the first has the first place where the label
    stands, and so on; where it stands less often, the others are put in its last place.

    Args:
        path: The file: {cluster: {child: ...}}, a leaf's value the list of its entities' labels.
        entities: The graph's.
        labels: The label of each entity in the file; ``None``: its name.
        missing: What to do with entities that the file does not name: refuse, or leave them in no
            cluster.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no such tree, or (``missing="refuse"``) does not cover the graph.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "tree.json"
        ...     _ = path.write_text('{"all": {"cities": ["Athens"], "rest": ["opera"]}}')
        ...     tree = read_nested_hierarchy(path, Vocabulary(["Q1"]), {"Q1": "Athens"})
        >>> [tree.names[cluster] for cluster in tree.path(int(tree.cluster_of[0]))]
        ['cities', 'all']
    """
    content = _read(path)
    if not isinstance(content, dict) or len(content) != 1:
        got = f"{len(content)} roots" if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path} must hold one root, {{cluster: {{child: ...}}}} (got {got})")
    parent, names, places = _flattened(content, path)
    given = {} if labels is None else labels
    used: dict[str, int] = {}
    cluster_of, lost = [], []
    for name in entities.names:
        label = given.get(name, name)
        at = places.get(label)
        if at is None:
            lost.append(name)
            cluster_of.append(-1)
            continue
        turn = used.get(label, 0)
        used[label] = turn + 1
        cluster_of.append(at[min(turn, len(at) - 1)])
    if lost and missing == "refuse":
        listed = ", ".join(map(repr, lost[:5]))
        raise ValueError(
            f"{path} must name each of {len(entities)} entities (got none of {len(lost)}: {listed}"
            f"{' ...' if len(lost) > 5 else ''}); missing='leave' leaves them in no cluster"
        )
    return Hierarchy.pruned(entities, torch.tensor(parent), torch.tensor(cluster_of), tuple(names))


def _flattened(
    content: Mapping[str, Any], path: Path
) -> tuple[list[int], list[str], dict[str, list[int]]]:
    """Parents and names of clusters, and the clusters in which each label stands, in order."""
    parent: list[int] = []
    names: list[str] = []
    places: dict[str, list[int]] = {}
    waiting = [(name, below, -1) for name, below in content.items()]
    while waiting:
        name, below, above = waiting.pop()
        if not isinstance(below, (dict, list)):
            raise ValueError(
                f"{path}: a cluster holds children or a list of labels (got {below!r} in {name!r})"
            )
        if not below:
            continue  # an empty cluster says nothing
        parent.append(above)
        names.append(name)
        if isinstance(below, list):
            for label in below:
                if not isinstance(label, str):
                    raise ValueError(f"{path}: a label is a string (got {label!r} in {name!r})")
                places.setdefault(label, []).append(len(parent) - 1)
        else:
            above = len(parent) - 1
            waiting += [(child, deeper, above) for child, deeper in reversed(below.items())]
    return parent, names, places


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except IsADirectoryError as error:
        raise ValueError(f"a file is read here, not a folder (got {path})") from error
    try:
        return json.loads(text, object_pairs_hook=_without_repeats)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} does not hold JSON that can be read: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"names must differ where they stand side by side (got {twice!r} twice)")
    return found


def _write(path: Path, content: Any) -> None:
    with whole_file(path) as part, part.open("w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False, indent=1)
        file.write("\n")
