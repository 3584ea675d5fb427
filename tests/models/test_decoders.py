"""Decoders against the formula of one triple at a time."""

import pytest
import torch

from pyg_kgtransfer.models.build import DECODERS
from pyg_kgtransfer.models.decoders import TransE
from tests import reference

WIDTH = 6


def vectors(decoder: str, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Head [3, D], relation [3, D'], candidates [4, D]."""
    generator = torch.Generator().manual_seed(seed)
    relation_width = DECODERS[decoder]().relation_width(WIDTH)
    return tuple(
        torch.randn(rows, width, dtype=torch.float64, generator=generator)
        for rows, width in ((3, WIDTH), (3, relation_width), (4, WIDTH))
    )


@pytest.mark.parametrize("name", DECODERS)
def test_both_queries_give_the_formula(name: str) -> None:
    decoder = DECODERS[name]()
    known, relation, others = vectors(name)
    tails = decoder.compare(decoder.tail_query(known, relation), others)
    heads = decoder.compare(decoder.head_query(relation, known), others)
    for i in range(3):
        for j in range(4):
            given = known[i].tolist(), relation[i].tolist(), others[j].tolist()
            assert tails[i, j].item() == pytest.approx(reference.score(name, *given))
            assert heads[i, j].item() == pytest.approx(reference.score(name, *given[::-1]))


@pytest.mark.parametrize("name", DECODERS)
def test_own_candidates_are_scored_as_shared_ones(name: str) -> None:
    decoder = DECODERS[name]()
    head, relation, others = vectors(name)
    query = decoder.tail_query(head, relation)
    own = torch.tensor([[0, 1], [3, 3], [2, 0]])
    torch.testing.assert_close(
        decoder.compare(query, others[own]), decoder.compare(query, others).gather(1, own)
    )


@pytest.mark.parametrize("name", DECODERS)
def test_scores_have_gradients(name: str) -> None:
    decoder = DECODERS[name]()
    inputs = tuple(vector.requires_grad_() for vector in vectors(name))

    def tail_scores(*given: torch.Tensor) -> torch.Tensor:
        return decoder.compare(decoder.tail_query(*given[:2]), given[2])

    def head_scores(*given: torch.Tensor) -> torch.Tensor:
        return decoder.compare(decoder.head_query(given[1], given[0]), given[2])

    assert torch.autograd.gradcheck(tail_scores, inputs)
    assert torch.autograd.gradcheck(head_scores, inputs)


@pytest.mark.parametrize("name", DECODERS)
def test_fresh_tables_are_filled_with_finite_numbers(name: str) -> None:
    decoder = DECODERS[name]()
    entity = torch.full((30, WIDTH), torch.nan)
    relation = torch.full((4, decoder.relation_width(WIDTH)), torch.nan)
    decoder.initialise(entity, relation)
    for table in (entity, relation):
        assert bool(torch.isfinite(table).all())
        assert table.std() > 0
    decoder.initialise(None, None)


@pytest.mark.parametrize("name", ["complex", "rotate"])
def test_complex_vectors_need_an_even_width_and_have_moduli(name: str) -> None:
    decoder = DECODERS[name]()
    with pytest.raises(ValueError, match=r"must be even \(got 7\)"):
        decoder.check_width(7)
    assert decoder.moduli(torch.tensor([[3.0, 1.0, 4.0, 0.0]])).tolist() == [[5.0, 1.0]]


def test_distmult_cannot_tell_direction_and_complex_can() -> None:
    for name, is_symmetric in (("distmult", True), ("complex", False)):
        decoder = DECODERS[name]()
        known, relation, _ = vectors(name)
        forth = decoder.compare(decoder.tail_query(known[:1], relation[:1]), known[1:2])
        back = decoder.compare(decoder.tail_query(known[1:2], relation[:1]), known[:1])
        assert torch.allclose(forth, back) is is_symmetric


def test_other_norms_are_refused() -> None:
    with pytest.raises(ValueError, match=r"p of 1 or 2 \(got 3\)"):
        TransE(p=3)
