"""Decoders against the formula of one triple at a time."""

import pytest
import torch

from pyg_kgtransfer.models.build import DECODERS
from pyg_kgtransfer.models.decoders import Decoder, DistMult, RotatE, TransE
from pyg_kgtransfer.models.matrix_decoders import ConvE, TransR, TuckER
from pyg_kgtransfer.models.phase_decoders import HAKE, PRotatE
from tests import reference

WIDTH = 6


def made(name: str) -> Decoder:
    """A decoder whose weights and running averages are no round numbers."""
    torch.manual_seed(1)
    decoder = DECODERS[name](WIDTH).double().eval()
    with torch.no_grad():
        for table in (*decoder.parameters(), *decoder.buffers()):
            if table.is_floating_point():
                table.uniform_(0.1, 1.0)
    return decoder


def vectors(decoder: str, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Head [3, D], relation [3, D'], candidates [4, D]."""
    generator = torch.Generator().manual_seed(seed)
    relation_width = DECODERS[decoder](WIDTH).relation_width(WIDTH)
    return tuple(
        torch.randn(rows, width, dtype=torch.float64, generator=generator)
        for rows, width in ((3, WIDTH), (3, relation_width), (4, WIDTH))
    )


@pytest.mark.parametrize("name", DECODERS)
def test_both_queries_give_the_formula(name: str) -> None:
    decoder = made(name)
    known, relation, others = vectors(name)
    tails = decoder.compare(decoder.tail_query(known, relation), others)
    heads = None
    if not decoder.needs_reciprocal:
        heads = decoder.compare(decoder.head_query(relation, known), others)
    for i in range(3):
        for j in range(4):
            given = known[i].tolist(), relation[i].tolist(), others[j].tolist()
            expected = reference.score(name, decoder, *given)
            assert tails[i, j].item() == pytest.approx(expected)
            if heads is not None:
                expected = reference.score(name, decoder, *given[::-1])
                assert heads[i, j].item() == pytest.approx(expected)


@pytest.mark.parametrize("name", DECODERS)
def test_own_candidates_are_scored_as_shared_ones(name: str) -> None:
    decoder = made(name)
    head, relation, others = vectors(name)
    query = decoder.tail_query(head, relation)
    own = torch.tensor([[0, 1], [3, 3], [2, 0]])
    torch.testing.assert_close(
        decoder.compare(query, others[own]), decoder.compare(query, others).gather(1, own)
    )


@pytest.mark.parametrize("name", DECODERS)
def test_scores_have_gradients(name: str) -> None:
    decoder = made(name)
    inputs = tuple(vector.requires_grad_() for vector in vectors(name))

    def tail_scores(*given: torch.Tensor) -> torch.Tensor:
        return decoder.compare(decoder.tail_query(*given[:2]), given[2])

    def head_scores(*given: torch.Tensor) -> torch.Tensor:
        return decoder.compare(decoder.head_query(given[1], given[0]), given[2])

    assert torch.autograd.gradcheck(tail_scores, inputs)
    if decoder.needs_reciprocal:
        with pytest.raises(ValueError, match="reciprocal=True"):
            head_scores(*inputs)
    else:
        assert torch.autograd.gradcheck(head_scores, inputs)


@pytest.mark.parametrize("name", DECODERS)
def test_fresh_tables_are_filled_with_finite_numbers(name: str) -> None:
    decoder = made(name)
    entity = torch.full((30, WIDTH), torch.nan)
    relation = torch.full((4, decoder.relation_width(WIDTH)), torch.nan)
    decoder.initialise(entity, relation)
    for table in (entity, relation):
        assert bool(torch.isfinite(table).all())
        assert table.std() > 0
    decoder.initialise(None, None)


@pytest.mark.parametrize("name", ["tucker", "conve"])
def test_a_batch_of_one_is_trained(name: str) -> None:
    decoder = made(name).train()
    head, relation, _ = vectors(name)
    decoder.tail_query(head[:1], relation[:1]).sum().backward()
    assert all(parameter.grad is not None for parameter in decoder.parameters())


def test_hake_keeps_biases_in_their_range() -> None:
    decoder = made("hake")
    head, _, tail = vectors("hake")
    phases, moduli = torch.zeros(1, 3), torch.full((1, 3), -0.5)
    for bias, kept in ((-2.0, -0.5), (3.0, 1.0)):
        scores = [
            decoder.compare(
                decoder.tail_query(head[:1], torch.cat([phases, moduli, b], dim=1)), tail
            )
            for b in (torch.full((1, 3), bias), torch.full((1, 3), kept))
        ]
        torch.testing.assert_close(scores[0], scores[1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PRotatE(modulus=0.0), r"modulus above 0 \(got 0.0\)"),
        (lambda: HAKE(phase_weight=-1.0), r"phase_weight above 0 \(got -1.0\)"),
        (lambda: HAKE().check_width(5), r"must be even \(got 5\)"),
        (lambda: TransR(rank=0), r"rank of at least 1 \(got 0\)"),
        (lambda: TuckER(4, dropout=(0.1, 1.0, 0.1)), r"in \[0, 1\) \(got 1.0\)"),
        (lambda: TuckER(4).check_width(6), r"width 4 \(got 6\)"),
        (lambda: ConvE(7), r"product .* \(got 7\)"),
        (lambda: ConvE(4), r"product .* \(got 4\)"),
        (lambda: ConvE(20, channels=0), r"at least 1 channel \(got 0\)"),
        (lambda: ConvE(20).check_width(6), r"width 20 \(got 6\)"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", ["complex", "rotate"])
def test_complex_vectors_need_an_even_width_and_have_moduli(name: str) -> None:
    decoder = made(name)
    with pytest.raises(ValueError, match=r"must be even \(got 7\)"):
        decoder.check_width(7)
    assert decoder.moduli(torch.tensor([[3.0, 1.0, 4.0, 0.0]])).tolist() == [[5.0, 1.0]]


def test_distmult_cannot_tell_direction_and_complex_can() -> None:
    for name, is_symmetric in (("distmult", True), ("complex", False)):
        decoder = made(name)
        known, relation, _ = vectors(name)
        forth = decoder.compare(decoder.tail_query(known[:1], relation[:1]), known[1:2])
        back = decoder.compare(decoder.tail_query(known[1:2], relation[:1]), known[:1])
        assert torch.allclose(forth, back) is is_symmetric


def test_other_norms_are_refused() -> None:
    with pytest.raises(ValueError, match=r"p of 1 or 2 \(got 3\)"):
        TransE(p=3)


@pytest.mark.parametrize(("decoder", "init"), [
    (DistMult(), torch.nn.init.xavier_normal_), (RotatE(), torch.nn.init.xavier_uniform_),
])  # fmt: skip
def test_fresh_vectors_are_xaviers_until_there_are_very_many(decoder, init) -> None:
    table, expected = torch.empty(30, 8), torch.empty(30, 8)
    torch.manual_seed(0)
    decoder.initialise(table, None)
    torch.manual_seed(0)
    assert torch.equal(table, init(expected))
    sizes = []
    for count in (1 << 16, 1 << 18):
        table = torch.empty(count, 8)
        decoder.initialise(table, None)
        sizes.append(table.std().item())
    assert sizes[1] == pytest.approx(sizes[0], rel=0.02)
