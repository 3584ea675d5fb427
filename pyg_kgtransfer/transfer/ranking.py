"""Ranking a target's held-out facts with a model of its graph, or of one that holds it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyg_kgtransfer.evaluation.link_prediction import LinkPrediction
from pyg_kgtransfer.evaluation.result import Groups, LinkPredictionResult
from pyg_kgtransfer.evaluation.supplied_ranking import Moved, SuppliedRanking
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.linking.alignment import Alignment
from pyg_kgtransfer.linking.linked import link
from pyg_kgtransfer.linking.linked_kg import LinkedKG
from pyg_kgtransfer.models.kg_model import GraphModel
from pyg_kgtransfer.training.checkpoint import Checkpoint, SourceMaps
from pyg_kgtransfer.training.processes import gathered, own_part, together

Validation = Callable[[GraphModel], Mapping[str, float]]


class Place(NamedTuple):
    """Where a graph's entities and relations are in the graph that a model reads.

    Attributes:
        graph: What the model reads.
        entity_map: [N] int64, for each entity of the placed graph the model's row.
        relation_map: [R] int64, for each relation the model's.
    """

    graph: KnowledgeGraph
    entity_map: Tensor
    relation_map: Tensor

    def moved(self, triples: Tensor) -> Tensor:
        """Triples of the placed graph ([T, 3]) in the model's ids."""
        head, relation, tail = triples.unbind(1)
        columns = self.entity_map[head], self.relation_map[relation], self.entity_map[tail]
        return torch.stack(columns, dim=1)


def place_in(graph: KnowledgeGraph, reader: LinkedKG | Checkpoint) -> Place:
    """The place of a graph in a joint graph or in the one that a checkpoint reads.

    Raises:
        ValueError: If the graph is not among the sources, by name, or has changed since.
    """
    sources = SourceMaps.of(reader) if isinstance(reader, LinkedKG) else reader.sources
    names = () if sources is None else sources.names
    if sources is None or graph.name not in names:
        raise ValueError(
            f"{graph.name!r} must be among the graphs that the model was trained on "
            f"(got {', '.join(map(repr, names)) or 'none'})"
        )
    index = names.index(graph.name)
    place = Place(reader.graph, sources.entity_maps[index], sources.relation_maps[index])
    sizes = len(place.entity_map), len(place.relation_map)
    if sizes != (graph.num_entities, graph.num_relations):
        raise ValueError(
            f"{graph.name!r} must be as it was in training: {sizes[0]:,} entities and {sizes[1]:,} "
            f"relations (got {graph.num_entities:,} and {graph.num_relations:,})"
        )
    if isinstance(reader, Checkpoint) and not reader.saw(graph):
        raise ValueError(
            f"{graph.name!r} must be as it was in training, in its training facts and the order of "
            "its names (got another fingerprint)"
        )
    return place


def alone(graph: KnowledgeGraph) -> LinkedKG:
    """One graph as a joint graph, for recipes without a source."""
    return link([graph], [])


def own_alignment(checkpoint: Checkpoint, graph: KnowledgeGraph) -> Alignment:
    """From a graph that a checkpoint was trained on to the graph that the checkpoint reads.

    Raises:
        ValueError: As ``place_in``.
    """
    place = place_in(graph, checkpoint)
    names = graph.name, checkpoint.graph.name
    return Alignment.from_maps(*names, place.entity_map, place.relation_map)


