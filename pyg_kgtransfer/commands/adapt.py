"""``kgt adapt``: a trained model moves to another graph until the two look alike to it."""

from jsonargparse import ArgumentParser, Namespace

from pyg_kgtransfer.commands.inputs import DATA_HELP, load_split, read_links
from pyg_kgtransfer.commands.outputs import (
    Json,
    Show,
    add_training_arguments,
    checked_out,
    run_folder,
    save,
)
from pyg_kgtransfer.serving import report
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.adapt import AdaptConfig, adapt

USAGE = "kgt adapt --checkpoint DIR --data DATA [--links FILE] --out DIR"


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of ``kgt adapt``."""
    parser.add_argument(
        "--checkpoint", required=True, metavar="DIR", help="the checkpoint to start from"
    )
    parser.add_argument(
        "--data", required=True, metavar="DATA", help=f"the target, one graph: {DATA_HELP}"
    )
    parser.add_argument(
        "--links",
        type=str | None,
        metavar="FILE",
        help="pairs of the target (left) and the checkpoint's graph (right), as for 'kgt finetune'",
    )
    parser.add_class_arguments(AdaptConfig, "adaptation")
    add_training_arguments(parser, skip={"model"})


def run(options: Namespace, show: Show) -> Json:
    """Train on both graphs, save; tells how far apart they were, and are."""
    out = checked_out(options)
    start = Checkpoint.load(options.checkpoint)
    target = load_split(options.data)
    links = options.links
    alignment = None if links is None else read_links(links, [target.train, start.graph])
    checkpoint = adapt(
        start,
        target,
        alignment,
        recipe=options.recipe,
        config=options.adaptation,
        run_dir=run_folder(options.run_dir),
    )
    gap = checkpoint.metrics["domain_gap"]
    rows = [{"": when, **found} for when, found in gap.items()]
    show(report.records_table("how far apart the two graphs are", rows))
    growth = checkpoint.provenance["growth"]
    return save(checkpoint, out, show, parent=start.id, growth=growth, domain_gap=gap)
