import errno
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from pyg_kgtransfer.sources.tensor_files import read_tensors, write_tensors
from pyg_kgtransfer.training.durable_files import (
    file_sha256,
    in_words,
    partial_of,
    previous_of,
    replace_folder,
    standing_folder,
)


def folder(path: Path, content: str) -> Path:
    path.mkdir()
    (path / "file").write_text(content)
    return path


def test_tensors_come_back_as_they_were(tmp_path: Path) -> None:
    tied = nn.Linear(3, 3)
    tensors = {
        "a": torch.arange(6).view(2, 3).t(),  # not contiguous
        "b": torch.zeros(0, 4, dtype=torch.bfloat16),
        "c": torch.tensor(3.5, dtype=torch.float64),
        "d": torch.get_rng_state(),
        "tied": tied.weight,
        "tied again": tied.weight,
    }
    write_tensors(tmp_path / "t.safetensors", tensors)
    (tmp_path / "other").touch()
    assert (tmp_path / "t.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode
    back = read_tensors(tmp_path / "t.safetensors")
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor)


def test_what_cannot_be_written_or_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_tensors(tmp_path / "nowhere" / "t.safetensors", {"a": torch.zeros(1)})
    (tmp_path / "t.safetensors").write_bytes(b"not tensors at all")
    with pytest.raises(ValueError, match=r"must be a safetensors file"):
        read_tensors(tmp_path / "t.safetensors")


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    path = folder(tmp_path / "c", "old")
    replace_folder(folder(partial_of(path), "new"), path)
    assert (path / "file").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_a_death_between_the_two_renames_leaves_the_old_folder_to_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder(tmp_path / "c", "old")
    new = folder(partial_of(path), "new")
    rename = os.replace
    calls: list[int] = []

    def die_at_the_second(source: Path, target: Path) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "replace", die_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        replace_folder(new, path)
    assert not path.exists()
    assert standing_folder(path) == previous_of(path)
    assert (standing_folder(path) / "file").read_text() == "old"
    monkeypatch.undo()
    replace_folder(new, path)
    assert standing_folder(path) == path
    assert (path / "file").read_text() == "new"
    assert not previous_of(path).exists()


def test_a_rename_that_fails_puts_the_old_folder_back(tmp_path: Path) -> None:
    path = folder(tmp_path / "c", "old")
    with pytest.raises(FileNotFoundError):
        replace_folder(tmp_path / "missing", path)
    assert (path / "file").read_text() == "old"


def test_a_full_disk_is_said_in_words(tmp_path: Path) -> None:
    error = in_words(
        OSError(errno.ENOSPC, "No space left on device"), "the file", tmp_path, kept="all is well"
    )
    assert error.errno == errno.ENOSPC
    assert "the file could not be written" in str(error)
    assert "the disk is full; all is well" in str(error)


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert file_sha256(tmp_path / "f").startswith("ba7816bf8f01cfea")
