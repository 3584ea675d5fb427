"""What the verbs do, from links to answers."""

import re
from pathlib import Path

import pytest
import torch

from pyg_kgtransfer.sources.files import read_split
from pyg_kgtransfer.sources.mapped import write_mapped
from pyg_kgtransfer.sources.synthetic import planted
from pyg_kgtransfer.training.checkpoint import Checkpoint
from tests.commands.command_line import (
    QUICK,
    TRAINING,
    Kgt,
    assert_told,
    facts,
    write_split,
)


def test_links_are_written_with_names_and_counts(kgt: Kgt, tmp_path: Path) -> None:
    left, right = tmp_path / "left.tsv", tmp_path / "right.tsv"
    left.write_text("Athens\tin\tGreece\nParis\tin\tFrance\nRoma\tin\tItaly\n")
    right.write_text("ATHENS\tin\tGréece\nParis\tnear\tPARIS!\nRom\tin\tItalia\n")
    out = tmp_path / "new" / "links.tsv"
    ran = kgt("link", "--left", left, "--right", right, "--out", out, "--json")
    assert ran.status == 0
    told = ran.json
    assert (told["pairs"], told["dropped_as_ambiguous"], told["relation_pairs"]) == (2, 1, 0)
    assert out.read_text(encoding="utf-8").splitlines()[1:] == [
        "entity\tAthens\tATHENS\t1\t0",
        "entity\tGreece\tGréece\t1\t0",
    ]


def test_links_by_similarity_and_by_part_of_a_name(kgt: Kgt, tmp_path: Path) -> None:
    left, right, out = tmp_path / "left.tsv", tmp_path / "right.tsv", tmp_path / "links.tsv"
    left.write_text("country/GR\tnear\tcountry/BG\n")
    right.write_text("territory/GR\tnear\tterritory/RO\n")
    two = ["--left", left, "--right", right, "--out", out]
    assert kgt("link", *two, "--by", "key", "--key", "[^/]+$", "--json").json["pairs"] == 1
    assert "entity\tcountry/GR\tterritory/GR" in out.read_text()
    near = ["--by", "similarity", "--similarity.threshold", "0.1"]
    assert kgt("link", *two, *near, "--json").json["pairs"] == 1
    assert_told(kgt("link", *two, "--by", "key", "--key", "["), "regular expression", "'['")
    before = out.read_bytes()
    assert_told(kgt("link", *two, "--by", "label"), "no entity of 'left'", "nothing was written")
    assert out.read_bytes() == before


def test_the_teacher_is_of_the_linked_graphs(place: Path) -> None:
    teacher = Checkpoint.load(place / "teacher")
    assert teacher.sources is not None
    assert teacher.sources.names == ("a", "b")
    assert (teacher.graph.num_entities, teacher.graph.num_relations) == (15, 2)


def test_without_strict_other_graphs_may_state_the_answers(
    kgt: Kgt, place: Path, tmp_path: Path
) -> None:
    b = write_split(tmp_path / "b", facts("City", "LAND")[::-1])  # others are held out
    two = ["--data", place / "a", b, "--links", place / "a~b.tsv", *QUICK]
    strict = kgt("pretrain", *two, "--out", tmp_path / "strict", "--json").json
    open_ = kgt("pretrain", *two, "--out", tmp_path / "open", "--strict", "false", "--json").json
    assert strict["graph"]["triples"] < open_["graph"]["triples"]
    ran = kgt("evaluate", "--checkpoint", tmp_path / "open", "--data", place / "a", "--json")
    assert ran.json["facts_in_model_graph"] > 0
    ran = kgt("evaluate", "--checkpoint", tmp_path / "strict", "--data", place / "a", "--json")
    assert ran.json["facts_in_model_graph"] == 0


def test_one_graph_alone_is_ordinary_training(kgt: Kgt, place: Path, tmp_path: Path) -> None:
    out = tmp_path / "alone"
    told = kgt("pretrain", "--data", place / "a", "--out", out, *QUICK, "--json").json
    assert told["sources"] == ["a"]
    assert "strict" not in told
    assert told["id"] == Checkpoint.load(out).id
    assert 0 < told["valid"]["mrr"] <= 1
    assert told["parameters"] == Checkpoint.load(out).model.num_trained_parameters()


