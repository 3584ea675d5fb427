import hashlib
import tempfile
from pathlib import Path

import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.sources.files import (
    find_part,
    read_split,
    read_triples,
    split_from_names,
    write_triples,
)
from tests.graphs import WORDS, knowledge_graphs

FACTS = [("Ἀθήνα", "capital_of", "Ἑλλάς"), ("Ἑλλάς", "borders", "Türkiye")]
TSV = "".join("\t".join(fact) + "\n" for fact in FACTS)
NON_EMPTY = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def round_trip(graph: KnowledgeGraph, name: str, **options) -> KnowledgeGraph:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write_triples(graph, path, **options)
        assert [p.name for p in Path(folder).iterdir()] == [name]
        header = options.pop("header", None)
        return read_triples(path, columns=header or (0, 1, 2), **options)


@settings(max_examples=40, deadline=None)
@given(knowledge_graphs(WORDS, min_triples=1), st.sampled_from(["a.tsv", "a.txt.gz", "a.xz"]))
def test_tab_separated_triples_come_back(graph, name) -> None:
    assert round_trip(graph, name).named_triples() == graph.named_triples()


@settings(max_examples=40, deadline=None)
@given(knowledge_graphs(NON_EMPTY, min_triples=1), st.sampled_from([",", ";", "|", " ", "é"]))
def test_quoted_triples_come_back_whatever_the_names(graph, delimiter) -> None:
    back = round_trip(graph, "a.csv", delimiter=delimiter, header=("h", "r", "t"))
    assert back.named_triples() == graph.named_triples()


@settings(max_examples=10, deadline=None)
@given(knowledge_graphs(NON_EMPTY, min_triples=1))
def test_parquet_triples_come_back(graph) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.parquet"
        write_triples(graph, path)
        by_name = read_triples(path, columns=("head", "relation", "tail"))
        assert by_name.named_triples() == graph.named_triples()
        assert read_triples(path, columns=(2, 1, 0)).named_triples() == [
            (t, r, h) for h, r, t in graph.named_triples()
        ]


def test_ids_go_by_first_occurrence_and_the_name_by_the_file(tmp_path) -> None:
    graph = read_triples(written(tmp_path, "world.tsv", TSV))
    assert graph.entities.names == ("Ἀθήνα", "Ἑλλάς", "Türkiye")
    assert graph.triples.tolist() == [[0, 0, 1], [1, 1, 2]]
    assert graph.name == "world"
    assert read_triples(tmp_path / "world.tsv", name="").name == ""


@pytest.mark.parametrize("name", ["w.tsv.gz", "w.csv.xz"])
def test_the_name_is_without_all_suffixes(tmp_path, name) -> None:
    write_triples(KnowledgeGraph.from_names(FACTS), tmp_path / name)
    assert read_triples(tmp_path / name).name == "w"


def test_columns_by_index_in_any_order(tmp_path) -> None:
    path = written(tmp_path, "htr.txt", "a b r\nb c s\n")
    graph = read_triples(path, columns=(0, 2, 1), delimiter=" ")
    assert graph.named_triples() == [("a", "r", "b"), ("b", "s", "c")]


def test_columns_by_header_among_others(tmp_path) -> None:
    path = written(tmp_path, "a.csv", 'score,tail,head,relation\n0.5,"Texas, US",Dallas,in\n')
    graph = read_triples(path, columns=("head", "relation", "tail"))
    assert graph.named_triples() == [("Dallas", "in", "Texas, US")]


def test_a_header_is_a_fact_like_any_unless_it_is_named(tmp_path) -> None:
    path = written(tmp_path, "a.tsv", "head\trelation\ttail\na\tr\tb\n")
    assert read_triples(path).num_triples == 2
    assert read_triples(path, columns=("head", "relation", "tail")).num_triples == 1


def test_unwanted_columns_need_the_width(tmp_path) -> None:
    path = written(tmp_path, "a.tsv", "a\tr\tb\t0.5\n")
    with pytest.raises(ValueError, match=r"3 fields are wanted \(got 4"):
        read_triples(path)
    assert read_triples(path, width=4).named_triples() == [("a", "r", "b")]


def test_quotes_are_letters_between_tabs(tmp_path) -> None:
    path = written(tmp_path, "a.tsv", '"Weird Al"\tr\t5"\n')
    assert read_triples(path).named_triples() == [('"Weird Al"', "r", '5"')]


