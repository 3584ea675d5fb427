"""Groups of entities as they are given, over all entities."""

import pytest
import torch

from pyg_kgtransfer.graph.entity_groups import NO_GROUP, entity_groups
from pyg_kgtransfer.graph.vocabulary import Vocabulary

ENTITIES = Vocabulary(["Athens", "Oslo", "Rome", "Bergen"], kind="entity")


def test_names_in_the_order_they_come_and_no_group_last() -> None:
    found = entity_groups({"Oslo": "north", "Athens": "south"}, ENTITIES)
    assert found.names == ("north", "south", NO_GROUP)
    assert found.member.tolist() == [1, 0, 2, 2]


def test_where_all_have_a_group_there_is_no_other() -> None:
    every = dict.fromkeys(ENTITIES, "world")
    assert entity_groups(every, ENTITIES).names == ("world",)
    assert entity_groups({}, ENTITIES).names == (NO_GROUP,)
    assert entity_groups({"Rome": NO_GROUP}, ENTITIES).names == (NO_GROUP,)


def test_numbers() -> None:
    found = entity_groups(torch.tensor([7, -1, 7, 3]), ENTITIES)
    assert found.names == ("group 3", "group 7", NO_GROUP)
    assert found.member.tolist() == [1, 2, 1, 0]


def test_what_is_wrong_is_told() -> None:
    with pytest.raises(ValueError, match=r"unknown entity: 'Roma'.*nearest known: 'Rome'"):
        entity_groups({"Roma": "south"}, ENTITIES)
    with pytest.raises(ValueError, match=r"int64 of shape \[4\], one per entity .*float32"):
        entity_groups(torch.zeros(4), ENTITIES)
    with pytest.raises(ValueError, match=r"-1 for none \(got -2\)"):
        entity_groups(torch.tensor([0, 0, 0, -2]), ENTITIES)
