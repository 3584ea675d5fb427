"""Domains that are told apart, and then are not."""

import pytest
import torch

import pyg_kgtransfer as kgt
from pyg_kgtransfer.objectives.domain import ReverseGradient, domain_gap, squared_mmd

MODEL = kgt.KGModel(kgt.Shallow(kgt.Lookup(2, 4), 1), kgt.DistMult())


def two_clouds(gap: float, size: int = 60, width: int = 4) -> tuple[torch.Tensor, list]:
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(2 * size, width, generator=generator)
    table[size:] += gap
    return table, [torch.arange(size), torch.arange(size, 2 * size)]


def descended(objective: kgt.Objective, table: torch.Tensor, steps: int) -> torch.Tensor:
    """The table after steps down the objective, whose own parameters learn as well."""
    entity = torch.nn.Parameter(table.clone())
    optimizer = torch.optim.Adam([entity, *objective.parameters()], lr=0.05)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        batch = kgt.Batch(torch.tensor([[0, 0, 1]]), generator, progress=step / steps)
        loss = objective(MODEL, kgt.Representations(entity, torch.zeros(1, 4)), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return entity.detach()


def test_gradients_are_reversed() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    found = ReverseGradient.apply(x, 0.5)
    assert torch.equal(found, x)
    found.sum().backward()
    assert x.grad.tolist() == [-0.5, -0.5]


@pytest.mark.parametrize("kind", ["mmd", "adversary"])
def test_domains_come_together(kind: str) -> None:
    table, domains = two_clouds(gap=2.0)
    objective = kgt.MMD(domains) if kind == "mmd" else kgt.DomainAdversary(domains, width=4)
    before = domain_gap(table[:60], table[60:])
    moved = descended(objective, table, 150)
    after = domain_gap(moved[:60], moved[60:])
    assert before["a_distance"] > 1.5
    assert after["a_distance"] < 0.7 * before["a_distance"]
    assert after["mmd"] < 0.3 * before["mmd"]


def test_discrepancy_is_that_of_its_definition() -> None:
    """Against sums over pairs, one by one."""
    left, right = torch.randn(5, 3), torch.randn(7, 3) + 1
    both = torch.cat([left, right])
    usual = sum(float((a - b).square().sum()) for a in both for b in both) / (12 * 11)

    def kernel(a, b) -> float:
        distance = float((a - b).square().sum())
        return sum(torch.tensor(-distance / (w * usual)).exp() for w in (0.25, 0.5, 1, 2, 4)) / 5

    def inner(x, y, *, same: bool) -> float:
        values = [
            kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(y) if i != j or not same
        ]
        return float(sum(values) / len(values))

    slow = inner(left, left, same=True) + inner(right, right, same=True)
    slow -= 2 * inner(left, right, same=False)
    assert float(squared_mmd(left, right)) == pytest.approx(slow, abs=1e-5)


def test_domains_that_are_one_have_no_gap() -> None:
    table, _ = two_clouds(gap=0.0, size=300)
    found = domain_gap(table[:300], table[300:])
    assert found["a_distance"] < 0.4
    assert abs(found["mmd"]) < 0.02


def test_bad_domains_are_named() -> None:
    with pytest.raises(ValueError, match=r"two domains \(got 1\)"):
        kgt.MMD([torch.arange(3)])
    with pytest.raises(ValueError, match="for domain 1"):
        kgt.DomainAdversary([torch.arange(3), torch.arange(0)], width=4)
    with pytest.raises(ValueError, match="2 rows of each"):
        squared_mmd(torch.ones(1, 2), torch.ones(3, 2))
    batch = kgt.Batch(torch.tensor([[0, 0, 1]]), torch.Generator())
    apart, other = kgt.MMD([torch.arange(3)] * 2), kgt.FoundationModel(4, 1)
    with pytest.raises(ValueError, match="domain adaptation needs a model with a vector"):
        apart(other, None, batch)
    with pytest.raises(ValueError, match="sample_size"):
        kgt.MMD([torch.arange(3), torch.arange(3)], sample_size=1)
    with pytest.raises(ValueError, match=r"got 2, right"):
        domain_gap(torch.ones(4, 1), torch.ones(2, 1))


def test_it_joins_a_mixture_in_training() -> None:
    facts = [(f"a{i}", "r", f"a{i + 1}") for i in range(9)]
    graph = kgt.KnowledgeGraph.from_names(facts, name="world")
    config = kgt.ModelConfig(encoder="shallow", width=4)
    model = kgt.build_model(config, num_entities=10, num_relations=1)
    mixture = kgt.Mixture(
        {"task": kgt.OneVsAll(), "domain": kgt.MMD([torch.arange(5), torch.arange(5, 10)])},
        {"domain": 0.5},
    )
    training = kgt.TrainConfig(epochs=2, progress=False, accelerator="cpu")
    history = kgt.Trainer(training).fit(
        model, mixture, kgt.TripleBatches(graph.triples), graph=graph.tensors()
    )
    assert set(history.rows[-1]["terms"]) == {"task", "domain"}
