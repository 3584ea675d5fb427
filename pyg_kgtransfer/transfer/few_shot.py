"""Few-shot: new relations and new entities from a few facts; all else stays bit for bit."""

import math
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.rules import Proposals
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.kernels.pair_scores import Pairing
from pyg_kgtransfer.linking.linked_kg import LinkedKG
from pyg_kgtransfer.models.inputs import Shallow
from pyg_kgtransfer.models.kg_model import KGModel, with_vectors
from pyg_kgtransfer.objectives.augmentation import ProposedFacts
from pyg_kgtransfer.objectives.build import ObjectiveConfig
from pyg_kgtransfer.objectives.objective import Mixture, Objective
from pyg_kgtransfer.training.batches import BatchOptions, TripleBatches
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.training.history import History
from pyg_kgtransfer.training.selection import snapshot
from pyg_kgtransfer.training.trainer import Trainer
from pyg_kgtransfer.transfer.finetune import FinetuneConfig, grown, sources_of
from pyg_kgtransfer.transfer.grow import GrowthReport, NewRows, moved_rows
from pyg_kgtransfer.transfer.recipe import (
    Recipe,
    checkpoint_of,
    task_objective,
    training_device,
)

_REPLAYED = 512  # old facts in a step
Start = Literal["prototype", "mean", "fresh", "encode"]


@dataclass(frozen=True)
class FewShotConfig:
    """How new rows are found.

    Attributes:
        start: Where a new relation's vector starts: ``"prototype"``, in closed form from its pairs
            of known entities (TransE, DistMult, ComplEx, RotatE under a shallow encoder; else as
            ``"mean"``), the ``"mean"`` of all relations, or ``"fresh"``. New entities start at the
            mean, or fresh, or with ``"encode"`` at zero, so that an encoder with layers makes them
            of what it hears from the support (see ``ModelConfig.masking``); relations take the mean
            then.
        steps: Steps of gradient, on the new rows alone; 0: the start is the answer.
        learning_rate: Learning rate of Adam, above 0.
        objective: What the steps minimise.
        replay: What each old fact weighs beside each support fact, at least 0, for new entities:
            their vectors learn where they are no answer, too. With 1 old questions are answered as
            before; with 0 new entities are found more easily, and push in before old answers.
        seed: Of fresh rows and negatives.
        accelerator: Where the steps run, as in ``TrainConfig``.

    Raises:
        ValueError: If the start is unknown or a number out of range.

    Example:
        >>> FewShotConfig(steps=0).start
        'prototype'
    """

    start: Start = "prototype"
    steps: int = 100
    learning_rate: float = 0.02
    objective: ObjectiveConfig = field(
        default_factory=lambda: ObjectiveConfig("one_vs_all", n3=0.05, num_candidates=4096)
    )
    replay: float = 1.0
    seed: int = 0
    accelerator: str = "auto"

    def __post_init__(self) -> None:
        if self.start not in get_args(Start):
            raise ValueError(f"start is one of {', '.join(get_args(Start))} (got {self.start!r})")
        if self.steps < 0:
            raise ValueError(f"steps must be at least 0 (got {self.steps})")
        if not 0 <= self.replay < math.inf:
            raise ValueError(f"replay must be at least 0, and finite (got {self.replay})")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0 (got {self.learning_rate})")


def few_shot(
    checkpoint: Checkpoint, support: KnowledgeGraph, *, config: FewShotConfig | None = None
) -> Checkpoint:
    """Teach a trained model relations or entities that it does not know, from a few facts.

    Args:
        checkpoint: The model; it is not changed.
        support: The facts, each of a new relation between known entities, or of a known relation
            and one new entity; names are compared with the checkpoint's.
        config: Defaults if ``None``.

    Returns:
        The model over all names, old and new, with the facts in its graph. Old weights are
        bit-identical.

    Raises:
        ValueError: If a fact is of another kind (the nearest known names are offered), there are
            none, a new entity would need features, or the model has no vectors.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [("Athens", "in", "Greece"), ("Rome", "in", "Italy"), ("Rome", "by", "Athens")]
        >>> graph = kgt.KnowledgeGraph.from_names(facts, name="world")
        >>> training = kgt.TrainConfig(epochs=1, progress=False, accelerator="cpu")
        >>> recipe = kgt.Recipe(kgt.ModelConfig(encoder="shallow", width=8), training=training)
        >>> checkpoint = kgt.pretrain(kgt.link([graph], []), recipe=recipe)
        >>> few = kgt.KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")], name="few")
        >>> len(kgt.Predictor(few_shot(checkpoint, few)).tails("Rome", "capital_of"))
        4
    """
    config = FewShotConfig() if config is None else config
    old = with_vectors(checkpoint.model, "few-shot learning")
    _check(checkpoint.graph, support)
    settings = checkpoint.config or Recipe().model
    new_entities = [name for name in support.entities if name not in checkpoint.graph.entities]
    if new_entities and settings.inputs != "lookup":
        raise ValueError(
            f"a new entity of a model whose inputs are {settings.inputs!r} needs features: "
            f"finetune(..., features=...) takes them (got {new_entities[0]!r})"
        )
    if config.start == "encode" and not old.encoder.num_layers:
        raise ValueError("start 'encode' needs an encoder with layers (got one without)")
    checkpoint = replace(checkpoint, config=replace(settings, sparse=False))
    model, linked, report = with_names(checkpoint, support, config)
    if config.start == "prototype":
        _begin_at_prototypes(model, linked, report.entities.origin, report.relations.origin)
    masks = moved_rows(old, model, report.entities.origin, report.relations.origin)
    recipe = Recipe(
        settings,
        config.objective,
        BatchOptions(batch_size=max(1, len(support.triples)), seed=config.seed),
        TrainConfig(
            epochs=max(1, config.steps),
            learning_rate=config.learning_rate,
            seed=config.seed,
            accelerator=config.accelerator,
            progress=False,
        ),
    )
    replay = config.replay if new_entities else 0.0
    history = _fitted(model, linked, masks, recipe, replay) if config.steps else History("mrr")
    notes = {"few_shot": asdict(config), "growth": report.counts()}
    found = checkpoint_of(model, linked, history, recipe, parent=checkpoint, notes=notes)
    return replace(found, sources=sources_of(checkpoint, linked))


