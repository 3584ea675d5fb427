import logging
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.sources.folders import read_dglke, read_openke, write_dglke, write_openke
from tests.graphs import WORDS, knowledge_graphs

FORMATS = [(write_openke, read_openke), (write_dglke, read_dglke)]
OPENKE = {
    "entity2id.txt": "3\na\t0\nb\t2\nnew york\t1\n",
    "relation2id.txt": "2\nr\t0\ns\t1\n",
    "train2id.txt": "2\n0 1 1\n2\t0\t0\n",
    "valid2id.txt": "0\n",
    "test2id.txt": "1\n2 1 0\n",
}
DGLKE = {
    "entities.dict": "0\ta\n1\tnew york\n2\tb\n",
    "relations.dict": "0\tr\n1\ts\n",
    "train.tsv": "a\ts\tnew york\nb\tr\ta\n",
    "valid.tsv": "",
    "test.tsv": "b\tr\tnew york\n",
}


def folder_of(path: Path, files: dict[str, str], **changed: str) -> Path:
    for name, text in files.items():
        stem = name.split(".")[0]
        (path / name).write_bytes(changed.get(stem, text).encode("utf-8", "surrogateescape"))
    return path


@settings(max_examples=30, deadline=None)
@given(knowledge_graphs(WORDS), st.sampled_from(FORMATS), st.data())
def test_a_split_comes_back_with_its_ids(graph, form, data) -> None:
    write, read = form
    bounds = sorted(data.draw(st.integers(0, graph.num_triples)) for _ in range(2))
    train, valid, test = graph.triples.tensor_split(bounds)
    split = Split(graph.with_triples(train), HeldOut(valid, "valid"), HeldOut(test, "test"))
    with tempfile.TemporaryDirectory() as folder:
        write(split, folder)
        back = read(folder, name="x")
    assert back.train.entities == graph.entities
    assert back.train.relations == graph.relations
    assert back.train.triples.tolist() == train.tolist()
    assert back.valid.triples.tolist() == valid.tolist()
    assert back.test.triples.tolist() == test.tolist()
    assert back.train.triples.dtype == torch.long


@pytest.mark.parametrize(("read", "files"), [(read_openke, OPENKE), (read_dglke, DGLKE)])
def test_a_folder_as_others_write_it(tmp_path, read, files) -> None:
    split = read(folder_of(tmp_path, files))
    assert split.train.entities.names == ("a", "new york", "b")
    assert split.train.named_triples() == [("a", "s", "new york"), ("b", "r", "a")]
    assert split.valid.triples.shape == (0, 3)
    assert split.test.triples.tolist() == [[2, 0, 1]]
    assert split.train.name == tmp_path.name


def test_openke_has_the_relation_last_on_disk(tmp_path) -> None:
    graph = KnowledgeGraph.from_names([("a", "r", "b"), ("b", "s", "c")])
    write_openke(graph, tmp_path)
    assert (tmp_path / "train2id.txt").read_text(encoding="utf-8") == "2\n0\t1\t0\n1\t2\t1\n"
    assert (tmp_path / "entity2id.txt").read_text(encoding="utf-8") == "3\na\t0\nb\t1\nc\t2\n"


@pytest.mark.parametrize(("write", "read"), FORMATS)
def test_a_graph_is_written_as_train(tmp_path, write, read) -> None:
    graph = KnowledgeGraph.from_names([("a", "r", "b")], name="g")
    write(graph, tmp_path)
    split = read(tmp_path, name="g")
    assert split.train.fingerprint() == graph.fingerprint()
    assert len(split.valid) == len(split.test) == 0


@pytest.mark.parametrize(("read", "files"), [(read_openke, OPENKE), (read_dglke, DGLKE)])
def test_missing_held_out_files_make_empty_parts_and_are_logged(
    tmp_path, caplog, read, files
) -> None:
    folder_of(tmp_path, {k: v for k, v in files.items() if not k.startswith(("valid", "test"))})
    with caplog.at_level(logging.INFO):
        split = read(tmp_path)
    assert len(split.valid) == len(split.test) == 0
    assert caplog.text.count("the part is empty") == 2


