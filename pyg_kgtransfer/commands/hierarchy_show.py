"""``kgt hierarchy show``: the tree around an entity, and a subtree as a picture."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from pyg_kgtransfer.commands.inputs import DATA_HELP, load_graph
from pyg_kgtransfer.commands.outputs import Json, Show
from pyg_kgtransfer.graph.hierarchy import Hierarchy
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.serving.tree_view import draw_subtree, members_below, tree_around
from pyg_kgtransfer.sources.hierarchies import read_hierarchy

USAGE = "kgt hierarchy show --hierarchy FILE --entity NAME [--data DATA] [--png FILE]"


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of ``kgt hierarchy show``."""
    parser.add_argument(
        "--hierarchy", required=True, metavar="FILE", help="as 'kgt hierarchy make' writes it"
    )
    parser.add_argument(
        "--entity", required=True, metavar="NAME", help="an entity, by name or by its only label"
    )
    parser.add_argument(
        "--data",
        type=str | None,
        metavar="DATA",
        help=f"the graph, for its labels: a checkpoint (its graph), {DATA_HELP}",
    )
    parser.add_argument(
        "--levels", type=int, default=4, help="how many clusters above the entity's own are opened"
    )
    parser.add_argument(
        "--png",
        type=str | None,
        metavar="FILE",
        help="draw the cluster that many levels above the entity's own, and all below it",
    )


def run(options: Namespace, show: Show) -> Json:
    """Show it."""
    if options.levels < 0:
        raise ValueError(f"--levels must be at least 0 (got {options.levels})")
    tree = read_hierarchy(Path(options.hierarchy))
    labels = list(tree.entities.names)
    if options.data is not None:
        graph = load_graph(options.data)
        shown = {name: graph.label(i) for i, name in enumerate(graph.entities)}
        labels = [shown.get(name, name) for name in labels]
    entity = _found(options.entity, tree, labels)
    show(tree_around(tree, entity, labels, levels=options.levels))
    path = tree.path(int(tree.cluster_of[entity]))
    told: Json = {
        "entity": tree.entities.name(entity),
        "label": labels[entity],
        "path": [tree.names[cluster] or f"cluster {cluster}" for cluster in path],
        "members": [labels[e] for e in members_below(tree)[path[0]]],
    }
    if options.png is not None:
        png = Path(options.png)
        draw_subtree(tree, path[min(options.levels, len(path) - 1)], labels, png)
        show(f"drawn in {png}")
        told["png"] = str(png)
    return told


def _found(name: str, tree: Hierarchy, labels: list[str]) -> int:
    """The entity of that name, else of that label."""
    if name in tree.entities:
        return tree.entities.id(name)
    places = [i for i, label in enumerate(labels) if label == name]
    if len(places) > 1:
        listed = ", ".join(tree.entities.name(i) for i in places[:5])
        raise ValueError(f"{len(places)} entities are called {name!r}: say which ({listed})")
    if not places:
        near = Vocabulary(dict.fromkeys(labels), kind="entity").nearest(name)
        hint = f"; nearest: {', '.join(map(repr, near))}" if near else ""
        raise ValueError(f"the hierarchy knows no entity {name!r}{hint}")
    return places[0]
