"""``kgt hierarchy make``: cluster entities by their texts, refine the tree, write it."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from pyg_kgtransfer.commands.outputs import Json, Show
from pyg_kgtransfer.commands.texts import (
    SeedKeptError,
    add_hierarchy_arguments,
    add_text_arguments,
    encoded,
    made_hierarchy,
    read_texts,
)
from pyg_kgtransfer.sources.hierarchies import write_hierarchy

USAGE = "kgt hierarchy make --data DATA [--refine none|local|llm] --out FILE.json"


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of ``kgt hierarchy make``."""
    add_text_arguments(parser, data_help="the graph")
    parser.add_argument("--out", required=True, metavar="FILE", help="file to write (JSON)")
    parser.add_argument("--width", type=int, default=256, help="of the text vectors, even")
    add_hierarchy_arguments(parser)


def run(options: Namespace, show: Show) -> Json:
    """Make it; a refiner out of reach leaves the seed, which is written all the same."""
    out = Path(options.out)
    texts = read_texts(options)
    vectors = encoded(options, texts, options.width)
    try:
        tree, told = made_hierarchy(options, texts, vectors, show)
    except SeedKeptError as error:
        write_hierarchy(error.hierarchy, out)
        raise ValueError(f"{error}; the seed, as it is without refinement, is in {out}") from error
    if options.dry_run:
        return told
    write_hierarchy(tree, out)
    show(f"written to {out}; look at it: kgt hierarchy show --hierarchy {out} --entity NAME")
    return {"out": str(out), **told}
