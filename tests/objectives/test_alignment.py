import pytest
import torch
import torch.nn.functional as F

from pyg_kgtransfer.objectives.alignment import AlignmentObjective


def test_pairs_are_pulled_together(graph, model, batch) -> None:
    objective = AlignmentObjective(torch.tensor([[0, 1], [2, 3]]))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(80):
        loss = objective(model, model.encode(graph.tensors()), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    entity = model.encoder.entity
    assert F.cosine_similarity(entity[[0, 2]], entity[[1, 3]]).min() > 0.99
    assert abs(F.cosine_similarity(entity[4], entity[5], dim=0).item()) < 0.95


def test_a_sample_of_pairs_is_taken(graph, model, batch) -> None:
    pairs = torch.tensor([[i, (i + 1) % 10] for i in range(10)])
    sizes = []
    AlignmentObjective(pairs, loss=lambda a, b: sizes.append(len(a)) or a.sum(), sample_size=4)(
        model, model.encode(graph.tensors()), batch
    )
    assert sizes == [4]


def test_no_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match="pairs"):
        AlignmentObjective(torch.empty(0, 2, dtype=torch.long))
