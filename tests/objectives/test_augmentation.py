"""Facts that rules propose: drawn by their weights, learned by the same loss, and of use."""

import pytest
import torch

import pyg_kgtransfer as kgt
from pyg_kgtransfer.graph.rules import Proposals, mine_rules, propose_facts
from pyg_kgtransfer.objectives.augmentation import ProposedFacts
from pyg_kgtransfer.objectives.link_prediction import N3, OneVsAll
from pyg_kgtransfer.objectives.objective import Batch, Mixture, Objective


class Asked(Objective):
    """Keeps the batches that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[Batch] = []

    def forward(self, model, representations, batch):
        self.batches.append(batch)
        return representations.entity.sum() * 0.0


def proposals(weight: list[float]) -> Proposals:
    triples = torch.tensor([[i, 0, i + 1] for i in range(len(weight))])
    return Proposals(triples, torch.tensor(weight))


def test_facts_are_drawn_in_proportion_to_their_weights(graph, model) -> None:
    asked = Asked()
    objective = ProposedFacts(proposals([0.9, 0.3, 0.0]), asked, sample_size=4000)
    batch = Batch(graph.triples, torch.Generator().manual_seed(0), torch.zeros(40), 0.5)
    objective(model, model.encode(graph.tensors()), batch)
    given = asked.batches[0]
    assert (given.source, given.progress) == (None, 0.5)
    shares = torch.bincount(given.triples[:, 0], minlength=3) / 4000
    torch.testing.assert_close(shares, torch.tensor([0.75, 0.25, 0.0]), rtol=0, atol=0.03)
    assert given.triples[:, 2].tolist() == (given.triples[:, 0] + 1).tolist()


def test_draws_are_the_batches_own(graph, model) -> None:
    asked = Asked()
    objective = ProposedFacts(proposals([0.5] * 8), asked, sample_size=16)
    for seed in (1, 1, 2):
        batch = Batch(graph.triples, torch.Generator().manual_seed(seed))
        objective(model, model.encode(graph.tensors()), batch)
    first, again, other = (each.triples for each in asked.batches)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_loss_is_that_of_the_facts_and_its_terms_keep_their_names(graph, model, batch) -> None:
    loss = Mixture({"task": OneVsAll(), "n3": N3()}, {"n3": 0.1})
    objective = ProposedFacts(proposals([1.0]), loss, sample_size=3)
    vectors = model.encode(graph.tensors())
    terms = objective.terms(model, vectors, batch)
    expected = loss.terms(model, vectors, batch._replace(triples=torch.tensor([[0, 0, 1]] * 3)))
    assert terms.keys() == expected.keys() == {"task", "n3"}
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)
    total = objective(model, vectors, batch)
    torch.testing.assert_close(total, sum(expected.values()))


def test_nothing_proposed_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs a proposal \(got none\)"):
        ProposedFacts(proposals([])._replace(triples=torch.empty(0, 3).long()), OneVsAll())
    with pytest.raises(ValueError, match=r"sample_size must be at least 1 \(got 0\)"):
        ProposedFacts(proposals([1.0]), OneVsAll(), sample_size=0)


def relatives(size: int = 60) -> kgt.Split:
    """Random parents and homes; who is of which home follows, and of two thirds is not stated."""
    generator = torch.Generator().manual_seed(0)
    parent, home = (torch.randint(size, (size,), generator=generator) for _ in range(2))
    child = torch.arange(size)
    columns = [(child, 0, parent), (child, 1, home), (child, 2, home[parent])]
    facts = [torch.stack([h, torch.full_like(h, r), t], 1) for h, r, t in columns]
    train = torch.cat([*facts[:2], facts[2][: size // 3]])
    names = {"entities": [f"e{i}" for i in range(size)], "relations": ["parent", "home", "of"]}
    graph = kgt.KnowledgeGraph.from_names([], **names, name="relatives").with_triples(train)
    held_out = facts[2][size // 3 :]
    return kgt.Split(graph, kgt.HeldOut(held_out[:0], "valid"), kgt.HeldOut(held_out, "test"))


def mrr(split: kgt.Split, found: Proposals | None) -> float:
    """Of a shallow model after 40 epochs, the proposals learned as well."""
    config = kgt.ModelConfig(encoder="shallow", width=32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kgt.build_model(config, num_entities=60, num_relations=3)
    terms: dict[str, Objective] = {"task": OneVsAll(), "n3": N3()}
    if found is not None:
        terms["proposed"] = ProposedFacts(found, OneVsAll())
    training = kgt.TrainConfig(
        epochs=40, learning_rate=0.1, optimizer="adagrad", progress=False, accelerator="cpu"
    )
    kgt.Trainer(training).fit(
        model,
        Mixture(terms, {"n3": 0.05}),
        kgt.TripleBatches(split.train.triples, kgt.BatchOptions(batch_size=256)),
        graph=split.train.tensors(),
    )
    rank = kgt.ranking_of(split)
    return rank(model, model.encode(split.train.tensors())).metrics()["mrr"]


def test_what_a_rule_proposes_is_learned_and_other_facts_do_not_help() -> None:
    split = relatives()
    found = propose_facts(split.train, mine_rules(split.train, min_confidence=0.9))
    order = torch.randperm(len(found.triples), generator=torch.Generator().manual_seed(0))
    tails = found.triples[order, 2:]
    shuffled = found._replace(triples=torch.cat([found.triples[:, :2], tails], 1))
    plain, proposed, control = (mrr(split, each) for each in (None, found, shuffled))
    assert proposed > 0.8 > plain + 0.3
    assert control < plain + 0.1
