"""Training a table larger than memory: two buckets of entities at a time, the others on disk."""

import dataclasses
import logging
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors, KnowledgeGraph
from pyg_kgtransfer.models.kg_model import KGModel
from pyg_kgtransfer.objectives.objective import Objective
from pyg_kgtransfer.training.batches import BatchOptions, TripleBatches, mixed_seed
from pyg_kgtransfer.training.bucket_files import Bucket, BucketFiles, PagedTable
from pyg_kgtransfer.training.buckets import EntityBuckets, Pair, PairedTriples, pair_order
from pyg_kgtransfer.training.config import TrainConfig, learning_rate_factor
from pyg_kgtransfer.training.history import History, HistoryLog
from pyg_kgtransfer.training.learner import Learner
from pyg_kgtransfer.training.loss_meter import LossMeter, NotFiniteError
from pyg_kgtransfer.training.partition import Partition, check_fit
from pyg_kgtransfer.training.processes import environment
from pyg_kgtransfer.training.progress import display
from pyg_kgtransfer.training.resume import (
    RunState,
    check_same_run,
    flatten_optimizer,
    module_digest,
    prefixed,
    read_state,
    restore_optimizer,
    without_prefix,
    write_state,
)

logger = logging.getLogger(__name__)
_TABLE = "model.encoder.inputs.weight"
_FRESH, _PAIR = 4, 5  # what a seed is for
_TRIPLES = "triples.safetensors"


