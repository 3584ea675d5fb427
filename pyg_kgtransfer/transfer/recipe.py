"""What every recipe shares: its options, the fit itself, and the artefact."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyg_kgtransfer.graph.entity_groups import GivenGroups, groups_of
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.graph.neighbours import FanOut
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.linking.linked_kg import LinkedKG
from pyg_kgtransfer.models.build import FOUNDATION, ModelConfig, build_model
from pyg_kgtransfer.models.kg_model import GraphModel
from pyg_kgtransfer.objectives.auxiliary import AuxiliaryConfig, auxiliary_objective
from pyg_kgtransfer.objectives.build import ObjectiveConfig, build_objective
from pyg_kgtransfer.objectives.objective import Objective
from pyg_kgtransfer.objectives.sources import AcrossSources, OwnGraph
from pyg_kgtransfer.training.batches import BatchOptions, TripleBatches
from pyg_kgtransfer.training.checkpoint import Checkpoint, SourceMaps, provenance
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.training.history import History
from pyg_kgtransfer.training.strategies import training_device
from pyg_kgtransfer.training.trainer import Trainer
from pyg_kgtransfer.transfer.ranking import validation_of


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what loss, and how.

    Attributes:
        model: Encoder and decoder.
        objective: The link prediction loss.
        batches: Batch size, and the temperature over sources.
        training: Optimiser, schedule, stopping.
        validation_size: Rank at most so many validation facts per graph, a fixed seeded sample;
            ``None``: all of them.
        auxiliary: What is learned beside the loss, or before it: proposed facts, hidden edges, two
            views of the graph.

    Raises:
        ValueError: If what is trained with needs another encoder.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> recipe = kgt.Recipe(
        ...     model=kgt.ModelConfig(encoder="shallow", width=64),
        ...     objective=kgt.ObjectiveConfig(n3=0.01),
        ...     training=kgt.TrainConfig(epochs=5),
        ... )
        >>> recipe.model.width, recipe.objective.loss, recipe.batches.batch_size
        (64, 'one_vs_all', 1024)
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    batches: BatchOptions = field(default_factory=BatchOptions)
    training: TrainConfig = field(default_factory=TrainConfig)
    validation_size: int | None = None
    auxiliary: AuxiliaryConfig = field(default_factory=AuxiliaryConfig)

    def __post_init__(self) -> None:
        encoder, auxiliary = self.model.encoder, self.auxiliary
        wants_layers = {
            "edge_dropout": self.training.edge_dropout,
            "fan_out": self.training.fan_out,
            "masked": auxiliary.masked,
            "contrastive": auxiliary.contrastive,
        }
        for name, wanted in wants_layers.items():
            if wanted and encoder in ("shallow", FOUNDATION):
                raise ValueError(
                    f"{name} needs an encoder with message-passing layers: rgcn or compgcn "
                    f"(got {encoder!r})"
                )
        if self.model.sparse and encoder != "shallow" and not self.training.fan_out:
            raise ValueError(
                f"with sparse rows an encoder with layers is trained on drawn neighbours: set "
                f"training.fan_out (got encoder {encoder!r} on the whole graph)"
            )
        if encoder == FOUNDATION and auxiliary != AuxiliaryConfig():
            raise ValueError(
                "a foundation model learns from stated facts alone, each hidden from it while it "
                f"is asked for; give it no auxiliary objective (got {auxiliary})"
            )


def fit(
    model: GraphModel,
    objective: Objective,
    linked: LinkedKG,
    *,
    recipe: Recipe,
    splits: Sequence[Split] = (),
    run_dir: Path | None = None,
    parent: Checkpoint | None = None,
    parameter_groups: Iterable[Mapping[str, Any]] | None = None,
    method: object = None,
) -> History:
    """Train ``model`` in place on a joint graph; the best weights on ``splits`` are restored.

    A ``run_dir`` that was begun under another ``parent``, or by another ``method`` (options that
    decide where training starts), is refused.
    """
    origin = "" if parent is None else parent.id
    origin += "" if method is None else f" {method!r}"
    return Trainer(recipe.training, run_dir, origin=origin).fit(
        model,
        objective,
        joint_batches(recipe, linked),
        graph=linked.graph.tensors(),
        validate=validation_of(splits, linked, size=recipe.validation_size),
        parameter_groups=parameter_groups,
    )


def joint_batches(recipe: Recipe, linked: LinkedKG) -> TripleBatches:
    """The batches of a joint graph's facts, mixed over its sources where it has several."""
    source = linked.source if len(linked.names) > 1 else None
    return TripleBatches(linked.graph.triples, recipe.batches, source=source)


