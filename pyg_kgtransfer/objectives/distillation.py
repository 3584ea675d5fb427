"""What a student learns from a teacher: features, message-passing layers, predictions.

Source: the three levels are JPLR's (Sun et al., KDD 2023, arXiv 2306.02679), of which the abstract
alone is public; the formulas are our reconstruction of it.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pyg_kgtransfer.functional import losses
from pyg_kgtransfer.graph.knowledge_graph import GraphTensors
from pyg_kgtransfer.models.encoder import Representations
from pyg_kgtransfer.models.kg_model import GraphModel
from pyg_kgtransfer.objectives.objective import Batch, Objective

RowLoss = Callable[[Tensor, Tensor], Tensor]


class Teacher:
    """A frozen model that answers in the student's ids. It encodes its graph once.

    Args:
        model: The trained teacher; it is not changed and never trained.
        graph: The graph it reads.
        entity_map: [N] int64: for each row of the student's graph the teacher's row, or -1.
        relation_map: [R] int64: for each relation of the student the teacher's relation, or -1.

    Attributes:
        linked: [L] int64, rows of the student's graph that the teacher knows.

    Raises:
        ValueError: If a map names rows that the teacher lacks, or links nothing.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> graph = kgt.KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")])
        >>> model = kgt.build_model(kgt.ModelConfig(width=8), num_entities=2, num_relations=1)
        >>> student_entities = kgt.Vocabulary(["Greece", "Sofia", "Athens"])
        >>> entity_map = graph.entities.positions_of(student_entities)
        >>> entity_map.tolist()
        [1, -1, 0]
        >>> teacher = kgt.Teacher(model, graph.tensors(), entity_map, torch.tensor([0]))
        >>> teacher.linked.tolist(), teacher.width
        ([0, 2], 8)
    """

    def __init__(
        self, model: GraphModel, graph: GraphTensors, entity_map: Tensor, relation_map: Tensor
    ) -> None:
        rows, relations = len(graph.entity), graph.num_relations
        for name, mapping, size in (
            ("entity_map", entity_map, rows),
            ("relation_map", relation_map, relations),
        ):
            if len(mapping) and int(mapping.max()) >= size:
                raise ValueError(
                    f"{name} must name the teacher's ids, below {size} (got {int(mapping.max())})"
                )
        device = graph.edge_index.device
        self.entity_map = entity_map.to(device)
        self.relation_map = relation_map.to(device)
        self.linked = (self.entity_map >= 0).nonzero().view(-1)
        if not len(self.linked):
            raise ValueError("the teacher knows none of the student's entities (got no links)")
        self.model = model
        was_training = model.training
        model.eval()
        with torch.no_grad():
            self.representations = model.encode(graph)
        model.train(was_training)

    @property
    def width(self) -> int:
        """The width of the teacher's entity vectors."""
        return self.representations.entity.shape[1]

    def entity_vectors(self, rows: Tensor) -> Tensor:
        """Vectors for linked rows of the student's graph: [L'] -> [L', D]."""
        return self.representations.entity[self.entity_map[rows]]

    def knows(self, triples: Tensor) -> Tensor:
        """Which of the student's triples ([B, 3]) the teacher can be asked about: bool [B]."""
        head, relation, tail = triples.unbind(1)
        ends = (self.entity_map[head] >= 0) & (self.entity_map[tail] >= 0)
        return ends & (self.relation_map[relation] >= 0)

    @torch.no_grad()
    def score_tails(self, head: Tensor, relation: Tensor, candidates: Tensor) -> Tensor:
        """Scores of (head, relation, candidate), all linked, [B], [B], [K] -> [B, K]."""
        entity = self.entity_map
        return self.model.score_tails(
            self.representations, entity[head], self.relation_map[relation], entity[candidates]
        )

    @torch.no_grad()
    def score_heads(self, relation: Tensor, tail: Tensor, candidates: Tensor) -> Tensor:
        """Scores of (candidate, relation, tail), all linked, [B], [B], [K] -> [B, K]."""
        entity = self.entity_map
        return self.model.score_heads(
            self.representations, self.relation_map[relation], entity[tail], entity[candidates]
        )


def projection(source_width: int, target_width: int) -> nn.Module:
    """A learned map between vectors of two widths: the identity where they agree."""
    if source_width == target_width:
        return nn.Identity()
    return nn.Linear(source_width, target_width, bias=False)


