import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.linking import matching
from pyg_kgtransfer.linking.matching import (
    SimilarityOptions,
    match_keys,
    match_labels,
    match_similar,
    normalise_label,
)

labels = st.lists(st.text("abé -", max_size=6), max_size=8)


def graph_of(name: str, shown: list[str], types: list[str] | None = None) -> KnowledgeGraph:
    ids = [f"{name}{i}" for i in range(len(shown))]
    return KnowledgeGraph.from_names(
        [],
        entities=ids,
        name=name,
        labels=dict(zip(ids, shown, strict=True)),
        types=None if types is None else dict(zip(ids, types, strict=True)),
    )


def index_of(alignment) -> list[list[int]]:
    return alignment.entities.index.tolist()


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("Côte d'Ivoire", "cotedivoire"),
        (" WILLEMSTAD ", "willemstad"),
        ("Straße", "strasse"),
        ("ﬁ", "fi"),
        ("İstanbul", "istanbul"),
        ("—?!", ""),
        ("ประเทศไทย", "ประเทศไทย"),
        ("भारत", "भारत"),
        ("שָׁלוֹם", "שלום"),
        ("100 %", "100"),
    ],
)
def test_labels_are_normalised(label, expected) -> None:
    assert normalise_label(label) == expected
    assert normalise_label(normalise_label(label)) == normalise_label(label)


def test_voicing_marks_tell_words_apart() -> None:
    assert normalise_label("ガス") != normalise_label("カス")
    assert normalise_label("かさ") != normalise_label("かざ")


def test_keys_match_where_they_are_unique(caplog) -> None:
    left = graph_of("left", ["a", "b", "c", "d"])
    right = graph_of("right", ["a", "b", "c", "d"])
    with caplog.at_level(logging.INFO):
        alignment = match_keys(left, right, ["DE", "FR", None, "US"], ["US", "DE", "FR", "FR"])
    assert index_of(alignment) == [[0, 1], [3, 0]]
    assert (alignment.left, alignment.right) == ("left", "right")
    assert alignment.entities.confidence.tolist() == [1, 1]
    assert "1 shared keys or labels dropped" in caplog.text
    with pytest.raises(ValueError, match=r"of 'right' is needed \(got 1 for 4 entities\)"):
        match_keys(left, right, [None] * 4, ["x"])
    assert index_of(match_keys(left, right, [None, ""] * 2, ["", None] * 2)) == []


@given(labels, labels)
@settings(max_examples=60, deadline=None)
def test_labels_match_as_a_loop_would(left, right) -> None:
    ours, theirs = [[normalise_label(text) for text in side] for side in (left, right)]
    expected = [
        [i, theirs.index(text)]
        for i, text in enumerate(ours)
        if text and ours.count(text) == theirs.count(text) == 1
    ]
    assert index_of(match_labels(graph_of("l", left), graph_of("r", right))) == expected


def test_types_make_labels_unique_and_keep_kinds_apart() -> None:
    left = graph_of("left", ["Arabic", "Berlin", "Berlin"], ["language", "city", "club"])
    right = graph_of(
        "right", ["Arabic", "Arabic", "Berlin", "Berlin"], ["language", "script", "city", "state"]
    )
    assert index_of(match_labels(left, right)) == []
    kinds = {"language": "language", "city": "state"}
    matched = match_labels(left, right, types=kinds, confidence=0.5)
    assert index_of(matched) == [[0, 0], [1, 3]]
    assert matched.entities.confidence.tolist() == [0.5, 0.5]
    assert index_of(match_similar(left, right, types=kinds)) == [[0, 0], [1, 3]]
    with pytest.raises(ValueError, match=r"unknown entity type: 'citi'.*'city'"):
        match_labels(left, right, types={"citi": "city"})
    with pytest.raises(ValueError, match=r"unknown entity type: 'tate'.*'state'"):
        match_labels(left, right, types={"city": "tate"})
    with pytest.raises(ValueError, match=r"got \['plain'\] without types"):
        match_labels(left, graph_of("plain", ["x"]), types=kinds)


def similar_by_loops(left, right, threshold, ngram):
    def grams(label):
        marked = f"^{label}$"
        return {marked[i : i + ngram] for i in range(max(1, len(marked) - ngram + 1))}

    ours, theirs = [[normalise_label(text) for text in side] for side in (left, right)]
    scores = {}
    for i, a in enumerate(ours):
        for j, b in enumerate(theirs):
            if a and b:
                score = len(grams(a) & grams(b)) / len(grams(a) | grams(b))
                if score >= threshold:
                    scores[i, j] = score
    found = []
    for (i, j), score in scores.items():
        row = [s for (a, _), s in scores.items() if a == i]
        column = [s for (_, b), s in scores.items() if b == j]
        if score == max(row) == max(column) and row.count(score) == column.count(score) == 1:
            found.append(([i, j], pytest.approx(score)))
    return found


@given(labels, labels, st.sampled_from([0.2, 0.5, 0.8, 1.0]), st.integers(1, 3))
@settings(max_examples=80, deadline=None)
def test_similar_labels_match_as_a_loop_would(left, right, threshold, ngram) -> None:
    alignment = match_similar(
        graph_of("l", left), graph_of("r", right), SimilarityOptions(threshold, ngram)
    )
    found = list(zip(index_of(alignment), alignment.entities.confidence.tolist(), strict=True))
    assert found == similar_by_loops(left, right, threshold, ngram)


@given(labels, labels, st.integers(1, 2))
@settings(max_examples=40, deadline=None)
def test_small_blocks_find_a_part_with_the_same_similarity(left, right, max_block) -> None:
    ours, theirs = graph_of("l", left), graph_of("r", right)
    options = SimilarityOptions(0.5, 2, max_block)
    for i, j in index_of(match_similar(ours, theirs, options)):
        scores = similar_by_loops([left[i]], [right[j]], 0.5, 2)
        assert scores[0][0] == [0, 0]


def test_more_labels_than_a_chunk() -> None:
    size = matching.CHUNK + 50
    shown = [f"entity number {i:05d} of the list" for i in range(size)]
    left, right = graph_of("l", shown), graph_of("r", shown[::-1])
    alignment = match_similar(left, right, SimilarityOptions(max_block=20))
    assert index_of(alignment) == [[i, size - 1 - i] for i in range(size)]


def test_ties_are_dropped_and_counted(caplog) -> None:
    left, right = graph_of("l", ["colombia", "peru"]), graph_of("r", ["Colombia", "COLOMBIA"])
    with caplog.at_level(logging.INFO):
        assert index_of(match_similar(left, right)) == []
    assert "2 best candidates dropped as ambiguous" in caplog.text


@pytest.mark.parametrize("wrong", [(0.0,), (1.1,), (0.5, 0), (0.5, 3, 0)])
def test_options_are_checked(wrong) -> None:
    with pytest.raises(ValueError, match="must be"):
        SimilarityOptions(*wrong)
