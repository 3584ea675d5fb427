"""A search for a recipe: what is found, what is pruned, what goes on, what is refused."""

import sys
from dataclasses import replace

import pytest
import torch

from pyg_kgtransfer.graph.splits import HeldOut
from pyg_kgtransfer.graph.supplied_negatives import SuppliedNegatives
from pyg_kgtransfer.linking.linked import link
from pyg_kgtransfer.sources.synthetic import planted
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import alone
from pyg_kgtransfer.transfer.search_space import SearchSpace
from pyg_kgtransfer.transfer.tune import TuneResult, tune
from pyg_kgtransfer.transfer.tune_config import TuneConfig, TuneInputs

optuna = pytest.importorskip("optuna")
pytest.importorskip("filelock")

HUGE = 2**44  # a width of which no machine holds a table
RATES = {"training.learning_rate": {"low": 1e-3, "high": 1.0, "log": True}}


@pytest.fixture(scope="module")
def split():
    return planted(24)


@pytest.fixture(scope="module")
def world(split):
    return alone(split.train)


@pytest.fixture
def search(split, world, make_recipe):
    """A short search on a small planted graph."""

    def run(ranges=RATES, trials: int = 3, *, run_dir=None, recipe=None, **options) -> TuneResult:
        recipe = make_recipe(width=8, epochs=6, validate_every=2) if recipe is None else recipe
        config = TuneConfig(trials=trials, **{"startup": 2, **options})
        space = SearchSpace(ranges, recipe)
        return tune(world, [split], space=space, config=config, run_dir=run_dir)

    return run


def reasons(found: TuneResult) -> list[str]:
    return [trial.reason for trial in found.trials if trial.state == "pruned"]


def told(found: TuneResult) -> list[tuple]:
    """All but the time it took."""
    return [trial[:-1] for trial in found.trials]


def test_the_best_recipe_trains_to_the_best_value(search, split, world) -> None:
    found = search({**RATES, "model.width": [4, 16]}, 6)
    values = [trial.value for trial in found.trials if trial.state == "complete"]
    assert found.value == found.best.value == max(values)
    assert found.parameters == found.best.parameters
    assert found.recipe.model.width == found.parameters["model.width"]
    checkpoint = pretrain(world, [split], recipe=found.recipe)
    assert checkpoint.metrics["valid"]["mrr"] == found.value
    assert found.monitor == "mrr"
    assert found.importance == {}  # of six trials nobody can tell


def test_the_hopeless_are_pruned_and_only_they(search, make_recipe) -> None:
    rates = {"training.learning_rate": [1e-9, 0.3]}
    recipe = make_recipe(width=8, epochs=10, validate_every=1)
    found = search(rates, 6, recipe=recipe, seed=1)
    hopeful = [trial for trial in found.trials if trial.parameters["training.learning_rate"] > 0.1]
    pruned = [trial for trial in found.trials if trial.state == "pruned"]
    assert pruned
    assert all(trial.parameters["training.learning_rate"] == 1e-9 for trial in pruned)
    assert all(trial.reason == "behind others at epoch 3 of 10" for trial in pruned)  # a fifth: 2
    assert {trial.state for trial in hopeful} == {"complete"}
    assert found.parameters == {"training.learning_rate": 0.3}
    unpruned = search(rates, 6, recipe=recipe, seed=1, pruner="none")
    assert not reasons(unpruned)
    assert unpruned.value == found.value


def test_hyperband_prunes(search, make_recipe) -> None:
    recipe = make_recipe(width=8, epochs=9, validate_every=1)
    found = search(RATES, 8, recipe=recipe, pruner="hyperband", warmup=0.0)
    assert 0 < len(reasons(found)) < 8


def test_what_cannot_be_trained_is_pruned_with_its_reason(search, make_recipe) -> None:
    ranges = {"model.width": [7, 8, HUGE], "model.decoder": ["distmult", "complex"]}
    found = search(ranges, 9)
    by_reason = {trial.reason: trial.parameters for trial in found.trials}
    assert {
        values["model.width"] for reason, values in by_reason.items() if "memory" in reason
    } == {HUGE}
    assert any(reason.startswith("out of memory for ") for reason in by_reason)
    refused = next(reason for reason in by_reason if reason.startswith("refused: "))
    assert "even (got 7)" in refused
    assert by_reason[refused] == {"model.width": 7, "model.decoder": "complex"}
    assert found.recipe.model.width < HUGE
    diverging = replace(make_recipe(width=8, epochs=6, n3=0.0))
    diverging = replace(diverging, training=replace(diverging.training, optimizer="sgd"))
    found = search({"training.learning_rate": [0.5, 1e38]}, 4, recipe=diverging)
    assert any(reason.startswith("diverged: ") for reason in reasons(found))
    assert found.parameters == {"training.learning_rate": 0.5}


def test_if_nothing_can_be_trained_it_says_why(search) -> None:
    words = r"one of 3 trials must come to a result \(got none: 3 times out of memory for \d+ bytes"
    with pytest.raises(ValueError, match=words):
        search({"model.width": [HUGE]})


def test_ctrl_c_keeps_the_study_and_it_goes_on(search, tmp_path, monkeypatch) -> None:
    expected = search(trials=4)
    report, count = optuna.trial.Trial.report, 0

    def interrupting(trial, value: float, step: int) -> None:
        nonlocal count
        count += 1
        if count == 8:  # in the fourth trial: the third is pruned at once
            raise KeyboardInterrupt
        report(trial, value, step)

    with monkeypatch.context() as patch:
        patch.setattr(optuna.trial.Trial, "report", interrupting)
        with pytest.raises(KeyboardInterrupt, match=r"after 3 of 4 trials; they are in .* again"):
            search(trials=4, run_dir=tmp_path)
    found = search(trials=4, run_dir=tmp_path)
    assert told(found) == told(expected)
    assert found.recipe == expected.recipe


