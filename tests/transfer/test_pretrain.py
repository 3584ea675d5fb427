"""Joint pre-training learns planted graphs, in every mode of linking."""

import pytest
import torch
from torch.nn import functional

from pyg_kgtransfer.linking.linked import link
from pyg_kgtransfer.sources.synthetic import planted
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import alone, evaluate

CHANCE = 0.11  # MRR of 40 candidates in random order


@pytest.mark.parametrize("encoder", ["shallow", "rgcn", "compgcn"])
def test_a_planted_graph_is_learned(make_recipe, encoder) -> None:
    split = planted(40)
    checkpoint = pretrain(alone(split.train), [split], recipe=make_recipe(encoder))
    assert evaluate(checkpoint, split).metrics()["mrr"] > 0.7 > 5 * CHANCE


def test_a_joint_teacher_beats_the_target_alone(pair, teacher, make_recipe) -> None:
    own = pretrain(alone(pair.sparse.train), recipe=make_recipe())
    gain = evaluate(teacher, pair.sparse).metrics()["mrr"]
    assert gain > evaluate(own, pair.sparse).metrics()["mrr"] + 0.2


@pytest.mark.parametrize("mode", ["mapping", "swapping"])
def test_where_entities_stay_apart_a_loss_pulls_them_together(
    pair, aligned, make_recipe, mode
) -> None:
    linked = link([pair.sparse.train, pair.rich], [aligned(pair.rich)], mode=mode)

    def likeness(checkpoint: Checkpoint) -> float:
        with torch.no_grad():
            entity = checkpoint.model.encode(checkpoint.graph.tensors()).entity
        left, right = entity[linked.pairs.index].unbind(1)
        return float(functional.cosine_similarity(left, right).mean())

    apart = pretrain(linked, recipe=make_recipe(), alignment_weight=0.0)
    together = pretrain(linked, recipe=make_recipe(), alignment_weight=5.0)
    assert likeness(together) > likeness(apart) + 0.05
    joint, apart_mrr = (evaluate(c, pair.sparse).metrics()["mrr"] for c in (together, apart))
    assert joint > 3 * CHANCE
    # exchanged triples tell by themselves what is the same; in mapping nothing else does
    assert mode == "swapping" or joint > apart_mrr + 0.02


def test_validation_facts_select_the_weights(pair, linked, make_recipe) -> None:
    recipe = make_recipe(epochs=40, validate_every=5)
    chosen = pretrain(linked, [pair.sparse], recipe=recipe)
    curve = chosen.metrics["curve"]
    assert [point["epoch"] for point in curve] == list(range(5, 41, 5))
    best = max(point["mrr"] for point in curve)
    assert chosen.metrics["valid"]["mrr"] == best
    assert evaluate(chosen, pair.sparse, "valid").metrics()["mrr"] == pytest.approx(best)


def test_without_held_out_facts_the_last_weights_are_kept(teacher) -> None:
    assert teacher.metrics["curve"] == []
    assert teacher.metrics["best_epoch"] is None
    assert (teacher.metrics["steps"], teacher.metrics["stop_reason"]) == (60, "epochs")


def test_a_seed_repeats_the_teacher_and_leaves_the_random_state_alone(linked, make_recipe) -> None:
    before = torch.get_rng_state()
    ids = [pretrain(linked, recipe=make_recipe(epochs=2, seed=seed)).id for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert ids[0] == ids[1] != ids[2]
