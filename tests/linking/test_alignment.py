import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.linking.alignment import Alignment, Pairs

N = 7
pair_sets = st.lists(st.tuples(st.integers(0, N - 1), st.integers(0, N - 1)), unique=True)


def graph_of(name: str, types: list[str] | None = None) -> KnowledgeGraph:
    kinds = None if types is None else Vocabulary(dict.fromkeys(types))
    return KnowledgeGraph(
        Vocabulary((f"{name}{i}" for i in range(N)), kind="entity"),
        Vocabulary(["r", "s"], kind="relation"),
        torch.empty(0, 3, dtype=torch.long),
        name,
        entity_types=kinds,
        entity_type=None if types is None or kinds is None else kinds.ids(types),
    )


LEFT, RIGHT = graph_of("left"), graph_of("right")


def alignment_of(pairs, confidence=None, held_out=None) -> Alignment:
    return Alignment(
        "left",
        "right",
        Pairs.of(
            torch.tensor(list(pairs), dtype=torch.long).view(-1, 2),
            None if confidence is None else torch.tensor(confidence),
            None if held_out is None else torch.tensor(held_out, dtype=torch.bool),
        ),
        Pairs.empty(),
    )


@pytest.mark.parametrize(
    ("index", "confidence", "held_out", "message"),
    [
        (torch.zeros(2, 3).long(), None, None, r"\[P, 2\] \(got torch.int64 \(2, 3\)\)"),
        (torch.zeros(1, 2), None, None, "got torch.float32"),
        (torch.tensor([[0, -1]]), None, None, "at least 0"),
        (torch.tensor([[0, 1]]), torch.tensor([1.5]), None, r"in \[0, 1\] \(got 1.5\)"),
        (torch.tensor([[0, 1]]), torch.tensor([float("nan")]), None, "got nan"),
        (torch.tensor([[0, 1]]), torch.ones(2), None, "one floating-point confidence"),
        (torch.tensor([[0, 1]]), torch.tensor([1]), None, "one floating-point confidence"),
        (torch.tensor([[0, 1]]), None, torch.tensor([0]), "held_out must be bool"),
        (torch.tensor([[0, 1], [2, 0], [0, 1]]), None, None, r"ids \[0, 1\] more than once"),
    ],
)
def test_pairs_are_checked(index, confidence, held_out, message) -> None:
    with pytest.raises(ValueError, match=message):
        Pairs.of(index, confidence, held_out)


def test_names_become_ids() -> None:
    alignment = Alignment.from_names(
        LEFT,
        RIGHT,
        [("left3", "right0"), ("left1", "right1")],
        [("r", "s")],
        confidence=[0.5, 1],
    )
    assert (alignment.left, alignment.right) == ("left", "right")
    assert alignment.entities.index.tolist() == [[3, 0], [1, 1]]
    assert alignment.entities.confidence.tolist() == [0.5, 1]
    assert alignment.relations.index.tolist() == [[0, 1]]
    assert alignment.relation_map(2).tolist() == [1, -1]
    assert repr(alignment) == "Alignment('left' ~ 'right': 2 entities (0 held out), 1 relations)"


def test_unknown_names_are_listed_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"2 unknown in 'right'.*'rigth3' \(nearest: 'right3'"):
        Alignment.from_names(LEFT, RIGHT, [("left0", "rigth3"), ("left1", "nobody")])
    with pytest.raises(ValueError, match=r"every relation .* 'left'\): 'q' \(nearest: none\)"):
        Alignment.from_names(LEFT, RIGHT, [], [("q", "r")])
    with pytest.raises(ValueError, match=r"\('left0', 'right0'\) more than once"):
        Alignment.from_names(LEFT, RIGHT, [("left0", "right0")] * 2)


def test_ids_out_of_range_name_the_graph() -> None:
    with pytest.raises(ValueError, match=r"\[0, 7\) for graph 'right' \(got 9\)"):
        alignment_of([(0, 9)]).check(LEFT, RIGHT)


@given(pair_sets, st.data())
@settings(max_examples=40, deadline=None)
def test_the_map_takes_the_surest_usable_pair(pairs, data) -> None:
    size = len(pairs)
    sure = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=size, max_size=size))
    held = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    expected = []
    for entity in range(N):
        best, best_sure = -1, -1.0
        for (left, right), confidence, out in zip(pairs, sure, held, strict=True):
            if left == entity and not out and confidence > best_sure:
                best, best_sure = right, confidence
        expected.append(best)
    assert alignment_of(pairs, sure, held).entity_map(N).tolist() == expected


