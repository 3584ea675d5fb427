"""Groups of entities that a user names: continents, kinds, regions of origin."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.vocabulary import Vocabulary

NO_GROUP = "no group"
GivenGroups = Tensor | Mapping[str, str]


class EntityGroups(NamedTuple):
    """The group of every entity.

    Attributes:
        names: G of them; ``NO_GROUP`` comes last, where an entity has none.
        member: [N] int64, each entity's group, an index into ``names``.
    """

    names: tuple[str, ...]
    member: Tensor


def entity_groups(given: GivenGroups, entities: Vocabulary) -> EntityGroups:
    """Groups as they are given, over all entities; those left out are a group of their own.

    Args:
        given: From the name of an entity to that of its group; or [N] int64, the number of its
            group, -1 where it has none.
        entities: N of them.

    Raises:
        ValueError: If an entity is unknown (the nearest names are offered), or the tensor is not
            [N] int64 of -1 and above.

    Example:
        >>> entities = Vocabulary(["Athens", "Oslo", "Rome"], kind="entity")
        >>> entity_groups({"Athens": "south", "Rome": "south"}, entities)
        EntityGroups(names=('south', 'no group'), member=tensor([0, 1, 0]))
    """
    if isinstance(given, Tensor):
        return _numbered(given, len(entities))
    listed = list(dict.fromkeys(name for name in given.values() if name != NO_GROUP))
    number = {name: place for place, name in enumerate([*listed, NO_GROUP])}
    member = torch.full((len(entities),), len(listed))
    member[entities.ids(list(given))] = torch.tensor(
        [number[name] for name in given.values()], dtype=torch.long
    )
    return _with_those_left_out(listed, member)


def groups_of(graph: KnowledgeGraph, given: GivenGroups | None = None) -> EntityGroups | None:
    """The groups that are given, else the types of the graph's entities, if they have types.

    Raises:
        ValueError: As ``entity_groups``.
    """
    if given is not None:
        return entity_groups(given, graph.entities)
    if graph.entity_types is None or graph.entity_type is None:
        return None
    return EntityGroups(graph.entity_types.names, graph.entity_type)


def _numbered(given: Tensor, size: int) -> EntityGroups:
    if given.shape != (size,) or given.dtype != torch.long:
        raise ValueError(
            f"groups must be int64 of shape [{size}], one per entity "
            f"(got {given.dtype} {tuple(given.shape)})"
        )
    if size and int(given.min()) < -1:
        raise ValueError(f"groups are numbers from 0, and -1 for none (got {int(given.min())})")
    given = given.cpu()
    numbers, member = torch.unique(given[given >= 0], return_inverse=True)
    every = torch.full((size,), len(numbers))
    every[given >= 0] = member
    return _with_those_left_out([f"group {number}" for number in numbers.tolist()], every)


def _with_those_left_out(names: list[str], member: Tensor) -> EntityGroups:
    lacking = bool((member == len(names)).any())
    return EntityGroups((*names, NO_GROUP) if lacking else tuple(names), member)