def with_names(
    checkpoint: Checkpoint, support: KnowledgeGraph, config: FewShotConfig
) -> tuple[KGModel, LinkedKG, GrowthReport]:
    """The model over old and new names, new rows at their start; as ``grown``."""
    none = HeldOut(support.triples[:0], "valid")
    rows: dict[str, NewRows] = {"fresh": "fresh", "encode": "zero"}
    model, linked, report = grown(
        checkpoint,
        Split(replace(support, name=f"{support.name or 'few'} (support)"), none, none),
        config=FinetuneConfig(keep="all", new_rows=rows.get(config.start, "mean")),
        seed=config.seed,
    )
    return with_vectors(model, "few-shot learning"), linked, report


def _check(known: KnowledgeGraph, support: KnowledgeGraph) -> None:
    """Every fact must say something new of something known."""
    entity = known.entities.positions_of(support.entities) >= 0
    relation = known.relations.positions_of(support.relations) >= 0
    head, kind, tail = support.triples.unbind(1)
    ends = entity[head].int() + entity[tail].int()
    for fact in (((ends == 2) & relation[kind]), (ends < (2 - relation[kind].int()))):
        if bool(fact.any()):
            row = int(fact.nonzero()[0])
            named = support.named_triples()[row]
            raise ValueError(
                f"a support fact has a new relation between known entities, or a known relation "
                f"and one new entity (got {named}{_unknown(known, named)})"
            )
    if not len(head):
        raise ValueError("few-shot learning needs a support fact (got none)")


def _unknown(known: KnowledgeGraph, named: tuple[str, str, str]) -> str:
    vocabularies: tuple[Vocabulary, ...] = (known.entities, known.relations, known.entities)
    told = []
    for name, names in zip(named, vocabularies, strict=True):
        if name not in names:
            near = names.nearest(name)
            told.append(f"{name!r} is new" + (f", nearest known: {near[0]!r}" if near else ""))
    return f": {'; '.join(told)}" if told else ", of which all is known"


@torch.no_grad()
def _begin_at_prototypes(
    model: KGModel, linked: LinkedKG, entity_origin: Tensor, relation_origin: Tensor
) -> None:
    """New relations at what lies between their pairs of known entities, as long as others are."""
    if not isinstance(model.encoder, Shallow):
        return
    vectors, table = model.encode(linked.graph.tensors()).entity, model.encoder.relation
    number, triples = len(relation_origin), linked.graph.triples
    usual = table[:number][relation_origin >= 0].norm(dim=1).mean()
    for new in (relation_origin < 0).nonzero().view(-1).tolist():
        pairs = triples[triples[:, 1] == new]
        pairs = pairs[(entity_origin[pairs[:, [0, 2]]] >= 0).all(1)]
        head, tail = vectors[pairs[:, 0]], vectors[pairs[:, 2]]
        found = [model.decoder.relation_between(head, tail)]
        if model.reciprocal:
            found.append(model.decoder.relation_between(tail, head))
        for vector, row in zip(found, (new, new + number), strict=False):
            if vector is not None and len(pairs):
                is_product = getattr(model.decoder, "pairing", None) == Pairing.DOT
                length = usual / vector.norm().clamp(min=1e-12) if is_product else 1.0
                table[row] = length * vector


def _fitted(
    model: KGModel, linked: LinkedKG, masks: dict[str, Tensor], recipe: Recipe, replay: float
) -> History:
    """Steps on the rows that no old one moved to; all else, statistics too, is put back."""
    before = snapshot(model)
    is_support = linked.source == 0
    batches = TripleBatches(linked.graph.triples[is_support], recipe.batches)
    trained, hooks = {}, []
    for name, parameter in model.named_parameters():
        if name in masks and not bool(masks[name].all()):
            is_new = (~masks[name]).view(-1, *[1] * (parameter.dim() - 1))
            hooks.append(parameter.register_hook(partial(_kept, is_new)))
            trained[name] = parameter
    try:
        history = Trainer(recipe.training).fit(
            model,
            _objective(recipe, linked, replay),
            batches,
            graph=linked.graph.tensors(),
            parameter_groups=[{"params": list(trained.values())}],
        )
    finally:
        for hook in hooks:
            hook.remove()
    after = model.state_dict()
    with torch.no_grad():
        for name, value in before.items():
            if name not in trained:
                after[name].copy_(value)
    return history


def _objective(recipe: Recipe, linked: LinkedKG, replay: float) -> Objective:
    """The loss on the support, and as often as there are more of them that on some old facts."""
    is_old = linked.source != 0
    old = linked.graph.triples[is_old]
    if not replay or not len(old):
        return task_objective(recipe, linked)
    device = training_device(recipe.training)
    drawn = Proposals(old.to(device), torch.ones(len(old), device=device))
    again = ProposedFacts(drawn, task_objective(recipe, linked), sample_size=_REPLAYED)
    weight = replay * len(old) / max(1, int((~is_old).sum()))
    return Mixture({"task": task_objective(recipe, linked), "replay": again}, {"replay": weight})


def _kept(is_new: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of new rows."""
    return gradient * is_new.to(gradient)
