import errno
import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import pyg_kgtransfer
from pyg_kgtransfer.cli import VERBS, in_words
from pyg_kgtransfer.linking.alignment import Alignment
from pyg_kgtransfer.sources.files import read_split
from pyg_kgtransfer.training.checkpoint import Checkpoint
from tests.commands.command_line import (
    QUICK,
    TRAINING,
    Kgt,
    Ran,
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


def test_an_interrupted_run_goes_on_to_the_same_weights(
    kgt: Kgt, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, run = tmp_path / "out", tmp_path / "run"
    command = ["pretrain", "--data", place / "a", *QUICK, "--recipe.training.epochs", "6"]
    unbroken = kgt(*command, "--out", tmp_path / "unbroken", "--json").json["id"]
    command += ["--out", out, "--run_dir", run, "--json"]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupting(os.fsync, after=12))
        ran = kgt(*command)
    assert ran.status == 130
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert "Ctrl-C" in ran.err
    assert "run_dir" in ran.err
    assert not out.exists()
    ran = kgt(*command)
    assert ran.json["id"] == unbroken
    assert len((run / "log.jsonl").read_text().splitlines()) == 6


def interrupting(call: Callable[[int], None], *, after: int) -> Callable[[int], None]:
    """``call``, with Ctrl-C pressed at the call after the first ``after``."""
    count = 0

    @functools.wraps(call)
    def counted(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count > after:
            raise KeyboardInterrupt
        call(descriptor)

    return counted


def full_disk(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_nothing_half_written(
    kgt: Kgt, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, links = tmp_path / "out", tmp_path / "links.tsv"
    fit = ["pretrain", "--data", place / "a", "--out", out, *QUICK, "--json"]
    link = ["link", "--left", place / "a", "--right", place / "b", "--out", links]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        assert_told(kgt(*fit), "the disk is full", str(out))
        assert_told(kgt(*link), "the disk is full", str(links))
    assert list(tmp_path.iterdir()) == []
    assert kgt(*fit).status == 0
    before = Checkpoint.load(out).id
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        again = kgt(*fit, "--recipe.training.seed", "1")
    assert_told(again, "the checkpoint before it is untouched")
    assert Checkpoint.load(out).id == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_cannot_be_saved_is_said_before_training(
    kgt: Kgt, place: Path, tmp_path: Path
) -> None:
    long = ["--data", place / "a", *QUICK, "--recipe.training.epochs", "1000000"]
    file = tmp_path / "file"
    file.write_text("mine")
    assert_told(kgt("pretrain", *long, "--out", file), "got the file", str(file))
    assert_told(kgt("pretrain", *long, "--out", tmp_path), "is not a checkpoint", "not replaced")
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("pretrain --data {tmp}/none.tsv --out {tmp}/x", ("no file or folder", "none.tsv")),
        ("pretrain --data umsl --out {tmp}/x", ("no data set of that name", "'umls'")),
        ("pretrain --data {tmp} --out {tmp}/x", ("needs a file of train triples",)),
        ("pretrain --data {place}/teacher --out {tmp}/x", ("is a checkpoint, not data",)),
        ("pretrain --data {place}/a {place}/a --out {tmp}/x", ("'a' twice", "a2=")),
        ("pretrain --data {place}/a --links {tmp} --out {tmp}/x", ("not a folder",)),
        ("pretrain --data {place}/a --links {tmp}/no --out {tmp}/x", ("no file of links",)),
        ("pretrain --data {place}/a", ("--out must be given",)),
        ("pretrain --data {place}/a --out {tmp}/x --mode shring", ("'sharing'", "got shring")),
        ("pretrain --data {place}/a --out {tmp}/x --recipe.model.decoder complx", ("'complex'",)),
        (
            "pretrain --data {place}/a --out {tmp}/x --recipe.training.optimizer adm",
            ("did you mean 'adam'?",),
        ),
        (
            "pretrain --data {place}/a --out {tmp}/x --recipe.training.epochs two",
            ("--recipe.training.epochs: a whole number is wanted (got two)",),
        ),
        (
            "pretrain --data {place}/a --out {tmp}/x --recipe.training.clip_norm big",
            ("--recipe.training.clip_norm: a number, null is wanted (got big)",),
        ),
        (
            "pretrain --data {place}/a --out {tmp}/x --recipe.traning.epochs 2",
            ("did you mean --recipe.training.epochs?",),
        ),
        ("link --left {place}/a --right {place}/b --out {tmp}", ("not a folder", "{tmp}")),
        ("link --left {place}/a/train.tsv --right {place}/b/no --out {tmp}/x", ("b/no",)),
        ("distill --teacher {place}/a --data {place}/a --out {tmp}/x", ("is not a checkpoint",)),
        ("finetune --checkpoint {tmp}/no --data {place}/a --out {tmp}/x", ("no checkpoint at",)),
        ("evaluate --checkpoint {place}/teacher --data {place}/a/train.tsv", ("nothing to rank",)),
        ("evaluate --checkpoint {place}/teacher --data {place}/a --part tst", ("'test'",)),
        ("evaluate --checkpoint {place} --data {place}/a", ("did you mean {place}/teacher?",)),
        (
            "predict --checkpoint {place}/teacher --head land-0 --relation nxt",
            ("unknown entity: 'land-0'", "'land 0'"),
        ),
        (
            "predict --checkpoint {place}/teacher --relation nxt --tail x",
            ("unknown entity: 'x'",),
        ),
        ("predict --checkpoint {place}/teacher --head x", ("give two of", "got --head")),
        ("predict --checkpoint {place}/teacher --device cpu:7", ("give two of",)),
        ("info", ("checkpoint_or_data must be given",)),
        ("info {place}/a --config {tmp}/no.yaml", ("--config", "no.yaml")),
    ],
)
def test_bad_input_is_told_in_a_paragraph(
    kgt: Kgt, place: Path, tmp_path: Path, arguments: str, parts: tuple[str, ...]
) -> None:
    def filled(text: str) -> str:
        return text.format(place=place, tmp=tmp_path)

    before = sorted(place.rglob("*"))
    assert_told(kgt(*filled(arguments).split()), *map(filled, parts))
    assert sorted(place.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_relation_has_its_nearest_offered(kgt: Kgt, place: Path) -> None:
    model = ["--checkpoint", place / "teacher", "--head", "city 1"]
    told = kgt("predict", *model, "--relation", "locatd in")
    assert_told(told, "unknown relation: 'locatd in'", "'located in'")
    told = kgt("predict", *model, "--relation", "next", "--device", "cuda:999")
    assert_told(told, "one of this machine", "'cuda:999'")
    assert_told(kgt("predict", *model, "--relation", "next", "-k", "0"), "k must be at least 1")


def test_every_wrong_line_is_named(kgt: Kgt, tmp_path: Path) -> None:
    table = tmp_path / "facts.tsv"
    table.write_text("a\tr\tb\na\tr\n\tr\tb\n")
    told = kgt("pretrain", "--data", table, "--out", tmp_path / "x", *QUICK)
    assert_told(told, f"{table}:2: 3 fields are wanted (got 2", f"{table}:3: the head is empty")
    assert [path.name for path in tmp_path.iterdir()] == ["facts.tsv"]


def test_links_with_unknown_entities_are_refused(kgt: Kgt, place: Path, tmp_path: Path) -> None:
    links = tmp_path / "a~b.tsv"
    links.write_text("kind\tleft\tright\nentity\tcity 1\tCitty 1\nentity\tcity 2\tCity 2\n")
    two = ["--data", place / "a", place / "b", "--out", tmp_path / "x", *QUICK]
    told = kgt("pretrain", *two, "--links", links)
    assert_told(told, f"{links}:2: unknown entity: 'Citty 1'", "'City 1'")
    assert not (tmp_path / "x").exists()
    three = [*two[:3], f"c={place / 'a'}", *two[3:]]
    nameless = shutil.copy(place / "a~b.tsv", tmp_path / "links.tsv")
    assert_told(kgt("pretrain", *three, "--links", nameless), "a~b.tsv", "a, b, c")


def test_the_name_of_a_file_of_links_says_its_sides(kgt: Kgt, place: Path, tmp_path: Path) -> None:
    graphs = [read_split(place / name).train for name in "ba"]
    Alignment.read(place / "a~b.tsv", *graphs[::-1]).reversed().write(tmp_path / "b~a.tsv", *graphs)
    two = ["--data", place / "a", place / "b", "--json", *QUICK]
    told = kgt("pretrain", *two, "--links", tmp_path / "b~a.tsv", "--out", tmp_path / "x")
    assert told.json["graph"]["entities"] == 15


def test_a_changed_checkpoint_and_another_schema_are_refused(
    kgt: Kgt, place: Path, tmp_path: Path
) -> None:
    for name, file, old, new in (
        ("tampered", "names.json", "city 1", "city X"),
        ("later", "checkpoint.json", '"schema_version": 1', '"schema_version": 99'),
    ):
        folder = Path(shutil.copytree(place / "teacher", tmp_path / name))
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new))
    query = ["--head", "city 1", "--relation", "next"]
    told = kgt("predict", "--checkpoint", tmp_path / "tampered", *query)
    assert_told(told, "names.json was changed after it was saved")
    told = kgt("info", tmp_path / "later")
    assert_told(told, "schema_version", "got 99", "a newer pyg_kgtransfer wrote it")


def test_a_config_file_is_held_to_the_same_rules(kgt: Kgt, place: Path, tmp_path: Path) -> None:
    config = tmp_path / "options.yaml"
    command = ["pretrain", "--data", place / "a", "--out", tmp_path / "x", "--config", config]
    for text, parts in (
        ("recipe:\n  model:\n    decoder: rotat\n", ("unknown decoder: 'rotat'", "'rotate'")),
        ("recipe:\n  model:\n    decodr: rotate\n", ("did you mean --recipe.model.decoder?",)),
        ("recipe: [\n", ("config",)),
    ):
        config.write_text(text)
        assert_told(kgt(*command), *parts)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(kgt: Kgt, verb: str) -> None:
    ran = kgt(verb, "--help")
    assert ran.status == 0
    assert ran.out.startswith(f"usage: kgt {verb}")
    assert "--json" in ran.out
    assert "--config" in ran.out


def test_a_misspelt_verb_has_its_nearest_offered(kgt: Kgt) -> None:
    assert_told(kgt("pretrian"), "did you mean 'pretrain'?")
    assert kgt().status == 2
    assert kgt().err == kgt("--help").out
    assert kgt("--version").out.strip() == pyg_kgtransfer.__version__


def test_errors_of_the_system_name_the_file() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "log.jsonl")
    assert in_words(full) == "log.jsonl: the disk is full"
    assert in_words(OSError("in words")) == "in words"
    assert in_words(OSError(errno.EIO, "could not be read: gone")) == "could not be read: gone"


def kgt_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from pyg_kgtransfer.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


def test_the_overview_is_there_at_once() -> None:
    code = (
        "import sys; from pyg_kgtransfer.cli import main; main(['--help']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'jsonargparse')))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0
    assert all(f"\n  {verb} " in ran.stdout for verb in VERBS)


def test_the_exit_status_of_the_process(tmp_path: Path) -> None:
    for arguments, part in (
        (["nonsense"], "got 'nonsense'"),
        (["doctor", "--colour", "red"], "unrecognized arguments: --colour"),
        (["doctor", "--config", str(tmp_path / "none.yaml")], "none.yaml"),
    ):
        ran = kgt_process(*arguments)
        assert_told(Ran(ran.returncode, ran.stdout, ran.stderr), part)
    assert kgt_process("--version").returncode == 0
