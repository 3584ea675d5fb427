"""What every recipe shares: its options, how it selects a model, and the fit itself."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from pyg_kgtransfer.evaluation.link_prediction import LinkPrediction
from pyg_kgtransfer.evaluation.result import Groups
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.linking.linked import link
from pyg_kgtransfer.linking.linked_kg import LinkedKG
from pyg_kgtransfer.models.build import ModelConfig, build_model
from pyg_kgtransfer.models.kg_model import KGModel
from pyg_kgtransfer.objectives.build import ObjectiveConfig, build_objective
from pyg_kgtransfer.objectives.objective import Objective
from pyg_kgtransfer.training.batches import BatchOptions, TripleBatches
from pyg_kgtransfer.training.checkpoint import Checkpoint, SourceMaps, provenance
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.training.history import History
from pyg_kgtransfer.training.trainer import Trainer

Validation = Callable[[KGModel], Mapping[str, float]]


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
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    batches: BatchOptions = field(default_factory=BatchOptions)
    training: TrainConfig = field(default_factory=TrainConfig)
    validation_size: int | None = None


def ranking_of(
    split: Split,
    role: str = "test",
    *,
    linked: LinkedKG | None = None,
    size: int | None = None,
    memory_mb: float = 512,
) -> LinkPrediction:
    """The ranking of a split's held-out facts for a model of its graph, or of a joint graph.

    Args:
        split: The target.
        role: ``"valid"`` or ``"test"``.
        linked: The joint graph the model reads, with ``split.train.name`` among its sources;
            ``None``: the model reads ``split.train``. Candidates are the target's entities alone
            either way, so that ranks compare.
        size: Rank at most so many facts, a fixed seeded sample; ``None``: all.
        memory_mb: Budget for a chunk of scores, in MiB.

    Raises:
        ValueError: If the part is empty, or the joint graph does not hold the target.
    """
    own = LinkPrediction.from_split(split, role, memory_mb=memory_mb)
    if linked is None and size is None:
        return own
    triples = own.triples
    if size is not None and size < len(triples):
        order = torch.randperm(len(triples), generator=torch.Generator().manual_seed(0))
        triples = triples[order[:size].sort().values]
    if linked is None:
        return LinkPrediction(
            HeldOut(triples, own.role or "test"),
            own.known,
            groups=own.groups,
            filter_splits=own.filter_splits,
            memory_mb=memory_mb,
        )
    name = split.train.name
    index = linked.index(name)
    entity_map, relation_map = linked.entity_maps[index], linked.relation_maps[index]
    parts = [getattr(split, part) for part in own.filter_splits]
    known = KnownTriples(
        [linked.to_joint(name, part.triples) for part in parts],
        num_entities=linked.graph.num_entities,
        num_relations=linked.graph.num_relations,
        symmetric=[int(relation_map[relation]) for relation in split.symmetric],
    )
    popularity = torch.zeros(linked.graph.num_entities, dtype=torch.long)
    popularity[entity_map] = split.train.degrees()
    return LinkPrediction(
        HeldOut(linked.to_joint(name, triples), own.role or "test"),
        known,
        candidates=entity_map,
        groups=Groups(
            linked.graph.entities.names, linked.graph.relations.names, popularity=popularity
        ),
        filter_splits=own.filter_splits,
        memory_mb=memory_mb,
    )


def validation_of(
    splits: Sequence[Split], linked: LinkedKG, *, size: int | None = None
) -> Validation | None:
    """A function that ranks the validation facts of ``splits``, for ``Trainer.fit``.

    Args:
        splits: Those whose graph is among the sources of ``linked``; splits without validation
            facts are passed over. Several are averaged, each with the same weight.
        linked: The joint graph that the model reads.
        size: At most so many facts of each, a fixed seeded sample; ``None``: all.

    Returns:
        From the model to ``mrr``, ``hits@1``, ``hits@10`` and, with several splits, ``NAME.mrr``
        for each; or ``None`` if there is nothing to rank.
    """
    rankings = {
        split.train.name: ranking_of(split, "valid", linked=linked, size=size)
        for split in splits
        if len(split.valid)
    }
    if not rankings:
        return None
    graph = linked.graph.tensors()

    def validate(model: KGModel) -> Mapping[str, float]:
        representations = model.encode(graph.to(next(model.parameters()).device))
        found = {name: rank(model, representations).metrics() for name, rank in rankings.items()}
        kept = ("mrr", "hits@1", "hits@10")
        metrics = {key: sum(m[key] for m in found.values()) / len(found) for key in kept}
        if len(found) > 1:
            metrics |= {f"{name}.mrr": values["mrr"] for name, values in found.items()}
        return metrics

    return validate


def fit(
    model: KGModel,
    objective: Objective,
    linked: LinkedKG,
    *,
    recipe: Recipe,
    splits: Sequence[Split] = (),
    run_dir: Path | None = None,
    parameter_groups: Iterable[Mapping[str, Any]] | None = None,
) -> History:
    """Train ``model`` in place on a joint graph; the best weights on ``splits`` are restored."""
    several = len(linked.names) > 1
    batches = TripleBatches(
        linked.graph.triples, recipe.batches, source=linked.source if several else None
    )
    return Trainer(recipe.training, run_dir).fit(
        model,
        objective,
        batches,
        graph=linked.graph.tensors(),
        validate=validation_of(splits, linked, size=recipe.validation_size),
        parameter_groups=parameter_groups,
    )


def fresh_model(recipe: Recipe, linked: LinkedKG) -> KGModel:
    """An untrained model of the joint graph, drawn from the recipe's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        return build_model(
            recipe.model,
            num_entities=linked.graph.num_entities,
            num_relations=linked.graph.num_relations,
        )


def task_objective(recipe: Recipe, linked: LinkedKG) -> Objective:
    """The link prediction objective over the facts of a joint graph."""
    known = KnownTriples(
        [linked.graph.triples],
        num_entities=linked.graph.num_entities,
        num_relations=linked.graph.num_relations,
    )
    return build_objective(recipe.objective, known)


def alone(graph: KnowledgeGraph) -> LinkedKG:
    """One graph as a joint graph, for recipes without a source."""
    return link([graph], [])


def checkpoint_of(
    model: KGModel,
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
    origin |= {"recipe": asdict(recipe), **(notes or {})}
    sources = SourceMaps.of(linked)
    return Checkpoint(model.cpu(), linked.graph, recipe.model, metrics, origin, sources)
