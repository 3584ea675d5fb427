"""Ranking a target in whatever graph the model reads: same candidates, same filter, same ranks."""

from dataclasses import replace

import pytest
import torch

from pyg_kgtransfer.evaluation.link_prediction import LinkPrediction
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.graph.supplied_negatives import SuppliedNegatives
from pyg_kgtransfer.linking.alignment import Alignment
from pyg_kgtransfer.linking.linked import link, linked_subgraph
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import (
    alone,
    evaluate,
    own_alignment,
    place_in,
    ranking_of,
    supplied_ranking_of,
    validation_of,
)


def slow_ranks(checkpoint: Checkpoint, split: Split, role: str = "test") -> list[list[float]]:
    """Realistic filtered ranks by loops over names, both sides."""
    graph = checkpoint.graph
    place = checkpoint.sources.names.index(split.train.name)
    entity = checkpoint.sources.entity_maps[place].tolist()
    relation = checkpoint.sources.relation_maps[place].tolist()
    parts = [split.train.triples, split.valid.triples]
    parts += [split.test.triples] if role == "test" else []
    known = {tuple(triple) for triple in torch.cat(parts).tolist()}
    known |= {(t, r, h) for h, r, t in known if r in split.symmetric}
    ranks = []
    with torch.no_grad():
        out = checkpoint.model.encode(graph.tensors())
        every = range(split.train.num_entities)
        asked = split.test if role == "test" else split.valid
        for head, kind, tail in asked.triples.tolist():
            row = []
            h, r, t = (torch.tensor([i]) for i in (entity[head], relation[kind], entity[tail]))
            heads = checkpoint.model.score_heads(out, r, t)[0]
            tails = checkpoint.model.score_tails(out, h, r)[0]
            for scores, answer, fact in (
                (heads, head, lambda e: (e, kind, tail)),  # noqa: B023
                (tails, tail, lambda e: (head, kind, e)),  # noqa: B023
            ):
                rivals = [scores[entity[e]] for e in every if fact(e) not in known]
                own = scores[entity[answer]]
                greater, equal = (sum(map(bool, c)) for c in (
                    [s > own for s in rivals], [s == own for s in rivals]))  # fmt: skip
                row.append(1 + greater + equal / 2)
            ranks.append(row)
    return ranks


@pytest.mark.parametrize("role", ["valid", "test"])
def test_ranks_in_a_joint_graph_are_those_of_loops(pair, teacher, role) -> None:
    split = replace(
        pair.sparse, test=replace(pair.sparse.test, triples=pair.sparse.test.triples[:25])
    )
    result = evaluate(teacher, split, role)
    assert result.ranks.tolist() == slow_ranks(teacher, split, role)
    assert result.protocol["candidates"] == 40
    assert result.protocol["split"] == role


def test_a_relation_that_holds_both_ways_is_filtered_both_ways(pair, teacher) -> None:
    near = pair.sparse.train.relations.id("near")
    test = replace(pair.sparse.test, triples=pair.sparse.test.triples[:40])
    split = replace(pair.sparse, test=test, symmetric=(near,))
    assert evaluate(teacher, split).ranks.tolist() == slow_ranks(teacher, split)


def test_a_graph_alone_keeps_its_ids_and_the_usual_protocol(pair, make_recipe) -> None:
    own = pretrain(alone(pair.sparse.train), recipe=make_recipe(epochs=3))
    with torch.no_grad():
        out = own.model.encode(pair.sparse.train.tensors())
    usual = LinkPrediction.from_split(pair.sparse)(own.model, out)
    here = evaluate(own, pair.sparse)
    assert torch.equal(here.ranks, usual.ranks)
    assert here.by("popularity") == usual.by("popularity")
    assert {**here.protocol} == {**usual.protocol}


def test_memory_does_not_change_ranks(pair, teacher) -> None:
    assert torch.equal(
        evaluate(teacher, pair.sparse, memory_mb=0.01).ranks, evaluate(teacher, pair.sparse).ranks
    )


def test_a_sample_is_fixed_and_part_of_all(pair, teacher) -> None:
    rankings = [ranking_of(pair.sparse, reader=teacher, size=20) for _ in range(2)]
    assert torch.equal(rankings[0].triples, rankings[1].triples)
    every = ranking_of(pair.sparse, reader=teacher).triples.tolist()
    assert len(rankings[0].triples) == 20
    assert all(triple in every for triple in rankings[0].triples.tolist())


def test_validation_is_the_mean_over_graphs(pair, linked, teacher) -> None:
    rich = Split(
        pair.rich, HeldOut(pair.rich.triples[:30], "valid"), HeldOut(pair.rich.triples[:0], "test")
    )
    no_valid = replace(pair.sparse, valid=HeldOut(pair.sparse.valid.triples[:0], "valid"))
    with torch.no_grad():
        one = validation_of([pair.sparse, replace(no_valid)], linked)(teacher.model)
        both = validation_of([pair.sparse, rich], linked)(teacher.model)
    assert one.keys() == {"mrr", "hits@1", "hits@10"}
    assert one["mrr"] == evaluate(teacher, pair.sparse, "valid").metrics()["mrr"]
    assert both["planted.mrr"] == one["mrr"]
    assert both["mrr"] == pytest.approx((both["planted.mrr"] + both["rich.mrr"]) / 2)
    assert validation_of([no_valid], linked) is None
    assert validation_of([], linked) is None


