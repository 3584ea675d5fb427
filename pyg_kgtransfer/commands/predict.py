"""``kgt predict``: the most plausible tails, heads or relations, asked by name."""

from jsonargparse import ArgumentParser, Namespace

from pyg_kgtransfer.commands.devices import available_device
from pyg_kgtransfer.commands.outputs import Json, Show
from pyg_kgtransfer.serving import report
from pyg_kgtransfer.serving.predictor import OnUnknown, Predictor
from pyg_kgtransfer.sources.files import read_triples
from pyg_kgtransfer.training.checkpoint import Checkpoint

USAGE = "kgt predict --checkpoint DIR --relation R (--head X | --tail Y) [-k 10]"
ROLES = ("head", "relation", "tail")


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of ``kgt predict``."""
    parser.add_argument(
        "--checkpoint", required=True, metavar="DIR", help="the model, a checkpoint"
    )
    for role in ROLES:
        what = "a relation" if role == "relation" else "an entity, by name or by its only label"
        parser.add_argument(
            f"--{role}", type=str | None, help=f"{what}; of the three, leave one out: it is asked"
        )
    parser.add_argument(
        "--among",
        type=str | None,
        metavar="SOURCE",
        help="answer with entities of this source alone (a student's target); see kgt info",
    )
    parser.add_argument(
        "--facts",
        type=str | None,
        metavar="FILE",
        help="a table of further facts to answer from; the model reads them, and does not learn",
    )
    parser.add_argument(
        "--on_unknown",
        type=OnUnknown,
        default="error",
        help="what becomes of entities in --facts that the model does not know: encode makes "
        "vectors of what the facts say",
    )
    parser.add_argument("-k", "--k", type=int, default=10, help="how many answers")
    parser.add_argument("--device", default="cpu", help="where to compute: cpu, cuda, cuda:1, mps")


def run(options: Namespace, show: Show) -> Json:
    """Show the answers, best first, and which of them the training graph states."""
    query = {role: options[role] for role in ROLES}
    missing = [role for role, name in query.items() if name is None]
    if len(missing) != 1:
        given = ", ".join(f"--{role}" for role in ROLES if role not in missing) or "none of them"
        raise ValueError(
            f"give two of --head, --relation and --tail; the third is the question (got {given})"
        )
    device = available_device(options.device)
    predictor = Predictor(
        Checkpoint.load(options.checkpoint, device=device),
        None if options.facts is None else read_triples(options.facts),
        on_unknown=options.on_unknown,
        among=options.among,
        device=device,
    )
    head, relation, tail = query.values()
    if missing == ["tail"]:
        answers = predictor.tails(head, relation, k=options.k)
    elif missing == ["head"]:
        answers = predictor.heads(relation, tail, k=options.k)
    else:
        answers = predictor.relations(head, tail, k=options.k)
    asked = ", ".join(name or "?" for name in query.values())
    show(report.answers_table(f"({asked})", answers))
    return {"query": query, "asked": missing[0], "answers": [each._asdict() for each in answers]}
