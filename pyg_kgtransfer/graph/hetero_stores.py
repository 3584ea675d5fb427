"""What node and edge stores of HeteroData hold, checked."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.data.storage import NodeStorage

from pyg_kgtransfer.graph.vocabulary import Vocabulary


def check_ids(role: str, ids: Tensor, size: int) -> None:
    """Raise unless all ``ids`` are in [0, size).

    Raises:
        ValueError: Otherwise.
    """
    if len(ids) and (int(ids.min()) < 0 or int(ids.max()) >= size):
        raise ValueError(
            f"{role} ids must be in [0, {size}) (got {int(ids.min())} to {int(ids.max())})"
        )


def num_nodes(store: NodeStorage) -> int:
    """How many nodes a store has: as it says or PyG can tell, else as many as it names."""
    if "name" in store and not store.can_infer_num_nodes:
        return len(store["name"])
    return int(store.num_nodes or 0)


def node_strings(
    stores: Mapping[str, NodeStorage], key: str, default: Sequence[Sequence[str]]
) -> list[list[str]]:
    """The strings under ``key`` of each node type, or the default where its store has none.

    Raises:
        ValueError: If a store has not one string per node.
    """
    columns: list[list[str]] = []
    for (kind, store), instead in zip(stores.items(), default, strict=True):
        values = [str(v) for v in store[key]] if key in store else list(instead)
        if len(values) != len(instead):
            raise ValueError(
                f"{kind!r} nodes need one {key} each (got {len(values)} for {len(instead)} nodes)"
            )
        columns.append(values)
    return columns


def stored_edges(
    data: HeteroData, first: dict[str, int], sizes: dict[str, int], relations: Vocabulary
) -> tuple[Tensor, Tensor]:
    """The edges of all stores.

    Args:
        data: Edge stores with ``edge_index``, and ``triple``, the place in order, where they have.
        first: Node type -> number of its first entity, counted through all types.
        sizes: Node type -> number of its nodes.
        relations: Of the edge types.

    Returns:
        [M, 3] triples, entities counted through all node types, and their order, [M].

    Raises:
        ValueError: If a store has no ``edge_index``, or a node is out of range.
    """
    rows = [torch.empty(0, 3, dtype=torch.long)]
    order = [torch.empty(0, dtype=torch.long)]
    end = 0  # edges without a place in the order come last, as they stand
    for (head_type, relation, tail_type), store in data.edge_items():
        if "edge_index" not in store:
            kind = (head_type, relation, tail_type)
            raise ValueError(f"edges of {kind} need an edge_index (got {list(store.keys())})")
        edge_index = store.edge_index.long()
        for side, kind in enumerate((head_type, tail_type)):
            check_ids(f"{kind!r} node", edge_index[side], sizes.get(kind, 0))
        head = edge_index[0] + first.get(head_type, 0)
        tail = edge_index[1] + first.get(tail_type, 0)
        rows.append(torch.stack([head, torch.full_like(head, relations.id(relation)), tail], dim=1))
        places = store.triple if "triple" in store else torch.full_like(head, end)
        end = max(end, int(places.max()) + 1) if len(places) else end
        order.append(places)
    return torch.cat(rows), torch.cat(order)
