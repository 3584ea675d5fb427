"""Negatives that come with held-out facts: their shapes and ids."""

import pytest
import torch

import pyg_kgtransfer as kgt


def ids(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.long)


def test_shapes_and_types_are_checked() -> None:
    for head in (ids(4), ids(4, 0), ids(4, 2).float()):
        with pytest.raises(ValueError, match=r"of shape \[T, K\], K > 0 \(got .*for the heads"):
            kgt.SuppliedNegatives(head, ids(4, 2))
    with pytest.raises(ValueError, match=r"as many for the head .*\(4, 2\) and \(4, 3\)"):
        kgt.SuppliedNegatives(ids(4, 2), ids(4, 3))


def test_each_held_out_fact_needs_a_row() -> None:
    negatives = kgt.SuppliedNegatives(ids(4, 2), ids(4, 2))
    assert len(kgt.HeldOut(ids(4, 3), "test", negatives).negatives or ()) == 4
    with pytest.raises(ValueError, match=r"each of 5 held-out facts .* \(got 4 rows\)"):
        kgt.HeldOut(ids(5, 3), "test", negatives)


def test_rows_are_selected_and_ids_checked() -> None:
    negatives = kgt.SuppliedNegatives(torch.tensor([[1], [7]]), torch.tensor([[3], [4]]))
    part = negatives.select(torch.tensor([1]))
    assert (part.head.tolist(), part.tail.tolist(), part.count) == ([[7]], [[4]], 1)
    negatives.check_below(8)
    with pytest.raises(ValueError, match=r"in \[0, 7\) \(got 1 to 7 for the heads"):
        negatives.check_below(7)
    with pytest.raises(ValueError, match="got -1 to 3 for the tails"):
        kgt.SuppliedNegatives(ids(1, 2), torch.tensor([[-1, 3]])).check_below(4)
