"""Interrupted runs go on; a full disk leaves nothing half written."""

import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pyg_kgtransfer.training.checkpoint import Checkpoint
from tests.commands.command_line import (
    QUICK,
    Kgt,
    assert_told,
)


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
