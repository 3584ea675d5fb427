"""Checkpoint: a trained model with its graph and its history. The only artefact."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import pyg_kgtransfer
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.linking.linked_kg import LinkedKG
from pyg_kgtransfer.models.build import ModelConfig, build_model
from pyg_kgtransfer.models.calibration import (
    Calibrator,
    calibrator_from_dict,
    calibrator_to_dict,
)
from pyg_kgtransfer.models.kg_model import GraphModel
from pyg_kgtransfer.sources.graph_parts import graph_from_parts
from pyg_kgtransfer.sources.tensor_files import read_tensors, write_tensors
from pyg_kgtransfer.training.checkpoint_format import (
    GRAPH,
    INDEX,
    LINKS,
    NAMES,
    WEIGHTS,
    Json,
    fit_weights,
    read_index,
    weights_digest,
    write_graph,
    write_index,
)
from pyg_kgtransfer.training.durable_files import (
    in_words,
    partial_of,
    replace_folder,
    standing_folder,
    write_json,
)
from pyg_kgtransfer.training.processes import once, watched
from pyg_kgtransfer.training.selection import snapshot

# What the kinds of inputs that read given vectors keep them in.
_INPUT_BUFFERS = {"features": "features", "mixture": "text"}


@dataclass(frozen=True, eq=False)
class SourceMaps:
    """The way from each source's ids to the joint graph that a model was trained on.

    Attributes:
        names: Source names.
        entity_maps: Per source [N_s] int64, the joint id of each of its entities, or -1.
        relation_maps: Per source [R_s] int64, the joint id of each of its relations, or -1.
    """

    names: tuple[str, ...]
    entity_maps: tuple[Tensor, ...]
    relation_maps: tuple[Tensor, ...]

    @classmethod
    def of(cls, linked: LinkedKG) -> "SourceMaps":
        """The maps of a linked graph."""
        return cls(linked.names, linked.entity_maps, linked.relation_maps)


def provenance(
    graphs: Iterable[KnowledgeGraph] = (),
    *,
    seed: int | None = None,
    parent: "Checkpoint | None" = None,
) -> Json:
    """Where a model comes from.

    Args:
        graphs: Every graph it saw in training beside its own: sources, not only the joint one.
        seed: Of the training.
        parent: The checkpoint that training began from or was taught by; what it saw counts.

    Returns:
        ``graphs`` (fingerprint -> name), ``seed``, ``parent`` (an id), ``versions``.
    """
    seen = {} if parent is None else dict(parent.provenance["graphs"])
    return {
        "graphs": seen | {graph.fingerprint(): graph.name for graph in graphs},
        "seed": seed,
        "parent": None if parent is None else parent.id,
        "versions": {"pyg_kgtransfer": pyg_kgtransfer.__version__, "torch": torch.__version__},
    }


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained model with all that is needed to use it, in memory or in a folder.

    The folder holds ``checkpoint.json`` (schema version, config, metrics, provenance, digests, and
    a calibration if there is one), ``weights.safetensors``, ``graph.safetensors``, ``names.json``
    and, of a model trained on linked graphs, ``links.safetensors``. Nothing in it is unpickled.

    Attributes:
        model: The model.
        graph: The graph it encodes; the vocabularies of its rows.
        config: What ``build_model`` makes the model from; ``None`` for a model of your own, which
            ``load`` then needs.
        metrics: Its figures, by name; finite numbers, nested as JSON allows.
        provenance: As ``provenance()`` gives it; ``graph`` is always added to what was seen.
        sources: The maps of the linked graph it was trained on, or ``None``.
        calibration: From its scores to probabilities, as ``calibrate`` learns it, or ``None``.

    Example:
        >>> import tempfile
        >>> graph = KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")])
        >>> config = ModelConfig(encoder="shallow", decoder="distmult", width=4)
        >>> model = build_model(config, num_entities=2, num_relations=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Checkpoint(model, graph, config).save(f"{folder}/teacher")
        ...     Checkpoint.load(path).graph.named_triples()
        [('Athens', 'capital_of', 'Greece')]
    """

    model: GraphModel
    graph: KnowledgeGraph
    config: ModelConfig | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    sources: SourceMaps | None = None
    calibration: Calibrator | None = None

    def __post_init__(self) -> None:
        whole = provenance() | dict(self.provenance)
        whole["graphs"] = {**whole["graphs"], self.graph.fingerprint(): self.graph.name}
        object.__setattr__(self, "provenance", whole)

    @property
    def id(self) -> str:
        """The sha256 of graph, config and weights: the same before saving and after loading.

        A calibration leaves it as it is: the same model, that ranks alike.
        """
        content = f"{self.graph.fingerprint()} {self.config!r} {weights_digest(self.model)}"
        return hashlib.sha256(content.encode()).hexdigest()

    def saw(self, graph: KnowledgeGraph) -> bool:
        """Whether the model, or one it comes from, was trained on exactly this graph."""
        return graph.fingerprint() in self.provenance["graphs"]

    def save(self, path: Path | str) -> Path:
        """Write the folder ``path``; a checkpoint there is replaced once this one is complete.

        Of several processes that trained together all must ask; the first one writes.

        Raises:
            ValueError: If weights or metrics are not finite, the metrics are not JSON, or the
                calibration is of a kind of your own.
            FileExistsError: If ``path`` exists and is not a checkpoint.
            OSError: If it cannot be written (disk full); a checkpoint at ``path`` is untouched.
        """
        path = Path(path)
        with watched(lambda: f"while the checkpoint was written to {path}"):
            once(lambda: self._write(path))
        return path

    def _write(self, path: Path) -> None:
        _check_replaceable(path)
        content = self._index()
        partial = partial_of(path)
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            write_tensors(partial / WEIGHTS, snapshot(self.model))
            names = write_graph(partial, self.graph)
            if self.sources is not None:
                names["sources"] = list(self.sources.names)
                write_tensors(partial / LINKS, _map_tensors(self.sources))
            write_json(partial / NAMES, names)
            write_index(partial, content)
            replace_folder(partial, path)
        except OSError as error:
            kept = "the checkpoint before it is untouched" if path.exists() else "nothing is left"
            raise in_words(error, "the checkpoint", path, kept=kept) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        model: GraphModel | None = None,
        device: torch.device | str = "cpu",
    ) -> "Checkpoint":
        """Read a checkpoint; its model is in eval mode on ``device``.

        Args:
            path: The folder.
            model: A model of your own to put the weights into; ``None``: built from the config.
            device: Where the model goes.

        Raises:
            FileNotFoundError: If the folder or one of its files is missing.
            NotADirectoryError: If ``path`` is a file.
            ValueError: If it is no checkpoint, of another schema, was changed, does not fit the
                model, needs ``model``, or has a calibration of a kind that is not known here.
        """
        folder = standing_folder(Path(path))
        index = read_index(folder)
        calibration = _calibration(index, folder)
        names = json.loads((folder / NAMES).read_text(encoding="utf-8"))
        graph = graph_from_parts(read_tensors(folder / GRAPH), names)
        weights = read_tensors(folder / WEIGHTS)
        stored = index["model"]["config"]
        config = None if stored is None else ModelConfig.from_dict(stored)
        if model is None:
            model = _built(config, graph, weights, folder)
        fit_weights(model, weights, folder)
        sources = None
        if "sources" in names:
            sources = _source_maps(names["sources"], read_tensors(folder / LINKS))
        model.to(device).eval()
        return cls(
            model, graph, config, index["metrics"], index["provenance"], sources, calibration
        )

    def _index(self) -> Json:
        """What ``checkpoint.json`` says of this checkpoint."""
        for name, parameter in self.model.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                raise ValueError(f"weights must be finite (got NaN or infinity in {name})")
        content = {
            "id": self.id,
            "model": {
                "class": type(self.model).__qualname__,
                "config": None if self.config is None else self.config.to_dict(),
                "reciprocal": getattr(self.model, "reciprocal", None),
                "num_entities": self.graph.num_entities,
                "num_relations": self.graph.num_relations,
            },
            "metrics": dict(self.metrics),
            "provenance": dict(self.provenance),
        }
        if self.calibration is not None:
            content["calibration"] = calibrator_to_dict(self.calibration)
        try:
            json.dumps(content, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"metrics, provenance and config must be finite numbers, texts, lists and "
                f"dictionaries (got: {error})"
            ) from error
        return content


