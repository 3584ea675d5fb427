"""The copy rule: answer what an aligned copy of the fact says, else what is most frequent.

It learns nothing but counts. A transfer method that does not beat it has moved
facts, not knowledge.
"""

from typing import Literal

import torch
from torch import Tensor

from pyg_kgtransfer.functional.segments import segment_counts, sorted_join

_EVIDENCE_STEPS = 1 << 20  # evidence is told apart to one in a million
_FREQUENCY_RANGE = 1 << 32  # steps * range < 2^53: float64 holds every score exactly


class CopyRule:
    """A baseline that is ranked as a model is, under the same protocol.

    The score of candidate t for (h, r, ?) puts evidence first and lets frequency break its ties::

        evidence(t)  = 1 - product over source relations s linking (h, t) of (1 - P(r | s))
        score(t)     = round(2^20 evidence(t)) 2^32 + how often t is the tail of r in training

    and likewise for heads. A source relation links a pair forward or backward, as two different s.

    Args:
        train: [M, 3] int64 training triples of the target.
        copies: [S, 3] int64 source triples with their ends mapped to target entities; rows with an
            end of -1 (no counterpart) are ignored. The relation is the source's, see ``relations``.
        num_entities: N of the target.
        num_relations: R of the target.
        relations: ``"shared"``: source relations carry target ids (the languages of DBP-5L), so
            P(r | s) is 1 for s = r forward and 0 else. ``"learned"``: they have ids of their own
            (the atlas), and P(r | s) is the share of the pairs linked by s that are a training
            fact of r; held-out facts make it smaller for all s alike.

    Raises:
        ValueError: If ids are out of range, or ``relations`` is neither of the two.

    Example:
        >>> copies = torch.tensor([[2, 0, 3]])
        >>> rule = CopyRule(torch.tensor([[0, 0, 1]]), copies, num_entities=4, num_relations=1,
        ...                 relations="shared")
        >>> rule.score_tails(None, torch.tensor([2]), torch.tensor([0])).argmax().item()
        3
    """

    score_bytes = 64  # float64, with intermediates

    def __init__(
        self,
        train: Tensor,
        copies: Tensor,
        *,
        num_entities: int,
        num_relations: int,
        relations: Literal["shared", "learned"] = "learned",
    ) -> None:
        if relations not in ("shared", "learned"):
            raise ValueError(f"relations must be 'shared' or 'learned' (got {relations!r})")
        for triples, name in ((train, "training"), (copies, "copied")):
            if triples.dim() != 2 or triples.shape[1] != 3 or triples.dtype != torch.long:
                raise ValueError(
                    f"{name} triples must be int64 of shape [M, 3] "
                    f"(got {triples.dtype} {tuple(triples.shape)})"
                )
        train, copies = train.cpu(), copies.cpu()
        copies = copies[(copies[:, [0, 2]] != -1).all(1)]
        num_sources = int(copies[:, 1].max()) + 1 if len(copies) else 0
        if relations == "shared":
            num_sources = num_relations
        _check_ids(train, num_entities, num_relations, "training")
        _check_ids(copies, num_entities, num_sources, "copied")
        self.num_entities = num_entities
        self.num_relations = num_relations
        head, relation, tail = copies.unbind(1)
        backward = torch.stack([tail, relation + num_sources, head], 1)
        links = torch.unique(torch.cat([copies, backward]), dim=0)  # [L, 3] (h, s, t), by h
        train = torch.unique(train, dim=0)
        if relations == "shared":
            share = torch.zeros(2 * num_sources, num_relations, dtype=torch.double)
            share.fill_diagonal_(1.0)
        else:
            share = self._shares(train, links, 2 * num_sources)
        self._log_miss = torch.log1p(-share)  # [2S, R], log(1 - P(r | s)), -inf where P is 1
        self._links = links
        self._tail_counts = self._counts(train[:, 1], train[:, 2])
        self._head_counts = self._counts(train[:, 1], train[:, 0])

    def encode(self, graph: object) -> None:
        """Nothing: the rule has no representations."""

    def score_tails(
        self,
        representations: object,
        head: Tensor,
        relation: Tensor,
        candidates: Tensor | None = None,
    ) -> Tensor:
        """Scores of (head [B], relation [B], candidate), float64; see ``KGModel.score_tails``."""
        return self._score(head, relation, candidates, self._tail_counts)

    def score_heads(
        self,
        representations: object,
        relation: Tensor,
        tail: Tensor,
        candidates: Tensor | None = None,
    ) -> Tensor:
        """Scores of (candidate, relation [B], tail [B]), float64; see ``KGModel.score_heads``."""
        half = len(self._log_miss) // 2
        turned = self._log_miss.roll(half, 0)  # s links (h, t) as its reverse links (t, h)
        return self._score(tail, relation, candidates, self._head_counts, log_miss=turned)

    def _score(
        self,
        anchor: Tensor,
        relation: Tensor,
        candidates: Tensor | None,
        counts: tuple[Tensor, Tensor, Tensor],
        *,
        log_miss: Tensor | None = None,
    ) -> Tensor:
        device = anchor.device
        anchor, relation = anchor.cpu(), relation.cpu()
        log_miss = self._log_miss if log_miss is None else log_miss
        row, link = sorted_join(self._links[:, 0].contiguous(), anchor)
        silent = torch.zeros(len(anchor), self.num_entities, dtype=torch.double)
        _, source, answer = self._links[link].unbind(1)
        silent.index_put_((row, answer), log_miss[source, relation[row]], accumulate=True)
        score = ((1 - silent.exp()) * _EVIDENCE_STEPS).round() * _FREQUENCY_RANGE  # [B, N]
        of_relation, entity, count = counts
        row, position = sorted_join(of_relation, relation)
        score[row, entity[position]] += count[position].double()
        if candidates is not None:
            columns = candidates.cpu().expand(len(anchor), candidates.shape[-1])
            score = score.gather(1, columns)  # [B, K]
        return score.to(device)

    def _shares(self, train: Tensor, links: Tensor, num_sources: int) -> Tensor:
        """P(r | s): [2S, R] float64."""
        size = self.num_entities
        pairs = train[:, 0] * size + train[:, 2]
        order = torch.argsort(pairs)
        row, position = sorted_join(pairs[order], links[:, 0] * size + links[:, 2])
        joint = links[row, 1] * self.num_relations + train[order][position, 1]
        both = segment_counts(joint, num_sources * self.num_relations)
        linked = segment_counts(links[:, 1], num_sources).clamp(min=1)
        return both.view(num_sources, self.num_relations) / linked.unsqueeze(1).double()

    def _counts(self, relation: Tensor, entity: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Relation (ascending), entity and how often they meet in training."""
        keys, count = torch.unique(relation * self.num_entities + entity, return_counts=True)
        return keys // self.num_entities, keys % self.num_entities, count


def _check_ids(triples: Tensor, num_entities: int, num_relations: int, name: str) -> None:
    for column, role, size in (
        (0, "head", num_entities),
        (1, "relation", num_relations),
        (2, "tail", num_entities),
    ):
        ids = triples[:, column]
        if len(ids) and (int(ids.min()) < 0 or int(ids.max()) >= size):
            raise ValueError(
                f"the {role} ids of {name} triples must be in [0, {size}) "
                f"(got {int(ids.min())} to {int(ids.max())})"
            )
