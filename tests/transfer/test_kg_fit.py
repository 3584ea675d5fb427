"""KG-FIT on planted graphs whose text tells which entities go together."""

import pytest
import torch

import pyg_kgtransfer as kgt
from pyg_kgtransfer.models.build import DECODERS
from pyg_kgtransfer.transfer.kg_fit import kg_fit, start_size

WIDTH = 16


@pytest.fixture(scope="module")
def split() -> kgt.Split:
    """Forty entities in four groups; facts lead from each group to the next, a tenth is known."""
    generator = torch.Generator().manual_seed(0)
    facts = [(f"e{h}", "next", f"e{t}") for h in range(40) for t in range(40)
             if (h // 10 + 1) % 4 == t // 10]  # fmt: skip
    kept = [facts[i] for i in torch.randperm(len(facts), generator=generator)[:120].tolist()]
    graph = kgt.KnowledgeGraph.from_names(kept, entities=[f"e{i}" for i in range(40)], name="ring")
    return kgt.random_split(graph, 0.1, 0.3, group_pairs=False)


@pytest.fixture(scope="module")
def text(split: kgt.Split) -> torch.Tensor:
    """A direction for each group, with noise."""
    generator = torch.Generator().manual_seed(1)
    group = torch.tensor([int(name[1:]) // 10 for name in split.train.entities])
    return torch.eye(4, WIDTH)[group] + 0.1 * torch.randn(len(group), WIDTH, generator=generator)


@pytest.fixture(scope="module")
def tree(split: kgt.Split, text: torch.Tensor) -> kgt.Hierarchy:
    return kgt.seed_hierarchy(text, split.train.entities).hierarchy


def recipe(**model: object) -> kgt.Recipe:
    return kgt.Recipe(
        kgt.ModelConfig(**({"encoder": "shallow", "width": WIDTH} | model)),
        kgt.ObjectiveConfig("self_adversarial", margin=3.0, num_negatives=8),
        kgt.BatchOptions(batch_size=64),
        kgt.TrainConfig(epochs=30, learning_rate=0.02, progress=False, accelerator="cpu"),
    )


def mrr(checkpoint: kgt.Checkpoint, split: kgt.Split) -> float:
    return kgt.evaluate(checkpoint, split).metrics()["mrr"]


def test_text_and_its_hierarchy_help_where_facts_are_few(split, text, tree) -> None:
    linked = kgt.link([split.train], [])
    base = mrr(kgt.pretrain(linked, [split], recipe=recipe()), split)
    found = kg_fit(split, text, tree, recipe=recipe())
    assert mrr(found, split) > base + 0.03
    assert found.provenance["kg_fit"]["constraints"]["cohesion"] == 0.5


def test_free_vectors_may_begin_at_their_texts(split, text, tree) -> None:
    recipe = kgt.Recipe(
        kgt.ModelConfig(encoder="shallow", decoder="transe_l2", width=text.shape[1], share=1.0),
        training=kgt.TrainConfig(
            epochs=1, learning_rate=1e-9, optimizer="sgd", progress=False, accelerator="cpu"
        ),
    )
    text = text.clone()
    text[3] = 0.0  # nothing is said of it
    for start in (0.0, 0.5, 1.0):
        config = kgt.KGFitConfig(text_start=start)
        inputs = kgt.kg_fit(split, text, tree, recipe=recipe, config=config).model.encoder.inputs
        if start == 0.0:
            free = inputs.weight.detach().clone()
        wanted = torch.lerp(free, inputs.text, start)
        wanted[3] = free[3]
        assert torch.allclose(inputs.weight, wanted, atol=1e-5)


def test_an_adapter_learns_at_a_rate_of_its_own(split, text, tree) -> None:
    still, moved = (
        kg_fit(
            split, text, tree, recipe=recipe(),
            config=kgt.KGFitConfig(adapter=8, adapter_rate=rate),
        ).model.encoder.inputs.adapter[-1].weight.abs().max()
        for rate in (1e-9, 1.0)
    )  # fmt: skip
    assert still < 1e-6 < 1e-3 < moved


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text_start": 1.5}, r"text_start must be in \[0, 1\] \(got 1.5\)"),
        ({"adapter": -1}, r"adapter must be at least 0 \(got -1\)"),
        ({"adapter_rate": 0.0}, r"adapter_rate must be above 0 \(got 0.0\)"),
        ({"link_weight": 0.0}, r"link_weight must be above 0 \(got 0.0\)"),
    ],
)
def test_options_out_of_range_are_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        kgt.KGFitConfig(**options)


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_trains_under_it_and_is_kept(decoder, split, text, tree, tmp_path) -> None:
    short = recipe(decoder=decoder)
    short = kgt.Recipe(short.model, short.objective, short.batches,
                       kgt.TrainConfig(epochs=2, progress=False, accelerator="cpu"))  # fmt: skip
    found = kg_fit(split, text, tree, recipe=short)
    found.save(tmp_path / "model")
    again = kgt.Checkpoint.load(tmp_path / "model")
    assert mrr(again, split) == pytest.approx(mrr(found, split))
    assert torch.equal(again.model.encoder.inputs.text, found.model.encoder.inputs.text)


@pytest.mark.parametrize("encoder", ["compgcn", "rgcn"])
def test_an_encoder_may_stand_in_front(encoder, split, text, tree) -> None:
    found = kg_fit(split, text, tree, recipe=recipe(encoder=encoder, decoder="distmult"))
    assert found.model.encoder.num_layers == 1
    assert mrr(found, split) > 0.14  # a guess among forty: 0.11


def test_text_is_brought_to_the_size_of_the_decoders_vectors(split, text, tree) -> None:
    for decoder in ("distmult", "protate"):
        options = recipe(decoder=decoder)
        found = kg_fit(split, 7.0 * text, tree, recipe=options)
        size = found.model.encoder.inputs.text.square().mean().sqrt().item()
        assert size == pytest.approx(start_size(options.model), rel=0.2)
    as_given = kg_fit(split, text, tree, recipe=recipe(), config=kgt.KGFitConfig(match_scale=False))
    assert torch.equal(as_given.model.encoder.inputs.text, text)


def test_text_and_hierarchies_that_do_not_fit_are_refused(split, text, tree) -> None:
    with pytest.raises(ValueError, match=r"text vector of the model's width 16 \(got \[40, 8\]\)"):
        kg_fit(split, text[:, :8], tree, recipe=recipe())
    other = kgt.seed_hierarchy(torch.eye(2), kgt.Vocabulary(["x", "y"])).hierarchy
    with pytest.raises(ValueError, match="must know entities of 'ring'"):
        kg_fit(split, text, other, recipe=recipe())
    with pytest.raises(ValueError, match=r"link_weight must be above 0 \(got 0.0\)"):
        kgt.KGFitConfig(link_weight=0.0)
