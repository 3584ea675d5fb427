"""Hyperband by own numbers: it decides as Optuna's, but for trials that were broken off."""

import math
import random

import pytest

from pyg_kgtransfer.transfer.hyperband import Hyperband

optuna = pytest.importorskip("optuna")


def pruned_at(pruner, trials: int = 60, epochs: int = 27) -> list[int]:
    """The last epoch of each trial of an unbroken study; the better a trial, the higher it ends."""
    study = optuna.create_study(study_name="tune", direction="maximize", pruner=pruner)
    draw, ends = random.Random(0), []
    for number in range(1, trials + 1):
        trial, goal = study.ask(), draw.random()
        trial.set_user_attr("number", number)
        for epoch in range(1, epochs + 1):
            trial.report(goal * epoch + 3 * draw.random(), epoch)
            if trial.should_prune():
                break
        ends.append(epoch)
        study.tell(trial, goal)
    return ends


@pytest.fixture(autouse=True)
def quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


@pytest.mark.parametrize(("least", "most"), [(1, 27), (2, 27), (5, 27), (27, 27)])
def test_an_unbroken_study_is_pruned_as_by_optuna(least: int, most: int) -> None:
    own = pruned_at(Hyperband(least, most, "tune"))
    theirs = optuna.pruners.HyperbandPruner(least, most, reduction_factor=3)
    assert own == pruned_at(theirs)
    if least < 5:
        assert len(set(own)) > 2


def test_brackets_that_prune_early_have_more_trials() -> None:
    pruner = Hyperband(1, 9, "tune")
    found = [pruner.bracket(number) for number in range(1, 1001)]
    shares = [9, math.ceil(9 / 2), 3]
    for bracket, share in enumerate(shares):
        assert found.count(bracket) / 1000 == pytest.approx(share / sum(shares), abs=0.05)


def study_of(reports: list[tuple[dict[int, float], str]]):
    """Trials of one bracket that reported so much, and how they ended."""
    study = optuna.create_study(direction="maximize")
    for number, (values, state) in enumerate(reports, 1):
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState[state],
                value=0.0 if state == "COMPLETE" else None,
                user_attrs={"number": number},
                intermediate_values=values,
            )
        )
    return study


@pytest.mark.parametrize(("state", "is_pruned"), [("COMPLETE", True), ("FAIL", False)])
def test_what_a_broken_off_trial_reported_does_not_count(state: str, is_pruned: bool) -> None:
    pruner = Hyperband(2, 5, "tune")  # one bracket, one rung
    study = study_of([({1: 0.1, 2: 0.9}, state), ({1: 0.1, 2: 0.8}, "PRUNED")])
    assert pruner.prune(study, study.trials[-1]) is is_pruned


def test_rungs_between_two_reports_are_one() -> None:
    pruner = Hyperband(1, 2, "tune")  # one bracket; rungs at 1, 3, 9
    seen = [({10: value / 10}, "COMPLETE") for value in range(8)]
    for value, is_pruned in ((0.49, True), (0.51, False)):  # nine: the best three go on
        study = study_of([*seen, ({10: value}, "PRUNED")])
        assert pruner.prune(study, study.trials[-1]) is is_pruned
    later = study_of([*seen, ({10: 0.1, 11: 0.1}, "PRUNED")])
    assert not pruner.prune(later, later.trials[-1])  # the next rung is at 27


def test_who_has_not_reported_is_not_pruned() -> None:
    study = study_of([({}, "PRUNED")])
    assert not Hyperband(1, 9, "tune").prune(study, study.trials[0])
