"""Probabilities for a trained model's scores, from validation facts and their corruptions."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyg_kgtransfer.evaluation.calibration import (
    brier_score,
    expected_calibration_error,
    fit_by_relation,
    fit_calibration,
    fit_isotonic,
    reliability,
)
from pyg_kgtransfer.evaluation.streaming import score_triples
from pyg_kgtransfer.evaluation.triple_classification import LabelledTriples
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.models.calibration import Calibrator
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.ranking import place_in

METHODS = ("platt", "isotonic", "relation")
_TRIES = 100


class Calibrated(NamedTuple):
    """Probabilities, and how far they can be believed.

    Attributes:
        calibration: From scores to probabilities.
        metrics: On test facts and corruptions of theirs, where there are test facts: ``ece``, the
            expected calibration error, and ``brier``, both in [0, 1], lower is better; ``raw.``
            before them: of the logistic function of the raw scores.
        reliability: Of the test probabilities, by bins of equal width.
        raw_reliability: The same of the logistic function of the raw scores.
        learned_from: ``method``, ``graph``, ``facts`` (of validation) and ``corruptions`` of each.
    """

    calibration: Calibrator
    metrics: dict[str, float]
    reliability: list[dict[str, float]]
    raw_reliability: list[dict[str, float]]
    learned_from: dict[str, Any]

    def kept_in(self, checkpoint: Checkpoint) -> Checkpoint:
        """The checkpoint with this calibration, and in its metrics what it was learned from.

        Args:
            checkpoint: The one that was calibrated; it stays as it is, and so does its ``id``.
        """
        metrics = {**checkpoint.metrics, "calibration": {**self.learned_from, **self.metrics}}
        return replace(checkpoint, metrics=metrics, calibration=self.calibration)


def calibrate(
    checkpoint: Checkpoint,
    split: Split,
    *,
    method: str = "platt",
    corruptions: int = 1,
    seed: int = 0,
    memory_mb: float = 512,
) -> Calibrated:
    """Learn what a score is worth.

    The probabilities hold where one fact comes to ``corruptions`` false triples, each a fact with
    its head or tail replaced by any other entity of the target. Scores are those of tail queries,
    ``model.score``, whichever end is replaced. Among false triples that were picked for being
    plausible the probabilities are too high: ``benchmarks/calibration.py`` measures by how much.

    Args:
        checkpoint: Trained on the split's graph, alone or among others.
        split: Its validation facts are learned from.
        method: ``"platt"`` (a slope and an intercept), ``"isotonic"`` (any rise; for
            some hundreds of facts and more) or ``"relation"`` (a slope and an intercept for each
            relation, near those of all where a relation has few facts).
        corruptions: Of each fact, at least 1.
        seed: Of the corruptions.
        memory_mb: Budget for a chunk of facts, in MiB.

    Raises:
        ValueError: If there are no validation facts, an option is out of range, or the checkpoint
            was not trained on the split's graph.

    Source: Safavi, Koutra and Meij 2020, arXiv 2004.01168, for calibration of embedding models.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [(f"{i}", "next", f"{i + 1}") for i in range(30)]
        >>> split = kgt.random_split(kgt.KnowledgeGraph.from_names(facts, name="numbers"))
        >>> training = kgt.TrainConfig(epochs=1, progress=False, accelerator="cpu")
        >>> recipe = kgt.Recipe(kgt.ModelConfig(encoder="shallow", width=8), training=training)
        >>> checkpoint = kgt.pretrain(kgt.link([split.train], []), recipe=recipe)
        >>> found = calibrate(checkpoint, split)
        >>> 0 < found.calibration.probability(torch.tensor(0.0)) < 1, "ece" in found.metrics
        (tensor(True), True)
        >>> predictor = kgt.Predictor(found.kept_in(checkpoint))
        >>> 0 < predictor.predict_proba([("3", "next", "4")])[0] < 1
        True
    """
    if method not in METHODS:
        raise ValueError(f"method is one of {', '.join(METHODS)} (got {method!r})")
    if corruptions < 1:
        raise ValueError(f"corruptions must be at least 1 (got {corruptions})")
    if not len(split.valid):
        raise ValueError(f"calibration needs validation facts of {split.train.name!r} (got none)")
    scored = scorer_of(checkpoint, split, memory_mb=memory_mb)
    generator = torch.Generator().manual_seed(seed)
    valid = scored(beside_corruptions(split, split.valid, corruptions, generator=generator))
    calibration = fitted(valid, method, num_relations=checkpoint.graph.num_relations)
    learned_from = {
        "method": method,
        "graph": split.train.name,
        "facts": len(split.valid),
        "corruptions": corruptions,
    }
    if not len(split.test):
        return Calibrated(calibration, {}, [], [], learned_from)
    test = scored(beside_corruptions(split, split.test, corruptions, generator=generator))
    raw = torch.sigmoid(test.scores)
    probability = calibration.probability(test.scores, test.relation)
    metrics = errors(raw, test.is_true, prefix="raw.") | errors(probability, test.is_true)
    bins, raw_bins = (reliability(each, test.is_true) for each in (probability, raw))
    return Calibrated(calibration, metrics, bins, raw_bins, learned_from)


class Scored(NamedTuple):
    """Labelled triples as a model scores them.

    Attributes:
        scores: [T] float64.
        is_true: [T] bool.
        relation: [T] int64, the model's ids.
    """

    scores: Tensor
    is_true: Tensor
    relation: Tensor


def scorer_of(
    checkpoint: Checkpoint, split: Split, *, memory_mb: float = 512
) -> Callable[[LabelledTriples], Scored]:
    """What scores labelled triples, in the split's ids, with a checkpoint that knows its graph.

    Raises:
        ValueError: If the checkpoint was not trained on the split's graph.
    """
    device = next(checkpoint.model.parameters()).device
    place = place_in(split.train, checkpoint)
    with torch.no_grad():
        read = checkpoint.model.eval().encode(checkpoint.graph.tensors(device))

    def scored(labelled: LabelledTriples) -> Scored:
        triples = place.moved(labelled.triples)
        scores = score_triples(checkpoint.model, read, triples, memory_mb=memory_mb)
        return Scored(scores, labelled.is_true, triples[:, 1])

    return scored


def fitted(scored: Scored, method: str, *, num_relations: int) -> Calibrator:
    """A calibration of one of ``METHODS``, for a model of ``num_relations``."""
    if method == "relation":
        return fit_by_relation(*scored, num_relations=num_relations)
    fit = fit_calibration if method == "platt" else fit_isotonic
    return fit(scored.scores, scored.is_true)


def errors(probability: Tensor, is_true: Tensor, *, prefix: str = "") -> dict[str, float]:
    """Expected calibration error and Brier score by name, ``prefix`` before it."""
    return {
        f"{prefix}ece": expected_calibration_error(probability, is_true),
        f"{prefix}brier": brier_score(probability, is_true),
    }


def beside_corruptions(
    split: Split, part: HeldOut, number: int, *, generator: torch.Generator
) -> LabelledTriples:
    """Held-out facts, and ``number`` false triples for each that no part of the split states.

    Raises:
        ValueError: If of some fact nearly every corruption is known.
    """
    known = split.known(("train", "valid", "test"))
    try:
        wrong = corrupted(part.triples, known, number, generator=generator)
    except NoCorruptionError as error:
        named = split.train.with_triples(error.triple.unsqueeze(0)).named_triples()[0]
        raise ValueError(f"nearly every corruption of {named} is a known fact") from None
    return LabelledTriples.of(part.triples, wrong)


class NoCorruptionError(ValueError):
    """Of ``triple`` ([3]) nearly every corruption is known."""

    def __init__(self, triple: Tensor) -> None:
        super().__init__(f"nearly every corruption of the ids {triple.tolist()} is known")
        self.triple = triple


def corrupted(
    triples: Tensor, known: KnownTriples, number: int, *, generator: torch.Generator
) -> Tensor:
    """``number`` false triples for each fact, its head or its tail replaced: [number * T, 3].

    Raises:
        NoCorruptionError: If of some fact nearly every corruption is known.
    """
    given = triples.repeat(number, 1)
    wrong, open_ = given.clone(), torch.arange(len(given))
    for _ in range(_TRIES):
        side = 2 * torch.randint(2, (len(open_),), generator=generator)
        drawn = torch.randint(known.num_entities, (len(open_),), generator=generator)
        wrong[open_] = given[open_]
        wrong[open_, side] = drawn
        open_ = open_[known.contains(wrong[open_])]
        if not len(open_):
            return wrong
    raise NoCorruptionError(given[open_[0]])
