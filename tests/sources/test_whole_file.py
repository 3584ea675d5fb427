import errno
import stat

import pytest

from pyg_kgtransfer.sources.whole_file import whole_file


def test_the_file_appears_when_it_is_finished(tmp_path) -> None:
    path = tmp_path / "new" / "facts.tsv.gz"
    with whole_file(path) as part:
        part.write_text("x", encoding="utf-8")
        assert not path.exists()
        assert part.name.endswith(".tsv.gz")
        assert part.parent == path.parent
    assert path.read_text(encoding="utf-8") == "x"
    assert list(path.parent.iterdir()) == [path]


def test_the_mode_is_that_of_any_new_file(tmp_path) -> None:
    (tmp_path / "plain").touch()
    with whole_file(tmp_path / "whole"):
        pass
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "whole")]
    assert modes[0] == modes[1]


def test_an_error_leaves_the_earlier_file_and_nothing_else(tmp_path) -> None:
    path = tmp_path / "facts.tsv"
    path.write_text("earlier", encoding="utf-8")

    def broken() -> None:
        with whole_file(path) as part:
            part.write_text("half", encoding="utf-8")
            raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        broken()
    assert path.read_text(encoding="utf-8") == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_in_words_and_leaves_nothing(tmp_path, small_disk) -> None:
    with (
        pytest.raises(
            OSError, match=r"could not be written: the disk is full.*facts\.tsv"
        ) as caught,
        small_disk(),
        whole_file(tmp_path / "facts.tsv") as part,
    ):
        part.write_text("x" * 5_000, encoding="utf-8")
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_overwritten(tmp_path) -> None:
    with pytest.raises(IsADirectoryError, match="not a folder"), whole_file(tmp_path):
        pass


def test_a_file_in_the_place_of_a_folder_is_said_in_words(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="could not be written"), whole_file(tmp_path / "file" / "x"):
        pass
    assert (tmp_path / "file").is_file()
