"""The language study on two tiny graphs: what a source states, what a student may see."""

import pytest

import pyg_kgtransfer as kgt
from benchmarks import jplr_dbp5l
from benchmarks.dbp5l_task import Dbp5l, permuted
from benchmarks.jplr_dbp5l import (
    Study,
    ablation_figures,
    seconds_to,
    table,
    target_figures,
    time_figures,
)

OWN = [("Athens", "capital_of", "Greece"), ("Sparta", "in", "Greece"), ("Nicosia", "in", "Cyprus")]
HELD_OUT = {
    "valid": [("Athens", "in", "Greece")],
    "test": [
        ("Sparta", "capital_of", "Cyprus"),
        ("Nicosia", "capital_of", "Greece"),
        ("Athens", "in", "Cyprus"),
    ],
}
THEIRS = [("S", "in", "C"), ("A", "capital_of", "G"), ("G", "borders", "Albania"), ("N", "in", "G")]
THEIR_VALID = [("S", "capital_of", "C")]
LINKS = [("Athens", "A"), ("Sparta", "S"), ("Greece", "G"), ("Cyprus", "C"), ("Nicosia", "N")]


def split_of(name: str, train, valid, test) -> kgt.Split:
    whole = kgt.KnowledgeGraph.from_names(train + valid + test, name=name)
    parts = [
        whole.triples[: len(train)],
        whole.triples[len(train) : len(train) + len(valid)],
        whole.triples[len(train) + len(valid) :],
    ]
    return kgt.Split(
        whole.with_triples(parts[0]), kgt.HeldOut(parts[1], "valid"), kgt.HeldOut(parts[2], "test")
    )


@pytest.fixture
def data() -> Dbp5l:
    greek = split_of("el", OWN, HELD_OUT["valid"], HELD_OUT["test"])
    english = split_of("en", THEIRS, THEIR_VALID, [("A", "in", "C")])
    shared = [(name, name) for name in ("capital_of", "in")]
    same = kgt.Alignment.from_names(greek.train, english.train, LINKS, shared)
    return Dbp5l({"el": greek, "en": english}, [same])


def test_ids_are_permuted_and_facts_are_not() -> None:
    before = split_of("el", OWN, HELD_OUT["valid"], HELD_OUT["test"])
    after = permuted(before, "el", seed=1)
    assert list(before.train.entities) != list(after.train.entities)
    for part in ("train", "valid", "test"):
        facts = [
            (one.train if part == "train" else one.train.with_triples(getattr(one, part).triples))
            for one in (before, after)
        ]
        assert facts[0].named_triples() == facts[1].named_triples()


def test_what_sources_state_in_training_and_validation_can_be_copied(data: Dbp5l) -> None:
    # (Sparta, Cyprus) is linked in English, and stated so in its validation; (Nicosia, Greece) is
    # linked by another relation; (Athens, Cyprus) in its test facts alone
    assert data.copyable("el").tolist() == [True, True, False]
    assert data.stated("el").tolist() == [True, False, False]


def test_the_student_sees_facts_between_its_entities_and_nothing_held_out(
    data: Dbp5l, study: Study
) -> None:
    student = data.subgraph("el", study.teacher()).graph
    theirs = [("Sparta", "in", "Cyprus"), ("Sparta", "capital_of", "Cyprus")]
    expected = sorted([*OWN, *theirs, ("Nicosia", "in", "Greece")])
    assert sorted(student.named_triples()) == expected
    assert student.num_entities == 5  # Albania lies outside


@pytest.fixture
def study(data: Dbp5l, tmp_path, monkeypatch) -> Study:
    monkeypatch.setattr(jplr_dbp5l, "TEACHER_WIDTH", 8)
    monkeypatch.setattr(jplr_dbp5l, "STUDENT_WIDTH", 4)
    return Study(data, tmp_path / "models", seed=0, epochs=(1, 1, 2))


