"""What the help says: the verb's own options at once, its settings when asked, in plain words."""

import re
from argparse import ArgumentError

import pytest
from jsonargparse import ArgumentParser

from pyg_kgtransfer.cli import VERBS
from pyg_kgtransfer.commands.help import PlainHelp, explanation
from tests.commands.command_line import Kgt, assert_told


def parser(**defaults) -> ArgumentParser:
    made = ArgumentParser(prog="kgt x", formatter_class=PlainHelp, exit_on_error=False)
    for name, default in defaults.items():
        made.add_argument(f"--{name}", type=type(default), default=default, help=f"The {name}.")
    return made


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_fits_on_a_page_and_has_no_markup(kgt: Kgt, verb: str) -> None:
    own, everything = kgt(verb, "--help").out, kgt(verb, "--help", "all").out
    assert len(own.splitlines()) <= 75
    for text in (own, everything):
        assert not re.search(r"``|\(type|Literal|None|CONFIG", text)
    options = set(re.findall(r"^  (--[\w.]+)", everything, re.MULTILINE))
    told = set(re.findall(r"^  (--[\w.]+)", own, re.MULTILINE))
    starts = tuple(name for name in told if name.endswith("."))  # --recipe.model.*
    assert all(option in told or option.startswith(starts) for option in options)


def test_a_group_of_settings_is_told_alone(kgt: Kgt) -> None:
    text = kgt("pretrain", "--help", "recipe.model").out
    options = re.findall(r"^  (--[\w.]+)", text, re.MULTILINE)
    assert "--recipe.model.decoder" in options
    assert all(option.startswith("--recipe.model.") for option in options)
    one = kgt("pretrain", "--out", "x", "-h", "--recipe.training.epochs").out
    assert re.findall(r"^  (--[\w.]+) N", one, re.MULTILINE) == ["--recipe.training.epochs"]
    assert "passes over the triples, at least 1 (default: 100)" in " ".join(one.split())


def test_an_unknown_group_has_its_nearest_offered(kgt: Kgt) -> None:
    assert_told(kgt("pretrain", "--help", "recipe.modell"), "did you mean 'recipe.model'?")
    assert_told(kgt("doctor", "--help", "recipe"), "all (got 'recipe')")


def test_verbs_of_two_words_are_listed_under_their_first(kgt: Kgt) -> None:
    ran = kgt("hierarchy", "--help")
    assert ran.status == 0
    assert re.findall(r"^  (hierarchy \w+)", ran.out, re.MULTILINE) == [
        "hierarchy make",
        "hierarchy show",
    ]


def test_defaults_are_written_as_one_would_give_them() -> None:
    text = explanation(parser(size=3, rate=0.5, fast=False, name="x"), "all")
    for line in (
        "--size N             the size (default: 3)",
        "--rate X             the rate (default: 0.5)",
        "--fast {true,false}  the fast (default: false)",
        "--name NAME          the name (default: x)",
    ):
        assert line in text


def test_few_settings_are_told_at_once_and_many_folded() -> None:
    few = explanation(parser(**{f"deep.a{i}": i for i in range(12)}), "")
    many = explanation(parser(**{f"deep.a{i}": i for i in range(13)}), "")
    assert "--deep.a11 N" in few
    assert "--deep.a11" not in many
    assert "--deep.*  further settings" in many
    assert "'kgt x --help deep'" in many


def test_only_help_is_taken_for_help() -> None:
    with pytest.raises(ArgumentError, match="unrecognized arguments: --halp"):
        parser(size=3).parse_args(["--halp"])
