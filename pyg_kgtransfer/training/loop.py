"""One training run: steps, validations, saves, and the state that a resume takes up."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors
from pyg_kgtransfer.models.kg_model import GraphModel
from pyg_kgtransfer.training.batches import TripleBatches
from pyg_kgtransfer.training.config import TrainConfig, learning_rate_factor
from pyg_kgtransfer.training.history import History, Record
from pyg_kgtransfer.training.learner import Learner
from pyg_kgtransfer.training.loss_meter import LossMeter, NotFiniteError
from pyg_kgtransfer.training.processes import (
    check_same,
    from_first,
    gathered,
    mean_over_processes,
    num_processes,
    once,
    rank,
    together,
)
from pyg_kgtransfer.training.progress import Display, Silence, display
from pyg_kgtransfer.training.resume import (
    RunState,
    Scalars,
    check_same_run,
    graph_digest,
    module_digest,
    prefixed,
    read_state,
    without_prefix,
    write_state,
)
from pyg_kgtransfer.training.selection import Selection

logger = logging.getLogger(__name__)
STEPS_BETWEEN_READINGS = 50  # on an accelerator; on the CPU each step's loss is read
Validate = Callable[[GraphModel], Mapping[str, float]]


@dataclass(frozen=True, eq=False)
class Material:
    """What a run learns from, on the learner's device.

    Attributes:
        batches: The training triples.
        graph: What the model encodes at each step.
        validate: From the model to metrics, or ``None``.
        origin: What the run starts from; a resumed run must have the same.
    """

    batches: TripleBatches
    graph: GraphTensors
    validate: Validate | None
    origin: str = ""


class TrainingLoop:
    """The state of one run.

    Args:
        config: How to train.
        learner: Takes the steps.
        material: What is learned from.
        run_dir: Where the run is recorded and, if a resume checkpoint is there, continued.

    Raises:
        ValueError: If ``run_dir`` holds another run.
    """

    def __init__(
        self, config: TrainConfig, learner: Learner, material: Material, run_dir: Path | None
    ) -> None:
        self.config, self.learner, self.run_dir = config, learner, run_dir
        self.batches, self.graph = material.batches, material.graph
        self.validate, self.origin = material.validate, material.origin
        self.selection = Selection(config)
        self.history = History(config.monitor)
        several = num_processes() > 1
        at_once = learner.device.type == "cpu" and not several
        self.meter = LossMeter(
            every=1 if at_once else STEPS_BETWEEN_READINGS,
            reduce=mean_over_processes if several else None,
        )
        self.epoch, self.step = 0, 0  # complete epochs, and steps of the present one
        self.earlier_seconds, self.epoch_seconds = 0.0, 0.0
        self.started = self.saved_at = time.monotonic()
        self.saved_step: int | None = None
        self.identity: Scalars = {}
        self.record: Record | None = None  # the first process's
        if run_dir is not None or several:
            self._identify()
        if run_dir is not None:
            self._open(run_dir)
        self.first_step = self.steps
        self.show: Display = Silence()

    @property
    def steps(self) -> int:
        """Steps done in all."""
        return self.epoch * len(self.batches) + self.step

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.config.epochs * len(self.batches)

    def seconds(self) -> float:
        """Wall clock of the run, earlier parts included."""
        return self.earlier_seconds + time.monotonic() - self.started

    def run(self) -> History:
        """Train to the end; the module then has its best weights."""
        self.learner.module.train()
        self.show = display(
            enabled=self.config.progress and rank() == 0,
            epochs=self.config.epochs,
            steps=self.total_steps,
            done=self.steps,
        )
        is_done = False
        try:
            with self.show:
                while not self.history.stop_reason:
                    self._train_epoch()
                self._finish()
            is_done = True
        except KeyboardInterrupt:
            message = (
                f"training stopped by Ctrl-C at step {self.steps} of {self.total_steps}, in epoch "
                f"{self.epoch + 1} of {self.config.epochs}; {self._saved_in_words()}"
            )
            if rank() == 0 and self.run_dir is not None:  # else it may be a part of something else
                logger.warning(message)
            raise KeyboardInterrupt(message) from None
        except NotFiniteError as error:
            raise NotFiniteError(
                f"{error}; a lower learning_rate or a clip_norm may help; {self._saved_in_words()}"
            ) from None
        finally:
            if is_done or not self.learner.is_sharded:  # which takes all processes
                self.learner.finish(self.selection.weights)
        return self.history

    def _train_epoch(self) -> None:
        for batch in self.batches.epoch(self.epoch, start=self.step):
            if self._is_over_time():
                self._save()
                self.history.stop_reason = "max_seconds"
                return
            began = time.monotonic()
            done = self.steps
            terms = self.learner.terms(
                self.graph, batch._replace(progress=done / max(self.total_steps - 1, 1))
            )
            self.meter.add(
                terms, num_triples=len(batch.triples), epoch=self.epoch + 1, step=done + 1
            )
            self.learner.descend(
                terms,
                learning_rate_factor=learning_rate_factor(done, self.total_steps, self.config),
            )
            self.step += 1
            self.epoch_seconds += time.monotonic() - began
            self.show.step(
                self.steps,
                epoch=self.epoch + 1,
                loss=self.meter.loss(),
                triples_per_second=self._rate(),
            )
            if self.step < len(self.batches) and self._is_save_due():
                self._save()
        began = time.monotonic()
        self.meter.read(self.epoch + 1)
        self.epoch_seconds += time.monotonic() - began
        self._end_epoch()

    def _end_epoch(self) -> None:
        number, config = self.epoch + 1, self.config
        is_last = number == config.epochs
        row = self._row(self.steps)
        if self.validate is not None and (is_last or number % config.validate_every == 0):
            row["metrics"] = self._validate(number)
            row["seconds"] = self.seconds()
        self.history.rows.append(row)
        self.epoch, self.step, self.epoch_seconds = number, 0, 0.0
        self.meter.reset()
        if is_last:
            self.history.stop_reason = "epochs"
        elif self.selection.is_exhausted:
            self.history.stop_reason = "patience"
        if self.history.stop_reason or number % config.save_every == 0 or self._is_save_due():
            self._save()
        self._write(lambda record: record.append(row))
        seconds_per_step = (time.monotonic() - self.started) / max(self.steps - self.first_step, 1)
        self.show.epoch(
            row, self._best_in_words(), seconds_per_step * (self.total_steps - self.steps)
        )

    def _finish(self) -> None:
        """What is owed after the last step: a cut epoch's row and validation, the last words."""
        rows = self.history.rows
        if self.step:  # cut by max_seconds; the resume checkpoint was saved before this
            rows.append(self._row(self.steps))
        if self.validate is not None and rows and not rows[-1]["metrics"]:
            rows[-1]["metrics"] = self._validate(rows[-1]["epoch"])
            rows[-1]["seconds"] = self.seconds()
        self._write(lambda record: record.close(rows, is_cut=bool(self.step)))
        self.history.best_epoch = self.selection.best_epoch
        self.history.best_metric = self.selection.best_metric
        self.history.steps, self.history.seconds = self.steps, self.seconds()
        reason = {
            "epochs": f"all {self.config.epochs} epochs are done",
            "patience": self.selection.explanation(),
            "max_seconds": f"max_seconds ({self.config.max_seconds}) are over",
        }[self.history.stop_reason]
        message = f"stopped after {self.steps} steps: {reason}. {self._best_in_words()}".rstrip()
        if rank() == 0:
            logger.info(message)
        self.show.say(message)

    def _write(self, act: Callable[[Record], None]) -> None:
        """Let the first process act on its record."""
        record = self.record
        if self.run_dir is not None:
            once(lambda: None if record is None else act(record))

    def _row(self, steps: int) -> dict[str, Any]:
        """The row of the present epoch, not yet validated."""
        self.meter.read(self.epoch + 1)
        self.learner.check_weights(epoch=self.epoch + 1, step=steps)
        return {
            "epoch": self.epoch + 1,
            "step": steps,
            "loss": self.meter.loss(),
            "terms": self.meter.means(),
            "learning_rate": self.learner.learning_rate,
            "metrics": {},
            "seconds": self.seconds(),
            "epoch_seconds": self.epoch_seconds,
            "triples_per_second": self._rate(),
        }

    def _validate(self, epoch: int) -> dict[str, float]:
        """Metrics of the present weights, under a random state of their own."""
        if self.validate is None:
            return {}
        validate, module, device = self.validate, self.learner.module, self.learner.device
        module.eval()
        cuda = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda), torch.no_grad(), self.learner.whole_weights():
            torch.manual_seed(self.config.seed)
            metrics = {n: float(v) for n, v in together(lambda: validate(module.model)).items()}
        metrics = from_first(metrics)  # on which all processes decide
        module.train()
        self.selection.update(metrics, module, epoch=epoch)
        return metrics

    def _rate(self) -> float:
        """Triples per second of the present epoch's steps."""
        return self.meter.num_triples / self.epoch_seconds if self.epoch_seconds else 0.0

    def _is_over_time(self) -> bool:
        limit = self.config.max_seconds
        return limit is not None and from_first(self.steps > 0 and self.seconds() >= limit)

    def _is_save_due(self) -> bool:
        limit = self.config.save_seconds
        return limit is not None and from_first(time.monotonic() - self.saved_at >= limit)

    def _best_in_words(self) -> str:
        best = self.selection.best_metric
        return "" if best is None else f"best {self.config.monitor} {best:.4f}  "

    def in_words(self) -> str:
        """Where training is, and what of it is saved."""
        return (
            f"at step {self.steps + 1} of {self.total_steps}, in epoch {self.epoch + 1} of "
            f"{self.config.epochs}; {self._saved_in_words()}"
        )

    def _saved_in_words(self) -> str:
        if self.run_dir is None:
            return "without a run_dir no resume checkpoint was saved"
        if self.saved_step is None:
            return "no resume checkpoint was saved yet"
        return (
            f"the last resume checkpoint, of step {self.saved_step}, is in "
            f"{self.run_dir / 'resume'}: run again with the same run_dir to go on from there"
        )

    def _identify(self) -> None:
        """Say what the run is; all processes must be of one."""
        self.identity = {
            "config": self.config.decisive(),
            "batches": self.batches.fingerprint(),
            "graph": graph_digest(self.graph),
            "model": module_digest(self.learner.module.model),
            "objective": module_digest(self.learner.module.objective),
            "device": self.learner.device.type,
            "origin": self.origin,
        }
        check_same(
            {
                **self.identity,
                "run_dir": str(self.run_dir),
                "validation": self.validate is not None,
            }
        )

    def _open(self, run_dir: Path) -> None:
        """Take up the resume checkpoint of ``run_dir``, if there is one, and open its record."""
        state = together(lambda: read_state(run_dir / "resume"))
        steps = gathered(None if state is None else state.scalars["step"])
        if len(set(steps)) > 1:
            raise ValueError(
                "all processes must see one run_dir, on a file system that their machines share "
                f"(got in {run_dir}, by rank, resume checkpoints of the steps {steps})"
            )
        if state is not None:
            check_same_run(state.scalars["identity"], self.identity, run_dir / "resume")
            self._restore(state)
            logger.info("resuming %s after step %d of %d", run_dir, self.steps, self.total_steps)
        once(lambda: self._open_record(run_dir))

    def _open_record(self, run_dir: Path) -> None:
        rows, curves = self.history.rows, self.config.tensorboard
        self.record = Record(run_dir, rows, steps=self.steps, curves=curves)

    def _save(self) -> None:
        """Write the resume checkpoint, unless it is there already."""
        self.saved_at = time.monotonic()
        if self.run_dir is None or self.saved_step == self.steps:
            return
        self.meter.read(self.epoch + 1)
        self.learner.check_weights(epoch=self.epoch + 1, step=self.steps)
        tensors, scalars = self.learner.state()
        scalars |= {
            "identity": self.identity,
            "step": self.steps,
            "epoch": self.epoch,
            "step_of_epoch": self.step,
            "stop_reason": self.history.stop_reason,
            "seconds": self.seconds(),
            "epoch_seconds": self.epoch_seconds,
            "meter": self.meter.state(),
            "selection": self.selection.counters(),
            "rows": self.history.rows,
        }
        tensors |= prefixed("best.", self.selection.weights)
        folder, state = self.run_dir / "resume", RunState(tensors, scalars)
        once(lambda: write_state(folder, state))
        self.saved_step = self.steps

    def _restore(self, state: RunState) -> None:
        scalars = state.scalars
        self.learner.restore(state.tensors, scalars)
        self.selection.restore(scalars["selection"], without_prefix("best.", state.tensors))
        self.meter.restore(scalars["meter"])
        self.history.rows = scalars["rows"]
        self.history.stop_reason = scalars["stop_reason"]
        self.epoch, self.step = scalars["epoch"], scalars["step_of_epoch"]
        self.earlier_seconds = scalars["seconds"]
        self.epoch_seconds = scalars["epoch_seconds"]
        self.saved_step = self.steps
