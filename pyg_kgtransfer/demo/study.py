"""The atlas as a transfer task, and the models that the demo and the benchmark compare on it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from pyg_kgtransfer.evaluation.comparison import Comparison, compare
from pyg_kgtransfer.evaluation.copy_rule import CopyRule
from pyg_kgtransfer.evaluation.result import LinkPredictionResult
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.leakage import copyable
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.linking.alignment import Alignment
from pyg_kgtransfer.linking.linked import link
from pyg_kgtransfer.linking.linked_kg import LinkedKG
from pyg_kgtransfer.models.build import ModelConfig
from pyg_kgtransfer.objectives.build import ObjectiveConfig
from pyg_kgtransfer.sources.atlas import load_atlas
from pyg_kgtransfer.training.batches import BatchOptions
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.transfer.distill import DistillConfig, distill
from pyg_kgtransfer.transfer.finetune import finetune
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import alone, evaluate, ranking_of
from pyg_kgtransfer.transfer.recipe import Recipe

BILINEAR = ("distmult", "complex")
TEACHING = DistillConfig(
    feature=0.5, hidden=0.2, flow=0.2, prediction=2.0, anneal_to=0.0, num_candidates=500
)


@dataclass(frozen=True, eq=False)
class AtlasTask:
    """The target, the joint graph to learn from, and which test facts a source states.

    Attributes:
        target: GeoNames, split.
        linked: GeoNames and its sources, linked.
        copyable: [T] bool, test facts whose entity pair some source links (before strict mode).
        num_links: Aligned entities, per pair of graphs.
        is_strict: No source triple links the entities of a validation or test fact.
    """

    target: Split
    linked: LinkedKG
    copyable: Tensor
    num_links: dict[str, int]
    is_strict: bool


def atlas_task(
    *,
    sources: Sequence[str] = ("cldr", "iso"),
    strict: bool = True,
    shuffle_seed: int | None = None,
) -> AtlasTask:
    """The atlas as a transfer task.

    Args:
        sources: Which of ``"cldr"`` and ``"iso"`` to link.
        strict: Remove every source triple on a validation or test pair, so that nothing can be
            copied.
        shuffle_seed: Permute the links within entity types, as a control; ``None``: the true ones.
    """
    atlas = load_atlas()
    target = atlas.geonames
    graphs: dict[str, KnowledgeGraph] = {"geonames": target.train}
    graphs |= {name: getattr(atlas, name) for name in sources}
    alignments = [
        Alignment.from_names(graphs[left], graphs[right], pairs)
        for (left, right), pairs in atlas.links.items()
        if left in graphs and right in graphs
    ]
    true_links = link(list(graphs.values()), alignments)
    test = true_links.to_joint("geonames", target.test.triples)
    elsewhere = true_links.graph.with_triples(true_links.graph.triples[true_links.source > 0])
    can_copy = copyable(test, elsewhere, torch.arange(true_links.graph.num_entities))
    linked = true_links
    if shuffle_seed is not None:
        linked = link(list(graphs.values()), _shuffled(alignments, target.train, shuffle_seed))
    if strict:
        held_out = torch.cat([target.valid.triples, target.test.triples])
        linked = linked.without_pairs("geonames", held_out)
    counts = {f"{a.left} ~ {a.right}": len(a.entities) for a in alignments}
    return AtlasTask(target, linked, can_copy, counts, strict)


def _shuffled(
    alignments: Sequence[Alignment], target: KnowledgeGraph, seed: int
) -> list[Alignment]:
    """The alignments with the target's entities exchanged for others of their type.

    One exchange for all sources, and links among sources stay: what is destroyed is which entity of
    the target a source speaks of, nothing else.
    """
    generator = torch.Generator().manual_seed(seed)
    exchanged = torch.arange(target.num_entities)
    types = torch.zeros_like(exchanged) if target.entity_type is None else target.entity_type
    for kind in types.unique():
        members = (types == kind).nonzero().view(-1)
        order = torch.randperm(len(members), generator=generator)
        exchanged[members] = members[order]
    shuffled = []
    for alignment in alignments:
        pairs = alignment.entities
        for column, name in enumerate((alignment.left, alignment.right)):
            if name == target.name:
                index = pairs.index.clone()
                index[:, column] = exchanged[index[:, column]]
                pairs = replace(pairs, index=index)
        shuffled.append(replace(alignment, entities=pairs))
    return shuffled


@dataclass(frozen=True)
class AtlasSettings:
    """How the models of the study are made and trained.

    Attributes:
        encoder: ``"rgcn"`` (of 8 bases), ``"compgcn"`` or ``"shallow"``.
        decoder: As in ``ModelConfig``.
        teacher_width: D of the teacher.
        student_width: D of the student and of its twin without sources.
        teacher_epochs: Passes of the teacher over the joint graph.
        student_epochs: Passes of the student over the linked subgraph.
        alone_epochs: Passes of the twin over the target, at most.
        n3: Weight of N3 where several graphs are learned (best validation MRR of 0.05 to 0.2).
        alone_n3: The same where the target is learned alone (likewise).
        seed: Of weights and batches.
        progress: Show the training on stderr.
    """

    encoder: str = "rgcn"
    decoder: str = "complex"
    teacher_width: int = 160
    student_width: int = 100
    teacher_epochs: int = 18
    student_epochs: int = 26
    alone_epochs: int = 60
    n3: float = 0.1
    alone_n3: float = 0.2
    seed: int = 0
    progress: bool = True

    def recipe(self, width: int, epochs: int, n3: float) -> Recipe:
        """The recipe of one model: 1-vs-all with N3 by Adagrad.

        Distances learn from negative samples by Adam (TransE alone: .30 against .10 by 1-vs-all).
        """
        is_bilinear = self.decoder in BILINEAR
        model = ModelConfig(
            encoder=self.encoder,
            decoder=self.decoder,
            width=width,
            operator="mult",
            bases=8 if self.encoder == "rgcn" else None,
            residual=False,
            jump=True,
        )
        return Recipe(
            model,
            ObjectiveConfig(n3=n3, num_candidates=500)
            if is_bilinear
            else ObjectiveConfig("self_adversarial", margin=6.0, num_negatives=64),
            BatchOptions(batch_size=1024, seed=self.seed),
            TrainConfig(
                epochs=epochs,
                optimizer="adagrad" if is_bilinear else "adam",
                learning_rate=0.1 if is_bilinear else 0.01,
                validate_every=2,
                patience=5,
                seed=self.seed,
                save_every=1000,
                progress=self.progress,
                accelerator="cpu",
            ),
        )


@dataclass(frozen=True, eq=False)
class Row:
    """One line of the study's table.

    Attributes:
        name: Short, as in the figures.
        title: For people.
        result: Ranks of the test facts.
        parameters: Trained numbers, 0 for a rule.
        seconds: Of training, validations included.
        checkpoint: The model, ``None`` for a rule.
    """

    name: str
    title: str
    result: LinkPredictionResult
    parameters: int
    seconds: float
    checkpoint: Checkpoint | None = None


def copy_rule_row(task: AtlasTask) -> Row:
    """The baseline that needs no learning, on the same sources."""
    began, train = time.monotonic(), task.target.train
    copies = task.linked.graph.triples[task.linked.source > 0].clone()
    ends = copies[:, [0, 2]]
    copies[:, [0, 2]] = torch.where(ends < train.num_entities, ends, -1)
    rule = CopyRule(
        train.triples, copies, num_entities=train.num_entities, num_relations=train.num_relations
    )
    result = ranking_of(task.target)(rule, None)
    return Row("copy_rule", "copy rule", result, 0, time.monotonic() - began)


def trained_row(name: str, title: str, checkpoint: Checkpoint, task: AtlasTask) -> Row:
    """The line of a trained model."""
    result = evaluate(checkpoint, task.target)
    parameters = checkpoint.model.num_trained_parameters()
    return Row(name, title, result, parameters, checkpoint.metrics["seconds"], checkpoint)


def teach(task: AtlasTask, settings: AtlasSettings, *, run_dir: Path | None = None) -> Checkpoint:
    """Joint pre-training over the linked graphs."""
    recipe = settings.recipe(settings.teacher_width, settings.teacher_epochs, settings.n3)
    return pretrain(task.linked, [task.target], recipe=recipe, run_dir=run_dir)


def learn_alone(
    task: AtlasTask, settings: AtlasSettings, *, run_dir: Path | None = None
) -> Checkpoint:
    """The student's twin, which sees the target alone."""
    recipe = settings.recipe(settings.student_width, settings.alone_epochs, settings.alone_n3)
    # a small graph affords all entities as candidates and more steps: better for it, so fairer
    recipe = replace(
        recipe,
        objective=replace(recipe.objective, num_candidates=None),
        batches=replace(recipe.batches, batch_size=512),
        training=replace(recipe.training, validate_every=3),
    )
    return pretrain(alone(task.target.train), [task.target], recipe=recipe, run_dir=run_dir)


