"""Trainer: fits a model to an objective, with early stopping and exact resume."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors
from pyg_kgtransfer.models.kg_model import GraphModel
from pyg_kgtransfer.objectives.objective import Objective
from pyg_kgtransfer.training.batches import TripleBatches
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.training.history import History
from pyg_kgtransfer.training.learner import Learner
from pyg_kgtransfer.training.loop import Material, TrainingLoop, Validate
from pyg_kgtransfer.training.processes import watched


class Trainer:
    """Fits a model to an objective.

    Args:
        config: How to train.
        run_dir: Where ``log.jsonl`` and the resume checkpoint go; ``None``: nothing is written.
            A ``run_dir`` that holds a resume checkpoint is continued from there: on the CPU to the
            same weights, bit for bit, as without the break.

        origin: What the run starts from beside its configuration and data, such as the id of a
            teacher or of the checkpoint that is trained on: a ``run_dir`` of another origin is
            refused, not continued.

    Raises:
        ValueError: If ``config.tensorboard`` is set without a ``run_dir``.

    Example:
        >>> from pyg_kgtransfer.training.config import TrainConfig
        >>> Trainer(TrainConfig(epochs=3)).config.epochs
        3
    """

    def __init__(
        self,
        config: TrainConfig | None = None,
        run_dir: Path | str | None = None,
        *,
        origin: str = "",
    ) -> None:
        self.config = TrainConfig() if config is None else config
        self.run_dir = None if run_dir is None else Path(run_dir)
        self.origin = origin
        if self.config.tensorboard and self.run_dir is None:
            raise ValueError("tensorboard=True needs a run_dir to write to (got none)")

    def fit(
        self,
        model: GraphModel,
        objective: Objective,
        batches: TripleBatches,
        *,
        graph: GraphTensors,
        validate: Validate | None = None,
        parameter_groups: Iterable[Mapping[str, Any]] | None = None,
    ) -> History:
        """Train ``model`` in place; afterwards it has its best weights and is in eval mode.

        In a program that torchrun or srun started several times, all of them train one model, each
        with its rows of every batch, and end with the same weights; the first one writes.

        Model and objective move to the device and stay there; ``graph`` and ``batches`` are
        copied to it. The random state of torch is left as it was. Validation takes nothing from
        training: with or without it, a step gives the same weights.

        Args:
            model: What is trained.
            objective: What is minimised; its own parameters are trained as well.
            batches: The training triples.
            graph: What the model encodes at each step.
            validate: From the model (in eval mode, without gradients) to metrics, of which
                ``config.monitor`` selects the best weights; ``None``: the last weights are kept.
            parameter_groups: As torch optimizers take them, for learning rates of their own;
                parameters of the model in no group are not trained.

        Returns:
            The record of the run.

        Raises:
            ValueError: If a loss, weight or metric is not finite, ``run_dir`` holds another run,
                or patience is set without ``validate``.
            OSError: If a file cannot be written.
            ProcessLostError: If another process of the run was lost, on all that are left.
            KeyboardInterrupt: On Ctrl-C, after the best weights so far are put back; it says where
                the last resume checkpoint is.
        """
        if self.config.patience is not None and validate is None:
            raise ValueError("patience counts validations, so it needs validate (got none)")
        learner = Learner(self.config, model, objective, parameter_groups)
        device = learner.device
        cuda = [device] if device.type == "cuda" else []
        loops: list[TrainingLoop] = []
        with (
            watched(lambda: loops[0].in_words() if loops else "before the first step"),
            torch.random.fork_rng(devices=cuda),
        ):
            torch.manual_seed(self.config.seed)
            material = Material(batches.to(device), graph.to(device), validate, self.origin)
            loops.append(TrainingLoop(self.config, learner, material, self.run_dir))
            return loops[0].run()
