import pytest
import torch

from pyg_kgtransfer.training.loss_meter import LossMeter, NotFiniteError


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value, requires_grad=True)


@pytest.mark.parametrize("every", [1, 2, 100])
def test_means_weigh_batches_by_their_triples(every: int) -> None:
    meter = LossMeter(every=every)
    meter.add({"a": scalar(1.0), "b": scalar(4.0)}, num_triples=3, epoch=1, step=1)
    meter.add({"a": scalar(5.0)}, num_triples=1, epoch=1, step=2)  # b weighed nothing
    meter.read(1)
    assert meter.means() == {"a": 2.0, "b": 3.0}
    assert meter.loss() == 5.0
    again = LossMeter(every=every)
    again.restore(meter.state())
    assert again.means() == meter.means()
    meter.reset()
    assert meter.means() == {}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_not_finite_names_its_term_step_and_epoch(value: float) -> None:
    meter = LossMeter(every=3)
    meter.add({"a": scalar(1.0), "b": scalar(1.0)}, num_triples=1, epoch=4, step=10)
    meter.add({"a": scalar(1.0), "b": scalar(value)}, num_triples=1, epoch=4, step=11)
    with pytest.raises(NotFiniteError, match=r"term 'b' at step 11, in epoch 4"):
        meter.add({"a": scalar(value)}, num_triples=1, epoch=4, step=12)
