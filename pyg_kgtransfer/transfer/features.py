"""Features of the entities, such as text vectors: joined where graphs are, moved with the model."""

from collections.abc import Mapping

import torch
from torch import Tensor

from pyg_kgtransfer.linking.linked_kg import LinkedKG
from pyg_kgtransfer.models.kg_model import GraphModel

Features = Mapping[str, Tensor]  # graph name -> [entities of that graph, F]


def joint_features(
    linked: LinkedKG,
    features: Features | None,
    *,
    known_to: GraphModel | None = None,
    origin: Tensor | None = None,
) -> Tensor | None:
    """One row of features for each entity of a joint graph.

    An entity has the mean of the rows that its graphs give it, else its row in the model it moves
    from, else zeros.

    Args:
        linked: The joint graph.
        features: For some or all of its graphs, by name: [N_s, F] floats, one F for all.
        known_to: The model that it moves from, if any.
        origin: [N] int64, the id of each joint entity in that model, -1 where it knows none.

    Returns:
        [N, F], or ``None`` where nobody has features.

    Raises:
        ValueError: If a graph is unknown, or a table has the wrong shape.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> left = kgt.KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")], name="left")
        >>> right = kgt.KnowledgeGraph.from_names([("GR", "borders", "BG")], name="right")
        >>> same = kgt.Alignment.from_names(left, right, [("Greece", "GR")])
        >>> linked = kgt.link([left, right], [same])
        >>> tables = {"left": torch.tensor([[1.0], [2.0]]), "right": torch.tensor([[4.0], [5.0]])}
        >>> joint_features(linked, tables).view(-1).tolist()
        [1.0, 3.0, 5.0]
    """
    inherited = None if known_to is None or origin is None else _moved(known_to, origin)
    if not features:
        return inherited
    width = _width(linked, features, inherited)
    total = torch.zeros(linked.graph.num_entities, width)
    count = torch.zeros(linked.graph.num_entities)
    for name, table in features.items():
        joint = linked.entity_maps[linked.index(name)]
        kept = joint >= 0
        total.index_add_(0, joint[kept], table[kept].detach().float().cpu())
        count.index_add_(0, joint[kept], torch.ones(int(kept.sum())))
    mean = total / count.clamp(min=1).unsqueeze(1)
    return mean if inherited is None else torch.where(count.unsqueeze(1) > 0, mean, inherited)


def _width(linked: LinkedKG, features: Features, inherited: Tensor | None) -> int:
    width = None if inherited is None else inherited.shape[1]
    for name, table in features.items():
        rows = len(linked.entity_maps[linked.index(name)])
        if table.dim() != 2 or len(table) != rows or not table.is_floating_point():
            raise ValueError(
                f"features of {name!r} must be floats of shape [{rows}, F], one row per entity "
                f"(got {table.dtype} {list(table.shape)})"
            )
        if width is not None and table.shape[1] != width:
            raise ValueError(
                f"features must be {width} wide for all graphs (got {table.shape[1]} of {name!r})"
            )
        width = table.shape[1]
    assert width is not None
    return width


def _moved(model: GraphModel, origin: Tensor) -> Tensor | None:
    """The model's features or text vectors for entities that it knows, zero for others."""
    inputs = getattr(getattr(model, "encoder", None), "inputs", None)
    for name in ("features", "text"):
        table = getattr(inputs, name, None)
        if isinstance(table, Tensor):
            moved = table.new_zeros(len(origin), table.shape[1])
            moved[origin >= 0] = table[origin[origin >= 0]]
            return moved
    return None
