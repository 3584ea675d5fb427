from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.models.build import ModelConfig, build_model
from pyg_kgtransfer.models.calibration import Calibration, RelationCalibration
from pyg_kgtransfer.serving.predictor import Predictor
from pyg_kgtransfer.training.checkpoint import Checkpoint, SourceMaps

FACTS = [
    ("city/1", "capital_of", "country/GR"),
    ("city/2", "capital_of", "country/FR"),
    ("city/3", "in", "country/US"),
    ("city/1", "in", "country/GR"),
    ("country/GR", "near", "country/GR"),
]
LABELS = {
    "city/1": "Athens",
    "city/2": "Paris",
    "city/3": "Athens",
    "country/GR": "Greece",
    "country/FR": "France",
    "country/US": "[United] States",
}


def checkpoint(seed: int = 0, *, reciprocal: bool = True) -> Checkpoint:
    graph = KnowledgeGraph.from_names(FACTS, name="world", labels=LABELS)
    config = ModelConfig(encoder="compgcn", decoder="complex", width=8, reciprocal=reciprocal)
    torch.manual_seed(seed)
    model = build_model(config, num_entities=6, num_relations=3)
    return Checkpoint(model, graph, config)


def score(of: Checkpoint, head: str, relation: str, tail: str) -> float:
    """One triple alone, by the model itself."""
    ids = of.graph.entities.id
    triple = torch.tensor([[ids(head), of.graph.relations.id(relation), ids(tail)]])
    with torch.no_grad():
        representations = of.model.eval().encode(of.graph.tensors())
        return float(of.model.score(representations, triple))


def test_tails_are_all_entities_by_score_with_what_is_known_marked() -> None:
    made = checkpoint()
    answers = Predictor(made).tails("city/1", "in", k=99)
    assert {a.name for a in answers} == set(LABELS)
    assert [a.score for a in answers] == sorted((a.score for a in answers), reverse=True)
    assert [a.name for a in answers if a.is_known] == ["country/GR"]
    for answer in answers:
        assert answer.label == LABELS[answer.name]
        wanted = score(made, "city/1", "in", answer.name)
        assert answer.score == pytest.approx(wanted, abs=1e-6)


def test_heads_and_relations_are_asked_alike() -> None:
    made = checkpoint()
    predictor = Predictor(made)
    heads = predictor.heads("capital_of", "country/FR", k=99)
    assert [a.name for a in heads if a.is_known] == ["city/2"]
    assert len(heads) == 6
    relations = predictor.relations("city/1", "country/GR")
    assert {a.name for a in relations if a.is_known} == {"capital_of", "in"}
    for answer in relations:
        wanted = score(made, "city/1", answer.name, "country/GR")
        assert answer.score == pytest.approx(wanted, abs=1e-6)


def test_k_cuts_the_list_and_must_be_positive() -> None:
    predictor = Predictor(checkpoint())
    every = predictor.tails("city/1", "in", k=6)
    assert predictor.tails("city/1", "in", k=2) == every[:2]
    with pytest.raises(ValueError, match=r"k must be at least 1 \(got 0\)"):
        predictor.tails("city/1", "in", k=0)


def test_an_entity_is_called_by_name_or_by_a_label_of_its_own() -> None:
    predictor = Predictor(checkpoint())
    assert predictor.entity("city/2") == predictor.entity("Paris")
    with pytest.raises(ValueError, match=r"2 entities are labelled 'Athens'.*'city/1', 'city/3'"):
        predictor.entity("Athens")
    with pytest.raises(ValueError, match=r"unknown entity: 'Grece'.*'country/GR' \(Greece\)"):
        predictor.entity("Grece")
    with pytest.raises(ValueError, match=r"unknown relation: 'capital'.*'capital_of'"):
        predictor.tails("Paris", "capital")