class FeatureDistillation(Objective):
    """Distance between P(teacher's vector) and the student's, over a sample of linked entities.

    Args:
        teacher: Who knows.
        width: The student's entity width; P is learned where it differs from the teacher's.
        loss: From matching rows to a scalar: ``losses.cosine_loss``, ``functional.mse_loss``, or
            the stronger ``functools.partial(losses.contrastive_loss, temperature=0.1)``.
        sample_size: Entities per step, at least 1.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> graph = kgt.KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")]).tensors()
        >>> model = kgt.build_model(kgt.ModelConfig(width=8), num_entities=2, num_relations=1)
        >>> teacher = kgt.Teacher(model, graph, torch.tensor([0, 1]), torch.tensor([0]))
        >>> kgt.FeatureDistillation(teacher, width=4).projection  # for a smaller student
        Linear(in_features=8, out_features=4, bias=False)
        >>> batch = kgt.Batch(torch.tensor([[0, 0, 1]]), torch.Generator())
        >>> objective = kgt.FeatureDistillation(teacher, width=8)
        >>> objective(model, model.encode(graph), batch).item() < 1e-6  # its own student
        True
    """

    def __init__(
        self,
        teacher: Teacher,
        width: int,
        *,
        loss: RowLoss = losses.cosine_loss,
        sample_size: int = 1024,
    ) -> None:
        super().__init__()
        self.teacher = teacher
        self.projection = projection(teacher.width, width)
        self.loss = loss
        self.sample_size = sample_size

    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        rows = _sample(self.teacher.linked, self.sample_size, batch.generator)
        own = representations.entity[rows]
        taught = self.projection(self.teacher.entity_vectors(rows).to(own.dtype))
        return self.loss(taught, own)


class HiddenDistillation(Objective):
    """Distance between hidden states after each message-passing layer, over linked entities.

    Layer l of the student is matched to the teacher's layer ``matched_layers(...)[l]``; the mean
    over the student's layers is taken.

    Args:
        teacher: Who knows; it needs at least one layer.
        widths: The student's hidden widths, one per layer, at least one.
        loss: As in ``FeatureDistillation``.
        sample_size: Entities per step, at least 1.

    Raises:
        ValueError: If teacher or student has no message-passing layer.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> graph = kgt.KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")]).tensors()
        >>> config = kgt.ModelConfig(width=8, layers=2)
        >>> model = kgt.build_model(config, num_entities=2, num_relations=1)
        >>> teacher = kgt.Teacher(model, graph, torch.tensor([0, 1]), torch.tensor([0]))
        >>> kgt.HiddenDistillation(teacher, [4]).layers  # one layer learns from the last of two
        [1]
    """

    def __init__(
        self,
        teacher: Teacher,
        widths: Sequence[int],
        *,
        loss: RowLoss = losses.cosine_loss,
        sample_size: int = 1024,
    ) -> None:
        super().__init__()
        hidden = teacher.representations.hidden
        self.teacher = teacher
        self.layers = matched_layers(len(widths), len(hidden))
        self.projections = nn.ModuleList(
            projection(hidden[layer].shape[1], width)
            for layer, width in zip(self.layers, widths, strict=True)
        )
        self.loss = loss
        self.sample_size = sample_size

    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        rows = _sample(self.teacher.linked, self.sample_size, batch.generator)
        teacher_rows = self.teacher.entity_map[rows]
        terms = []
        for own, layer, project in zip(
            representations.hidden, self.layers, self.projections, strict=True
        ):
            hidden = self.teacher.representations.hidden[layer][teacher_rows]
            terms.append(self.loss(project(hidden.to(own.dtype)), own[rows]))
        return torch.stack(terms).mean()


class FlowDistillation(Objective):
    """How each node weighs its neighbours, under teacher and student: KL of the two softmaxes.

    For an edge u -> v the flow logit after layer l is <x_u, x_v> / (tau sqrt(D_l)), with x the
    hidden states standardised per dimension; the softmax runs over the edges into v. Layers are
    matched as in ``HiddenDistillation``. Edges with an unlinked end are left out.

    Args:
        teacher: Who knows; it needs at least one layer.
        graph: The student's graph.
        num_layers: The student's message-passing layers, at least one.
        temperature: tau > 0.
        sample_size: Nodes per step whose incoming edges are compared, at least 1.

    Raises:
        ValueError: If teacher or student has no message-passing layer, or no edge is linked.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [("Athens", "capital_of", "Greece"), ("Bulgaria", "borders", "Greece")]
        >>> graph = kgt.KnowledgeGraph.from_names(facts).tensors()
        >>> model = kgt.build_model(kgt.ModelConfig(width=8), num_entities=3, num_relations=2)
        >>> teacher = kgt.Teacher(model, graph, torch.arange(3), torch.arange(2))
        >>> batch = kgt.Batch(torch.tensor([[0, 0, 1]]), torch.Generator())
        >>> objective = kgt.FlowDistillation(teacher, graph, num_layers=1)
        >>> objective(model, model.encode(graph), batch).item() < 1e-6  # its own student
        True
    """

    def __init__(
        self,
        teacher: Teacher,
        graph: GraphTensors,
        num_layers: int,
        *,
        temperature: float = 1.0,
        sample_size: int = 1024,
    ) -> None:
        super().__init__()
        self.teacher = teacher
        self.layers = matched_layers(num_layers, len(teacher.representations.hidden))
        self.temperature = temperature
        self.sample_size = sample_size
        is_linked = (teacher.entity_map[graph.edge_index] >= 0).all(dim=0)
        edges = graph.edge_index[:, is_linked]
        if not edges.shape[1]:
            raise ValueError("no edge of the student's graph joins two linked entities (got none)")
        edges = edges[:, torch.argsort(edges[1], stable=True)]
        hidden = [teacher.representations.hidden[layer] for layer in self.layers]
        with torch.no_grad():  # the teacher's flow stays what it is
            taught = torch.stack([self._flow(x, teacher.entity_map[edges]) for x in hidden])
        self.register_buffer("edges", edges, persistent=False)
        self.register_buffer("taught", taught, persistent=False)
        self.register_buffer("nodes", torch.unique(edges[1]), persistent=False)

    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        num_rows = len(representations.entity)
        chosen = self._sampled_edges(num_rows, batch.generator)
        edges, all_taught = self.get_buffer("edges")[:, chosen], self.get_buffer("taught")
        terms = []
        for own, taught in zip(representations.hidden, all_taught[:, chosen], strict=True):
            student = self._flow(own, edges)
            terms.append(losses.flow_divergence(student, taught, edges[1], num_rows))
        return torch.stack(terms).mean()

    def _sampled_edges(self, num_rows: int, generator: torch.Generator) -> Tensor:
        """Numbers of the edges into a sample of nodes."""
        edges, nodes = self.get_buffer("edges"), self.get_buffer("nodes")
        if len(nodes) > self.sample_size:
            nodes = _sample(nodes, self.sample_size, generator)
        chosen = torch.zeros(num_rows, dtype=torch.bool, device=edges.device)
        chosen[nodes] = True
        return chosen[edges[1]].nonzero().view(-1)

    def _flow(self, hidden: Tensor, edges: Tensor) -> Tensor:
        """Flow logits: [N, D], [2, M] -> [M]."""
        deviation, mean = torch.std_mean(hidden, dim=0, correction=0)
        x = (hidden - mean) / (deviation + 1e-6)
        scale = self.temperature * math.sqrt(hidden.shape[1])
        return (x[edges[0]] * x[edges[1]]).sum(-1) / scale


