"""DBP-5L as five transfer tasks over one joint graph: graphs, links, copies."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pyg_kgtransfer.evaluation.copy_rule import CopyRule
from pyg_kgtransfer.evaluation.link_prediction import LinkPrediction
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.linking.alignment import Alignment
from pyg_kgtransfer.linking.linked import link, linked_subgraph
from pyg_kgtransfer.linking.linked_kg import LinkedKG
from pyg_kgtransfer.sources.datasets import load, load_dbp5l_links
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.ranking import own_alignment, place_in, ranking_of

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

    def subgraph(self, target: str, teacher: Checkpoint, *, fan_out: int | None) -> LinkedKG:
        """The student's graph: the target's training facts and the sources' around them."""
        graph = self.splits[target].train
        whole = self.with_source_facts(target).graph
        return linked_subgraph(graph, whole, own_alignment(teacher, graph), fan_out=fan_out)

    def source_copies(self, target: str) -> Tensor:
        """The sources' facts in the target's ids, -1 where an entity has no counterpart: [M, 3]."""
        whole = self.with_source_facts(target)
        # a fact that a source states as well as the target is kept under whoever comes first
        others = {name: split for name, split in self.splits.items() if name != target}
        place = place_in(self.splits[target].train, whole)
        back = torch.full((whole.graph.num_entities,), -1)
        back[place.entity_map] = torch.arange(len(place.entity_map))
        relation = torch.full((whole.graph.num_relations,), -1)
        relation[place.relation_map] = torch.arange(len(place.relation_map))
        rows = []
        for split in others.values():
            own = place_in(split.train, whole)
            facts = own.moved(torch.cat([split.train.triples, split.valid.triples]))
            head, kind, tail = facts.unbind(1)
            rows.append(torch.stack([back[head], relation[kind], back[tail]], dim=1))
        facts = torch.unique(torch.cat(rows), dim=0)
        return facts[facts[:, 1] >= 0]

    def copyable(self, target: str) -> Tensor:
        """Which test facts a source states (train or valid), through the links: bool [T]."""
        split = self.splits[target]
        size = split.train.num_entities, split.train.num_relations
        copies = self.source_copies(target)
        copies = copies[(copies >= 0).all(1)]

        def keys(triples: Tensor) -> Tensor:
            return (triples[:, 0] * size[1] + triples[:, 1]) * size[0] + triples[:, 2]

        return torch.isin(keys(split.test.triples), keys(copies))

    def copy_rule(self, target: str) -> CopyRule:
        """The baseline that needs no learning, on the facts that the student may see."""
        graph = self.splits[target].train
        return CopyRule(
            graph.triples,
            self.source_copies(target),
            num_entities=graph.num_entities,
            num_relations=graph.num_relations,
            relations="shared",
        )

    def ranking(self, target: str, reader: LinkedKG | Checkpoint | None = None) -> LinkPrediction:
        """The test ranking of a target."""
        return ranking_of(self.splits[target], reader=reader)

    def fingerprints(self) -> dict[str, str]:
        """sha256 of each training graph, ids permuted."""
        return {name: split.train.fingerprint() for name, split in self.splits.items()}


def validation_sample(splits: Sequence[Split], size: int) -> list[Split]:
    """The splits with a fixed seeded sample of their validation facts."""
    sampled = []
    for split in splits:
        triples = split.valid.triples
        order = torch.randperm(len(triples), generator=torch.Generator().manual_seed(0))
        valid = HeldOut(triples[order[:size].sort().values], "valid")
        sampled.append(replace(split, valid=valid))
    return sampled
