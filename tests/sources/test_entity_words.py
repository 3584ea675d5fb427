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


def test_case_and_accents_and_a_table() -> None:
    found = entity_words(LABELS, WORDS, accents=False, table={"Oslo": "new york"})
    assert names(found)[3:] == [["são"], ["new", "york"]]
    assert names(entity_words(["York", "york"], WORDS, fold=False)) == [[], ["york"]]


def test_the_only_word_of_one_entity_alone_is_its_own() -> None:
    found = entity_words(["York", "New Rome", "Rome", "rome"], WORDS, by="tokens")
    assert found.entity_of.tolist() == [-1, -1, 0, -1, -1, -1]


def test_means() -> None:
    found = entity_words(["New Rome", "Oslo"], WORDS, by="tokens")
    table = torch.arange(6.0).unsqueeze(1)
    assert found.means(table).tolist() == [[2.5], [0.0]]


def test_nothing_in_common_is_told_with_examples() -> None:
    with pytest.raises(ValueError, match=r"none of 2 labels, such as 'Oslo', 'Bergen', among 6"):
        entity_words(["Oslo", "Bergen"], WORDS)
