import hashlib
import io
import socket
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

from pyg_kgtransfer.sources.download import Wanted, fetch, fetch_folder, fetch_members, sha256_of

CONTENT = "Ἀθήνα\tcapital_of\tἙλλάς\n".encode() * 50
OTHER = b"something else"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def zip_of(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in members.items():
            packed.writestr(name, content)


def tar_of(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as packed:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))


def test_sha256_is_that_of_the_bytes(tmp_path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    assert sha256_of(tmp_path / "a") == digest(CONTENT)


def test_a_file_is_downloaded_and_checked(served, tmp_path) -> None:
    folder, address = served
    (folder / "train.txt").write_bytes(CONTENT)
    path = tmp_path / "cache" / "set" / "train.txt"
    fetch(f"{address}/train.txt", Wanted(path, digest(CONTENT)))
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_a_changed_file_is_refused_and_not_kept(served, tmp_path) -> None:
    folder, address = served
    (folder / "train.txt").write_bytes(OTHER)
    path = tmp_path / "cache" / "train.txt"
    with pytest.raises(ValueError, match=rf"train\.txt must have sha256 {digest(CONTENT)} \(got"):
        fetch(f"{address}/train.txt", Wanted(path, digest(CONTENT)))
    assert list(path.parent.iterdir()) == []


def test_a_missing_page_is_said_with_its_status(served, tmp_path) -> None:
    with pytest.raises(ConnectionError, match=r"could not be downloaded \(got: 404"):
        fetch(f"{served[1]}/nothing.txt", Wanted(tmp_path / "x", digest(CONTENT)))
    assert not (tmp_path / "x").exists()


def test_an_unreachable_server_is_said_in_words(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(ConnectionError, match=r"could not be reached .* is there a network"):
        fetch("http://127.0.0.1:9/train.txt", Wanted(tmp_path / "x", digest(CONTENT)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "pack"), [("set.zip", zip_of), ("set.tar.gz", tar_of)])
def test_members_of_an_archive_are_found_by_name_and_sha256(served, tmp_path, name, pack) -> None:
    folder, address = served
    members = {
        "__MACOSX/train.txt": OTHER,
        "set/train.txt": CONTENT,
        "set/test.txt": OTHER,
        "set/notes.txt": b"not wanted",
    }
    pack(folder / name, members)
    cache = tmp_path / "cache"
    wanted = {
        "train.txt": Wanted(cache / "train.txt", digest(CONTENT)),
        "test.txt": Wanted(cache / "test.txt", digest(OTHER)),
    }
    fetch_members(f"{address}/{name}", wanted)
    assert (cache / "train.txt").read_bytes() == CONTENT
    assert (cache / "test.txt").read_bytes() == OTHER
    assert len(list(cache.iterdir())) == 2


def test_an_archive_without_the_file_is_refused(served, tmp_path) -> None:
    folder, address = served
    zip_of(folder / "set.zip", {"set/train.txt": OTHER})
    wanted = {"train.txt": Wanted(tmp_path / "cache" / "train.txt", digest(CONTENT))}
    with pytest.raises(ValueError, match=r"set\.zip must have train\.txt with sha256"):
        fetch_members(f"{address}/set.zip", wanted)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("name", ["set.zip", "set.tar.gz"])
def test_what_is_no_archive_is_refused(served, tmp_path, name) -> None:
    folder, address = served
    (folder / name).write_bytes(CONTENT)
    wanted = {"train.txt": Wanted(tmp_path / "cache" / "train.txt", digest(CONTENT))}
    with pytest.raises(ValueError, match="must be a whole archive"):
        fetch_members(f"{address}/{name}", wanted)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cut_off_archive_is_refused(served, tmp_path) -> None:
    folder, address = served
    tar_of(folder / "set.tar.gz", {"train.txt": bytes(range(256)) * 99, "test.txt": CONTENT})
    whole = (folder / "set.tar.gz").read_bytes()
    (folder / "set.tar.gz").write_bytes(whole[: len(whole) // 2])
    wanted = {"test.txt": Wanted(tmp_path / "cache" / "test.txt", digest(CONTENT))}
    with pytest.raises(ValueError, match="must be a whole archive"):
        fetch_members(f"{address}/set.tar.gz", wanted)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_folder_of_an_archive_is_kept(served, tmp_path) -> None:
    folder, address = served
    zip_of(folder / "set.zip", {"set/a/train.txt": CONTENT, "set/b": OTHER, "else/c": OTHER})
    fetch_folder(f"{address}/set.zip", "set", tmp_path / "cache" / "mine")
    assert (tmp_path / "cache" / "mine" / "a" / "train.txt").read_bytes() == CONTENT
    assert sorted(path.name for path in (tmp_path / "cache").rglob("*")) == [
        "a", "b", "mine", "train.txt",
    ]  # fmt: skip


def test_a_folder_that_cannot_be_had_is_told_and_nothing_is_kept(served, tmp_path) -> None:
    folder, address = served
    zip_of(folder / "set.zip", {"else/train.txt": CONTENT})
    whole = (folder / "set.zip").read_bytes()
    (folder / "page.zip").write_bytes(b"<html>not found</html>")
    (folder / "wrong.zip").write_bytes(whole.replace(CONTENT[:9], b"something", 1))
    cases = [
        ("set", "set", r"set\.zip must have a folder 'set' \(got none\)"),
        ("page", "set", r"page\.zip must be a whole archive"),
        ("wrong", "else", r"wrong\.zip must be a whole archive \(got: Bad CRC"),
    ]
    for name, member, words in cases:
        with pytest.raises(ValueError, match=words):
            fetch_folder(f"{address}/{name}.zip", member, tmp_path / "cache" / "mine")
        assert list((tmp_path / "cache").iterdir()) == []
    with pytest.raises(ConnectionError, match=r"got: 404"):
        fetch_folder(f"{address}/none.zip", "set", tmp_path / "cache" / "mine")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_connection_that_ends_early_is_told(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer_half, args=(server, 2))
        thread.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/set.zip"
        words = r"set\.zip ended early \(got 5 of 1,000 bytes\): try it again"
        with pytest.raises(ConnectionError, match=words):
            fetch_folder(address, "set", tmp_path / "cache" / "set")
        with pytest.raises(ConnectionError, match=words):
            fetch(address, Wanted(tmp_path / "cache" / "set.zip", digest(CONTENT)))
        thread.join()
    assert list((tmp_path / "cache").iterdir()) == []


def answer_half(server: socket.socket, times: int) -> None:
    """Promise 1,000 bytes, send 5 and hang up."""
    for _ in range(times):
        caller, _ = server.accept()
        with caller:
            caller.recv(10_000)
            caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhello")


def test_ctrl_c_stays_what_it_is_and_nothing_is_kept(served, tmp_path, monkeypatch) -> None:
    folder, address = served
    zip_of(folder / "set.zip", {"set/train.txt": CONTENT})

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for step in ("zipfile.ZipFile.extractall", "urllib.request.urlopen"):
        monkeypatch.setattr(step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch_folder(f"{address}/set.zip", "set", tmp_path / "cache" / "set")
        assert list((tmp_path / "cache").iterdir()) == []
