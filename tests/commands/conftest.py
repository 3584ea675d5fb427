"""Graphs, a teacher of both, and the command line that is called in this process."""

from pathlib import Path

import pytest

from pyg_kgtransfer.cli import main
from tests.commands.command_line import QUICK, Kgt, Ran, facts, write_split


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with graphs ``a`` and ``b``, their links, and a teacher of both."""
    root = tmp_path_factory.mktemp("cli")
    a, b = write_split(root / "a", facts("city", "land")), root / "b"
    write_split(b, facts("City", "LAND"))
    graphs = ["--left", str(a), "--right", str(b)]
    assert main(["link", *graphs, "--relations", "true", "--out", str(root / "a~b.tsv")]) == 0
    teacher = ["--data", str(a), str(b), "--links", str(root / "a~b.tsv")]
    assert main(["pretrain", *teacher, "--out", str(root / "teacher"), *QUICK]) == 0
    return root


@pytest.fixture
def kgt(capsys: pytest.CaptureFixture[str]) -> Kgt:
    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return Ran(status, *capsys.readouterr())

    return run
