"""KG-FIT's constraints against loops over entities and clusters."""

import math

import pytest
import torch
from hypothesis import given, settings

from pyg_kgtransfer.graph.hierarchy import Hierarchy
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.models.decoders import TransE
from pyg_kgtransfer.models.encoder import Representations
from pyg_kgtransfer.models.inputs import Lookup, Shallow
from pyg_kgtransfer.models.kg_model import KGModel
from pyg_kgtransfer.objectives.hierarchy import HierarchyObjective, HierarchyOptions
from pyg_kgtransfer.objectives.objective import Batch
from tests.graph.test_hierarchy import trees

WIDTH = 4


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return 1.0 - float(a @ b / (a.norm() * b.norm()))


def slow(tree: Hierarchy, text: torch.Tensor, vectors: torch.Tensor, ids: list[int], phi: float):
    clusters = tree.vectors(text)
    near = tree.neighbours(5)
    found: dict[str, list[float]] = {"cohesion": [], "separation": [], "distance": [], "anchor": []}
    for i in ids:
        a, cluster = vectors[i], int(tree.cluster_of[i])
        if text[i].any():
            found["anchor"].append(distance(a, text[i]))
        if cluster < 0:
            continue
        path = tree.path(cluster)
        found["cohesion"].append(distance(a, clusters[cluster]))
        others = [c for c in near[cluster].tolist() if c >= 0]
        if others:
            away = [distance(a, clusters[c]) for c in others]
            found["separation"].append(-sum(away) / len(away))
        if len(path) > 1:
            steps = [
                math.exp(-phi * j) * (distance(a, clusters[path[j]]) - distance(a, clusters[p]))
                for j, p in enumerate(path[:-1], 1)
            ]
            found["distance"].append(-sum(steps) / len(steps))
    return {name: sum(v) / len(v) if v else 0.0 for name, v in found.items()}


def model_of(count: int) -> KGModel:
    return KGModel(Shallow(Lookup(count, WIDTH), 1), TransE())


@given(tree=trees())
@settings(max_examples=40, deadline=None)
def test_terms_are_those_of_loops(tree: Hierarchy) -> None:
    count = len(tree.entities)
    generator = torch.Generator().manual_seed(count)
    text, vectors = torch.randn(2, count, WIDTH, dtype=torch.float64, generator=generator)
    text[0] = 0.0  # no words for this one
    if not tree.vectors(text).any(1).all():
        return
    triples = torch.randint(count, (6, 3), generator=generator)
    triples[:, 1] = 0
    options = HierarchyOptions(1.0, 1.0, 1.0, 1.0, decay=0.3)
    objective = HierarchyObjective(tree, text, options)
    representations = Representations(vectors, torch.zeros(1, WIDTH))
    terms = objective.terms(model_of(count), representations, Batch(triples, generator))
    expected = slow(tree, text, vectors, triples[:, ::2].flatten().tolist(), 0.3)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)


def planted() -> tuple[Hierarchy, torch.Tensor]:
    """Two clusters of two, whose texts are nearly alike."""
    parent = torch.tensor([-1, 0, 0])
    tree = Hierarchy(Vocabulary("abcd"), parent, torch.tensor([1, 1, 2, 2]), ("",) * 3)
    text = torch.tensor([[1.0, 0, 0, 0.1], [1, 0.1, 0, 0], [0, 0, 1, 0.1], [0, 0.1, 1, 0]])
    return tree, text


def test_weights_scale_the_terms_and_zeros_leave_them_out() -> None:
    tree, text = planted()
    batch = Batch(torch.tensor([[0, 0, 2]]), torch.Generator())
    vectors = Representations(torch.randn(4, 4), torch.zeros(1, 4))
    one = HierarchyObjective(tree, text, HierarchyOptions(1.0, 1.0, 1.0, 1.0))
    other = HierarchyObjective(tree, text, HierarchyOptions(0.5, 0.0, 0.25, 0.0))
    whole, part = (o.terms(model_of(4), vectors, batch) for o in (one, other))
    assert set(part) == {"cohesion", "distance"}
    torch.testing.assert_close(part["cohesion"], 0.5 * whole["cohesion"])
    torch.testing.assert_close(part["distance"], 0.25 * whole["distance"])
    none = HierarchyObjective(tree, text, HierarchyOptions(0.0, 0.0, 0.0, 0.0))
    assert none(model_of(4), vectors, batch).item() == 0.0


def test_training_on_it_brings_entities_to_their_cluster_and_away_from_the_other() -> None:
    tree, text = planted()
    torch.manual_seed(0)
    model = model_of(4)
    table = model.encoder.inputs.weight
    objective = HierarchyObjective(tree, text, HierarchyOptions(anchor=0.0))
    optimizer = torch.optim.Adam([table], lr=0.05)
    batch = Batch(torch.tensor([[0, 0, 1], [2, 0, 3]]), torch.Generator())
    for _ in range(200):
        optimizer.zero_grad()
        objective(model, Representations(table, torch.zeros(1, 4)), batch).backward()
        optimizer.step()
    clusters = tree.vectors(text)
    for i in range(4):
        own, other = (1, 2) if i < 2 else (2, 1)
        assert distance(table[i].detach(), clusters[own]) < 0.2
        assert distance(table[i].detach(), clusters[other]) > 1.0


def test_what_does_not_fit_is_refused() -> None:
    tree, text = planted()
    with pytest.raises(ValueError, match=r"each of 4 entities needs a text vector \(got \[3, 4\]"):
        HierarchyObjective(tree, text[:3])
    with pytest.raises(ValueError, match=r"separation must be at least 0 \(got -1"):
        HierarchyOptions(separation=-1.0)
    with pytest.raises(ValueError, match=r"'nearest' or 'released' \(got 'any'\)"):
        HierarchyOptions(neighbours="any")
