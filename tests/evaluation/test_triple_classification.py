"""Thresholds, verdicts and areas against slow twins."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_kgtransfer.evaluation.triple_classification import (
    LabelledTriples,
    TripleClassification,
    average_precision,
    best_threshold,
    fit_thresholds,
    roc_auc,
)


@st.composite
def labelled(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    values = draw(st.lists(st.integers(-2, 2), min_size=2, max_size=10))
    labels = draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    labels[0], labels[1] = True, False
    return torch.tensor(values).double(), torch.tensor(labels)


@settings(max_examples=60, deadline=None)
@given(labelled())
def test_the_roc_area_is_the_share_of_well_ordered_pairs(data):
    scores, is_true = data
    wins = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a in scores[is_true].tolist()
        for b in scores[~is_true].tolist()
    ]
    assert roc_auc(scores, is_true) == pytest.approx(sum(wins) / len(wins))


@settings(max_examples=60, deadline=None)
@given(labelled())
def test_average_precision_walks_down_the_distinct_scores(data):
    scores, is_true = data
    area, recall = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        called = scores >= threshold
        precision = (called & is_true).sum() / called.sum()
        now = (called & is_true).sum() / is_true.sum()
        area, recall = area + (now - recall) * precision, now
    assert average_precision(scores, is_true) == pytest.approx(area.item())


@settings(max_examples=60, deadline=None)
@given(labelled())
def test_no_threshold_beats_the_best_one(data):
    scores, is_true = data
    found = best_threshold(scores, is_true)
    accuracy = ((scores >= found) == is_true).sum()
    for threshold in (*scores.tolist(), math.inf):
        assert accuracy >= ((scores >= threshold) == is_true).sum()


def test_the_threshold_stands_between_the_scores():
    labels = torch.tensor([False, True])
    assert best_threshold(torch.tensor([1.0, 3.0]), labels) == 2
    huge = torch.tensor([1e300, math.nextafter(1e300, math.inf)], dtype=torch.double)
    assert ((huge >= best_threshold(huge, labels)) == labels).all()
    assert not (huge >= best_threshold(huge, torch.tensor([False, False]))).any()


def test_relations_without_both_labels_share_one_threshold():
    scores = torch.tensor([0.0, 10.0, 100.0, 110.0, 50.0]).double()
    is_true = torch.tensor([False, True, False, True, True])
    relation = torch.tensor([0, 0, 1, 1, 2])
    thresholds, is_fitted = fit_thresholds(scores, is_true, relation, num_relations=4)
    assert is_fitted.tolist() == [True, True, False, False]
    assert thresholds[:2].tolist() == [5, 105]
    shared = best_threshold(scores, is_true)
    assert thresholds[2:].tolist() == [shared, shared]


class ByTail:
    """Scores a triple by its tail, on another scale per relation."""

    def score(self, representations, triples):
        return (triples[:, 2] + 1000 * triples[:, 1]).float()


def part(rows: list[tuple[int, int, int, bool]]) -> LabelledTriples:
    return LabelledTriples(
        torch.tensor([row[:3] for row in rows]), torch.tensor([row[3] for row in rows])
    )


def test_thresholds_come_from_validation_and_verdicts_from_test():
    valid = part([(0, 0, 2, False), (0, 0, 6, True), (0, 1, 2, False), (0, 1, 8, True)])
    test = part([(0, 0, 3, False), (0, 0, 5, True), (0, 1, 4, True), (0, 1, 1, False),
                 (0, 0, 4, False)])  # fmt: skip
    result = TripleClassification(valid, test, num_relations=3, memory_mb=1e-9)(ByTail(), None)
    assert result.thresholds[:2].tolist() == [4, 1005]
    assert result.is_called_true.tolist() == [False, True, False, False, True]
    metrics = result.metrics()
    assert metrics["accuracy"] == pytest.approx(3 / 5)
    assert (metrics["precision"], metrics["recall"], metrics["f1"]) == (0.5, 0.5, 0.5)
    assert metrics["roc_auc"] == pytest.approx(5 / 6)  # 1001 false above 5 true
    assert metrics["margin.roc_auc"] == pytest.approx(4.5 / 6)
    assert 0 < metrics["brier"] < 1
    assert 0 <= metrics["ece"] <= 1
    assert metrics["unfitted"] == 0
    assert result.by_relation()[1] == {
        "count": 2, "threshold": 1005, "accuracy": 0.5, "precision": 0.0, "recall": 0.0, "f1": 0.0,
    }  # fmt: skip


def test_positives_and_negatives_are_labelled():
    made = LabelledTriples.of(torch.tensor([[0, 0, 1]]), torch.tensor([[1, 0, 0], [1, 0, 1]]))
    assert made.is_true.tolist() == [True, False, False]
    assert made.triples.shape == (3, 3)


def test_bad_input_is_refused():
    fine = part([(0, 0, 1, True), (0, 0, 2, False)])
    with pytest.raises(ValueError, match=r"test split needs true and false .*\(got 1 true of 1"):
        TripleClassification(fine, part([(0, 0, 1, True)]), num_relations=1)
    with pytest.raises(ValueError, match=r"valid split needs relation ids in \[0, 1\)"):
        TripleClassification(part([(0, 1, 1, True), (0, 0, 1, False)]), fine, num_relations=1)
    with pytest.raises(ValueError, match=r"labels must be bool of shape \[2\]"):
        TripleClassification(fine._replace(is_true=torch.tensor([1, 0])), fine, num_relations=1)
    with pytest.raises(ValueError, match=r"int64 of shape \[T, 3\]"):
        TripleClassification(fine, fine._replace(triples=torch.ones(2, 3)), num_relations=1)

    class Broken:
        def score(self, representations, triples):
            return torch.tensor([0.0, math.nan])

    with pytest.raises(ValueError, match=r"got nan for the triple with ids \[0, 0, 2\]"):
        TripleClassification(fine, fine, num_relations=1)(Broken(), None)
