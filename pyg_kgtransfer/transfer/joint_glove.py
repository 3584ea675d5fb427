"""Facts and words learned together in one space, a gradient of both in each step."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.models.inputs import Lookup
from pyg_kgtransfer.models.kg_model import with_vectors
from pyg_kgtransfer.objectives.glove import GloVeObjective, GloVeOptions, word_width
from pyg_kgtransfer.objectives.objective import Mixture
from pyg_kgtransfer.sources.cooccurrence import Cooccurrences
from pyg_kgtransfer.sources.entity_words import By, entity_words
from pyg_kgtransfer.sources.word_vectors import WordVectors
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.training.glove import GloVeTraining, start_tables, train_glove
from pyg_kgtransfer.transfer.ranking import alone
from pyg_kgtransfer.transfer.recipe import (
    Recipe,
    checkpoint_of,
    fit,
    fresh_model,
    task_objective,
    training_device,
)


@dataclass(frozen=True)
class JointGloVeConfig:
    """How facts and words share the training: L = alpha L_link + (1 - alpha) L_words.

    Attributes:
        alpha: Weight of the facts at first, in [0, 1].
        final_alpha: At the end, reached linearly; ``None``: as at first.
        by: Which words are an entity's, see ``entity_words``.
        accents: Accents matter where words and labels are compared.
        word_rate: Learning rate of words, as a multiple of the model's; above 0.
        warm_epochs: Passes over all pairs before, of words alone; at least 0. After them, or where
            vectors to begin from are given, entities begin at the mean of their words.
        words: The words' loss, and how words meet entities.

    Raises:
        ValueError: If a weight is out of range.

    Example:
        >>> JointGloVeConfig(alpha=0.9, final_alpha=1.0).words.mode
        'tied'
    """

    alpha: float = 0.5
    final_alpha: float | None = None
    by: By = "tokens"
    accents: bool = True
    word_rate: float = 0.2
    warm_epochs: int = 15
    words: GloVeOptions = field(default_factory=GloVeOptions)

    def __post_init__(self) -> None:
        for name in ("alpha", "final_alpha"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} must be in [0, 1] (got {value})")
        if self.warm_epochs < 0:
            raise ValueError(f"warm_epochs must be at least 0 (got {self.warm_epochs})")
        if not self.word_rate > 0:
            raise ValueError(f"word_rate must be above 0 (got {self.word_rate})")


class JointGloVe(NamedTuple):
    """What joint training gives.

    Attributes:
        checkpoint: The model of the facts.
        vectors: Of the words, the sum of both vectors of each; in shared mode the first one of a
            word that is an entity is the entity's.
        covered: Entities that have words.
    """

    checkpoint: Checkpoint
    vectors: WordVectors
    covered: int


def joint_glove(
    target: Split,
    counts: Cooccurrences,
    *,
    recipe: Recipe | None = None,
    config: JointGloVeConfig | None = None,
    labels: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
    start: WordVectors | None = None,
    run_dir: Path | None = None,
) -> JointGloVe:
    """Train a model of facts and vectors of words in one space.

    Words meet entities in the real half of a complex decoder's vectors (ComplEx, RotatE), in all of
    the others'.

    Args:
        target: Trains on its facts; its validation facts select the weights, of words too.
        counts: How often words stand together.
        recipe: Any encoder and decoder.
        config: Weights; defaults if ``None``.
        labels: What each entity is called; ``None``: the graph's labels.
        texts: What is said of each entity, where ``config.by`` is ``"text"`` or
            ``"table"``.
        start: Word vectors to begin from, of the words' width; others begin anew.
        run_dir: Where the log and the resume checkpoint go; ``None``: nowhere.

    Raises:
        ValueError: If no entity has a word, ``start`` has another width, or texts are not given
            where they are wanted.

    Source: Pennington, Socher and Manning 2014, "GloVe", for the words' loss.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [("Athens", "in", "Greece"), ("Rome", "in", "Italy")]
        >>> split = kgt.random_split(kgt.KnowledgeGraph.from_names(facts, name="world"), 0.0, 0.0)
        >>> words = kgt.Vocabulary(["athens", "rome", "city"])
        >>> row, column = torch.tensor([0, 1]).int(), torch.tensor([2, 2]).int()
        >>> counts = kgt.Cooccurrences(words, torch.tensor([5, 5, 9]), row, column, torch.ones(2))
        >>> training = kgt.TrainConfig(epochs=1, progress=False, accelerator="cpu")
        >>> recipe = kgt.Recipe(kgt.ModelConfig(encoder="shallow", width=8), training=training)
        >>> found = kgt.joint_glove(split, counts, recipe=recipe)
        >>> found.covered, found.vectors.vectors.shape  # ComplEx: the real half
        (2, torch.Size([3, 4]))
    """
    recipe = Recipe() if recipe is None else recipe
    config = JointGloVeConfig() if config is None else config
    graph = target.train
    called = [graph.label(i) for i in range(graph.num_entities)] if labels is None else labels
    words = entity_words(
        called,
        counts.words,
        by=config.by,
        texts=texts,
        counts=counts.counts,
        accents=config.accents,
    )
    linked = alone(graph)
    model = with_vectors(fresh_model(recipe, linked), "joint training with words")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        width = word_width(model.decoder, recipe.model.width)
        glove = GloVeObjective(counts, words, width, config.words)
    if config.warm_epochs or start is not None:
        glove.begin_with(*_words_first(counts, width, recipe, config, start))
        if isinstance(model.encoder.inputs, Lookup):
            glove.begin_entities(model.encoder.inputs.weight)
    glove.to(training_device(recipe.training))
    last = config.alpha if config.final_alpha is None else config.final_alpha
    objective = Mixture(
        {"link": task_objective(recipe, linked), "glove": glove},
        {"link": config.alpha, "glove": 1 - config.alpha},
        final_weights={"link": last, "glove": 1 - last},
    )
    rate = config.word_rate * recipe.training.learning_rate
    history = fit(
        model,
        objective,
        linked,
        recipe=recipe,
        splits=[target],
        run_dir=run_dir,
        parameter_groups=[
            {"params": list(model.parameters())},
            {"params": list(glove.parameters()), "lr": rate},
        ],
    )
    notes = {"joint_glove": asdict(config)}
    checkpoint = checkpoint_of(model, linked, history, recipe, notes=notes)
    encoded = checkpoint.model.encode(checkpoint.graph.tensors())
    vectors = glove.cpu().word_vectors(encoded)
    return JointGloVe(checkpoint, vectors, int(words.covered.sum()))


def _words_first(
    counts: Cooccurrences,
    width: int,
    recipe: Recipe,
    config: JointGloVeConfig,
    start: WordVectors | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors w and u and biases of words before facts join: given ones, learned on alone."""
    options = GloVeTraining(
        width,
        epochs=max(1, config.warm_epochs),
        x_max=config.words.x_max,
        exponent=config.words.exponent,
        seed=recipe.training.seed,
    )
    if config.warm_epochs:
        found = train_glove(counts, options, start=start, progress=recipe.training.progress)
        return found.word, found.context, found.biases
    word, context, *biases = start_tables(counts, options, start)[:4]
    return word, context, torch.stack(biases)
