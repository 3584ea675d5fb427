"""``kgt distill``: a student of one graph, taught by a pre-trained model."""

import logging

import torch
from jsonargparse import ArgumentParser, Namespace

from pyg_kgtransfer.commands.inputs import (
    DATA_HELP,
    load_split,
    read_links,
    without_held_out_pairs,
)
from pyg_kgtransfer.commands.outputs import (
    Json,
    Show,
    add_training_arguments,
    checked_out,
    graph_counts,
    run_folder,
    save,
)
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.leakage import without_pairs
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.linking.alignment import Alignment
from pyg_kgtransfer.linking.linked import linked_subgraph
from pyg_kgtransfer.serving import report
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.distill import DistillConfig, distill
from pyg_kgtransfer.transfer.ranking import own_alignment

log = logging.getLogger(__name__)
USAGE = "kgt distill --teacher DIR --data DATA [--links FILE] --out DIR"


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of ``kgt distill``."""
    parser.add_argument(
        "--teacher", required=True, metavar="DIR", help="the checkpoint to learn from"
    )
    parser.add_argument(
        "--data", required=True, metavar="DATA", help=f"the target, one graph: {DATA_HELP}"
    )
    parser.add_argument(
        "--links",
        type=str | None,
        metavar="FILE",
        help="pairs of the target (left) and the teacher's graph (right), as 'kgt link --left DATA "
        "--right TEACHER' writes them; not needed where the teacher was trained on the target",
    )
    parser.add_argument(
        "--hops",
        type=int,
        default=1,
        help="the student reads the teacher's facts so far around the target's entities; 0: those "
        "between them",
    )
    parser.add_argument(
        "--fan_out",
        type=int | None,
        default=50,
        help="at most so many of them per entity and hop; null: all",
    )
    parser.add_argument(
        "--strict",
        type=bool,
        default=True,
        help="leave out the teacher's facts between two entities of a valid or test fact",
    )
    parser.add_class_arguments(DistillConfig, "distillation")
    add_training_arguments(parser)


def run(options: Namespace, show: Show) -> Json:
    """Make the linked subgraph, train the student on it, save it."""
    out = checked_out(options)
    teacher = Checkpoint.load(options.teacher)
    target = load_split(options.data)
    alignment = _alignment(options, teacher, target.train)
    linked = linked_subgraph(
        target.train,
        teacher.graph,
        alignment,
        hops=options.hops,
        fan_out=options.fan_out,
        seed=options.recipe.training.seed,
    )
    if options.strict:
        linked = without_held_out_pairs(linked, target)
        _warn_of_seen_pairs(teacher, target, alignment)
    counts = [graph_counts(graph) for graph in (target.train, teacher.graph, linked.graph)]
    roles = ("target", "teacher's", "the student reads")
    rows = [{"": role, **count} for role, count in zip(roles, counts, strict=True)]
    show(report.records_table("graphs", rows))
    checkpoint = distill(
        teacher,
        target,
        linked,
        recipe=options.recipe,
        config=options.distillation,
        run_dir=run_folder(options.run_dir),
    )
    return save(
        checkpoint,
        out,
        show,
        teacher=teacher.id,
        linked_entities=checkpoint.provenance["linked_entities"],
    )


def _alignment(options: Namespace, teacher: Checkpoint, target: KnowledgeGraph) -> Alignment:
    """Of the target and the teacher's graph: as given, or the teacher's own."""
    if options.links is not None:
        return read_links(options.links, [target, teacher.graph])
    known = () if teacher.sources is None else teacher.sources.names
    if target.name not in known:
        raise ValueError(
            f"without --links, the target must be a graph that the teacher was trained on: "
            f"{', '.join(map(repr, known)) or 'none is known by name'} (got {target.name!r}); "
            f"write links with 'kgt link --left {options.data} --right {options.teacher} --out "
            "links.tsv', then pass --links links.tsv"
        )
    return own_alignment(teacher, target)


def _warn_of_seen_pairs(teacher: Checkpoint, target: Split, alignment: Alignment) -> None:
    """Strictness reaches the student's graph alone: say so if the teacher learned such facts."""
    held_out = torch.cat([target.valid.triples, target.test.triples])
    size = target.train.num_entities
    counts = [
        graph.num_triples - without_pairs(graph, held_out, entity_map).num_triples
        for graph, entity_map in (
            (teacher.graph, alignment.entity_map(size)),
            (target.train, torch.arange(size)),  # the target's own training facts are no leak
        )
    ]
    seen = counts[0] - counts[1]
    if seen > 0:
        log.warning(
            "the teacher learned %d facts between two entities of a valid or test fact, and may "
            "pass them on: pretrain with --strict true for a strict comparison",
            seen,
        )
