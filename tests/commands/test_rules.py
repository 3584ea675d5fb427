"""``kgt rules``: what is mined is told, written and counted; and learned in training."""

import csv
from pathlib import Path

from tests.commands.command_line import QUICK, TRAINING, Kgt, assert_told

WIDTH = ["--recipe.model.width", "8", *TRAINING, "--recipe.training.epochs", "1"]


def ladder(folder: Path) -> Path:
    """Twenty rungs up, fourteen of them down, too."""
    rows = [(f"{a}", "up", f"{a + 1}") for a in range(20)]
    rows += [(b, "down", a) for a, _, b in rows[:14]]
    table = folder / "ladder.tsv"
    table.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return table


def test_rules_are_listed_counted_and_written(kgt: Kgt, tmp_path: Path) -> None:
    data, out = ladder(tmp_path), tmp_path / "new" / "rules.tsv"
    ran = kgt("rules", "--data", data, "--out", out, "--json")
    assert ran.status == 0
    told = ran.json
    assert told["graph"]["triples"] == 34
    assert told["proposed"] == 6
    both = {rule["rule"]: rule for rule in told["rules"]}
    assert both.keys() == {"up(y, x) => down(x, y)", "down(y, x) => up(x, y)"}
    down = both["up(y, x) => down(x, y)"]
    assert (down["kind"], down["body"], down["head"]) == ("inverse", ["^up"], "down")
    assert (down["support"], down["proposes"]) == (14, 6)
    assert (down["confidence"], down["pca_confidence"]) == (0.7, 1.0)
    with out.open(encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream, delimiter="\t"))
    assert [line["rule"] for line in lines] == [rule["rule"] for rule in told["rules"]]
    assert {line["proposes"] for line in lines} == {"0", "6"}
    shown = kgt("rules", "--data", data)
    assert "up(y, x) => down(x, y)" in shown.out
    assert "written" not in shown.out


def test_bounds_are_heeded_and_checked(kgt: Kgt, tmp_path: Path) -> None:
    data = ladder(tmp_path)
    assert kgt("rules", "--data", data, "--min_support", "15", "--json").json["rules"] == []
    assert kgt("rules", "--data", data, "--min_support", "15").status == 0
    assert_told(kgt("rules", "--data", data, "--min_support", "0"), "min_support", "(got 0)")
    assert_told(kgt("rules", "--data", data, "--min_confidence", "2"), "in [0, 1] (got 2.0)")
    assert_told(kgt("rules", "--data", tmp_path / "none"), "no file or folder")
    assert_told(kgt("rules"), "--data must be given")


def test_a_checkpoint_has_rules_too(kgt: Kgt, tmp_path: Path) -> None:
    data = ladder(tmp_path)
    assert kgt("pretrain", "--data", data, "--out", tmp_path / "kept", *QUICK).status == 0
    told = [kgt("rules", "--data", of, "--json").json for of in (data, tmp_path / "kept")]
    assert told[0]["rules"] == told[1]["rules"]


def test_what_goes_beside_the_loss_is_set_by_options(kgt: Kgt, tmp_path: Path) -> None:
    data, out = ladder(tmp_path), tmp_path / "out"
    given = ["pretrain", "--data", data, "--out", out, *WIDTH]
    beside = ["--recipe.auxiliary.proposed", "0.5", "--recipe.training.edge_dropout", "0.1"]
    assert kgt(*given, *beside).status == 0
    before = ["--recipe.auxiliary.task", "0", "--recipe.auxiliary.masked", "1"]
    assert kgt(*given, *before).status == 0
    again = ["finetune", "--checkpoint", out, "--data", data, "--out", tmp_path / "moved"]
    held = ["--finetuning.elastic", "1", "--finetuning.dropout", "0.1"]
    assert kgt(*again, *TRAINING, "--recipe.training.epochs", "1", *held).status == 0
    beside = ["--recipe.auxiliary.proposed", "1", "--recipe.auxiliary.min_support", "99"]
    nothing = kgt(*given, *beside, "--json")
    assert_told(nothing, "must propose a fact", "min_support 99")
    shallow = ["--recipe.model.encoder", "shallow", "--recipe.auxiliary.masked", "1"]
    assert_told(kgt(*given, *shallow, "--json"), "masked needs an encoder with message-passing")