def ranking_of(
    split: Split,
    role: str = "test",
    *,
    reader: LinkedKG | Checkpoint | None = None,
    size: int | None = None,
    memory_mb: float = 512,
) -> LinkPrediction:
    """The ranking of a split's held-out facts, for whatever graph the model reads.

    Args:
        split: The target.
        role: ``"valid"`` or ``"test"``.
        reader: The joint graph, or the checkpoint, with ``split.train.name`` among its sources;
            ``None``: the model reads ``split.train``. Candidates are the target's entities alone
            either way, so that ranks compare.
        size: Rank at most so many facts, a fixed seeded sample; ``None``: all.
        memory_mb: Budget for a chunk of scores, in MiB.

    Raises:
        ValueError: If the part is empty, or the reader does not hold the target.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [(f"{i}", "next", f"{i + 1}") for i in range(30)]
        >>> split = kgt.random_split(kgt.KnowledgeGraph.from_names(facts, name="numbers"))
        >>> config = kgt.ModelConfig(encoder="shallow", width=8)
        >>> model = kgt.build_model(config, num_entities=31, num_relations=1)  # untrained
        >>> result = kgt.ranking_of(split)(model, model.encode(split.train.tensors()))
        >>> result.ranks.shape  # each held-out fact, asked for its head and for its tail
        torch.Size([2, 2])
    """
    own = LinkPrediction.from_split(split, role, memory_mb=memory_mb)
    triples = own.triples[_sample(len(own.triples), size)]
    place = _whole_place(split, reader)
    parts = {"train": split.train.triples, "valid": split.valid.triples, "test": split.test.triples}
    known = KnownTriples(
        [place.moved(parts[part]) for part in own.filter_splits],
        num_entities=place.graph.num_entities,
        num_relations=place.graph.num_relations,
        symmetric=place.relation_map[list(split.symmetric)].tolist(),
    )
    return LinkPrediction(
        HeldOut(place.moved(triples), "valid" if role == "valid" else "test"),
        known,
        candidates=torch.unique(place.entity_map),
        groups=_groups(split, place),
        filter_splits=own.filter_splits,
        memory_mb=memory_mb,
    )


def supplied_ranking_of(
    split: Split,
    role: str = "test",
    *,
    reader: LinkedKG | Checkpoint | None = None,
    size: int | None = None,
    memory_mb: float = 512,
) -> SuppliedRanking:
    """The ranking of held-out facts among the negatives that come with them.

    Args:
        split: The target; its part has negatives.
        role: ``"valid"`` or ``"test"``.
        reader: As in ``ranking_of``.
        size: Rank at most so many facts, a fixed seeded sample; ``None``: all.
        memory_mb: Budget for a chunk of scores and vectors, in MiB.

    Raises:
        ValueError: As in ``ranking_of``, or if there are no negatives.
    """
    held_out = split.valid if role == "valid" else split.test
    if role not in ("valid", "test"):
        raise ValueError(f"the part to rank is 'valid' or 'test' (got {role!r})")
    if held_out.negatives is not None and size is not None and size < len(held_out):
        rows = _sample(len(held_out), size)
        negatives = held_out.negatives.select(rows)
        held_out = HeldOut(held_out.triples[rows], held_out.role, negatives)
    place = _whole_place(split, reader)
    return SuppliedRanking(
        held_out,
        split.train.num_entities,
        moved=Moved(place.entity_map, place.relation_map),
        groups=_groups(split, place),
        memory_mb=memory_mb,
    )


def _sample(count: int, size: int | None) -> Tensor:
    """The rows of a fixed sample, ascending; all where ``size`` is no fewer."""
    if size is None or size >= count:
        return torch.arange(count)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return order[:size].sort().values


def _whole_place(split: Split, reader: LinkedKG | Checkpoint | None) -> Place:
    """The place of a target all of whose entities the model knows."""
    place = place_in(split.train, alone(split.train) if reader is None else reader)
    lacking = int((place.entity_map < 0).sum())
    if lacking:
        raise ValueError(
            f"to rank facts of {split.train.name!r} the model must know all its entities (got a "
            f"model that lacks {lacking:,} of {len(place.entity_map):,})"
        )
    return place


def _groups(split: Split, place: Place) -> Groups:
    """Names and the target's training degrees, in the model's ids."""
    popularity = torch.zeros(place.graph.num_entities, dtype=torch.long)
    popularity[place.entity_map] = split.train.degrees()
    names = place.graph.entities.names, place.graph.relations.names
    return Groups(*names, popularity=popularity)


def _has_negatives(split: Split, role: str) -> bool:
    return (split.valid if role == "valid" else split.test).negatives is not None


