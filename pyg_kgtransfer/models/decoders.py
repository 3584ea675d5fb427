"""Decoders: from entity and relation vectors to the plausibility of a triple.

A decoder states two queries and one comparison. The score of a triple, of all tails (or heads) and
of sampled negatives follow from the same lines. Higher is always more plausible.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from pyg_kgtransfer.functional import scores
from pyg_kgtransfer.kernels.pair_scores import Pairing, score_all, score_own

_MOST_ROWS = 1 << 16  # that the size of fresh vectors follows


class Decoder(nn.Module, ABC):
    """What a decoder of your own must offer; pass the object to ``KGModel``.

    Entity vectors have width D; relation vectors have width ``relation_width(D)``, R of them, or 2R
    where the model is reciprocal. A query may have any width that ``compare`` understands.

    Attributes:
        needs_reciprocal: Whether it has no query for heads, so that a model must answer them with
            inverse relations.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> class SquaredTransE(kgt.Decoder):
        ...     def tail_query(self, head, relation):
        ...         return head + relation
        ...     def head_query(self, relation, tail):
        ...         return tail - relation
        ...     def compare(self, query, candidates):
        ...         return -(query.unsqueeze(1) - candidates).square().sum(-1)
        >>> model = kgt.KGModel(kgt.Shallow(kgt.Lookup(3, 1), 1), SquaredTransE())
        >>> entities = torch.tensor([[0.0], [2.0], [3.0]])
        >>> vectors = kgt.Representations(entities, torch.tensor([[1.0]]))
        >>> model.score_tails(vectors, torch.tensor([0]), torch.tensor([0])).tolist()
        [[-1.0, -1.0, -4.0]]
    """

    needs_reciprocal = False

    @abstractmethod
    def tail_query(self, head: Tensor, relation: Tensor) -> Tensor:
        """What (head, relation, ?) asks for: [B, D], [B, D'] -> [B, Q]."""

    @abstractmethod
    def head_query(self, relation: Tensor, tail: Tensor) -> Tensor:
        """What (?, relation, tail) asks for: [B, D'], [B, D] -> [B, Q]."""

    @abstractmethod
    def compare(self, query: Tensor, candidates: Tensor) -> Tensor:
        """Scores of candidates [N, D] -> [B, N], or [B, K, D] -> [B, K]; higher is better."""

    def compare_rows(self, query: Tensor, table: Tensor, index: Tensor) -> Tensor:
        """Scores of each query's own candidates, rows of a table: [B, D], [N, D], [B, K] -> [B, K].

        Override it where they can be scored without a [B, K, D] of their vectors.
        """
        return self.compare(query, table[index])

    def relation_width(self, entity_width: int) -> int:
        """The width D' of relation vectors for entity vectors of width D."""
        return entity_width

    def check_width(self, entity_width: int) -> None:
        """Refuse an entity width that this decoder cannot use.

        Raises:
            ValueError: If the width does not fit.
        """

    def relation_between(self, head: Tensor, tail: Tensor) -> Tensor | None:
        """A relation vector for pairs of entities ([K, D] each), in closed form: [D'].

        ``None`` where this decoder has none.
        """
        return None

    def moduli(self, vector: Tensor) -> Tensor:
        """Sizes of the numbers in a vector, for norms: [*, D] -> [*, D] or, complex, [*, D / 2]."""
        return vector.abs()

    @torch.no_grad()
    def initialise(self, entity: Tensor | None, relation: Tensor | None) -> None:
        """Fill fresh tables ([N, D] and [R, D'] or [2R, D']) in place; default: Xavier normal.

        Xavier takes a table's rows for outputs, so that vectors begin the nearer to zero the more
        entities there are, and hardly move where there are millions: more rows than 2^16 count as
        so many (differs from common practice).
        """
        for table in (entity, relation):
            if table is not None:
                table.normal_(std=xavier_scale(table))


def xavier_scale(table: Tensor) -> float:
    """The standard deviation of fresh vectors in a table ([N, D]): sqrt(2 / (N + D)), N <= 2^16.

    Source: Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward
    neural networks", AISTATS, eq. 16; the bound on N is ours.
    """
    return math.sqrt(2.0 / (min(len(table), _MOST_ROWS) + table.shape[1]))


def paired_scores(query: Tensor, candidates: Tensor, pairing: Pairing) -> Tensor:
    """A score of two vectors, of candidates [N, D] -> [B, N], or [B, K, D] -> [B, K]."""
    if candidates.dim() == 2:
        return score_all(query, candidates, pairing)
    batch, each, width = candidates.shape
    own = torch.arange(batch * each, device=query.device).view(batch, each)
    return score_own(query, candidates.reshape(-1, width), own, pairing)


class _Paired(Decoder):
    """Decoders whose comparison is a score of two vectors that ``kernels.pair_scores`` knows."""

    pairing: Pairing

    def compare(self, query: Tensor, candidates: Tensor) -> Tensor:
        return paired_scores(query, candidates, self.pairing)

    def compare_rows(self, query: Tensor, table: Tensor, index: Tensor) -> Tensor:
        return score_own(query, table, index, self.pairing)


class TransE(_Paired):
    """-||h + r - t||_p.

    Args:
        p: 1 or 2.

    Raises:
        ValueError: If p is neither 1 nor 2.

    Source: Bordes et al. 2013, "Translating Embeddings for Modeling Multi-relational Data", eq. 1.
    Entity vectors are not normalised (the paper does so each step; later work found no need).

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> athens, capital_of, greece = torch.tensor([[[1.0, 2.0]], [[1.0, 1.0]], [[2.0, 3.5]]])
        >>> decoder = kgt.TransE(p=1)
        >>> decoder.compare(decoder.tail_query(athens, capital_of), greece).item()  # 0 is best
        -0.5
    """

    def __init__(self, *, p: int = 1) -> None:
        super().__init__()
        if p not in (1, 2):
            raise ValueError(f"TransE needs p of 1 or 2 (got {p!r})")
        self.p = p
        self.pairing = Pairing.L1 if p == 1 else Pairing.L2

    def tail_query(self, head: Tensor, relation: Tensor) -> Tensor:
        return head + relation

    def head_query(self, relation: Tensor, tail: Tensor) -> Tensor:
        return tail - relation

    def relation_between(self, head: Tensor, tail: Tensor) -> Tensor:
        """The mean step, which has the least squared error."""
        return (tail - head).mean(0)

    def extra_repr(self) -> str:
        return f"p={self.p}"

    @torch.no_grad()
    def initialise(self, entity: Tensor | None, relation: Tensor | None) -> None:
        for table in (entity, relation):
            if table is not None:
                bound = 6.0 / math.sqrt(table.shape[-1])
                table.uniform_(-bound, bound)


class DistMult(_Paired):
    """<h, r, t>, the sum of products. It scores (h, r, t) and (t, r, h) alike.

    Source: Yang et al. 2015, arXiv 1412.6575, eq. 2 with a diagonal relation matrix.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> athens, twinned, rome = torch.tensor([[[1.0, 2.0]], [[1.0, 1.0]], [[3.0, 4.0]]])
        >>> decoder = kgt.DistMult()
        >>> decoder.compare(decoder.tail_query(athens, twinned), rome).item()
        11.0
        >>> decoder.compare(decoder.tail_query(rome, twinned), athens).item()
        11.0
    """

    pairing = Pairing.DOT

    def tail_query(self, head: Tensor, relation: Tensor) -> Tensor:
        return head * relation

    def head_query(self, relation: Tensor, tail: Tensor) -> Tensor:
        return tail * relation

    def relation_between(self, head: Tensor, tail: Tensor) -> Tensor:
        """The mean product: of all vectors of its length it gives the pairs the highest score."""
        return (head * tail).mean(0)


class _Complex(_Paired):
    """Shared by decoders whose entities are complex: D is even."""

    def check_width(self, entity_width: int) -> None:
        if entity_width % 2:
            raise ValueError(
                f"{type(self).__name__} stores complex vectors as real and imaginary halves, "
                f"so the width must be even (got {entity_width})"
            )

    def moduli(self, vector: Tensor) -> Tensor:
        return scores.complex_modulus(vector)


class ComplEx(_Complex):
    """Re(<h, r, conj(t)>).

    Source: Trouillon et al. 2016, arXiv 1606.06357, eq. 11. Width D holds D / 2 complex numbers.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> athens, capital_of, greece = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 1.0]]])
        >>> decoder = kgt.ComplEx()  # 1, i and i: a real and an imaginary half each
        >>> decoder.compare(decoder.tail_query(athens, capital_of), greece).item()
        1.0
        >>> decoder.compare(decoder.tail_query(greece, capital_of), athens).item()
        -1.0
    """

    pairing = Pairing.DOT

    def tail_query(self, head: Tensor, relation: Tensor) -> Tensor:
        return scores.complex_product(head, relation)

    def head_query(self, relation: Tensor, tail: Tensor) -> Tensor:
        return scores.complex_product(tail, scores.complex_conjugate(relation))

    def relation_between(self, head: Tensor, tail: Tensor) -> Tensor:
        """The mean of conj(h) t, likewise."""
        return scores.complex_product(scores.complex_conjugate(head), tail).mean(0)


class RotatE(_Complex):
    """-sum_d |h_d r_d - t_d| with r_d = exp(i phase_d); relation vectors are D / 2 phases.

    Source: Sun et al. 2019, arXiv 1902.10197, eq. 4; the distance sums the complex moduli, as the
    authors' code does.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> athens, greece = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])  # 1 and i
        >>> quarter_turn = torch.tensor([[torch.pi / 2]])  # it carries Athens to Greece: 0 is best
        >>> decoder = kgt.RotatE()
        >>> abs(round(decoder.compare(decoder.tail_query(athens, quarter_turn), greece).item(), 3))
        0.0
    """

    pairing = Pairing.MODULUS

    def relation_width(self, entity_width: int) -> int:
        return entity_width // 2

    def tail_query(self, head: Tensor, relation: Tensor) -> Tensor:
        return scores.complex_product(head, scores.rotation(relation))

    def head_query(self, relation: Tensor, tail: Tensor) -> Tensor:
        return scores.complex_product(tail, scores.rotation(-relation))

    def relation_between(self, head: Tensor, tail: Tensor) -> Tensor:
        """The phase of the mean of conj(h) t, which has the least squared error."""
        turn = scores.complex_product(scores.complex_conjugate(head), tail).mean(0)
        real, imaginary = turn.chunk(2)
        return torch.atan2(imaginary, real)

    @torch.no_grad()
    def initialise(self, entity: Tensor | None, relation: Tensor | None) -> None:
        if entity is not None:
            bound = math.sqrt(3.0) * xavier_scale(entity)
            entity.uniform_(-bound, bound)
        if relation is not None:
            relation.uniform_(-math.pi, math.pi)
