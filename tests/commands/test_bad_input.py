"""Bad input is told in one paragraph, in the user's words."""

import shutil
from pathlib import Path

import pytest

from pyg_kgtransfer.linking.alignment import Alignment
from pyg_kgtransfer.sources.files import read_split
from tests.commands.command_line import (
    QUICK,
    Kgt,
    assert_told,
)


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
        ("evaluate --checkpoint {place}/teacher --data {place}/a --plot x.png", ("--bias true",)),
        (
            "evaluate --checkpoint {place}/teacher --data {place}/a --bias true --plot {tmp}/x.pdf",
            ("must name a .png file",),
        ),
        (
            "evaluate --checkpoint {place}/x --data {place}/a --bias true --plot {tmp}/n/x.png",
            ("there is no folder {tmp}/n",),
        ),
        (
            "evaluate --checkpoint {place}/teacher --data {place}/a --bias true --temperature 0",
            ("temperature must be above 0",),
        ),
        (
            "pretrain --data {place}/a --out {tmp}/x --recipe.objective.balance 2",
            ("balance must be in [0, 1] (got 2",),
        ),
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


def test_lines_of_groups_that_are_wrong_are_listed(kgt: Kgt, place: Path, tmp_path: Path) -> None:
    groups = tmp_path / "groups.tsv"
    groups.write_text("city 1\tnorth\ncity-2\tnorth\ncity 3\n")
    ranked = ["evaluate", "--checkpoint", place / "teacher", "--data", place / "a"]
    ranked += ["--bias", "true"]
    for command in (ranked, ["pretrain", "--data", place / "a", "--out", tmp_path / "x", *QUICK]):
        ran = kgt(*command, "--groups", groups)
        assert_told(ran, f"{groups}:2: unknown entity: 'city-2'", "'city 2'", f"{groups}:3: two")
