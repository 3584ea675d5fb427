"""The zero-shot benchmark: the plain twin is the same network, ranks are those of the protocol."""

import pytest
import torch

from benchmarks import zero_shot as benchmark
from benchmarks.zero_shot import compared, large, plain, ranked, rows_of
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import Split, random_split
from pyg_kgtransfer.models.foundation import FoundationModel


@pytest.fixture
def split() -> Split:
    facts = [(f"e{i % 17}", f"r{i % 3}", f"e{i * i % 19}") for i in range(90)]
    return random_split(KnowledgeGraph.from_names(facts, name="planted"), 0.1, 0.2)


@pytest.fixture
def model() -> FoundationModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FoundationModel(width=8, layers=2)


def test_the_plain_form_scores_the_same(split: Split, model: FoundationModel) -> None:
    graph = split.train.tensors()
    head, relation, _ = split.test.triples.unbind(1)
    ours = model.score_tails(model.encode(graph), head, relation)
    with plain():
        theirs = model.score_tails(model.encode(graph), head, relation)
    torch.testing.assert_close(ours, theirs)
    found = compared(model, split, repeats=1)
    assert found["speedup"] == pytest.approx(
        found["speedup.theirs_seconds"] / found["speedup.ours_seconds"]
    )


def test_ranks_merge_validation_and_test(
    split: Split, model: FoundationModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = ranked("planted", model, split)
    monkeypatch.setattr(benchmark, "INDUCTIVE", ("planted",))
    merged = ranked("planted", model, split)
    assert (apart["planted.facts"], merged["planted.facts"]) == (
        len(split.test), len(split.test) + len(split.valid)
    )  # fmt: skip
    assert merged["planted.test_only.mrr"] == apart["planted.mrr"] == apart["planted.test_only.mrr"]
    assert merged["planted.mrr"] != apart["planted.mrr"]
    assert merged["planted.realistic.mrr"] >= merged["planted.mrr"]
    [row] = rows_of(merged, ["planted"])
    assert row["as official"] == "-"


def test_a_large_graph_is_ranked(model: FoundationModel) -> None:
    found = large(model, (50, 200, 3), 4)
    assert 0 < found["large.memory_mb"] <= found["large.process_mb"]
