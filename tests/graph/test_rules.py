"""Rules against a slow reading of their definitions, and what they propose."""

import itertools

import pytest
import torch

import pyg_kgtransfer as kgt
from pyg_kgtransfer.graph.rules import Rule, mine_rules, proposal_counts, propose_facts


def random_graph(seed: int) -> kgt.KnowledgeGraph:
    generator = torch.Generator().manual_seed(seed)
    triples = torch.randint(9, (60, 3), generator=generator) % torch.tensor([9, 3, 9])
    facts = [(f"e{h}", f"r{r}", f"e{t}") for h, r, t in triples.tolist()]
    return kgt.KnowledgeGraph.from_names(facts)


def slow_rules(graph: kgt.KnowledgeGraph, min_support: int) -> dict[tuple, tuple]:
    """(body, head) -> support, confidence, confidence under partial completeness."""
    facts = set(graph.named_triples())
    steps = {r: {(h, t) for h, q, t in facts if q == r} for r in graph.relations}
    steps |= {f"^{r}": {(t, h) for h, t in pairs} for r, pairs in list(steps.items())}
    bodies = {(name,): pairs for name, pairs in steps.items()}
    for one, other in itertools.product(steps, repeat=2):
        pairs = {(x, y) for x, z in steps[one] for w, y in steps[other] if z == w}
        if one.strip("^") == other.strip("^") and one != other:
            pairs = {(x, y) for x, y in pairs if x != y}
        bodies[one, other] = pairs
    found = {}
    for body, pairs in bodies.items():
        for head in graph.relations:
            support = len(pairs & steps[head])
            if body != (head,) and support >= min_support:
                known = {x for x, _ in steps[head]}
                partial = sum(x in known for x, _ in pairs)
                found[body, head] = (support, support / len(pairs), support / partial)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_rules_are_those_of_the_definitions(seed: int) -> None:
    graph = random_graph(seed)
    found = {
        (rule.body, rule.head): (rule.support, rule.confidence, rule.pca_confidence)
        for rule in mine_rules(graph, min_support=2, min_confidence=0.0)
    }
    slow = slow_rules(graph, 2)
    assert found.keys() == slow.keys()
    for key, numbers in slow.items():
        assert found[key] == pytest.approx(numbers)
    sure = mine_rules(graph, min_support=2, min_confidence=0.6)
    assert {(r.body, r.head) for r in sure} == {k for k, v in slow.items() if v[2] >= 0.6}


def test_planted_kinds_are_named() -> None:
    facts = [(f"c{i}", "in", f"l{i % 3}") for i in range(12)]
    facts += [(f"l{i}", "part_of", "world") for i in range(3)]
    facts += [(f"c{i}", "on", "world") for i in range(12)]
    facts += [(a, "has", b) for b, r, a in facts if r == "in"]
    facts += [(f"c{i}", "near", f"c{(i + 1) % 12}") for i in range(12)]
    facts += [(f"c{(i + 1) % 12}", "near", f"c{i}") for i in range(12)]
    graph = kgt.KnowledgeGraph.from_names(facts)
    kinds = {(r.kind, r.body, r.head) for r in mine_rules(graph, min_confidence=0.99)}
    assert ("symmetry", ("^near",), "near") in kinds
    assert ("inverse", ("^in",), "has") in kinds
    assert ("composition", ("in", "part_of"), "on") in kinds


def test_each_rule_counts_what_it_proposes() -> None:
    graph = random_graph(1)
    rules = mine_rules(graph, min_support=2, min_confidence=0.3)
    counts = proposal_counts(graph, rules)
    assert counts == [len(propose_facts(graph, [rule]).triples) for rule in rules]
    assert max(counts) <= len(propose_facts(graph, rules).triples) <= sum(counts)


def test_what_is_stated_is_not_proposed() -> None:
    graph = random_graph(0)
    rules = mine_rules(graph, min_support=2, min_confidence=0.3)[:6]
    triples, weight = propose_facts(graph, rules)
    named = graph.with_triples(triples).named_triples()
    assert not set(named) & set(graph.named_triples())
    assert len(set(named)) == len(named) > 0
    strong = {rule.head: rule.pca_confidence for rule in reversed(rules)}
    for (_, relation, _), share in zip(named, weight.tolist(), strict=True):
        assert 0 < share <= strong[relation] + 1e-6
    assert len(propose_facts(graph, []).triples) == 0


def test_where_all_is_stated_nothing_is_proposed() -> None:
    facts = [(f"{i}", "next", f"{i + 1}") for i in range(20)]
    graph = kgt.KnowledgeGraph.from_names([*facts, *((b, "prev", a) for a, _, b in facts)])
    assert len(propose_facts(graph, mine_rules(graph)).triples) == 0


def test_there_and_back_again_is_no_pair() -> None:
    facts = [(f"p{i}", "born_in", f"c{i % 3}") for i in range(12)]
    facts += [(f"p{i}", "mate", f"p{j}") for i in range(12) for j in range(12)
              if i != j and i % 3 == j % 3]  # fmt: skip
    graph = kgt.KnowledgeGraph.from_names(facts[:-1])
    rules = [rule for rule in mine_rules(graph) if rule.body == ("born_in", "^born_in")]
    found = graph.with_triples(propose_facts(graph, rules).triples).named_triples()
    assert found == [(facts[-1][0], "mate", facts[-1][2])]


def test_hubs_are_passed_over_and_bad_input_is_named() -> None:
    graph = random_graph(1)
    short = mine_rules(graph, min_support=1, min_confidence=0.0, max_pairs=0)
    assert {len(rule.body) for rule in short} == {1}
    with pytest.raises(ValueError, match="min_support"):
        mine_rules(graph, min_support=0)
    with pytest.raises(ValueError, match="min_confidence"):
        mine_rules(graph, min_confidence=2)
    with pytest.raises(ValueError, match="r9"):
        propose_facts(graph, [Rule(("r9",), "r1", 3, 1.0, 1.0)])
