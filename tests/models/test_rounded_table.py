"""A table in bfloat16: the same scores but for rounding, whoever reads it."""

import pytest
import torch

from pyg_kgtransfer.models.build import ModelConfig, build_model
from pyg_kgtransfer.sources.synthetic import planted
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import alone, evaluate
from pyg_kgtransfer.transfer.recipe import Recipe

ENCODERS = ("shallow", "rgcn", "compgcn")


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("decoder", ["complex", "transe_l1"])
def test_scores_are_those_of_the_rounded_vectors(encoder: str, decoder: str) -> None:
    graph = planted(24).train
    sizes = {"num_entities": graph.num_entities, "num_relations": graph.num_relations}
    models = []
    for table in ("bfloat16", "float32"):
        torch.manual_seed(0)
        config = ModelConfig(encoder=encoder, decoder=decoder, width=8, sparse=True, table=table)
        models.append(build_model(config, **sizes).eval())
    state = {key: value.float() for key, value in models[0].state_dict().items()}
    models[1].load_state_dict(state)
    head, relation, tail = graph.triples[:5].unbind(1)
    some = torch.tensor([[1, 2, 3]]).repeat(5, 1)
    for candidates in (None, some[0], some):
        found = []
        for model in models:
            vectors = model.encode(graph.tensors())
            found.append(model.score_tails(vectors, head, relation, candidates))
            found.append(model.score_heads(vectors, relation, tail, candidates))
        assert found[0].dtype == torch.float32
        torch.testing.assert_close(found[0], found[2])
        torch.testing.assert_close(found[1], found[3])


def test_it_learns_and_is_kept(tmp_path) -> None:
    split = planted(60, seed=1)
    found = {}
    for table in ("float32", "bfloat16"):
        recipe = Recipe(
            ModelConfig(encoder="shallow", width=32, sparse=True, table=table),
            training=TrainConfig(
                epochs=15, optimizer="rowwise_adagrad", learning_rate=0.3, progress=False,
                accelerator="cpu",
            ),
        )  # fmt: skip
        checkpoint = pretrain(alone(split.train), [split], recipe=recipe)
        found[table] = evaluate(checkpoint, split).metrics()["mrr"]
    assert found["bfloat16"] > 0.8 * found["float32"] > 0.2
    again = Checkpoint.load(checkpoint.save(tmp_path / "kept"))
    assert again.model.encoder.inputs.weight.dtype == torch.bfloat16
    assert evaluate(again, split).metrics()["mrr"] == found["bfloat16"]