def test_reversed_twice_is_the_same() -> None:
    alignment = alignment_of([(0, 3), (1, 2)], [0.5, 1.0], [True, False])
    back = alignment.reversed()
    assert (back.left, back.right) == ("right", "left")
    assert back.entities.index.tolist() == [[3, 0], [2, 1]]
    assert back.reversed().entities.index.tolist() == [[0, 3], [1, 2]]
    assert back.entities.held_out.tolist() == [True, False]
    assert back.usable().entities.index.tolist() == [[2, 1]]


@given(pair_sets, st.floats(0, 1), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_a_split_holds_whole_groups_out(pairs, share, seed) -> None:
    split = alignment_of(pairs).split(share, seed=seed)
    assert int(split.entities.held_out.sum()) <= round(share * len(pairs))
    out, usable = (
        split.entities.index[mask] for mask in (split.entities.held_out, ~split.entities.held_out)
    )
    for column in (0, 1):
        assert not set(out[:, column].tolist()) & set(usable[:, column].tolist())
    assert split.entities.index.tolist() == [list(pair) for pair in pairs]


def test_a_split_of_single_pairs_is_exact_and_seeded() -> None:
    one_to_one = alignment_of([(i, i) for i in range(50)])
    held = [one_to_one.split(0.3, seed=s).entities.held_out for s in (0, 0, 1)]
    assert [int(mask.sum()) for mask in held] == [15, 15, 15]
    assert torch.equal(held[0], held[1])
    assert not torch.equal(held[0], held[2])
    with pytest.raises(ValueError, match=r"\[0, 1\] \(got 1.2\)"):
        one_to_one.split(1.2)


def test_a_shuffle_permutes_within_types_and_keeps_held_out_pairs() -> None:
    left = graph_of("left", ["a", "a", "a", "b", "b", "b", "b"])
    right = graph_of("right", ["x", "x", "x", "y", "y", "y", "y"])
    held = [False] * 6 + [True]
    alignment = alignment_of([(i, i) for i in range(N)], [0.1 * i for i in range(N)], held)
    moved = 0
    for seed in range(20):
        control = alignment.shuffled(left, right, torch.Generator().manual_seed(seed)).entities
        assert control.index[control.held_out].tolist() == [[6, 6]]
        usable = dict(control.index[~control.held_out].tolist())
        assert set(usable) == set(usable.values()) == set(range(6))
        assert {usable[i] for i in range(3)} == {0, 1, 2}
        of_left = dict(zip(control.index[:, 0].tolist(), control.confidence.tolist(), strict=True))
        assert of_left == pytest.approx({i: 0.1 * i for i in range(N)})
        moved += sum(a != b for a, b in usable.items())
    assert 60 <= moved <= 100  # of 120; on average one of each kind stays: 80


@given(pair_sets, st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_a_shuffle_keeps_ids_and_stays_valid_with_several_counterparts(pairs, seed) -> None:
    held = [bool(i % 3 == 0) for i in range(len(pairs))]
    alignment = alignment_of(pairs, held_out=held)
    control = alignment.shuffled(LEFT, RIGHT, torch.Generator().manual_seed(seed)).entities
    out = {tuple(pair) for pair in control.index[control.held_out].tolist()}
    assert out == {pair for pair, mark in zip(pairs, held, strict=True) if mark}
    usable = [pair for pair, mark in zip(pairs, held, strict=True) if not mark]
    for column in (0, 1):
        drawn = set(control.index[~control.held_out][:, column].tolist())
        assert drawn <= {pair[column] for pair in usable}


def test_a_file_gives_the_same_back(tmp_path) -> None:
    path = tmp_path / "pairs.tsv"
    alignment = Alignment(
        "left",
        "right",
        Pairs(torch.tensor([[0, 6], [3, 3]]), torch.tensor([0.3, 1]), torch.tensor([True, False])),
        Pairs.of(torch.tensor([[1, 0]])),
    )
    alignment.write(path, LEFT, RIGHT)
    again = Alignment.read(path, LEFT, RIGHT)
    assert (again.left, again.right) == ("left", "right")
    for pairs, other in (
        (alignment.entities, again.entities),
        (alignment.relations, again.relations),
    ):
        assert torch.equal(pairs.index, other.index)
        assert torch.equal(pairs.confidence, other.confidence)
        assert torch.equal(pairs.held_out, other.held_out)
    assert [file.name for file in tmp_path.iterdir()] == ["pairs.tsv"]
    with pytest.raises(ValueError, match="for graph 'left'"):
        alignment_of([(8, 0)]).write(path, LEFT, RIGHT)
    with pytest.raises(FileNotFoundError):
        Alignment.read(tmp_path / "none.tsv", LEFT, RIGHT)
