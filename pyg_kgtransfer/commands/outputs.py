"""What the training verbs share: options, where the checkpoint goes, and what is told of it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pyg_kgtransfer.commands.devices import check_accelerator
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.models.build import FOUNDATION
from pyg_kgtransfer.serving import report
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.training.checkpoint_format import INDEX
from pyg_kgtransfer.transfer.recipe import Recipe

Json = dict[str, Any]
Show = Callable[[object], None]


def add_training_arguments(parser: ArgumentParser, *, skip: set[str] | None = None) -> None:
    """``--out``, ``--run_dir`` and everything of ``Recipe`` but ``skip``."""
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder to save the checkpoint in"
    )
    parser.add_argument(
        "--run_dir",
        type=str | None,
        metavar="DIR",
        help="folder for the log and a resume checkpoint: the same command, run again after an "
        "interruption, goes on from there (default: neither is kept)",
    )
    parser.add_class_arguments(Recipe, "recipe", skip=skip or set())


def checked_out(options: Namespace) -> Path:
    """The folder that a checkpoint is to go to; what can be seen to fail is seen before training.

    Args:
        options: With ``out`` and ``recipe``.

    Raises:
        ValueError: If the accelerator is not there.
        FileExistsError: If it holds something that is not a checkpoint.
        OSError: If it cannot be made.
    """
    check_accelerator(options.recipe.training.accelerator)
    return checked_folder(options.out)


def checked_folder(text: str) -> Path:
    """The same for a folder alone."""
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"a folder is wanted for the checkpoint (got the file {path})")
    if path.is_dir() and any(path.iterdir()) and not (path / INDEX).exists():
        raise FileExistsError(f"{path} exists and is not a checkpoint, so it is not replaced")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path.parent} is not writable, so {path} cannot be made")
    return path


def run_folder(text: str | None) -> Path | None:
    """The folder for the log and the resume checkpoint."""
    return None if text is None else Path(text)


def save(checkpoint: Checkpoint, out: Path, show: Show, **more: Any) -> Json:
    """Save a trained checkpoint and tell what it is.

    Args:
        checkpoint: What was trained.
        out: Where it goes.
        show: Shows a table.
        more: Further entries of the report.

    Returns:
        The report, ready for JSON.
    """
    checkpoint.save(out)
    told = {"checkpoint": str(out), **description(checkpoint), **more}
    show(report.facts_table(f"saved {out}", told))
    return told


def description(checkpoint: Checkpoint) -> Json:
    """What a checkpoint is and how its training went, without the curve."""
    config, metrics = checkpoint.config, checkpoint.metrics
    model = checkpoint.model
    return {
        "id": checkpoint.id,
        "graph": graph_counts(checkpoint.graph),
        "sources": [] if checkpoint.sources is None else list(checkpoint.sources.names),
        "model": (
            type(model).__name__
            if config is None
            else f"{config.encoder} + {config.decoder}, width {config.width}"
            if config.encoder != FOUNDATION
            else f"{config.encoder}, width {config.width}, {config.layers} layers"
        ),
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "valid": dict(metrics.get("valid", {})),
        **({"calibration": metrics["calibration"]} if "calibration" in metrics else {}),
        **{
            key: metrics[key]
            for key in ("seconds", "steps", "best_epoch", "stop_reason")
            if key in metrics
        },
    }


def graph_counts(graph: KnowledgeGraph) -> Json:
    """Name and counts of a graph."""
    return {
        "name": graph.name,
        "entities": graph.num_entities,
        "relations": graph.num_relations,
        "triples": graph.num_triples,
    }