def move(
    teacher: Checkpoint, task: AtlasTask, settings: AtlasSettings, *, run_dir: Path | None = None
) -> Checkpoint:
    """The teacher moved to the target, less every other entity, and trained on there."""
    recipe = settings.recipe(settings.teacher_width, settings.student_epochs, settings.n3)
    rate = recipe.training.learning_rate / 5
    gentle = replace(recipe.training, learning_rate=rate, validate_every=1)
    recipe = replace(recipe, training=gentle)
    return finetune(teacher, task.target, recipe=recipe, run_dir=run_dir)


def retrain(
    teacher: Checkpoint,
    task: AtlasTask,
    settings: AtlasSettings,
    *,
    config: DistillConfig | None = None,
    run_dir: Path | None = None,
) -> Checkpoint:
    """The student, re-trained on the linked subgraph under the teacher."""
    recipe = settings.recipe(settings.student_width, settings.student_epochs, settings.n3)
    config = TEACHING if config is None else config
    return distill(teacher, task.target, recipe=recipe, config=config, run_dir=run_dir)


def study_rows(
    task: AtlasTask, settings: AtlasSettings, say: Callable[[str], None] = lambda stage: None
) -> list[Row]:
    """Copy rule, target only, joint teacher, fine-tuned, student; ``say`` is told each stage."""
    say("The teacher: pre-training on all graphs, linked ...")
    teacher = teach(task, settings)
    say("The student's twin: training on the target only ...")
    twin = learn_alone(task, settings)
    say("The teacher, fine-tuned on the target ...")
    moved = move(teacher, task, settings)
    say("The student: re-training on the linked subgraph, under the teacher ...")
    student = retrain(teacher, task, settings)
    return [
        copy_rule_row(task),
        trained_row("target_only", "target only", twin, task),
        trained_row("teacher", "joint teacher", teacher, task),
        trained_row("finetuned", "fine-tuned", moved, task),
        trained_row("student", "distilled student", student, task),
    ]


def gains_over_target_only(rows: Sequence[Row], task: AtlasTask) -> dict[str, Comparison]:
    """Each transferred model against the model that saw the target only, by row name."""
    baseline = next(row for row in rows if row.name == "target_only")
    return {
        row.name: compare(baseline.result, row.result, copyable=task.copyable)
        for row in rows
        if row.name not in ("copy_rule", "target_only")
    }
