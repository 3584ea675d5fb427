"""Learning to tell true facts from others: negative sampling, 1-vs-all, k-vs-all, N3."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import embedding

from pyg_kgtransfer.functional import losses, sampling
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.models.encoder import Representations
from pyg_kgtransfer.models.kg_model import GraphModel, with_vectors
from pyg_kgtransfer.objectives.balance import AnswerWeights
from pyg_kgtransfer.objectives.objective import Batch, Objective

PairLoss = Callable[..., Tensor]


class NegativeSampling(Objective):
    """True triples against corrupted ones, tails and heads alike.

    Args:
        loss: From scores of true triples [B] and of corrupted ones [B, K] to a scalar:
            ``losses.softplus_loss``, or ``functools.partial(losses.margin_loss, margin=1.0)``, or
            ``functools.partial(losses.self_adversarial_loss, margin=9.0, temperature=1.0)``.
        num_negatives: K per side, at least 1.
        shared: Draw K candidates once for the whole batch (scoring becomes a matrix product)
            instead of K for each triple.
        known: Facts that never count as negatives ("filtered"); ``None`` keeps every draw.
        entity_weights: [N] chances of being drawn, at least 0; ``None``: uniform.
        with_self: The entity asked about is one more negative, (h, r, h) and (t, r, t), but where
            that is the fact. Hardly ever drawn, it comes before every answer where a distance
            takes a relation of like entities, say a symmetric one, for no step at all.
        answer_weights: How much each answer weighs: the tail in (h, r, ?), the head in (?, r, t).
            ``loss`` then takes ``weight=`` ([B]) and is a weighted mean, as those of ``losses``.

    Raises:
        ValueError: If ``num_negatives`` is below 1, or ``with_self`` goes with ``shared``.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> from pyg_kgtransfer.functional import losses
        >>> model = kgt.KGModel(kgt.Shallow(kgt.Lookup(2, 1), 1), kgt.TransE())
        >>> vectors = kgt.Representations(torch.tensor([[0.0], [5.0]]), torch.tensor([[5.0]]))
        >>> batch = kgt.Batch(torch.tensor([[0, 0, 1]]), torch.Generator().manual_seed(0))
        >>> known = kgt.KnownTriples([batch.triples], num_entities=2, num_relations=1)
        >>> objective = kgt.NegativeSampling(losses.softplus_loss, num_negatives=16, known=known)
        >>> round(objective(model, vectors, batch).item(), 1)  # log(2): the true fact scores 0
        0.7
    """

    def __init__(
        self,
        loss: PairLoss,
        *,
        num_negatives: int = 64,
        shared: bool = False,
        known: KnownTriples | None = None,
        entity_weights: Tensor | None = None,
        with_self: bool = False,
        answer_weights: AnswerWeights | None = None,
    ) -> None:
        super().__init__()
        if num_negatives < 1:
            raise ValueError(f"num_negatives must be at least 1 (got {num_negatives})")
        if with_self and shared:
            raise ValueError("with_self needs negatives of each triple (got shared ones)")
        self.loss = loss
        self.num_negatives = num_negatives
        self.shared = shared
        self.known = known
        self.with_self = with_self
        self.answer_weights = answer_weights
        self.register_buffer("entity_weights", entity_weights)

    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        head, relation, tail = batch.triples.unbind(1)
        num_entities = representations.entity.shape[0]
        tails, heads = (self._draw(batch, num_entities) for _ in range(2))
        if self.with_self:
            is_loop = head == tail  # these draw one again
            tails = torch.column_stack([tails, torch.where(is_loop, tails[:, 0], head)])
            heads = torch.column_stack([heads, torch.where(is_loop, heads[:, 0], tail)])
        asked, places = representations, [head, tail, tails, heads]
        if self.shared:
            with_vectors(model, "a draw of negatives for the whole batch")
            asked, places = representations.narrowed(*places)
        given_head, given_tail, drawn_tails, drawn_heads = places

        scores = partial(model.score_tails, asked, given_head, relation)
        positive, negative = self._scores(scores, given_tail, drawn_tails)
        negative = self._without_known(negative, head[:, None], relation[:, None], tails)
        weight = None if self.answer_weights is None else self.answer_weights(tail, relation)
        loss = _weighed(self.loss, positive, negative, weight)

        scores = partial(model.score_heads, asked, relation, given_tail)
        positive, negative = self._scores(scores, given_head, drawn_heads)
        negative = self._without_known(negative, heads, relation[:, None], tail[:, None])
        weight = None if self.answer_weights is None else self.answer_weights(head, relation)
        return 0.5 * (loss + _weighed(self.loss, positive, negative, weight))

    def _scores(
        self, scores: Callable[[Tensor], Tensor], answer: Tensor, drawn: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Of the true answers [B], and of the drawn ones [B, K]."""
        if self.shared:
            return scores(answer.unsqueeze(1)).squeeze(1), scores(drawn)
        both = scores(torch.cat([answer.unsqueeze(1), drawn], dim=1))
        return both[:, 0], both[:, 1:]

    def _draw(self, batch: Batch, num_entities: int) -> Tensor:
        number, generator = self.num_negatives, batch.generator
        shape = (number,) if self.shared else (len(batch.whole), number)
        weights = self.entity_weights
        if isinstance(weights, Tensor):
            drawn = sampling.weighted_candidates(shape, weights, generator=generator)
        else:
            drawn = sampling.uniform_candidates(shape, num_entities, generator=generator)
        return drawn if self.shared else batch.own(drawn)

    def _without_known(
        self, negative: Tensor, head: Tensor, relation: Tensor, tail: Tensor
    ) -> Tensor:
        """Known facts at -inf; a row that would lose every negative keeps them all."""
        if self.known is None:
            return negative
        triples = torch.stack(torch.broadcast_tensors(head, relation, tail), dim=-1)  # [B, K, 3]
        is_known = self.known.contains(triples)
        is_known &= ~is_known.all(dim=1, keepdim=True)
        return negative.masked_fill(is_known, -torch.inf)


