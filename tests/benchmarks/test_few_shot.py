"""The benchmark of few shots: every way answers the same questions, and is told against scratch."""

from pathlib import Path

import pytest

import pyg_kgtransfer as kgt
from benchmarks import few_shot as benchmark
from benchmarks.few_shot import Task, all_facts, plot, rows_of, task_figures


@pytest.fixture
def codex(monkeypatch: pytest.MonkeyPatch) -> kgt.Split:
    """In the place of codex-s: cities on a ring, and which are so many steps away."""
    facts = [
        (f"c{i}", f"{steps} steps", f"c{(i + steps) % 60}")
        for steps in range(1, 8)
        for i in range(60)
    ]
    split = kgt.random_split(kgt.KnowledgeGraph.from_names(facts, name="cities"), 0.1, 0.1)
    monkeypatch.setattr(benchmark, "load", lambda name, offline: split)

    def untrained(path: object) -> kgt.FoundationModel:
        return kgt.FoundationModel(width=4, layers=1)

    monkeypatch.setattr(benchmark, "read_foundation", untrained)
    return split


@pytest.mark.parametrize(("new", "way"), [("relations", "closed"), ("entities", "encoded")])
def test_each_way_is_told(codex: kgt.Split, tmp_path: Path, new: str, way: str) -> None:
    name = f"codex-s.{new}"
    task = Task("codex-s", new, 0, quick=True)
    found = task_figures(name, task)
    for each in ("scratch", "steps", "foundation", way):
        assert 0 < found.figures[f"{name}.10.{each}.mrr"] <= 1
    gain = found.figures[f"{name}.10.{way}.gain"]
    low, high = (found.figures[f"{name}.10.{way}.gain.{end}"] for end in ("low", "high"))
    assert low <= gain <= high
    rows = rows_of(found.figures, [name])
    assert [row["k"] for row in rows] == [0, 10]
    plot(found.figures, [name], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_all_facts_are_all(codex: kgt.Split) -> None:
    whole = all_facts(codex)
    assert whole.num_triples == 420
    facts = set(Task("codex-s", "relations", 1, quick=True)._with_shots(0).named_triples())
    episode = Task("codex-s", "relations", 1, quick=True).episode
    assert facts == set(episode.background.named_triples())
