"""Fine-tuning: a trained model moves to a target; vocabularies grow, parts may be frozen."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.linking.alignment import Alignment
from pyg_kgtransfer.linking.linked import link
from pyg_kgtransfer.linking.linked_kg import LinkedKG
from pyg_kgtransfer.models.build import FOUNDATION, ModelConfig, build_model
from pyg_kgtransfer.models.inputs import Lookup
from pyg_kgtransfer.models.kg_model import GraphModel, KGModel
from pyg_kgtransfer.objectives.anchor import Anchor
from pyg_kgtransfer.objectives.objective import Mixture, Objective
from pyg_kgtransfer.training.checkpoint import Checkpoint, SourceMaps
from pyg_kgtransfer.transfer.features import Features, joint_features
from pyg_kgtransfer.transfer.grow import (
    GrowthReport,
    Moved,
    NewRows,
    move_rows,
    moved_rows,
    moved_values,
    optimiser_groups,
    row_parameters,
)
from pyg_kgtransfer.transfer.importance import fact_importance
from pyg_kgtransfer.transfer.ranking import alone, own_alignment
from pyg_kgtransfer.transfer.recipe import Recipe, checkpoint_of, fit, task_objective

PARTS = ("entity", "relation", "encoder", "decoder")


@dataclass(frozen=True)
class FinetuneConfig:
    """How a model moves to a target.

    Attributes:
        keep: ``"target"``: the new model knows the target's names alone, others are dropped;
            ``"all"``: it keeps every old name and fact and grows by the target's.
        new_rows: Where rows of new names start: ``"fresh"``, at the ``"mean"`` of the old rows, or
            ``"zero"`` (entities).
        rate_factors: Part -> what its learning rate is multiplied with: ``entity``, ``relation``,
            ``encoder``, ``decoder``; 0 freezes the part.
        anchor: Weight of the squared distance of copied weights to their start, at least 0 (L2-SP).
        elastic: Weight of the same distance where each weight counts as much as it matters to the
            checkpoint's own facts, at least 0 (elastic weight consolidation): see ``Anchor`` and
            ``fact_importance``.
        elastic_facts: Facts of the checkpoint that importances are estimated on, at least 1.
        dropout: Of the model's layers from now on, in [0, 1); ``None``: as in the checkpoint.

    Raises:
        ValueError: If a part is unknown or a number is negative.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> config = kgt.FinetuneConfig(keep="all", rate_factors={"decoder": 0.0}, anchor=0.1)
        >>> config.keep, config.new_rows, config.elastic
        ('all', 'fresh', 0.0)
    """

    keep: Literal["target", "all"] = "target"
    new_rows: NewRows = "fresh"
    rate_factors: Mapping[str, float] = field(default_factory=dict)
    anchor: float = 0.0
    elastic: float = 0.0
    elastic_facts: int = 256
    dropout: float | None = None

    def __post_init__(self) -> None:
        for part, factor in self.rate_factors.items():
            if part not in PARTS:
                raise ValueError(f"parts are {', '.join(PARTS)} (got {part!r})")
            if factor < 0:
                raise ValueError(f"the rate factor of {part} must be at least 0 (got {factor})")
        for name in ("anchor", "elastic"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0 (got {getattr(self, name)})")
            if getattr(self, name) == math.inf:
                raise ValueError(f"{name} must be finite (got inf)")
        if self.elastic_facts < 1:
            raise ValueError(f"elastic_facts must be at least 1 (got {self.elastic_facts})")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1) (got {self.dropout})")
        for name, known in (
            ("keep", ("target", "all")),
            ("new_rows", ("fresh", "mean", "zero")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} is one of {', '.join(known)} (got {getattr(self, name)!r})"
                )


def grown(
    checkpoint: Checkpoint,
    target: Split,
    alignment: Alignment | None = None,
    *,
    config: FinetuneConfig | None = None,
    features: Features | None = None,
    seed: int = 0,
) -> tuple[GraphModel, LinkedKG, GrowthReport]:
    """The model over new vocabularies, untrained further: shared rows are bit-identical.

    Args:
        checkpoint: The model that moves; it is not changed.
        target: Where it moves to.
        alignment: Between the target's graph and the checkpoint's, or a source of it; ``None``: the
            checkpoint's own maps where it was trained on the target, else equal names.
        config: What is kept, and where new rows start.
        features: As in ``pretrain``, by graph name, for entities new to the checkpoint (zeros where
            none are given); those that it knows keep their rows.
        seed: Of fresh rows.

    Returns:
        The model, the graph it reads (the target's, or that joined with the old one), and the
        report of matched, new and dropped names.

    Raises:
        ValueError: If the checkpoint has no model config, nothing matches, or a foundation model is
            to have dropout.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> training = kgt.TrainConfig(epochs=1, progress=False, accelerator="cpu")
        >>> recipe = kgt.Recipe(kgt.ModelConfig(encoder="shallow", width=8), training=training)
        >>> old = kgt.KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")], name="old")
        >>> teacher = kgt.pretrain(kgt.link([old], []), recipe=recipe)
        >>> new = kgt.KnowledgeGraph.from_names([("Sofia", "twinned", "Athens")], name="new")
        >>> target = kgt.random_split(new)  # so small that nothing is held out
        >>> model, linked, report = kgt.grown(teacher, target)
        >>> report.entities.matched, report.entities.new, report.entities.dropped
        (('Athens',), ('Sofia',), ('Greece',))
    """
    config = FinetuneConfig() if config is None else config
    if checkpoint.config is None:
        raise ValueError(
            "growing needs a checkpoint with a model config (got a model of your own): build the "
            "new model yourself and call move_rows"
        )
    alignment = _alignment(checkpoint, target, alignment)
    if config.keep == "target":
        linked = alone(target.train)
        entity = alignment.entity_map(target.train.num_entities)
        relation = alignment.relation_map(target.train.num_relations)
    else:
        linked = link([target.train, checkpoint.graph], [alignment])
        entity, relation = linked.back_map(checkpoint.graph.name)
    if any(row_parameters(checkpoint.model)) and not bool((entity >= 0).any()):
        raise ValueError(
            f"no entity of {target.train.name!r} matches one of {checkpoint.graph.name!r}; "
            "pass an alignment"
        )
    if config.new_rows == "zero" and bool((entity < 0).any()):
        _check_hears(checkpoint.model)
    rows = joint_features(linked, features, known_to=checkpoint.model, origin=entity)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(
            _model_config(checkpoint.config, config),
            num_entities=linked.graph.num_entities,
            num_relations=linked.graph.num_relations,
            features=rows,
        )
    move_rows(checkpoint.model, model, entity, relation, config.new_rows)
    report = GrowthReport(
        Moved.of(checkpoint.graph.entities, linked.graph.entities, entity),
        Moved.of(checkpoint.graph.relations, linked.graph.relations, relation),
    )
    return model, linked, report


def finetune(
    checkpoint: Checkpoint,
    target: Split,
    alignment: Alignment | None = None,
    *,
    recipe: Recipe | None = None,
    config: FinetuneConfig | None = None,
    features: Features | None = None,
    run_dir: Path | None = None,
) -> Checkpoint:
    """Move a trained model to ``target`` and train it on there.

    Args:
        checkpoint: The model to start from; it is not changed.
        target: Its training facts are learned, its validation facts select the weights.
        alignment: See ``grown``.
        recipe: Loss, batches, training; its model config is not read, the checkpoint's is.
        config: What is kept, frozen, anchored.
        features: See ``grown``.
        run_dir: Where the log and the resume checkpoint go; ``None``: nowhere.

    Returns:
        The fine-tuned model; ``provenance["growth"]`` counts matched, new and dropped names.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> training = kgt.TrainConfig(epochs=1, progress=False, accelerator="cpu")
        >>> recipe = kgt.Recipe(kgt.ModelConfig(encoder="shallow", width=8), training=training)
        >>> old = kgt.KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")], name="old")
        >>> teacher = kgt.pretrain(kgt.link([old], []), recipe=recipe)
        >>> new = kgt.KnowledgeGraph.from_names([("Sofia", "twinned", "Athens")], name="new")
        >>> target = kgt.random_split(new)  # so small that nothing is held out
        >>> kgt.finetune(teacher, target, recipe=recipe).provenance["growth"]["entities"]
        {'matched': 1, 'new': 1, 'dropped': 1}
    """
    recipe = Recipe() if recipe is None else recipe
    config = FinetuneConfig() if config is None else config
    seed = recipe.training.seed
    model, linked, report = grown(
        checkpoint, target, alignment, config=config, features=features, seed=seed
    )
    used = replace(recipe, model=_model_config(checkpoint.config or recipe.model, config))
    objective = _held(task_objective(used, linked), checkpoint, model, report, used, config)
    groups = optimiser_groups(model, dict(config.rate_factors), recipe.training.learning_rate)
    history = fit(
        model,
        objective,
        linked,
        recipe=recipe,
        splits=[target],
        run_dir=run_dir,
        parent=checkpoint,
        method=config,
        parameter_groups=groups,
    )
    notes = {"growth": report.counts(), "finetuning": asdict(config)}
    found = checkpoint_of(model, linked, history, used, parent=checkpoint, notes=notes)
    return replace(found, sources=sources_of(checkpoint, linked))


def _model_config(kept: ModelConfig, config: FinetuneConfig) -> ModelConfig:
    """The checkpoint's, but for what is changed on the way."""
    if config.dropout is None:
        return kept
    if kept.encoder == FOUNDATION:
        raise ValueError(f"a foundation model has no dropout to set (got {config.dropout})")
    return replace(kept, dropout=config.dropout)


def _held(
    task: Objective,
    checkpoint: Checkpoint,
    model: GraphModel,
    report: GrowthReport,
    recipe: Recipe,
    config: FinetuneConfig,
) -> Objective:
    """The objective, and what holds copied weights near their start where that is wished."""
    terms, start = {"task": task}, dict(model.named_parameters())
    origins = report.entities.origin, report.relations.origin
    if config.anchor:
        rows = moved_rows(checkpoint.model, model, *origins)
        terms["anchor"] = Anchor(start, {name: rows[name] for name in rows if name in start})
    if config.elastic:
        found = fact_importance(checkpoint, recipe, sample_size=config.elastic_facts)
        terms["elastic"] = Anchor(start, importance=moved_values(found, model, *origins))
    if len(terms) == 1:
        return task
    return Mixture(terms, {name: getattr(config, name, 1.0) for name in terms})


def _check_hears(model: GraphModel) -> None:
    """Rows of zeros are for encoders that make vectors of what neighbours say."""
    encoder = model.encoder if isinstance(model, KGModel) else None
    is_lookup = isinstance(getattr(encoder, "inputs", None), Lookup)
    if encoder is not None and is_lookup and not encoder.num_layers:
        raise ValueError("new_rows 'zero' needs an encoder with layers (got one without)")


def sources_of(checkpoint: Checkpoint, linked: LinkedKG) -> SourceMaps:
    """The maps into a grown graph: of what was added, and of the sources that were there.

    Args:
        checkpoint: The model before it grew.
        linked: What was added, and the checkpoint's graph, joined.
    """
    found, before = SourceMaps.of(linked), checkpoint.sources
    if before is None or len(found.names) < 2:
        return found
    entity, relation = found.entity_maps[1], found.relation_maps[1]
    kept = [i for i, name in enumerate(before.names) if name != found.names[0]]
    return SourceMaps(
        (found.names[0], *(before.names[i] for i in kept)),
        (found.entity_maps[0], *(_through(before.entity_maps[i], entity) for i in kept)),
        (found.relation_maps[0], *(_through(before.relation_maps[i], relation) for i in kept)),
    )


def _through(first: Tensor, second: Tensor) -> Tensor:
    """Where each goes by one map after the other; -1 stays."""
    return torch.where(first >= 0, second[first], -1)


def _alignment(checkpoint: Checkpoint, target: Split, given: Alignment | None) -> Alignment:
    """From the target's graph (left) to the checkpoint's (right)."""
    graph, old = target.train, checkpoint.graph
    if given is not None:
        return _oriented(checkpoint, graph, given)
    sources = checkpoint.sources
    if checkpoint.saw(graph) and sources is not None and graph.name in sources.names:
        return own_alignment(checkpoint, graph)
    return Alignment.from_maps(
        graph.name,
        old.name,
        old.entities.positions_of(graph.entities),
        old.relations.positions_of(graph.relations),
    )


def _oriented(checkpoint: Checkpoint, graph: KnowledgeGraph, given: Alignment) -> Alignment:
    """A given alignment from the target to the checkpoint's graph, through a source of it."""
    old, sources = checkpoint.graph, checkpoint.sources
    alignment = given if given.left == graph.name else given.reversed()
    names = () if sources is None else sources.names
    if alignment.left != graph.name or alignment.right not in (old.name, *names):
        raise ValueError(
            f"the alignment must be between {graph.name!r} and one of "
            f"{', '.join(map(repr, dict.fromkeys((old.name, *names))))} "
            f"(got {given.left!r} and {given.right!r})"
        )
    if sources is None or alignment.right == old.name:
        alignment.check(graph, old)
        return alignment
    place = names.index(alignment.right)
    maps: list[Tensor] = []
    for pairs, size, joint in (
        (alignment.entities.usable(), graph.num_entities, sources.entity_maps[place]),
        (alignment.relations.usable(), graph.num_relations, sources.relation_maps[place]),
    ):
        limits = torch.tensor([size, len(joint)])
        if bool((pairs.index >= limits).any()):
            raise ValueError(
                f"the alignment needs ids below {size} of {graph.name!r} and below {len(joint)} of "
                f"{alignment.right!r} (got {pairs.index.amax(0).tolist()})"
            )
        to = pairs.best_right(size)
        maps.append(torch.where(to >= 0, joint[to], -1))
    return Alignment.from_maps(graph.name, old.name, *maps)
