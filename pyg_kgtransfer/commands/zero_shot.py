"""``kgt zero-shot``: a foundation model on a graph that it has never seen, without training."""

from jsonargparse import ArgumentParser, Namespace

from pyg_kgtransfer.commands.devices import available_device
from pyg_kgtransfer.commands.inputs import DATA_HELP, load_split
from pyg_kgtransfer.commands.outputs import Json, Show, checked_folder, save
from pyg_kgtransfer.serving import report
from pyg_kgtransfer.transfer.ranking import evaluate
from pyg_kgtransfer.transfer.zero_shot import zero_shot

USAGE = "kgt zero-shot --model FILE --data DATA [--out DIR]"


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of ``kgt zero-shot``."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="FILE",
        help="weights of a foundation model: ULTRA's .pth, or a checkpoint of one",
    )
    parser.add_argument("--data", required=True, metavar="DATA", help=f"the graph: {DATA_HELP}")
    parser.add_argument(
        "--out", type=str | None, metavar="DIR", help="write model and graph, to ask and fine-tune"
    )
    parser.add_argument(
        "--memory_mb", type=float, default=512.0, help="budget for a chunk of scores, in MiB"
    )
    parser.add_argument("--device", default="cpu", help="where to compute: cpu, cuda, cuda:1, mps")


def run(options: Namespace, show: Show) -> Json:
    """Read, rank the test facts where there are some, save."""
    device = available_device(options.device)
    out = None if options.out is None else checked_folder(options.out)
    split = load_split(options.data)
    if out is None and not len(split.test):
        raise ValueError(
            f"{split.train.name!r} has no test facts to rank (got 0): name a folder with --out, "
            "and ask the model there with 'kgt predict'"
        )
    checkpoint = zero_shot(options.model, split.train)
    told: Json = {"model": options.model, "data": split.train.name}
    if len(split.test):
        checkpoint.model.to(device)
        result = evaluate(checkpoint, split, memory_mb=options.memory_mb).to_dict()
        show(report.metrics_table(split.train.name, {"both sides": result["metrics"]}))
        show(report.protocol_text(result["protocol"]))
        told |= result
    if out is not None:
        checkpoint.model.cpu()
        told |= save(checkpoint, out, show)
    return told
