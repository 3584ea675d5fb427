"""How the facts of the atlas' target are held out."""

import random
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import HeldOut, Split


def hold_out_pairs(
    graph: KnowledgeGraph,
    *,
    train_share: float,
    valid_share: float,
    symmetric: Sequence[str] = (),
    context: Sequence[str] = (),
    seed: int = 0,
) -> Split:
    """Hold out facts by unordered entity pair, per relation.

    All facts between two entities, in either direction, go to one part together: otherwise a pair
    held out in one relation would be linked in train by another (a capital is also a city in its
    country). Shares are met among the pairs with the same relations. Then, in random order, each
    held-out pair with an entity that train does not know moves to train, so the shares of what is
    held out come out smaller where entities are rare. Every fact is in one part.

    Args:
        graph: All the facts.
        train_share: Share of the pairs to learn from before that repair, in (0, 1).
        valid_share: Share of the pairs for model selection, in (0, 1); the rest is for the test.
        symmetric: Relations whose facts hold both ways though stored one way.
        context: Relations that are never held out.
        seed: Of the drawing. The same seed gives the same split on every machine.

    Raises:
        ValueError: If the shares leave nothing for the test, or a relation is unknown.

    Example:
        >>> graph = KnowledgeGraph.from_names([(f"c{i}", "in", "x") for i in range(10)])
        >>> hold_out_pairs(graph, train_share=0.3, valid_share=0.2)
        Split(KnowledgeGraph(11 entities, 1 relations, 10 triples), 0 valid, 0 test)
    """
    if not (train_share > 0 and valid_share > 0 and train_share + valid_share < 1):
        raise ValueError(
            "train_share and valid_share must be above 0 and leave a share for the test "
            f"(got {train_share} and {valid_share})"
        )
    ids = graph.relations.ids(list(symmetric)).tolist()
    never = set(graph.relations.ids(list(context)).tolist())
    train, held_out = _draw(graph.triples, never, (train_share, valid_share), seed)
    known = {end for row in train for end in graph.triples[row, [0, 2]].tolist()}
    parts: dict[str, list[int]] = {"train": train, "valid": [], "test": []}
    for part, rows in held_out:
        ends = set(graph.triples[rows[0], [0, 2]].tolist())
        parts[part if ends <= known else "train"].extend(rows)
        known |= ends
    facts = {name: graph.triples[sorted(rows)] for name, rows in parts.items()}
    return Split(
        graph.with_triples(facts["train"]),
        HeldOut(facts["valid"], "valid"),
        HeldOut(facts["test"], "test"),
        symmetric=tuple(ids),
    )


def _draw(
    triples: Tensor, never: set[int], shares: tuple[float, float], seed: int
) -> tuple[list[int], list[tuple[str, list[int]]]]:
    """Rows for train, and (part, rows of one pair) for what is held out, in random order."""
    low, high = triples[:, [0, 2]].amin(1), triples[:, [0, 2]].amax(1)
    of_pair: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, pair in enumerate(torch.stack([low, high], dim=1).tolist()):
        of_pair[pair[0], pair[1]].append(row)
    strata: dict[tuple[int, ...], list[list[int]]] = defaultdict(list)
    for rows in of_pair.values():
        strata[tuple(sorted(set(triples[rows, 1].tolist())))].append(rows)
    generator = random.Random(seed)  # its random() is the same in every version of Python
    train: list[int] = []
    held_out: list[tuple[str, list[int]]] = []
    for relations, groups in sorted(strata.items()):
        shuffled = sorted(groups, key=lambda _: generator.random())
        first = len(groups) if never & set(relations) else round(len(groups) * shares[0])
        second = first + round(len(groups) * shares[1])
        train += [row for rows in shuffled[:first] for row in rows]
        held_out += [("valid", rows) for rows in shuffled[first:second]]
        held_out += [("test", rows) for rows in shuffled[second:]]
    return train, sorted(held_out, key=lambda _: generator.random())
