"""Losses on each source's own graph: what is seen, asked and left out."""

import pytest
import torch

import pyg_kgtransfer as kgt
from pyg_kgtransfer.objectives.sources import AcrossSources
from pyg_kgtransfer.transfer.recipe import task_objective


def ring(name: str, size: int) -> kgt.KnowledgeGraph:
    facts = [(f"{name}{i}", name, f"{name}{(i + 1) % size}") for i in range(size)]
    return kgt.KnowledgeGraph.from_names(facts, name=name)


@pytest.fixture
def linked() -> kgt.LinkedKG:
    return kgt.link([ring("a", 5), ring("b", 8)], [])


class Seen(kgt.Objective):
    """Keeps what it is given; its loss is that of 1-vs-all."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple] = []

    def forward(self, model, representations, batch):
        self.given.append((representations.graph, batch.triples))
        return kgt.OneVsAll()(model, representations, batch)


def test_each_source_is_asked_of_its_own_graph_less_the_batch(linked: kgt.LinkedKG) -> None:
    recipe = kgt.Recipe(kgt.ModelConfig(encoder="foundation", width=4, layers=1))
    across = task_objective(recipe, linked)
    assert isinstance(across, AcrossSources)
    seen = [Seen(), Seen()]
    across.losses = torch.nn.ModuleList(seen)
    rows = torch.tensor([0, 5, 7, 8])  # one of a, three of b
    batch = kgt.Batch(linked.graph.triples[rows], torch.Generator(), linked.source[rows])
    model = kgt.FoundationModel(width=4, layers=1)
    loss = across(model, None, batch)
    (first, a), (second, b) = (each.given[0] for each in seen)
    assert (len(first.entity), len(second.entity)) == (5, 8)
    assert a.tolist() == [[0, 0, 1]]
    assert b.tolist() == [[0, 1, 1], [2, 1, 3], [3, 1, 4]]
    assert first.edge_index.shape[1] == 2 * (5 - 1)
    assert second.edge_index.shape[1] == 2 * (8 - 3)
    apart = [
        kgt.OneVsAll()(model, model.encode(graph), batch._replace(triples=own, source=None))
        for graph, own in ((first, a), (second, b))
    ]
    torch.testing.assert_close(loss, apart[0] / 4 + 3 * apart[1] / 4)


def test_several_sources_are_learned_from(linked: kgt.LinkedKG) -> None:
    splits = [kgt.random_split(ring(name, size), 0.0, 0.0) for name, size in (("a", 5), ("b", 8))]
    recipe = kgt.Recipe(
        kgt.ModelConfig(encoder="foundation", width=4, layers=1),
        kgt.ObjectiveConfig("softplus", num_negatives=4),
        kgt.BatchOptions(batch_size=4, temperature=float("inf")),
        kgt.TrainConfig(epochs=8, learning_rate=1e-2, progress=False, accelerator="cpu"),
    )
    checkpoint = kgt.pretrain(linked, splits, recipe=recipe)
    assert checkpoint.metrics["steps"] == 8 * 4
    assert kgt.zero_shot(checkpoint.model, ring("c", 3)).model is checkpoint.model


def test_a_batch_leaves_something_to_read(linked: kgt.LinkedKG) -> None:
    recipe = kgt.Recipe(kgt.ModelConfig(encoder="foundation", width=4, layers=1))
    batch = kgt.Batch(linked.graph.triples, torch.Generator(), linked.source)
    objective = task_objective(recipe, linked)
    model = kgt.FoundationModel(width=4, layers=1)
    with pytest.raises(ValueError, match="a smaller batch_size"):
        objective(model, None, batch)


def test_as_many_losses_as_sources() -> None:
    with pytest.raises(ValueError, match="each of 0 sources"):
        AcrossSources([], [kgt.OneVsAll()])
