"""What a study is the study of: data, space, recipe and search, compared when it goes on."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.linking.linked_kg import LinkedKG
from pyg_kgtransfer.training.config import FREE_TO_CHANGE
from pyg_kgtransfer.transfer.recipe import Recipe
from pyg_kgtransfer.transfer.search_space import SearchSpace
from pyg_kgtransfer.transfer.tune_config import TuneConfig, TuneInputs

Json = dict[str, Any]
_DATA = "data "
_ROWS = 1 << 16  # of a tensor, digested at once


def identity_of(
    linked: LinkedKG,
    splits: Sequence[Split],
    space: SearchSpace,
    inputs: TuneInputs,
    config: TuneConfig,
) -> Json:
    """What a study is the study of; a later call on it must have the same. Ready for JSON."""
    data = {
        "joint graph": _digest(linked.graph.fingerprint(), linked.source, linked.pairs.index),
        **dict(zip(linked.names, linked.fingerprints, strict=True)),
        **{f"validation facts of {s.train.name}": _digest(s.valid.triples) for s in splits},
        **{
            f"validation negatives of {s.train.name}": _digest(negatives.head, negatives.tail)
            for s in splits
            if (negatives := s.valid.negatives) is not None  # these decide the metric
        },
        "features": _digest(*(part for item in (inputs.features or {}).items() for part in item)),
        "groups": _digest(
            inputs.groups
            if isinstance(inputs.groups, Tensor)
            else repr(sorted((inputs.groups or {}).items()))
        ),
    }
    search = {name: getattr(config, name) for name in ("seed", "pruner", "startup", "warmup")}
    search["alignment_weight"] = inputs.alignment_weight
    ranges = json.loads(json.dumps(space.to_plain()))
    recipe = _decisive(space.recipe)
    return {"data": data, "space": ranges, "recipe": recipe, "search": search}


def _digest(*parts: Tensor | str) -> str:
    """The sha256 of tensors and texts (hexadecimal)."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            for rows in part.split(_ROWS):  # of a file on the disk never all at once
                digest.update(rows.detach().cpu().contiguous().numpy().tobytes())
        else:
            digest.update(part.encode())
    return digest.hexdigest()


def check_same(stored: Json, present: Json, run_dir: Path | None) -> None:
    """Refuse to go on with a study of other data, another space, recipe or search.

    What a recipe did not have when the study was begun was as it is by default.

    Raises:
        ValueError: Says what differs.
    """
    now = _flat(present)
    default = _flat({"recipe": _decisive(Recipe())})
    was = {**{name: default[name] for name in default if name in now}, **_flat(stored)}
    names = [*now, *(name for name in was if name not in now)]
    differ = [name for name in names if was.get(name) != now.get(name)]
    data = [name.removeprefix(_DATA) for name in differ if name.startswith(_DATA)]
    changed = [f"other data ({', '.join(data)})"] if data else []
    changed += [
        f"{name} was {_shown(was, name)}, is {_shown(now, name)}"
        for name in differ
        if not name.startswith(_DATA)
    ]
    if changed:
        raise ValueError(
            f"{run_dir} holds the study of another search (got: {'; '.join(changed)}); go on with "
            "what it was begun with, or choose another folder"
        )


def _decisive(recipe: Recipe) -> Json:
    """The options of a recipe that decide how well it does."""
    options = asdict(recipe)
    for name in FREE_TO_CHANGE:
        if name != "max_seconds":  # it decides how far a trial comes
            del options["training"][name]
    return dict(json.loads(json.dumps(options)))  # as it is read again


def _flat(identity: Mapping[str, Any]) -> Json:
    """The entries as "part name", those of a recipe by their dotted names."""
    found: Json = {}
    for part, entries in identity.items():
        for name, value in entries.items():
            if part == "recipe" and isinstance(value, Mapping):
                found |= {f"{part} {name}.{option}": v for option, v in value.items()}
            else:
                found[f"{part} {name}"] = value
    return found


def _shown(entries: Json, name: str) -> str:
    return repr(entries[name]) if name in entries else "not there"
