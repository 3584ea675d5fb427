"""``kgt calibrate``: probabilities for a model's scores, learned from validation facts."""

from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser, Namespace

from pyg_kgtransfer.commands.devices import available_device
from pyg_kgtransfer.commands.inputs import DATA_HELP, load_split, placed
from pyg_kgtransfer.commands.outputs import Json, Show, checked_folder
from pyg_kgtransfer.serving import report
from pyg_kgtransfer.serving.reliability_plot import plot_reliability
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.training.checkpoint_format import GRAPH, INDEX, LINKS, NAMES, WEIGHTS
from pyg_kgtransfer.training.durable_files import standing_folder
from pyg_kgtransfer.transfer.calibrate import calibrate

USAGE = "kgt calibrate --checkpoint DIR --data DATA [--method platt] [--out DIR]"


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of ``kgt calibrate``."""
    parser.add_argument(
        "--checkpoint", required=True, metavar="DIR", help="the model, a checkpoint"
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="the graph whose validation facts are learned from, and whose test facts tell how far "
        f"the probabilities can be believed: {DATA_HELP}",
    )
    parser.add_argument(
        "--method",
        type=Literal["platt", "isotonic", "relation"],
        default="platt",
        help="platt: a slope and an intercept; isotonic: any rise, for hundreds of facts and more; "
        "relation: a slope and an intercept for each relation",
    )
    parser.add_argument(
        "--corruptions",
        type=int,
        default=1,
        help="false triples to each fact: the probabilities hold for this share",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the false triples")
    parser.add_argument(
        "--plot",
        type=str | None,
        metavar="FILE",
        help="draw probabilities against frequencies, before and after (PNG)",
    )
    parser.add_argument(
        "--out",
        type=str | None,
        metavar="DIR",
        help="folder to save the checkpoint with its calibration in (default: its own, which is "
        "replaced once the new one is complete)",
    )
    parser.add_argument(
        "--memory_mb", type=float, default=512.0, help="budget for a chunk of scores, in MiB"
    )
    parser.add_argument("--device", default="cpu", help="where to compute: cpu, cuda, cuda:1, mps")


def run(options: Namespace, show: Show) -> Json:
    """Learn, show errors before and after, save."""
    device = available_device(options.device)
    out = _own_folder(options.checkpoint) if options.out is None else checked_folder(options.out)
    checkpoint = Checkpoint.load(options.checkpoint, device=device)
    split = load_split(options.data)
    if options.plot is not None and not len(split.test):
        raise ValueError(f"--plot draws test facts, of which {split.train.name!r} has none (got 0)")
    found = calibrate(
        placed(checkpoint, split.train, options.checkpoint),
        split,
        method=options.method,
        corruptions=options.corruptions,
        seed=options.seed,
        memory_mb=options.memory_mb,
    )
    told: Json = {**found.learned_from, "metrics": found.metrics}
    if found.metrics:
        rows = [
            {
                "probabilities": name,
                **{key: found.metrics[prefix + key] for key in ("ece", "brier")},
            }
            for name, prefix in (("logistic of the score", "raw."), (options.method, ""))
        ]
        show(report.records_table(f"{split.train.name}: test facts, lower is better", rows))
        told |= {"reliability": found.reliability, "raw_reliability": found.raw_reliability}
    show(
        f"These hold for {options.corruptions:,} false to one true: facts with head or tail "
        f"replaced; learned from {len(split.valid):,} validation facts."
    )
    if options.plot is not None:
        curves = {"before": found.raw_reliability, options.method: found.reliability}
        plot_reliability(curves, options.plot, title=f"{split.train.name}: test facts")
        show(f"drawn in {options.plot}")
        told["plot"] = options.plot
    kept = found.kept_in(checkpoint)
    kept.save(out)
    show(f"saved {out}")
    return {"checkpoint": str(out), "id": kept.id, **told}


def _own_folder(text: str) -> Path:
    """The checkpoint's folder, if nothing else lies in it: replacing it would lose that."""
    folder = standing_folder(Path(text))
    own = {INDEX, WEIGHTS, GRAPH, NAMES, LINKS}
    strange = (
        sorted(p.name for p in folder.iterdir() if p.name not in own) if folder.is_dir() else []
    )
    if strange and (folder / INDEX).exists():
        raise FileExistsError(
            f"{folder} holds more than the checkpoint ({', '.join(strange[:3])}), which replacing "
            "it would lose: name another folder with --out"
        )
    return Path(text)
