"""Probabilities for a trained model's scores, from validation facts and their corruptions."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyg_kgtransfer.evaluation.calibration import (
    Calibrator,
    brier_score,
    expected_calibration_error,
    fit_calibration,
    fit_isotonic,
    reliability,
)
from pyg_kgtransfer.evaluation.streaming import Chunks, query_bytes
from pyg_kgtransfer.evaluation.triple_classification import LabelledTriples
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.ranking import place_in

METHODS: Mapping[str, Callable[[Tensor, Tensor], Calibrator]] = MappingProxyType(
    {"platt": fit_calibration, "isotonic": fit_isotonic}
)
_TRIES = 100
_ROW_BYTES = 1 << 14  # one scored triple: a few vectors of width up to a thousand


class Calibrated(NamedTuple):
    """Probabilities, and how far they can be believed.

    Attributes:
        calibration: From scores to probabilities.
        metrics: On test facts and corruptions of theirs, where there are test facts: ``ece``, the
            expected calibration error, and ``brier``, both in [0, 1], lower is better; ``raw.``
            before them: of the logistic function of the raw scores.
        reliability: Of the test probabilities, by bins of equal width.
    """

    calibration: Calibrator
    metrics: dict[str, float]
    reliability: list[dict[str, float]]


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
    its head or tail replaced by any other entity of the target.

    Args:
        checkpoint: Trained on the split's graph, alone or among others.
        split: Its validation facts are learned from.
        method: ``"platt"`` (a slope and an intercept) or ``"isotonic"`` (any rise; for
            some hundreds of facts and more).
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
    """
    if method not in METHODS:
        raise ValueError(f"method is one of {', '.join(METHODS)} (got {method!r})")
    if corruptions < 1:
        raise ValueError(f"corruptions must be at least 1 (got {corruptions})")
    if not len(split.valid):
        raise ValueError(f"calibration needs validation facts of {split.train.name!r} (got none)")
    device = next(checkpoint.model.parameters()).device
    place = place_in(split.train, checkpoint)
    generator = torch.Generator().manual_seed(seed)
    known = split.known(("train", "valid", "test"))
    with torch.no_grad():
        read = checkpoint.model.eval().encode(checkpoint.graph.tensors(device))

    def scored(part: HeldOut) -> tuple[Tensor, Tensor]:
        try:
            wrong = corrupted(part.triples, known, corruptions, generator=generator)
        except NoCorruptionError as error:
            named = split.train.with_triples(error.triple.unsqueeze(0)).named_triples()[0]
            raise ValueError(f"nearly every corruption of {named} is a known fact") from None
        labelled = LabelledTriples.of(part.triples, wrong)
        triples = place.moved(labelled.triples).to(device)
        row = _ROW_BYTES + query_bytes(checkpoint.model, read)
        with torch.no_grad():
            parts = Chunks(memory_mb, row_bytes=row).run(
                len(triples), lambda a, b: checkpoint.model.score(read, triples[a:b])
            )
        return torch.cat(parts).double().cpu(), labelled.is_true

    calibration = METHODS[method](*scored(split.valid))
    if not len(split.test):
        return Calibrated(calibration, {}, [])
    scores, is_true = scored(split.test)
    metrics: dict[str, float] = {}
    given: dict[str, Any] = {"raw.": torch.sigmoid(scores), "": calibration.probability(scores)}
    for prefix, probability in given.items():
        metrics[f"{prefix}ece"] = expected_calibration_error(probability, is_true)
        metrics[f"{prefix}brier"] = brier_score(probability, is_true)
    return Calibrated(calibration, metrics, reliability(given[""], is_true))


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