def test_a_language_gives_all_its_figures_and_trains_nothing_twice(
    study: Study, monkeypatch
) -> None:
    first = target_figures(study, "el")
    for model in ("copy_rule", "target_only", "teacher", "student"):
        for metric in ("mrr", "tail.mrr", "copyable.mrr", "hits@10"):
            assert 0 <= first[f"el.{model}.{metric}"] <= 1
    assert first["el.student.gain_low"] <= first["el.student.gain"] <= first["el.student.gain_high"]
    expected = first["el.student.mrr"] - first["el.target_only.mrr"]
    assert first["el.student.gain"] == pytest.approx(expected)
    assert [row["model"] for row in table(first, ["el"])][-1] == "student"

    def refuse(*arguments, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr(jplr_dbp5l, "pretrain", refuse)
    monkeypatch.setattr(jplr_dbp5l, "distill", refuse)
    again = Study(study.data, study.folder.parent, seed=0, epochs=study.epochs)
    assert target_figures(again, "el") == first


def test_each_level_is_left_out_in_turn(study: Study) -> None:
    figures = ablation_figures(study, "el")
    levels = {name.split(".")[1] for name in figures}
    assert levels == set(jplr_dbp5l.ABLATIONS)
    without = kgt.Checkpoint.load(study.folder / "el.without_network")
    assert without.provenance["distillation"]["hidden"] == 0
    assert without.provenance["distillation"]["flow"] == 0
    assert without.provenance["distillation"]["prediction"] > 0


def test_seconds_until_a_figure_is_reached(study: Study) -> None:
    model = study.target_only("el")
    curve = [
        {"seconds": 1.0, "mrr": 0.2},
        {"seconds": 2.0, "mrr": 0.4},
        {"seconds": 3.0, "mrr": 0.3},
    ]
    model.metrics["curve"] = curve
    assert seconds_to(model, 0.2) == 1.0
    assert seconds_to(model, 0.3) == 2.0
    assert seconds_to(model, 0.5) is None


def test_the_time_of_a_student_is_over_that_of_target_only(study: Study, monkeypatch) -> None:
    curve = [{"seconds": 2.0, "mrr": 0.3}, {"seconds": 4.0, "mrr": 0.5}]
    study.target_only("el")
    load = kgt.Checkpoint.load

    def timed(path):
        model = load(path)
        model.metrics["curve"] = curve
        return model

    monkeypatch.setattr(kgt.Checkpoint, "load", timed)
    model = study.hurried_student("el", 60.0)
    given = []

    def hurried(target: str, seconds: float):
        given.append(seconds)
        return model

    monkeypatch.setattr(study, "hurried_student", hurried)
    model.metrics["curve"] = [{"seconds": 1.0, "mrr": 0.4}, {"seconds": 3.0, "mrr": 0.6}]
    figures = time_figures(study, "el")
    assert given == [jplr_dbp5l.PATIENCE * 4.0]
    assert figures["el.seconds_ratio"] == pytest.approx(3.0 / 4.0)
    assert figures["el.student.reaches_target_only_best"] == 1.0
    model.metrics["curve"] = [{"seconds": 1.0, "mrr": 0.4}]
    figures = time_figures(study, "el")
    assert figures["el.student.reaches_target_only_best"] == 0.0
    assert "el.seconds_ratio" not in figures


def test_figures_do_not_depend_on_the_order_of_entities(data: Dbp5l) -> None:
    other = Dbp5l({k: permuted(s, k, seed=3) for k, s in data.splits.items()}, data.alignments)
    same = kgt.Alignment.from_names(
        other.splits["el"].train,
        other.splits["en"].train,
        LINKS,
        [(name, name) for name in ("capital_of", "in")],
    )
    moved = Dbp5l(other.splits, [same])
    assert moved.stated("el").tolist() == data.stated("el").tolist()
    for kind in ("shared", "learned"):
        ranks = [
            d.ranking("el")(d.copy_rule("el", kind), None).metrics()["mrr"] for d in (data, moved)
        ]
        assert ranks[0] == pytest.approx(ranks[1])
