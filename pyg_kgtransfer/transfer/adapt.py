"""Domain adaptation: a model moves to a target whose vectors learn to look like the sources'."""

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.linking.alignment import Alignment
from pyg_kgtransfer.linking.linked_kg import LinkedKG
from pyg_kgtransfer.models.kg_model import KGModel, with_vectors
from pyg_kgtransfer.objectives.domain import MMD, DomainAdversary, domain_gap
from pyg_kgtransfer.objectives.objective import Mixture, Objective
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.features import Features
from pyg_kgtransfer.transfer.finetune import FinetuneConfig, grown, sources_of
from pyg_kgtransfer.transfer.grow import NewRows
from pyg_kgtransfer.transfer.recipe import Recipe, checkpoint_of, fit, task_objective

Method = Literal["mmd", "adversary"]


@dataclass(frozen=True)
class AdaptConfig:
    """How two domains are brought together.

    Attributes:
        method: ``"mmd"`` (the discrepancy itself is a loss) or ``"adversary"`` (a classifier whose
            gradient is reversed).
        weight: Of the method's loss beside that of link prediction, at least 0.
        sample_size: Entities of each domain in a step, at most; at least 2.
        new_rows: Where rows of names that the model does not know start.

    Raises:
        ValueError: If the method is unknown or a number out of range.

    Example:
        >>> AdaptConfig(method="adversary", weight=0.5).sample_size
        256
    """

    method: Method = "mmd"
    weight: float = 0.1
    sample_size: int = 256
    new_rows: NewRows = "mean"

    def __post_init__(self) -> None:
        for name, known in (("method", get_args(Method)), ("new_rows", get_args(NewRows))):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} is one of {', '.join(known)} (got {getattr(self, name)!r})"
                )
        if not 0 <= self.weight < math.inf:
            raise ValueError(f"weight must be at least 0, and finite (got {self.weight})")
        if self.sample_size < 2:
            raise ValueError(f"sample_size must be at least 2 (got {self.sample_size})")


def adapt(
    checkpoint: Checkpoint,
    target: Split,
    alignment: Alignment | None = None,
    *,
    recipe: Recipe | None = None,
    config: AdaptConfig | None = None,
    features: Features | None = None,
    run_dir: Path | None = None,
) -> Checkpoint:
    """Train a model on, over its own graph and the target's, until the two look alike to it.

    The domains are the target's entities that no other graph has, and the other graphs' that the
    target lacks; what both have ties them together anyway.

    Args:
        checkpoint: Trained on the sources, perhaps on the target too; it is not changed.
        target: Its training facts are learned, its validation facts select the weights.
        alignment: As ``grown`` takes it; graphs without a common name are two domains, too.
        recipe: Loss, batches, training; its model config is not read, the checkpoint's is.
        config: Method and weight.
        features: As ``grown`` takes them.
        run_dir: Where the log and the resume checkpoint go; ``None``: nowhere.

    Returns:
        The model over all names; ``metrics["domain_gap"]`` holds ``domain_gap`` of the two domains'
        vectors ``before`` the steps and ``after`` them.

    Raises:
        ValueError: If a domain has fewer than 4 entities of its own, or the model has no vectors.

    Source: Ganin et al. 2016 (adversary), Long et al. 2015, arXiv 1502.02791 (MMD): see
    ``objectives/domain.py``.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [(f"{i}", "next", f"{i + 1}") for i in range(30)]
        >>> low, high = (
        ...     kgt.KnowledgeGraph.from_names(part, name=name)
        ...     for name, part in (("low", facts[:16]), ("high", facts[14:]))
        ... )
        >>> training = kgt.TrainConfig(epochs=2, progress=False, accelerator="cpu")
        >>> recipe = kgt.Recipe(kgt.ModelConfig(encoder="shallow", width=8), training=training)
        >>> source = kgt.pretrain(kgt.link([low], []), recipe=recipe)
        >>> moved = kgt.adapt(source, kgt.random_split(high), recipe=recipe)
        >>> sorted(moved.metrics["domain_gap"])
        ['after', 'before']
    """
    recipe = Recipe() if recipe is None else recipe
    config = AdaptConfig() if config is None else config
    with_vectors(checkpoint.model, "domain adaptation")
    seed = recipe.training.seed
    growing = FinetuneConfig(keep="all", new_rows=config.new_rows)
    grown_model, linked, report = grown(
        checkpoint, target, alignment, config=growing, features=features, seed=seed
    )
    model = with_vectors(grown_model, "domain adaptation")
    domains = _domains(checkpoint, linked, target.train.name)
    before = _gap(model, linked, domains, seed)
    used = replace(recipe, model=checkpoint.config or recipe.model)
    objective: Objective = task_objective(used, linked)
    if config.weight:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            apart = _domain_loss(config, domains, model.encoder.width)
        objective = Mixture({"task": objective, "domain": apart}, {"domain": config.weight})
    history = fit(
        model,
        objective,
        linked,
        recipe=recipe,
        splits=[target],
        run_dir=run_dir,
        parent=checkpoint,
        method=config,
    )
    notes = {"growth": report.counts(), "adaptation": asdict(config)}
    found = checkpoint_of(model, linked, history, used, parent=checkpoint, notes=notes)
    gap = {"before": before, "after": _gap(model, linked, domains, seed)}
    sources = sources_of(checkpoint, linked)
    return replace(found, metrics={**found.metrics, "domain_gap": gap}, sources=sources)


def _domain_loss(config: AdaptConfig, domains: list[Tensor], width: int) -> Objective:
    if config.method == "mmd":
        return MMD(domains, sample_size=config.sample_size)
    return DomainAdversary(domains, width, sample_size=config.sample_size)


def _domains(checkpoint: Checkpoint, linked: LinkedKG, target: str) -> list[Tensor]:
    """Rows that the target alone has, and rows that it lacks."""
    to_joint = linked.entity_maps[1]
    in_target, in_others = torch.zeros(2, linked.graph.num_entities, dtype=torch.bool)
    in_target[_present(linked.entity_maps[0])] = True
    sources = checkpoint.sources
    if sources is None or target not in sources.names:
        in_others[_present(to_joint)] = True
    else:
        for name, entity_map in zip(sources.names, sources.entity_maps, strict=True):
            if name != target:
                in_others[_present(to_joint[_present(entity_map)])] = True
    found = {target: in_target & ~in_others, linked.names[1]: in_others & ~in_target}
    for name, mask in found.items():
        if int(mask.sum()) < 4:
            raise ValueError(
                f"domain adaptation needs 4 entities that one of {target!r} and the graphs "
                f"before it has alone (got {int(mask.sum())} of {name!r}): 'finetune' needs none"
            )
    return [mask.nonzero().view(-1) for mask in found.values()]


def _present(rows: Tensor) -> Tensor:
    return rows[rows >= 0]


def _gap(model: KGModel, linked: LinkedKG, domains: list[Tensor], seed: int) -> dict[str, float]:
    """How far apart the domains' vectors are."""
    device = next(model.parameters()).device
    with torch.no_grad():
        vectors = model.eval().encode(linked.graph.tensors(device)).entity.cpu()
    return domain_gap(vectors[domains[0]], vectors[domains[1]], seed=seed)
