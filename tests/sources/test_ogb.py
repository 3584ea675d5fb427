"""OGB's data sets: the files of the downloads, as ogb itself reads them, and what may be wrong."""

import gzip
import logging
import os
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import pyg_kgtransfer as kgt
from pyg_kgtransfer.sources.ogb import OGB, is_published, load_ogb
from pyg_kgtransfer.sources.safe_pickle import read_saved
from pyg_kgtransfer.sources.synthetic_ogb import MiniatureOptions, write_miniature

SMALL = MiniatureOptions(num_entities=40, num_facts=40, num_negatives=5)
TYPES = ["disease", "drug", "function", "protein", "sideeffect"]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ogb")
    for name in OGB:
        write_miniature(name, root, SMALL)
    return root


@pytest.fixture
def root(originals: Path, tmp_path: Path) -> Path:
    """Miniatures to damage."""
    return Path(shutil.copytree(originals, tmp_path / "data"))


def opened(name: str, root: Path) -> kgt.Split:
    return load_ogb(name, root, cache=root / "cache", offline=True)


def part_of(name: str, root: Path, part: str) -> Path:
    return root / name.replace("-", "_") / "split" / OGB[name].split / f"{part}.pt"


def changed(path: Path, **entries) -> None:
    """The same file with other entries; ``None`` takes one out."""
    saved = read_saved(path) | entries
    torch.save({k: v for k, v in saved.items() if v is not None}, path, pickle_protocol=4)


@pytest.mark.parametrize("name", OGB)
def test_ids_names_and_negatives_agree_with_ogb(name, root, monkeypatch, capsys) -> None:
    """The miniature is of the real layout, for ogb's own loader opens it by its real name."""
    pytest.importorskip("ogb")
    from ogb.linkproppred import PygLinkPropPredDataset

    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        theirs = PygLinkPropPredDataset(name, root=str(root))
        parts = theirs.get_edge_split()
    capsys.readouterr()
    ours = opened(name, root)
    if OGB[name].is_typed:
        sizes = theirs[0].num_nodes_dict
        assert list(ours.train.entity_types or ()) == sorted(sizes) == TYPES
        start = {kind: sum(sizes[k] for k in TYPES[:i]) for i, kind in enumerate(TYPES)}
    for part, facts in (("train", ours.train), ("valid", ours.valid), ("test", ours.test)):
        saved = parts[part]
        for column, side in ((0, "head"), (2, "tail")):
            shift = torch.zeros_like(saved[side])
            if OGB[name].is_typed:
                shift = torch.tensor([start[kind] for kind in saved[f"{side}_type"]])
            assert torch.equal(facts.triples[:, column], saved[side] + shift)
            if part != "train":
                negatives = getattr(facts.negatives, side)
                assert negatives.dtype == torch.int32
                assert torch.equal(negatives.long(), saved[f"{side}_neg"] + shift[:, None])
        assert torch.equal(facts.triples[:, 1], saved["relation"])


def test_typed_entities_have_names_of_their_own_and_labels(originals, tmp_path) -> None:
    train = load_ogb("ogbl-biokg", originals, cache=tmp_path).train
    types = [train.entity_types.name(i) for i in train.entity_type.tolist()]
    assert types == sorted(types)
    for name, label, kind in zip(train.entities, train.labels, types, strict=True):
        assert name == f"{kind}:{label}"
    assert len(set(train.labels)) < train.num_entities  # diseases and side effects share some
    head, relation, tail = train.triples.unbind(1)
    for h, r, t in zip(head.tolist(), relation.tolist(), tail.tolist(), strict=True):
        of_ends = {types[h], types[t]}
        assert train.relations.name(r).split("_")[0] in {"-".join(p) for p in _orders(of_ends)}


def _orders(ends: set[str]) -> list[tuple[str, str]]:
    first, last = min(ends), max(ends)
    return [(first, last), (last, first)]


def test_names_that_stand_twice_are_told_apart_and_missing_ones_are_numbers(root) -> None:
    mapping = root / "ogbl_wikikg2" / "mapping"
    lines = ["node idx,entity id", "0,Q5", "1,Q5", '2,"Q,7"', "3,Q5#1"]
    with gzip.open(mapping / "nodeidx2entityid.csv.gz", "wt") as stream:
        stream.write("\n".join(lines))
    names = opened("ogbl-wikikg2", root).train.entities.names
    assert names[:5] == ("Q5", "Q5#1#1", "Q,7", "Q5#1", "4")
    shutil.rmtree(mapping)
    train = opened("ogbl-wikikg2", root).train
    assert (train.entities.names[:2], train.relations.names) == (("0", "1"), ("0", "1", "2", "3"))
    shutil.rmtree(root / "ogbl_biokg" / "mapping")
    assert opened("ogbl-biokg", root).train.entities.name(0) == "disease:0"


