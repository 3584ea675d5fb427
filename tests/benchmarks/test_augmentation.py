"""The benchmark of what goes beside the facts: cases, the few facts, figures of a tiny run."""

from dataclasses import replace

import pytest

from benchmarks import augmentation as benchmark
from benchmarks.augmentation import CASES, Way, measured, recipe_of, rows_of
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import Split, random_split


def ladder() -> Split:
    facts = [(f"{i}", "up", f"{i + 1}") for i in range(40)]
    facts += [(f"{i + 1}", "down", f"{i}") for i in range(0, 40, 2)]
    return random_split(KnowledgeGraph.from_names(facts, name="ladder"), 0.1, 0.1)


def test_each_case_has_two_settings_that_differ_from_the_plain_one() -> None:
    assert {len(ways) for ways in CASES.values()} == {2}
    settings = [way for ways in CASES.values() for way in ways]
    assert len(set(settings)) == 2 * len(CASES)
    assert CASES["plain"][0] == Way()
    for case, ways in CASES.items():
        assert all((way.first is not None) == case.endswith("_first") for way in ways)


def test_few_facts_are_the_same_each_time_and_held_out_ones_all(monkeypatch) -> None:
    whole = ladder()
    monkeypatch.setattr(benchmark, "load", lambda name, offline: whole)
    one, other = (benchmark.split_of("umls") for _ in range(2))
    assert one.train.num_triples == round(0.25 * whole.train.num_triples)
    assert one.train.fingerprint() == other.train.fingerprint()
    kept = set(map(tuple, one.train.triples.tolist()))
    assert kept < set(map(tuple, whole.train.triples.tolist()))
    assert one.valid is whole.valid
    assert one.test is whole.test


def test_a_tiny_run_has_a_figure_for_every_cell_of_its_table() -> None:
    recipe = recipe_of("umls", 0, quick=True)
    recipe = replace(recipe, training=replace(recipe.training, epochs=1, validate_every=1))
    found = measured("tiny", ladder(), recipe, {c: w[:1] for c, w in CASES.items()}, 1)
    rows = rows_of(found.figures, ["tiny"])
    assert [row["case"].replace(" ", "_") for row in rows] == list(CASES)
    assert all(0 < row["MRR"] <= 1 for row in rows)
    assert found.figures["tiny.plain.gain"] == 0
    for case in CASES:
        gain = found.figures[f"tiny.{case}.mrr"] - found.figures["tiny.plain.mrr"]
        assert found.figures[f"tiny.{case}.gain"] == pytest.approx(gain)
    assert set(found.notes["chosen"].values()) == {0}


def test_validation_chooses_among_settings() -> None:
    recipe = recipe_of("umls", 0, quick=True)
    ways = (Way(n3=1000.0), Way())
    found = measured("tiny", ladder(), recipe, {"plain": ways}, 1)
    other = measured("tiny", ladder(), recipe, {"plain": ways[::-1]}, 1)
    assert found.figures["tiny.plain.mrr"] == other.figures["tiny.plain.mrr"]
    assert found.notes["chosen"]["plain"] + other.notes["chosen"]["plain"] == 1
