"""Several graphs in one, with the way back to each."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.leakage import on_pairs
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.linking.alignment import Alignment, Pairs
from pyg_kgtransfer.linking.merging import components

Mode = Literal["sharing", "mapping", "swapping"]


@dataclass(frozen=True, eq=False)
class LinkedKG:
    """Several graphs in one, with the way back.

    Attributes:
        graph: The joint graph. The first source keeps its entity and relation ids (a prefix).
        source: [M] int64, the index of the source that each joint triple came from.
        names: Source names.
        entity_maps: Per source [N_s] int64, the joint id of each of its entities; -1: not in the
            joint graph (only in a subgraph).
        relation_maps: Per source [R_s] int64, the joint id of each of its relations; -1 likewise.
        pairs: Joint ids of aligned entities that stay apart (mapping, swapping); none in sharing.
        mode: ``"sharing"``, ``"mapping"`` or ``"swapping"``.
        stated_by: [M, S] bool, which sources state each joint triple (``source`` is the first of
            them); ``None``: not known, only the first counts.
        fingerprints: Of each source, as it was linked; for provenance.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> left = kgt.KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")], name="left")
        >>> right = kgt.KnowledgeGraph.from_names([("GR", "borders", "BG")], name="right")
        >>> same = kgt.Alignment.from_names(left, right, [("Greece", "GR")])
        >>> linked = kgt.link([left, right], [same])
        >>> list(linked.graph.entities), linked.source.tolist()
        (['Athens', 'Greece', 'BG'], [0, 1])
        >>> linked.to_joint("right", right.triples).tolist()
        [[1, 1, 2]]
    """

    graph: KnowledgeGraph
    source: Tensor
    names: tuple[str, ...]
    entity_maps: tuple[Tensor, ...]
    relation_maps: tuple[Tensor, ...]
    pairs: Pairs
    mode: Mode
    fingerprints: tuple[str, ...] = ()
    stated_by: Tensor | None = None

    def __repr__(self) -> str:
        return f"LinkedKG({self.mode} of {', '.join(self.names)}: {self.graph!r})"

    def index(self, name: str) -> int:
        """The position of the source ``name``.

        Raises:
            ValueError: If there is no such source; offers the nearest.
        """
        return Vocabulary(self.names, kind="source").id(name)

    def sizes(self) -> Tensor:
        """Joint triples per source: int64, shape [S]."""
        return torch.bincount(self.source, minlength=len(self.names))

    def weights(self, temperature: float = 1.0) -> Tensor:
        """How often to draw from each source: proportional to triples^(1 / temperature), [S].

        Args:
            temperature: At least 1; 1 draws by size, higher is more even.

        Raises:
            ValueError: If the temperature is below 1.
        """
        if not temperature >= 1:
            raise ValueError(f"the temperature must be at least 1 (got {temperature})")
        raised = self.sizes().double().pow(1 / temperature)
        return raised / raised.sum().clamp(min=1)

    def to_joint(self, name: str, triples: Tensor) -> Tensor:
        """Triples [*, 3] in the ids of source ``name``, in joint ids.

        Raises:
            ValueError: If there is no such source, or an id is out of range or not in the graph.
        """
        place = self.index(name)
        maps = (self.entity_maps[place], self.relation_maps[place], self.entity_maps[place])
        columns: list[Tensor] = []
        for role, ids, to in zip(
            ("head", "relation", "tail"), triples.unbind(-1), maps, strict=True
        ):
            if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < len(to):
                raise ValueError(
                    f"{role} ids of {name!r} must be in [0, {len(to)}) "
                    f"(got {int(ids.min())} to {int(ids.max())})"
                )
            columns.append(to[ids])
            if bool((columns[-1] < 0).any()):
                outside = int(ids[columns[-1] < 0].view(-1)[0])
                raise ValueError(f"the joint graph lacks a {role} of {name!r} (got id {outside})")
        return torch.stack(columns, dim=-1)

    def alignment_of(self, name: str) -> Alignment:
        """Source ``name`` (left) to the joint graph (right): all its entities and relations in it.

        With it ``linked_subgraph(source, linked.graph, alignment)`` finds the part of the joint
        graph that a teacher of the joint graph can be asked about.
        """
        place = self.index(name)
        maps = self.entity_maps[place], self.relation_maps[place]
        return Alignment.from_maps(name, self.graph.name, *maps)

    def back_map(self, name: str) -> tuple[Tensor, Tensor]:
        """The inverse of the maps of source ``name``: to ask its teacher in joint ids.

        Returns:
            ``entity`` [N] and ``relation`` [R]: for each joint id the id in the source, or -1.
            Where several entities of the source were merged, the lowest of their ids.
        """
        place = self.index(name)
        parts: list[Tensor] = []
        sizes = (self.graph.num_entities, self.graph.num_relations)
        for to, size in zip(
            (self.entity_maps[place], self.relation_maps[place]), sizes, strict=True
        ):
            own = (to >= 0).nonzero().view(-1)
            lowest = torch.full((size,), len(to)).scatter_reduce(0, to[own], own, reduce="amin")
            parts.append(torch.where(lowest < len(to), lowest, -1))
        return parts[0], parts[1]

    def without_pairs(self, name: str, held_out_triples: Tensor) -> "LinkedKG":
        """Strict mode: less the triples of *other* sources that link a held-out entity pair.

        Looks at the joint graph, so counterparts found through a third source count too; in mapping
        and swapping, entities that ``pairs`` connect count as one. Pairs are unordered and all
        relations count.

        Args:
            name: The source that the held-out triples belong to.
            held_out_triples: [T, 3] valid and test triples, in the ids of that source.

        Raises:
            ValueError: If there is no such source, or ids are out of range.
        """
        size = self.graph.num_entities
        same = components(size, self.pairs.index)  # [N] one number for all that is one
        held_out = same[self.to_joint(name, held_out_triples)[:, [0, 2]]]
        triples = self.graph.triples
        keep = ~on_pairs(same[triples[:, [0, 2]]], held_out, size)
        place, stated_by = self.index(name), self.stated_by
        keep |= (self.source == place) if stated_by is None else stated_by[:, place]
        return replace(
            self,
            graph=self.graph.with_triples(triples[keep]),
            source=self.source[keep],
            stated_by=None if stated_by is None else stated_by[keep],
        )
