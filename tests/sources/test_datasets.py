import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pyg_kgtransfer.sources.dataset_table import (
    DATASETS,
    DBP5L_LINKS,
    Counts,
    DataFile,
    Dataset,
    TextTable,
)
from pyg_kgtransfer.sources.datasets import (
    DEFAULT_ROOT,
    Places,
    load,
    load_dataset,
    load_dbp5l_links,
    load_inductive,
)

ROOT = Path(os.environ.get("KGT_DATA") or DEFAULT_ROOT)
PARTS = {
    "train.txt": "a\tr\tb\nb\ts\ta\n",
    "valid.txt": "a\ts\tb\n",
    "test.txt": "c\tr\ta\n",
}
LABELS = 'id\tentity\tname\n0\ta\t"""A"", said"\n1\tb\tBee\n'
SMALL = ["umls", "nations", "kinship", "countries/s1", "dbp-5l/el", "grail-inductive/nell_v1"]


def needs(folder: str):
    return pytest.mark.skipif(
        not (ROOT / folder).is_dir(), reason=f"needs the data in {ROOT / folder} (see KGT_DATA)"
    )


def file_of(path: str, text: str, url: str | None = None) -> DataFile:
    return DataFile(path, hashlib.sha256(text.encode()).hexdigest(), url)


def small(address: str | None = None) -> Dataset:
    """A set of three entities, served at ``address``."""
    url = (lambda name: f"{address}/{name}") if address else (lambda name: None)
    return Dataset(
        "small",
        "A small set",
        "https://example.org/small",
        Counts(3, 2, 2, 1, 1),
        tuple(file_of(f"small/{name}", text, url(name)) for name, text in PARTS.items()),
        TextTable(
            file_of("small/labels.tsv", LABELS, url("labels.tsv")),
            columns=(1, 2),
            has_header=True,
            is_quoted=True,
        ),
    )


def written(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture
def places(tmp_path, monkeypatch) -> Places:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return Places(tmp_path / "root", tmp_path / "cache", offline=False)


def test_a_set_is_read_from_the_root_with_its_labels(places) -> None:
    written(places.root / "small", PARTS | {"labels.tsv": LABELS})
    split = load_dataset(small(), places)
    assert split.train.named_triples() == [("a", "r", "b"), ("b", "s", "a")]
    assert split.train.labels == ('"A", said', "Bee", "c")
    assert split.valid.triples.tolist() == [[0, 1, 1]]
    assert split.test.triples.tolist() == [[2, 0, 0]]
    assert split.train.name == "small"


def test_a_set_can_be_read_without_its_labels(places) -> None:
    written(places.root / "small", PARTS)
    assert load_dataset(small(), places).train.labels is None


def test_the_cache_has_what_the_root_lacks(places) -> None:
    written(places.root / "small", {"train.txt": PARTS["train.txt"]})
    written(places.cache / "small", PARTS)
    assert len(load_dataset(small(), places).test) == 1


def test_what_is_missing_is_downloaded_once(places, served) -> None:
    folder, address = served
    written(folder, PARTS | {"labels.tsv": LABELS})
    split = load_dataset(small(address), places)
    assert split.train.label(1) == "Bee"
    cached = sorted(path.name for path in (places.cache / "small").iterdir())
    assert cached == ["labels.tsv", "test.txt", "train.txt", "valid.txt"]
    for name in cached:
        (folder / name).unlink()  # another download would fail
    again = load_dataset(small(address), places)
    assert again.train.fingerprint() == split.train.fingerprint()
    assert not places.root.exists()


def test_a_download_of_other_content_is_refused(places, served) -> None:
    folder, address = served
    written(folder, PARTS | {"valid.txt": "a\tr\ta\n"})
    with pytest.raises(ValueError, match=r"valid\.txt must have sha256"):
        load_dataset(small(address), places)
    assert not (places.cache / "small" / "valid.txt").exists()


def test_offline_nothing_is_downloaded(places, served) -> None:
    folder, address = served
    written(folder, PARTS)
    with pytest.raises(
        FileNotFoundError, match=r"small/train\.txt.*offline=False or KGT_OFFLINE=0"
    ):
        load_dataset(small(address), replace(places, offline=True))
    assert not places.cache.exists()


def test_an_unreachable_server_is_said(places) -> None:
    with pytest.raises(
        ConnectionError, match=r"http://127\.0\.0\.1:9/train\.txt could not be reach"
    ):
        load_dataset(small("http://127.0.0.1:9"), places)


def test_a_set_without_address_says_what_is_missing_and_where(places) -> None:
    written(places.root / "small", {"train.txt": PARTS["train.txt"]})
    with pytest.raises(
        FileNotFoundError, match=r"small/valid\.txt, small/test\.txt below"
    ) as error:
        load_dataset(small(), places)
    assert str(places.root) in str(error.value)
    assert "KGT_DATA" in str(error.value)


def test_a_changed_file_is_refused(places) -> None:
    written(places.root / "small", PARTS | {"test.txt": "c\tr\tb\n"})
    with pytest.raises(
        ValueError, match=r"test\.txt must have sha256 .* another version or damaged"
    ):
        load_dataset(small(), places)


def test_other_counts_are_refused(places) -> None:
    written(places.root / "small", PARTS)
    wrong = replace(small(), counts=Counts(3, 2, 2, 1, 2))
    with pytest.raises(
        ValueError, match=r"must have Counts\(.*test=2\) \(got Counts\(.*test=1\)\)"
    ):
        load_dataset(wrong, places)


def test_line_numbers_are_ids_and_the_last_line_of_a_uri_is_called_by_it(places) -> None:
    texts = {
        "train": "2\t1\t0\n",
        "valid": "0\t0\t3\n",
        "test": "3\t1\t2\n",
        "entity": "".join(
            f"http://el.dbpedia.org/resource/{n}\n" for n in ("A_b", "C", "C", "%C3%89")
        ),
        "relation": "r\ns\nunused\n",
    }
    written(places.root / "lines", texts)
    dataset = Dataset(
        "lines",
        "Line numbers",
        "https://example.org",
        Counts(4, 3, 1, 1, 1),
        tuple(file_of(f"lines/{name}", text) for name, text in texts.items()),
        layout="lines",
    )
    split = load_dataset(dataset, places)
    uri = "http://el.dbpedia.org/resource/"
    assert split.train.named_triples() == [(f"{uri}C", "s", f"{uri}A_b")]
    assert split.train.entities.name(1) == f"{uri}C#line-1"
    assert [split.train.label(i) for i in (0, 3)] == ["A b", "É"]
    assert split.valid.triples.tolist() == [[0, 0, 3]]


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("fb15k237", "fb15k-237"), ("WN18R", "wn18rr"), ("dbp5l/el", "dbp-5l/el"), ("ulms", "umls")],
)
def test_a_misspelt_name_gets_the_nearest(wrong, near) -> None:
    with pytest.raises(
        ValueError, match=rf"a data set is one of .*\(got '{wrong}'; nearest: {near}"
    ):
        load(wrong)


