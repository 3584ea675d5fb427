"""Words that stand together, learned in the space of the entities (GloVe beside a KGE loss)."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from pyg_kgtransfer.functional.losses import glove_loss, glove_weight
from pyg_kgtransfer.models.decoders import Decoder
from pyg_kgtransfer.models.encoder import Representations
from pyg_kgtransfer.models.kg_model import GraphModel
from pyg_kgtransfer.objectives.objective import Batch, Objective
from pyg_kgtransfer.sources.cooccurrence import Cooccurrences
from pyg_kgtransfer.sources.entity_words import EntityWords
from pyg_kgtransfer.sources.word_vectors import WordVectors

Mode = Literal["tied", "shared"]
Map = Literal["identity", "learned"]


@dataclass(frozen=True)
class GloVeOptions:
    """How words are learned, and how they meet entities.

    Attributes:
        mode: ``"tied"``: words have vectors of their own, and entities are pulled to the mean of
            their words'. ``"shared"``: the only word of an entity has the entity's vector; entities
            of several words are tied.
        map: Of a tie, from words to entities: ``"identity"``, or ``"learned"``: a linear map that
            starts there, or at the multiple of it that has the entities' size.
        tie: lambda, the weight of the ties, at least 0.
        sample_size: Pairs of words in each step, at least 1.
        tie_size: Ties in each step, at most; at least 1.
        x_max: Counts from which a pair weighs 1, above 0.
        exponent: Of rarer pairs' weights, (x / x_max) ^ exponent, above 0.

    Raises:
        ValueError: If an option is unknown or a number out of range.

    Example:
        >>> GloVeOptions(mode="shared").x_max
        10.0
    """

    mode: Mode = "tied"
    map: Map = "learned"
    tie: float = 0.1
    sample_size: int = 8192
    tie_size: int = 512
    x_max: float = 10.0
    exponent: float = 0.75

    def __post_init__(self) -> None:
        for name, known in (("mode", Mode), ("map", Map)):
            if getattr(self, name) not in get_args(known):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(known))} "
                    f"(got {getattr(self, name)!r})"
                )
        if not self.tie >= 0:
            raise ValueError(f"tie must be at least 0 (got {self.tie})")
        for name in ("sample_size", "tie_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 (got {getattr(self, name)})")
        for name in ("x_max", "exponent"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0 (got {getattr(self, name)})")


def word_width(decoder: Decoder, entity_width: int) -> int:
    """How wide word vectors are: D, or D / 2 beside complex entities, whose real halves they meet.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> word_width(kgt.TransE(), 8), word_width(kgt.ComplEx(), 8)
        (8, 4)
    """
    width: int = decoder.moduli(torch.zeros(1, entity_width)).shape[1]
    return width


class GloVeObjective(Objective):
    """f(X_ij) (w_i . u_j + b_i + c_j - log X_ij)^2 over a sample of pairs, and ties to entities.

    Pairs are drawn in proportion to f(X_ij): the same in expectation as to weigh pairs drawn alike,
    most of which hardly count.

    The tie is lambda times the mean of |e - M w|^2 over a sample of the entities that have words,
    with facts or without, w the mean of their words' vectors (w + u of each, as GloVe is used); of
    complex entities e is the real half.

    Args:
        counts: How often words stand together.
        entity_words: Which words are which entities, rows of the graph that is encoded.
        width: Of word vectors, see ``word_width``.
        options: Defaults if ``None``.

    Attributes:
        word: [V, width] the vectors w.
        context: [V, width] the vectors u.

    Raises:
        ValueError: If the words of the two are not the same.

    Source: Pennington, Socher and Manning 2014, "GloVe", eq. 8 and 9.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> words = kgt.Vocabulary(["athens", "greece"])
        >>> one, other = torch.tensor([0]).int(), torch.tensor([1]).int()
        >>> counts = kgt.Cooccurrences(words, torch.tensor([9, 9]), one, other, torch.ones(1))
        >>> found = kgt.entity_words(["Athens", "Greece"], words)
        >>> model = kgt.KGModel(kgt.Shallow(kgt.Lookup(2, 4), 1), kgt.TransE())
        >>> vectors = kgt.Representations(torch.zeros(2, 4), torch.zeros(1, 4))
        >>> batch = kgt.Batch(torch.tensor([[0, 0, 1]]), torch.Generator())
        >>> sorted(kgt.GloVeObjective(counts, found, 4).terms(model, vectors, batch))
        ['tie', 'words']
    """

    row: Tensor
    column: Tensor
    value: Tensor
    upto: Tensor
    entity_of: Tensor
    tied: Tensor

    def __init__(
        self,
        counts: Cooccurrences,
        entity_words: EntityWords,
        width: int,
        options: GloVeOptions | None = None,
    ) -> None:
        super().__init__()
        if counts.words != entity_words.words:
            raise ValueError(
                f"counts and entities must have the same words (got {len(counts.words):,} and "
                f"{len(entity_words.words):,}, or others)"
            )
        self.options = GloVeOptions() if options is None else options
        self.entity_words, number = entity_words, len(counts.words)
        row, column, value = counts.both_ways()
        weight = glove_weight(value, x_max=self.options.x_max, exponent=self.options.exponent)
        upto = weight.double().cumsum(0)
        for name, table in {"row": row, "column": column, "value": value, "upto": upto}.items():
            self.register_buffer(name, table, persistent=False)
        self.register_buffer("entity_of", entity_words.entity_of, persistent=False)
        self.register_buffer("tied", _tied(entity_words, self.options.mode), persistent=False)
        self.word, self.context = (
            nn.Parameter((torch.rand(number, width) - 0.5) / width) for _ in range(2)
        )
        self.word_bias, self.context_bias = (nn.Parameter(torch.zeros(number)) for _ in range(2))
        learned = self.options.map == "learned"
        self.map = nn.Parameter(torch.eye(width)) if learned else None

    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        return torch.stack(list(self.terms(model, representations, batch).values())).sum()

    def terms(
        self, model: GraphModel, representations: Representations, batch: Batch
    ) -> dict[str, Tensor]:
        """``words``, the loss of GloVe, and ``tie``, weighted, where ties weigh more than 0."""
        drawn = self._pairs(batch.generator)
        row, column = self.row[drawn].long(), self.column[drawn].long()
        score = (self._vectors(representations, row) * embedding(column, self.context)).sum(1)
        score = score + self.word_bias[row] + self.context_bias[column]
        weight = self.upto[-1:].to(score) / len(self.row)
        terms = {"words": glove_loss(score, self.value[drawn], weight)}
        if self.options.tie:
            terms["tie"] = self.options.tie * self._tie(representations, batch.generator)
        return terms

    def _pairs(self, generator: torch.Generator) -> Tensor:
        """A sample, by weight, ascending: neighbours are found in the processor's cache."""
        place = torch.rand(
            self.options.sample_size,
            generator=generator,
            device=generator.device,
            dtype=torch.double,
        )
        found = torch.searchsorted(self.upto, place.sort().values * self.upto[-1])
        return found.clamp(max=len(self.row) - 1)

    @torch.no_grad()
    def begin_with(self, word: Tensor, context: Tensor, biases: Tensor) -> None:
        """Take vectors w and u ([V, width]) and biases ([2, V]) of all words."""
        for parameter, given in (
            (self.word, word),
            (self.context, context),
            (self.word_bias, biases[0]),
            (self.context_bias, biases[1]),
        ):
            parameter.copy_(given)

    @torch.no_grad()
    def begin_entities(self, table: Tensor) -> None:
        """Put entities that have words at the mean of theirs, [N, D] in place.

        Tied under a learned map, the means are brought to the size that the vectors have, and the
        map begins there. In shared mode an entity that is a word begins at that word's w. Complex
        entities keep their imaginary half.
        """
        covered = self.entity_words.covered.to(table.device)
        means = self.entity_words.means(self.word + self.context)[covered]
        width = means.shape[1]
        if self.map is not None and self.options.mode == "tied":
            scale = table.square().mean().sqrt() / means.square().mean().sqrt().clamp(min=1e-12)
            self.map.copy_(scale * torch.eye(width, device=table.device))
            means = scale * means
        table[covered, :width] = means.to(table)
        if self.options.mode == "shared":
            is_own = self.entity_of >= 0
            table[self.entity_of[is_own], :width] = self.word[is_own].to(table)

    @torch.no_grad()
    def word_vectors(self, representations: Representations) -> WordVectors:
        """W + u of each word."""
        vectors = self._every(representations) + self.context
        return WordVectors(self.entity_words.words, vectors.detach())

    def _every(self, representations: Representations) -> Tensor:
        """The vectors w of all words, [V, width]."""
        if self.options.mode == "tied":
            return self.word
        every = torch.arange(len(self.word), device=self.word.device)
        return self._vectors(representations, every)

    def _vectors(self, representations: Representations, ids: Tensor) -> Tensor:
        """The vectors w of words, [P] to [P, width]; in shared mode an entity's if one is it."""
        own = embedding(ids, self.word)
        if self.options.mode == "tied":
            return own
        entity = self.entity_of[ids]
        shared = representations.rows(entity.clamp(min=0))[:, : self.word.shape[1]]
        return torch.where((entity >= 0).unsqueeze(1), shared, own)

    def _tie(self, representations: Representations, generator: torch.Generator) -> Tensor:
        ids, size = self.tied, self.options.tie_size
        if not len(ids):
            return self.word.new_zeros(())
        if len(ids) > size:
            drawn = torch.randint(len(ids), (size,), generator=generator, device=generator.device)
            ids = ids[drawn]
        mean = self._means(representations, ids)
        if self.map is not None:
            mean = mean @ self.map
        entity = representations.rows(ids)[:, : mean.shape[1]]
        return (entity - mean).square().sum(1).mean()

    def _means(self, representations: Representations, ids: Tensor) -> Tensor:
        """The mean w + u of the words of entities, [P] to [P, width]."""
        return self.entity_words.means(self._every(representations) + self.context, ids)


def _tied(entity_words: EntityWords, mode: Mode) -> Tensor:
    """Entities that are pulled to their words; in shared mode not those that are their word."""
    tied = entity_words.covered
    if mode == "shared":
        own = entity_words.entity_of
        tied[own[own >= 0]] = False
    return tied.nonzero().view(-1)
