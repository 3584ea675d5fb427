"""KG-FIT: a model is trained on facts under constraints from a hierarchy made of text."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyg_kgtransfer.graph.hierarchy import Hierarchy
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.models.build import DECODERS, ModelConfig
from pyg_kgtransfer.models.inputs import TextMixture
from pyg_kgtransfer.models.kg_model import GraphModel, with_vectors
from pyg_kgtransfer.objectives.hierarchy import HierarchyObjective, HierarchyOptions
from pyg_kgtransfer.objectives.objective import Mixture
from pyg_kgtransfer.sources.text import rescaled
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.ranking import alone
from pyg_kgtransfer.transfer.recipe import (
    Recipe,
    checkpoint_of,
    fit,
    fresh_model,
    task_objective,
)


@dataclass(frozen=True)
class KGFitConfig:
    """How facts and text share the training.

    L = link_weight L_link + L_hierarchy, see ``HierarchyOptions`` for the weights inside.

    Attributes:
        link_weight: Weight of the link prediction loss (zeta_3), above 0; the paper tunes it per
            run between 2 and 12.
        constraints: Weights of cohesion, separation, hierarchical distance and anchor.
        match_scale: Bring text vectors to the size from which the decoder's vectors start, so that
            neither part of the mixture drowns the other; all constraints are cosines and do not
            change. Without, they enter as given.
        adapter: Hidden units of a trained map on the text vectors, see ``TextMixture``; 0: none, as
            in the paper.
        text_start: How near to their text vectors the free vectors begin, in [0, 1]: 0: at random,
            as in the paper; 1: there. With a recipe whose ``share`` is 1 they begin at their texts,
            and nothing is frozen, by which TransE gained most on sparse graphs.
        adapter_rate: Learning rate of that map, as a multiple of the model's; above 0.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> kgt.KGFitConfig(constraints=kgt.HierarchyOptions(anchor=0.0)).link_weight
        2.0
    """

    link_weight: float = 2.0
    constraints: HierarchyOptions = field(default_factory=HierarchyOptions)
    match_scale: bool = True
    adapter: int = 0
    text_start: float = 0.0
    adapter_rate: float = 0.2

    def __post_init__(self) -> None:
        for name in ("link_weight", "adapter_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0 (got {getattr(self, name)})")
        if not 0 <= self.text_start <= 1:
            raise ValueError(f"text_start must be in [0, 1] (got {self.text_start})")
        if self.adapter < 0:
            raise ValueError(f"adapter must be at least 0 (got {self.adapter})")


def kg_fit(
    target: Split,
    text: Tensor,
    hierarchy: Hierarchy,
    *,
    recipe: Recipe | None = None,
    config: KGFitConfig | None = None,
    run_dir: Path | None = None,
) -> Checkpoint:
    """Train a model whose entities start from text and stay near their clusters.

    Args:
        target: Trains on its facts; its validation facts select the weights.
        text: [N, D] text vectors of its entities, D the recipe's width; an entity whose vector is
            zero starts from a free vector alone and has no anchor.
        hierarchy: Of the same entities, by name; others in it do not matter.
        recipe: Any encoder and decoder; ``share`` (rho) is that of the free vectors in the mixture
            that enters. Inputs that are not a mixture become one.
        config: Weights; defaults if ``None``.
        run_dir: Where the log and the resume checkpoint go; ``None``: nowhere.

    Raises:
        ValueError: If there is not a text vector of the recipe's width for each entity, or the
            hierarchy knows none of them.

    Source: Jiang et al. 2024, arXiv 2405.16412 (KG-FIT).

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [("Athens", "in", "Greece"), ("Rome", "in", "Italy"), ("Bari", "in", "Italy")]
        >>> split = kgt.random_split(kgt.KnowledgeGraph.from_names(facts, name="world"), 0.0, 0.0)
        >>> names = {name: name for name in split.train.entities}
        >>> text = kgt.text_vectors(split.train.entities, names, {}, kgt.TfidfText(4), width=8)
        >>> tree = kgt.seed_hierarchy(text, split.train.entities).hierarchy
        >>> training = kgt.TrainConfig(epochs=1, progress=False, accelerator="cpu")
        >>> recipe = kgt.Recipe(kgt.ModelConfig(encoder="shallow", width=8), training=training)
        >>> kgt.kg_fit(split, text, tree, recipe=recipe).model.encoder.inputs.share
        0.6
    """
    recipe = Recipe() if recipe is None else recipe
    config = KGFitConfig() if config is None else config
    mixed = replace(recipe.model, inputs="mixture", adapter=config.adapter)
    recipe = replace(recipe, model=mixed)
    entities, width = target.train.entities, recipe.model.width
    if text.shape != (len(entities), width):
        raise ValueError(
            f"each of {len(entities)} entities needs a text vector of the model's width {width} "
            f"(got {list(text.shape)})"
        )
    if config.match_scale:
        text = rescaled(text, start_size(recipe.model))
    tree = hierarchy.of(entities)
    if not bool((tree.cluster_of >= 0).any()):
        raise ValueError(
            f"the hierarchy must know entities of {target.train.name!r} (got none of "
            f"{len(entities)}; it knows {', '.join(map(repr, hierarchy.entities.names[:3]))} ...)"
        )
    linked = alone(target.train)
    model = with_vectors(fresh_model(recipe, linked, text), "KG-FIT")
    if isinstance(model.encoder.inputs, TextMixture):
        model.encoder.inputs.begin_at_text(config.text_start)
    objective = Mixture(
        {
            "link": task_objective(recipe, linked),
            "hierarchy": HierarchyObjective(tree, text, config.constraints),
        },
        {"link": config.link_weight},
    )
    history = fit(
        model,
        objective,
        linked,
        recipe=recipe,
        splits=[target],
        run_dir=run_dir,
        parameter_groups=_groups(model, recipe, config),
    )
    return checkpoint_of(model, linked, history, recipe, notes={"kg_fit": asdict(config)})


def _groups(model: GraphModel, recipe: Recipe, config: KGFitConfig) -> list[dict[str, Any]] | None:
    """The adapter, which is a network, learns at a rate of its own."""
    named = list(model.named_parameters())
    adapter = [p for name, p in named if ".adapter." in f".{name}"]
    if not adapter:
        return None
    rest = [p for name, p in named if ".adapter." not in f".{name}"]
    rate = config.adapter_rate * recipe.training.learning_rate
    return [{"params": rest}, {"params": adapter, "lr": rate}]


def start_size(config: ModelConfig) -> float:
    """The root mean square of the entity vectors from which a decoder starts."""
    with torch.random.fork_rng(devices=[]):
        table = torch.empty(256, config.width)
        DECODERS[config.decoder](config.width).initialise(table, None)
    return float(table.square().mean().sqrt())
