"""Gradients of the rows that a batch names: the same steps as with whole tables."""

import pytest
import torch

from pyg_kgtransfer.models.build import ModelConfig, build_model
from pyg_kgtransfer.objectives.build import ObjectiveConfig, build_objective
from pyg_kgtransfer.sources.synthetic import planted_pair
from pyg_kgtransfer.training.batches import BatchOptions, TripleBatches
from pyg_kgtransfer.training.config import TrainConfig, build_optimizer
from pyg_kgtransfer.training.learner import Learner

LOSSES = {
    "independent": ObjectiveConfig("self_adversarial", num_negatives=4),
    "shared": ObjectiveConfig("softplus", num_negatives=4, shared_negatives=True),
    "candidates and N3": ObjectiveConfig("one_vs_all", n3=0.1, num_candidates=5),
    "all": ObjectiveConfig("one_vs_all"),
}
SIZES = {"num_entities": 40, "num_relations": 6}


def training(**options: object) -> TrainConfig:
    return TrainConfig(accelerator="cpu", learning_rate=0.1, **options)


def learned(loss: str, decoder: str, optimizer: str, *, sparse: bool) -> tuple[Learner, bool]:
    """A learner after three steps, and whether its entity table had a sparse gradient."""
    split = planted_pair(40).sparse
    graph = split.train
    torch.manual_seed(0)
    config = ModelConfig(encoder="shallow", decoder=decoder, width=8, sparse=sparse)
    sizes = {"num_entities": graph.num_entities, "num_relations": graph.num_relations}
    model = build_model(config, **sizes)
    objective = build_objective(LOSSES[loss], split.known(("train",)))
    learner = Learner(training(optimizer=optimizer), model, objective, None)
    batches = TripleBatches(graph.triples, BatchOptions(batch_size=16))
    for step in range(3):
        batch = batches.batch(0, step)
        learner.descend(learner.terms(graph.tensors(), batch), learning_rate_factor=1.0)
    return learner, model.encoder.inputs.weight.grad.is_sparse


@pytest.mark.parametrize("optimizer", ["adagrad", "sgd"])
@pytest.mark.parametrize("decoder", ["transe_l1", "rotate", "distmult"])
@pytest.mark.parametrize("loss", LOSSES)
def test_steps_are_those_of_whole_tables(loss: str, decoder: str, optimizer: str) -> None:
    (whole, _), (rows, is_sparse) = (
        learned(loss, decoder, optimizer, sparse=sparse) for sparse in (False, True)
    )
    assert is_sparse == (loss != "all")
    for expected, found in zip(whole.module.parameters(), rows.module.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_rows_outside_the_batch_are_left_alone() -> None:
    config = ModelConfig(encoder="shallow", decoder="distmult", width=8, sparse=True)
    model = build_model(config, **SIZES)
    vectors = model.encode(planted_pair(40).sparse.train.tensors())
    ids = [torch.tensor([1]), torch.tensor([0]), torch.tensor([[2, 5]])]
    model.score_tails(vectors, *ids).sum().backward()
    gradient = model.encoder.inputs.weight.grad.coalesce()
    assert gradient.indices().view(-1).tolist() == [1, 2, 5]


def test_without_gradients_sparse_tables_give_the_same_scores() -> None:
    graph = planted_pair(40).sparse.train.tensors()
    config = ModelConfig(encoder="shallow", decoder="distmult", width=8, sparse=True)
    model = build_model(config, **SIZES)
    with torch.no_grad():
        vectors = model.encode(graph)
    assert not vectors.entity.requires_grad
    assert not vectors.sparse


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "adam"}, r"adagrad, sgd, rowwise_adagrad \(got 'adam'\)"),
        ({"optimizer": "adagrad", "weight_decay": 0.1}, "allow no weight_decay"),
        ({"optimizer": "sgd", "clip_norm": 1.0}, "allow no clip_norm"),
    ],
)
def test_steps_that_would_move_other_rows_are_refused(
    settings: dict[str, object], message: str
) -> None:
    config = ModelConfig(encoder="shallow", width=8, sparse=True)
    model = build_model(config, **SIZES)
    with pytest.raises(ValueError, match=message):
        build_optimizer(training(**settings), model, torch.nn.Identity())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "foundation"}, "need an encoder with a table"),
        ({"encoder": "shallow", "inputs": "features"}, "inputs 'lookup'"),
        ({"encoder": "shallow", "dropout": 0.1}, "dropout 0"),
    ],
)
def test_models_that_read_every_row_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig(width=8, sparse=True, **options)