def test_line_ends_of_windows_and_a_missing_last_one(tmp_path) -> None:
    for name, text in (("a.tsv", "a\tr\tb\r\nb\tr\tc"), ("a.csv", "a,r,b\r\nb,r,c")):
        graph = read_triples(written(tmp_path, name, text))
        assert graph.named_triples() == [("a", "r", "b"), ("b", "r", "c")]


def test_every_faulty_line_is_named_with_its_reason(tmp_path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(b"a\tr\tb\na\tr\n\n\tr\tb\na\tr\t\xff\na\tr\tb\tc\n")
    with pytest.raises(ValueError, match=r"a\.tsv must have no faulty line \(got 5\)") as caught:
        read_triples(path)
    lines = str(caught.value).splitlines()[1:]
    assert [line.split(": ")[0] for line in lines] == [f"  {path}:{i}" for i in (2, 3, 4, 5, 6)]
    reasons = ["(got 2: 'a | r')", "empty", "head is empty", "not UTF-8", "(got 4"]
    assert all(reason in line for reason, line in zip(reasons, lines, strict=True))


def test_faults_beyond_the_limit_are_counted(tmp_path) -> None:
    path = written(tmp_path, "a.tsv", "bad\n" * 30 + "a\tr\tb\n")
    with pytest.raises(ValueError, match=r"\(got 30\)[\s\S]*:20: [\s\S]*and 10 more"):
        read_triples(path)
    with pytest.raises(ValueError, match=r":2: [\s\S]*and 28 more"):
        read_triples(path, listed=2)


def test_broken_quotes_are_named_with_the_line_they_open_on(tmp_path) -> None:
    path = written(tmp_path, "a.csv", 'a,r,b\n"a"x,r,b\na,r,"line\nend"\na,r,"open\nb,r,c\n')
    with pytest.raises(ValueError, match=r"\(got 2\)") as caught:
        read_triples(path)
    assert f"{path}:2: the quotes" in str(caught.value)
    assert f"{path}:5: the quotes" in str(caught.value)


@pytest.mark.parametrize("text", ["", "head\trelation\ttail\n"])
def test_a_file_without_triples_is_refused(tmp_path, text) -> None:
    columns = ("head", "relation", "tail") if text else (0, 1, 2)
    with pytest.raises(ValueError, match="at least one triple"):
        read_triples(written(tmp_path, "a.tsv", text), columns=columns)


@pytest.mark.parametrize("text", ["", "head\trel\ttail\na\tr\tb\n", "head\trelation\thead\ttail\n"])
def test_a_header_without_the_column_once_is_refused(tmp_path, text) -> None:
    with pytest.raises(ValueError, match=r"a\.tsv:1: the header must have the column '\w+' once"):
        read_triples(written(tmp_path, "a.tsv", text), columns=("head", "relation", "tail"))


def test_what_is_no_table_is_refused(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_triples(tmp_path / "a.tsv")
    with pytest.raises(IsADirectoryError, match="a file is wanted"):
        read_triples(tmp_path)
    with pytest.raises(ValueError, match="must be a parquet file"):
        read_triples(written(tmp_path, "a.parquet", TSV))


def test_a_parquet_file_of_numbers_or_holes_is_refused(tmp_path) -> None:
    columns = ("head", "relation", "tail")
    for tail in (7, None):
        frame = pandas.DataFrame({"head": ["a"], "relation": ["r"], "tail": [tail]})
        frame.to_parquet(tmp_path / "a.parquet")
        with pytest.raises(ValueError, match="every tail must be a non-empty string"):
            read_triples(tmp_path / "a.parquet", columns=columns)
    with pytest.raises(ValueError, match="must have a column 3"):
        read_triples(tmp_path / "a.parquet", columns=(0, 1, 3))
    frame[:0].to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="at least one triple"):
        read_triples(tmp_path / "a.parquet", columns=columns)


@pytest.mark.parametrize("bad", ["a\tb", "a\nb", "a\rb", "", "\udcff"])
def test_a_name_that_a_line_cannot_hold_is_refused_before_writing(tmp_path, bad) -> None:
    graph = KnowledgeGraph.from_names([("good", "r", bad)])
    with pytest.raises(ValueError, match="a name"):
        write_triples(graph, tmp_path / "a.tsv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz", "a.tsv.xz", "a.parquet"])