def test_another_search_is_refused(search, make_recipe, tmp_path, pair, aligned, split) -> None:
    first = search(trials=1, run_dir=tmp_path)
    recipe = make_recipe(width=8, epochs=6, validate_every=2)
    longer = replace(recipe, training=replace(recipe.training, epochs=7))
    with pytest.raises(ValueError, match=r"recipe training\.epochs was 6, is 7\)"):
        search(trials=1, run_dir=tmp_path, recipe=longer)
    with pytest.raises(ValueError, match=r"space model\.width was not there, is \[8\]; space tr"):
        search({"model.width": [8]}, trials=1, run_dir=tmp_path)
    with pytest.raises(ValueError, match=r"search seed was 0, is 1; search startup was 2, is 3"):
        search(trials=1, run_dir=tmp_path, seed=1, startup=3)
    space, config = SearchSpace(RATES, recipe), TuneConfig(trials=1, startup=2)
    for other, inputs in (
        (planted(24, seed=1), None),
        (split, TuneInputs(features={split.train.name: torch.zeros(24, 2)})),
        (split, TuneInputs(groups={"e1": "north"})),
    ):
        given = alone(other.train), [other]
        with pytest.raises(ValueError, match=r"another search \(got: other data \("):
            tune(*given, space=space, inputs=inputs, config=config, run_dir=tmp_path)
    seen = replace(recipe, training=replace(recipe.training, progress=True, save_every=9))
    assert told(search(trials=1, run_dir=tmp_path, recipe=seen)) == told(first)


def test_other_negatives_are_another_search(split, world, make_recipe, tmp_path) -> None:
    wrong = torch.arange(3).expand(len(split.valid), 3)
    recipe = make_recipe(width=8, epochs=1)

    def search_among(head: torch.Tensor, tail: torch.Tensor) -> TuneResult:
        given = HeldOut(split.valid.triples, "valid", SuppliedNegatives(head, tail))
        space, config = SearchSpace(RATES, recipe), TuneConfig(trials=1)
        splits = [replace(split, valid=given)]
        return tune(world, splits, space=space, config=config, run_dir=tmp_path)

    first = search_among(wrong, wrong + 4)
    assert told(search_among(wrong, wrong + 4)) == told(first)
    for head, tail in ((wrong, wrong + 5), (wrong + 4, wrong)):
        with pytest.raises(ValueError, match=r"other data \(validation negatives of .*\)\)"):
            search_among(head, tail)
    with pytest.raises(ValueError, match=r"other data \(validation negatives of .*\)\)"):
        tune(
            world,
            [split],
            space=SearchSpace(RATES, recipe),
            config=TuneConfig(trials=1),
            run_dir=tmp_path,
        )


def test_what_pretrain_takes_besides_is_the_same_for_all(pair, aligned, make_recipe) -> None:
    linked = link([pair.sparse.train, pair.rich], [aligned(pair.rich)], mode="mapping")
    recipe = make_recipe(width=8, epochs=4)
    recipe = replace(recipe, model=replace(recipe.model, inputs="features"))
    features = {pair.rich.name: torch.randn(pair.rich.num_entities, 5)}
    inputs = TuneInputs(features=features, alignment_weight=3.0)
    space, config = SearchSpace({"model.width": [8]}, recipe), TuneConfig(trials=1)
    found = tune(linked, [pair.sparse], space=space, inputs=inputs, config=config)
    given = {"features": features, "alignment_weight": 3.0}
    checkpoint = pretrain(linked, [pair.sparse], recipe=found.recipe, **given)
    assert checkpoint.metrics["valid"]["mrr"] == found.value


def test_time_is_kept(search) -> None:
    with pytest.raises(ValueError, match=r"one of 0 trials .*no time"):
        search(seconds=1e-9)
    assert len(search(seconds=600).trials) == 3


def test_what_matters_is_told(search, make_recipe) -> None:
    ranges = {**RATES, "batches.temperature": {"low": 1.0, "high": 2.0}}  # of one source: nothing
    recipe = make_recipe(width=8, epochs=3)
    shares = search(ranges, 10, recipe=recipe, pruner="none", startup=10).importance
    assert list(shares) == ["training.learning_rate", "batches.temperature"]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["training.learning_rate"] > 0.5


def test_every_trial_has_a_line(search, make_recipe, capsys) -> None:
    recipe = make_recipe(width=8, epochs=4)
    recipe = replace(recipe, training=replace(recipe.training, progress=True))
    search({"model.width": [8]}, 2, recipe=recipe)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("trial 1/2  mrr 0.")
    assert "best 0." in lines[1]
    assert lines[1].endswith("(trial 1)  0:00 left")


def test_there_must_be_something_to_compare_by(search, world, make_recipe) -> None:
    with pytest.raises(ValueError, match="by validation facts, and there are none"):
        tune(world, [], space=SearchSpace(RATES))
    recipe = make_recipe(width=8, epochs=2, monitor="hits@100")
    with pytest.raises(ValueError, match=r"monitored metric 'hits@100'.*did you mean 'hits@10'"):
        search(recipe=recipe)


def test_without_the_extra_it_says_what_to_install(search, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install pyg-kgtransfer\[tune\]"):
        search()
