"""What is learned beside the facts, or before them: options, and the mixture that they make."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.graph.neighbours import FanOut
from pyg_kgtransfer.graph.rules import Proposals, mine_rules, propose_facts
from pyg_kgtransfer.objectives.augmentation import ProposedFacts
from pyg_kgtransfer.objectives.build import ObjectiveConfig, build_objective
from pyg_kgtransfer.objectives.objective import Mixture, Objective
from pyg_kgtransfer.objectives.sampled import OnNeighbours
from pyg_kgtransfer.objectives.self_supervision import (
    ContrastiveViews,
    MaskedEdges,
    RelationPrediction,
)

MASK_ASKS = ("both", "entities", "relations")
_MOST_RELATIONS = 1000  # that a hidden fact's is told from; more are sampled


@dataclass(frozen=True)
class AuxiliaryConfig:
    """What is learned beside the loss of link prediction; with all defaults nothing.

    With ``task`` 0 and ``masked`` or ``contrastive`` above 0 a model learns from the graph alone,
    without the questions that it will be asked: pre-training, from which ``finetune`` goes on.

    Attributes:
        task: Weight of the loss of link prediction itself, at least 0.
        proposed: Weight of the same loss on facts that rules propose, at least 0.
        min_support: Of the rules, at least 1: see ``mine_rules``.
        min_confidence: Of the rules under partial completeness, in [0, 1].
        masked: Weight of asking for hidden edges, at least 0; for encoders with layers.
        mask_share: Share of the facts that each step hides, in (0, 1).
        mask_asks: For the ``"entities"`` of a hidden fact (the loss of link prediction), its
            ``"relations"``, or ``"both"``.
        contrastive: Weight of telling entities apart in two views of the graph, at least 0; for
            encoders with layers.
        view_dropout: Share of the facts that each view leaves out, in (0, 1).
        temperature: Of the views' softmax, above 0, in units of the cosine.
        sample_size: Proposed facts, hidden facts and entities in a step, at most; at least 2.

    Raises:
        ValueError: If a number is out of range, or all weights are 0.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> before = kgt.AuxiliaryConfig(task=0.0, masked=1.0, mask_share=0.3)
        >>> recipe = kgt.Recipe(auxiliary=before)
        >>> recipe.auxiliary.reads_edges, kgt.Recipe().auxiliary.reads_edges
        (True, False)
    """

    task: float = 1.0
    proposed: float = 0.0
    min_support: int = 10
    min_confidence: float = 0.5
    masked: float = 0.0
    mask_share: float = 0.2
    mask_asks: str = "both"
    contrastive: float = 0.0
    view_dropout: float = 0.2
    temperature: float = 0.5
    sample_size: int = 256

    def __post_init__(self) -> None:
        weights = {n: getattr(self, n) for n in ("task", "proposed", "masked", "contrastive")}
        for name, weight in weights.items():
            if not 0 <= weight < math.inf:
                raise ValueError(
                    f"the weight of {name} must be at least 0, and finite (got {weight})"
                )
        if not any(weights.values()):
            raise ValueError(f"one of {', '.join(weights)} must weigh more than 0 (got none)")
        for name, least in (("min_support", 1), ("sample_size", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least} (got {getattr(self, name)})")
        for name in ("mask_share", "view_dropout"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must be in (0, 1) (got {getattr(self, name)})")
        if not 0 <= self.min_confidence <= 1:
            raise ValueError(f"min_confidence must be in [0, 1] (got {self.min_confidence})")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0 (got {self.temperature})")
        if self.mask_asks not in MASK_ASKS:
            known = ", ".join(MASK_ASKS)
            raise ValueError(f"mask_asks must be one of {known} (got {self.mask_asks!r})")

    @property
    def reads_edges(self) -> bool:
        """Whether something is learned that needs an encoder with layers."""
        return bool(self.masked or self.contrastive)


def auxiliary_objective(
    config: AuxiliaryConfig,
    objective: ObjectiveConfig,
    graph: KnowledgeGraph,
    *,
    groups: Tensor | None = None,
    fan_out: FanOut | None = None,
    device: torch.device | str = "cpu",
) -> Objective:
    """The loss of link prediction and what is learned beside it, each a term of its own.

    Args:
        config: What, and how much it weighs; with all defaults the loss of link prediction alone.
        objective: The loss of link prediction; hidden and proposed facts have the same.
        graph: Training facts alone: rules are mined on them, edges hidden among them.
        groups: [N] int64, of the entities, where the loss is balanced by them.
        fan_out: The loss of link prediction encodes so many neighbours; ``None``: the whole graph.
        device: Where training is.

    Raises:
        ValueError: If the rules propose nothing, or a share of the facts is none of them or all.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [(f"{i}", "next", f"{i + 1}") for i in range(9)]
        >>> graph = kgt.KnowledgeGraph.from_names(facts)
        >>> config = AuxiliaryConfig(task=0.0, masked=0.5, contrastive=0.1)
        >>> auxiliary_objective(config, kgt.ObjectiveConfig(), graph).weights
        {'task': 0.0, 'masked': 0.5, 'contrastive': 0.1}
    """
    stated = _known(graph).to(device)
    task = build_objective(objective, stated, groups=groups)
    if fan_out is not None:
        task = OnNeighbours(task, graph.tensors(), fan_out)
    terms = {"task": task}
    if config.proposed:
        terms["proposed"] = _proposed(config, objective, graph, groups, device)
    if config.masked:
        asked: dict[str, Objective] = {}
        if config.mask_asks != "relations":
            asked["entities"] = build_objective(objective, stated, groups=groups)
        if config.mask_asks != "entities":
            asked["relations"] = RelationPrediction(
                graph.num_relations, known=stated, num_candidates=_MOST_RELATIONS
            )
        terms["masked"] = MaskedEdges(
            graph.tensors(device),
            Mixture(asked),
            share=config.mask_share,
            sample_size=config.sample_size,
        )
    if config.contrastive:
        terms["contrastive"] = ContrastiveViews(
            graph.tensors(device),
            share=config.view_dropout,
            temperature=config.temperature,
            sample_size=config.sample_size,
        )
    if len(terms) == 1 and config.task == 1:
        return terms["task"]
    return Mixture(terms, {name: getattr(config, name) for name in terms})


def _proposed(
    config: AuxiliaryConfig,
    objective: ObjectiveConfig,
    graph: KnowledgeGraph,
    groups: Tensor | None,
    device: torch.device | str,
) -> Objective:
    """The same loss on proposed facts, which are no negatives of one another."""
    rules = mine_rules(graph, min_support=config.min_support, min_confidence=config.min_confidence)
    proposals = propose_facts(graph, rules)
    if not len(proposals.triples):
        raise ValueError(
            f"the rules of {graph.name!r} must propose a fact (got none from {len(rules):,} rules "
            f"of min_support {config.min_support} and min_confidence {config.min_confidence}): "
            "lower one of them, or let proposed weigh 0"
        )
    both = _known(graph, proposals.triples).to(device)
    moved = Proposals(*(each.to(device) for each in proposals))
    loss = build_objective(objective, both, groups=groups)
    return ProposedFacts(moved, loss, sample_size=config.sample_size)


def _known(graph: KnowledgeGraph, *more: Tensor) -> KnownTriples:
    return KnownTriples(
        [graph.triples, *more],
        num_entities=graph.num_entities,
        num_relations=graph.num_relations,
    )
