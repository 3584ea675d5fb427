"""Metrics, groups and subsets of a result."""

import pytest
import torch

from pyg_kgtransfer.evaluation.result import Groups, LinkPredictionResult


@pytest.fixture
def result() -> LinkPredictionResult:
    triples = torch.tensor([[0, 0, 1], [1, 2, 0], [0, 2, 3]])
    ranks = torch.tensor([[1.0, 4.0], [2.0, 1.0], [10.0, 20.0]])
    return LinkPredictionResult(
        triples,
        ranks,
        ranks,
        torch.full((3, 2), 21),
        {"triples": 3},
        Groups(
            relation_names=["in", "near", "likes"],
            source=torch.tensor([0, 1, 0]),
            source_names=["geo", "iso"],
            popularity=torch.tensor([5, 1, 9, 0]),
        ),
    )


def test_metrics_by_hand(result: LinkPredictionResult):
    metrics = result.metrics()
    assert metrics["mrr"] == pytest.approx((1 + 1 / 4 + 1 / 2 + 1 + 1 / 10 + 1 / 20) / 6)
    assert metrics["head.mrr"] == pytest.approx((1 + 1 / 2 + 1 / 10) / 3)
    assert metrics["tail.mr"] == pytest.approx(25 / 3)
    assert metrics["hits@1"] == pytest.approx(2 / 6)
    assert metrics["hits@3"] == pytest.approx(3 / 6)
    assert metrics["hits@10"] == pytest.approx(5 / 6)
    assert metrics["amri"] == pytest.approx(1 - (38 / 6 - 1) / 10)
    of_relations = [(1 + 1 / 4) / 2, (1 / 2 + 1 + 1 / 10 + 1 / 20) / 4]
    assert metrics["relation_macro.mrr"] == pytest.approx(sum(of_relations) / 2)
    assert repr(result) == "LinkPredictionResult(3 triples, MRR 0.483, hits@10 0.833)"


def test_ties_bound_the_mrr():
    low, high = torch.ones(1, 2), torch.full((1, 2), 3.0)
    tied = LinkPredictionResult(torch.zeros(1, 3, dtype=torch.long), low, high, high.long())
    metrics = tied.metrics()
    found = metrics["optimistic.mrr"], metrics["mrr"], metrics["pessimistic.mrr"]
    assert found == pytest.approx((1, 1 / 2, 1 / 3))


def test_groups_split_the_answers(result: LinkPredictionResult):
    assert result.by("side")["tail"]["mrr"] == pytest.approx((1 / 4 + 1 + 1 / 20) / 3)
    relations = result.by("relation")
    assert [(name, row["count"]) for name, row in relations.items()] == [("in", 2), ("likes", 4)]
    assert relations["likes"]["mr"] == pytest.approx(33 / 4)
    sources = result.by("source")
    assert sources["iso"]["mrr"] == pytest.approx(0.75)
    assert sources["geo"]["count"] == 4
    for group in result.available_groups():
        assert sum(row["count"] for row in result.by(group).values()) == 6


def test_popularity_is_the_degree_of_the_answer(result: LinkPredictionResult):
    # answers: heads 0 1 0 with degrees 5 1 5, tails 1 0 3 with degrees 1 5 0
    bands = result.by("popularity")
    assert {name: row["count"] for name, row in bands.items()} == {
        "unseen in training": 1,
        "degree 1": 2,
        "degree 5": 3,
    }
    assert bands["unseen in training"]["mr"] == 20
    assert bands["degree 1"]["mr"] == pytest.approx((2 + 4) / 2)


def test_bands_are_cut_at_quartiles_and_never_inside_a_degree():
    count = 40
    triples = torch.stack([torch.arange(count)] * 3, 1) * torch.tensor([1, 0, 1])
    ranks = torch.ones(count, 2)
    degrees = torch.arange(1, count + 1)
    groups = Groups(popularity=degrees)
    bands = LinkPredictionResult(triples, ranks, ranks, ranks.long(), {}, groups).by("popularity")
    assert {name: row["count"] for name, row in bands.items()} == {
        "degree 1-10": 20,
        "degree 11-20": 20,
        "degree 21-30": 20,
        "degree 31-40": 20,
    }
    unseen = Groups(popularity=torch.zeros(count, dtype=torch.long))
    bands = LinkPredictionResult(triples, ranks, ranks, ranks.long(), {}, unseen).by("popularity")
    assert list(bands) == ["unseen in training"]


def test_a_subset_keeps_groups_and_says_where_it_comes_from(result: LinkPredictionResult):
    part = result.select(torch.tensor([False, True, True]))
    assert part.ranks.tolist() == [[2.0, 1.0], [10.0, 20.0]]
    assert set(part.by("source")) == {"geo", "iso"}
    assert part.protocol == {"triples": 2, "selected_from": 3}
    with pytest.raises(ValueError, match="selects none of the 3"):
        result.select(torch.zeros(3, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"bool of shape \[3\] \(got torch.int64"):
        result.select(torch.tensor([0, 1, 1]))


def test_a_group_that_is_unknown_or_lacks_its_data_is_named(result: LinkPredictionResult):
    with pytest.raises(ValueError, match=r"'side', 'relation', 'source'.*\(got 'tail'\)"):
        result.by("tail")
    bare = LinkPredictionResult(
        result.triples, result.optimistic, result.pessimistic, result.num_candidates
    )
    with pytest.raises(ValueError, match=r"got 'source'\); pass it in groups"):
        bare.by("source")
    assert list(bare.by("relation")) == ["relation 0", "relation 2"]
