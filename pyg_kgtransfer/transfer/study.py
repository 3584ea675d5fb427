"""A study of trials that outlives the processes that work on it: one file of SQLite, and turns."""

import contextlib
import itertools
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from pyg_kgtransfer.training.batches import mixed_seed
from pyg_kgtransfer.transfer.hyperband import Hyperband
from pyg_kgtransfer.transfer.search_space import SearchSpace
from pyg_kgtransfer.transfer.study_identity import check_same
from pyg_kgtransfer.transfer.tune_config import TuneConfig

STUDY, TURN, WORKERS = "study.db", "study.lock", "workers"
BEGUN = (TURN, WORKERS)  # what is in the folder of a study before the study is
_NAME = "tune"
_LEAST_TO_TELL = 8  # different values from which what matters is told
_SECONDS_LOCKED = 60  # that a write waits for another process's
Json = dict[str, Any]


class TriedRecipe(NamedTuple):
    """What came of a trial.

    Attributes:
        number: From 1, in the order in which they were begun.
        state: ``"complete"`` or ``"pruned"``.
        value: The best validation metric of a complete trial, the last one of a pruned trial;
            ``None`` where there was none.
        parameters: What was tried, by dotted name.
        reason: Why it was pruned, in words.
        seconds: Wall clock of the trial.
    """

    number: int
    state: str
    value: float | None
    parameters: dict[str, Any]
    reason: str
    seconds: float


class Begun(NamedTuple):
    """A trial that this process works on."""

    number: int
    trial: Any
    values: dict[str, Any]


class SharedStudy:
    """The trials of a search, kept in ``run_dir/study.db``, where several processes may add to it.

    A process holds ``run_dir/study.lock`` while it decides what to try next, and a lock of its own
    for as long as it lives: a trial whose process is gone is taken back and tried again.

    Args:
        space: What is tried.
        config: How.
        run_dir: Where the study is, or goes; ``None``: in memory.
        identity: What a study must have been begun with, ready for JSON.
        epochs: Of the longest trial.

    Raises:
        ImportError: If Optuna is not installed.
        ValueError: If the study was begun with something else, or the file is no study.
        OSError: If it cannot be written.
    """

    def __init__(
        self,
        space: SearchSpace,
        config: TuneConfig,
        run_dir: Path | None,
        *,
        identity: Json,
        epochs: int,
    ) -> None:
        check_installed()
        self.space, self.config, self.run_dir = space, config, run_dir
        self.identity, self.epochs = identity, epochs
        self.worker = uuid.uuid4().hex
        self._open = contextlib.ExitStack()
        self._study: Any = None

    def __enter__(self) -> "SharedStudy":
        with contextlib.ExitStack() as stack:
            stack.enter_context(_quiet())
            if self.run_dir is not None:
                own = _lock_of(self.run_dir, self.worker)
                own.parent.mkdir(parents=True, exist_ok=True)
                stack.callback(own.unlink, missing_ok=True)
                stack.enter_context(_held(own))
            with self._turn():
                storage = None if self.run_dir is None else _storage(self.run_dir / STUDY)
                if storage is not None:
                    stack.callback(storage.engine.dispose)
                self._study = self._begun_or_new(storage)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def begin(self) -> Begun | None:
        """The next trial; ``None`` where all are done, or other processes are at the last ones."""
        import optuna

        with self._turn():
            self._take_back()
            count = sum(not self._is_open(t) for t in self._trials())
            if count >= self.config.trials:
                return None
            trial = self._study.ask()
            trial.set_user_attr("worker", self.worker)
            number = trial.user_attrs.get("number", self._lowest_free())
            trial.set_user_attr("number", number)
            # what a trial draws depends on its number and on those before it, not on which process
            # draws: a study that was broken off goes on as it would have gone on
            self._study.sampler = optuna.samplers.TPESampler(
                seed=mixed_seed(self.config.seed, number - 1) % 2**32,
                n_startup_trials=self.config.startup,
            )
            return Begun(number, trial, self.space.suggest(trial))

    def complete(self, begun: Begun, value: float) -> None:
        """Record a trial's metric."""
        self._study.tell(begun.trial, value)

    def prune(self, begun: Begun, reason: str) -> None:
        """Record why a trial has no metric."""
        import optuna

        begun.trial.set_user_attr("reason", reason)
        self._study.tell(begun.trial, state=optuna.trial.TrialState.PRUNED)

    def give_back(self, begun: Begun) -> None:
        """A trial that was broken off: somebody tries the same again."""
        with self._turn():
            self._retry(begun.trial.number)

    def is_busy(self) -> bool:
        """Whether another process is at a trial."""
        return any(t.state.name == "RUNNING" for t in self._trials())

    def results(self) -> list[TriedRecipe]:
        """The finished trials, in order."""
        found = [
            TriedRecipe(
                t.user_attrs["number"],
                t.state.name.lower(),
                t.value,
                self.space.decoded(t.params),
                t.user_attrs.get("reason", ""),
                t.duration.total_seconds(),
            )
            for t in self._trials()
            if t.state.name in ("COMPLETE", "PRUNED")
        ]
        return sorted(found, key=lambda trial: trial.number)

    def importance(self) -> dict[str, float]:
        """The share of each field in how the metric varies, highest first; they sum to 1.

        Of complete trials; empty where there are too few to tell. By functional ANOVA over random
        forests. Source: Hutter, Hoos, Leyton-Brown 2014.
        """
        import optuna

        values = {t.value for t in self.results() if t.state == "complete"}
        if len(values) < _LEAST_TO_TELL or len(self.space.domains) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self.config.seed)
        found = optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        return {name: float(share) for name, share in found.items()}

    def _begun_or_new(self, storage: Any) -> Any:
        """The study, checked to be this one; made where there is none."""
        import optuna

        study = optuna.create_study(
            storage=storage,
            study_name=_NAME,
            direction="maximize",
            pruner=_pruner(self.config, self.epochs),
            load_if_exists=True,
        )
        stored = study.user_attrs.get("identity")
        if stored is None and not study.trials:
            study.set_user_attr("identity", self.identity)
        else:
            check_same(stored or {}, self.identity, self.run_dir)
        return study

    def _trials(self) -> list[Any]:
        return list(self._study.get_trials(deepcopy=False))

    def _lowest_free(self) -> int:
        """The number of a new trial: from 1, that of no other but broken-off ones."""
        taken = {t.user_attrs.get("number") for t in self._trials() if t.state.name != "FAIL"}
        return next(number for number in itertools.count(1) if number not in taken)

    def _is_open(self, trial: Any) -> bool:
        """Whether a trial is none yet, or no longer."""
        return trial.state.name in ("FAIL", "WAITING")

    def _take_back(self) -> None:
        """Trials of processes that are gone; to be called in turn."""
        for trial in self._trials():
            if trial.state.name == "RUNNING":
                # who names no worker died in its turn, and the turn is ours
                worker = trial.user_attrs.get("worker")
                if worker is None or not (worker == self.worker or self._is_alive(worker)):
                    self._retry(trial.number)

    def _retry(self, number: int) -> None:
        import optuna

        trial = self._trials()[number]
        if trial.state.is_finished():
            return
        self._study.tell(number, state=optuna.trial.TrialState.FAIL)
        if "number" in trial.user_attrs:  # else it had not begun
            is_drawn = trial.params.keys() == self.space.domains.keys()
            place = {"number": trial.user_attrs["number"]}
            self._study.enqueue_trial(dict(trial.params) if is_drawn else {}, user_attrs=place)

    def _is_alive(self, worker: str) -> bool:
        import filelock

        if self.run_dir is None:
            return False
        path = _lock_of(self.run_dir, worker)
        try:
            with filelock.FileLock(path, timeout=0):
                pass
        except filelock.Timeout:
            return True
        path.unlink(missing_ok=True)
        return False

    def _turn(self) -> contextlib.AbstractContextManager[None]:
        """One process at a time decides."""
        if self.run_dir is None:
            return contextlib.nullcontext()
        return _held(self.run_dir / TURN)


