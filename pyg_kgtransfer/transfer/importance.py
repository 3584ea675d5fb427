"""Which of a model's numbers matter to the facts that it has learned."""

from dataclasses import replace

import torch
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors
from pyg_kgtransfer.models.kg_model import GraphModel
from pyg_kgtransfer.objectives.objective import Batch, Objective
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.transfer.ranking import alone
from pyg_kgtransfer.transfer.recipe import Recipe, task_objective, training_device


def fact_importance(
    checkpoint: Checkpoint, recipe: Recipe | None = None, *, sample_size: int = 256
) -> dict[str, Tensor]:
    """The mean squared gradient that one fact of a checkpoint's graph gives each trained number.

    With a loss that is a negative log likelihood (1-vs-all) this is the diagonal of the empirical
    Fisher information; gradients are taken fact by fact, in evaluation mode.

    Args:
        checkpoint: What was learned, and the training facts that it was learned from.
        recipe: Its loss is taken, without N3, and its accelerator and seed; the rest is not read.
        sample_size: Facts, at most, drawn from the seed; at least 1.

    Returns:
        Parameter name -> importances, at least 0, of its shape, on the CPU.

    Raises:
        ValueError: If the checkpoint has no model config or no fact, or ``sample_size`` is below 1.

    Source: Kirkpatrick et al. 2017, arXiv 1612.00796, section 2 (F of eq. 3).

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [("Athens", "in", "Greece"), ("Rome", "in", "Italy")]
        >>> names = ["in", "unused"]
        >>> graph = kgt.KnowledgeGraph.from_names(facts, relations=names, name="world")
        >>> training = kgt.TrainConfig(epochs=1, progress=False, accelerator="cpu")
        >>> recipe = kgt.Recipe(kgt.ModelConfig(encoder="shallow", width=8), training=training)
        >>> checkpoint = kgt.pretrain(kgt.link([graph], []), recipe=recipe)
        >>> found = kgt.fact_importance(checkpoint, recipe)["encoder.relation"]
        >>> (found.sum(1) > 0).tolist()  # in and its inverse matter, the others do not
        [True, False, True, False]
    """
    recipe = Recipe() if recipe is None else recipe
    if checkpoint.config is None:
        raise ValueError("importances need a checkpoint with a model config (got one without)")
    if sample_size < 1:
        raise ValueError(f"sample_size must be at least 1 (got {sample_size})")
    facts = checkpoint.graph.triples
    if not len(facts):
        raise ValueError("importances need a fact of the checkpoint's graph (got none)")
    training = TrainConfig(accelerator=recipe.training.accelerator)
    plain = Recipe(checkpoint.config, replace(recipe.objective, n3=0.0), training=training)
    device = training_device(training)
    objective = task_objective(plain, alone(checkpoint.graph)).to(device)
    generator = torch.Generator(device=device).manual_seed(recipe.training.seed)
    drawn = torch.randperm(len(facts), generator=generator, device=device)[:sample_size]
    model = checkpoint.model
    home, was_training = next(model.parameters()).device, model.training
    try:
        graph = checkpoint.graph.tensors(device)
        given = facts.to(device)[drawn], generator
        found = _mean_squares(model.to(device).eval(), objective, graph, *given)
    finally:
        model.to(home).train(was_training)
    return {name: value.cpu() for name, value in found.items()}


@torch.enable_grad()
def _mean_squares(
    model: GraphModel,
    objective: Objective,
    graph: GraphTensors,
    facts: Tensor,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Parameter name -> the mean over facts of the squared gradient."""
    named = dict(model.named_parameters())
    trained = {name: value for name, value in named.items() if value.requires_grad}
    found = {name: torch.zeros_like(value, requires_grad=False) for name, value in named.items()}
    read = model.encode(graph)
    for fact in facts.split(1):
        loss = objective(model, read, Batch(fact, generator))
        slopes = torch.autograd.grad(
            loss, list(trained.values()), retain_graph=True, allow_unused=True
        )
        for name, slope in zip(trained, slopes, strict=True):
            if slope is not None:
                found[name] += slope.to_dense().square() / len(facts)
    return found
