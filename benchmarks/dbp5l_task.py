"""DBP-5L as five transfer tasks over one joint graph: graphs, links, copies."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from pyg_kgtransfer.evaluation.copy_rule import CopyRule
from pyg_kgtransfer.evaluation.link_prediction import LinkPrediction
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.graph.leakage import copyable
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.linking.alignment import Alignment
from pyg_kgtransfer.linking.linked import link, linked_subgraph
from pyg_kgtransfer.linking.linked_kg import LinkedKG
from pyg_kgtransfer.sources.datasets import load, load_dbp5l_links
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.ranking import own_alignment, ranking_of

LANGUAGES = ("el", "ja", "es", "fr", "en")


def permuted(split: Split, name: str, *, seed: int) -> Split:
    """The split with its entity ids in random order: as distributed, they leak the alignment."""
    graph = split.train
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(graph.num_entities, generator=generator)  # new id -> old id
    new = torch.argsort(order)

    def moved(triples: Tensor) -> Tensor:
        head, relation, tail = triples.unbind(1)
        return torch.stack([new[head], relation, new[tail]], dim=1)

    entities: Vocabulary = graph.entities.subset(order)
    train = KnowledgeGraph(entities, graph.relations, moved(graph.triples), name=name)
    valid = HeldOut(moved(split.valid.triples), "valid")
    return Split(train, valid, HeldOut(moved(split.test.triples), "test"))


@dataclass(frozen=True, eq=False)
class Dbp5l:
    """The five graphs, ids permuted, and their links; relations of one name are one relation.

    Attributes:
        splits: By language.
        alignments: Between each two languages: all seed links.
    """

    splits: dict[str, Split]
    alignments: list[Alignment]

    @classmethod
    def load(cls, *, seed: int = 0) -> "Dbp5l":
        """Read the graphs and links (``KGT_DATA`` names the folder)."""
        splits = {
            language: permuted(load(f"dbp-5l/{language}"), language, seed=seed + index)
            for index, language in enumerate(LANGUAGES)
        }
        alignments = []
        for index, left in enumerate(LANGUAGES):
            for right in LANGUAGES[index + 1 :]:
                graphs = splits[left].train, splits[right].train
                shared = [
                    (name, name) for name in graphs[0].relations if name in graphs[1].relations
                ]
                pairs = load_dbp5l_links(left, right)
                alignments.append(Alignment.from_names(*graphs, pairs, shared))
        return cls(splits, alignments)

    @cached_property
    def joint(self) -> LinkedKG:
        """Training facts of all five: what the teacher learns from."""
        return link([split.train for split in self.splits.values()], self.alignments)

    def with_source_facts(self, target: str) -> LinkedKG:
        """Training facts of all five and validation facts of all but the target; the same ids."""
        graphs = []
        for language, split in self.splits.items():
            parts = [split.train.triples]
            if language != target:
                parts.append(split.valid.triples)
            graphs.append(split.train.with_triples(torch.cat(parts)))
        return link(graphs, self.alignments)

    def subgraph(self, target: str, teacher: Checkpoint) -> LinkedKG:
        """The student's graph: the target's training facts and the sources' between its entities.

        What lies farther is the teacher's to tell.
        """
        graph = self.splits[target].train
        whole = self.with_source_facts(target).graph
        return linked_subgraph(graph, whole, own_alignment(teacher, graph), hops=0)

    def source_copies(self, target: str) -> Tensor:
        """The other graphs' facts in the target's ids, -1 for an unlinked end: [M, 3]."""
        whole = self.with_source_facts(target)
        entity, relation = whole.back_map(target)
        others = [split.train for name, split in self.splits.items() if name != target]
        facts = torch.cat(
            [
                whole.to_joint(
                    graph.name, torch.cat([graph.triples, self.splits[graph.name].valid.triples])
                )
                for graph in others
            ]
        )
        head, kind, tail = torch.unique(facts, dim=0).unbind(1)
        facts = torch.stack([entity[head], relation[kind], entity[tail]], dim=1)
        return facts[facts[:, 1] >= 0]

    def copyable(self, target: str) -> Tensor:
        """Which test facts have their entity pair linked in a source, by any relation: bool [T]."""
        graph, copies = self.splits[target].train, self.source_copies(target)
        linked = graph.with_triples(copies[(copies >= 0).all(1)])
        return copyable(self.splits[target].test.triples, linked, torch.arange(graph.num_entities))

    def stated(self, target: str) -> Tensor:
        """Which test facts a source states as they are: bool [T], a part of ``copyable``."""
        graph, copies = self.splits[target].train, self.source_copies(target)
        known = KnownTriples(
            [copies[(copies >= 0).all(1)]],
            num_entities=graph.num_entities,
            num_relations=graph.num_relations,
        )
        return known.contains(self.splits[target].test.triples)

    def copy_rule(self, target: str, relations: Literal["shared", "learned"]) -> CopyRule:
        """The baseline that needs no learning, on the facts that the student may see.

        ``"shared"`` copies a fact under its own relation; ``"learned"`` also counts, on the
        training facts, how often a source's relation between two entities means the asked one.
        """
        graph = self.splits[target].train
        return CopyRule(
            graph.triples,
            self.source_copies(target),
            num_entities=graph.num_entities,
            num_relations=graph.num_relations,
            relations=relations,
        )

    def ranking(self, target: str, reader: LinkedKG | Checkpoint | None = None) -> LinkPrediction:
        """The test ranking of a target."""
        return ranking_of(self.splits[target], reader=reader)

    def fingerprints(self) -> dict[str, str]:
        """sha256 of each training graph, ids permuted."""
        return {name: split.train.fingerprint() for name, split in self.splits.items()}
