"""Answers by name: load a checkpoint once, ask for tails, heads and relations."""

import difflib
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pyg_kgtransfer.evaluation.streaming import Chunks, query_bytes
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.training.checkpoint import Checkpoint

_MEMORY_MB = 512  # for the relations of a pair, where a model takes much for each


class Answer(NamedTuple):
    """One candidate, best first.

    Attributes:
        name: Its name (key) in the graph.
        label: What to show.
        score: Higher is more plausible; scores of different queries do not compare.
        is_known: The training graph states this fact.
    """

    name: str
    label: str
    score: float
    is_known: bool


class Predictor:
    """Top answers of a trained model, asked and answered by name.

    Args:
        checkpoint: A trained checkpoint; the graph it was trained on is encoded once, here.
        among: Answer with entities of this source of the checkpoint alone, say a student's target;
            ``None``: with any entity of its graph.
        device: Where to compute.

    Entities may be asked for by name, or by label where only one entity has it.

    Raises:
        ValueError: If the checkpoint has no source called ``among``.

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
        *,
        among: str | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.graph = checkpoint.graph
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
        return self._entities(scores, self._known.tails(h, r)[1], k)

    def heads(self, relation: str, tail: str, *, k: int = 10) -> list[Answer]:
        """The ``k`` most plausible heads of (?, relation, tail); otherwise as ``tails``."""
        t = self._ids(self.entity(tail))
        r = self._ids(self.graph.relations.id(relation))
        with torch.no_grad():
            scores = self.model.score_heads(self._representations, r, t)[0]
        return self._entities(scores, self._known.heads(r, t)[1], k)

    def relations(self, head: str, tail: str, *, k: int = 10) -> list[Answer]:
        """The ``k`` most plausible relations of (head, ?, tail); otherwise as ``tails``."""
        relation = torch.arange(self.graph.num_relations, device=self.device)
        triples = torch.stack(
            [
                torch.full_like(relation, self.entity(head)),
                relation,
                torch.full_like(relation, self.entity(tail)),
            ],
            dim=1,
        )
        row = query_bytes(self.model, self._representations)
        chunks = Chunks(_MEMORY_MB, row_bytes=row)
        with torch.no_grad():
            parts = chunks.run(
                len(triples),
                lambda start, stop: self.model.score(self._representations, triples[start:stop]),
            )
        scores = torch.cat(parts)
        known = self._known.contains(triples).nonzero().view(-1)
        names = self.graph.relations.names
        return [
            Answer(names[i], names[i], score, is_known)
            for i, score, is_known in self._top(scores, known, relation, k)
        ]

    def _ids(self, index: int) -> Tensor:
        return torch.tensor([index], device=self.device)

    def _entities(self, scores: Tensor, known: Tensor, k: int) -> list[Answer]:
        return [
            Answer(self.graph.entities.name(i), self.graph.label(i), score, is_known)
            for i, score, is_known in self._top(scores, known, self._candidates, k)
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
