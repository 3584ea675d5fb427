"""``kgt pretrain``: one model over several linked graphs, or over one."""

from pathlib import Path
from typing import NamedTuple, get_args

from jsonargparse import ArgumentParser, Namespace

from pyg_kgtransfer.commands.inputs import DATA_HELP, joined, load_splits, read_links
from pyg_kgtransfer.commands.outputs import (
    Json,
    Show,
    add_training_arguments,
    checked_out,
    graph_counts,
    run_folder,
    save,
)
from pyg_kgtransfer.graph.entity_groups import GivenGroups
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.linking.linked_kg import LinkedKG, Mode
from pyg_kgtransfer.models.build import FOUNDATION
from pyg_kgtransfer.serving import report
from pyg_kgtransfer.sources.entity_groups import read_entity_groups
from pyg_kgtransfer.transfer.pretrain import pretrain

USAGE = "kgt pretrain --data DATA [DATA ...] [--links A~B.tsv ...] --out DIR"


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of ``kgt pretrain``."""
    add_graph_arguments(parser)
    add_training_arguments(parser)


def add_graph_arguments(parser: ArgumentParser) -> None:
    """What is trained on, and how it is joined."""
    parser.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="DATA",
        help=f"the graphs, one or more; each is {DATA_HELP}. 'atlas' stands for its three graphs "
        "and their links. NAME=PATH gives a graph another name",
    )
    parser.add_argument(
        "--links",
        nargs="+",
        default=[],
        metavar="FILE",
        help="files of pairs as 'kgt link' writes them, called A~B.tsv after the graphs they link "
        "(any name where there are two graphs, left then right)",
    )
    parser.add_argument(
        "--mode",
        type=Mode,
        default=get_args(Mode)[0],
        help="sharing: linked entities have one vector; mapping: they are pulled together; "
        "swapping: so, and facts are repeated with the one in the place of the other",
    )
    parser.add_argument(
        "--strict",
        type=bool,
        default=True,
        help="leave out other graphs' facts between two entities of a valid or test fact, so that "
        "no answer can be copied",
    )
    parser.add_argument(
        "--alignment_weight",
        type=float,
        default=1.0,
        help="of the loss that pulls linked entities together (mapping, swapping)",
    )
    parser.add_argument(
        "--groups",
        type=str | None,
        metavar="FILE",
        help="groups for --recipe.objective.balance_by group: a table of two columns, entity and "
        "group (tab-separated, or .csv); default: entity types, where there are some",
    )


def run(options: Namespace, show: Show) -> Json:
    """Link, train, save; the mean validation MRR over the graphs selects the weights."""
    out = checked_out(options)
    given = joint_data(options, show)
    checkpoint = pretrain(
        given.linked,
        given.splits,
        recipe=options.recipe,
        groups=given.groups,
        alignment_weight=options.alignment_weight,
        run_dir=run_folder(options.run_dir),
    )
    graphs = [split.train for split in given.splits]
    left_out = sum(graph.num_triples for graph in graphs) - given.linked.graph.num_triples
    joint = {"mode": options.mode, "strict": options.strict, "repeated_or_left_out": left_out}
    return save(checkpoint, out, show, **(joint if len(graphs) > 1 else {}))


class JointData(NamedTuple):
    """What ``add_graph_arguments`` name, read and joined."""

    splits: list[Split]
    linked: LinkedKG
    groups: GivenGroups | None


def joint_data(options: Namespace, show: Show) -> JointData:
    """Read, link and show the graphs."""
    splits, alignments = load_splits(options.data)
    graphs = [split.train for split in splits]
    alignments += [read_links(path, graphs) for path in options.links]
    linked = joined(splits, alignments, mode=options.mode, strict=options.strict)
    groups = None
    if options.groups is not None:
        groups = read_entity_groups(Path(options.groups), linked.graph.entities)
    show(report.records_table("graphs", map(graph_counts, graphs)))
    if len(graphs) > 1:
        links = [
            {
                "left": each.left,
                "right": each.right,
                "entities": len(each.entities.usable()),
                "relations": len(each.relations.usable()),
            }
            for each in alignments
        ]
        needless = options.recipe.model.encoder == FOUNDATION
        alone = "each graph by itself" if needless else "no links: nothing is carried over"
        show(report.records_table("links", links) if links else alone)
    return JointData(splits, linked, groups)