class OneVsAll(Objective):
    """Softmax cross entropy of the true answer against all entities, tails and heads alike.

    Args:
        label_smoothing: In [0, 1).
        num_candidates: Take the softmax over this many sampled entities joined with the batch's
            own answers; for graphs too large for all of them. ``None``: all entities.
        answer_weights: How much each answer weighs: the tail in (h, r, ?), the head in (?, r, t).

    Source: Lacroix et al. 2018, arXiv 1806.07297, eq. 6-7; each triple is asked both ways.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> model = kgt.KGModel(kgt.Shallow(kgt.Lookup(2, 1), 1), kgt.TransE())
        >>> batch = kgt.Batch(torch.tensor([[0, 0, 1]]), torch.Generator())
        >>> for step in (0.0, 1.0, 5.0):  # with 5 the relation carries 0 to 1
        ...     vectors = kgt.Representations(torch.tensor([[0.0], [5.0]]), torch.tensor([[step]]))
        ...     print(round(kgt.OneVsAll()(model, vectors, batch).item(), 3))
        5.007
        3.049
        0.007
    """

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        num_candidates: int | None = None,
        answer_weights: AnswerWeights | None = None,
    ) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.num_candidates = num_candidates
        self.answer_weights = answer_weights

    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        head, relation, tail = batch.triples.unbind(1)
        whole, drawn = batch.whole, batch.generator
        candidates, tail_column = self._candidates(whole[:, 2], representations, drawn)
        tails = model.score_tails(representations, head, relation, candidates)
        candidates, head_column = self._candidates(whole[:, 0], representations, drawn)
        heads = model.score_heads(representations, relation, tail, candidates)
        loss = partial(losses.cross_entropy_loss, label_smoothing=self.label_smoothing)
        weigh = self.answer_weights
        of_tail, of_head = (
            None if weigh is None else weigh(answer, relation) for answer in (tail, head)
        )
        return 0.5 * (
            _weighed(loss, tails, batch.own(tail_column), of_tail)
            + _weighed(loss, heads, batch.own(head_column), of_head)
        )

    def _candidates(
        self, answers: Tensor, representations: Representations, generator: torch.Generator
    ) -> tuple[Tensor | None, Tensor]:
        """The candidates ([K] or all) and each answer's column among them ([B'])."""
        num_entities = representations.entity.shape[0]
        if self.num_candidates is None or self.num_candidates >= num_entities:
            return None, answers
        drawn = sampling.uniform_candidates(
            (self.num_candidates,), num_entities, generator=generator
        )
        candidates = torch.unique(torch.cat([drawn, answers]))
        return candidates, torch.searchsorted(candidates, answers.contiguous())