def test_the_split_is_read_once_and_again_when_it_changes(root, monkeypatch) -> None:
    first = opened("ogbl-wikikg2", root)
    os.utime(part_of("ogbl-wikikg2", root, "test"), (1, 1))
    again = opened("ogbl-wikikg2", root)
    assert torch.equal(again.test.negatives.head, first.test.negatives.head)
    [kept] = (root / "cache" / "ogb" / "ogbl-wikikg2").glob("*/")
    assert sorted(path.name for path in kept.iterdir()) == [
        "test.npy", "test_head.npy", "test_tail.npy", "train.npy", "valid.npy", "valid_head.npy",
        "valid_tail.npy",
    ]  # fmt: skip
    monkeypatch.setattr("pyg_kgtransfer.sources.ogb_split.read_saved", None)
    opened("ogbl-wikikg2", root)  # needs no split file
    monkeypatch.undo()
    path = part_of("ogbl-wikikg2", root, "test")
    tails = read_saved(path)["tail_neg"]
    changed(path, tail_neg=np.flip(tails, axis=1).copy())
    flipped = opened("ogbl-wikikg2", root).test.negatives.tail
    assert torch.equal(flipped, first.test.negatives.tail.flip(1))


def test_negatives_stay_on_the_disk(originals, tmp_path) -> None:
    split = load_ogb("ogbl-wikikg2", originals, cache=tmp_path)
    [path] = tmp_path.glob("ogb/*/*/test_head.npy")
    assert str(path) in Path("/proc/self/maps").read_text()
    before = path.read_bytes()
    split.test.negatives.head[0, 0] = 7  # a copy of that page is changed
    assert path.read_bytes() == before


def test_facts_are_those_of_the_split_and_a_raw_graph_that_differs_is_logged(root, caplog) -> None:
    raw = root / "ogbl_wikikg2" / "raw"
    with gzip.open(raw / "edge.csv.gz", "rt") as stream:
        lines = stream.read().splitlines()
    with gzip.open(raw / "edge.csv.gz", "wt") as stream:
        stream.write("\n".join(["0,0", *lines[1:]]))
    with caplog.at_level(logging.WARNING):
        split = opened("ogbl-wikikg2", root)
    train = read_saved(part_of("ogbl-wikikg2", root, "train"))
    assert split.train.triples[:, 0].tolist() == train["head"].tolist()
    assert "raw graph states 128 facts and the training part of the split 128" in caplog.text
    assert "not as published: it has Counts(entities=40" in caplog.text
    assert not is_published(split)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_one_joint_file_of_any_pickle_protocol_is_read(protocol, root) -> None:
    wanted = opened("ogbl-biokg", root)
    folder = part_of("ogbl-biokg", root, "train").parent
    joint = {part: read_saved(folder / f"{part}.pt") for part in ("train", "valid", "test")}
    for part in joint:
        (folder / f"{part}.pt").unlink()
    torch.save(joint, folder / "split_dict.pt", pickle_protocol=protocol)
    found = opened("ogbl-biokg", root)
    assert found.train.fingerprint() == wanted.train.fingerprint()
    assert torch.equal(found.valid.negatives.tail, wanted.valid.negatives.tail)
    del joint["test"]
    torch.save(joint, folder / "split_dict.pt")
    with pytest.raises(ValueError, match=r"split_dict\.pt must be a dict that has 'test'"):
        opened("ogbl-biokg", root)