def test_scores_that_are_not_finite_are_an_error() -> None:
    made = checkpoint()
    with torch.no_grad():
        next(made.model.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        Predictor(made).tails("city/1", "in")


def test_a_saved_checkpoint_gives_the_same_answers(tmp_path: Path) -> None:
    made = checkpoint(seed=1)
    loaded = Predictor.load(made.save(tmp_path / "model"))
    assert loaded.tails("Paris", "in") == Predictor(made).tails("Paris", "in")
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        Predictor.load(tmp_path / "nothing")


def test_answers_are_kept_to_one_source() -> None:
    plain = checkpoint()
    sources = SourceMaps(("left",), (torch.tensor([5, 3]),), (torch.arange(3),))
    restricted = Predictor(replace(plain, sources=sources), among="left")
    answers = restricted.tails("city/1", "in", k=10)
    names = plain.graph.entities
    assert {answer.name for answer in answers} == {names.name(5), names.name(3)}
    everyone = {answer.name: answer.score for answer in Predictor(plain).tails("city/1", "in")}
    assert all(everyone[answer.name] == answer.score for answer in answers)
    with pytest.raises(ValueError, match=r"'left'.*got 'right'"):
        Predictor(replace(plain, sources=sources), among="right")


CALIBRATIONS = (
    Calibration(0.7, -0.2),
    RelationCalibration(Calibration(0.7, -0.2), np.array([1.0, 2.0, 3.0]), np.array([0.1, 0, -1])),
)


@pytest.mark.parametrize("calibration", CALIBRATIONS)
@pytest.mark.parametrize("reciprocal", [False, True])
def test_a_fact_has_one_probability_however_it_is_asked(calibration, reciprocal: bool) -> None:
    made = replace(checkpoint(reciprocal=reciprocal), calibration=calibration)
    predictor = Predictor(made)
    asked = [("city/1", "in", tail) for tail in LABELS] + [("city/2", "near", "country/FR")]
    wanted = [
        float(calibration.probability(
            torch.tensor(score(made, *fact)), torch.tensor(made.graph.relations.id(fact[1]))
        ))
        for fact in asked
    ]  # fmt: skip
    found = dict(zip(asked, predictor.predict_proba(asked), strict=True))
    assert list(found.values()) == pytest.approx(wanted, abs=1e-6)
    assert len(set(wanted)) == len(wanted)
    for answer in predictor.tails("city/1", "in"):
        assert answer.probability == pytest.approx(found["city/1", "in", answer.name], abs=1e-6)
    for relation in made.graph.relations:
        [fact] = predictor.predict_proba([("city/1", relation, "country/GR")])
        [head] = [a for a in predictor.heads(relation, "country/GR") if a.name == "city/1"]
        [between] = [a for a in predictor.relations("city/1", "country/GR") if a.name == relation]
        assert head.probability == pytest.approx(fact, abs=1e-6)
        assert between.probability == pytest.approx(fact, abs=1e-6)


def test_probabilities_come_in_chunks_and_by_label() -> None:
    predictor = Predictor(replace(checkpoint(), calibration=CALIBRATIONS[1]))
    facts = [("Paris", "in", "France"), ("city/1", "in", "Greece")] * 5
    whole = predictor.predict_proba(facts)
    tight = predictor.predict_proba(facts, memory_mb=0.02)  # one triple at a time
    assert tight == pytest.approx(whole, abs=1e-7)
    assert predictor.predict_proba([]) == []


def test_without_a_calibration_there_are_no_probabilities() -> None:
    predictor = Predictor(checkpoint())
    answers = predictor.tails("Paris", "in") + predictor.heads("in", "France")
    answers += predictor.relations("Paris", "France")
    assert {answer.probability for answer in answers} == {None}
    with pytest.raises(ValueError, match=r"got one without\): make it with 'kgt calibrate'"):
        predictor.predict_proba([("Paris", "in", "France")])


def test_what_is_no_triple_of_known_names_is_told() -> None:
    predictor = Predictor(replace(checkpoint(), calibration=CALIBRATIONS[0]))
    for wrong in (("Paris", "in"), "abc"):
        with pytest.raises(ValueError, match=r"\(head, relation, tail\), by name \(got"):
            predictor.predict_proba([wrong])
    with pytest.raises(ValueError, match="unknown entity: 'Pari'"):
        predictor.predict_proba([("Pari", "in", "France")])