@pytest.mark.parametrize(
    ("changed", "faults"),
    [
        ({"entity2id": "2\na\t0\n"}, ["entity2id.txt:1: the file must have the 2 lines"]),
        ({"entity2id": "a\t0\nb\t1\n"}, ["entity2id.txt:1: the first line is the number"]),
        ({"entity2id": ""}, ["entity2id.txt:1: the first line is the number"]),
        ({"entity2id": "2\na\t0\nb\t2\n"}, [r"entity2id.txt:3: the id must be in \[0, 2\)"]),
        ({"entity2id": "2\na\t0\nb\t-1\n"}, [r":3: the id must be in \[0, 2\) \(got '-1'\)"]),
        ({"entity2id": "2\na\t0\nb\t0\n"}, [":3: the id 0 is already on line 2"]),
        ({"entity2id": "2\na\t0\na\t1\n"}, [":3: the name 'a' is already on line 2"]),
        ({"relation2id": "1\n\t0\n"}, ["relation2id.txt:2: the name must be non-empty"]),
        ({"relation2id": "1\n\udcff\t0\n"}, ["relation2id.txt:2: the name must be non-empty text"]),
        ({"train2id": "1\n0 1\n"}, ["train2id.txt:2: a line has head, tail and relation id"]),
        ({"train2id": "1\n0 1 2\n"}, [r"train2id.txt:2: the relation id must be in \[0, 2\)"]),
        ({"train2id": "1\n0 3 1\n"}, [r"train2id.txt:2: the tail id must be in \[0, 3\)"]),
        ({"train2id": "1\nx 1 1\n"}, [r"train2id.txt:2: the head id .* \(got 'x'\)"]),
        ({"train2id": "3\n0 1 1\n"}, [r"train2id.txt:1: .* the 3 lines it states \(got 1\)"]),
        (
            {"train2id": "1\n9 9 9\n", "test2id": "1\n\n"},
            ["train2id.txt:2: the head id", "test2id.txt:2: a line has"],
        ),
    ],
)
def test_faulty_openke_lines_are_named(tmp_path, changed, faults) -> None:
    folder_of(tmp_path, OPENKE, **changed)
    for fault in faults:
        with pytest.raises(ValueError, match=fault):
            read_openke(tmp_path)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"entities": "0\ta\n2\tb\n"}, r"entities.dict:2: the id must be in \[0, 2\) \(got '2'\)"),
        ({"entities": "a\t0\n"}, r"entities.dict:1: the id must be in \[0, 1\) \(got 'a'\)"),
        ({"entities": "0\ta\n0\tb\n"}, "entities.dict:2: the id 0 is already on line 1"),
        ({"relations": "0\tr\n1\tr\n"}, "relations.dict:2: the name 'r' is already on line 1"),
        ({"relations": "0\n"}, "relations.dict:1: the name must be non-empty"),
        ({"train": "a\tr\n"}, "train.tsv:1: 3 fields are wanted"),
        ({"train": "a\tr\tNew York\n"}, "train.tsv:1: unknown entity .* nearest known: 'new york'"),
        ({"test": "a\tq\tb\n"}, "test.tsv:1: unknown relation 'q'"),
    ],
)
def test_faulty_dglke_lines_are_named(tmp_path, changed, fault) -> None:
    with pytest.raises(ValueError, match=fault):
        read_dglke(folder_of(tmp_path, DGLKE, **changed))


def test_faults_beyond_the_limit_are_counted(tmp_path) -> None:
    folder_of(tmp_path, DGLKE, train="a\tq\tb\n" * 7)
    with pytest.raises(ValueError, match=r"\(got 7\)[\s\S]*and 5 more"):
        read_dglke(tmp_path, listed=2)


def test_missing_files_are_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="entity2id"):
        read_openke(tmp_path)
    folder_of(tmp_path, {k: v for k, v in OPENKE.items() if k != "train2id.txt"})
    with pytest.raises(FileNotFoundError, match="train2id"):
        read_openke(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"entities\.dict"):
        read_dglke(tmp_path)
    folder_of(tmp_path, {k: v for k, v in DGLKE.items() if k != "train.tsv"})
    with pytest.raises(FileNotFoundError, match="a file of train triples"):
        read_dglke(tmp_path)


@pytest.mark.parametrize("write", [write_openke, write_dglke])
@pytest.mark.parametrize("bad", ["", "a\tb", "a\nb", "\ud800"])
def test_a_name_that_a_line_cannot_hold_is_refused_before_writing(tmp_path, write, bad) -> None:
    with pytest.raises(ValueError, match="a name in such a folder"):
        write(KnowledgeGraph.from_names([("good", "r", bad)]), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [write_openke, write_dglke])
def test_a_disk_that_fills_leaves_no_half_written_file(tmp_path, small_disk, write) -> None:
    entities = [f"a rather long name number {i}" for i in range(200)]
    with pytest.raises(OSError, match="the disk is full"), small_disk():
        write(KnowledgeGraph.from_names([], entities=entities), tmp_path)
    assert list(tmp_path.iterdir()) == []
