"""Answers by name: load a checkpoint once, ask for tails, heads and relations."""

import difflib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from pyg_kgtransfer.evaluation.streaming import score_triples
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.inductive import encode_unseen

OnUnknown = Literal["error", "encode"]


class Answer(NamedTuple):
    """One candidate, best first.

    Attributes:
        name: Its name (key) in the graph.
        label: What to show.
        score: Higher is more plausible; scores of different queries do not compare.
        is_known: The training graph states this fact.
        probability: That the fact is true, in [0, 1], where the checkpoint has a calibration, else
            ``None``; ``Predictor.predict_proba`` says what it means.
    """

    name: str
    label: str
    score: float
    is_known: bool
    probability: float | None = None


class Predictor:
    """Top answers of a trained model, asked and answered by name.

    Args:
        checkpoint: A trained checkpoint; the graph it was trained on is encoded once, here.
        facts: Further facts to answer from, which the model reads but does not learn.
        on_unknown: What becomes of entities that the facts name and the model does not know:
            ``"error"``, or ``"encode"``: they are encoded from the facts (``encode_unseen``).
        features: [N, F], a row for each entity of ``facts``, where the model reads features.
        among: Answer with entities of this source of the checkpoint alone, say a student's target;
            ``None``: with any entity of its graph.
        device: Where to compute.

    Entities may be asked for by name, or by label where only one entity has it.

    Raises:
        ValueError: If the checkpoint has no source called ``among``, a name in the facts is unknown
            (the nearest is offered), or the model cannot encode new entities.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> facts = [("Athens", "capital_of", "Greece"), ("Rome", "capital_of", "Italy")]
        >>> graph = kgt.KnowledgeGraph.from_names(facts, name="world")
        >>> training = kgt.TrainConfig(
        ...     epochs=30, learning_rate=0.1, progress=False, accelerator="cpu"
        ... )
        >>> recipe = kgt.Recipe(kgt.ModelConfig(encoder="shallow", width=8), training=training)
        >>> predictor = kgt.Predictor(kgt.pretrain(kgt.link([graph], []), recipe=recipe))
        >>> answer = predictor.tails("Rome", "capital_of")[0]
        >>> answer.name, answer.is_known
        ('Italy', True)
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        facts: KnowledgeGraph | None = None,
        *,
        on_unknown: OnUnknown = "error",
        features: Tensor | None = None,
        among: str | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if on_unknown not in get_args(OnUnknown):
            raise ValueError(
                f"on_unknown is one of {', '.join(get_args(OnUnknown))} (got {on_unknown!r})"
            )
        if facts is None and (on_unknown == "encode" or features is not None):
            raise ValueError(
                "an unknown entity is encoded from facts of it: pass facts, --facts FILE (got none)"
            )
        if facts is not None:
            if on_unknown == "error":
                _check_known(checkpoint, facts)
            checkpoint = encode_unseen(checkpoint, facts, features=features)
        self.graph = checkpoint.graph
        self.calibration = checkpoint.calibration
        self._candidates = _entities_of(checkpoint, among).to(device)
        self.model = checkpoint.model.to(device).eval()
        self.device = torch.device(device)
        with torch.no_grad():
            self._representations = self.model.encode(self.graph.tensors(device))
        self._known = KnownTriples(
            [self.graph.triples],
            num_entities=self.graph.num_entities,
            num_relations=self.graph.num_relations,
        ).to(device)
        self._by_label: dict[str, list[int]] = defaultdict(list)
        for index, label in enumerate(self.graph.labels or ()):
            self._by_label[label].append(index)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        among: str | None = None,
        device: torch.device | str = "cpu",
    ) -> "Predictor":
        """A predictor for the checkpoint in folder ``path``.

        Raises:
            ValueError: If the folder holds no checkpoint that this version reads, or it has no
                source ``among``.
            OSError: If it cannot be read.
        """
        return cls(Checkpoint.load(path, device=device), among=among, device=device)

    def entity(self, text: str) -> int:
        """The id of the entity called ``text``: its name, or the label of one entity only.

        Raises:
            ValueError: If there is none (the nearest names and labels are offered), or several
                entities share the label (their names are listed).
        """
        if text in self.graph.entities:
            return self.graph.entities.id(text)
        found = self._by_label.get(text, [])
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(repr(self.graph.entities.name(i)) for i in found[:8])
            raise ValueError(f"{len(found)} entities are labelled {text!r}; say which: {names}")
        nearest = [repr(name) for name in self.graph.entities.nearest(text)]
        for label in difflib.get_close_matches(text, self._by_label, n=3, cutoff=0.6):
            nearest += [
                f"{self.graph.entities.name(i)!r} ({label})" for i in self._by_label[label][:2]
            ]
        hint = f"; nearest known: {', '.join(nearest[:5])}" if nearest else ""
        raise ValueError(f"unknown entity: {text!r} (of {self.graph.num_entities:,} known){hint}")

    def tails(self, head: str, relation: str, *, k: int = 10) -> list[Answer]:
        """The ``k`` most plausible tails of (head, relation, ?), best first.

        Raises:
            ValueError: If a name is unknown or ``k`` is below 1.
        """
        h = self._ids(self.entity(head))
        r = self._ids(self.graph.relations.id(relation))
        with torch.no_grad():
            scores = self.model.score_tails(self._representations, h, r)[0]
        found = self._top(scores, self._known.tails(h, r)[1], self._candidates, k)
        scored = torch.tensor([score for _, score, _ in found], dtype=torch.double)
        return self._entities(found, self._probabilities(scored, r.cpu().expand(len(found))))

    def heads(self, relation: str, tail: str, *, k: int = 10) -> list[Answer]:
        """The ``k`` most plausible heads of (?, relation, tail); otherwise as ``tails``.

        A model with reciprocal relations ranks heads by its inverse relations. Probabilities are of
        the facts as ``predict_proba`` gives them, and need not fall with the rank.
        """
        t = self._ids(self.entity(tail))
        r = self._ids(self.graph.relations.id(relation))
        with torch.no_grad():
            scores = self.model.score_heads(self._representations, r, t)[0]
        found = self._top(scores, self._known.heads(r, t)[1], self._candidates, k)
        if self.calibration is None:
            return self._entities(found, [None] * len(found))
        triples = torch.tensor([[head, int(r), int(t)] for head, _, _ in found])
        scored = score_triples(self.model, self._representations, triples)
        return self._entities(found, self._probabilities(scored, triples[:, 1]))

    def relations(self, head: str, tail: str, *, k: int = 10) -> list[Answer]:
        """The ``k`` most plausible relations of (head, ?, tail); otherwise as ``tails``."""
        relation = torch.arange(self.graph.num_relations)
        triples = torch.stack(
            [
                torch.full_like(relation, self.entity(head)),
                relation,
                torch.full_like(relation, self.entity(tail)),
            ],
            dim=1,
        )
        scores = score_triples(self.model, self._representations, triples)
        known = self._known.contains(triples.to(self.device)).nonzero().view(-1).cpu()
        found = self._top(scores, known, relation, k)
        best = torch.tensor([index for index, _, _ in found])
        names = self.graph.relations.names
        return [
            Answer(names[i], names[i], score, is_known, probability)
            for (i, score, is_known), probability in zip(
                found, self._probabilities(scores[best], best), strict=True
            )
        ]

    def predict_proba(
        self, triples: Sequence[tuple[str, str, str]], *, memory_mb: float = 512
    ) -> list[float]:
        """The probability that each fact is true, by the checkpoint's calibration.

        It holds where one true fact comes to c false ones, each a true fact with its head or tail
        replaced by any other entity; c is the ``corruptions`` of ``calibrate``, 1 unless said
        otherwise, and stands in ``checkpoint.metrics["calibration"]``. So .5 says: true facts score
        like this as often as such false ones. It is not the chance that the best of thousands of
        candidates is right: among thousands of false tails some score as true ones do, and several
        answers to one question may each have .9. Nor does it hold among false triples picked for
        being plausible: there it is too high. Where you expect one true fact to n false ones,
        read p as p / (p + (1 - p) * n / c), or calibrate with about n corruptions.

        Args:
            triples: (head, relation, tail) by name; entities may be called by their only label.
            memory_mb: Budget for a chunk of triples, in MiB.

        Returns:
            As many numbers in [0, 1].

        Raises:
            ValueError: If the checkpoint has no calibration, a name is unknown, or a triple is not
                three names.
        """
        if self.calibration is None:
            raise ValueError(
                "probabilities need a checkpoint with a calibration (got one without): make it "
                "with 'kgt calibrate', or with calibrate(checkpoint, split).kept_in(checkpoint)"
            )
        for each in triples:
            if isinstance(each, str) or len(each) != 3:
                raise ValueError(f"a triple is (head, relation, tail), by name (got {each!r})")
        ids = [(self.entity(h), self.graph.relations.id(r), self.entity(t)) for h, r, t in triples]
        found = torch.tensor(ids, dtype=torch.long).view(-1, 3)
        scores = score_triples(self.model, self._representations, found, memory_mb=memory_mb)
        return self.calibration.probability(scores, found[:, 1]).tolist()

    def _probabilities(self, scores: Tensor, relation: Tensor) -> Sequence[float | None]:
        """Of scores of tail queries, [K] on the CPU, if there is a calibration."""
        if self.calibration is None:
            return [None] * len(scores)
        return self.calibration.probability(scores, relation).tolist()

    def _ids(self, index: int) -> Tensor:
        return torch.tensor([index], device=self.device)

    def _entities(
        self, found: list[tuple[int, float, bool]], probabilities: Sequence[float | None]
    ) -> list[Answer]:
        names = self.graph.entities
        return [
            Answer(names.name(i), self.graph.label(i), score, is_known, probability)
            for (i, score, is_known), probability in zip(found, probabilities, strict=True)
        ]

    def _top(
        self, scores: Tensor, known: Tensor, candidates: Tensor, k: int
    ) -> list[tuple[int, float, bool]]:
        if k < 1:
            raise ValueError(f"k must be at least 1 (got {k})")
        if not bool(torch.isfinite(scores).all()):
            raise ValueError("the model gives scores that are not finite; was its training sound?")
        is_known = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
        is_known[known] = True
        values, places = torch.topk(scores[candidates], min(k, len(candidates)))
        ids = candidates[places]
        return list(zip(ids.tolist(), values.tolist(), is_known[ids].tolist(), strict=True))


def _check_known(checkpoint: Checkpoint, facts: KnowledgeGraph) -> None:
    try:
        checkpoint.graph.entities.ids(list(facts.entities))
    except ValueError as error:
        raise ValueError(
            f"{error}; on_unknown 'encode' makes vectors of new entities from the facts"
        ) from None


def _entities_of(checkpoint: Checkpoint, source: str | None) -> Tensor:
    """The ids of a source's entities in the graph that the checkpoint reads, or of all: [K]."""
    if source is None:
        return torch.arange(checkpoint.graph.num_entities)
    names = () if checkpoint.sources is None else checkpoint.sources.names
    if checkpoint.sources is None or source not in names:
        known = ", ".join(map(repr, names)) or "none"
        raise ValueError(f"the checkpoint has the sources {known} (got {source!r})")
    entity_map = checkpoint.sources.entity_maps[names.index(source)]
    return torch.unique(entity_map[entity_map >= 0])