def _check_replaceable(path: Path) -> None:
    """Refuse to put a checkpoint in the place of something else."""
    if not path.exists():
        return
    if not path.is_dir() or (any(path.iterdir()) and not (path / INDEX).exists()):
        raise FileExistsError(f"{path} exists and is not a checkpoint, so it is not replaced")


def _calibration(index: Json, folder: Path) -> Calibrator | None:
    """The calibration that an index holds; one without is as all were before there were any."""
    kept = index.get("calibration")
    if kept is None:
        return None
    try:
        return calibrator_from_dict(kept)
    except ValueError as error:
        raise ValueError(
            f"{folder / INDEX} must hold a calibration that this version of pyg_kgtransfer reads: "
            f"{error}"
        ) from error


def _built(
    config: ModelConfig | None, graph: KnowledgeGraph, weights: Mapping[str, Tensor], folder: Path
) -> GraphModel:
    if config is None:
        raise ValueError(
            f"{folder} holds a model of your own, which cannot be built from a config: "
            "Checkpoint.load(path, model=...) needs the model (got none)"
        )
    buffer = _INPUT_BUFFERS.get(config.inputs)
    features = next((t for key, t in weights.items() if key.rpartition(".")[2] == buffer), None)
    with torch.random.fork_rng(devices=[]):  # the fresh weights are replaced at once
        return build_model(
            config,
            num_entities=graph.num_entities,
            num_relations=graph.num_relations,
            features=features,
        )


def _map_tensors(sources: SourceMaps) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for number in range(len(sources.names)):
        tensors[f"entity_map.{number}"] = sources.entity_maps[number]
        tensors[f"relation_map.{number}"] = sources.relation_maps[number]
    return tensors


def _source_maps(names: list[str], tensors: Mapping[str, Tensor]) -> SourceMaps:
    return SourceMaps(
        tuple(names),
        tuple(tensors[f"entity_map.{number}"] for number in range(len(names))),
        tuple(tensors[f"relation_map.{number}"] for number in range(len(names))),
    )