def _lock_of(run_dir: Path, worker: str) -> Path:
    return run_dir / WORKERS / f"{worker}.lock"


def check_installed() -> None:
    """Refuse to begin without the extra.

    Raises:
        ImportError: Names it.
    """
    missing = [name for name in ("optuna", "filelock") if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"tuning needs `pip install pyg-kgtransfer[tune]` (got no {' and no '.join(missing)})"
        )


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold a lock that the system takes from a process that dies."""
    import filelock

    with filelock.FileLock(path):
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Optuna says only what is wrong."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _storage(path: Path) -> Any:
    """The file of a study.

    Raises:
        ValueError: If it holds something else.
    """
    import optuna
    import sqlalchemy

    url = sqlalchemy.engine.URL.create("sqlite", database=str(path)).render_as_string()
    options = {"connect_args": {"timeout": _SECONDS_LOCKED}}
    try:
        return optuna.storages.RDBStorage(
            url.replace("{", "{{").replace("}", "}}"), engine_kwargs=options
        )
    except sqlalchemy.exc.DatabaseError as error:
        reason = str(error.orig or error)
        raise ValueError(f"{path} must be the file of a study (got: {reason})") from error


def _pruner(config: TuneConfig, epochs: int) -> Any:
    import optuna

    spared = round(config.warmup * epochs)
    if config.pruner == "median":
        return optuna.pruners.MedianPruner(
            n_startup_trials=config.startup, n_warmup_steps=spared + 1
        )
    if config.pruner == "hyperband":
        return Hyperband(spared + 1, max(epochs, spared + 1), _NAME)
    return optuna.pruners.NopPruner()
