import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_kgtransfer.graph.known_triples import KnownTriples

N, R = 5, 3
triple_lists = st.lists(
    st.tuples(st.integers(0, N - 1), st.integers(0, R - 1), st.integers(0, N - 1)), max_size=25
)
relation_sets = st.sets(st.integers(0, R - 1))


def tensor_of(triples) -> torch.Tensor:
    return torch.tensor(triples, dtype=torch.long).view(-1, 3)


def index_of(*parts, symmetric=()) -> KnownTriples:
    tensors = [tensor_of(part) for part in parts]
    return KnownTriples(tensors, num_entities=N, num_relations=R, symmetric=symmetric)


def set_of(*parts, symmetric=()) -> set[tuple[int, int, int]]:
    """The twin: a Python set."""
    facts = {tuple(triple) for part in parts for triple in part}
    return facts | {(t, r, h) for h, r, t in facts if r in symmetric}


@settings(max_examples=40, deadline=None)
@given(triple_lists, triple_lists, relation_sets)
def test_tails_and_heads_equal_those_of_a_set(left, right, symmetric) -> None:
    known = index_of(left, right, symmetric=symmetric)
    facts = set_of(left, right, symmetric=symmetric)
    assert len(known) == len(facts)
    entity, relation = torch.arange(N).repeat_interleave(R), torch.arange(R).repeat(N)
    queries = list(zip(entity.tolist(), relation.tolist(), strict=True))
    row, tail = known.tails(entity, relation)
    assert list(zip(row.tolist(), tail.tolist(), strict=True)) == [
        (i, t) for i, (h, r) in enumerate(queries) for t in range(N) if (h, r, t) in facts
    ]
    row, head = known.heads(relation, entity)
    assert list(zip(row.tolist(), head.tolist(), strict=True)) == [
        (i, h) for i, (t, r) in enumerate(queries) for h in range(N) if (h, r, t) in facts
    ]


@settings(max_examples=40, deadline=None)
@given(triple_lists, relation_sets)
def test_contains_equals_membership(triples, symmetric) -> None:
    known, facts = index_of(triples, symmetric=symmetric), set_of(triples, symmetric=symmetric)
    every = torch.cartesian_prod(torch.arange(N), torch.arange(R), torch.arange(N))
    found = known.contains(every)
    assert found.dtype == torch.bool
    assert found.tolist() == [tuple(t) in facts for t in every.tolist()]
    assert known.contains(every.view(N, R, N, 3)).shape == (N, R, N)


def test_nothing_is_known_without_triples() -> None:
    known = KnownTriples([], num_entities=0, num_relations=0)
    assert len(known) == 0
    assert index_of().tails(torch.tensor([0]), torch.tensor([0]))[1].tolist() == []
    assert index_of().contains(torch.tensor([[0, 0, 0]])).tolist() == [False]


@pytest.mark.parametrize("bad", [(N, 0, 0), (0, R, 0), (0, 0, N), (-1, 0, 0)])
def test_ids_out_of_range_are_refused(bad) -> None:
    with pytest.raises(ValueError, match="known triples need ids of 5 entities and 3 relations"):
        index_of([(0, 0, 0), bad])


def test_more_possible_triples_than_int64_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="64-bit keys"):
        KnownTriples([], num_entities=1 << 31, num_relations=4)


def test_moving_keeps_the_answers() -> None:
    known = index_of([(0, 1, 2), (0, 1, 4)]).to("cpu")
    assert known.tails(torch.tensor([0]), torch.tensor([1]))[1].tolist() == [2, 4]
    assert known.num_entities == N


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_triples_of_a_cuda_device_stay_there() -> None:
    facts = tensor_of([(0, 1, 2), (3, 1, 2)]).cuda()
    known = KnownTriples([facts], num_entities=N, num_relations=R, symmetric=[1])
    assert known.contains(facts.flip(1)).tolist() == [True, True]
    assert known.heads(facts[:1, 1], facts[:1, 2])[1].device.type == "cuda"
