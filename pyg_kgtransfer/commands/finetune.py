"""``kgt finetune``: a trained model moves to another graph and is trained on there."""

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
from pyg_kgtransfer.transfer.finetune import FinetuneConfig, finetune

USAGE = "kgt finetune --checkpoint DIR --data DATA [--links FILE] --out DIR"


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of ``kgt finetune``."""
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
        help="pairs of the target (left) and the checkpoint's graph (right), as 'kgt link --left "
        "DATA --right CHECKPOINT' writes them (default: the checkpoint's own where it was trained "
        "on the target, else equal names)",
    )
    parser.add_class_arguments(FinetuneConfig, "finetuning")
    add_training_arguments(parser, skip={"model"})


def run(options: Namespace, show: Show) -> Json:
    """Grow the vocabularies, train on, save; tells which names were matched, new and dropped."""
    out = checked_out(options)
    start = Checkpoint.load(options.checkpoint)
    target = load_split(options.data)
    links = options.links
    alignment = None if links is None else read_links(links, [target.train, start.graph])
    checkpoint = finetune(
        start,
        target,
        alignment,
        recipe=options.recipe,
        config=options.finetuning,
        run_dir=run_folder(options.run_dir),
    )
    growth = checkpoint.provenance["growth"]
    rows = [{"": kind, **counts} for kind, counts in growth.items()]
    show(report.records_table("names carried over", rows))
    return save(checkpoint, out, show, parent=start.id, growth=growth)
