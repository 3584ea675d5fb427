"""Reading what torch.save wrote without running it."""

import os
import pickle
import random
import struct
import tarfile
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


class Program(torch.nn.Module):
    """TorchScript that runs when it is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.zeros(1)
        self.training = False

    @torch.jit.export
    def __getstate__(self):
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        self.weight, self.training = state[0], state[1]
        print("harm was done")

    def forward(self, x):
        return x + self.weight


def unreadable_to_python(archive: bytes) -> bytes:
    """The archive with an extra field of a size that it has not: PyTorch reads it all the same."""
    end = archive.rindex(b"PK\x05\x06")
    size, start = struct.unpack("<II", archive[end + 12 : end + 20])
    entry = bytearray(archive[start : start + size])
    name, extra = struct.unpack("<HH", entry[28:32])
    entry[30:32] = struct.pack("<H", extra + 4)
    entry[46 + name : 46 + name] = b"\x99\x99\xff\x7f"
    tail = bytearray(archive[end:])
    tail[12:16] = struct.pack("<I", len(entry))
    return archive[:start] + bytes(entry) + bytes(tail)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("is_hidden", [False, True])
def test_torch_script_is_not_run(is_hidden: bool, tmp_path, capfd) -> None:
    path = tmp_path / "saved.pt"
    torch.jit.script(Program()).save(str(path))
    if is_hidden:
        path.write_bytes(unreadable_to_python(path.read_bytes()))
        with pytest.raises(zipfile.BadZipFile):
            zipfile.ZipFile(path)
    with pytest.raises(
        ValueError, match=r"saved\.pt (must be a whole file|is not read: .*program)"
    ):
        read_saved(path)
    assert "harm" not in capfd.readouterr().out
    torch.jit.load(str(path))  # it would have
    assert "harm was done" in capfd.readouterr().out


def text(value: str) -> bytes:
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def test_attributes_are_not_set_and_no_file_is_written(tmp_path) -> None:
    """A module of the old format has its source with it: torch.load writes NAME.patch."""
    start = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001)]
    start.append(pickle.dumps({"protocol_version": 1001, "little_endian": True}, 2))
    attributes = text("dump_patches") + b"\x88" + text("__name__") + text(str(tmp_path / "evil"))
    named = b"c_codecs\nencode\n(N}(" + attributes + b"utbq\x000"
    module = b"(" + text("module") + b"h\x00" + text("file.py") + text("evil line\n") + b"tQ"
    for body in (b"\x80\x02" + named + module + b"0}.", b"\x80\x02" + named + b"}."):
        (tmp_path / "saved.pt").write_bytes(b"".join([*start, body, pickle.dumps([], 2)]))
        with pytest.raises(ValueError, match=r"saved\.pt must be a whole file"):
            read_saved(tmp_path / "saved.pt")
    assert os.listdir(tmp_path) == ["saved.pt"]


def test_archives_of_another_kind_are_refused(tmp_path) -> None:
    path = tmp_path / "saved.pt"
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "storages")
    with pytest.raises(ValueError, match="no sign of torch"):
        read_saved(path)
    content = pickle.dumps({}, 2)
    cases = [
        ([("a/data.pkl", content), ("a/more.txt", b"")], {}, r"holds 'more\.txt', which"),
        ([("a/data.pkl", content), ("b/version", b"3")], {}, r"holds 'b/version', which"),
        ([("a/data.pkl", content)], {"compression": zipfile.ZIP_DEFLATED}, "compressed entries"),
        ([("a/data.pkl", content), ("a/byteorder", b"big")], {}, "must be little-endian"),
        ([("a/data.pkl", content + b"more")], {}, "more after its end"),
        ([("a/version", b"3")], {}, "points at what is not in it"),
    ]
    for entries, options, words in cases:
        with zipfile.ZipFile(path, "w", **options) as archive:
            for name, content_of in entries:
                archive.writestr(name, content_of)
        with pytest.raises(ValueError, match=words):
            read_saved(path)


def shapes(found) -> dict:
    return {key: tuple(value.shape) for key, value in found.items() if hasattr(value, "shape")}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("is_zip", [True, False])
def test_bytes_that_flip_are_told_or_leave_arrays_of_their_size(protocol, is_zip, tmp_path) -> None:
    path, draw, told = tmp_path / "saved.pt", random.Random(protocol), 0
    torch.save(SAVED, path, pickle_protocol=protocol, _use_new_zipfile_serialization=is_zip)
    whole = path.read_bytes()
    for _ in range(80):
        flipped = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            flipped[draw.randrange(len(whole))] = draw.randrange(256)
        path.write_bytes(flipped)
        try:
            found = read_saved(path)
        except ValueError:
            told += 1
        else:
            assert sorted(shapes(found).values()) == sorted(shapes(SAVED).values())
    assert told > 20


def test_an_archive_of_a_later_version_is_told(tmp_path) -> None:
    path = tmp_path / "saved.pt"
    torch.save(SAVED, path)
    archive = bytearray(path.read_bytes())
    archive[archive.rindex(b"PK\x01\x02") + 6] = 200
    path.write_bytes(archive)
    with pytest.raises(ValueError, match=r"must be a whole file .* version 20"):
        read_saved(path)


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