def test_a_memory_mapped_graph_is_data_under_its_name_or_another(kgt: Kgt, tmp_path: Path) -> None:
    folder = write_mapped(planted(24), tmp_path / "facts")
    for data, name in ((folder, "planted"), (f"mine={folder}", "mine")):
        out = tmp_path / name
        ran = kgt("pretrain", "--data", data, "--out", out, *QUICK)
        assert ran.status == 0, ran.err
        assert Checkpoint.load(out).sources.names == (name,)
        assert kgt("evaluate", "--checkpoint", out, "--data", data).status == 0


def test_a_student_and_a_moved_model_are_evaluated_on_the_target(
    kgt: Kgt, place: Path, tmp_path: Path
) -> None:
    target = ["--data", place / "a", "--json"]
    student, moved = tmp_path / "student", tmp_path / "moved"
    told = kgt("distill", "--teacher", place / "teacher", *target, "--out", student, *QUICK).json
    assert told["teacher"] == Checkpoint.load(place / "teacher").id
    assert told["linked_entities"] == 15
    start = ["--checkpoint", place / "teacher", *target]
    rates = ["--finetuning.rate_factors", '{"entity": 0.0}']
    fit = [*TRAINING, "--recipe.training.epochs", "2", *rates]
    told = kgt("finetune", *start, "--out", moved, *fit).json
    assert told["growth"]["entities"] == {"matched": 15, "new": 0, "dropped": 0}
    for model in (student, moved):
        told = kgt("evaluate", "--checkpoint", model, *target).json
        assert told["protocol"]["candidates"] == 15
        assert told["protocol"]["triples"] == len(read_split(place / "a").test)
        both = told["metrics"]
        assert both["mrr"] == pytest.approx((both["head.mrr"] + both["tail.mrr"]) / 2)
        assert set(told["by"]) == {"side", "relation", "popularity"}


def test_a_target_the_teacher_never_saw_comes_by_links(
    kgt: Kgt, place: Path, tmp_path: Path
) -> None:
    new = write_split(tmp_path / "new", facts("CITY", "Land"))
    teacher, links = place / "teacher", tmp_path / "links.tsv"
    student = ["distill", "--teacher", teacher, "--data", new, "--out", tmp_path / "student"]
    assert_told(kgt(*student, *QUICK), "'a', 'b'", "got 'new'", "kgt link --left")
    assert kgt("link", "--left", new, "--right", teacher, "--out", links).status == 0
    told = kgt(*student, "--links", links, *QUICK, "--json").json
    assert told["sources"] == ["new", "a+b"]
    assert told["linked_entities"] == 15


def test_a_graph_is_evaluated_by_equal_names_or_refused(
    kgt: Kgt, place: Path, tmp_path: Path
) -> None:
    ranked = ["evaluate", "--checkpoint", place / "teacher", "--data"]
    told = kgt(*ranked, place / "a", "--json").json
    renamed = kgt(*ranked, f"other={place / 'a'}", "--json").json
    assert renamed["data"] == "other"
    assert renamed["metrics"] == told["metrics"]
    stranger = write_split(tmp_path / "stranger", facts("town", "land"))
    assert_told(kgt(*ranked, stranger), "12 of 15 unknown", "'town 0'", "kgt finetune")


