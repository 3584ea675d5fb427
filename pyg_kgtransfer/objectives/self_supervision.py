"""What a graph teaches without a question: its hidden edges, its relations, its own two views."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pyg_kgtransfer.functional import losses, sampling
from pyg_kgtransfer.graph.knowledge_graph import GraphTensors
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.models.encoder import Representations
from pyg_kgtransfer.models.kg_model import GraphModel, with_layers, with_vectors
from pyg_kgtransfer.objectives.objective import Batch, Objective


class RelationPrediction(Objective):
    """Softmax cross entropy of a fact's relation against all others between the same entities.

    A reciprocal model is asked with the vectors of relations and with those of their inverses.

    Args:
        num_relations: R, real relations only.
        known: Relations that are stated of the same pair do not count as wrong; ``None``: all but
            the fact's own do.
        num_candidates: Take the softmax over this many sampled relations joined with the batch's
            own; ``None``: all. [B x K, D] numbers are held at once.

    Raises:
        ValueError: If a number is below 1; in use, if the model is a foundation model.

    Source: Chen et al. 2021, arXiv 2110.02834, whose term for relations this is.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> model = kgt.KGModel(kgt.Shallow(kgt.Lookup(2, 1), 2), kgt.TransE())
        >>> batch = kgt.Batch(torch.tensor([[0, 0, 1]]), torch.Generator())
        >>> entity = torch.tensor([[0.0], [5.0]])
        >>> for step in (0.0, 5.0):  # with 5 the relation carries 0 to 1; the other does not
        ...     vectors = kgt.Representations(entity, torch.tensor([[step], [0.0]]))
        ...     print(round(kgt.RelationPrediction(2)(model, vectors, batch).item(), 3))
        0.693
        0.007
    """

    def __init__(
        self,
        num_relations: int,
        *,
        known: KnownTriples | None = None,
        num_candidates: int | None = None,
    ) -> None:
        super().__init__()
        for name, number in (("num_relations", num_relations), ("num_candidates", num_candidates)):
            if number is not None and number < 1:
                raise ValueError(f"{name} must be at least 1 (got {number})")
        self.num_relations = num_relations
        self.known = known
        self.num_candidates = num_candidates

    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        model = with_vectors(model, "relation prediction")
        head, relation, tail = batch.triples.unbind(1)
        candidates = self._candidates(batch.whole[:, 1], batch.generator)
        answer = torch.searchsorted(candidates, relation.contiguous())
        shape = (len(relation), len(candidates))
        columns = head[:, None], candidates, tail[:, None]
        h, r, t = (each.expand(shape).reshape(-1) for each in columns)  # [B x K] each
        scores = [model.score_tails(representations, h, r, t[:, None])]
        if model.reciprocal:  # else the same number again
            scores.append(model.score_heads(representations, r, t, h[:, None]))
        wrong = self._stated(torch.stack([h, r, t], dim=1)).view(shape)
        wrong = wrong.scatter(1, answer[:, None], False)
        found = [each.view(shape).masked_fill(wrong, -torch.inf) for each in scores]
        return torch.stack([cross_entropy(each, answer) for each in found]).mean()

    def _candidates(self, answers: Tensor, generator: torch.Generator) -> Tensor:
        """Relations to choose among, ascending: [K]."""
        if self.num_candidates is None or self.num_candidates >= self.num_relations:
            return torch.arange(self.num_relations, device=answers.device)
        shape = (self.num_candidates,)
        drawn = sampling.uniform_candidates(shape, self.num_relations, generator=generator)
        return torch.unique(torch.cat([drawn, answers]))

    def _stated(self, triples: Tensor) -> Tensor:
        if self.known is None:
            return torch.zeros(len(triples), dtype=torch.bool, device=triples.device)
        return self.known.contains(triples)


class _OnViews(Objective):
    """Has the graph of which it makes views, on the device of the objective.

    Args:
        graph: The training facts and their inverses, as the model reads them.
        share: Of the facts that are left out of a view, in (0, 1).

    Raises:
        ValueError: If the share is out of range, or leaves out no fact or leaves none.
    """

    def __init__(self, graph: GraphTensors, share: float) -> None:
        super().__init__()
        if not 0 < share < 1:
            raise ValueError(f"the share of facts to leave out must be in (0, 1) (got {share})")
        number = len(graph.facts())
        if not 0 < round(share * number) < number:
            raise ValueError(
                f"a share must leave out facts and leave some (got {share} of {number:,})"
            )
        self.share, self.num_relations = share, graph.num_relations
        for name in _TABLES:
            self.register_buffer(name, getattr(graph, name), persistent=False)

    def graph(self) -> GraphTensors:
        """The whole graph."""
        entity, edge_index, edge_type = (self.get_buffer(name) for name in _TABLES)
        return GraphTensors(entity, edge_index, edge_type, self.num_relations)


_TABLES = ("entity", "edge_index", "edge_type")


class MaskedEdges(_OnViews):
    """A loss on hidden facts: each step hides some, reads what is left, and asks for them.

    Where a model is asked for facts whose edges it reads, it may learn to read them off; here it
    cannot. Unlike ``leave_out_batch``, what is asked is as many facts as wished, at the same time
    as the batch's own loss or in its place.

    Args:
        graph: The training facts and their inverses, as the model reads them.
        objective: What is minimised on the hidden facts: a loss of link prediction,
            ``RelationPrediction``, or a ``Mixture`` of both.
        share: Of the facts that are hidden, in (0, 1).
        sample_size: Ask for at most so many of the hidden facts in a step, at least 1.

    Raises:
        ValueError: If a number is out of range, or the share hides no fact or all; in use, if the
            model's encoder has no layers.

    Source: masked edges as in Li et al. 2022, arXiv 2205.10053 (MaskGAE), which asks
    whether there is an edge, where we ask for the other end and the relation.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [(f"{i}", "next", f"{i + 1}") for i in range(9)]
        >>> graph = kgt.KnowledgeGraph.from_names(facts).tensors()
        >>> model = kgt.build_model(kgt.ModelConfig(width=8), num_entities=10, num_relations=1)
        >>> both = {"entities": kgt.OneVsAll(), "relations": kgt.RelationPrediction(1)}
        >>> masked = kgt.MaskedEdges(graph, kgt.Mixture(both), share=0.3)
        >>> batch = kgt.Batch(graph.facts(), torch.Generator().manual_seed(0))
        >>> terms = masked.terms(model, model.encode(graph), batch)
        >>> list(terms), terms["relations"].item()  # of one relation there is nothing to say
        (['entities', 'relations'], 0.0)
    """

    def __init__(
        self,
        graph: GraphTensors,
        objective: Objective,
        *,
        share: float = 0.2,
        sample_size: int = 256,
    ) -> None:
        super().__init__(graph, share)
        if sample_size < 1:
            raise ValueError(f"sample_size must be at least 1 (got {sample_size})")
        self.objective: Objective = objective
        self.sample_size = sample_size

    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        return torch.stack(list(self.terms(model, representations, batch).values())).sum()

    def terms(
        self, model: GraphModel, representations: Representations, batch: Batch
    ) -> dict[str, Tensor]:
        model = with_layers(model, "learning from masked edges")
        left, hidden = self.graph().thinned(self.share, batch.generator)
        asked = batch._replace(triples=hidden[: self.sample_size], source=None)
        return self.objective.terms(model, model.encode(left), asked)


class ContrastiveViews(_OnViews):
    """InfoNCE between two views of the graph: an entity is nearest to itself.

    Each view leaves out a share of the facts of its own. Entities without a fact are never drawn.

    Args:
        graph: The training facts and their inverses, as the model reads them.
        share: Of the facts that each view leaves out, in (0, 1).
        temperature: Above 0, in units of the cosine.
        sample_size: Entities in a step, at most; at least 2: the others are what each must be told
            from.

    Raises:
        ValueError: If a number is out of range, or the share leaves out no fact or all; in use, if
            the model's encoder has no layers.

    Source: Zhu et al. 2020, arXiv 2006.04131 (GRACE), eq. 1-2, without its projection, its masked
    features and its negatives from the same view.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [(f"{i}", "next", f"{i + 1}") for i in range(9)]
        >>> graph = kgt.KnowledgeGraph.from_names(facts).tensors()
        >>> model = kgt.build_model(kgt.ModelConfig(width=8), num_entities=10, num_relations=1)
        >>> batch = kgt.Batch(graph.facts(), torch.Generator().manual_seed(0))
        >>> views = kgt.ContrastiveViews(graph, share=0.3)
        >>> bool(views(model, model.encode(graph), batch) > 0)
        True
    """

    def __init__(
        self,
        graph: GraphTensors,
        *,
        share: float = 0.2,
        temperature: float = 0.5,
        sample_size: int = 256,
    ) -> None:
        super().__init__(graph, share)
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0 (got {temperature})")
        if sample_size < 2:
            raise ValueError(f"sample_size must be at least 2 (got {sample_size})")
        self.temperature, self.sample_size = temperature, sample_size
        self.register_buffer("rows", torch.unique(graph.edge_index), persistent=False)

    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        model = with_layers(model, "learning from contrastive views")
        generator, rows = batch.generator, self.get_buffer("rows")
        drawn = torch.randperm(len(rows), generator=generator, device=rows.device)
        sample = rows[drawn[: self.sample_size]]
        left, right = (
            model.encode(self.graph().thinned(self.share, generator)[0]).rows(sample)
            for _ in range(2)
        )
        return losses.contrastive_loss(left, right, temperature=self.temperature)
