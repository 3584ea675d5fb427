"""Words on the command line: glove alone and jointly, and what can be asked."""

from pathlib import Path

import pytest

from pyg_kgtransfer.sources.word_vectors import read_word_vectors
from pyg_kgtransfer.training import glove
from pyg_kgtransfer.training.checkpoint import Checkpoint
from tests.commands.command_line import QUICK, Kgt, assert_told, facts, write_split

SHORT = ["--glove.width", 8, "--glove.epochs", 3, "--min_count", 1]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    lines = [f"city {i} lies in land {i % 3} by the river" for i in range(12)] * 3
    path.write_text("\n".join(lines))
    return path


def test_alone(kgt: Kgt, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "vectors.txt"
    told = kgt("glove", "--corpus", corpus, "--vectors", out, *SHORT, "--json").json
    assert (told["tokens"], told["words"]) == (36 * 9, 19)
    assert len(told["losses"]) == 3
    vectors = read_word_vectors(out)
    assert vectors.vectors.shape == (19, 8)
    again = ["--start", out, "--vectors", tmp_path / "again.txt"]
    assert kgt("glove", "--corpus", corpus, *again, *SHORT, "--json").status == 0


def test_jointly(kgt: Kgt, corpus: Path, tmp_path: Path) -> None:
    graph = write_split(tmp_path / "world", facts("city", "land"))
    out = tmp_path / "vectors.txt"
    joint = ["--data", graph, "--out", tmp_path / "model", *QUICK]
    told = kgt("glove", "--corpus", corpus, "--vectors", out, "--min_count", 1, *joint,
               "--joint.words.sample_size", 64, "--json").json  # fmt: skip
    assert told["entities_with_words"] == "15 of 15"
    assert "city_3" in read_word_vectors(out).words
    assert Checkpoint.load(tmp_path / "model").graph.num_entities == 15


def test_what_can_be_asked(kgt: Kgt, tmp_path: Path) -> None:
    vectors, pairs, four = (tmp_path / name for name in ("v.txt", "p.txt", "a.txt"))
    vectors.write_text("athens 1 0 1\ngreece 1 0 0\nrome 0 1 1\nitaly 0 1 0\n")
    pairs.write_text("athens\tgreece\t9\nathens\titaly\t1\nparis\trome\t3\n")
    four.write_text(": capitals\nathens greece rome italy\n")
    ask = ["words", "--vectors", vectors]
    told = kgt(*ask, "--near", "athens", "-k", 1, "--analogy", "athens", "greece", "rome",
               "--similarity", pairs, "--analogies", four, "--json").json  # fmt: skip
    assert told["near"][0]["word"] == "greece"
    assert told["analogy"][0]["word"] == "italy"
    assert told["similarity"] == [
        {"list": "p", "spearman": pytest.approx(1.0), "covered": 2, "total": 3}
    ]
    assert told["analogies"]["accuracy"] == 1.0
    assert "greece" in kgt(*ask, "--near", "athens").out


def test_bad_input(kgt: Kgt, corpus: Path, tmp_path: Path) -> None:
    out = ["--vectors", tmp_path / "vectors.txt"]
    assert_told(kgt("glove", "--corpus", tmp_path / "none", *out), "no text file or folder")
    assert_told(kgt("glove", "--corpus", corpus, *out, "--data", "umls"), "--data and --out")
    assert_told(kgt("glove", "--corpus", corpus, *out, "--min_count", 999), "occurs 999 times")
    (tmp_path / "bad.txt").write_text("tea 1 2\nwine 3\n")
    ask = ["words", "--vectors", tmp_path / "bad.txt"]
    assert_told(kgt(*ask, "--near", "tea"), "bad.txt:2: 2 numbers are wanted")
    assert_told(kgt(*ask), "ask something")
    assert not (tmp_path / "vectors.txt").exists()


def test_jointly_with_what_is_said_of_entities(kgt: Kgt, corpus: Path, tmp_path: Path) -> None:
    graph, said = write_split(tmp_path / "world", facts("city", "land")), tmp_path / "said.tsv"
    said.write_text("".join(f"city {i}\tby the river\n" for i in range(12)))
    ask = ["glove", "--corpus", corpus, "--min_count", 1, "--data", graph, *QUICK, "--text", said,
           "--joint.words.sample_size", 64, "--json"]  # fmt: skip
    out = ["--vectors", tmp_path / "v.txt", "--out", tmp_path / "text", "--joint.by", "text"]
    assert kgt(*ask, *out).json["entities_with_words"] == "15 of 15"
    out = ["--vectors", tmp_path / "t.txt", "--out", tmp_path / "table", "--joint.by", "table"]
    assert kgt(*ask, *out).json["entities_with_words"] == "12 of 15"
    out = ["--vectors", tmp_path / "n.txt", "--out", tmp_path / "none", "--joint.by", "text"]
    without = [part for part in ask if part not in ("--text", said)]
    assert_told(kgt(*without, *out), "--joint.by text needs what is said", "--text")
    alone = ["glove", "--corpus", corpus, "--vectors", tmp_path / "a.txt", "--text", said]
    assert_told(kgt(*alone), "name it by --data")


def test_an_interruption_keeps_what_was_learned(
    kgt: Kgt, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_pass, passes = glove._BatchedPasses.loss_of_one, []

    def interrupted(self: object, generator: object) -> float:
        passes.append(1)
        if len(passes) == 3:
            raise KeyboardInterrupt
        return one_pass(self, generator)

    monkeypatch.setattr(glove, "why_not", lambda device: "no loop")
    monkeypatch.setattr(glove._BatchedPasses, "loss_of_one", interrupted)
    out = tmp_path / "vectors.txt"
    ran = kgt("glove", "--corpus", corpus, "--vectors", out, *SHORT)
    assert ran.status == 130
    assert "interrupted after 2 epochs" in ran.err
    assert read_word_vectors(out).vectors.shape == (19, 8)