def evaluate(
    checkpoint: Checkpoint, split: Split, role: str = "test", *, memory_mb: float = 512
) -> LinkPredictionResult:
    """Rank a split's held-out facts with a trained model, whatever graph it reads.

    Args:
        checkpoint: Trained on the split's graph, alone or among others.
        split: The target.
        role: ``"valid"`` or ``"test"``.
        memory_mb: Budget for a chunk of scores, in MiB.

    Returns:
        Ranks among the target's entities, filtered, in the checkpoint's ids; or, where the facts
        come with negatives (``load_ogb``), among these. The protocol says which.

    Raises:
        ValueError: If the checkpoint was not trained on the split's graph, or the part is empty.
        TypeError: If it is no checkpoint.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [(f"{i}", "next", f"{i + 1}") for i in range(30)]
        >>> split = kgt.random_split(kgt.KnowledgeGraph.from_names(facts, name="numbers"))
        >>> training = kgt.TrainConfig(epochs=1, progress=False, accelerator="cpu")
        >>> recipe = kgt.Recipe(kgt.ModelConfig(encoder="shallow", width=8), training=training)
        >>> checkpoint = kgt.pretrain(kgt.link([split.train], []), recipe=recipe)
        >>> result = kgt.evaluate(checkpoint, split)
        >>> len(result), 0 < result.metrics()["mrr"] <= 1
        (2, True)
    """
    if not isinstance(checkpoint, Checkpoint):
        raise TypeError(
            f"what is ranked is a Checkpoint (got a {type(checkpoint).__name__}); of a partitioned "
            "model that is model.checkpoint(), or rank it where it lies, among given candidates: "
            "SuppliedRanking.from_split(split)(model, model.representations())"
        )
    ranking = supplied_ranking_of if _has_negatives(split, role) else ranking_of
    rank = ranking(split, role, reader=checkpoint, memory_mb=memory_mb)
    device = next(checkpoint.model.parameters()).device
    with torch.no_grad():
        representations = checkpoint.model.eval().encode(checkpoint.graph.tensors(device))
    return rank(checkpoint.model, representations)


def ranked_together(
    rank: LinkPrediction | SuppliedRanking, model: GraphModel, representations: Any
) -> LinkPredictionResult:
    """What ``rank`` finds, where several processes train: each ranks its part of the triples once.

    Among supplied negatives each ranks all.

    Raises:
        ValueError: If a score is not finite.
    """
    if isinstance(rank, SuppliedRanking):
        return rank(model, representations)
    start, stop = own_part(len(rank.triples))

    def own() -> Tensor:
        if start == stop:
            return torch.zeros(3, 0, 2, dtype=torch.long)
        return rank.part(start, stop).counts(model, representations)

    return rank.result(torch.cat(gathered(together(own)), dim=1))


def validation_of(
    splits: Sequence[Split], linked: LinkedKG, *, size: int | None = None
) -> Validation | None:
    """A function that ranks the validation facts of ``splits``, for ``Trainer.fit``.

    They are ranked among the negatives that come with them, where there are some.

    Args:
        splits: Those whose graph is among the sources of ``linked``; splits without validation
            facts are passed over. Several are averaged, each with the same weight.
        linked: The joint graph that the model reads.
        size: At most so many facts of each, a fixed seeded sample; ``None``: all.

    Returns:
        From the model to ``mrr``, ``hits@1``, ``hits@10`` and, with several splits, ``NAME.mrr``
        for each; or ``None`` if there is nothing to rank.
    """
    rankings: dict[str, LinkPrediction | SuppliedRanking] = {}
    for split in splits:
        if len(split.valid):
            ranking = supplied_ranking_of if _has_negatives(split, "valid") else ranking_of
            rankings[split.train.name] = ranking(split, "valid", reader=linked, size=size)
    if not rankings:
        return None
    graph = linked.graph.tensors()

    def validate(model: GraphModel) -> Mapping[str, float]:
        representations = model.encode(graph.to(next(model.parameters()).device))
        found = {
            name: ranked_together(rank, model, representations).metrics()
            for name, rank in rankings.items()
        }
        kept = ("mrr", "hits@1", "hits@10")
        metrics = {key: sum(m[key] for m in found.values()) / len(found) for key in kept}
        if len(found) > 1:
            metrics |= {f"{name}.mrr": values["mrr"] for name, values in found.items()}
        return metrics

    return validate
