"""Words of entities: labels, tokens, tables, case and accents."""

from itertools import pairwise

import pytest
import torch

from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.entity_words import entity_words

WORDS = Vocabulary(["new_york", "new", "york", "são", "Rome", "rome"], kind="word")
LABELS = ["New York", "York", "New Rome", "Sao", "Oslo"]


def names(found) -> list[list[str]]:
    cuts = found.offsets.tolist()
    ids = found.index.tolist()
    return [[WORDS.name(i) for i in ids[a:b]] for a, b in pairwise(cuts)]


def test_a_label_is_one_word_or_none() -> None:
    assert names(entity_words(LABELS, WORDS)) == [["new_york"], ["york"], [], [], []]


def test_tokens_stand_in_for_a_label() -> None:
    found = entity_words(LABELS, WORDS, by="tokens")
    assert names(found) == [["new_york"], ["york"], ["new", "Rome"], [], []]
    assert repr(found) == "EntityWords(3 of 5 entities have words, 2 are named by one of their own)"


def test_case_and_accents() -> None:
    assert names(entity_words(LABELS, WORDS, accents=False))[3:] == [["são"], []]
    assert names(entity_words(["York", "york"], WORDS, fold=False)) == [[], ["york"]]


def test_the_only_word_of_one_entity_alone_is_its_own() -> None:
    found = entity_words(["York", "New Rome", "Rome", "rome"], WORDS, by="tokens")
    assert found.entity_of.tolist() == [-1, -1, 0, -1, -1, -1]


def test_a_text_adds_words_and_a_table_replaces_them() -> None:
    texts = ["big, in the new world", "", "", "", "York"]
    found = entity_words(LABELS, WORDS, by="text", texts=texts)
    assert names(found) == [["new_york", "new"], ["york"], ["new", "Rome"], [], ["york"]]
    assert found.entity_of.tolist() == [0, -1, 1, -1, -1, -1]  # a label names, a text does not
    found = entity_words(LABELS, WORDS, by="table", texts=texts)
    assert names(found) == [["new"], [], [], [], ["york"]]
    assert found.entity_of.tolist() == [-1, -1, 4, -1, -1, -1]
    for options in ({"by": "text"}, {"texts": texts}, {"by": "table", "texts": texts[:2]}):
        with pytest.raises(ValueError, match="one for each of 5 labels"):
            entity_words(LABELS, WORDS, **options)


def test_frequent_words_hardly_count() -> None:
    counts = torch.tensor([0, 1, 999_999, 0, 0, 0])  # "york" is nearly all of the corpus
    found = entity_words(["York new", "York"], WORDS, by="tokens", counts=counts)
    weights = [1e-3 / (1e-3 + p) for p in (1e-6, 0.999999)]  # "new" comes first
    assert found.share.tolist() == pytest.approx([*(w / sum(weights) for w in weights), 1.0])
    found = entity_words(["York york york new"], WORDS, by="tokens")
    assert (names(found), found.share.tolist()) == ([["new", "york"]], [0.25, 0.75])


def test_means_of_some() -> None:
    generator = torch.Generator().manual_seed(0)
    texts = ["york rome", "", "new york new", "rome", "new"]
    found = entity_words(LABELS, WORDS, by="text", texts=texts, counts=torch.arange(1, 7))
    table = torch.rand(6, 3, generator=generator, dtype=torch.double, requires_grad=True)
    ids = torch.tensor([[4, 0], [3, 0]])
    assert torch.allclose(found.means(table, ids), found.means(table)[ids])
    assert found.means(table, ids[:0]).shape == (0, 2, 3)
    assert torch.autograd.gradcheck(lambda t: found.means(t, ids), (table,))


def test_means() -> None:
    found = entity_words(["New Rome", "Oslo"], WORDS, by="tokens")
    table = torch.arange(6.0).unsqueeze(1)
    assert found.means(table).tolist() == [[2.5], [0.0]]


def test_nothing_in_common_is_told_with_examples() -> None:
    with pytest.raises(ValueError, match=r"none of 2 labels, such as 'Oslo', 'Bergen', among 6"):
        entity_words(["Oslo", "Bergen"], WORDS)
