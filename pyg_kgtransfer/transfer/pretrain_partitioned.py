"""Pre-training of a table larger than memory, and scoring with it where it lies."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.models.build import TABLES, build_model
from pyg_kgtransfer.models.kg_model import KGModel, with_vectors
from pyg_kgtransfer.objectives.auxiliary import AuxiliaryConfig
from pyg_kgtransfer.objectives.build import build_objective
from pyg_kgtransfer.training.buckets import EntityBuckets
from pyg_kgtransfer.training.checkpoint import Checkpoint, SourceMaps, provenance
from pyg_kgtransfer.training.partition import Partition
from pyg_kgtransfer.training.partitioned import PartitionedTrainer
from pyg_kgtransfer.transfer.recipe import Recipe


class RowsOnDisk:
    """What scoring needs of a table that is read row by row.

    Args:
        rows: From ids [*] to vectors [*, D].
        relation: [2R, D'] or [R, D'].
    """

    entity = None  # there is no table to read whole
    sparse = True  # candidates are gathered once each

    def __init__(self, rows: Callable[[Tensor], Tensor], relation: Tensor) -> None:
        self._rows, self.relation = rows, relation

    def rows(self, ids: Tensor) -> Tensor:
        """The entity vectors of ``ids``: [*] to [*, D]."""
        return self._rows(ids).to(self.relation)


class PartitionedModel:
    """A trained model whose entity table is on disk. It scores given candidates.

    Attributes:
        history: What training did.
        num_triples: Facts that it met, each as often as it did.
        graph: The training facts.

    Example:
        >>> import tempfile
        >>> import pyg_kgtransfer as kgt
        >>> model = kgt.ModelConfig(encoder="shallow", width=8, sparse=True)
        >>> training = kgt.TrainConfig(epochs=1, optimizer="rowwise_adagrad", progress=False)
        >>> graph, recipe = kgt.planted(24).train, kgt.Recipe(model, training=training)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trained = kgt.pretrain_partitioned(graph, recipe=recipe, run_dir=folder)
        ...     head, relation, tail = graph.triples[:5].unbind(1)
        ...     given = trained.representations(), head, relation
        ...     trained.score_tails(*given, candidates=tail[:, None]).shape
        torch.Size([5, 1])
    """

    def __init__(self, trainer: PartitionedTrainer, graph: KnowledgeGraph, recipe: Recipe) -> None:
        self._trainer, self._recipe = trainer, recipe
        self.graph, self.history = graph, trainer.history
        self.num_triples = trainer.num_triples

    @property
    def model(self) -> KGModel:
        """Decoder and relation vectors; its entity table holds two buckets, not all entities."""
        return with_vectors(self._trainer.learner.module.model, "scoring")

    def representations(self) -> RowsOnDisk:
        """What the scoring methods take; entities are those of the graph."""
        relation: Tensor = self._trainer.learner.module.get_parameter("model.encoder.relation")
        return RowsOnDisk(self._trainer.rows, relation.detach())

    def score_tails(
        self,
        representations: Any,
        head: Tensor,
        relation: Tensor,
        candidates: Tensor | None = None,
    ) -> Tensor:
        """Scores of (head, relation, candidate), as ``KGModel.score_tails``; give candidates.

        Raises:
            ValueError: If no candidates are given: the table is not read whole.
        """
        return self.model.score_tails(representations, head, relation, _given(candidates))

    def score_heads(
        self,
        representations: Any,
        relation: Tensor,
        tail: Tensor,
        candidates: Tensor | None = None,
    ) -> Tensor:
        """Scores of (candidate, relation, tail), as ``KGModel.score_heads``; give candidates.

        Raises:
            ValueError: As ``score_tails``.
        """
        return self.model.score_heads(representations, relation, tail, _given(candidates))

    def checkpoint(self) -> Checkpoint:
        """The model with its table in memory, which must have room for it, as a checkpoint."""
        sizes = self.graph.num_entities, self.graph.num_relations
        config = self._recipe.model
        table = torch.empty(sizes[0], config.width, dtype=TABLES[config.table])
        for ids in torch.arange(sizes[0]).split(1 << 18):
            table[ids] = self._trainer.rows(ids)
        weights = {k: v.cpu() for k, v in self.model.state_dict().items()}
        whole = build_model(config, num_entities=sizes[0], num_relations=sizes[1])
        whole.load_state_dict({**weights, "encoder.inputs.weight": table})
        metrics = {"seconds": self.history.seconds, "steps": self.history.steps}
        origin = provenance([self.graph], seed=self._recipe.training.seed)
        own = SourceMaps((self.graph.name,), *((torch.arange(size),) for size in sizes))
        return Checkpoint(whole.eval(), self.graph, config, metrics, origin, own)


def pretrain_partitioned(
    graph: KnowledgeGraph,
    *,
    recipe: Recipe,
    run_dir: Path | str,
    partition: Partition | None = None,
    max_pairs: int | None = None,
) -> PartitionedModel:
    """Train a shallow model whose entity table need not fit into memory.

    Entities are in buckets on disk, two of which are in memory at a time; see
    ``PartitionedTrainer``. Memory holds 2 / P of the table and of the optimizer's state (a number
    for each entity).

    Args:
        graph: The training facts; memory-mapped ones (``read_mapped``) stay on disk.
        recipe: A shallow encoder with sparse rows, optimizer ``rowwise_adagrad``, and a loss over
            a step's own entities: 1-vs-all (over those of two buckets, or over sampled ones) or
            negative sampling, not filtered, not balanced; nothing beside it, no validation, no
            curves. ``training.save_seconds`` counts between two pairs of buckets.
        run_dir: Where the buckets and the resume checkpoint are; a run that was cut off there goes
            on, one that is finished is read.
        partition: How many buckets.
        max_pairs: Stop after so many pairs of buckets; ``None``: at the end.

    Raises:
        ValueError: If the recipe does not fit, or ``run_dir`` holds another run.
        OSError: If the disk is full; the last resume checkpoint is untouched.

    Source: Lerer et al. 2019, "PyTorch-BigGraph", arXiv 1903.12287.

    Example:
        >>> import tempfile
        >>> import pyg_kgtransfer as kgt
        >>> split = kgt.planted(24)
        >>> recipe = kgt.Recipe(
        ...     kgt.ModelConfig(encoder="shallow", decoder="distmult", width=8, sparse=True),
        ...     kgt.ObjectiveConfig("softplus", num_negatives=8, shared_negatives=True),
        ...     training=kgt.TrainConfig(epochs=2, optimizer="rowwise_adagrad", progress=False),
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = pretrain_partitioned(
        ...         split.train, recipe=recipe, run_dir=folder, partition=kgt.Partition(4)
        ...     )
        ...     len(found.history.rows), found.checkpoint().model.encoder.inputs.weight.shape
        (2, torch.Size([24, 8]))
    """
    partition = Partition() if partition is None else partition
    loss = recipe.objective
    if recipe.model.encoder != "shallow" or not recipe.model.sparse:
        raise ValueError(
            "a partitioned table needs encoder 'shallow' with sparse rows "
            f"(got {recipe.model.encoder!r} and sparse={recipe.model.sparse})"
        )
    if loss.loss == "k_vs_all" or loss.filtered or loss.balance:
        raise ValueError(
            "a step knows the entities of two buckets alone: it goes with one_vs_all and negative "
            f"sampling, without filtered and balance (got {loss.loss!r}, {loss.filtered} and "
            f"{loss.balance})"
        )
    if recipe.auxiliary != AuxiliaryConfig() or recipe.validation_size is not None:
        raise ValueError(
            "a partitioned table is trained on the loss alone, without validation: leave auxiliary "
            "and validation_size of the recipe as they are "
            f"(got {recipe.auxiliary} and {recipe.validation_size})"
        )
    buckets = EntityBuckets.draw(
        graph.num_entities, partition.num_buckets, seed=recipe.batches.seed
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        model = build_model(
            recipe.model, num_entities=buckets.room, num_relations=graph.num_relations
        )
    none = KnownTriples([], num_entities=buckets.room, num_relations=graph.num_relations)
    trainer = PartitionedTrainer(
        with_vectors(model, "a partitioned table"),
        build_objective(loss, none),
        recipe.training,
        partition=partition,
        run_dir=Path(run_dir),
    )
    trainer.fit(graph, recipe.batches, max_pairs=max_pairs)
    return PartitionedModel(trainer, graph, recipe)


def _given(candidates: Tensor | None) -> Tensor:
    if candidates is None:
        raise ValueError("a table on disk is not read whole: give candidates (got None)")
    return candidates
