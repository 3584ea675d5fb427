"""Every encoder with every decoder through the laws."""

import itertools

import pytest
import torch

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors, KnowledgeGraph
from pyg_kgtransfer.models.build import DECODERS, ModelConfig, build_model
from pyg_kgtransfer.models.kg_model import KGModel
from tests import laws

ENCODER_OPTIONS = {
    "shallow": {"encoder": "shallow"},
    "rgcn_full": {"encoder": "rgcn", "layers": 2, "residual": False},
    "rgcn_bases": {"encoder": "rgcn", "bases": 2, "jump": True},
    "rgcn_blocks": {"encoder": "rgcn", "blocks": 4, "normalise": False},
    "compgcn_sub": {"encoder": "compgcn", "operator": "sub", "layers": 2},
    "compgcn_mult": {
        "encoder": "compgcn",
        "operator": "mult",
        "jump": True,
        "residual": False,
        "normalise": False,
    },
    "compgcn_corr": {"encoder": "compgcn", "operator": "corr", "dropout": 0.5},
}
EVERY_PAIR = list(itertools.product(ENCODER_OPTIONS, DECODERS))


def graph() -> GraphTensors:
    """Nine entities (one isolated), three relations (one unseen), a self-loop, a repeat."""
    triples = [(0, 0, 1), (1, 0, 2), (2, 1, 3), (3, 1, 3), (4, 0, 0), (4, 0, 0), (5, 1, 6),
               (6, 0, 7), (7, 1, 0), (2, 0, 5)]  # fmt: skip
    names = [(f"e{h}", f"r{r}", f"e{t}") for h, r, t in triples]
    return KnowledgeGraph.from_names(
        names, entities=[f"e{i}" for i in range(9)], relations=["r0", "r1", "r2"]
    ).tensors()


def model_of(encoder: str, decoder: str, *, reciprocal: bool = False, seed: int = 0) -> KGModel:
    torch.manual_seed(seed)
    config = ModelConfig(
        decoder=decoder, width=8, reciprocal=reciprocal, **ENCODER_OPTIONS[encoder]
    )
    return build_model(config, num_entities=9, num_relations=3)


@pytest.mark.parametrize(("encoder", "decoder"), EVERY_PAIR)
@pytest.mark.parametrize("reciprocal", [False, True])
def test_every_pair_obeys(encoder: str, decoder: str, reciprocal: bool) -> None:
    if not reciprocal and decoder in ("tucker", "conve"):
        with pytest.raises(ValueError, match="no query for heads"):
            model_of(encoder, decoder)
        return
    model = model_of(encoder, decoder, reciprocal=reciprocal)
    laws.shapes_are_as_promised(model, graph())
    laws.edge_order_does_not_matter(model, graph())
    laws.row_order_does_not_matter(model, graph())
    laws.scores_agree_in_every_form(model, graph())
    laws.evaluation_is_deterministic(model, graph())
    fresh = model_of(encoder, decoder, reciprocal=reciprocal, seed=1)
    laws.saved_and_loaded_is_the_same(model, fresh, graph())


@pytest.mark.parametrize("encoder", ENCODER_OPTIONS)
def test_every_parameter_is_trained(encoder: str) -> None:
    laws.every_parameter_gets_a_gradient(model_of(encoder, "complex", reciprocal=True), graph())
    laws.every_parameter_gets_a_gradient(model_of(encoder, "rotate"), graph())


@pytest.mark.parametrize("encoder", ENCODER_OPTIONS)
@pytest.mark.parametrize(("num_entities", "num_relations"), [(0, 0), (0, 2), (1, 0), (1, 2)])
def test_graphs_without_edges_are_encoded(
    encoder: str, num_entities: int, num_relations: int
) -> None:
    config = ModelConfig(decoder="distmult", width=8, **ENCODER_OPTIONS[encoder])
    model = build_model(config, num_entities=num_entities, num_relations=num_relations)
    none = torch.empty(2, 0, dtype=torch.long)
    out = model.encode(GraphTensors(torch.arange(num_entities), none, none[0], num_relations))
    assert out.entity.shape == (num_entities, 8)
    assert out.relation.shape == (2 * num_relations, 8)
    (out.entity.sum() + out.relation.sum()).backward()


@pytest.mark.parametrize("encoder", ENCODER_OPTIONS)
def test_automatic_mixed_precision_gives_nearly_the_same(encoder: str) -> None:
    model = model_of(encoder, "complex")
    expected = laws.encoded(model, graph())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model.encode(graph())
        model.score(out, laws.some_triples(graph())).sum().backward()
    torch.testing.assert_close(out.entity.float(), expected.entity, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [("shallow", "rotate"), ("rgcn_bases", "complex"), ("compgcn_corr", "distmult")],
)
def test_compiled_models_give_the_same(encoder: str, decoder: str) -> None:
    laws.compiled_equals_eager(model_of(encoder, decoder), graph())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_same() -> None:
    for encoder, decoder in EVERY_PAIR:
        reciprocal = decoder in ("tucker", "conve")
        model = model_of(encoder, decoder, reciprocal=reciprocal)
        laws.device_does_not_matter(model, graph(), "cuda")
