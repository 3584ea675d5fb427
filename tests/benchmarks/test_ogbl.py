"""The OGB benchmark: both miniatures end to end, a teacher's student, the row of a leaderboard."""

import json
from argparse import Namespace
from pathlib import Path

import pytest
import torch

import pyg_kgtransfer as kgt
from benchmarks.ogbl import (
    line_of,
    main,
    measured,
    negatives_sha256,
    row_of,
    seeds_written_out,
    taught,
)
from benchmarks.ogbl_recipes import PUBLISHED, recipe_for, settings_of, start_as_ogb
from pyg_kgtransfer.sources.synthetic_ogb import MiniatureOptions, write_miniature

# From the leaderboards: what these models count there, in millions.
MILLIONS = {"ogbl-biokg": (93_773, 51, 188), "ogbl-wikikg2": (2_500_604, 535, 250)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ogbl")
    for name in PUBLISHED:
        write_miniature(name, folder, MiniatureOptions(num_facts=60, num_negatives=10))
    return folder


@pytest.fixture
def split(root: Path) -> kgt.Split:
    return kgt.load_ogb("ogbl-wikikg2", root, cache=root / "cache")


@pytest.mark.parametrize(
    ("dataset", "options"),
    [("ogbl-biokg", []), ("ogbl-wikikg2", ["--encoder", "compgcn"])],
)
def test_a_miniature_goes_through_the_script(dataset, options, root, monkeypatch, capsys) -> None:
    monkeypatch.setenv("KGT_CACHE", str(root / "cache"))
    out = root / f"{dataset}.json"
    given = ["--dataset", dataset, "--model", "distmult", "--root", str(root), *options]
    given += ["--epochs", "4", "--seeds", "0..1", "--quick", "--out", str(out)]
    main(given)
    report = json.loads(out.read_text())
    [row] = report["table"]
    assert row["method"].endswith(f"(a miniature, not {dataset})")
    assert (row["seeds"], row["ext. data"]) == (2, "No")
    assert row["test sd"] > 0
    figures = report["figures"]
    assert row["#params"] == f"{int(figures['parameters']):,}"
    assert figures["test.mrr.lowest"] <= row["test MRR"] <= figures["test.mrr.highest"]
    assert "test_negatives_sha256" in report["data"][dataset]
    printed = " ".join(capsys.readouterr().out.split())
    assert f"test MRR {row['test MRR']:.4f} ± {row['test sd']:.4f}" in printed


def test_without_data_a_miniature_is_made(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KGT_CACHE", str(tmp_path / "cache"))
    given = ["--dataset", "ogbl-wikikg2", "--model", "complex", "--root", str(tmp_path)]
    main([*given, "--epochs", "1", "--quick", "--out", str(tmp_path / "out.json")])
    assert json.loads((tmp_path / "out.json").read_text())["figures"]["test.mrr"] > 0
    monkeypatch.setenv("KGT_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match="needs its folder ogbl_wikikg2"):
        main([*given, "--out", str(tmp_path / "out.json")])


def test_what_is_planted_is_learned(tmp_path) -> None:
    """Far above chance, which has an MRR of 0.17 among 21."""
    write_miniature("ogbl-wikikg2", tmp_path)
    split = kgt.load_ogb("ogbl-wikikg2", tmp_path, cache=tmp_path)
    given = Namespace(dataset="ogbl-wikikg2", model="rotate", quick=True)
    recipe = recipe_for("ogbl-wikikg2", "rotate", quick=True, epochs=30)
    found = measured(given, split, recipe, None, None).figures
    assert found["test.mrr"] > 0.5
    assert found["parameters"] == 60 * 32 + 4 * 16


@pytest.mark.parametrize("how", ["distill", "finetune"])
@pytest.mark.parametrize("name", ["elsewhere", "ogbl-wikikg2"])
def test_a_teacher_counts_and_its_facts_give_nothing_away(how, name, split) -> None:
    """The teacher knows every test fact; the student's graph must not."""
    every = torch.cat([split.train.triples, split.valid.triples, split.test.triples])
    facts = split.train.triples if name == split.train.name else every
    training = kgt.TrainConfig(epochs=1, progress=False, accelerator="cpu")
    config = kgt.ModelConfig(encoder="shallow", width=16)
    graph = split.train.with_triples(facts, name=name)
    teacher = kgt.pretrain(kgt.link([graph], []), recipe=kgt.Recipe(config, training=training))
    recipe = recipe_for("ogbl-wikikg2", "complex", quick=True, epochs=2)
    given = Namespace(dataset="ogbl-wikikg2", model="complex", quick=True, how=how)
    student = taught(split, recipe, teacher, how, None)
    read = kgt.KnownTriples([student.graph.triples], num_entities=60, num_relations=4)
    assert student.graph.entities == split.train.entities
    for part in (split.valid, split.test):
        unseen = ~split.known(["train"]).contains(part.triples)
        assert not read.contains(part.triples[unseen]).any()
    found = measured(given, split, recipe, teacher, None).figures
    assert found["parameters"] == sum(
        sum(p.numel() for p in each.model.parameters()) for each in (teacher, student)
    )
    assert row_of("student", [found], external=True)["ext. data"] == "Yes"


def test_models_have_the_parameters_of_the_leaderboard() -> None:
    for dataset, (entities, relations, millions) in MILLIONS.items():
        for model in PUBLISHED[dataset]:
            config = recipe_for(dataset, model).model
            with torch.device("meta"):
                built = kgt.build_model(config, num_entities=entities, num_relations=relations)
            assert round(built.num_trained_parameters() / 1e6) == millions, (dataset, model)


def test_vectors_start_in_the_range_of_the_examples() -> None:
    for model, halves in (("rotate", 2), ("transe", 1), ("complex", 2)):
        config = recipe_for("ogbl-biokg", model, width=200).model
        built = kgt.build_model(config, num_entities=500, num_relations=4)
        phases = built.encoder.relation.clone()
        settings = settings_of("ogbl-biokg", model)
        start_as_ogb(built, settings, seed=0)
        bound = (settings.gamma + 2) / (200 / halves)
        assert built.encoder.inputs.weight.abs().max().item() == pytest.approx(bound, rel=1e-3)
        assert torch.equal(phases, built.encoder.relation) == (model == "rotate")


def test_a_line_has_unbiased_deviations() -> None:
    runs = [
        {"test.mrr": mrr, "valid.mrr": 0.5, "test.hits@1": 0, "test.hits@10": 1, "parameters": 7}
        for mrr in (0.2, 0.4, 0.6)
    ]
    line = line_of(row_of("m", runs, external=False))
    told = "m | test MRR 0.4000 ± 0.2000 | valid MRR 0.5000 ± 0.0000"
    assert line == f"{told} | 7 parameters | ext. data No"
    assert seeds_written_out(["--seeds", "0..9"])[1:] == list("0123456789")


def test_negatives_are_part_of_the_data(split) -> None:
    test = split.test
    other = kgt.SuppliedNegatives(test.negatives.head.flip(0), test.negatives.tail)
    assert negatives_sha256(test) != negatives_sha256(kgt.HeldOut(test.triples, "test", other))
