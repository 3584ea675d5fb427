"""``kgt evaluate``: ranks of a graph's held-out facts, from both sides."""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser, Namespace

from pyg_kgtransfer.commands.devices import available_device
from pyg_kgtransfer.commands.inputs import DATA_HELP, load_split, placed
from pyg_kgtransfer.commands.outputs import Json, Show
from pyg_kgtransfer.evaluation.bias import BiasResult
from pyg_kgtransfer.evaluation.result import SIDES
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.serving import report
from pyg_kgtransfer.serving.bias_plot import plot_bias
from pyg_kgtransfer.sources.entity_groups import read_entity_groups
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.bias import measure_bias
from pyg_kgtransfer.transfer.ranking import evaluate

USAGE = "kgt evaluate --checkpoint DIR --data DATA [--part test] [--bias true]"


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of ``kgt evaluate``."""
    parser.add_argument(
        "--checkpoint", required=True, metavar="DIR", help="the model, a checkpoint"
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="the graph whose held-out facts are ranked, among its own entities, or among the "
        f"negatives that come with them (OGB): {DATA_HELP}",
    )
    parser.add_argument(
        "--part",
        type=Literal["test", "valid"],
        default="test",
        help="which facts: test ranks are filtered by train, valid and test, valid ranks by the "
        "first two; ranks among negatives that come with the facts are not filtered",
    )
    parser.add_argument(
        "--by",
        nargs="+",
        default=[],
        choices=["relation", "popularity"],
        help="show the figures of each relation, or of bands of entity popularity, too",
    )
    parser.add_argument(
        "--bias",
        type=bool,
        default=False,
        help="show whom the scores favour, too: their mass and the first ten places, by bands of "
        "popularity and groups of entities (with --by relation: of each relation); always among "
        "all entities of the graph, also where the metrics are of ranks among negatives",
    )
    parser.add_argument(
        "--groups",
        type=str | None,
        metavar="FILE",
        help="groups for --bias: a table of two columns, entity and group (tab-separated, or "
        ".csv); default: entity types, where there are some",
    )
    parser.add_argument(
        "--temperature",
        type=float | None,
        help="of the softmax that makes mass of scores, for --bias (default: 1)",
    )
    parser.add_argument(
        "--plot", type=str | None, metavar="FILE.png", help="draw the shares of --bias"
    )
    parser.add_argument(
        "--memory_mb", type=float, default=512.0, help="budget for a chunk of scores, in MiB"
    )
    parser.add_argument("--device", default="cpu", help="where to compute: cpu, cuda, cuda:1, mps")


def run(options: Namespace, show: Show) -> Json:
    """Rank, and show metrics under their protocol."""
    device = available_device(options.device)
    _check_bias(options)
    loaded = Checkpoint.load(options.checkpoint, device=device)
    split = load_split(options.data)
    checkpoint = placed(loaded, split.train, options.checkpoint)
    bias = _bias(options, checkpoint, split) if options.bias else None
    held_out = split.valid if options.part == "valid" else split.test
    if bias is None or held_out.negatives is not None:  # bias is of ranks among all entities
        result = evaluate(checkpoint, split, options.part, memory_mb=options.memory_mb)
    else:
        result = bias.ranks  # the same, by the same scores
    told = result.to_dict()
    sides = {f"{side} asked": told["by"]["side"][side] for side in SIDES}
    show(report.metrics_table(split.train.name, {"both sides": told["metrics"], **sides}))
    for group in options.by:
        show(report.metrics_table(f"by {group}", told["by"][group]))
    if bias is not None:
        told["bias"] = _told_bias(options, bias, show)
    show(report.protocol_text(told["protocol"]))
    if bias is not None and bias.ranks is not result:
        among_all = report.protocol_text(bias.ranks.protocol)
        show(f"whom the scores favour is told of other ranks, among all entities: {among_all}")
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


def _check_bias(options: Namespace) -> None:
    """What can be seen to fail is seen before the scores are made."""
    for name in ("groups", "plot", "temperature"):
        if getattr(options, name) is not None and not options.bias:
            raise ValueError(f"--{name} goes with --bias true (got it without)")
    if options.plot is None:
        return
    if find_spec("matplotlib") is None:
        raise ImportError("--plot needs `pip install pyg-kgtransfer[plot]`")
    path = Path(options.plot)
    if path.suffix.lower() != ".png" or path.is_dir():
        raise ValueError(f"--plot must name a .png file (got {path})")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} for {path.name}")


def _bias(options: Namespace, checkpoint: Checkpoint, split: Split) -> BiasResult:
    groups = None
    if options.groups is not None:
        groups = read_entity_groups(Path(options.groups), split.train.entities)
    return measure_bias(
        checkpoint,
        split,
        groups,
        role=options.part,
        temperature=1.0 if options.temperature is None else options.temperature,
        memory_mb=options.memory_mb,
    )


def _told_bias(options: Namespace, bias: BiasResult, show: Show) -> Json:
    """Tables of bias, the picture, and all of it for JSON."""
    told = bias.to_dict()
    for by, rows in told["by"].items():
        if by != "relation" or "relation" in options.by:
            titled = [{key.replace("_", " "): value for key, value in row.items()} for row in rows]
            show(report.records_table(f"whom the scores favour, by {by}", titled))
    found = told["popularity_bias"]
    show(
        f"popularity bias {found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]: above "
        "0 what is scored high is more popular than what is true, by so much of the scale from "
        "the least to the most popular."
    )
    if options.plot is not None:
        plot_bias(bias, Path(options.plot))
        show(f"drawn in {options.plot}")
        told["plot"] = options.plot
    return told
