"""Local re-training: a student of one target learns on the linked subgraph, under a teacher."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_kgtransfer.functional import losses
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.linking.linked import linked_subgraph
from pyg_kgtransfer.linking.linked_kg import LinkedKG
from pyg_kgtransfer.models.kg_model import GraphModel, with_vectors
from pyg_kgtransfer.objectives.distillation import (
    FeatureDistillation,
    FlowDistillation,
    HiddenDistillation,
    PredictionDistillation,
    Teacher,
)
from pyg_kgtransfer.objectives.objective import Mixture, Objective
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.features import Features, joint_features
from pyg_kgtransfer.transfer.ranking import own_alignment
from pyg_kgtransfer.transfer.recipe import (
    Recipe,
    checkpoint_of,
    fit,
    fresh_model,
    task_objective,
    training_device,
)

_ROW_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": losses.cosine_loss,
    "mse": F.mse_loss,
    "contrastive": partial(losses.contrastive_loss, temperature=0.1),
}


@dataclass(frozen=True)
class DistillConfig:
    """How a student is taught. A weight of 0 leaves the term out.

    L = L_task + feature L_feature + hidden L_hidden + flow L_flow + prediction L_prediction, the
    middle two being the network level.

    Attributes:
        feature: Weight of the distance between entity vectors.
        hidden: Weight of the distance between hidden states after each message-passing layer.
        flow: Weight of the divergence between neighbour distributions.
        prediction: Weight of the divergence between answers.
        anneal_to: What the four weights are multiplied with at the end of training, reached
            linearly, in [0, 1]; 1 keeps them.
        row_loss: Distance of feature and hidden: ``"cosine"``, ``"mse"`` or ``"contrastive"``.
        temperature: tau of the prediction level, in units of the score.
        sample_size: Entities (nodes) per step of feature, hidden and flow.
        num_candidates: Of the prediction level; ``None``: all linked entities.

    Raises:
        ValueError: If a number is out of range or the distance is unknown.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> config = kgt.DistillConfig(hidden=0.0, flow=0.0, anneal_to=0.1)  # no network level
        >>> config.feature, config.hidden, config.prediction, config.row_loss
        (1.0, 0.0, 1.0, 'cosine')
    """

    feature: float = 1.0
    hidden: float = 1.0
    flow: float = 1.0
    prediction: float = 1.0
    anneal_to: float = 1.0
    row_loss: str = "cosine"
    temperature: float = 1.0
    sample_size: int = 1024
    num_candidates: int | None = None

    def __post_init__(self) -> None:
        for name in ("feature", "hidden", "flow", "prediction"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"the weight of {name} must be at least 0 (got {getattr(self, name)})"
                )
        for name in ("sample_size", "num_candidates"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise ValueError(f"{name} must be at least 1 (got {number})")
        if not 0 <= self.anneal_to <= 1:
            raise ValueError(f"anneal_to must be in [0, 1] (got {self.anneal_to})")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0 (got {self.temperature})")
        if self.row_loss not in _ROW_LOSSES:
            known = ", ".join(_ROW_LOSSES)
            raise ValueError(f"row_loss must be one of {known} (got {self.row_loss!r})")


def distill(
    teacher: Checkpoint,
    target: Split,
    linked: LinkedKG | None = None,
    *,
    recipe: Recipe | None = None,
    config: DistillConfig | None = None,
    features: Features | None = None,
    run_dir: Path | None = None,
) -> Checkpoint:
    """Train a student for ``target`` on the linked subgraph. The teacher is encoded once.

    Args:
        teacher: A pre-trained checkpoint; it is not changed. One teacher serves many targets.
        target: What the student is for; its validation facts select the weights.
        linked: The target with the part of the teacher's graph around it, as
            ``linked_subgraph(target.train, teacher.graph, alignment)`` gives it; ``None``: one hop,
            through the teacher's own maps, which needs the target among its sources.
        recipe: The student's model (often smaller than the teacher's), loss, batches, training.
        config: Weights of the levels. The network level needs layers in both models; it is left out
            where the student or the teacher is shallow.
        features: As in ``pretrain``, by the names in ``linked``; entities without have the
            teacher's.
        run_dir: Where the log and the resume checkpoint go; ``None``: nowhere.

    Returns:
        The student, with the linked subgraph that it reads.

    Raises:
        ValueError: If the teacher does not know the target and ``linked`` is not given, or
            ``linked`` was made from another graph than the teacher's.

    Source: Sun et al. 2023, arXiv 2306.02679 (JPLR), reconstructed.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> training = kgt.TrainConfig(epochs=1, progress=False, accelerator="cpu")
        >>> recipe = kgt.Recipe(kgt.ModelConfig(width=8), training=training)
        >>> left = kgt.KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")], name="left")
        >>> right = kgt.KnowledgeGraph.from_names([("GR", "borders", "BG")], name="right")
        >>> same = kgt.Alignment.from_names(left, right, [("Greece", "GR")])
        >>> target = kgt.random_split(left)
        >>> teacher = kgt.pretrain(kgt.link([target.train, right], [same]), recipe=recipe)
        >>> student = kgt.distill(teacher, target, recipe=recipe)
        >>> student.graph.named_triples()
        [('Athens', 'capital_of', 'Greece'), ('Greece', 'borders', 'BG')]
    """
    recipe = Recipe() if recipe is None else recipe
    config = DistillConfig() if config is None else config
    with_vectors(teacher.model, "a teacher")
    if linked is None:
        linked = linked_subgraph(target.train, teacher.graph, own_alignment(teacher, target.train))
    entity_map, relation_map = _maps_to_teacher(teacher, linked)
    source = None if recipe.model.inputs == "lookup" else teacher.model
    rows = joint_features(linked, features, known_to=source, origin=entity_map)
    student = fresh_model(recipe, linked, rows)
    device = training_device(recipe.training)
    home = next(teacher.model.parameters()).device
    try:
        graph = teacher.graph.tensors(device)
        knows = Teacher(teacher.model.to(device), graph, entity_map, relation_map)
        objective = distillation_objective(knows, student, linked, recipe=recipe, config=config)
        history = fit(
            student,
            objective,
            linked,
            recipe=recipe,
            splits=[target],
            run_dir=run_dir,
            parent=teacher,
        )
    finally:
        teacher.model.to(home)
    notes = {"distillation": asdict(config), "linked_entities": len(knows.linked)}
    return checkpoint_of(student, linked, history, recipe, parent=teacher, notes=notes)


def distillation_objective(
    teacher: Teacher,
    student: GraphModel,
    linked: LinkedKG,
    *,
    recipe: Recipe,
    config: DistillConfig,
) -> Objective:
    """The task and the levels of ``config`` that weigh more than 0, as a ``Mixture``."""
    student = with_vectors(student, "a student")
    width, num_layers = student.encoder.width, student.encoder.num_layers
    row_loss = _ROW_LOSSES[config.row_loss]
    has_layers = bool(num_layers and teacher.representations.hidden)
    sampled = {"sample_size": config.sample_size}
    terms: dict[str, Objective] = {"task": task_objective(recipe, linked)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)  # of the projections
        if config.feature:
            terms["feature"] = FeatureDistillation(teacher, width, loss=row_loss, **sampled)
        if config.hidden and has_layers:
            widths = [width] * num_layers
            terms["hidden"] = HiddenDistillation(teacher, widths, loss=row_loss, **sampled)
        if config.flow and has_layers:
            graph = linked.graph.tensors(teacher.entity_map.device)
            terms["flow"] = FlowDistillation(teacher, graph, num_layers, **sampled)
        if config.prediction:
            terms["prediction"] = PredictionDistillation(
                teacher, temperature=config.temperature, num_candidates=config.num_candidates
            )
    weights = {name: getattr(config, name, 1.0) for name in terms}
    final = {name: w * (config.anneal_to if name != "task" else 1.0) for name, w in weights.items()}
    return Mixture(terms, weights, final_weights=final)


def _maps_to_teacher(teacher: Checkpoint, linked: LinkedKG) -> tuple[Tensor, Tensor]:
    """For each joint id of ``linked`` the teacher's id, or -1: entities [N], relations [R]."""
    name = teacher.graph.name
    sizes = (teacher.graph.num_entities, teacher.graph.num_relations)
    if name in linked.names:
        place = linked.index(name)
        if (len(linked.entity_maps[place]), len(linked.relation_maps[place])) == sizes:
            return linked.back_map(name)
    raise ValueError(
        f"the linked graph must have the teacher's graph {name!r} ({sizes[0]:,} entities, "
        f"{sizes[1]:,} relations) as a source (got {', '.join(linked.names)})"
    )
