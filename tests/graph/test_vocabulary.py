import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_kgtransfer.graph.vocabulary import Vocabulary

NAMES = st.lists(st.text(max_size=5), max_size=8, unique=True)


@settings(max_examples=30, deadline=None)
@given(NAMES)
def test_ids_and_names_are_a_bijection(names) -> None:
    vocabulary = Vocabulary(names)
    assert list(vocabulary) == names
    assert len(vocabulary) == len(names)
    assert [vocabulary.id(vocabulary.name(i)) for i in range(len(names))] == list(range(len(names)))
    assert vocabulary.ids(names).tolist() == list(range(len(names)))
    assert vocabulary.ids([]).dtype == torch.long


@settings(max_examples=30, deadline=None)
@given(NAMES, NAMES)
def test_grow_keeps_ids_and_appends_new_names(old, new) -> None:
    grown = Vocabulary(old, kind="entity").grow(new)
    assert grown.names == (*old, *(name for name in new if name not in old))
    assert grown.kind == "entity"


@settings(max_examples=30, deadline=None)
@given(NAMES, NAMES)
def test_positions_of_finds_shared_names(left, right) -> None:
    found = Vocabulary(left).positions_of(Vocabulary(right))
    assert found.dtype == torch.long
    assert found.tolist() == [left.index(name) if name in left else -1 for name in right]


@settings(max_examples=30, deadline=None)
@given(NAMES, st.randoms())
def test_subset_renumbers_in_the_given_order(names, random) -> None:
    ids = random.sample(range(len(names)), len(names) // 2)
    picked = Vocabulary(names).subset(torch.tensor(ids, dtype=torch.long))
    assert picked.names == tuple(names[i] for i in ids)


@settings(max_examples=30, deadline=None)
@given(NAMES, NAMES)
def test_equality_and_fingerprint_go_by_names_in_order(left, right) -> None:
    one, other = Vocabulary(left, kind="entity"), Vocabulary(right)
    assert (one == other) == (left == right)
    assert (one.fingerprint() == other.fingerprint()) == (left == right)
    assert len({one, Vocabulary(left)}) == 1


def test_the_fingerprint_tells_where_a_name_ends() -> None:
    assert Vocabulary(["ab", "c"]).fingerprint() != Vocabulary(["a", "bc"]).fingerprint()


def test_repeated_names_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"entity names must be unique \(got 'b' twice\)"):
        Vocabulary(["a", "b", "c", "b"], kind="entity")


@pytest.mark.parametrize("wrong", [3, None, ["list"], b"bytes"])
def test_names_are_strings(wrong) -> None:
    with pytest.raises(ValueError, match="must be a string"):
        Vocabulary(["a", wrong])


def test_unknown_names_are_counted_and_the_nearest_offered() -> None:
    vocabulary = Vocabulary(["Athens", "Greece", "Patras"], kind="entity")
    with pytest.raises(ValueError, match=r"unknown entity: 'athens'.*nearest known: 'Athens'"):
        vocabulary.id("athens")
    with pytest.raises(ValueError, match=r"'x', 'y1', 'y2', 'y3', 'y4' and 2 more \(of 3 known\)"):
        vocabulary.ids(["Athens", "x", *(f"y{i}" for i in range(1, 7))])


def test_nearest_ignores_case_and_finds_parts() -> None:
    vocabulary = Vocabulary(["United Kingdom", "UNITED KINGDOM", "Kingdom", "Greece"])
    assert vocabulary.nearest("united kingdon")[0] == "United Kingdom"
    assert vocabulary.nearest("king") == ["Kingdom", "United Kingdom"]
    assert vocabulary.nearest("zzz") == []
    assert vocabulary.nearest("") == []


@pytest.mark.parametrize("index", [-1, 2])
def test_an_id_out_of_range_is_refused(index) -> None:
    vocabulary = Vocabulary(["a", "b"], kind="relation")
    with pytest.raises(ValueError, match=r"relation ids must be in \[0, 2\)"):
        vocabulary.name(index)
    with pytest.raises(ValueError, match=r"relation ids must be in \[0, 2\)"):
        vocabulary.subset(torch.tensor([0, index]))


def test_membership() -> None:
    vocabulary = Vocabulary(["a"])
    assert "a" in vocabulary
    assert "b" not in vocabulary
    assert 0 not in vocabulary
    assert vocabulary != ["a"]