def _weighed(loss: PairLoss, scores: Tensor, other: Tensor, weight: Tensor | None) -> Tensor:
    """The mean over the batch of weight times loss; weights need not average 1 within a batch."""
    if weight is None:
        return loss(scores, other)
    return weight.mean() * loss(scores, other, weight=weight)


class KvsAll(Objective):
    """Binary cross entropy of all entities against all known answers of each query of the batch.

    Args:
        known: The training facts; every answer they give to a query of the batch is a 1.
        label_smoothing: In [0, 1).

    Source: Dettmers et al. 2018, arXiv 1707.01476, section 4 ("1-N scoring").

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> model = kgt.KGModel(kgt.Shallow(kgt.Lookup(2, 1), 1), kgt.TransE())
        >>> vectors = kgt.Representations(torch.tensor([[0.0], [9.0]]), torch.tensor([[9.0]]))
        >>> batch = kgt.Batch(torch.tensor([[0, 0, 1]]), torch.Generator())
        >>> known = kgt.KnownTriples([batch.triples], num_entities=2, num_relations=1)
        >>> round(kgt.KvsAll(known)(model, vectors, batch).item(), 3)  # a score of 0: even odds
        0.347
    """

    def __init__(self, known: KnownTriples, *, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.known = known
        self.label_smoothing = label_smoothing

    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        asked = torch.unique(batch.whole[:, :2], dim=0)
        queries, number = batch.own_of(asked)
        tails = model.score_tails(representations, queries[:, 0], queries[:, 1])
        loss = self._loss(tails, *self.known.tails(queries[:, 0], queries[:, 1]))
        loss = batch.as_part(loss, number, len(asked))
        asked = torch.unique(batch.whole[:, 1:], dim=0)
        queries, number = batch.own_of(asked)
        heads = model.score_heads(representations, queries[:, 0], queries[:, 1])
        of_head = self._loss(heads, *self.known.heads(queries[:, 0], queries[:, 1]))
        return 0.5 * (loss + batch.as_part(of_head, number, len(asked)))

    def _loss(self, scores: Tensor, row: Tensor, entity: Tensor) -> Tensor:
        labels = torch.zeros_like(scores)
        labels[row, entity] = 1.0
        return losses.multi_label_loss(scores, labels, label_smoothing=self.label_smoothing)


class N3(Objective):
    """The nuclear 3-norm of the vectors that score the batch; weigh it in a ``Mixture``.

    Source: Lacroix et al. 2018, arXiv 1806.07297, eq. 8. A reciprocal model's inverse relation
    vectors are counted as well, each with half the weight.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> model = kgt.KGModel(kgt.Shallow(kgt.Lookup(2, 1), 1), kgt.DistMult())
        >>> vectors = kgt.Representations(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0]]))
        >>> batch = kgt.Batch(torch.tensor([[0, 0, 1]]), torch.Generator())
        >>> kgt.N3()(model, vectors, batch).item()  # |h|^3 + |r|^3 + |t|^3
        10.0
    """

    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        head, relation, tail = batch.triples.unbind(1)
        model = with_vectors(model, "N3")
        relations, decoder = representations.relation, model.decoder
        of_relation = losses.n3_penalty(decoder.moduli(embedding(relation, relations)))
        if model.reciprocal:
            inverse = embedding(relation + relations.shape[0] // 2, relations)
            of_relation = 0.5 * (of_relation + losses.n3_penalty(decoder.moduli(inverse)))
        return of_relation + losses.n3_penalty(
            decoder.moduli(representations.rows(head)), decoder.moduli(representations.rows(tail))
        )
