"""The benchmark of small targets: nested shares, facts left out do not compete, savings."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import pyg_kgtransfer as kgt
from benchmarks import low_resource as benchmark
from benchmarks.low_resource import plot, rows_of, savings, share_figures
from benchmarks.low_resource_task import ranked, scrambled, with_share


def split_of(size: int = 40) -> kgt.Split:
    facts = [(f"{i}", "next", f"{(i + 1) % size}") for i in range(size)]
    facts += [(f"{i}", "over", f"{(i + 5) % size}") for i in range(size)]
    graph = kgt.KnowledgeGraph.from_names(facts, name="ring")
    return kgt.random_split(graph, 0.1, 0.2)


def learned(split: kgt.Split, epochs: int = 3) -> kgt.Checkpoint:
    training = kgt.TrainConfig(epochs=epochs, progress=False, accelerator="cpu")
    recipe = kgt.Recipe(kgt.ModelConfig(encoder="shallow", width=8), training=training)
    return kgt.pretrain(kgt.link([split.train], []), [split], recipe=recipe)


def test_shares_are_nested() -> None:
    whole = split_of()
    few, more = (with_share(whole, share, seed=3).train for share in (0.25, 0.5))
    assert set(few.named_triples()) < set(more.named_triples()) < set(whole.train.named_triples())
    assert few.entities == whole.train.entities
    assert len(few.triples) == round(0.25 * len(whole.train.triples))
    with pytest.raises(ValueError, match=r"in \(0, 1\] \(got 0\)"):
        with_share(whole, 0, seed=3)


def test_facts_left_out_do_not_compete() -> None:
    """Of (0, next, ?) the graph knows two tails; one is asked, the other was left out."""
    facts = [("0", "next", "1"), ("0", "next", "2"), ("0", "next", "3"), ("3", "next", "0")]
    graph = kgt.KnowledgeGraph.from_names(facts, name="fan")
    none = kgt.HeldOut(graph.triples[:0], "valid")
    whole = kgt.Split(graph.with_triples(graph.triples[1:]), none, held_out(graph))
    part = kgt.Split(graph.with_triples(graph.triples[3:]), none, held_out(graph))
    result = ranked(learned(part), part, whole)
    assert result.num_candidates[0, 1] == 2  # 0 and 1: 2 and 3 are known


def held_out(graph: kgt.KnowledgeGraph) -> kgt.HeldOut:
    return kgt.HeldOut(graph.triples[:1], "test")


def test_scrambled_facts_keep_their_relations() -> None:
    graph = split_of().train
    other = scrambled(graph, seed=0)
    assert torch.equal(other.triples[:, 1], graph.triples[:, 1])
    assert not torch.equal(other.triples, graph.triples)
    assert other.name != graph.name


@dataclass(frozen=True)
class RingAt:
    share: float
    seed: int
    quick: bool = False
    whole = split_of()

    @property
    def split(self) -> kgt.Split:
        return with_share(self.whole, self.share, seed=self.seed)

    def models(self) -> dict[str, kgt.Checkpoint]:
        return {
            "scratch": learned(self.split, 1),
            "placebo": learned(self.split, 2),
            "joint": learned(self.split, 60),
        }


def test_figures_rows_and_plot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(benchmark.TASKS, "umls", RingAt)
    found = share_figures("umls", 0.5, 0, quick=True)
    figures = found.figures
    stem = "umls.0.5"
    assert figures[f"{stem}.joint.gain"] == pytest.approx(
        figures[f"{stem}.joint.mrr"] - figures[f"{stem}.scratch.mrr"]
    )
    gap = figures[f"{stem}.joint.mrr"] - figures[f"{stem}.placebo.mrr"]
    assert figures[f"{stem}.over_placebo"] == pytest.approx(gap)
    assert "joint over placebo: compare says" in found.notes
    row = rows_of(figures, "umls", (0.5, 1.0))
    assert len(row) == 1
    assert row[0]["share"] == "50%"
    told = {f"atlas.{s:g}.{m}.mrr": v for s, m, v in (
        (0.1, "joint", 0.2), (0.5, "joint", 0.5), (1.0, "joint", 0.6), (1.0, "scratch", 0.5)
    )}  # fmt: skip
    assert savings(told, "atlas", (0.1, 0.5, 1.0)) == {"atlas.joint.enough": 0.5}
    plot(told, ["atlas"], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000
