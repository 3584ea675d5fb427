"""Features in their file: the same vectors, and nothing of them in checkpoints."""

import pytest
import torch

from pyg_kgtransfer.models.decoders import ComplEx
from pyg_kgtransfer.models.inputs import Features
from pyg_kgtransfer.models.mapped_features import MappedFeatures


def test_vectors_are_those_of_features_in_memory() -> None:
    table, ids = torch.randn(9, 4), torch.tensor([3, 3, 8])
    inputs = [MappedFeatures(table, 6), Features(table, 6)]
    inputs[1].projection.load_state_dict(inputs[0].projection.state_dict())
    torch.testing.assert_close(inputs[0](ids), inputs[1](ids))
    assert set(inputs[0].state_dict()) == {"projection.weight", "projection.bias"}
    assert inputs[0].features is table


def test_it_starts_at_the_decoders_size() -> None:
    torch.manual_seed(0)
    inputs = MappedFeatures(100 * torch.randn(500, 4), 6)
    inputs.initialise(ComplEx())
    wanted = torch.empty(500, 6)
    ComplEx().initialise(wanted, None)
    size = inputs(torch.arange(500)).square().mean().sqrt()
    assert 0.8 < size / wanted.square().mean().sqrt() < 1.25


def test_bad_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="must be floats"):
        MappedFeatures(torch.ones(3, 2).long(), 4)
    table = torch.ones(3, 2)
    table[1, 0] = torch.nan
    inputs = MappedFeatures(table, 4)
    inputs(torch.tensor([0, 2]))
    with pytest.raises(ValueError, match=r"got NaN or inf in row 1"):
        inputs(torch.tensor([0, 1]))
