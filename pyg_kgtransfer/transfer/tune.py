"""Search for a recipe: trials over a space of options, pruned, resumable, the best one returned."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from pyg_kgtransfer.evaluation.streaming import is_out_of_memory
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.linking.linked_kg import LinkedKG
from pyg_kgtransfer.models.kg_model import GraphModel
from pyg_kgtransfer.training.loss_meter import NotFiniteError
from pyg_kgtransfer.training.progress import PlainLines, Silence, duration
from pyg_kgtransfer.training.trainer import Trainer
from pyg_kgtransfer.transfer.features import joint_features
from pyg_kgtransfer.transfer.pretrain import joint_objective
from pyg_kgtransfer.transfer.ranking import Validation, validation_of
from pyg_kgtransfer.transfer.recipe import Recipe, fresh_model, joint_batches
from pyg_kgtransfer.transfer.search_space import SearchSpace
from pyg_kgtransfer.transfer.study import Begun, SharedStudy, TriedRecipe
from pyg_kgtransfer.transfer.study_identity import identity_of
from pyg_kgtransfer.transfer.tune_config import TuneConfig, TuneInputs

_POLL_SECONDS = 0.5  # between looks at whether another process is done


@dataclass(frozen=True, eq=False)
class TuneResult:
    """What a search found.

    Attributes:
        monitor: The metric, of validation facts; higher is better.
        value: Its best value: best of dozens, so it flatters; test facts tell.
        parameters: Those of the best trial, by dotted name.
        recipe: The best recipe, ready for ``pretrain``.
        trials: All finished ones, in order.
        importance: The share of each field in how the metric varies among complete trials, highest
            first; empty where there are too few of them to tell.

    Example:
        >>> tried = TriedRecipe(1, "complete", 0.3, {"model.width": 8}, "", 2.0)
        >>> found = TuneResult("mrr", 0.3, {"model.width": 8}, Recipe(), (tried,))
        >>> found.best.number
        1
    """

    monitor: str
    value: float
    parameters: dict[str, Any]
    recipe: Recipe
    trials: tuple[TriedRecipe, ...]
    importance: dict[str, float] = field(default_factory=dict)

    @property
    def best(self) -> TriedRecipe:
        """The best complete trial, the first one of equals."""
        return best_of(self.trials)


def tune(
    linked: LinkedKG,
    splits: Sequence[Split],
    *,
    space: SearchSpace | None = None,
    inputs: TuneInputs | None = None,
    config: TuneConfig | None = None,
    run_dir: Path | None = None,
) -> TuneResult:
    """Search for the recipe by which ``pretrain`` does best on validation facts.

    A trial trains by one recipe and is recorded at each validation; a hopeless one is pruned. What
    a recipe refuses, what does not fit into memory and what diverges is a pruned trial as well,
    with its reason. The same call on the same ``run_dir`` goes on where an earlier one was broken
    off, or beside one that runs.

    Args:
        linked: The joint graph.
        splits: Their validation facts are the measure: the best mean over an own training's
            validations of ``recipe.training.monitor``.
        space: What is tried; ``None``: what suits the default recipe.
        inputs: What ``pretrain`` is given besides.
        config: How many trials, how chosen and pruned.
        run_dir: Where the study goes (``study.db``, SQLite); ``None``: it is forgotten.

    Returns:
        The best recipe, and all trials.

    Raises:
        ImportError: If the extra ``tune`` is not installed.
        ValueError: If there are no validation facts, ``run_dir`` holds another search, or no trial
            came to a result.
        KeyboardInterrupt: On Ctrl-C; the study is kept, and it says how to go on.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [(f"{i}", "next", f"{i + 1}") for i in range(30)]
        >>> split = kgt.random_split(kgt.KnowledgeGraph.from_names(facts, name="numbers"))
        >>> training = kgt.TrainConfig(epochs=2, progress=False, accelerator="cpu")
        >>> recipe = kgt.Recipe(kgt.ModelConfig(encoder="shallow"), training=training)
        >>> space = kgt.SearchSpace({"model.width": [4, 8]}, recipe)
        >>> config = kgt.TuneConfig(trials=2)
        >>> found = kgt.tune(kgt.link([split.train], []), [split], space=space, config=config)
        >>> len(found.trials), found.recipe.model.width in (4, 8)
        (2, True)
    """
    space = SearchSpace.for_recipe(Recipe()) if space is None else space
    config = TuneConfig() if config is None else config
    inputs = TuneInputs() if inputs is None else inputs
    validate = validation_of(splits, linked, size=space.recipe.validation_size)
    if validate is None:
        raise ValueError("tuning compares recipes by validation facts, and there are none (got 0)")
    study = SharedStudy(
        space,
        config,
        run_dir,
        identity=identity_of(linked, splits, space, inputs, config),
        epochs=max(_epochs(space)),
    )
    with study:
        _Search(study, linked, inputs, validate).run()
        return _result(study, space)


def best_of(trials: Sequence[TriedRecipe]) -> TriedRecipe:
    """The best complete trial, the first one of equals.

    Raises:
        ValueError: If there is none.
    """
    complete = [t for t in trials if t.state == "complete" and t.value is not None]
    if not complete:
        raise ValueError("a best trial needs a complete one (got none)")
    return max(complete, key=lambda trial: (trial.value or 0.0, -trial.number))


class _Refused(ValueError):
    """A recipe, or the model or objective of it, does not take these values."""


class _Pruned(Exception):
    """A trial is not worth going on with."""


class _Watch:
    """Validation that reports to a trial, and ends it where it is hopeless."""

    def __init__(self, validate: Validation, begun: Begun, recipe: Recipe) -> None:
        self.validate, self.trial, self.training = validate, begun.trial, recipe.training
        self.done = 0
        self.is_unknown = False  # whether the monitored metric is

    def __call__(self, model: GraphModel) -> Mapping[str, float]:
        metrics = self.validate(model)
        self.done += 1
        epoch = min(self.done * self.training.validate_every, self.training.epochs)
        monitor = self.training.monitor
        if monitor not in metrics:
            self.is_unknown = True
        elif metrics[monitor] == metrics[monitor]:  # the trainer refuses what is no number
            self.trial.report(metrics[monitor], epoch)
            if self.trial.should_prune():
                raise _Pruned(f"behind others at epoch {epoch} of {self.training.epochs}")
        return metrics


class _Search:
    """Trials one after the other, until there are enough."""

    def __init__(
        self, study: SharedStudy, linked: LinkedKG, inputs: TuneInputs, validate: Validation
    ) -> None:
        self.study, self.linked, self.inputs, self.validate = study, linked, inputs, validate
        self.config, self.space = study.config, study.space
        shown = self.space.recipe.training.progress
        self.show = PlainLines(Console(stderr=True), 1) if shown else Silence()
        self.began, self.before = time.monotonic(), len(study.results())

    def run(self) -> None:
        """Work until all trials are done, or the time is over."""
        begun: Begun | None = None
        try:
            while not self._is_over():
                begun = self.study.begin()
                if begun is not None:
                    self._try(begun)
                    begun = None
                elif self.study.is_busy():
                    time.sleep(_POLL_SECONDS)  # its last trials may be left to us
                else:
                    return
        except BaseException as error:
            if begun is not None:
                self.study.give_back(begun)
            if isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(self._stopped()) from None
            raise

    def _try(self, begun: Begun) -> None:
        """One trial, whatever becomes of it."""
        value, reason = self._outcome(begun)
        if value is None:
            self.study.prune(begun, reason)
        else:
            self.study.complete(begun, value)
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        self._tell(begun.number)

    def _outcome(self, begun: Begun) -> tuple[float | None, str]:
        """The metric of a trial, or why there is none. No traceback lives on: it holds tensors."""
        watch = _Watch(self.validate, begun, self.space.recipe)
        try:
            return self._trained(begun.values, watch), ""
        except _Pruned as error:
            return None, str(error)
        except _Refused as error:
            return None, f"refused: {error}"
        except NotFiniteError as error:
            return None, f"diverged: {error}"
        except ValueError as error:
            if watch.is_unknown:  # of every trial
                raise
            return None, f"failed: {error}"
        except MemoryError as error:
            return None, f"out of memory {error}".rstrip()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            size = re.search(r"ried to allocate ([\d.]+ \w+)", str(error))
            return None, f"out of memory{f' for {size[1]}' if size else ''}"

    def _trained(self, values: Mapping[str, Any], watch: _Watch) -> float:
        """The best metric of a training by these values."""
        linked, inputs = self.linked, self.inputs
        try:
            recipe = self.space.recipe_of(values)
            watch.training = recipe.training
            model = fresh_model(recipe, linked, joint_features(linked, inputs.features))
            objective = joint_objective(
                recipe, linked, groups=inputs.groups, alignment_weight=inputs.alignment_weight
            )
            batches = joint_batches(recipe, linked)
            trainer = Trainer(replace(recipe.training, progress=False, tensorboard=False))
        except ValueError as error:
            raise _Refused(str(error)) from None
        history = trainer.fit(
            model, objective, batches, graph=linked.graph.tensors(), validate=watch
        )
        if history.best_metric is None:
            raise ValueError("training ended before it was validated")
        return history.best_metric

    def _is_over(self) -> bool:
        limit = self.config.seconds
        return limit is not None and time.monotonic() - self.began >= limit

    def _tell(self, number: int) -> None:
        """A line for the trial that is done."""
        trials, monitor = self.study.results(), self.space.recipe.training.monitor
        found = next(trial for trial in trials if trial.number == number)
        value = "" if found.value is None else f"{monitor} {found.value:.4f}  "
        complete = [trial for trial in trials if trial.state == "complete"]
        best = ""
        if complete:
            first = best_of(complete)
            best = f"best {first.value:.4f} (trial {first.number})  "
        left = max(self.config.trials - len(trials), 0)
        seconds = (time.monotonic() - self.began) / (len(trials) - self.before) * left
        if self.config.seconds is not None:
            seconds = min(seconds, self.config.seconds - time.monotonic() + self.began)
        why = f"pruned, {found.reason}  " if found.state == "pruned" else ""
        self.show.say(
            f"trial {number}/{self.config.trials}  {value}{why}{best}"
            f"{duration(max(seconds, 0.0))} left"
        )

    def _stopped(self) -> str:
        done = len(self.study.results())
        kept = (
            "without a run_dir the trials are lost"
            if self.study.run_dir is None
            else f"they are in {self.study.run_dir}: run the same again to go on from there"
        )
        return f"tuning stopped by Ctrl-C after {done} of {self.config.trials} trials; {kept}"


def _result(study: SharedStudy, space: SearchSpace) -> TuneResult:
    trials = study.results()
    monitor = space.recipe.training.monitor
    if not any(trial.state == "complete" for trial in trials):
        reasons: dict[str, int] = {}
        for trial in trials:
            reasons[trial.reason] = reasons.get(trial.reason, 0) + 1
        often = sorted(reasons, key=lambda reason: -reasons[reason])[:3]
        told = "; ".join(f"{reasons[reason]} times {reason}" for reason in often)
        raise ValueError(
            f"one of {len(trials)} trials must come to a result (got none: {told or 'no time'}); "
            "give more time, or another space or recipe, in another folder"
        )
    best = best_of(trials)
    return TuneResult(
        monitor,
        float(best.value or 0.0),
        best.parameters,
        space.recipe_of(best.parameters),
        tuple(trials),
        study.importance(),
    )


def _epochs(space: SearchSpace) -> tuple[Any, ...]:
    """How long trials may be."""
    domain = space.domains.get("training.epochs")
    return (space.recipe.training.epochs,) if domain is None else domain.probes