@pytest.mark.parametrize("name", OGB)
def test_what_the_saver_of_ogb_writes_is_read(name, root, capsys) -> None:
    saver = pytest.importorskip("ogb.io").DatasetSaver
    wanted, known = opened(name, root), OGB[name]
    folder = root / name.replace("-", "_")
    parts = {p: read_saved(part_of(name, root, p)) for p in ("train", "valid", "test")}
    train, graph = parts["train"], {}
    if known.is_typed:
        graph = {"edge_index_dict": {}, "num_nodes_dict": {}, "edge_reltype": {}}
        for kind in TYPES:
            with gzip.open(folder / "mapping" / f"{kind}_entidx2name.csv.gz", "rt") as stream:
                graph["num_nodes_dict"][kind] = len(stream.readlines()) - 1
        for relation, named in enumerate(wanted.train.relations):
            rows = np.flatnonzero(train["relation"] == relation)
            kind = (train["head_type"][rows[0]], named, train["tail_type"][rows[0]])
            graph["edge_index_dict"][kind] = np.stack([train["head"][rows], train["tail"][rows]])
            graph["edge_reltype"][kind] = train["relation"][rows][:, None]
    else:
        graph = {"edge_index": np.stack([train["head"], train["tail"]]), "num_nodes": 40}
        graph["edge_reltype"] = train["relation"][:, None]
    new = saver(name, is_hetero=known.is_typed, version=1, root=str(root / "saved"))
    new.save_graph_list([graph])
    new.save_split(parts, known.split)
    (folder / "mapping" / "README.md").write_text("names")
    new.copy_mapping_dir(str(folder / "mapping"))
    capsys.readouterr()
    shutil.rmtree(folder)
    shutil.move(new.dataset_dir, folder)
    found = opened(name, root)
    assert found.train.fingerprint() == wanted.train.fingerprint()
    assert torch.equal(found.test.negatives.head, wanted.test.negatives.head)
    (folder / "raw" / "num_nodes_dict.npz").unlink(missing_ok=True)
    (folder / "raw" / "data.npz").unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError, match=r"is incomplete: it lacks raw/(num_node|edge)"):
        opened(name, root)


def test_a_name_that_is_not_known_gets_the_nearest(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"got 'ogbl-wikikg'; nearest: ogbl-wikikg2"):
        load_ogb("ogbl-wikikg", tmp_path)


def test_what_must_not_be_downloaded_is_told(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"needs its folder ogbl_biokg in .*biokg\.zip"):
        opened("ogbl-biokg", tmp_path)
    assert not (tmp_path / "ogb").exists()


def test_what_is_not_there_is_downloaded_without_a_word(
    originals, served, tmp_path, monkeypatch, capsys
) -> None:
    folder, address = served
    shutil.copytree(originals / "ogbl_biokg", folder / "packed" / "biokg")
    shutil.make_archive(str(folder / "biokg"), "zip", folder / "packed")
    known = replace(OGB["ogbl-biokg"], url=f"{address}/biokg.zip")
    monkeypatch.setattr("pyg_kgtransfer.sources.ogb.OGB", {**OGB, "ogbl-biokg": known})
    cache = tmp_path / "cache"
    found = load_ogb("ogbl-biokg", tmp_path / "none", cache=cache, offline=False)
    assert capsys.readouterr().out == ""
    wanted = load_ogb("ogbl-biokg", originals, cache=cache)
    assert found.train.fingerprint() == wanted.train.fingerprint()
    assert sorted(path.name for path in (cache / "ogb").iterdir()) == ["ogbl-biokg", "ogbl_biokg"]


def test_another_release_is_refused(root) -> None:
    folder = root / "ogbl_biokg"
    (folder / "RELEASE_v1.txt").rename(folder / "RELEASE_v2.txt")
    with pytest.raises(ValueError, match=r"must be of release 1 \(got RELEASE_v2\.txt in"):
        opened("ogbl-biokg", root)


def test_all_missing_files_are_listed(root) -> None:
    folder = root / "ogbl_wikikg2"
    for name in ("RELEASE_v1.txt", "raw/edge_reltype.csv.gz", "split/time/valid.pt"):
        (folder / name).unlink()
    lacks = r"RELEASE_v1\.txt, split/time/valid\.pt, raw/edge_reltype\.csv\.gz; fetch it again"
    with pytest.raises(FileNotFoundError, match=f"is incomplete: it lacks {lacks}"):
        opened("ogbl-wikikg2", root)
    relation = root / "ogbl_biokg" / "raw" / "relations" / "drug___drug-disease___disease"
    shutil.rmtree(relation)
    with pytest.raises(FileNotFoundError, match=r"drug-disease___disease/edge\.csv\.gz, raw/"):
        opened("ogbl-biokg", root)
    shutil.rmtree(folder / "split")
    with pytest.raises(FileNotFoundError, match=r"time/train\.pt, split/time/valid\.pt, split/t"):
        opened("ogbl-wikikg2", root)


