"""A study that several processes work on, and that outlives them."""

import sqlite3
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from pyg_kgtransfer.transfer.search_space import SearchSpace
from pyg_kgtransfer.transfer.study import STUDY, SharedStudy
from pyg_kgtransfer.transfer.tune_config import TuneConfig

optuna = pytest.importorskip("optuna")
pytest.importorskip("filelock")

SPACE = SearchSpace({"objective.n3": {"low": 0.0, "high": 1.0}, "model.width": [8, 16]})


def study(run_dir: Path | None, trials: int = 4, *, epochs: int = 5, **options) -> SharedStudy:
    config = TuneConfig(trials=trials, startup=2, **options)
    return SharedStudy(SPACE, config, run_dir, identity={"data": {"a": "1"}}, epochs=epochs)


def measure(values: dict[str, float]) -> float:
    return values["model.width"] / 16 - (values["objective.n3"] - 0.3) ** 2


def work(run_dir: Path | None, trials: int = 4, **options) -> list[tuple]:
    """All trials that are left, and what is known of all."""
    with study(run_dir, trials, **options) as shared:
        while (begun := shared.begin()) is not None:
            shared.complete(begun, measure(begun.values))
        return [(t.number, t.state, t.value, t.parameters) for t in shared.results()]


def abandon(run_dir: Path, done: int) -> None:
    """What a process leaves that dies at the trial after ``done`` others."""
    with study(run_dir, 5) as shared:
        for _ in range(done):
            begun = shared.begin()
            shared.complete(begun, measure(begun.values))
        shared.begin()


def test_a_seed_gives_the_same_trials_and_they_learn() -> None:
    found = work(None, 12)
    assert found == work(None, 12)
    assert found != work(None, 12, seed=1)
    assert [number for number, *_ in found] == list(range(1, 13))
    assert len({repr(parameters) for *_, parameters in found}) > 8
    means = [sum(value for _, _, value, _ in part) / 6 for part in (found[:6], found[6:])]
    assert means[1] > means[0] + 0.05


@pytest.mark.parametrize("done", [0, 3])
def test_a_study_goes_on_as_if_it_had_not_been_broken_off(tmp_path: Path, done: int) -> None:
    abandon(tmp_path, done)
    found = work(tmp_path, 5)
    assert found == work(None, 5)
    assert not list((tmp_path / "workers").iterdir())
    with closing(sqlite3.connect(tmp_path / STUDY)) as stored:
        states = [state for (state,) in stored.execute("SELECT state FROM trials")]
    assert sorted(states) == ["COMPLETE"] * 5 + ["FAIL"]


def one_by_one(shared: SharedStudy) -> None:
    """A trial that reports at each epoch, and is pruned when its pruner says so."""
    begun = shared.begin()
    value = measure(begun.values)
    for epoch in range(1, 10):
        begun.trial.report(value * epoch / 9, epoch)
        if begun.trial.should_prune():
            return shared.prune(begun, f"behind at {epoch}")
    return shared.complete(begun, value)


def pruned(run_dir: Path | None, pruner: str) -> list[tuple]:
    options = {"pruner": pruner, "warmup": 0.0}
    with study(run_dir, 8, epochs=9, **options) as shared:
        while len(shared.results()) < 8:
            one_by_one(shared)
        return [trial[:-1] for trial in shared.results()]


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_a_pruned_study_goes_on_as_if_it_had_not_been_broken_off(
    tmp_path: Path, pruner: str
) -> None:
    """The broken-off trial had reported; it has another number in Optuna when it is tried again."""
    whole = pruned(None, pruner)
    assert {state for _, state, *_ in whole} == {"complete", "pruned"}
    with study(tmp_path, 8, epochs=9, pruner=pruner, warmup=0.0) as shared:
        for _ in range(3):
            one_by_one(shared)
        begun = shared.begin()
        for epoch in (1, 2, 3):
            begun.trial.report(measure(begun.values) * epoch / 9, epoch)
            begun.trial.should_prune()
    assert pruned(tmp_path, pruner) == whole


