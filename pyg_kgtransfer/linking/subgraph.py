"""The part of a graph around some of its entities, with a cap on how much each may bring."""

import torch
from torch import Tensor


def rows_around(
    triples: Tensor,
    seeds: Tensor,
    num_entities: int,
    *,
    hops: int,
    fan_out: int | None,
    generator: torch.Generator,
) -> Tensor:
    """Rows of the triples within ``hops`` of ``seeds``, directions ignored.

    Triples between two seeds are all taken. Then, in each hop, every entity reached in the hop
    before (first: the seeds) takes up to ``fan_out`` of the triples that touch it and are not taken
    yet, drawn at random; a triple may be taken by both its ends. The entities at the far ends are
    the next frontier.

    Args:
        triples: [M, 3] int64.
        seeds: Entity ids.
        num_entities: N.
        hops: At least 0.
        fan_out: At least 1; ``None``: all triples.
        generator: Draws which triples a crowded entity takes.

    Returns:
        Rows of ``triples``, ascending.
    """
    head, tail = triples[:, 0], triples[:, 2]
    reached = torch.zeros(num_entities, dtype=torch.bool)
    frontier = reached.clone()
    frontier[seeds] = True
    taken = frontier[head] & frontier[tail]
    for _ in range(hops):
        reached |= frontier
        by_head = (frontier[head] & ~taken).nonzero().view(-1)
        by_tail = (frontier[tail] & ~taken & (head != tail)).nonzero().view(-1)
        row = torch.cat([by_head, by_tail])
        if fan_out is not None:
            entity = torch.cat([head[by_head], tail[by_tail]])
            row = row[_at_most(entity, fan_out, generator)]
        taken[row] = True
        frontier = torch.zeros_like(reached)
        frontier[triples[row][:, [0, 2]].reshape(-1)] = True
        frontier &= ~reached
    return taken.nonzero().view(-1)


def _at_most(group: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Positions of up to ``count`` random members of each group ([P] ids)."""
    drawn = torch.randperm(len(group), generator=generator)
    order = drawn[torch.argsort(group[drawn], stable=True)]  # [P] groups together, random inside
    in_order = group[order]
    place = torch.arange(len(order)) - torch.searchsorted(in_order, in_order)
    return order[place < count]
