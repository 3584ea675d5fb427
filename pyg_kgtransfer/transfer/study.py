"""A study of trials that outlives the processes that work on it: one file of SQLite, and turns."""

import contextlib
import difflib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from pyg_kgtransfer.training.batches import mixed_seed
from pyg_kgtransfer.transfer.search_space import SearchSpace

PRUNERS = ("median", "hyperband", "none")
STUDY = "study.db"
_NAME = "tune"
_REDUCTION = 3  # Hyperband keeps one trial in so many
_SECONDS_LOCKED = 60  # that a write waits for another process's
Json = dict[str, Any]


@dataclass(frozen=True)
class TuneConfig:
    """How to search.

    Attributes:
        trials: So many in all, those of earlier calls on the same study counted; at least 1.
        seconds: Begin no trial after so many seconds of this call; ``None``: no limit.
        seed: Decides what is tried: the same seed, the same trials (one process at a time).
        pruner: What ends a trial early: ``"median"`` (worse than half of those before it at the
            same epoch), ``"hyperband"`` (many short trials, a third of which goes on, and a third
            of those) or ``"none"``.
        startup: Trials that are drawn at random before the search learns from them, and before
            the median is asked; at least 1.
        warmup: Share of a trial's epochs, in [0, 1), in which it is not pruned.

    Raises:
        ValueError: If a number is out of range or a pruner unknown (the nearest one is offered).

    Source: Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization (TPE, the sampler);
    Li et al. 2018, arXiv 1603.06560 (Hyperband); Akiba et al. 2019, arXiv 1907.10902 (Optuna).

    Example:
        >>> TuneConfig(trials=50, pruner="hyperband").startup
        10
    """

    trials: int = 30
    seconds: float | None = None
    seed: int = 0
    pruner: str = "median"
    startup: int = 10
    warmup: float = 0.2

    def __post_init__(self) -> None:
        for name, least in (("trials", 1), ("startup", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least} (got {getattr(self, name)})")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is a share of the epochs, in [0, 1) (got {self.warmup})")
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"seconds must be above 0 (got {self.seconds})")
        if self.pruner not in PRUNERS:
            near = difflib.get_close_matches(self.pruner, PRUNERS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            known = ", ".join(PRUNERS)
            raise ValueError(f"pruner must be one of {known} (got {self.pruner!r}){hint}")


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
                (self.run_dir / "workers").mkdir(parents=True, exist_ok=True)
                stack.enter_context(_held(self._lock_of(self.worker)))
                stack.callback(self._lock_of(self.worker).unlink, missing_ok=True)
            with self._turn():
                self._study = self._begun_or_new()
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
            # what a trial draws depends on its number and on those before it, not on which process
            # draws: a study that was broken off goes on as it would have gone on
            self._study.sampler = optuna.samplers.TPESampler(
                seed=mixed_seed(self.config.seed, count) % 2**32,
                n_startup_trials=self.config.startup,
            )
            trial = self._study.ask()
            trial.set_user_attr("worker", self.worker)
            number = trial.user_attrs.get("number", count + 1)
            trial.set_user_attr("number", number)
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
        return sorted(found)

    def importance(self) -> dict[str, float]:
        """The share of each field in how the metric varies, highest first; they sum to 1.

        Of complete trials; empty where there are too few to tell. By functional ANOVA over random
        forests. Source: Hutter, Hoos, Leyton-Brown 2014.
        """
        import optuna

        values = {t.value for t in self.results() if t.state == "complete"}
        if len(values) < 4 or len(self.space.domains) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self.config.seed)
        found = optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        return {name: float(share) for name, share in found.items()}

    def _begun_or_new(self) -> Any:
        """The study, checked to be this one; made where there is none."""
        import optuna

        study = optuna.create_study(
            storage=None if self.run_dir is None else _storage(self.run_dir / STUDY),
            study_name=_NAME,
            direction="maximize",
            pruner=_pruner(self.config, self.epochs),
            load_if_exists=True,
        )
        stored = study.user_attrs.get("identity")
        if stored is None and not study.trials:
            study.set_user_attr("identity", self.identity)
        else:
            _check_same(stored or {}, self.identity, self.run_dir)
        return study

    def _trials(self) -> list[Any]:
        return list(self._study.get_trials(deepcopy=False))

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
        if trial.params.keys() == self.space.domains.keys():  # else it had not begun
            place = {"number": trial.user_attrs["number"]}
            self._study.enqueue_trial(dict(trial.params), user_attrs=place)

    def _lock_of(self, worker: str) -> Path:
        assert self.run_dir is not None
        return self.run_dir / "workers" / f"{worker}.lock"

    def _is_alive(self, worker: str) -> bool:
        import filelock

        if self.run_dir is None:
            return False
        path = self._lock_of(worker)
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
        return _held(self.run_dir / "study.lock")


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

    least = max(1, round(config.warmup * epochs))
    if config.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=config.startup, n_warmup_steps=least)
    if config.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(
            min_resource=least, max_resource=epochs, reduction_factor=_REDUCTION
        )
    return optuna.pruners.NopPruner()


def _check_same(stored: Json, present: Json, run_dir: Path | None) -> None:
    """Refuse to go on with a study of other data, another space, recipe or search."""
    was, now = flat(stored), flat(present)
    changed = []
    for name in [*now, *(name for name in was if name not in now)]:
        if was.get(name) != now.get(name):
            kind, _, rest = name.partition(": ")
            changed.append(
                f"other data: {rest}"
                if kind == "data"
                else f"{name} was {_shown(was, name)}, is {_shown(now, name)}"
            )
    if changed:
        raise ValueError(
            f"{run_dir} holds the study of another search (got: {'; '.join(changed)}); go on with "
            "what it was begun with, or choose another folder"
        )


def flat(identity: Mapping[str, Any]) -> Json:
    """The entries of an identity as ``part: name``, those of a recipe by their dotted names.

    Example:
        >>> flat({"recipe": {"model": {"width": 8}}, "data": {"umls": "1f"}})
        {'recipe: model.width': 8, 'data: umls': '1f'}
    """
    found: Json = {}
    for part, entries in identity.items():
        for name, value in entries.items():
            if part == "recipe" and isinstance(value, Mapping):
                found |= {f"{part}: {name}.{field}": v for field, v in value.items()}
            else:
                found[f"{part}: {name}"] = value
    return found


def _shown(entries: Json, name: str) -> str:
    return repr(entries[name]) if name in entries else "not there"