class PartitionedTrainer:
    """Trains a shallow model whose entity table is on disk, but for two buckets of it.

    Facts are met by the pair of buckets that their ends are in; negatives of a step are entities
    of these two. The table changes on disk as training goes; a resume checkpoint is consistent
    with the buckets' files, and a run that was cut off goes on from the last one exactly.

    Args:
        model: A shallow one, of as many entities as the two largest buckets have together: its
            table holds the two at hand.
        objective: Of link prediction; it sees the entities of two buckets by their rows.
        config: How to train. The optimizer is ``rowwise_adagrad``; there is no validation.
        partition: How many buckets, and when to save.
        run_dir: Where the buckets, the log and the resume checkpoint go.

    Raises:
        ValueError: If the model, optimizer or a setting does not fit.

    Source: Lerer et al. 2019, "PyTorch-BigGraph", arXiv 1903.12287, section 4.1; negatives there
    are of the one bucket that the replaced entity is in.
    """

    def __init__(
        self,
        model: KGModel,
        objective: Objective,
        config: TrainConfig,
        *,
        partition: Partition,
        run_dir: Path,
    ) -> None:
        check_fit(model, config)
        if environment() is not None:
            raise ValueError(
                "training on a table in buckets on disk runs in one process (got several, started "
                "by torchrun or srun)"
            )
        self.config, self.partition, self.run_dir = config, partition, run_dir
        self.decoder = model.decoder
        self.learner = Learner(config, model, objective, None)
        self.table = self.learner.module.get_parameter(_TABLE)
        self.memory = self.table.data
        self.meter = LossMeter(every=1)
        self.history = History(config.monitor)
        self.epoch, self.pairs_done, self.step, self.seconds_before = 0, 0, 0, 0.0

    def fit(
        self, graph: KnowledgeGraph, options: BatchOptions, *, max_pairs: int | None = None
    ) -> History:
        """Train, or go on where ``run_dir`` stopped.

        Args:
            graph: The training facts.
            options: Of batches; each is of facts between two buckets.
            max_pairs: Stop after so many pairs of buckets, counted from now; ``None``: at the end.

        Returns:
            The record of the run, a row for each epoch.

        Raises:
            ValueError: If a loss or weight is not finite, a setting is out of range, or
                ``run_dir`` holds another run.
            FileNotFoundError: If ``run_dir`` lacks a bucket's file.
            OSError: If a file cannot be written; the last resume checkpoint is untouched.
        """
        if max_pairs is not None and max_pairs < 0:
            raise ValueError(f"max_pairs must be at least 0 (got {max_pairs})")
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self.table.data = self.memory  # whole again, if this was called before
        size = graph.num_entities
        self.buckets = EntityBuckets.draw(size, self.partition.num_buckets, seed=options.seed)
        self._check_room()
        self.options, self.num_relations = options, graph.num_relations
        identity = self._identity(graph)
        state = read_state(self.run_dir / "resume")
        versions = {}
        if state is None and self.step:
            raise ValueError(
                f"what this trainer learned was not saved in {self.run_dir}: begin with a new "
                f"model and trainer (got one that took {self.step:,} steps)"
            )
        if state is not None:
            check_same_run(state.scalars["identity"], identity, self.run_dir / "resume")
            versions = {int(bucket): v for bucket, v in state.scalars["versions"].items()}
        self.files = BucketFiles(self.run_dir / "buckets", self.buckets, self._fresh, versions)
        self.pages = PagedTable(self.memory, self.files)
        path = self.run_dir / _TRIPLES
        if state is None or not path.exists():
            self.triples = PairedTriples.write(graph.triples, self.buckets, path)
        else:
            self.triples = PairedTriples(path, self.buckets)
        self.started = self.saved_at = time.monotonic()
        with torch.random.fork_rng(devices=self._cuda()):
            torch.manual_seed(self.config.seed)
            if state is not None:
                self._restore(state)
            self.identity = identity
            try:
                self._run(max_pairs)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(f"training stopped by Ctrl-C; {self._saved()}") from None
            except NotFiniteError as error:
                raise NotFiniteError(f"{error}; {self._saved()}") from None
        return self.history

    def rows(self, entity: Tensor) -> Tensor:
        """The vectors of entities ([*] ids), from disk: [*, D]. Call ``fit`` before."""
        return self.files.rows(self.buckets.place[entity])

    @property
    def num_triples(self) -> int:
        """Facts met so far, each as often as it was; call ``fit`` before."""
        return len(self.history.rows) * len(self.triples.triples) + self.meter.num_triples

    def _run(self, max_pairs: int | None) -> None:
        self.learner.module.train()
        show = display(
            enabled=self.config.progress,
            epochs=self.config.epochs,
            steps=self._total_steps(),
            done=self.step,
        )
        log = HistoryLog(self.run_dir / "log.jsonl", self.history.rows)
        left, is_over = max_pairs, self._is_over(max_pairs)
        with show:
            while not is_over:
                order = list(pair_order(len(self.buckets), self.epoch))
                self._train_pair(order[self.pairs_done], show)
                self.pairs_done += 1
                left = None if left is None else left - 1
                if self.pairs_done == len(order):
                    self._end_epoch(log, show)
                is_over = self._is_over(left)  # once: the clock goes on
                if is_over or self._is_save_due():
                    self._save()
        done = self.epoch == self.config.epochs
        self.history.stop_reason = "epochs" if done else "max_seconds" if left != 0 else "max_pairs"
        self.history.steps, self.history.seconds = self.step, self._seconds()
        self.learner.module.zero_grad(set_to_none=True)
        self.learner.module.eval()

    def _train_pair(self, pair: Pair, show: Any) -> None:
        """One pass over the facts between two buckets."""
        facts = self.triples.of(pair)
        if not len(facts):
            return
        offsets, self.table.data, sums = self.pages.page_in(pair)
        self.learner.optimizer.state[self.table]["sum"] = sums
        numbers = self.options.seed, _PAIR, self.epoch, *pair
        options = dataclasses.replace(self.options, seed=mixed_seed(*numbers))
        batches = TripleBatches(self._local(facts, offsets), options).to(self.learner.device)
        rows = torch.arange(len(self.table), device=self.learner.device)
        none = rows[:0]
        graph = GraphTensors(rows, torch.stack([none, none]), none, self.num_relations)
        total = self._total_steps()
        for batch in batches.epoch(0):
            began = time.monotonic()
            terms = self.learner.terms(graph, batch._replace(progress=self.step / max(total, 1)))
            self.meter.add(
                terms, num_triples=len(batch.triples), epoch=self.epoch + 1, step=self.step + 1
            )
            factor = learning_rate_factor(self.step, total, self.config)
            self.learner.descend(terms, learning_rate_factor=factor)
            self.step += 1
            rate = len(batch.triples) / (time.monotonic() - began)
            show.step(
                self.step, epoch=self.epoch + 1, loss=self.meter.loss(), triples_per_second=rate
            )
        self.learner.check_weights(epoch=self.epoch + 1, step=self.step)  # before any is written

    def _local(self, facts: Tensor, offsets: dict[int, int]) -> Tensor:
        """Facts by place as facts by row of the table."""
        head, relation, tail = facts.long().unbind(1)
        shift = torch.zeros(len(self.buckets), dtype=torch.long)
        for bucket, offset in offsets.items():
            shift[bucket] = offset - self.buckets.starts[bucket]
        head, tail = (place + shift[self.buckets.of(place)] for place in (head, tail))
        return torch.stack([head, relation, tail], 1)

    def _fresh(self, bucket: int) -> Bucket:
        """Rows as the decoder draws them, by the seeds of run and bucket: the same each time."""
        decoder = self.decoder
        weight = torch.empty(self.buckets.size(bucket), self.memory.shape[1])
        with torch.random.fork_rng(devices=self._cuda()), torch.no_grad():
            torch.manual_seed(mixed_seed(self.config.seed, _FRESH, bucket))
            decoder.initialise(weight, None)
        return Bucket(weight.to(self.memory.dtype), torch.zeros(len(weight)))

    def _end_epoch(self, log: HistoryLog, show: Any) -> None:
        seconds = self._seconds()
        row = {
            "epoch": self.epoch + 1,
            "step": self.step,
            "loss": self.meter.loss(),
            "terms": self.meter.means(),
            "learning_rate": self.learner.learning_rate,
            "metrics": {},
            "seconds": seconds,
            "triples_per_second": (self.epoch + 1) * len(self.triples.triples) / seconds,
        }
        self.history.rows.append(row)
        log.append(row)
        self.epoch, self.pairs_done = self.epoch + 1, 0
        self.meter.reset()
        left = seconds / self.epoch * (self.config.epochs - self.epoch)
        show.epoch(row, "", left)

    def _save(self) -> None:
        """Write what is in memory, and a resume checkpoint that names the files of all buckets."""
        self.pages.write()
        state = self.learner.module.state_dict()
        tensors = prefixed("module.", {n: t.clone() for n, t in state.items() if n != _TABLE})
        held = self.learner.optimizer.state.pop(self.table, None)
        moments, scalars = flatten_optimizer(self.learner.optimizer)
        if held is not None:
            self.learner.optimizer.state[self.table] = held
        tensors |= prefixed("optimizer.", moments)
        tensors |= self.learner.random_states()
        write_state(
            self.run_dir / "resume",
            RunState(
                tensors,
                {
                    "identity": self.identity,
                    "versions": self.files.versions,
                    "optimizer": scalars,
                    "epoch": self.epoch,
                    "pairs_done": self.pairs_done,
                    "step": self.step,
                    "seconds": self._seconds(),
                    "meter": self.meter.state(),
                    "rows": self.history.rows,
                    "slots": self.pages.slots,
                },
            ),
        )
        self.files.keep()
        self.saved_at = time.monotonic()

    def _restore(self, state: RunState) -> None:
        scalars, tensors = state.scalars, state.tensors
        module = without_prefix("module.", tensors)
        self.learner.module.load_state_dict({**module, _TABLE: self.table})
        moments = without_prefix("optimizer.", tensors)
        restore_optimizer(self.learner.optimizer, moments, scalars["optimizer"])
        self.learner.restore_random_states(tensors)
        self.epoch, self.pairs_done = scalars["epoch"], scalars["pairs_done"]
        self.step, self.seconds_before = scalars["step"], scalars["seconds"]
        self.meter.restore(scalars["meter"])
        self.history.rows = scalars["rows"]
        self.pages.restore(scalars["slots"])

    def _identity(self, graph: KnowledgeGraph) -> dict[str, Any]:
        return {
            "config": self.config.decisive() | {"num_buckets": self.partition.num_buckets},
            "graph": graph.fingerprint(),
            "batches": repr(self.options),
            "model": module_digest(self.learner.module.model),
            "objective": module_digest(self.learner.module.objective),
            "device": self.learner.device.type,
        }

    def _cuda(self) -> list[torch.device]:
        """The devices, beside the CPU, on which numbers are drawn."""
        return [self.learner.device] if self.learner.device.type == "cuda" else []

    def _total_steps(self) -> int:
        """Steps of the whole run."""
        size = self.options.batch_size
        of_epoch = sum(
            -(-self.triples.count(pair) // size) for pair in pair_order(len(self.buckets), 0)
        )
        return of_epoch * self.config.epochs

    def _saved(self) -> str:
        if not (self.run_dir / "resume").exists():
            return "no resume checkpoint was saved yet"
        return f"run again with run_dir {self.run_dir} to go on from the last resume checkpoint"

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _is_over(self, pairs_left: int | None) -> bool:
        limit = self.config.max_seconds
        is_late = limit is not None and self.step > 0 and self._seconds() >= limit
        return self.epoch == self.config.epochs or pairs_left == 0 or is_late

    def _is_save_due(self) -> bool:
        limit = self.config.save_seconds
        is_old = limit is not None and time.monotonic() - self.saved_at >= limit
        return is_old or self.pairs_done % self.partition.save_every == 0

    def _check_room(self) -> None:
        wanted = self.buckets.room
        if len(self.memory) != wanted:
            raise ValueError(
                f"the model must have room for the two largest of {len(self.buckets)} buckets, "
                f"{wanted:,} entities (got {len(self.memory):,})"
            )
