"""Comparisons and complex arithmetic against Python's own numbers."""

import math

import pytest
import torch
from torch import Tensor

from pyg_kgtransfer.functional import scores
from tests.reference import as_complex

QUERY = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.0, 1.0, -1.0, 2.0]], dtype=torch.float64)
TABLE = torch.tensor(
    [[1.0, -2.0, 0.5, 3.0], [2.0, 0.0, 1.0, -1.0], [-3.0, 0.5, 0.0, 1.0]], dtype=torch.float64
)
OWN = TABLE[torch.tensor([[0, 2], [1, 1]])]  # [2, 2, 4]


def dot(q: list[float], c: list[float]) -> float:
    return sum(a * b for a, b in zip(q, c, strict=True))


def l1(q: list[float], c: list[float]) -> float:
    return -sum(abs(a - b) for a, b in zip(q, c, strict=True))


def l2(q: list[float], c: list[float]) -> float:
    return -math.dist(q, c)


def moduli(q: list[float], c: list[float]) -> float:
    return -sum(abs(a - b) for a, b in zip(as_complex(q), as_complex(c), strict=True))


COMPARISONS = {
    "dot": (scores.dot, dot),
    "l1": (lambda q, c: scores.negative_distance(q, c, p=1.0), l1),
    "l2": (lambda q, c: scores.negative_distance(q, c, p=2.0), l2),
    "moduli": (scores.negative_modulus_distance, moduli),
}


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_are_those_of_loops(name: str) -> None:
    fast, slow = COMPARISONS[name]
    shared = [[slow(q, c) for c in TABLE.tolist()] for q in QUERY.tolist()]
    own = [[slow(q, c) for c in row] for q, row in zip(QUERY.tolist(), OWN.tolist(), strict=True)]
    torch.testing.assert_close(fast(QUERY, TABLE), torch.tensor(shared, dtype=torch.float64))
    torch.testing.assert_close(fast(QUERY, OWN), torch.tensor(own, dtype=torch.float64))


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_have_gradients(name: str) -> None:
    fast, _ = COMPARISONS[name]
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    for shape in ((3, 4), (2, 3, 4)):
        candidates = torch.randn(shape, dtype=torch.float64, generator=generator)
        assert torch.autograd.gradcheck(fast, (query, candidates.requires_grad_()))


@pytest.mark.parametrize("name", ["l1", "l2", "moduli"])
def test_a_distance_of_zero_has_a_finite_gradient(name: str) -> None:
    fast, _ = COMPARISONS[name]
    query = QUERY.clone().requires_grad_()
    score = fast(query, QUERY.unsqueeze(1))
    assert score.tolist() == [[0.0], [0.0]]
    score.sum().backward()
    assert bool(torch.isfinite(query.grad).all())


@pytest.mark.parametrize("name", COMPARISONS)
@pytest.mark.parametrize(("num_queries", "num_candidates"), [(0, 3), (2, 0), (0, 0)])
def test_nothing_to_compare_gives_nothing(name: str, num_queries: int, num_candidates: int) -> None:
    fast, _ = COMPARISONS[name]
    assert fast(QUERY[:num_queries], TABLE[:num_candidates]).shape == (num_queries, num_candidates)


def test_chunks_of_candidates_join_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scores.negative_modulus_distance(QUERY, TABLE)
    monkeypatch.setattr(scores, "_CHUNK_ELEMENTS", 1)
    assert torch.equal(scores.negative_modulus_distance(QUERY, TABLE), whole)


def stored(numbers: list[complex]) -> Tensor:
    return torch.tensor([n.real for n in numbers] + [n.imag for n in numbers], dtype=torch.float64)


def test_complex_arithmetic_is_pythons() -> None:
    for left, right in ((QUERY[0], TABLE[1]), (QUERY[1], TABLE[2])):
        a, b = as_complex(left.tolist()), as_complex(right.tolist())
        product = stored([x * y for x, y in zip(a, b, strict=True)])
        torch.testing.assert_close(scores.complex_product(left, right), product)
        torch.testing.assert_close(
            scores.complex_conjugate(left), stored([x.conjugate() for x in a])
        )
        assert scores.complex_modulus(left).tolist() == pytest.approx([abs(x) for x in a])


def test_rotations_have_modulus_one_and_add_up() -> None:
    first, second = torch.tensor([0.3, -2.0]), torch.tensor([1.0, 4.0])
    turned = scores.complex_product(scores.rotation(first), scores.rotation(second))
    torch.testing.assert_close(turned, scores.rotation(first + second))
    torch.testing.assert_close(scores.complex_modulus(turned), torch.ones(2))