class PredictionDistillation(Objective):
    """KL of the answers: tau^2 KL(softmax(teacher / tau) || softmax(student / tau)), both sides.

    Of each batch, the triples that the teacher knows take part; a batch without any gives 0.

    Args:
        teacher: Who knows.
        temperature: tau > 0, in units of the score.
        num_candidates: Take the softmax over this many sampled linked entities, drawn once a step,
            joined with the batch's own answers; ``None``: over all linked entities.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> graph = kgt.KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")]).tensors()
        >>> model = kgt.build_model(kgt.ModelConfig(width=8), num_entities=2, num_relations=1)
        >>> teacher = kgt.Teacher(model, graph, torch.arange(2), torch.arange(1))
        >>> batch = kgt.Batch(torch.tensor([[0, 0, 1]]), torch.Generator())
        >>> objective = kgt.PredictionDistillation(teacher, temperature=2.0)
        >>> objective(model, model.encode(graph), batch).item() < 1e-6  # its own student
        True
    """

    def __init__(
        self, teacher: Teacher, *, temperature: float = 1.0, num_candidates: int | None = None
    ) -> None:
        super().__init__()
        self.teacher = teacher
        self.temperature = temperature
        self.num_candidates = num_candidates

    def forward(self, model: GraphModel, representations: Representations, batch: Batch) -> Tensor:
        teacher = self.teacher
        triples = batch.triples[teacher.knows(batch.triples)]
        known = batch.whole[teacher.knows(batch.whole)] if batch.is_part else triples
        if not len(known):
            return representations.entity.sum() * 0.0
        candidates = [self._candidates(known[:, end], batch.generator) for end in (2, 0)]
        if not len(triples):
            return representations.entity.sum() * 0.0
        head, relation, tail = triples.unbind(1)
        tails = self._loss(
            model.score_tails(representations, head, relation, candidates[0]),
            teacher.score_tails(head, relation, candidates[0]),
        )
        heads = self._loss(
            model.score_heads(representations, relation, tail, candidates[1]),
            teacher.score_heads(relation, tail, candidates[1]),
        )
        return batch.as_part(0.5 * (tails + heads), len(triples), len(known))

    def _candidates(self, answers: Tensor, generator: torch.Generator) -> Tensor:
        linked = self.teacher.linked
        if self.num_candidates is None or self.num_candidates >= len(linked):
            return linked
        return torch.unique(torch.cat([_sample(linked, self.num_candidates, generator), answers]))

    def _loss(self, student: Tensor, taught: Tensor) -> Tensor:
        return losses.soft_target_loss(student, taught, temperature=self.temperature)


def matched_layers(num_student: int, num_teacher: int) -> list[int]:
    """The teacher's layer for each of the student's, evenly spread; last to last.

    Raises:
        ValueError: If either has no layer.

    Example:
        >>> matched_layers(2, 4)
        [1, 3]
    """
    if not num_student or not num_teacher:
        raise ValueError(
            "network distillation needs message-passing layers in teacher and student "
            f"(got {num_teacher} and {num_student}); leave it out for shallow encoders"
        )
    return [round((layer + 1) * num_teacher / num_student) - 1 for layer in range(num_student)]


def _sample(rows: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """``size`` different rows, or all of them if there are fewer."""
    if len(rows) <= size:
        return rows
    order = torch.randperm(len(rows), generator=generator, device=rows.device)
    return rows[order[:size]]
