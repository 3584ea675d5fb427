"""Reading what torch.save wrote without running it."""

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from pyg_kgtransfer.sources.safe_pickle import read_saved


class Harm:
    """What an attacker would save."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


SAVED = {
    "head": np.array([3, 1, 2]),
    "head_neg": np.arange(12).reshape(3, 4)[:, ::2],
    "wide": np.array([[2**40, -7]], order="F"),
    "tensor": torch.arange(6).view(2, 3).t(),
    "head_type": ["drug", "disease", "drug"],
    "number": np.int64(5),
    "more": OrderedDict(score=0.5, nothing=None, flag=True),
}


def assert_same(found, wanted) -> None:
    assert type(found) is type(wanted)
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key in wanted:
            assert_same(found[key], wanted[key])
    elif isinstance(wanted, np.ndarray | torch.Tensor):
        assert found.dtype == wanted.dtype
        assert found.tolist() == wanted.tolist()
    else:
        assert found == wanted


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("is_zip", [True, False])
def test_any_protocol_and_both_formats_are_read(protocol: int, is_zip: bool, tmp_path) -> None:
    path = tmp_path / "saved.pt"
    torch.save(SAVED, path, pickle_protocol=protocol, _use_new_zipfile_serialization=is_zip)
    assert_same(read_saved(path), SAVED)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("is_zip", [True, False])
def test_a_file_that_would_run_something_is_refused(protocol, is_zip, tmp_path) -> None:
    path, victim = tmp_path / "saved.pt", tmp_path / "harmed"
    harm = {"head": np.arange(3), "more": [Harm(victim)]}
    torch.save(harm, path, pickle_protocol=protocol, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(ValueError, match=r"saved\.pt is not read: it asks for (posix|nt)\.system"):
        read_saved(path)
    assert not victim.exists()
    torch.load(path, weights_only=False)  # it would have
    assert victim.exists()


@pytest.mark.parametrize("what", [eval, getattr, torch.load, np.load, zipfile.ZipFile])
def test_nothing_else_can_be_named(what, tmp_path) -> None:
    torch.save({"head": what}, tmp_path / "saved.pt")
    with pytest.raises(ValueError, match=f"asks for .*{what.__name__}, and only arrays"):
        read_saved(tmp_path / "saved.pt")


def test_bytes_are_stated_in_latin1_alone(tmp_path) -> None:
    class Odd:
        def __reduce__(self):
            import _codecs

            return _codecs.encode, ("text", "rot13")

    torch.save([Odd()], tmp_path / "saved.pt")
    with pytest.raises(ValueError, match="stated in latin1"):
        read_saved(tmp_path / "saved.pt")


def test_a_program_is_not_run(tmp_path) -> None:
    path = tmp_path / "saved.pt"
    torch.save({"head": np.arange(2)}, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("saved/constants.pkl", pickle.dumps(()))
    with pytest.raises(ValueError, match="holds a program"):
        read_saved(path)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_damaged_file_is_told(is_zip: bool, share: float, tmp_path) -> None:
    path = tmp_path / "saved.pt"
    torch.save(SAVED, path, _use_new_zipfile_serialization=is_zip)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"saved\.pt must be a whole file .* fetch it again"):
        read_saved(path)


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"head,tail\n1,2\n", b"\x80\x04."])
def test_what_torch_never_wrote_is_told(content: bytes, tmp_path) -> None:
    (tmp_path / "saved.pt").write_bytes(content)
    with pytest.raises(ValueError, match="must be a whole file written by torch"):
        read_saved(tmp_path / "saved.pt")


def test_a_file_that_is_not_there_is_told(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        read_saved(tmp_path / "saved.pt")