def test_places_and_their_alignment(pair, linked, teacher) -> None:
    for reader in (linked, teacher):
        place = place_in(pair.rich, reader)
        names = place.graph.entities
        left = {right: left for left, right in pair.entity_pairs}
        for index, name in enumerate(pair.rich.entities):
            assert names.name(int(place.entity_map[index])) == left[name]
    alignment = own_alignment(teacher, pair.rich)
    assert alignment.entity_map(40).tolist() == place.entity_map.tolist()
    assert (alignment.left, alignment.right) == ("rich", teacher.graph.name)


def test_one_entity_with_two_names_is_one_candidate(make_recipe) -> None:
    target = KnowledgeGraph.from_names([("a", "r", "b"), ("b", "r", "c")], name="target")
    other = KnowledgeGraph.from_names(
        [("x", "s", "y"), ("x2", "s", "z"), ("z", "s", "w")], name="other"
    )
    alignment = Alignment.from_names(target, other, [("a", "x"), ("a", "x2")])
    linked = link([target, other], [alignment])
    split = Split(other, HeldOut(other.triples[:0], "valid"), HeldOut(other.triples[:2], "test"))
    checkpoint = pretrain(linked, recipe=make_recipe(epochs=1))
    result = evaluate(checkpoint, split)
    assert result.protocol["candidates"] == 4  # x and x2 are one
    joint = linked.graph.entities.id("a")
    assert result.triples[:, 0].tolist() == [joint, joint]


def test_what_the_reader_does_not_hold_is_refused(pair, aligned, teacher, make_recipe) -> None:
    stranger = replace(pair.sparse, train=replace(pair.sparse.train, name="stranger"))
    with pytest.raises(ValueError, match=r"'stranger' must be among .*\(got 'planted', 'rich'\)"):
        evaluate(teacher, stranger)
    with pytest.raises(ValueError, match=r"must be among .*\(got none\)"):
        evaluate(Checkpoint(teacher.model, teacher.graph), pair.sparse)
    smaller = KnowledgeGraph.from_names([("a", "r", "b")], name="planted")
    with pytest.raises(ValueError, match=r"as it was in training: 40 .*\(got 2 and 1\)"):
        place_in(smaller, teacher)
    with pytest.raises(ValueError, match=r"is 'valid' or 'test' \(got 'train'\)"):
        evaluate(teacher, pair.sparse, "train")


def test_an_empty_part_is_refused(pair, teacher) -> None:
    empty = replace(pair.sparse, test=HeldOut(pair.sparse.test.triples[:0], "test"))
    with pytest.raises(ValueError, match="the test split is empty"):
        evaluate(teacher, empty)


def test_a_source_of_which_a_part_was_left_out_cannot_be_ranked(pair, aligned) -> None:
    few = Alignment.from_names(pair.sparse.train, pair.rich, pair.entity_pairs[:2])
    near = linked_subgraph(pair.sparse.train, pair.rich, few, fan_out=1)
    nothing = HeldOut(pair.rich.triples[:0], "valid")
    rich = Split(pair.rich, nothing, HeldOut(pair.rich.triples[:5], "test"))
    with pytest.raises(ValueError, match=r"must know all its entities \(got a model that lacks"):
        ranking_of(rich, reader=near)


def test_a_graph_with_its_ids_in_another_order_is_refused(pair, teacher) -> None:
    split = pair.sparse
    order = torch.arange(split.train.num_entities).flip(0)
    turned = replace(split.train, entities=split.train.entities.subset(order))
    with pytest.raises(ValueError, match="order of its names"):
        evaluate(teacher, replace(split, train=turned))


def test_facts_with_negatives_are_ranked_among_these_in_whatever_graph(
    pair, teacher, make_recipe
) -> None:
    target = pair.sparse
    size = target.train.num_entities
    drawn = torch.Generator().manual_seed(0)

    def supplied(part: HeldOut) -> HeldOut:
        rows = torch.randint(size, (2, len(part), 9), generator=drawn)
        return HeldOut(part.triples, part.role, SuppliedNegatives(*rows))

    split = replace(target, valid=supplied(target.valid), test=supplied(target.test))
    for role, part in (("valid", split.valid), ("test", split.test)):
        found = evaluate(teacher, split, role)
        assert found.protocol["negatives"] == "supplied: 9 of each fact and side"
        assert found.num_candidates.unique().tolist() == [10]
        place = place_in(split.train, teacher)
        with torch.no_grad():
            out = teacher.model.encode(teacher.graph.tensors())
            moved = place.moved(part.triples)
            for row, (h, r, t) in enumerate(moved):
                rivals = place.entity_map[part.negatives.tail[row]]
                scores = teacher.model.score_tails(out, h[None], r[None])[0]
                greater, equal = ((scores[rivals] > scores[t]), (scores[rivals] == scores[t]))
                rank = 1 + greater.sum() + equal.sum() / 2
                assert found.ranks[row, 1].item() == pytest.approx(rank.item())
    validate = validation_of([split], alone(split.train), size=4)
    own = pretrain(alone(split.train), recipe=make_recipe(epochs=1))
    assert 0.1 <= validate(own.model)["mrr"] <= 1
    few = supplied_ranking_of(split, "valid", size=4)
    assert len(few.held_out) == 4
    with pytest.raises(ValueError, match="the test facts come without negatives"):
        supplied_ranking_of(target)
    with pytest.raises(ValueError, match=r"'valid' or 'test' \(got 'train'\)"):
        supplied_ranking_of(split, "train")
