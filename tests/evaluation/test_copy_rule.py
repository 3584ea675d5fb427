"""The copy rule against a slow twin, and under the protocol of models."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_kgtransfer.evaluation.copy_rule import CopyRule
from pyg_kgtransfer.evaluation.link_prediction import LinkPrediction
from pyg_kgtransfer.graph.known_triples import KnownTriples


def slow_key(train, copies, h, r, t, *, side, shared):
    """(evidence, frequency) of (h, r, t) in plain loops; higher is better, evidence first."""
    facts = set(train)
    links = {(a, (s, True), b) for a, s, b in copies} | {(b, (s, False), a) for a, s, b in copies}
    silent = 1.0
    for a, s, b in links:
        if (a, b) != (h, t):
            continue
        if shared:
            share = float(s == (r, True))
        else:
            linked = [(x, y) for x, other, y in links if other == s]
            share = sum((x, r, y) in facts for x, y in linked) / len(linked)
        silent *= 1 - share
    frequency = sum(f[1] == r and f[2 if side == "tail" else 0] == (t if side == "tail" else h)
                    for f in facts)  # fmt: skip
    return round((1 - silent) * 2**20), frequency


triples = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 3)), max_size=8)


@settings(max_examples=50, deadline=None)
@given(triples, triples, st.booleans())
def test_scores_order_candidates_as_the_slow_twin_does(train, copies, shared):
    rule = CopyRule(
        torch.tensor(train, dtype=torch.long).view(-1, 3),
        torch.tensor([*copies, (-1, 0, 2), (1, 5, -1)]),
        num_entities=4,
        num_relations=2,
        relations="shared" if shared else "learned",
    )
    for given_end in range(4):
        for r in range(2):
            one, relation = torch.tensor([given_end]), torch.tensor([r])
            tails = rule.score_tails(None, one, relation)[0].tolist()
            heads = rule.score_heads(None, relation, one)[0].tolist()
            for c in range(4):
                e, f = slow_key(train, copies, given_end, r, c, side="tail", shared=shared)
                assert tails[c] == e * 2**32 + f
                e, f = slow_key(train, copies, c, r, given_end, side="head", shared=shared)
                assert heads[c] == e * 2**32 + f


def test_candidates_are_read_from_the_whole_row():
    rule = CopyRule(torch.tensor([[0, 0, 1], [2, 0, 1], [2, 0, 3]]), torch.tensor([[0, 0, 2]]),
                    num_entities=4, num_relations=1, relations="shared")  # fmt: skip
    head, relation = torch.tensor([0, 1]), torch.tensor([0, 0])
    whole = rule.score_tails(None, head, relation)
    assert whole.argmax(1).tolist() == [2, 1]  # the copy, then the most frequent
    shared = torch.tensor([3, 1])
    assert torch.equal(rule.score_tails(None, head, relation, shared), whole[:, shared])
    own = torch.tensor([[0, 1, 2], [3, 3, 1]])
    assert torch.equal(rule.score_tails(None, head, relation, own), whole.gather(1, own))
    assert rule.encode(None) is None


def test_it_is_ranked_like_a_model_and_finds_every_copy():
    n = 12
    train = torch.tensor([[i, 0, (i + 1) % n] for i in range(0, n, 2)])
    test = torch.tensor([[i, 0, (i + 1) % n] for i in range(1, n, 2)])
    other_ids = torch.cat([train, test])[:, [2, 1, 0]] + torch.tensor([0, 7, 0])  # turned, id 7
    known = KnownTriples([train, test], num_entities=n, num_relations=1)
    evaluate = LinkPrediction(test, known)
    learned = CopyRule(train, other_ids, num_entities=n, num_relations=1)
    assert evaluate(learned, learned.encode(None)).metrics()["hits@1"] == 1
    no_copies = CopyRule(train, other_ids[:0], num_entities=n, num_relations=1)
    assert evaluate(no_copies, None).metrics()["mrr"] < 0.5


def test_bad_input_is_refused():
    fine = torch.tensor([[0, 0, 1]])
    with pytest.raises(ValueError, match=r"head ids of training triples .*\[0, 2\) \(got 2 to 2"):
        CopyRule(torch.tensor([[2, 0, 1]]), fine, num_entities=2, num_relations=1)
    with pytest.raises(ValueError, match=r"relation ids of copied triples .*\[0, 1\)"):
        CopyRule(fine, torch.tensor([[0, 1, 1]]), num_entities=2, num_relations=1,
                 relations="shared")  # fmt: skip
    with pytest.raises(ValueError, match=r"tail ids of copied .*got -2 to -2"):
        CopyRule(fine, torch.tensor([[0, 0, -2]]), num_entities=2, num_relations=1)
    with pytest.raises(ValueError, match=r"copied triples must be int64"):
        CopyRule(fine, torch.empty(0), num_entities=2, num_relations=1)
    with pytest.raises(ValueError, match="'shared' or 'learned'"):
        CopyRule(fine, fine, num_entities=2, num_relations=1, relations="same")