def test_links_are_between_two_of_the_languages() -> None:
    for left, right in (("el", "el"), ("el", "de")):
        with pytest.raises(ValueError, match="two of the languages el, en, es, fr, ja"):
            load_dbp5l_links(left, right)


def test_places_come_from_arguments_then_environment_then_defaults(monkeypatch, tmp_path) -> None:
    for name in ("KGT_DATA", "KGT_CACHE", "KGT_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Places.given() == Places(DEFAULT_ROOT, tmp_path / "pyg_kgtransfer", False)
    monkeypatch.setenv("KGT_DATA", "data")
    monkeypatch.setenv("KGT_CACHE", "cache")
    monkeypatch.setenv("KGT_OFFLINE", "1")
    assert Places.given() == Places(Path("data"), Path("cache"), True)
    assert Places.given("mine", False) == Places(Path("mine"), Path("cache"), False)
    monkeypatch.setenv("KGT_OFFLINE", "maybe")
    with pytest.raises(ValueError, match=r"KGT_OFFLINE must be 1 or 0 \(got 'maybe'\)"):
        Places.given()


def test_the_table_is_whole() -> None:
    files = [file for dataset in DATASETS.values() for file in dataset.files]
    files += [dataset.labels.file for dataset in DATASETS.values() if dataset.labels]
    files += list(DBP5L_LINKS.values())
    assert all(len(file.sha256) == 64 and int(file.sha256, 16) for file in files)
    assert all(name == dataset.name == name.casefold() for name, dataset in DATASETS.items())
    assert all(file.url is None or file.url.startswith("https://") for file in files)
    assert all(
        (file.member is None) == (not (file.url or "").endswith(("zip", "gz"))) for file in files
    )
    assert len(DBP5L_LINKS) == 10


@pytest.mark.parametrize("name", [pytest.param(n, marks=needs(n.split("/")[0])) for n in SMALL])
def test_published_sets_are_as_published(name) -> None:
    split = load(name, root=ROOT, offline=True)
    assert split.train.num_triples == DATASETS[name].counts.train


@needs("codex-s")
def test_codex_has_labels() -> None:
    train = load("codex-s", root=ROOT, offline=True).train
    assert train.label(train.entities.id("Q7604")) == "Leonhard Euler"


@needs("dbp-5l")
def test_links_of_dbp5l_are_one_to_one_and_turn_round() -> None:
    pairs = load_dbp5l_links("el", "en", root=ROOT, offline=True)
    assert len(pairs) == 2_280
    assert len({left for left, _ in pairs}) == len({right for _, right in pairs}) == 2_280
    turned = load_dbp5l_links("en", "el", root=ROOT, offline=True)
    assert turned == [(right, left) for left, right in pairs]
    greek = load("dbp-5l/el", root=ROOT, offline=True).train
    assert all(left in greek.entities for left, _ in pairs)


@needs("grail-inductive")
def test_inductive_sides_share_relations_and_no_entities() -> None:
    split = load_inductive("nell_v1", root=ROOT, offline=True)
    seen, unseen = split.seen.train, split.unseen.train
    assert seen.relations == unseen.relations
    assert not set(seen.entities) & set(unseen.entities)
    alone = load("grail-inductive/nell_v1_ind", root=ROOT, offline=True)
    assert unseen.named_triples() == alone.train.named_triples()
    names = [
        [(h, unseen.relations.name(r), t) for h, r, t in split.unseen.test.triples.tolist()],
        [(h, alone.train.relations.name(r), t) for h, r, t in alone.test.triples.tolist()],
    ]
    assert names[0] == names[1]
    assert split.unseen.valid.triples.dtype == torch.long
    with pytest.raises(ValueError, match="nearest: grail-inductive/nell_v1"):
        load_inductive("nel_v1", root=ROOT)