@pytest.mark.parametrize(
    "file",
    ["raw/edge.csv.gz", "raw/num-node-list.csv.gz", "mapping/nodeidx2entityid.csv.gz",
     "split/time/train.pt", "split/time/test.pt"],
)  # fmt: skip
def test_a_file_that_was_downloaded_in_part_is_named(file: str, root) -> None:
    path = root / "ogbl_wikikg2" / file
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=rf"{path.name}.* damaged"):
        opened("ogbl-wikikg2", root)


def test_what_does_not_fit_in_a_split_is_told_before_anything_is_kept(root) -> None:
    path = part_of("ogbl-biokg", root, "test")
    good = path.read_bytes()
    saved = read_saved(path)
    short, high = saved["head_neg"][:-1], saved["tail_neg"].copy()
    high[2, 1] = 10_000
    cases = [
        ({"head_neg": short}, r"head_neg must have a row .* for each of 24 facts .*\(23, 5\)"),
        ({"head_neg": saved["head_neg"].ravel()}, r"head_neg must have a row .*\(120,\)"),
        ({"tail_neg": None}, r"must be a dict that has 'tail_neg' \(got head_type, head"),
        ({"tail_neg": high}, r"tail_neg must hold ids in \[0, \d+\).* of type '\w+' \(got 10000\)"),
        ({"tail": saved["tail"] - 99}, r"tail must hold ids in \[0, .*\(got -\d+\)"),
        ({"tail": saved["tail"][:3]}, r"each fact needs a tail \(got 3 for 24\)"),
        ({"head": saved["head"] + 0.5}, r"head must be integers \(got float64\)"),
        ({"relation": saved["relation"] - 9}, "relations must be at least 0"),
        ({"head_type": ["gene"] * 24}, "head_type must name one of disease, drug.*with gene"),
        ({"head_type": [[]] * 24}, "head_type must be a list of the names of types"),
        ({"head_type": 3}, "head_type must be a list of the names of types"),
        ({"head_type": ["drug"] * 3}, r"head_type .* for each of 24 facts \(got 3\)"),
    ]
    for entries, words in cases:
        changed(path, **entries)
        with pytest.raises(ValueError, match=rf"test\.pt.*{words}"):
            opened("ogbl-biokg", root)
        assert not list(root.glob("cache/ogb/*/*/test.npy"))
        path.write_bytes(good)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match=r"must be a dict that has 'relation' \(got list\)"):
        opened("ogbl-biokg", root)


@pytest.mark.parametrize(
    ("content", "words"),
    [("", r"must begin with a header, .* \(got ''\)"),
     ("0,Q1\n1,Q2\n", r"must begin with a header, .* \(got '0,Q1'\)"),
     ('node idx,entity id\n0,"' + "x" * 200_000 + '"\n', r"damaged.* \(got field larger than"),
     ('node idx,entity id\n0,"Q1\n1,Q2\n', r"damaged.* \(got unexpected end of data"),
     ("node idx,entity id\n4²,Q1\n", r"each line .* \(got '4²,Q1' in line 2\)"),
     ("node idx,entity id\n" + "9" * 5_000 + ",Q1\n", r"each line .* \(got '9{80}' in line 2\)")],
)  # fmt: skip
def test_names_that_cannot_be_read_are_told(content: str, words: str, root) -> None:
    path = root / "ogbl_wikikg2" / "mapping" / "nodeidx2entityid.csv.gz"
    path.write_bytes(gzip.compress(content.encode()) if content else b"")
    with pytest.raises(ValueError, match=words):
        opened("ogbl-wikikg2", root)


@pytest.mark.parametrize("row", ["3,x", "4²,5", "4,-5"])
def test_a_type_list_that_is_none_is_told(row: str, root) -> None:
    path = root / "ogbl_biokg" / "raw" / "num-node-dict.csv.gz"
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.write(f"disease,drug\n{row}\n")
    with pytest.raises(ValueError, match="a row of types and one of numbers"):
        opened("ogbl-biokg", root)


def test_a_folder_of_ogb_may_lie_deeper_and_the_one_for_pyg_comes_first(root, tmp_path) -> None:
    (root / "ogb").mkdir()
    shutil.move(root / "ogbl_biokg", root / "ogb" / "ogbl_biokg_pyg")
    assert opened("OGBL-biokg", root).train.name == "ogbl-biokg"
