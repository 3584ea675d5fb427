"""The program: its verbs, help, errors of the system, exit status."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pyg_kgtransfer
from pyg_kgtransfer.cli import VERBS, in_words
from tests.commands.command_line import (
    Kgt,
    Ran,
    assert_told,
)


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
