"""Triple classification: telling true triples from given false ones."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyg_kgtransfer.evaluation.calibration import (
    brier_score,
    expected_calibration_error,
    fit_calibration,
)
from pyg_kgtransfer.evaluation.streaming import score_triples
from pyg_kgtransfer.models.calibration import Calibration


class LabelledTriples(NamedTuple):
    """Triples with given negatives.

    Attributes:
        triples: [T, 3] int64.
        is_true: [T] bool.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [("Athens", "capital_of", "Greece"), ("Rome", "capital_of", "Italy")]
        >>> graph = kgt.KnowledgeGraph.from_names(facts)
        >>> wrong = torch.tensor([graph.entities.id("Rome"), 0, graph.entities.id("Greece")])
        >>> kgt.LabelledTriples.of(graph.triples, wrong.unsqueeze(0)).is_true.tolist()
        [True, True, False]
    """

    triples: Tensor
    is_true: Tensor

    @classmethod
    def of(cls, positives: Tensor, negatives: Tensor) -> "LabelledTriples":
        """True triples [P, 3] followed by false ones [Q, 3]."""
        is_true = torch.arange(len(positives) + len(negatives)) < len(positives)
        return cls(torch.cat([positives, negatives]), is_true.to(positives.device))


@dataclass(frozen=True, eq=False)
class TripleClassificationResult:
    """Scores of the test triples and the thresholds that validation set.

    Attributes:
        scores: [T] float64, higher is more plausible.
        is_true: [T] bool.
        relation: [T] int64.
        thresholds: [R] float64; a triple is called true from its relation's threshold upward.
        is_fitted: [R] bool, whether the relation had both true and false validation triples; the
            others use one threshold fitted on all of validation.
        calibration: From scores to probabilities, fitted on validation.
    """

    scores: Tensor
    is_true: Tensor
    relation: Tensor
    thresholds: Tensor
    is_fitted: Tensor
    calibration: Calibration

    @property
    def is_called_true(self) -> Tensor:
        """The verdict on each test triple, [T] bool."""
        return self.scores >= self.thresholds[self.relation]

    @property
    def probability(self) -> Tensor:
        """The calibrated probability that each test triple is true, [T]; relations are pooled."""
        return self.calibration.probability(self.scores)

    def metrics(self) -> dict[str, float]:
        """Accuracy, precision, recall, F1, ``roc_auc`` and ``pr_auc``, all in [0, 1].

        The areas read the raw scores, pooled, and no threshold. ``margin.roc_auc`` and
        ``margin.pr_auc`` read score minus threshold, for raw scores of different relations need not
        share a scale. ``unfitted`` is the share of test triples whose relation had no threshold of
        its own. Precision is 0 where nothing is called true. ``brier`` and ``ece`` are of the
        calibrated probabilities; lower is better.
        """
        margin = self.scores - self.thresholds[self.relation]
        return {
            **confusion_metrics(self.is_called_true, self.is_true),
            "roc_auc": roc_auc(self.scores, self.is_true),
            "pr_auc": average_precision(self.scores, self.is_true),
            "margin.roc_auc": roc_auc(margin, self.is_true),
            "margin.pr_auc": average_precision(margin, self.is_true),
            "brier": brier_score(self.probability, self.is_true),
            "ece": expected_calibration_error(self.probability, self.is_true),
            "unfitted": 1 - self.is_fitted[self.relation].double().mean().item(),
        }

    def by_relation(self) -> dict[int, dict[str, float]]:
        """Accuracy, precision, recall, F1, threshold and ``count`` by relation id."""
        verdict = self.is_called_true
        table: dict[int, dict[str, float]] = {}
        for relation in torch.unique(self.relation).tolist():
            mask = self.relation == relation
            table[relation] = {
                "count": int(mask.sum()),
                "threshold": self.thresholds[relation].item(),
                **confusion_metrics(verdict[mask], self.is_true[mask]),
            }
        return table


class TripleClassification:
    """Fits one threshold per relation on validation, then judges the test triples.

    Args:
        valid: Validation triples with given negatives.
        test: Test triples with given negatives.
        num_relations: R.
        memory_mb: Budget for a chunk of triples, in MiB.

    Raises:
        ValueError: If a part lacks true or false triples, shapes are wrong, or a relation id is out
            of range.

    Example:
        >>> triples = torch.tensor([[0, 0, 1], [0, 0, 2]])
        >>> part = LabelledTriples(triples, torch.tensor([True, False]))
        >>> class Oracle:
        ...     def score(self, representations, triples):
        ...         return -triples[:, 2].float()
        >>> TripleClassification(part, part, num_relations=1)(Oracle(), None).metrics()["accuracy"]
        1.0
    """

    def __init__(
        self,
        valid: LabelledTriples,
        test: LabelledTriples,
        *,
        num_relations: int,
        memory_mb: float = 512,
    ) -> None:
        for name, part in (("valid", valid), ("test", test)):
            _check_part(name, part, num_relations)
        self.valid = valid
        self.test = test
        self.num_relations = num_relations
        self.memory_mb = memory_mb

    def __call__(self, model: Any, representations: Any) -> TripleClassificationResult:
        """Score with ``model.score(representations, triples [B, 3]) -> [B]`` and judge.

        Raises:
            ValueError: If a score is not finite.
        """
        valid, test = (
            score_triples(model, representations, part.triples, memory_mb=self.memory_mb)
            for part in (self.valid, self.test)
        )
        is_true, relation = self.valid.is_true.cpu(), self.valid.triples[:, 1].cpu()
        return TripleClassificationResult(
            test,
            self.test.is_true.cpu(),
            self.test.triples[:, 1].cpu(),
            *fit_thresholds(valid, is_true, relation, num_relations=self.num_relations),
            fit_calibration(valid, is_true),
        )


def fit_thresholds(
    scores: Tensor, is_true: Tensor, relation: Tensor, *, num_relations: int
) -> tuple[Tensor, Tensor]:
    """The threshold of each relation that calls most of its triples right.

    Args:
        scores: [T] finite.
        is_true: [T] bool, both values present.
        relation: [T] int64 in [0, R).
        num_relations: R.

    Returns:
        Thresholds [R] float64 and whether each is the relation's own [R] bool; relations without
        both true and false triples get the threshold fitted on all triples.
    """
    thresholds = torch.full((num_relations,), best_threshold(scores, is_true), dtype=torch.double)
    is_fitted = torch.zeros(num_relations, dtype=torch.bool)
    for index in torch.unique(relation).tolist():
        own = relation == index
        if is_true[own].any() and not is_true[own].all():
            thresholds[index] = best_threshold(scores[own], is_true[own])
            is_fitted[index] = True
    return thresholds, is_fitted


def best_threshold(scores: Tensor, is_true: Tensor) -> float:
    """The threshold with the highest accuracy of "true from here upward".

    It stands halfway between two neighbouring scores, so that it does not hang on either; below the
    lowest score or above the highest by 1 where all triples are best called alike. Of equally good
    thresholds the median one is taken.
    """
    value, right_below, right_above = _cumulative(scores.double(), is_true)
    correct = right_below + right_above  # [n + 1] called right with the cut before each value
    middle = (value[1:] + value[:-1]) / 2
    edges = torch.cat([value[:1] - 1, middle, value[-1:] + 1])
    above = torch.nextafter(value, torch.full_like(value, torch.inf))
    edges[1:] = torch.maximum(edges[1:], above)  # where floats are too coarse for halves
    best = (correct == correct.max()).nonzero().view(-1)
    return edges[best[(len(best) - 1) // 2]].item()


def _cumulative(scores: Tensor, is_true: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct scores [n], false triples below each cut and true ones above it, both [n + 1]."""
    value, index = torch.unique(scores, return_inverse=True)
    true = torch.bincount(index[is_true], minlength=len(value))
    false = torch.bincount(index[~is_true], minlength=len(value))
    zero = true.new_zeros(1)
    below = torch.cat([zero, false.cumsum(0)])
    above = true.sum() - torch.cat([zero, true.cumsum(0)])
    return value, below, above


