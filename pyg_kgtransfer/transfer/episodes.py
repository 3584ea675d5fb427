"""Episodes: things held back whole, to be learned from k facts each; a curve over k."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pyg_kgtransfer.evaluation.link_prediction import LinkPrediction
from pyg_kgtransfer.evaluation.result import LinkPredictionResult
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.graph.splits import HeldOut, few_shot_split
from pyg_kgtransfer.training.checkpoint import Checkpoint, SourceMaps
from pyg_kgtransfer.transfer.few_shot import FewShotConfig, few_shot, with_names

SHOTS = (0, 1, 3, 5, 10)


@dataclass(frozen=True, eq=False)
class Episode:
    """Relations or entities that training must not meet, and what is to be learned of them.

    Attributes:
        whole: All facts; the ids below are its.
        background: The facts without the new things, over a vocabulary without them: train on it.
        support: [S, 3] int64, as many facts of each new thing.
        place: [S] int64, from 0, the place of each among the support of its thing: k shots are the
            first k, so that more shots include fewer.
        query: [Q, 3] int64, the facts to ask, the same for every k.

    Example:
        >>> facts = [(f"c{i}", "in", f"l{i % 3}") for i in range(20)]
        >>> facts += [(city, "of", land) for city, _, land in facts]
        >>> episode = relation_episode(KnowledgeGraph.from_names(facts), ["of"], shots=5)
        >>> set(episode.shots(1).named_triples()) < set(episode.shots(5).named_triples())
        True
    """

    whole: KnowledgeGraph
    background: KnowledgeGraph
    support: Tensor
    place: Tensor
    query: Tensor

    def shots(self, k: int) -> KnowledgeGraph:
        """The first k support facts of each new thing, over all names of the whole graph.

        Raises:
            ValueError: If there are fewer, or k is below 0.
        """
        most = int(self.place.max()) + 1
        if not 0 <= k <= most:
            raise ValueError(f"this episode has {most} support facts of each new thing (got k={k})")
        return self.whole.with_triples(self.support[self.place < k])

    def ranking(self, names: KnowledgeGraph) -> LinkPrediction:
        """The queries in the ids of a graph that holds all names, filtered by all facts."""
        entity = names.entities.positions_of(self.whole.entities)
        relation = names.relations.positions_of(self.whole.relations)

        def moved(triples: Tensor) -> Tensor:
            head, kind, tail = triples.unbind(1)
            return torch.stack([entity[head], relation[kind], entity[tail]], 1)

        facts = moved(self.whole.triples)
        known = KnownTriples(
            [facts[(facts >= 0).all(1)]],
            num_entities=names.num_entities,
            num_relations=names.num_relations,
        )
        candidates = entity[entity >= 0].sort().values
        return LinkPrediction(HeldOut(moved(self.query), "test"), known, candidates=candidates)


def relation_episode(
    graph: KnowledgeGraph, relations: Sequence[str], *, shots: int = 10, seed: int = 0
) -> Episode:
    """Relations to be learned from few facts, between entities that other relations have.

    ``few_shot_split`` says which facts are asked.

    Args:
        graph: All facts.
        relations: Names of the new ones.
        shots: Support facts of each, at least 1.
        seed: Of the draw.

    Raises:
        ValueError: If a relation is unknown, or has not more facts than ``shots``.

    Example:
        >>> facts = [(f"c{i}", "in", f"l{i % 3}") for i in range(20)]
        >>> facts += [(city, "of", land) for city, _, land in facts]
        >>> episode = relation_episode(KnowledgeGraph.from_names(facts), ["of"], shots=5)
        >>> episode.shots(3).num_triples, len(episode.query), list(episode.background.relations)
        (3, 15, ['in'])
    """
    _check_shots(shots)
    chosen = graph.relations.ids(list(dict.fromkeys(relations)))
    is_new = torch.isin(graph.triples[:, 1], chosen)
    met = torch.zeros(graph.num_entities, dtype=torch.bool)
    met[graph.triples[~is_new][:, [0, 2]]] = True
    kept = ~is_new | met[graph.triples[:, [0, 2]]].all(1)
    split = few_shot_split(graph.with_triples(graph.triples[kept]), relations, shots, seed=seed)
    place = torch.arange(shots).repeat(len(split.relations))
    return Episode(graph, _alone(split.background), split.support, place, split.query.triples)


def entity_episode(
    graph: KnowledgeGraph, number: int, *, shots: int = 10, seed: int = 0
) -> Episode:
    """Random entities to be learned from few facts.

    Facts between two of them are left out; of the others, each has ``shots`` as support, and what
    is left is asked where the other end and the relation occur in the background.

    Args:
        graph: All facts.
        number: Of new entities, at least 1.
        shots: Support facts of each, at least 1.
        seed: Of the draw.

    Raises:
        ValueError: If fewer entities have more than ``shots`` facts, or nothing is left to ask.

    Example:
        >>> facts = [(f"{i}", "near", f"{(i + j) % 40}") for i in range(40) for j in range(1, 5)]
        >>> episode = entity_episode(KnowledgeGraph.from_names(facts), 1, shots=5)
        >>> len(episode.shots(3).triples), len(episode.query)
        (3, 3)
        >>> len(set(episode.whole.entities) - set(episode.background.entities))
        1
    """
    _check_shots(shots)
    if number < 1:
        raise ValueError(f"an episode needs a new entity (got {number})")
    facts = graph.deduplicated().triples
    facts = facts[facts[:, 0] != facts[:, 2]]
    count = torch.bincount(facts[:, [0, 2]].flatten(), minlength=graph.num_entities)
    rich = (count > shots).nonzero().view(-1)
    if len(rich) < number:
        raise ValueError(
            f"{number} new entities need more than {shots} facts each (got {len(rich)} such)"
        )
    generator = torch.Generator().manual_seed(seed)
    chosen = rich[torch.randperm(len(rich), generator=generator)[:number]]
    is_new = torch.zeros(graph.num_entities, dtype=torch.bool)
    is_new[chosen] = True
    ends = is_new[facts[:, [0, 2]]].sum(1)
    background = graph.with_triples(facts[ends == 0])
    met = torch.zeros(graph.num_entities, dtype=torch.bool)
    met[background.triples[:, [0, 2]]] = True
    kinds = torch.isin(facts[:, 1], background.triples[:, 1])
    own = facts[(ends == 1) & kinds & (met | is_new)[facts[:, [0, 2]]].all(1)]
    own = own[torch.randperm(len(own), generator=generator)]
    thing = torch.where(is_new[own[:, 0]], own[:, 0], own[:, 2])
    order = torch.argsort(thing, stable=True)
    own, thing = own[order], thing[order]
    place = torch.arange(len(own)) - torch.searchsorted(thing, thing)
    size = torch.bincount(thing, minlength=graph.num_entities)[thing]
    is_rich = size > shots  # some facts were left out
    if not bool(is_rich.any()):
        raise ValueError(f"no new entity has more than {shots} facts with the others (got none)")
    is_support = place < shots
    return Episode(
        graph,
        _alone(background),
        own[is_rich & is_support],
        place[is_rich & is_support],
        own[is_rich & ~is_support],
    )


def few_shot_curve(
    checkpoint: Checkpoint,
    episode: Episode,
    *,
    shots: Sequence[int] = SHOTS,
    config: FewShotConfig | None = None,
) -> dict[int, LinkPredictionResult]:
    """How well the queries of an episode are answered after k facts, for each k.

    With k = 0 the new things have the rows that they start from.

    Args:
        checkpoint: Trained on the episode's background.
        episode: What is new.
        shots: Each k.
        config: How new rows are found.

    Raises:
        ValueError: If there are fewer support facts than k, or the model knows a new thing.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [(f"c{i}", "in", f"l{i % 3}") for i in range(20)]
        >>> facts += [(city, "of", land) for city, _, land in facts]
        >>> episode = relation_episode(KnowledgeGraph.from_names(facts), ["of"], shots=5)
        >>> training = kgt.TrainConfig(epochs=30, progress=False, accelerator="cpu")
        >>> recipe = kgt.Recipe(kgt.ModelConfig(encoder="shallow", width=8), training=training)
        >>> checkpoint = kgt.pretrain(kgt.link([episode.background], []), recipe=recipe)
        >>> curve = few_shot_curve(checkpoint, episode, shots=(0, 5))
        >>> curve[5].metrics()["mrr"] > curve[0].metrics()["mrr"]
        True
    """
    config = FewShotConfig() if config is None else config
    for part in ("entities", "relations"):
        known, wanted = getattr(checkpoint.graph, part), getattr(episode.background, part)
        extra = set(known) - set(wanted)
        if extra:
            raise ValueError(
                f"the model must know the episode's background alone (got {sorted(extra)[0]!r} too)"
            )
    curve = {}
    for k in shots:
        curve[k] = asked(taught(checkpoint, episode, k, config), episode)
    return curve


def asked(checkpoint: Checkpoint, episode: Episode) -> LinkPredictionResult:
    """Ranks of the queries, under the whole graph's ids, by a model that knows all names."""
    rank = episode.ranking(checkpoint.graph)
    with torch.no_grad():
        vectors = checkpoint.model.eval().encode(checkpoint.graph.tensors())
    return replace(rank(checkpoint.model, vectors), triples=episode.query)


def taught(checkpoint: Checkpoint, episode: Episode, k: int, config: FewShotConfig) -> Checkpoint:
    """The model after k facts of each new thing; with none, new rows are where they start.

    Raises:
        ValueError: If there are fewer support facts.
    """
    support = episode.shots(k)
    if support.num_triples:
        return few_shot(checkpoint, support, config=config)
    model, linked, _ = with_names(checkpoint, support, config)
    return Checkpoint(model, linked.graph, sources=SourceMaps.of(linked))


def _alone(graph: KnowledgeGraph) -> KnowledgeGraph:
    """The graph over the names that its facts have."""
    return KnowledgeGraph.from_names(graph.named_triples(), name=graph.name or "background")


def _check_shots(shots: int) -> None:
    if shots < 1:
        raise ValueError(f"an episode needs a support fact of each new thing (got {shots})")
