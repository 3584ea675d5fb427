"""A partitioned table learns what one in memory learns, and scores where it lies."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pyg_kgtransfer.models.build import ModelConfig
from pyg_kgtransfer.objectives.auxiliary import AuxiliaryConfig
from pyg_kgtransfer.objectives.build import ObjectiveConfig
from pyg_kgtransfer.sources.synthetic import planted
from pyg_kgtransfer.training.batches import BatchOptions
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.training.partition import Partition
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.pretrain_partitioned import pretrain_partitioned
from pyg_kgtransfer.transfer.ranking import alone, evaluate, ranking_of
from pyg_kgtransfer.transfer.recipe import Recipe


def recipe(**objective: object) -> Recipe:
    return Recipe(
        ModelConfig(encoder="shallow", width=32, sparse=True),
        ObjectiveConfig(**objective),
        BatchOptions(batch_size=64),
        TrainConfig(epochs=25, optimizer="rowwise_adagrad", learning_rate=0.3, progress=False,
                    accelerator="cpu"),
    )  # fmt: skip


def test_it_learns_as_well_as_in_memory(tmp_path: Path) -> None:
    split = planted(60, seed=1)
    ranking = ranking_of(split)
    whole = pretrain(alone(split.train), recipe=recipe()).model
    parts = pretrain_partitioned(
        split.train, recipe=recipe(), run_dir=tmp_path, partition=Partition(4)
    )
    checkpoint = Checkpoint.load(parts.checkpoint().save(tmp_path / "kept"))
    kept, graph = checkpoint.model, split.train.tensors()
    found = [ranking(m, m.encode(graph)).metrics()["mrr"] for m in (whole, kept)]
    assert found[1] > 0.75 * found[0] > 0.2
    assert evaluate(checkpoint, split).metrics()["mrr"] == found[1]
    head, relation, tail = split.test.triples.unbind(1)
    few = torch.stack([tail, head, torch.zeros_like(head)], 1)
    scores = parts.score_tails(parts.representations(), head, relation, few)
    torch.testing.assert_close(scores, kept.score_tails(kept.encode(graph), head, relation, few))
    scores = parts.score_heads(parts.representations(), relation, tail, few[0])
    again = kept.score_heads(kept.encode(graph), relation, tail, few[0])
    torch.testing.assert_close(scores, again)
    with pytest.raises(TypeError, match=r"\(got a PartitionedModel\).*model\.checkpoint\(\)"):
        evaluate(parts, split)
    with pytest.raises(ValueError, match="give candidates"):
        parts.score_tails(parts.representations(), head, relation)


def test_what_needs_all_entities_is_refused(tmp_path: Path) -> None:
    graph = planted(24).train
    for loss in ({"loss": "k_vs_all"}, {"loss": "softplus", "filtered": True}, {"balance": 0.5}):
        with pytest.raises(ValueError, match="entities of two buckets alone"):
            pretrain_partitioned(graph, recipe=recipe(**loss), run_dir=tmp_path)
    for given in ({"auxiliary": AuxiliaryConfig(proposed=0.5)}, {"validation_size": 10}):
        with pytest.raises(ValueError, match="leave auxiliary and validation_size"):
            pretrain_partitioned(graph, recipe=replace(recipe(), **given), run_dir=tmp_path)
    with pytest.raises(ValueError, match="encoder 'shallow' with sparse rows"):
        pretrain_partitioned(graph, recipe=Recipe(), run_dir=tmp_path)
