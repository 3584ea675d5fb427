"""What enters an encoder, and the shallow encoder."""

import pytest
import torch

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors
from pyg_kgtransfer.models.decoders import ComplEx, RotatE, TransE
from pyg_kgtransfer.models.inputs import EntityInput, Features, Lookup, Shallow, TextMixture

ROWS = torch.tensor([3, 0, 3])


def root_mean_square(table: torch.Tensor) -> float:
    return table.square().mean().sqrt().item()


@pytest.mark.parametrize(
    "inputs", [Lookup(4, 6), Features(torch.eye(4), 6), TextMixture(torch.ones(4, 6))]
)
def test_rows_are_those_of_the_entities(inputs: EntityInput) -> None:
    every = inputs(torch.arange(4))
    assert every.shape == (4, inputs.width)
    assert torch.equal(inputs(ROWS), every[ROWS])


def test_features_are_frozen_and_projected() -> None:
    features = torch.randn(4, 3)
    inputs = Features(features, 6)
    expected = features @ inputs.projection.weight.t() + inputs.projection.bias
    torch.testing.assert_close(inputs(torch.arange(4)), expected)
    assert {name for name, _ in inputs.named_parameters()} == {
        "projection.weight",
        "projection.bias",
    }
    features.zero_()  # the input keeps its own copy
    torch.testing.assert_close(inputs(torch.arange(4)), expected)


def test_mixture_is_the_weighted_sum_and_only_the_free_part_learns() -> None:
    text = torch.randn(4, 6)
    inputs = TextMixture(text, share=0.6)
    torch.testing.assert_close(inputs(torch.arange(4)), 0.6 * inputs.weight + 0.4 * text)
    assert [name for name, _ in inputs.named_parameters()] == ["weight"]


def test_an_adapter_starts_at_the_plain_mixture_and_learns_with_it() -> None:
    torch.manual_seed(0)
    text, rows = 50 * torch.randn(4, 6), torch.arange(4)
    plain, adapted = TextMixture(text, share=0.4), TextMixture(text, share=0.4, adapter=5)
    adapted.initialise(ComplEx())
    plain.weight.data.copy_(adapted.weight)
    assert torch.equal(adapted(rows), plain(rows))
    adapted(rows).sum().backward()
    assert bool(adapted.adapter[-1].weight.grad.any())
    adapted.adapter[-1].bias.data.fill_(1.0)
    size = text.square().mean().sqrt()
    moved = adapted(rows) - plain(rows)
    torch.testing.assert_close(moved, (0.6 * size).expand(4, 6))
    again = TextMixture(text, share=0.4, adapter=5)
    again.load_state_dict(adapted.state_dict())
    assert torch.equal(again.eval()(rows), adapted.eval()(rows))
    with pytest.raises(ValueError, match=r"at least 0 hidden units \(got -1\)"):
        TextMixture(text, adapter=-1)


@pytest.mark.parametrize("decoder", [ComplEx(), RotatE(), TransE()])
def test_projected_features_start_at_the_decoders_size(decoder: torch.nn.Module) -> None:
    torch.manual_seed(0)
    inputs, free = Features(100 * torch.randn(200, 20), 32), Lookup(200, 32)
    inputs.initialise(decoder)
    free.initialise(decoder)
    got = root_mean_square(inputs(torch.arange(200)))
    assert got == pytest.approx(root_mean_square(free.weight), rel=0.1)


def test_text_is_brought_to_the_free_vectors_size_on_demand() -> None:
    torch.manual_seed(0)
    text = 100 * torch.randn(50, 8)
    as_given, matched = TextMixture(text, share=0.0), TextMixture(text, share=0.0, match_scale=True)
    for inputs in (as_given, matched):
        inputs.initialise(ComplEx())
    rows = torch.arange(50)
    assert torch.equal(as_given(rows), text)
    torch.testing.assert_close(
        root_mean_square(matched(rows)), root_mean_square(matched.weight), rtol=1e-4, atol=0
    )
    loaded = TextMixture(text, share=0.0, match_scale=True)
    loaded.load_state_dict(matched.state_dict())
    assert torch.equal(loaded(rows), matched(rows))


def test_features_of_zeros_do_not_divide_by_zero() -> None:
    inputs = Features(torch.zeros(3, 2), 4)
    inputs.initialise(ComplEx())
    assert torch.equal(inputs(torch.arange(3)), torch.zeros(3, 4))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (torch.ones(4), "one row per entity"),
        (torch.ones(4, 2, dtype=torch.long), "must be floats"),
        (torch.tensor([[0.0], [torch.nan]]), "NaN or inf in row 1"),
    ],
)
def test_tables_that_are_none_are_refused(table: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Features(table, 3)
    with pytest.raises(ValueError, match=message):
        TextMixture(table)


def test_share_and_dropout_are_shares() -> None:
    with pytest.raises(ValueError, match=r"in \[0, 1\] \(got 1.5\)"):
        TextMixture(torch.ones(2, 2), share=1.5)
    with pytest.raises(ValueError, match=r"in \[0, 1\) \(got 1.0\)"):
        Shallow(Lookup(2, 2), 1, dropout=1.0)


def graph() -> GraphTensors:
    return GraphTensors(ROWS, torch.empty(2, 0, dtype=torch.long), torch.empty(0).long(), 2)


def test_shallow_gives_its_tables() -> None:
    encoder = Shallow(Lookup(4, 6), 2, relation_width=3)
    out = encoder(graph())
    assert torch.equal(out.entity, encoder.inputs.weight[ROWS])
    assert torch.equal(out.relation, encoder.relation)
    assert out.relation.shape == (2, 3)
    assert out.hidden == ()


def test_shallow_drops_in_training_only() -> None:
    torch.manual_seed(0)
    encoder = Shallow(Lookup(4, 60), 2, dropout=0.5)
    dropped = (encoder(graph()).entity == 0).float().mean()
    assert 0.3 < dropped < 0.7
    encoder.eval()
    assert bool((encoder(graph()).entity != 0).all())


def test_shallow_starts_as_the_decoder_wants() -> None:
    encoder = Shallow(Lookup(4, 6), 40, relation_width=3)
    encoder.initialise(RotatE())
    assert encoder.relation.abs().max() > 2.0


def test_masking_leaves_whole_vectors_out_of_a_training_step() -> None:
    torch.manual_seed(0)
    inputs = Lookup(2000, 4, masking=0.25)
    entity = torch.arange(2000)
    given = inputs(entity)
    is_zero = (given == 0).all(1)
    assert 0.2 < is_zero.float().mean() < 0.3
    assert torch.equal(given[~is_zero], inputs.weight[~is_zero])
    assert not torch.equal(is_zero, (inputs(entity) == 0).all(1))  # others the next time
    assert torch.equal(inputs.eval()(entity), inputs.weight)
    for masking, sparse in ((1.0, False), (-0.1, False), (0.1, True)):
        with pytest.raises(ValueError, match="masking must be in"):
            Lookup(2, 4, masking=masking, sparse=sparse)
