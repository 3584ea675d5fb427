"""Who decides how a hierarchy is refined: rules on vectors and names, or a language model."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_kgtransfer.sources.llm import LLM, Message, json_object
from pyg_kgtransfer.sources.refinement import Action, Cluster, Join, Split

_SHOWN = 20  # entities of a cluster that a question lists


class LocalRefiner:
    """Decides by vectors and names, the same way each time: no model is asked.

    A leaf is split where two means tell it apart; neighbours whose means are nearly one are merged;
    one that is far larger than a neighbour close by covers it. Names are words that most of the
    entities share, else the label nearest to the mean.

    Args:
        vectors: [N, D] of the entities.
        split_gain: Least gain in cosine to the mean for a split, at least 0.
        merge_above: Cosine of means, in [0, 1].

    Example:
        >>> from pyg_kgtransfer.sources.refinement import Cluster
        >>> rules = LocalRefiner(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> left, right = Cluster("tea", [0]), Cluster("wine", [1])
        >>> rules.join(left, right, ["green tea", "red wine"]).action
        'create'
    """

    def __init__(
        self, vectors: Tensor, *, split_gain: float = 0.08, merge_above: float = 0.92
    ) -> None:
        self.unit = F.normalize(vectors.float(), dim=1)
        self.split_gain, self.merge_above = split_gain, merge_above

    def split(self, cluster: Cluster, labels: Sequence[str]) -> Split:
        rows = self.unit[cluster.entities]
        far = int((rows @ rows.mean(0)).argmin())
        side = rows @ rows[far] > rows @ rows[int((rows @ rows[far]).argmin())]
        for _ in range(10):
            means = F.normalize(torch.stack([rows[side].mean(0), rows[~side].mean(0)]), dim=1)
            nearer = rows @ means[0] > rows @ means[1]
            if torch.equal(nearer, side) or not 0 < int(nearer.sum()) < len(rows):
                break
            side = nearer
        name = self._name(cluster.entities, labels)
        if not 1 < int(side.sum()) < len(rows) - 1:
            return Split(name)
        one = F.normalize(rows.mean(0), dim=0)
        gain = torch.where(side, rows @ means[0], rows @ means[1]).mean() - (rows @ one).mean()
        if gain < self.split_gain:
            return Split(name)
        parts = [
            [e for e, first in zip(cluster.entities, side.tolist(), strict=True) if first == wanted]
            for wanted in (True, False)
        ]
        return Split(name, tuple((self._name(part, labels), part) for part in parts))

    def join(self, left: Cluster, right: Cluster, labels: Sequence[str]) -> Join:
        both = [left.every_entity(), right.every_entity()]
        means = F.normalize(torch.stack([self.unit[part].mean(0) for part in both]), dim=1)
        name = self._name(both[0] + both[1], labels)
        if float(means[0] @ means[1]) < self.merge_above:
            return Join("create", name)
        sizes = [len(part) for part in both]
        if max(sizes) >= 8 * min(sizes):
            larger = sizes.index(max(sizes))
            covers: Action = "right_covers_left" if larger else "left_covers_right"
            return Join(covers, self._name(both[larger], labels))
        return Join("merge", name)

    def _name(self, entities: Sequence[int], labels: Sequence[str]) -> str:
        words = Counter(
            word for e in entities for word in set(re.findall(r"\w{3,}", labels[e].lower()))
        )
        shared = [word for word, count in words.most_common(2) if 2 * count > len(entities)]
        if shared:
            return " ".join(sorted(shared))
        rows = self.unit[list(entities)]
        return labels[entities[int((rows @ rows.mean(0)).argmax())]]


_SPLIT = (
    "These things are in one cluster of a knowledge graph:\n{entities}\n"
    "Name the cluster in at most five words. If it plainly holds two kinds of things, split it in "
    "two parts and name both; else keep it. Answer with JSON alone: "
    '{{"name": "...", "parts": []}} or {{"name": "...", "parts": [{{"name": "...", "numbers": '
    '[1, 4]}}, {{"name": "...", "numbers": [2, 3]}}]}}, each number in one part.'
)
_JOIN = (
    "Two neighbouring clusters of a knowledge graph.\nLeft{left}\nRight{right}\n"
    "How are they related? create: they stand side by side under a new parent. merge: they are one "
    "and the same cluster. left_covers_right: the right one is a kind or part of the left one. "
    "right_covers_left: the other way round. Name the result in at most five words. Answer with "
    'JSON alone: {{"action": "create", "name": "..."}}'
)


class LLMRefiner:
    """Asks a language model. Answers are checked; those it gave before are not paid again.

    Args:
        llm: The model with its cache, retries and budget.

    Example:
        >>> from pyg_kgtransfer.sources.refinement import Cluster
        >>> class Says:
        ...     key = "a model"
        ...     def __call__(self, messages):
        ...         return '{"name": "drinks", "parts": []}'
        >>> LLMRefiner(LLM(Says())).split(Cluster("", [0, 1]), ["green tea", "red wine"]).name
        'drinks'
    """

    def __init__(self, llm: LLM) -> None:
        self.llm = llm

    def split(self, cluster: Cluster, labels: Sequence[str]) -> Split:
        listed = "\n".join(f"{i}. {labels[e]}" for i, e in enumerate(cluster.entities, 1))

        def check(text: str) -> Split:
            found = json_object(text)
            parts = found.get("parts", [])
            if not isinstance(parts, list) or len(parts) not in (0, 2):
                raise ValueError(f"parts must be none or two (got {parts!r})")
            numbers = [_numbers(part) for part in parts]
            expected = list(range(1, len(cluster.entities) + 1))
            if parts and (sorted(chain(*numbers)) != expected or not all(numbers)):
                raise ValueError("each number must be in one of two parts")
            split = [
                (_text(part, "name"), [cluster.entities[i - 1] for i in chosen])
                for part, chosen in zip(parts, numbers, strict=True)
            ]
            return Split(_text(found, "name"), tuple(split))

        return self.llm.ask(_question(_SPLIT.format(entities=listed)), check)

    def join(self, left: Cluster, right: Cluster, labels: Sequence[str]) -> Join:
        def check(text: str) -> Join:
            found = json_object(text)
            action, known = found.get("action"), get_args(Action)
            if action not in known:
                raise ValueError(f"action is one of {', '.join(known)} (got {action!r})")
            return Join(cast(Action, action), _text(found, "name"))

        given = {name: _described(c, labels) for name, c in (("left", left), ("right", right))}
        return self.llm.ask(_question(_JOIN.format(**given)), check)


def _described(cluster: Cluster, labels: Sequence[str]) -> str:
    entities = cluster.every_entity()
    step = max(1, len(entities) // _SHOWN)
    shown = "; ".join(labels[e] for e in entities[::step][:_SHOWN])
    called = f", called {cluster.name!r}" if cluster.name else ""
    return f"{called}, {len(entities)} things: {shown}"


def _question(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


def _text(found: Any, key: str) -> str:
    value = found.get(key) if isinstance(found, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key} must be a text (got {value!r})")
    return value.strip()


def _numbers(part: Any) -> list[int]:
    numbers = part.get("numbers") if isinstance(part, dict) else None
    if not isinstance(numbers, list) or not all(type(n) is int for n in numbers):
        raise ValueError(f"numbers must be a list of whole numbers (got {numbers!r})")
    return numbers
