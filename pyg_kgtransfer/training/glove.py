"""GloVe alone: AdaGrad over pairs of words, in a compiled loop where there is one."""

import logging
import math
import time
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pyg_kgtransfer.functional.losses import glove_weight
from pyg_kgtransfer.kernels.numba_engine import torch_threads, why_not
from pyg_kgtransfer.process import progress_bar
from pyg_kgtransfer.sources.cooccurrence import Cooccurrences
from pyg_kgtransfer.sources.word_vectors import WordVectors
from pyg_kgtransfer.training.loss_meter import NotFiniteError

log = logging.getLogger(__name__)
_BATCH = 4096  # pairs at a time where no loop is compiled
_GROUPS = 8  # of words: so many threads can learn side by side
_BLOCK_WORDS = 256  # whose vectors stay in the processor's cache
Tables = tuple[Tensor, ...]


@dataclass(frozen=True)
class GloVeTraining:
    """How GloVe is trained.

    Rate, ``x_max`` and passes suit corpora of millions of words; GloVe's paper has 0.05, 100 and 50
    or more for billions.

    Attributes:
        width: Width D of the vectors, at least 1.
        epochs: Passes over the pairs, at least 1.
        learning_rate: Of AdaGrad, above 0.
        x_max: Counts from which a pair weighs 1, above 0.
        exponent: Of rarer pairs' weights, above 0.
        seed: Of the start and of the order of pairs.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> GloVeTraining(width=50).epochs
        15
    """

    width: int = 100
    epochs: int = 15
    learning_rate: float = 0.1
    x_max: float = 10.0
    exponent: float = 0.75
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 (got {getattr(self, name)})")
        for name in ("learning_rate", "x_max", "exponent"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0 (got {getattr(self, name)})")


@dataclass(frozen=True, eq=False)
class GloVe:
    """Trained words.

    Attributes:
        vectors: The sum of both vectors of each word, as GloVe is used.
        word: [V, D] the vectors w.
        context: [V, D] the vectors u.
        biases: [2, V] of words and contexts.
        losses: The mean loss of each epoch.
        pairs_per_second: Over all epochs.
    """

    vectors: WordVectors
    word: Tensor
    context: Tensor
    biases: Tensor
    losses: tuple[float, ...]
    pairs_per_second: float


class GloVeInterrupted(KeyboardInterrupt):
    """Training was interrupted between two passes or within one; ``found`` is what was learned."""

    def __init__(self, found: GloVe) -> None:
        super().__init__(f"interrupted after {len(found.losses)} epochs")
        self.found = found


def train_glove(
    counts: Cooccurrences,
    options: GloVeTraining | None = None,
    *,
    start: WordVectors | None = None,
    progress: bool = False,
) -> GloVe:
    """Learn vectors of words from how often they stand together.

    Args:
        counts: Of a corpus.
        options: Defaults if ``None``.
        start: Vectors to begin from, of the same width; words that it lacks begin anew. Both
            vectors of a word begin at half of its own.
        progress: Show a bar of epochs on stderr, with the time left, where it is a terminal.

    Raises:
        ValueError: If there are no pairs, or ``start`` has another width or none of the words.
        NotFiniteError: If the loss is no longer finite.
        GloVeInterrupted: On Ctrl-C, after at least one epoch; it has what was learned so far.

    Source: Pennington, Socher and Manning 2014, "GloVe", eq. 8, and AdaGrad as their code has it:
    sums of squared gradients begin at 1.

    Example:
        >>> from pyg_kgtransfer.graph.vocabulary import Vocabulary
        >>> words = Vocabulary(["green", "tea", "wine"])
        >>> row, column = torch.tensor([0, 1]).int(), torch.tensor([1, 2]).int()
        >>> value = torch.tensor([9.0, 1.0])
        >>> counts = Cooccurrences(words, torch.tensor([9, 9, 1]), row, column, value)
        >>> found = train_glove(counts, GloVeTraining(width=4, epochs=3))
        >>> found.vectors.vectors.shape, found.losses[-1] < found.losses[0]
        (torch.Size([3, 4]), True)
    """
    options = GloVeTraining() if options is None else options
    row, column, value = counts.both_ways()
    if not len(row):
        raise ValueError("there must be pairs of words to learn from (got none)")
    tables = start_tables(counts, options, start)
    generator = torch.Generator().manual_seed(options.seed)
    weight = glove_weight(value, x_max=options.x_max, exponent=options.exponent)
    passes = (_BatchedPasses if why_not(torch.device("cpu")) else _CompiledPasses)(
        (row, column, value.log(), weight), tables, options.learning_rate
    )
    losses: list[float] = []
    begun = time.perf_counter()

    def found() -> GloVe:
        word, context, word_bias, context_bias = tables[:4]
        vectors = WordVectors(counts.words, word + context)
        biases = torch.stack([word_bias, context_bias])
        rate = len(losses) * len(row) / (time.perf_counter() - begun)
        return GloVe(vectors, word, context, biases, tuple(losses), rate)

    with progress_bar("epochs", options.epochs, show=progress) as advance:
        for epoch in range(1, options.epochs + 1):
            try:
                loss = passes.loss_of_one(generator) / len(row)
            except KeyboardInterrupt as error:
                if not losses:
                    raise
                raise GloVeInterrupted(found()) from error
            if not math.isfinite(loss):
                raise NotFiniteError(f"the loss must be finite (got {loss} in epoch {epoch})")
            losses.append(loss)
            log.info("epoch %d of %d: loss %.4f", epoch, options.epochs, loss)
            advance()
    return found()


def start_tables(
    counts: Cooccurrences,
    options: GloVeTraining,
    start: WordVectors | None = None,
) -> Tables:
    """What training begins from: w and u, both biases, then the sums of their squared gradients.

    Raises:
        ValueError: If ``start`` has another width or none of the words.
    """
    number, width = len(counts.words), options.width
    generator = torch.Generator().manual_seed(options.seed)
    word, context = (
        (torch.rand(number, width, generator=generator) - 0.5) / width for _ in range(2)
    )
    if start is not None:
        if start.vectors.shape[1] != width:
            raise ValueError(
                f"vectors to begin from must have the width {width} (got {start.vectors.shape[1]})"
            )
        place = start.words.positions_of(counts.words)
        known = place >= 0
        if not bool(known.any()):
            raise ValueError("vectors to begin from must be of words of the corpus (got none)")
        word[known] = context[known] = 0.5 * start.vectors[place[known]].float()
    tables = (word, context, torch.zeros(number), torch.zeros(number))
    return (*tables, *map(torch.ones_like, tables))


class _CompiledPasses:
    """Passes in a compiled loop, on all threads; the result is the same for any number of them.

    Words are dealt to groups, and in each to blocks of words of like frequency. The pairs of two
    blocks are a tile: its vectors stay in the processor's cache. Tiles of different groups of words
    and of contexts share no vector, so that they are learned side by side.

    Source: the groups are those of Gemulla et al. 2011, "Large-scale matrix factorization with
    distributed stochastic gradient descent", section 4.
    """

    def __init__(self, given: Tables, tables: Tables, rate: float) -> None:
        row, column = given[:2]
        self.rate = rate
        blocks = -(-len(tables[0]) // (_GROUPS * _BLOCK_WORDS))
        of_row, of_column = _Places.of(row), _Places.of(column)
        stratum = of_row.group * _GROUPS + of_column.group
        tile = (stratum * blocks + of_row.block) * blocks + of_column.block
        order = torch.argsort(tile, stable=True)
        sizes = torch.bincount(tile, minlength=_GROUPS**2 * blocks**2)
        self.tiles = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        self.strata = torch.arange(_GROUPS**2 + 1) * blocks**2
        self.visits = torch.arange(len(sizes))
        few = len(row) < 2**31
        self.order = torch.arange(len(row), dtype=torch.int32 if few else torch.int64)
        self.given = tuple(table[order] for table in given)
        self.tables = tables

    def loss_of_one(self, generator: torch.Generator) -> float:
        """The sum of the losses of one pass."""
        from pyg_kgtransfer.kernels.glove_loops import adagrad_pass, shuffle_tiles

        seed = int(torch.randint(2**31, (1,), generator=generator))
        tile = torch.rand(len(self.strata) - 1, int(self.strata[1]), generator=generator)
        self.visits = (tile.argsort(dim=1) + self.strata[:-1].unsqueeze(1)).view(-1)
        with torch_threads():
            shuffle_tiles(self.order.numpy(), self.tiles.numpy(), seed)
            loss = adagrad_pass(
                *(t.numpy() for t in (self.order, self.tiles, self.visits, self.strata)),
                tuple(table.numpy() for table in self.given),
                tuple(table.numpy() for table in self.tables),
                self.rate,
            )
        return float(loss)


class _Places(NamedTuple):
    """Group of each word, and block within it; frequent words have low ids."""

    group: Tensor
    block: Tensor

    @classmethod
    def of(cls, words: Tensor) -> "_Places":
        return cls(words % _GROUPS, words.div(_GROUPS * _BLOCK_WORDS, rounding_mode="floor"))


class _BatchedPasses:
    """The same by batches: the pairs of a batch see the vectors as they were before it."""

    def __init__(self, given: Tables, tables: Tables, rate: float) -> None:
        self.given, self.tables, self.rate = given, tables, rate

    def loss_of_one(self, generator: torch.Generator) -> float:
        """The sum of the losses of one pass."""
        word, context, word_bias, context_bias, *squares = self.tables
        total = 0.0
        order = torch.randperm(len(self.given[0]), generator=generator)
        for batch in order.split(_BATCH):
            row, column, logs, weight = (table[batch] for table in self.given)
            w, c = word[row], context[column]
            gap = (w * c).sum(1) + word_bias[row] + context_bias[column] - logs
            pull = weight * gap
            total += float((pull * gap).sum())
            for table, square, at, gradient in (
                (word, squares[0], row, pull.unsqueeze(1) * c),
                (context, squares[1], column, pull.unsqueeze(1) * w),
                (word_bias, squares[2], row, pull),
                (context_bias, squares[3], column, pull),
            ):
                table.index_add_(0, at, -self.rate * gradient / square[at].sqrt())
                square.index_add_(0, at, gradient.square())
        return total
