import pytest
import torch
from torch import nn

from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.training.selection import Selection, snapshot


def run(values: list[float], **settings: float) -> tuple[Selection, int]:
    """Feed metrics until patience ends; the module's weight is the number of the validation."""
    selection, module = Selection(TrainConfig(**settings)), nn.Linear(1, 1)
    for epoch, value in enumerate(values, start=1):
        with torch.no_grad():
            module.weight.fill_(epoch)
        selection.update({"mrr": value}, module, epoch=epoch)
        if selection.is_exhausted:
            return selection, epoch
    return selection, len(values)


def test_it_stops_after_patience_validations_without_an_improvement() -> None:
    selection, stopped = run([0.1, 0.3, 0.2, 0.3, 0.25, 0.9], patience=3)
    assert (stopped, selection.best_metric, selection.best_epoch) == (5, 0.3, 2)
    assert selection.weights["weight"].item() == 2
    assert "0.3" in selection.explanation()


def test_any_higher_metric_gives_the_best_weights_however_small_the_margin() -> None:
    selection, stopped = run([0.30, 0.31, 0.32], patience=2, min_delta=0.5)
    assert (stopped, selection.best_epoch) == (3, 3)
    assert selection.weights["weight"].item() == 3


def test_small_rises_add_up_to_an_improvement() -> None:
    rising = [0.1 + 0.02 * i for i in range(20)]  # each below min_delta, two together above
    _, stopped = run(rising, patience=2, min_delta=0.03)
    assert stopped == 20


def test_min_delta_is_absolute() -> None:
    _, stopped = run([0.001, 0.002, 0.003], patience=2, min_delta=0.01)
    assert stopped == 3
    _, stopped = run([10.0, 10.2, 10.4, 10.6], patience=1, min_delta=0.1)
    assert stopped == 4


def test_metrics_must_be_there_and_finite() -> None:
    selection = Selection(TrainConfig(monitor="mrr"))
    with pytest.raises(ValueError, match="did you mean 'mr'"):
        selection.update({"mr": 0.5, "hits@10": 0.1}, nn.Linear(1, 1), epoch=1)
    with pytest.raises(ValueError, match=r"after epoch 7 .*hits@10 = nan"):
        selection.update({"mrr": 0.5, "hits@10": float("nan")}, nn.Linear(1, 1), epoch=7)
    assert selection.best_metric is None


def test_restored_counters_go_on_alike() -> None:
    selection, _ = run([0.1, 0.3, 0.2], patience=5)
    again = Selection(selection.config)
    again.restore(selection.counters(), dict(selection.weights))
    assert again.counters() == selection.counters()
    fresh = Selection(selection.config)
    fresh.restore(fresh.counters(), {})
    fresh.update({"mrr": -5.0}, nn.Linear(1, 1), epoch=1)
    assert (fresh.best_metric, fresh.failures) == (-5.0, 0)


def test_a_snapshot_does_not_follow_the_module() -> None:
    module = nn.Linear(1, 1)
    before = snapshot(module)["weight"].item()
    with torch.no_grad():
        module.weight.add_(1.0)
    assert snapshot(module)["weight"].item() == before + 1.0


class Counting(nn.Module):
    def get_extra_state(self) -> int:
        return 3

    def set_extra_state(self, state: int) -> None:
        pass


def test_a_state_that_is_not_a_tensor_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Counting must hold tensors only.*int at '_extra_state'"):
        snapshot(Counting())