def roc_auc(scores: Tensor, is_true: Tensor) -> float:
    """The chance that a true triple outscores a false one, ties counting half: in [0, 1]."""
    _, index = torch.unique(scores, return_inverse=True)
    true = torch.bincount(index[is_true], minlength=int(index.max()) + 1).double()
    false = torch.bincount(index[~is_true], minlength=len(true)).double()
    below = false.cumsum(0) - false / 2  # false triples below a score, those at it counting half
    return ((true * below).sum() / (true.sum() * false.sum())).item()


def average_precision(scores: Tensor, is_true: Tensor) -> float:
    """Area under the precision-recall curve as a sum of steps; equal scores are one step.

    AP = sum over distinct scores, from the highest, of (recall gained) * precision; in (0, 1].
    """
    _, index = torch.unique(scores, return_inverse=True)
    true = torch.bincount(index[is_true], minlength=int(index.max()) + 1).double().flip(0)
    every = torch.bincount(index, minlength=len(true)).double().flip(0)
    precision = true.cumsum(0) / every.cumsum(0)
    return (true * precision).sum().div(true.sum()).item()


def confusion_metrics(is_called_true: Tensor, is_true: Tensor) -> dict[str, float]:
    """Accuracy, precision, recall and F1 of verdicts ([T] bool, T > 0); 0 where undefined."""
    hit = int((is_called_true & is_true).sum())
    called, true = int(is_called_true.sum()), int(is_true.sum())
    return {
        "accuracy": (is_called_true == is_true).double().mean().item(),
        "precision": hit / called if called else 0.0,
        "recall": hit / true if true else 0.0,
        "f1": 2 * hit / (called + true) if called + true else 0.0,
    }


def _check_part(name: str, part: LabelledTriples, num_relations: int) -> None:
    triples, is_true = part
    if triples.dim() != 2 or triples.shape[1] != 3 or triples.dtype != torch.long:
        raise ValueError(
            f"the {name} triples must be int64 of shape [T, 3] "
            f"(got {triples.dtype} {tuple(triples.shape)})"
        )
    if is_true.shape != (len(triples),) or is_true.dtype != torch.bool:
        raise ValueError(
            f"the {name} labels must be bool of shape [{len(triples)}] "
            f"(got {is_true.dtype} {tuple(is_true.shape)})"
        )
    count = int(is_true.sum())
    if not 0 < count < len(triples):
        raise ValueError(
            f"the {name} split needs true and false triples (got {count} true of {len(triples)})"
        )
    relation = triples[:, 1]
    if int(relation.min()) < 0 or int(relation.max()) >= num_relations:
        raise ValueError(
            f"the {name} split needs relation ids in [0, {num_relations}) "
            f"(got {int(relation.min())} to {int(relation.max())})"
        )
