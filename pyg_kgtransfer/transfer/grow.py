"""Other vocabularies for a trained model: shared rows move, bit for bit; new ones start."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.models.kg_model import GraphModel

NewRows = Literal["fresh", "mean", "zero"]


@dataclass(frozen=True, eq=False)
class Moved:
    """What became of the names of one vocabulary.

    Attributes:
        matched: New names that took over the row of an old one.
        new: New names without an old one.
        dropped: Old names that no new one took over.
        origin: int64, for each new id the old one, or -1.
    """

    matched: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]
    origin: Tensor

    @classmethod
    def of(cls, old: Vocabulary, new: Vocabulary, origin: Tensor) -> "Moved":
        """From ``origin`` ([len(new)] int64): for each new id the old one, or -1."""
        taken = set(origin.tolist())
        return cls(
            tuple(name for name, i in zip(new, origin.tolist(), strict=True) if i >= 0),
            tuple(name for name, i in zip(new, origin.tolist(), strict=True) if i < 0),
            tuple(name for i, name in enumerate(old) if i not in taken),
            origin,
        )

    def counts(self) -> dict[str, int]:
        """The three numbers, by name."""
        return {"matched": len(self.matched), "new": len(self.new), "dropped": len(self.dropped)}


@dataclass(frozen=True, eq=False)
class GrowthReport:
    """Which entities and relations kept their vectors."""

    entities: Moved
    relations: Moved

    def counts(self) -> dict[str, dict[str, int]]:
        """Numbers for a record."""
        return {"entities": self.entities.counts(), "relations": self.relations.counts()}


def row_parameters(model: nn.Module) -> Iterator[tuple[str, str]]:
    """(name, ``"entity"`` or ``"relation"``) of each parameter or buffer with rows of that kind.

    Modules declare them in ``entity_rows`` and ``relation_rows``.
    """
    for prefix, module in model.named_modules():
        for kind in ("entity", "relation"):
            declared: tuple[str, ...] = getattr(module, f"{kind}_rows", ())
            for name in declared:
                yield (f"{prefix}.{name}" if prefix else name), kind


def moved_rows(
    old: GraphModel, fresh: GraphModel, entity_origin: Tensor, relation_origin: Tensor
) -> dict[str, Tensor]:
    """Which rows of ``fresh`` have an old row to take: parameter name -> bool mask over its rows.

    Raises:
        ValueError: If the models differ in anything but their numbers of entities and relations.
    """
    kinds = dict(row_parameters(fresh))
    before, masks = old.state_dict(), {}
    for name, value in fresh.state_dict().items():
        same = name in before and before[name].shape[1:] == value.shape[1:]
        if not same or (name not in kinds and before[name].shape != value.shape):
            got = tuple(before[name].shape) if name in before else "none"
            raise ValueError(
                f"the models must agree but for their vocabularies: {name} has shape "
                f"{tuple(value.shape)} (got {got})"
            )
        if name in kinds:
            origin = entity_origin if kinds[name] == "entity" else relation_origin
            masks[name] = _row_origin(origin, len(value), len(before[name]), len(origin)) >= 0
    return masks


@torch.no_grad()
def move_rows(
    old: GraphModel, fresh: GraphModel, entity_origin: Tensor, relation_origin: Tensor, new: NewRows
) -> None:
    """Give ``fresh`` the old model's weights: shared rows bit for bit, all else whole.

    Args:
        old: The trained model.
        fresh: A new model of the same kind over other vocabularies; changed in place.
        entity_origin: [N] int64, for each new entity the old one, or -1.
        relation_origin: [R] int64, likewise for relations; inverses follow.
        new: Rows without an old one keep their ``"fresh"`` start, take the old ``"mean"``, or are
            ``"zero"``, which leaves an entity to what an encoder hears of it; relations take the
            mean then.
    """
    kinds, before = dict(row_parameters(fresh)), old.state_dict()
    given = {name for name, _ in fresh.named_buffers()}  # features and texts of new entities
    moved_rows(old, fresh, entity_origin, relation_origin)  # that they fit
    for name, value in fresh.state_dict().items():
        if name not in kinds:
            value.copy_(before[name])
            continue
        origin = entity_origin if kinds[name] == "entity" else relation_origin
        rows = _row_origin(origin, len(value), len(before[name]), len(origin))
        has_origin = rows >= 0
        if new != "fresh" and name not in given:
            is_zero = new == "zero" and kinds[name] == "entity"
            value[~has_origin] = 0.0 if is_zero else before[name].mean(0)
        value[has_origin] = before[name][rows[has_origin]]


def moved_values(
    values: Mapping[str, Tensor], fresh: GraphModel, entity_origin: Tensor, relation_origin: Tensor
) -> dict[str, Tensor]:
    """What belongs to an old model's parameters, at the places of ``fresh`` that they moved to.

    Args:
        values: Parameter name -> a value for each of the old model's.
        fresh: The model that its rows moved to.
        entity_origin: [N] int64, for each new entity the old one, or -1.
        relation_origin: [R] int64, likewise for relations.

    Returns:
        Parameter name -> values, 0 in rows without an old one.
    """
    kinds, found = dict(row_parameters(fresh)), {}
    for name, parameter in fresh.named_parameters():
        old = values[name]
        if name in kinds:
            origin = entity_origin if kinds[name] == "entity" else relation_origin
            rows = _row_origin(origin, len(parameter), len(old), len(origin))
            has_origin = (rows >= 0).view(-1, *[1] * (old.dim() - 1))
            old = torch.where(has_origin, old[rows.clamp(min=0)], 0.0)
        found[name] = old
    return found


def _row_origin(origin: Tensor, rows: int, old_rows: int, size: int) -> Tensor:
    """Old row of each new row; a table of 2R rows holds the inverses in its second half."""
    if rows == size:
        return origin
    return torch.cat([origin, torch.where(origin >= 0, origin + old_rows // 2, -1)])


def parts_of(model: GraphModel) -> dict[str, list[tuple[str, nn.Parameter]]]:
    """The parameters of a model by part: ``entity``, ``relation``, ``encoder``, ``decoder``.

    The first two are tables of rows; the encoder's are what is left of it (layers, projections).
    """
    kinds = dict(row_parameters(model))
    parts: dict[str, list[tuple[str, nn.Parameter]]] = {
        part: [] for part in ("entity", "relation", "encoder", "decoder")
    }
    for name, parameter in model.named_parameters():
        part = kinds.get(name, "decoder" if name.startswith("decoder.") else "encoder")
        parts[part].append((name, parameter))
    return parts


def optimiser_groups(
    model: GraphModel, factors: dict[str, float], learning_rate: float
) -> list[dict[str, Any]]:
    """Parameter groups with a learning rate per part; a part with factor 0 is left out (frozen)."""
    return [
        {
            "params": [parameter for _, parameter in parameters],
            "lr": learning_rate * factors.get(part, 1.0),
        }
        for part, parameters in parts_of(model).items()
        if parameters and factors.get(part, 1.0) > 0
    ]
