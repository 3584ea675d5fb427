"""From configuration to model."""

import json

import pytest
import torch

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.models.build import DECODERS, ENCODERS, ModelConfig, build_model
from pyg_kgtransfer.models.compgcn import CompGCN
from pyg_kgtransfer.models.inputs import Features, Shallow, TextMixture
from pyg_kgtransfer.models.rgcn import RGCN


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_name_is_built(encoder: str, decoder: str) -> None:
    config = ModelConfig(encoder=encoder, decoder=decoder, width=8)
    model = build_model(config, num_entities=5, num_relations=2)
    assert type(model.encoder) is {"shallow": Shallow, "rgcn": RGCN, "compgcn": CompGCN}[encoder]
    assert model.encoder.width == 8
    assert model.reciprocal


def test_config_survives_json() -> None:
    config = ModelConfig(encoder="rgcn", bases=3, dropout=0.1, reciprocal=False)
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert ModelConfig.from_dict({}) == ModelConfig()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "compgnc"}, "unknown encoder: 'compgnc'; nearest known: 'compgcn'"),
        ({"decoder": "ComplEX"}, "unknown decoder: 'ComplEX'; nearest known: 'complex'"),
        ({"decoder": "transe"}, "nearest known: 'transe_l"),
        ({"operator": "cor"}, "nearest known: 'corr'"),
        ({"activation": "tan"}, "nearest known: 'tanh'"),
        ({"inputs": "feature"}, "nearest known: 'features'"),
        ({"width": 0}, r"width must be .* at least 1 \(got 0\)"),
        ({"width": 8.5}, r"whole number .*\(got 8.5\)"),
        ({"width": 7}, r"must be even \(got 7\)"),
        ({"layers": 0}, "layers must be"),
        ({"layers": True}, "layers must be"),
        ({"encoder": "rgcn", "bases": 0}, "bases must be"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
        ({"share": -0.1}, r"share must be in \[0, 1\]"),
        ({"bases": 2}, "for encoder 'rgcn'"),
        ({"encoder": "rgcn", "bases": 2, "blocks": 2}, "not both"),
        ({"encoder": "rgcn", "blocks": 3}, "must divide the width 128"),
        ({"widht": 8}, "unknown model option: 'widht'; nearest known: 'width'"),
    ],
)
def test_what_cannot_be_is_refused_at_the_door(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig.from_dict(options)


def test_options_reach_the_encoder() -> None:
    config = ModelConfig(encoder="rgcn", width=8, layers=3, blocks=2, dropout=0.25, jump=True)
    encoder = build_model(config, num_entities=5, num_relations=2).encoder
    assert [layer.num_blocks for layer in encoder.layers] == [2, 2, 2]
    assert encoder.outputs[0].dropout.p == 0.25
    assert isinstance(encoder.outputs[0].norm, torch.nn.LayerNorm)
    assert encoder.outputs[0].activation is torch.tanh
    assert encoder.outputs[0].gate is not None
    assert encoder.jump is not None


def test_features_and_mixtures_enter() -> None:
    features = torch.randn(5, 8)
    for inputs, kind in (("features", Features), ("mixture", TextMixture)):
        adapter = 4 if inputs == "mixture" else 0
        config = ModelConfig(encoder="shallow", width=8, inputs=inputs, share=0.3, adapter=adapter)
        model = build_model(config, num_entities=5, num_relations=2, features=features)
        assert type(model.encoder.inputs) is kind
    assert model.encoder.inputs.share == 0.3
    assert model.encoder.inputs.adapter[0].out_features == 4
    with pytest.raises(ValueError, match=r"needs inputs 'mixture' \(got 4 and 'lookup'\)"):
        ModelConfig(adapter=4)


@pytest.mark.parametrize(
    ("inputs", "features", "message"),
    [
        ("lookup", torch.ones(5, 8), "inputs are 'lookup'"),
        ("features", None, "need features"),
        ("features", torch.ones(4, 8), r"each of 5 entities \(got 4\)"),
        ("mixture", torch.ones(5, 6), r"width 8 \(got 6\)"),
    ],
)
def test_features_that_do_not_fit_are_refused(
    inputs: str, features: torch.Tensor | None, message: str
) -> None:
    config = ModelConfig(encoder="shallow", width=8, inputs=inputs)
    with pytest.raises(ValueError, match=message):
        build_model(config, num_entities=5, num_relations=2, features=features)


@pytest.mark.parametrize(("reciprocal", "rows"), [(True, 6), (False, 3)])
def test_shallow_models_have_inverse_vectors_only_where_they_answer(
    reciprocal: bool, rows: int
) -> None:
    config = ModelConfig(encoder="shallow", width=8, reciprocal=reciprocal)
    model = build_model(config, num_entities=5, num_relations=3)
    assert model.encoder.relation.shape == (rows, 8)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_seed_repeats_the_model(encoder: str) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        config = ModelConfig(encoder=encoder, width=8)
        states.append(build_model(config, num_entities=5, num_relations=2).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def planted_graph() -> KnowledgeGraph:
    """60 entities, 4 relations: entity i has relation r to i + r + 1, round the clock."""
    facts = [(f"e{i}", f"r{r}", f"e{(i + r + 1) % 60}") for i in range(60) for r in range(4)]
    return KnowledgeGraph.from_names(facts)


@pytest.mark.parametrize("encoder", ["rgcn", "compgcn"])
@pytest.mark.parametrize("decoder", ["transe_l2", "complex", "rotate"])
def test_fresh_residual_encoders_give_vectors_of_the_decoders_size(
    encoder: str, decoder: str
) -> None:
    torch.manual_seed(0)
    config = ModelConfig(encoder=encoder, decoder=decoder, width=32)
    model = build_model(config, num_entities=60, num_relations=4)
    graph = planted_graph().tensors()
    out = model.encode(graph).entity
    wanted = torch.empty(60, 32)
    model.decoder.initialise(wanted, None)
    ratio = (out.square().mean() / wanted.square().mean()).sqrt().item()
    assert 0.5 < ratio < 2.5


@pytest.mark.parametrize("encoder", ["rgcn", "compgcn"])
def test_layers_that_recompute_keep_less_and_train_alike(encoder: str) -> None:
    graph = planted_graph().tensors()
    kept, grads = [], []

    def count(tensor: torch.Tensor) -> torch.Tensor:
        kept[-1][tensor.data_ptr()] = tensor.numel()
        return tensor

    for recompute in (False, True):
        torch.manual_seed(0)
        config = ModelConfig(encoder=encoder, width=32, dropout=0.5, recompute=recompute)
        model = build_model(config, num_entities=60, num_relations=4)
        kept.append({})
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            out = model.encode(graph)
        (out.entity.square().sum() + out.relation.square().sum()).backward()
        grads.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(grads[0], grads[1])
    assert sum(kept[1].values()) < sum(kept[0].values())