def test_bias_is_shown_by_popularity_and_groups(kgt: Kgt, place: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    groups, plot = tmp_path / "groups.tsv", tmp_path / "bias.png"
    groups.write_text("".join(f"city {i}\t{'north' if i < 4 else 'south'}\n" for i in range(12)))
    ranked = ["evaluate", "--checkpoint", place / "teacher", "--data", place / "a"]
    asked = [*ranked, "--bias", "true", "--groups", groups]
    told = kgt(*asked, "--plot", plot, "--json").json
    plain = kgt(*ranked, "--json").json
    assert {key: told[key] for key in plain} == plain
    rows = {row["group"]: row for row in told["bias"]["by"]["group"]}
    assert {name: row["candidates"] for name, row in rows.items()} == {
        "north": 4, "south": 8, "no group": 3
    }  # fmt: skip
    assert sum(row["share_of_mass"] for row in rows.values()) == pytest.approx(1)
    assert told["bias"]["plot"] == str(plot)
    assert plot.stat().st_size > 1000
    shown = kgt(*asked, "--by", "relation", "--temperature", "0.1").out
    for part in ("by popularity", "by group", "by relation", "share of mass", "popularity bias "):
        assert part in shown
    sharper = kgt(*asked, "--temperature", "0.1", "--json").json["bias"]
    assert sharper["protocol"]["temperature"] == 0.1
    assert sharper["popularity_bias"] != told["bias"]["popularity_bias"]


def test_training_is_balanced_by_options_and_a_file(kgt: Kgt, place: Path, tmp_path: Path) -> None:
    groups = tmp_path / "groups.tsv"
    groups.write_text("land 0\tcountries\n")
    command = ["pretrain", "--data", place / "a", *QUICK, "--json", "--out"]
    beta = ["--recipe.objective.balance", "0.5"]
    by_group = ["--recipe.objective.balance_by", "group", "--groups", groups]
    ids = {
        kgt(*command, tmp_path / str(i), *options).json["id"]
        for i, options in enumerate(([], beta, beta + by_group))
    }
    assert len(ids) == 3


@pytest.mark.parametrize("asked", ["head", "relation", "tail"])
def test_any_one_of_three_names_is_predicted(kgt: Kgt, place: Path, asked: str) -> None:
    query = {"head": "city 3", "relation": "located in", "tail": "land 0"}
    given = [word for role, name in query.items() if role != asked for word in (f"--{role}", name)]
    ran = kgt("predict", "--checkpoint", place / "teacher", *given, "-k", "20", "--json")
    answers = ran.json["answers"]
    assert ran.json["asked"] == asked
    assert len(answers) == (2 if asked == "relation" else 15)
    assert [a["score"] for a in answers] == sorted((a["score"] for a in answers), reverse=True)
    graph = Checkpoint.load(place / "teacher").graph
    stated = {
        row[("head", "relation", "tail").index(asked)]
        for row in graph.named_triples()
        if all(row[i] == name for i, (role, name) in enumerate(query.items()) if role != asked)
    }
    assert stated == {a["name"] for a in answers if a["is_known"]}


def test_answers_are_a_table_for_people(kgt: Kgt, place: Path) -> None:
    model = ["--checkpoint", place / "teacher"]
    ran = kgt("predict", *model, "--head", "city 3", "--relation", "located in", "-k", "15")
    assert ran.status == 0
    assert "(city 3, located in, ?)" in ran.out
    assert re.search(r"land 0.*known", ran.out)
    assert ran.err == ""


def test_info_of_a_checkpoint_and_of_data(kgt: Kgt, place: Path) -> None:
    told = kgt("info", place / "teacher", "--json").json
    assert told["kind"] == "checkpoint"
    assert told["relation_counts"][0].keys() == {"relation", "facts"}
    assert told["provenance"]["seed"] == 0
    told = kgt("info", place / "a", "--json").json
    [graph] = told["graphs"]
    split = read_split(place / "a")
    assert (graph["entities"], graph["test"]) == (15, len(split.test))
    assert graph["fingerprint"] == split.train.fingerprint()
    assert graph["leakage"]["test"]["counts"]["facts"] == len(split.test)
    assert sum(row["train"] for row in graph["relation_counts"]) == split.train.num_triples
    for what in ("a", "teacher"):
        assert "located in" in kgt("info", place / what).out


def test_the_atlas_is_three_linked_graphs_or_one(kgt: Kgt) -> None:
    told = kgt("info", "atlas", "--json").json
    assert [graph["name"] for graph in told["graphs"]] == ["geonames", "cldr", "iso"]
    assert [link["left"] for link in told["links"]] == ["geonames", "geonames", "cldr"]
    [iso] = kgt("info", "atlas:iso", "--json").json["graphs"]
    assert iso == told["graphs"][2]
    assert_told(kgt("info", "atlas:isso"), "geonames, cldr, iso", "'iso'")


def test_doctor_has_one_object_or_tables(kgt: Kgt) -> None:
    told = kgt("doctor", "--json").json
    assert told["required"]["torch"]["version"] == torch.__version__
    assert "torch-geometric" in kgt("doctor").out


def test_options_come_from_a_file_that_print_config_made(
    kgt: Kgt, place: Path, tmp_path: Path
) -> None:
    wanted = ["pretrain", "--data", place / "a", "--out", tmp_path / "one", *QUICK]
    made = kgt(*wanted, "--print_config")
    assert made.status == 0
    assert not (tmp_path / "one").exists()
    config = tmp_path / "options.yaml"
    config.write_text(made.out.replace(str(tmp_path / "one"), str(tmp_path / "other")))
    one, other = kgt(*wanted, "--json").json, kgt("pretrain", "--config", config, "--json").json
    assert one["id"] == other["id"]
    assert other["checkpoint"] == str(tmp_path / "other")


def test_adapting_tells_the_gap(kgt: Kgt, place: Path, tmp_path: Path) -> None:
    alone = ["--data", place / "b", "--out", tmp_path / "b", *QUICK]
    assert kgt("pretrain", *alone).status == 0
    links = (place / "a~b.tsv").read_text().splitlines(keepends=True)
    few, none = tmp_path / "few.tsv", tmp_path / "none.tsv"
    few.write_text("".join(line for line in links if not line.startswith("entity")))
    none.write_text("".join(links))
    training = [*TRAINING, "--recipe.training.epochs", "2"]
    given = ["--checkpoint", tmp_path / "b", "--data", place / "a", *training]
    out = ["--out", tmp_path / "moved"]
    ran = kgt("adapt", *given, "--links", few, *out, "--json")
    assert ran.status == 0
    assert set(ran.json["domain_gap"]) == {"before", "after"}
    assert Checkpoint.load(tmp_path / "moved").metrics["domain_gap"] == ran.json["domain_gap"]
    assert_told(kgt("adapt", *given, "--links", none, *out), "entities that one of", "finetune")


def test_new_entities_are_encoded_from_a_table_of_facts(
    kgt: Kgt, place: Path, tmp_path: Path
) -> None:
    model = ["--recipe.model.encoder", "rgcn", "--recipe.model.width", "8"]
    training = [*model, "--recipe.model.masking", "0.3", *TRAINING, "--recipe.training.epochs", "2"]
    out = tmp_path / "model"
    assert kgt("pretrain", "--data", place / "a", "--out", out, *training).status == 0
    _, relation, tail = read_split(place / "a").train.named_triples()[0]
    table = tmp_path / "more.tsv"
    table.write_text(f"Newton\t{relation}\t{tail}\n")
    asked = ["predict", "--checkpoint", out, "--facts", table]
    asked += ["--head", "Newton", "--relation", relation]
    assert_told(kgt(*asked), "unknown entity: 'Newton'")
    answers = kgt(*asked, "--on_unknown", "encode", "-k", "99", "--json").json["answers"]
    assert {answer["name"]: answer["is_known"] for answer in answers}[tail]


def test_a_relation_is_learned_from_a_few_facts(kgt: Kgt, place: Path, tmp_path: Path) -> None:
    start = tmp_path / "start"
    assert kgt("pretrain", "--data", place / "a", "--out", start, *QUICK).status == 0
    known = read_split(place / "a").train.named_triples()
    table, out = tmp_path / "few.tsv", tmp_path / "more"
    table.write_text("".join(f"{head}\tlike\t{tail}\n" for head, _, tail in known[:3]))
    given = ["few-shot", "--checkpoint", start, "--facts", table, "--out", out]
    told = kgt(*given, "--learning.steps", "5", "--json").json
    assert told["growth"]["relations"]["new"] == 1
    asked = ["--checkpoint", out, "--head", known[0][0], "--relation", "like"]
    assert kgt("predict", *asked).status == 0
    table.write_text("x\tlike\ty\n")
    assert_told(kgt(*given), "a new relation between known entities", "'x' is new")