@pytest.mark.parametrize("call", ["suggest_float", "suggest_categorical"])
def test_who_is_broken_off_while_it_draws_draws_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The number of the second trial is lost neither when it trains nor when it is drawn."""
    whole = work(None, 4)
    with study(tmp_path, 4) as shared:
        begun = shared.begin()
        shared.complete(begun, measure(begun.values))
    interrupted_at(call, tmp_path, monkeypatch)
    assert work(tmp_path, 4) == whole


@pytest.mark.parametrize("call", ["suggest_float", "suggest_categorical"])
def test_two_trials_never_have_one_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The first trial is broken off twice, the second time while it is drawn; others go on."""
    with study(tmp_path) as other:
        with study(tmp_path) as one:
            one.begin()
            second = other.begin()
        other.complete(second, 0.2)
    interrupted_at(call, tmp_path, monkeypatch)
    assert [number for number, *_ in work(tmp_path)] == [1, 2, 3, 4]


def interrupted_at(call: str, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C while a trial is drawn."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, study(run_dir) as shared:
        patch.setattr(optuna.trial.Trial, call, interrupt)
        with pytest.raises(KeyboardInterrupt):
            shared.begin()


def test_more_trials_are_as_if_asked_for_at_once(tmp_path: Path) -> None:
    work(tmp_path, 2)
    assert work(tmp_path, 5) == work(None, 5)
    assert len(work(tmp_path, 2)) == 5  # nothing is left to do


def test_a_trial_that_is_given_back_is_tried_again() -> None:
    with study(None, 2) as shared:
        first = shared.begin()
        shared.give_back(first)
        again = shared.begin()
        assert (again.number, again.values) == (1, first.values)
        shared.complete(again, 0.5)
        shared.give_back(again)  # too late: it is done
        last = shared.begin()
        assert last.number == 2
        shared.prune(last, "too wide")
        assert shared.begin() is None
        assert [(t.state, t.value, t.reason) for t in shared.results()] == [
            ("complete", 0.5, ""),
            ("pruned", None, "too wide"),
        ]


def test_two_at_once_take_different_trials(tmp_path: Path) -> None:
    with ExitStack() as stack:
        one, other = (stack.enter_context(study(tmp_path, 3)) for _ in range(2))
        first, second = one.begin(), other.begin()
        assert (first.number, second.number) == (1, 2)
        assert first.values != second.values
        one.complete(first, 0.1)
        third = one.begin()
        assert third.number == 3
        assert one.begin() is None  # the second is not taken from whoever lives
        assert one.is_busy()
        other.complete(second, 0.2)
        one.complete(third, 0.3)
        assert not one.is_busy()
        assert [t.value for t in other.results()] == [0.1, 0.2, 0.3]


def test_what_the_other_left_is_taken_over(tmp_path: Path) -> None:
    with study(tmp_path, 2) as one:
        with study(tmp_path, 2) as other:
            first, second = one.begin(), other.begin()
            one.complete(first, 0.1)
            assert one.begin() is None
        again = one.begin()
        assert (again.number, again.values) == (second.number, second.values)


def test_another_study_and_another_file_are_refused(tmp_path: Path) -> None:
    work(tmp_path / "a", 1)
    config = TuneConfig(trials=1)
    other = SharedStudy(
        SPACE, config, tmp_path / "a", identity={"data": {"a": "2", "b": "1"}}, epochs=5
    )
    with pytest.raises(ValueError, match=r"another search \(got: other data \(a, b\)\)"), other:
        pass
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / STUDY).write_text("no study " * 100)
    with pytest.raises(ValueError, match=r"study\.db must be the file of a study \(got: "):
        work(tmp_path / "b")


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "a {b} %20?c#d e"
    assert work(folder, 1) == work(None, 1)
    assert (folder / STUDY).exists()


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install pyg-kgtransfer\[tune\]. \(got no optuna\)"):
        study(None)


def test_optuna_is_as_loud_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    work(None, 1)
    assert optuna.logging.get_verbosity() == before
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"trials": 0}, r"trials must be at least 1 \(got 0\)"),
        ({"startup": 0}, "startup must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"seconds": 0}, "seconds must be above 0"),
        ({"warmup": 1}, r"in \[0, 1\) \(got 1\)"),
        ({"pruner": "medain"}, "did you mean 'median'"),
    ],
)
def test_a_search_is_checked_at_the_door(options, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TuneConfig(**options)