def fresh_model(recipe: Recipe, linked: LinkedKG, features: Tensor | None = None) -> GraphModel:
    """An untrained model of the joint graph, drawn from the recipe's seed.

    ``features`` ([N, F]) are for models whose inputs want them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        return build_model(
            recipe.model,
            num_entities=linked.graph.num_entities,
            num_relations=linked.graph.num_relations,
            features=features,
        )


def task_objective(
    recipe: Recipe, linked: LinkedKG, *, groups: GivenGroups | None = None
) -> Objective:
    """The objective over the facts of a joint graph: link prediction, and what goes beside it.

    Rules are mined on the joint graph. A foundation model learns each source's facts on that
    source's own graph.

    Args:
        recipe: What is learned.
        linked: The joint graph.
        groups: Of its entities, to balance by; ``None``: their types, where they have some.

    Raises:
        ValueError: If it is to be balanced by groups and there are none, or they do not fit.
    """
    _check_fan_out(recipe)
    device = training_device(recipe.training)
    member = _groups_to_balance(recipe.objective, linked.graph, groups)
    if recipe.model.encoder != FOUNDATION:
        options = recipe.auxiliary, recipe.objective
        training = recipe.training
        fan_out = None
        if training.fan_out:
            fan_out = FanOut(training.fan_out, training.fan_out_per_relation)
        return auxiliary_objective(
            *options, linked.graph, groups=member, fan_out=fan_out, device=device
        )
    sources = [_own_graph(linked, number) for number in range(len(linked.names))]
    losses = []
    for source in sources:
        graph = source.graph
        known = KnownTriples(
            [source.facts], num_entities=len(graph.entity), num_relations=graph.num_relations
        ).to(device)
        own = None if member is None else member[graph.entity]
        losses.append(build_objective(recipe.objective, known, groups=own))
    return AcrossSources(sources, losses)


def _check_fan_out(recipe: Recipe) -> None:
    """Neighbours are drawn for each layer of the model that is trained, whichever it is."""
    fan_out, loss = recipe.training.fan_out, recipe.objective
    if not fan_out:
        return
    if len(fan_out) != recipe.model.layers:
        raise ValueError(
            f"fan_out needs a number for each of the encoder's {recipe.model.layers} layers "
            f"(got {fan_out})"
        )
    if loss.loss == "k_vs_all" or loss.filtered or loss.balance or recipe.training.edge_dropout:
        raise ValueError(
            "with fan_out a step knows its own entities alone: it goes with one_vs_all and "
            "negative sampling, without filtered, balance and edge_dropout "
            f"(got {loss.loss!r}, {loss.filtered}, {loss.balance} and "
            f"{recipe.training.edge_dropout})"
        )


def _groups_to_balance(
    config: ObjectiveConfig, graph: KnowledgeGraph, given: GivenGroups | None
) -> Tensor | None:
    """The group of each entity of a joint graph, where the loss is balanced by groups."""
    if config.balance_by != "group":
        if given is not None:
            raise ValueError(
                f"groups are for a loss with balance_by='group' (got {config.balance_by!r})"
            )
        return None
    if not config.balance:
        return None
    groups = groups_of(graph, given)
    if groups is None:
        raise ValueError(
            "to balance by group, entities need groups: those that pretrain takes, or entity "
            f"types of the graph (got neither for {graph.name!r})"
        )
    return groups.member


def _own_graph(linked: LinkedKG, number: int) -> OwnGraph:
    """A source's facts and entities in a joint graph."""
    is_own = linked.source == number
    if linked.stated_by is not None:
        is_own = linked.stated_by[:, number]
    whole = linked.graph.with_triples(linked.graph.triples[is_own])
    entity = linked.entity_maps[number]
    entity = torch.unique(entity[entity >= 0])
    row = torch.full((linked.graph.num_entities,), -1)
    row[entity] = torch.arange(len(entity))
    graph = whole.tensors()
    graph = graph._replace(entity=entity, edge_index=row[graph.edge_index])
    head, relation, tail = whole.triples.unbind(1)
    return OwnGraph(graph, torch.stack([row[head], relation, row[tail]], 1), row)


def checkpoint_of(
    model: GraphModel,
    linked: LinkedKG,
    history: History,
    recipe: Recipe,
    *,
    parent: Checkpoint | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """The artefact of a run: its metrics hold the validation curve and the time it took.

    Args:
        model: As trained; it leaves for the CPU.
        linked: The joint graph that it reads.
        history: What training did.
        recipe: How it was trained.
        parent: The checkpoint that it began from or was taught by.
        notes: Further entries of the provenance, ready for JSON.
    """
    validated = [row for row in history.rows if row["metrics"]]
    best = [row for row in validated if row["epoch"] == history.best_epoch]
    metrics: dict[str, Any] = {
        "valid": best[0]["metrics"] if best else {},
        "curve": [
            {"epoch": row["epoch"], "seconds": row["seconds"], **row["metrics"]}
            for row in validated
        ],
        "seconds": history.seconds,
        "steps": history.steps,
        "best_epoch": history.best_epoch,
        "stop_reason": history.stop_reason,
    }
    origin = provenance([linked.graph], seed=recipe.training.seed, parent=parent)
    origin["graphs"] |= dict(zip(linked.fingerprints, linked.names, strict=False))
    origin |= {"recipe": _plain(asdict(recipe)), **(notes or {})}
    sources = SourceMaps.of(linked)
    return Checkpoint(model.cpu(), linked.graph, recipe.model, metrics, origin, sources)


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """The options as JSON has them: tuples as lists, infinity (a temperature may be) as text."""
    return {
        name: _plain(value)
        if isinstance(value, dict)
        else list(value)
        if isinstance(value, tuple)
        else str(value)
        if isinstance(value, float) and not math.isfinite(value)
        else value
        for name, value in options.items()
    }
