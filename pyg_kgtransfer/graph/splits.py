"""What is learned from and what is held out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.known_triples import KnownTriples


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Triples for evaluation only. No function that builds or links graphs takes this type.

    Attributes:
        triples: [T, 3] int64, ids of the split's training graph.
        role: ``"valid"`` or ``"test"``.
    """

    triples: Tensor
    role: Literal["valid", "test"]

    def __len__(self) -> int:
        return len(self.triples)


@dataclass(frozen=True, eq=False)
class Split:
    """A training graph with held-out facts in the same vocabularies.

    Attributes:
        train: The graph to learn from; its vocabularies cover all three parts.
        valid: Facts for model selection.
        test: Facts for the report.
        symmetric: Relation ids whose facts hold both ways though stored one way (``borders``);
            the ranking filter knows them in both directions.
    """

    train: KnowledgeGraph
    valid: HeldOut
    test: HeldOut
    symmetric: tuple[int, ...] = ()

    def known(self, parts: Sequence[str] = ("train", "valid", "test")) -> KnownTriples:
        """The facts of ``parts``: all three filter the test ranks, train and valid select models."""
        triples = {
            "train": self.train.triples,
            "valid": self.valid.triples,
            "test": self.test.triples,
        }
        return KnownTriples(
            [triples[part] for part in parts],
            num_entities=self.train.num_entities,
            num_relations=self.train.num_relations,
            symmetric=self.symmetric,
        )

    def __repr__(self) -> str:
        return f"Split({self.train!r}, {len(self.valid):,} valid, {len(self.test):,} test)"
