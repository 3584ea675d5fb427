"""Joint pre-training: one teacher over all linked graphs, once."""

from collections.abc import Sequence
from pathlib import Path

from pyg_kgtransfer.graph.entity_groups import GivenGroups
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.linking.linked_kg import LinkedKG
from pyg_kgtransfer.objectives.alignment import AlignmentObjective
from pyg_kgtransfer.objectives.objective import Mixture, Objective
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.features import Features, joint_features
from pyg_kgtransfer.transfer.recipe import (
    Recipe,
    checkpoint_of,
    fit,
    fresh_model,
    task_objective,
)


def pretrain(
    linked: LinkedKG,
    splits: Sequence[Split] = (),
    *,
    recipe: Recipe | None = None,
    features: Features | None = None,
    groups: GivenGroups | None = None,
    alignment_weight: float = 1.0,
    run_dir: Path | None = None,
) -> Checkpoint:
    """Train a model over several linked graphs (or over one).

    In sharing mode aligned entities have one vector. Where linking kept them apart, a loss pulls
    their vectors together.

    Args:
        linked: The joint graph; it holds training triples alone.
        splits: Held-out facts of any of its sources: the mean validation MRR over them selects the
            weights. Without any the last weights are kept.
        recipe: Model, loss, batches, training.
        features: By graph name, [N_s, F] rows for its entities (text vectors, say), for a model
            whose ``inputs`` are "features" or "mixture"; linked entities have the mean.
        groups: From entities of the joint graph, by name, to the names of their groups, for a loss
            with ``balance_by="group"``; those left out are a group of their own. ``None``: the
            entity types are the groups.
        alignment_weight: Of the loss between aligned entities, at least 0 (mapping, swapping).
        run_dir: Where the log and the resume checkpoint go; ``None``: nowhere.

    Returns:
        The teacher, with the joint graph it reads and the maps from each source into it.

    Raises:
        ValueError: If an entity of ``groups`` is unknown (the nearest names are offered), features
            do not fit, or the loss needs groups and there are none.

    Source: Sun et al. 2023, arXiv 2306.02679 (JPLR); sharing, mapping and swapping as in Sun et
    al. 2020, arXiv 2003.07743, section 3.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> left = kgt.KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")], name="left")
        >>> right = kgt.KnowledgeGraph.from_names([("GR", "borders", "BG")], name="right")
        >>> same = kgt.Alignment.from_names(left, right, [("Greece", "GR")])
        >>> training = kgt.TrainConfig(epochs=1, progress=False, accelerator="cpu")
        >>> recipe = kgt.Recipe(kgt.ModelConfig(width=8), training=training)
        >>> teacher = kgt.pretrain(kgt.link([left, right], [same]), recipe=recipe)
        >>> teacher.sources.names, list(teacher.graph.entities)
        (('left', 'right'), ['Athens', 'Greece', 'BG'])
    """
    recipe = Recipe() if recipe is None else recipe
    model = fresh_model(recipe, linked, joint_features(linked, features))
    objective = joint_objective(recipe, linked, groups=groups, alignment_weight=alignment_weight)
    history = fit(model, objective, linked, recipe=recipe, splits=splits, run_dir=run_dir)
    return checkpoint_of(model, linked, history, recipe)


def joint_objective(
    recipe: Recipe,
    linked: LinkedKG,
    *,
    groups: GivenGroups | None = None,
    alignment_weight: float = 1.0,
) -> Objective:
    """What ``pretrain`` minimises: the recipe's loss, and alignment where linking kept pairs apart.

    Args:
        recipe: What is learned.
        linked: The joint graph.
        groups: Of its entities, to balance by.
        alignment_weight: Of the loss between aligned entities, at least 0.

    Raises:
        ValueError: As ``pretrain``.
    """
    objective: Objective = task_objective(recipe, linked, groups=groups)
    if len(linked.pairs.index) and alignment_weight > 0:
        objective = Mixture(
            {"task": objective, "alignment": AlignmentObjective(linked.pairs.index)},
            {"alignment": alignment_weight},
        )
    return objective
