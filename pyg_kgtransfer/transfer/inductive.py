"""Entities that training has not met, encoded from what is said of them, without a step."""

import itertools
from dataclasses import replace

from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.models.calibration import RelationCalibration
from pyg_kgtransfer.models.foundation import FoundationModel
from pyg_kgtransfer.models.inputs import Lookup
from pyg_kgtransfer.models.kg_model import GraphModel, KGModel
from pyg_kgtransfer.training.checkpoint import Checkpoint, provenance
from pyg_kgtransfer.transfer.finetune import FinetuneConfig, grown, sources_of


def encode_unseen(
    checkpoint: Checkpoint, facts: KnowledgeGraph, *, features: Tensor | None = None
) -> Checkpoint:
    """A trained model that knows new entities too, by their facts and features; nothing is trained.

    The facts join the graph that the model reads. An encoder with layers hears of a new entity from
    its neighbours: with free vectors its own is zero (train with ``ModelConfig.masking`` so that
    the layers can do with that), with features or texts it has those.

    Args:
        checkpoint: An R-GCN or CompGCN, any model over features or texts, or a foundation model; it
            is not changed.
        facts: Of new entities, known ones, or both; names are compared with the checkpoint's.
        features: [N, F] floats, a row for each entity of ``facts``, where the model reads features
            or texts; known entities keep what they have.

    Returns:
        The model over all names. Old weights are bit-identical.

    Raises:
        ValueError: If a relation is new (the nearest known is offered; a foundation model may), a
            new entity has no way in, or features do not fit.

    Source: Hamilton, Ying and Leskovec 2017, "Inductive Representation Learning on Large Graphs",
    arXiv 1706.02216, for encoders of nodes that training has not met.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [("Athens", "in", "Greece"), ("Rome", "in", "Italy")]
        >>> graph = kgt.KnowledgeGraph.from_names(facts, name="world")
        >>> training = kgt.TrainConfig(epochs=1, progress=False, accelerator="cpu")
        >>> model = kgt.ModelConfig(encoder="rgcn", width=8, masking=0.3)
        >>> checkpoint = kgt.pretrain(
        ...     kgt.link([graph], []), recipe=kgt.Recipe(model, training=training)
        ... )
        >>> new = kgt.KnowledgeGraph.from_names([("Patras", "in", "Greece")], name="new")
        >>> len(kgt.Predictor(kgt.encode_unseen(checkpoint, new)).tails("Patras", "in"))
        5
    """
    model, known = checkpoint.model, checkpoint.graph
    if not facts.num_entities:
        raise ValueError("there is nothing to encode (got no entities)")
    is_new = known.entities.positions_of(facts.entities) < 0
    if not isinstance(model, FoundationModel):
        for name in facts.relations:
            known.relations.id(name)  # that it is known
        if bool(is_new.any()):
            first = facts.entities.name(int(is_new.nonzero()[0]))
            _check_way_in(model, first, has_features=features is not None)
    facts = replace(facts, name=_own_name(checkpoint, f"{facts.name or 'new'} (facts)"))
    nothing = facts.triples[:0]
    grown_model, linked, report = grown(
        checkpoint,
        Split(facts, HeldOut(nothing, "valid"), HeldOut(nothing, "test")),
        config=FinetuneConfig(keep="all", new_rows="zero"),
        features=None if features is None else {facts.name: features},
    )
    notes = provenance([facts], parent=checkpoint) | {"encoded": report.counts()}
    calibration = checkpoint.calibration
    if isinstance(calibration, RelationCalibration):
        calibration = calibration.moved(report.relations.origin)
    return Checkpoint(
        grown_model.eval(),
        replace(linked.graph, name=known.name),
        checkpoint.config,
        checkpoint.metrics,
        notes,
        sources_of(checkpoint, linked),
        calibration,
    )


def _own_name(checkpoint: Checkpoint, name: str) -> str:
    """A name that no source has yet."""
    taken = () if checkpoint.sources is None else checkpoint.sources.names
    numbered = (f"{name} {number}" for number in itertools.count(2))
    return name if name not in taken else next(each for each in numbered if each not in taken)


def _check_way_in(model: GraphModel, name: str, *, has_features: bool) -> None:
    """A new entity must have features, or neighbours that are listened to."""
    encoder = model.encoder if isinstance(model, KGModel) else None
    inputs = getattr(encoder, "inputs", None)
    if isinstance(inputs, Lookup) and encoder is not None and not encoder.num_layers:
        raise ValueError(
            f"a model with a vector for each entity and no layers cannot encode a new one (got "
            f"{name!r}): few_shot finds its vector from a few facts"
        )
    if not isinstance(inputs, Lookup) and not has_features:
        raise ValueError(
            f"a model that reads features or texts needs those of new entities (got none of "
            f"{name!r}): pass features"
        )