def test_a_disk_that_fills_leaves_no_half_written_file(tmp_path, small_disk, name) -> None:
    entities = [hashlib.sha256(bytes([i])).hexdigest() for i in range(200)]  # cannot be packed
    graph = KnowledgeGraph.from_names([(e, "r", e) for e in entities])
    with pytest.raises(OSError, match=r"disk is full|too large"), small_disk():
        write_triples(graph, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_graph_without_triples_is_not_written(tmp_path) -> None:
    with pytest.raises(ValueError, match="needs at least one"):
        write_triples(KnowledgeGraph.from_names([], entities=["a"]), tmp_path / "a.tsv")


def test_what_is_in_no_triple_is_counted_in_the_log(tmp_path, caplog) -> None:
    graph = KnowledgeGraph.from_names(FACTS, entities=["Ἀθήνα", "Ἑλλάς", "Türkiye", "lone"])
    write_triples(graph, tmp_path / "a.tsv")
    assert "0 relations and 1 entities are in no triple: not written" in caplog.text


@pytest.mark.parametrize(
    "names",
    [
        ("train.txt", "valid.txt", "test.txt"),
        ("train.tsv", "val.tsv", "test.tsv"),
        ("train.csv.gz", "dev.csv.xz", "test.txt.gz"),
    ],
)
def test_a_split_is_found_by_the_usual_names(tmp_path, names) -> None:
    parts = ([("a", "r", "b"), ("b", "r", "a")], [("a", "s", "c")], [("d", "r", "a")])
    for name, part in zip(names, parts, strict=True):
        write_triples(KnowledgeGraph.from_names(part), tmp_path / name)
    split = read_split(tmp_path)
    assert split.train.named_triples() == parts[0]
    assert split.train.entities.names == ("a", "b", "c", "d")
    assert split.train.relations.names == ("r", "s")
    assert split.valid.triples.tolist() == [[0, 1, 2]]
    assert split.test.triples.tolist() == [[3, 0, 0]]
    assert (split.valid.role, split.test.role) == ("valid", "test")
    assert split.train.name == tmp_path.name
    by_path = read_split([tmp_path / name for name in names], name="x")
    assert by_path.train.fingerprint() == split.train.fingerprint()
    assert by_path.train.name == "x"


def test_what_train_lacks_is_kept_and_counted_in_the_log(tmp_path, caplog) -> None:
    written(tmp_path, "train.txt", TSV)
    written(tmp_path, "valid.txt", TSV)
    written(tmp_path, "test.txt", "x\ty\tz\n")
    split = read_split(tmp_path, name="world")
    assert split.train.num_entities == 5
    assert "world: 2 entities and 1 relations do not occur in train" in caplog.text
    caplog.clear()
    written(tmp_path, "test.txt", TSV)
    read_split(tmp_path)
    assert caplog.text == ""


def test_a_split_of_names_covers_all_parts() -> None:
    split = split_from_names(FACTS[:1], FACTS[1:], [], name="world")
    assert split.train.entities.names == ("Ἀθήνα", "Ἑλλάς", "Türkiye")
    assert split.train.named_triples() == FACTS[:1]
    assert split.valid.triples.tolist() == [[1, 1, 2]]
    assert split.test.triples.shape == (0, 3)


def test_faults_of_all_parts_are_reported_together(tmp_path) -> None:
    for name in ("train.txt", "valid.txt", "test.txt"):
        written(tmp_path, name, "a\tr\tb\nbad\n")
    with pytest.raises(ValueError, match=r"\(got 3\)") as caught:
        read_split(tmp_path)
    assert all(f"{name}.txt:2" in str(caught.value) for name in ("train", "valid", "test"))


def test_missing_and_doubled_parts_are_refused(tmp_path) -> None:
    written(tmp_path, "train.txt", TSV)
    with pytest.raises(FileNotFoundError, match=r"a file of valid triples.*\(got train\.txt\)"):
        read_split(tmp_path)
    written(tmp_path, "valid.txt", TSV)
    written(tmp_path, "dev.tsv", TSV)
    with pytest.raises(ValueError, match=r"one file of valid triples \(got valid\.txt, dev\.tsv\)"):
        read_split(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        find_part(tmp_path / "nowhere", "train")
    with pytest.raises(ValueError, match=r"three files.*\(got 2\)"):
        read_split([tmp_path / "train.txt", tmp_path / "valid.txt"])
