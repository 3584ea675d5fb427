"""``kgt few-shot``: a trained model learns relations or entities that it does not know."""

from jsonargparse import ArgumentParser, Namespace

from pyg_kgtransfer.commands.devices import check_accelerator
from pyg_kgtransfer.commands.outputs import Json, Show, checked_folder, save
from pyg_kgtransfer.serving import report
from pyg_kgtransfer.sources.files import read_triples
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.few_shot import FewShotConfig, few_shot

USAGE = "kgt few-shot --checkpoint DIR --facts FILE --out DIR"


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of ``kgt few-shot``."""
    parser.add_argument(
        "--checkpoint", required=True, metavar="DIR", help="the model, a checkpoint"
    )
    parser.add_argument(
        "--facts",
        required=True,
        metavar="FILE",
        help="a table of a few facts, each of a new relation between known entities, or of a known "
        "relation and one new entity",
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder to save the checkpoint in"
    )
    parser.add_class_arguments(FewShotConfig, "learning")


def run(options: Namespace, show: Show) -> Json:
    """Learn what is new, save; nothing old changes."""
    check_accelerator(options.learning.accelerator)
    out = checked_folder(options.out)
    start = Checkpoint.load(options.checkpoint)
    checkpoint = few_shot(start, read_triples(options.facts), config=options.learning)
    growth = checkpoint.provenance["growth"]
    rows = [
        {"": kind, "known before": counts["matched"] + counts["dropped"], "new": counts["new"]}
        for kind, counts in growth.items()
    ]
    show(report.records_table("names of the model", rows))
    return save(checkpoint, out, show, parent=start.id, growth=growth)
