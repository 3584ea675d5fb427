"""The benchmark of a foundation model of our own: what training brings is told with an interval."""

from dataclasses import replace

import pytest

from benchmarks.foundation import pretrained, recipe_of, rows_of
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import Split, random_split


def _split(name: str, start: int, size: int) -> Split:
    """A ladder: each rung leads to the next, and is led back to by the inverse relation."""
    facts = [(f"{i}", "up", f"{i + 1}") for i in range(start, start + size)]
    facts += [(f"{i + 1}", "down", f"{i}") for i in range(start, start + size)]
    graph = KnowledgeGraph.from_names(facts, name=name)
    return random_split(graph, 0.1, 0.2, group_pairs=False)


def test_what_is_learned_on_one_ladder_holds_on_another() -> None:
    recipe = recipe_of(quick=True)
    recipe = replace(recipe, training=replace(recipe.training, epochs=30, progress=False))
    found = pretrained(recipe, {"one": _split("one", 0, 60)}, {"two": _split("two", 1000, 40)})
    figures = found.figures
    assert figures["two.mrr.gain.low"] > 0.1
    assert figures["two.mrr.pretrained"] - figures["two.mrr.random"] == pytest.approx(
        figures["two.mrr.gain"]
    )
    row = rows_of(figures, ["two"])[0]
    assert row["from"] <= row["gain"] <= row["to"]
    assert found.notes["curve"]
