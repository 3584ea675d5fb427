"""Refining a hierarchy: clusters are named, split, merged and put under each other."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, NoReturn, Protocol

import torch

from pyg_kgtransfer.graph.hierarchy import Hierarchy
from pyg_kgtransfer.process import progress_bar
from pyg_kgtransfer.sources.llm import BudgetSpentError, NoAnswerError

log = logging.getLogger(__name__)
Action = Literal["create", "merge", "left_covers_right", "right_covers_left"]
_IN_A_ROW = 5  # failures after which a refiner counts as out of reach


@dataclass
class Cluster:
    """A cluster under refinement.

    Attributes:
        name: What it is called; "" for nothing yet.
        entities: Of a leaf, positions in the vocabulary.
        children: Of an inner cluster.
    """

    name: str = ""
    entities: list[int] = field(default_factory=list)
    children: list["Cluster"] = field(default_factory=list)

    def every_entity(self) -> list[int]:
        """Those of all leaves below."""
        found, waiting = [], [self]
        while waiting:
            cluster = waiting.pop()
            found += cluster.entities
            waiting += cluster.children
        return found


class Split(NamedTuple):
    """What a leaf is called, and its two parts, each a name and entities, or none to keep it."""

    name: str
    parts: tuple[tuple[str, list[int]], ...] = ()


class Join(NamedTuple):
    """What becomes of two neighbours, and what the result is called."""

    action: Action
    name: str


class Refiner(Protocol):
    """Who decides. ``labels`` is what each entity is called, in the order of the vocabulary."""

    def split(self, cluster: Cluster, labels: Sequence[str]) -> Split:
        """Name a leaf, and split it or keep it.

        Raises:
            NoAnswerError: If there is no decision for this one.
            BudgetSpentError: If there will be none for any other.
        """
        ...

    def join(self, left: Cluster, right: Cluster, labels: Sequence[str]) -> Join:
        """Relate two neighbours; raises as ``split``."""
        ...


class Refined(NamedTuple):
    """A refined hierarchy and what was done.

    Attributes:
        hierarchy: Over the same entities.
        asked: Questions that were decided.
        done: How often each decision was made: split, keep and the actions of a join.
        failed: Clusters left as they were, for want of an answer.
        is_whole: Whether budget and refiner lasted to the end.
    """

    hierarchy: Hierarchy
    asked: int
    done: dict[str, int]
    failed: int
    is_whole: bool


@dataclass(frozen=True)
class RefineOptions:
    """Which leaves are split.

    Attributes:
        least: Entities of the smallest leaf that may be split, at least 2.
        most: Entities of the largest.

    Raises:
        ValueError: If the sizes are out of order.

    Example:
        >>> RefineOptions(least=5).most
        30
    """

    least: int = 10
    most: int = 30

    def __post_init__(self) -> None:
        if not 2 <= self.least <= self.most:
            raise ValueError(
                f"leaves of 2 <= least <= most entities are split (got {self.least} to {self.most})"
            )


def questions(hierarchy: Hierarchy, options: RefineOptions | None = None) -> int:
    """How many questions a refinement asks, at most: a dry run.

    Example:
        >>> from pyg_kgtransfer.graph.vocabulary import Vocabulary
        >>> parent, cluster_of = torch.tensor([-1, 0, 0]), torch.tensor([1, 2, 2])
        >>> tree = Hierarchy(Vocabulary("abc"), parent, cluster_of, ("",) * 3)
        >>> questions(tree, RefineOptions(least=2))  # a leaf to split, a pair to relate
        2
    """
    options = RefineOptions() if options is None else options
    held = hierarchy.cluster_of[hierarchy.cluster_of >= 0]
    sizes = torch.bincount(held, minlength=len(hierarchy))
    splits = ((sizes >= options.least) & (sizes <= options.most)).sum()
    return int(splits) + sum(max(len(children) - 1, 0) for children in hierarchy.children)


def refine(
    hierarchy: Hierarchy,
    labels: Sequence[str],
    refiner: Refiner,
    options: RefineOptions | None = None,
    *,
    progress: bool = False,
) -> Refined:
    """Split leaves, then relate neighbours from the leaves up; names are kept.

    A cluster for which there is no answer stays as it is; when the budget is spent, or several
    questions in a row got none, so do all that follow.

    Args:
        hierarchy: The seed.
        labels: What each of its entities is called.
        refiner: Who decides.
        options: Which leaves are split; defaults if ``None``.
        progress: Show a bar of questions on stderr, with the time left, where it is a terminal.

    Raises:
        ValueError: If there is not a label for each entity.
        NoAnswerError: If the first questions, or all, get no answer: the refiner is out of reach.

    Source: Jiang et al. 2024, arXiv 2405.16412 (KG-FIT).

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> entities = kgt.Vocabulary(["green tea", "black tea", "red wine", "white wine"])
        >>> vectors = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
        >>> seed = kgt.seed_hierarchy(vectors, entities).hierarchy
        >>> rules = kgt.LocalRefiner(vectors)
        >>> refined = kgt.refine(seed, entities.names, rules, kgt.RefineOptions(least=2))
        >>> refined.hierarchy.names[1:], refined.done
        (('tea', 'wine'), {'keep': 2, 'create': 1})
    """
    if len(labels) != len(hierarchy.entities):
        raise ValueError(
            f"each of {len(hierarchy.entities)} entities needs a label (got {len(labels)})"
        )
    options = RefineOptions() if options is None else options
    with progress_bar("questions", questions(hierarchy, options), show=progress) as advance:
        return _Refinement(labels, refiner, options, advance).of(hierarchy)


class _Refinement:
    """One pass over one tree."""

    def __init__(
        self,
        labels: Sequence[str],
        refiner: Refiner,
        options: RefineOptions,
        advance: Callable[[], None],
    ) -> None:
        self.labels, self.refiner, self.options = labels, refiner, options
        self.advance = advance
        self.done: Counter[str] = Counter()
        self.failed = self.failed_in_a_row = 0
        self.lost: NoAnswerError | None = None
        self.is_whole = True

    def of(self, hierarchy: Hierarchy) -> Refined:
        clusters = [Cluster(name) for name in hierarchy.names]
        for entity, cluster in enumerate(hierarchy.cluster_of.tolist()):
            if cluster >= 0:
                clusters[cluster].entities.append(entity)
        for number in hierarchy.depth.argsort(descending=True, stable=True).tolist():
            below = [clusters[child] for child in hierarchy.children[number]]
            cluster = clusters[number]
            if below:
                clusters[number] = self._joined(cluster, below)
            elif self.options.least <= len(cluster.entities) <= self.options.most:
                clusters[number] = self._split(cluster)
        if self.lost is not None and not self.done and self.is_whole:
            self._give_up(self.lost)
        tree = _tree(clusters[hierarchy.root], hierarchy)
        asked = sum(self.done.values())
        return Refined(tree, asked, dict(self.done), self.failed, self.is_whole)

    def _decided(self, question: Any) -> Any:
        """The decision, or ``None`` where there is none."""
        self.advance()
        if not self.is_whole:
            return None
        try:
            decision = question()
            self.failed_in_a_row = 0
            return decision
        except BudgetSpentError as error:
            log.warning("%s; the rest of the hierarchy stays as it is", error)
            self.is_whole = False
        except NoAnswerError as error:
            self.failed += 1
            self.failed_in_a_row += 1
            if self.failed_in_a_row >= _IN_A_ROW and self.done:
                log.warning("the rest of the hierarchy stays as it is: %s", error)
                self.is_whole = False
                return None
            if self.failed_in_a_row >= _IN_A_ROW:
                self._give_up(error)
            self.lost = error
            log.warning("a cluster stays as it is: %s", error)
        return None

    def _give_up(self, error: NoAnswerError) -> NoReturn:
        """Say that no question was answered."""
        raise NoAnswerError(
            f"the first {self.failed} questions got no answer, the hierarchy stays as it is: "
            f"{error}"
        ) from error

    def _split(self, cluster: Cluster) -> Cluster:
        found: Split | None = self._decided(lambda: self.refiner.split(cluster, self.labels))
        if found is None:
            return cluster
        self.done["split" if found.parts else "keep"] += 1
        if not found.parts:
            return Cluster(found.name or cluster.name, cluster.entities)
        parts = [Cluster(name, entities) for name, entities in found.parts]
        return Cluster(found.name or cluster.name, children=parts)

    def _joined(self, cluster: Cluster, below: list[Cluster]) -> Cluster:
        """Neighbours related two by two, from the first on."""
        result, *others = below
        if not others:
            return Cluster(cluster.name, children=below)
        for other in others:
            found: Join | None = self._decided(
                lambda left=result, right=other: self.refiner.join(left, right, self.labels)
            )
            if found is None:
                result = Cluster(cluster.name, children=[result, other])
            else:
                self.done[found.action] += 1
                result = _related(result, other, found)
        return result


def _related(left: Cluster, right: Cluster, join: Join) -> Cluster:
    if join.action == "create":
        return Cluster(join.name, children=[left, right])
    if join.action == "merge":
        if not left.children and not right.children:
            return Cluster(join.name, left.entities + right.entities)
        return Cluster(join.name, children=[*(left.children or [left]),
                                            *(right.children or [right])])  # fmt: skip
    over, under = (left, right) if join.action == "left_covers_right" else (right, left)
    own = over.children or [Cluster(over.name, over.entities)]
    return Cluster(join.name or over.name, children=[*own, under])


def _tree(root: Cluster, seed: Hierarchy) -> Hierarchy:
    parent: list[int] = []
    names: list[str] = []
    cluster_of = torch.full((len(seed.entities),), -1)
    waiting = [(root, -1)]
    while waiting:
        cluster, above = waiting.pop()
        parent.append(above)
        names.append(cluster.name)
        cluster_of[cluster.entities] = len(parent) - 1
        waiting += [(child, len(parent) - 1) for child in reversed(cluster.children)]
    return Hierarchy.pruned(seed.entities, torch.tensor(parent), cluster_of, tuple(names))
