"""A model of a knowledge graph: encode once, score many."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding  # its gradient is far faster than indexing's

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors
from pyg_kgtransfer.models.decoders import Decoder
from pyg_kgtransfer.models.encoder import Encoder, Representations


class GraphModel(nn.Module, ABC):
    """What reads a graph once and scores its facts: it can be trained, kept, ranked and asked.

    All entity arguments are rows of the graph that was read; relation ids are real ones, in [0, R).

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> issubclass(kgt.KGModel, GraphModel), issubclass(kgt.FoundationModel, GraphModel)
        (True, True)
    """

    @abstractmethod
    def encode(self, graph: GraphTensors) -> Any:
        """What the scoring methods need of ``graph``; its ``entity`` has a row for each of N."""

    @abstractmethod
    def score_tails(
        self,
        representations: Any,
        head: Tensor,
        relation: Tensor,
        candidates: Tensor | None = None,
    ) -> Tensor:
        """Scores of (head, relation, candidate).

        Args:
            representations: From ``encode``.
            head: [B] rows.
            relation: [B] ids.
            candidates: ``None`` for all N rows, [K] rows shared by all queries, or [B, K] rows.

        Returns:
            [B, N] or [B, K]; higher is better.
        """

    @abstractmethod
    def score_heads(
        self,
        representations: Any,
        relation: Tensor,
        tail: Tensor,
        candidates: Tensor | None = None,
    ) -> Tensor:
        """Scores of (candidate, relation, tail); arguments and result as in ``score_tails``."""

    def score(self, representations: Any, triples: Tensor) -> Tensor:
        """Plausibility of ``triples`` ([B, 3]) as tail queries: [B], higher is better."""
        head, relation, tail = triples.unbind(1)
        return self.score_tails(representations, head, relation, tail.unsqueeze(1)).squeeze(1)

    def num_trained_parameters(self) -> int:
        """How many numbers training may change."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


def with_vectors(model: GraphModel, what: str) -> "KGModel":
    """The same model, which must have vectors of entities and relations.

    Args:
        model: Any.
        what: Needs them, for the message.

    Raises:
        ValueError: If it is a foundation model.
    """
    if not isinstance(model, KGModel):
        raise ValueError(
            f"{what} needs a model with a vector for each entity and relation "
            f"(got a {type(model).__name__})"
        )
    return model


def with_layers(model: GraphModel, what: str) -> "KGModel":
    """The same model, whose vectors must depend on the edges of the graph that it reads.

    Args:
        model: Any.
        what: Needs them, for the message.

    Raises:
        ValueError: If it is a foundation model, or its encoder has no message-passing layer.
    """
    model = with_vectors(model, what)
    if not model.encoder.num_layers:
        raise ValueError(
            f"{what} needs an encoder with message-passing layers "
            f"(got a {type(model.encoder).__name__}, which reads no edge)"
        )
    return model


class KGModel(GraphModel):
    """An encoder feeding a decoder.

    Args:
        encoder: Gives entity and relation vectors for a graph.
        decoder: Scores them.
        reciprocal: Answer (?, r, t) as (t, r + R, ?) with the inverse relation's own vector,
            instead of with ``decoder.head_query`` (Lacroix et al. 2018, arXiv 1806.07297).

    Raises:
        ValueError: If the decoder cannot use the encoder's width, or needs reciprocal relations.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [("Athens", "capital_of", "Greece"), ("Rome", "capital_of", "Italy")]
        >>> graph = kgt.KnowledgeGraph.from_names(facts)
        >>> model = kgt.KGModel(kgt.Shallow(kgt.Lookup(4, 8), 1), kgt.DistMult())
        >>> vectors = model.encode(graph.tensors())
        >>> head, relation, _ = graph.triples.unbind(1)
        >>> model.score(vectors, graph.triples).shape
        torch.Size([2])
        >>> model.score_tails(vectors, head, relation).shape  # each entity as tail
        torch.Size([2, 4])
    """

    def __init__(self, encoder: Encoder, decoder: Decoder, *, reciprocal: bool = False) -> None:
        super().__init__()
        decoder.check_width(encoder.width)
        if decoder.needs_reciprocal and not reciprocal:
            raise ValueError(
                f"{type(decoder).__name__} has no query for heads; set reciprocal=True (got False)"
            )
        self.encoder = encoder
        self.decoder = decoder
        self.reciprocal = reciprocal

    def encode(self, graph: GraphTensors) -> Representations:
        """Vectors for every row of ``graph``; pass them to the scoring methods.

        Raises:
            ValueError: If the encoder gives too few relation vectors for the graph's relations,
                or, in a reciprocal model, none for their inverses.
        """
        representations: Representations = self.encoder(graph)
        wanted = 2 * graph.num_relations if self.reciprocal else graph.num_relations
        got = representations.relation.shape[0]
        if got < wanted or (self.reciprocal and got != wanted):
            raise ValueError(
                f"a {'reciprocal ' if self.reciprocal else ''}model of {graph.num_relations} "
                f"relations needs {wanted} relation vectors from its encoder (got {got})"
            )
        return representations

    def score_tails(
        self,
        representations: Representations,
        head: Tensor,
        relation: Tensor,
        candidates: Tensor | None = None,
    ) -> Tensor:
        relations = embedding(relation, representations.relation)
        query = self.decoder.tail_query(representations.rows(head), relations)
        return self._compare(query, representations, candidates)

    def score_heads(
        self,
        representations: Representations,
        relation: Tensor,
        tail: Tensor,
        candidates: Tensor | None = None,
    ) -> Tensor:
        if self.reciprocal:
            inverse = relation + representations.relation.shape[0] // 2
            return self.score_tails(representations, tail, inverse, candidates)
        relations = embedding(relation, representations.relation)
        query = self.decoder.head_query(relations, representations.rows(tail))
        return self._compare(query, representations, candidates)

    def _compare(
        self, query: Tensor, representations: Representations, candidates: Tensor | None
    ) -> Tensor:
        if candidates is None:
            return self.decoder.compare(query, representations.entity.to(query.dtype))
        if candidates.dim() == 1:
            return self.decoder.compare(query, representations.rows(candidates))
        if representations.sparse or representations.entity.dtype != query.dtype:
            ids, place = torch.unique(candidates, return_inverse=True)
            return self.decoder.compare_rows(query, representations.rows(ids), place)
        return self.decoder.compare_rows(query, representations.entity, candidates)
