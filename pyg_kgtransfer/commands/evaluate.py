"""``kgt evaluate``: filtered ranks of a graph's held-out facts, from both sides."""

from typing import Literal

from jsonargparse import ArgumentParser, Namespace

from pyg_kgtransfer.commands.devices import available_device
from pyg_kgtransfer.commands.inputs import DATA_HELP, load_split, placed
from pyg_kgtransfer.commands.outputs import Json, Show
from pyg_kgtransfer.evaluation.result import SIDES
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.serving import report
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.ranking import evaluate

USAGE = "kgt evaluate --checkpoint CHECKPOINT --data DATA [--part test]"


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of ``kgt evaluate``."""
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help="the model")
    parser.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help=f"the graph whose held-out facts are ranked, among its own entities: {DATA_HELP}",
    )
    parser.add_argument(
        "--part",
        type=Literal["test", "valid"],
        default="test",
        help="which facts: test ranks are filtered by train, valid and test, valid ranks by the "
        "first two",
    )
    parser.add_argument(
        "--by",
        nargs="+",
        default=[],
        choices=["relation", "popularity"],
        help="show the figures of each relation, or of bands of entity popularity, too",
    )
    parser.add_argument(
        "--memory_mb", type=float, default=512.0, help="budget for a chunk of scores, in MiB"
    )
    parser.add_argument("--device", default="cpu", help="where to compute: cpu, cuda, cuda:1, mps")


def run(options: Namespace, show: Show) -> Json:
    """Rank, and show metrics under their protocol."""
    device = available_device(options.device)
    loaded = Checkpoint.load(options.checkpoint, device=device)
    split = load_split(options.data)
    checkpoint = placed(loaded, split.train, options.checkpoint)
    result = evaluate(checkpoint, split, options.part, memory_mb=options.memory_mb)
    told = result.to_dict()
    sides = {f"{side} asked": told["by"]["side"][side] for side in SIDES}
    show(report.metrics_table(split.train.name, {"both sides": told["metrics"], **sides}))
    for group in options.by:
        show(report.metrics_table(f"by {group}", told["by"][group]))
    show(report.protocol_text(told["protocol"]))
    graph = checkpoint.graph
    read = KnownTriples(
        [graph.triples], num_entities=graph.num_entities, num_relations=graph.num_relations
    )
    stated = int(read.contains(result.triples).sum())
    if stated:
        show(f"{stated:,} of these facts are in the graph that the model reads.")
    return {
        "checkpoint": options.checkpoint,
        "id": checkpoint.id,
        "data": split.train.name,
        **told,
        "facts_in_model_graph": stated,
    }
