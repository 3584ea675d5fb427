"""Targets with a share of their training facts, and the models that learn them, each in its way."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from benchmarks.dbp5l_task import Dbp5l
from benchmarks.jplr_dbp5l import DISTILLATION, recipe
from pyg_kgtransfer.demo.study import TEACHING, AtlasSettings, AtlasTask, move, retrain, teach
from pyg_kgtransfer.evaluation.link_prediction import LinkPrediction
from pyg_kgtransfer.evaluation.result import LinkPredictionResult
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.linking.alignment import Alignment
from pyg_kgtransfer.linking.linked import link
from pyg_kgtransfer.linking.linked_kg import LinkedKG
from pyg_kgtransfer.models.build import ModelConfig
from pyg_kgtransfer.objectives.build import ObjectiveConfig
from pyg_kgtransfer.sources.atlas import load_atlas
from pyg_kgtransfer.sources.datasets import load
from pyg_kgtransfer.training.batches import BatchOptions
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.transfer.adapt import AdaptConfig, adapt
from pyg_kgtransfer.transfer.distill import distill
from pyg_kgtransfer.transfer.finetune import finetune
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import alone, place_in, ranking_of
from pyg_kgtransfer.transfer.recipe import Recipe

ADAPTATION = AdaptConfig("mmd", weight=0.1)
LANGUAGE = "el"


def with_share(split: Split, share: float, *, seed: int) -> Split:
    """The split with a random share of its training facts; a smaller share is within a larger one.

    All names stay, and all held-out facts.

    Raises:
        ValueError: If the share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"the share of the training facts must be in (0, 1] (got {share})")
    triples = split.train.triples
    order = torch.randperm(len(triples), generator=torch.Generator().manual_seed(seed))
    kept = order[: round(share * len(triples))].sort().values
    return replace(split, train=split.train.with_triples(triples[kept]))


def ranked(checkpoint: Checkpoint, split: Split, whole: Split) -> LinkPredictionResult:
    """Test ranks of a model that saw a share; the facts it did not see do not compete either."""
    own = ranking_of(split, reader=checkpoint)
    place = place_in(split.train, checkpoint)
    known = KnownTriples(
        [place.moved(part) for part in (whole.train.triples, *_held_out(whole))],
        num_entities=place.graph.num_entities,
        num_relations=place.graph.num_relations,
    )
    rank = LinkPrediction(
        HeldOut(own.triples, "test"), known, candidates=own.candidates, groups=own.groups
    )
    with torch.no_grad():
        vectors = checkpoint.model.eval().encode(checkpoint.graph.tensors())
    return rank(checkpoint.model, vectors)


def _held_out(split: Split) -> tuple[Tensor, Tensor]:
    return split.valid.triples, split.test.triples


def trials(quick: bool, batch: tuple[int, int]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Weights of N3 and batch sizes to try from scratch."""
    return ((0.05,), batch[1:]) if quick else ((0.05, 0.2, 0.5), batch)


def scrambled(graph: KnowledgeGraph, *, seed: int) -> KnowledgeGraph:
    """As many facts of the same relations, their ends drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    triples = graph.triples.clone()
    shape = len(triples), 2
    triples[:, [0, 2]] = torch.randint(graph.num_entities, shape, generator=generator)
    return replace(graph.with_triples(triples), name=f"{graph.name}, scrambled")


def best_of(
    learn: Callable[[Recipe], Checkpoint], recipe: Recipe, n3: Sequence[float], batch: Sequence[int]
) -> Checkpoint:
    """The model, of those with these weights of N3 and batch sizes, that validates best.

    Few facts want small batches: beside other facts they get them anyway, alone they must be given.
    """
    models = [
        learn(
            replace(
                recipe,
                objective=replace(recipe.objective, n3=weight),
                batches=replace(recipe.batches, batch_size=size),
            )
        )
        for weight in n3
        for size in batch
    ]
    return max(models, key=lambda model: model.metrics["valid"]["mrr"])


@dataclass(frozen=True)
class AtlasAt:
    """GeoNames with a share of its facts, CLDR and ISO whole, linked by codes (strict).

    Attributes:
        share: Of the training facts.
        seed: Of the draw, weights and batches.
        quick: Small models, a few epochs.
    """

    share: float
    seed: int
    quick: bool = False

    @property
    def whole(self) -> Split:
        """The target with all facts."""
        return load_atlas().geonames

    @cached_property
    def split(self) -> Split:
        """The target with a share of them."""
        return with_share(self.whole, self.share, seed=self.seed)

    @cached_property
    def settings(self) -> AtlasSettings:
        """Those of the demo: R-GCN before ComplEx."""
        settings = AtlasSettings(seed=self.seed, progress=False)
        if not self.quick:
            return settings
        settings = replace(settings, teacher_width=32, student_width=16, teacher_epochs=2)
        return replace(settings, student_epochs=2, alone_epochs=4)

    def decisive(self) -> dict[str, Any]:
        """What decides the result, for the record."""
        return {
            "settings": asdict(self.settings),
            "trials": trials(self.quick, (64, 512)),
            "distillation": asdict(TEACHING),
            "adaptation": [asdict(ADAPTATION), 0.02],
        }

    @cached_property
    def task(self) -> AtlasTask:
        """As the demo takes it."""
        atlas = load_atlas()
        graphs = {"geonames": self.split.train, "cldr": atlas.cldr, "iso": atlas.iso}
        links = [
            Alignment.from_names(graphs[left], graphs[right], pairs)
            for (left, right), pairs in atlas.links.items()
        ]
        held_out = torch.cat(_held_out(self.split))
        linked = link(list(graphs.values()), links).without_pairs("geonames", held_out)
        none = torch.zeros(len(self.split.test), dtype=torch.bool)
        return AtlasTask(self.split, linked, none, {}, is_strict=True)

    def models(self) -> Mapping[str, Checkpoint]:
        """By the way they were learned."""
        task, settings, split = self.task, self.settings, self.split

        def alone_(recipe: Recipe) -> Checkpoint:
            return pretrain(alone(split.train), [split], recipe=recipe)

        made = settings.recipe(settings.student_width, settings.alone_epochs, settings.alone_n3)
        made = replace(made, objective=replace(made.objective, num_candidates=None))
        teacher = teach(task, settings)
        graphs = [self.split.train, load_atlas().cldr, load_atlas().iso]
        rate = settings.recipe(settings.teacher_width, settings.student_epochs, settings.n3)
        adapting = replace(
            rate, training=replace(rate.training, learning_rate=0.02, validate_every=1)
        )
        return {
            "scratch": best_of(alone_, made, *trials(self.quick, (64, 512))),
            "unlinked": teach(replace(task, linked=link(graphs, [])), settings),
            "joint": teacher,
            "finetuned": move(teacher, task, settings),
            "distilled": retrain(teacher, task, settings),
            "adapted": adapt(teacher, self.split, recipe=adapting, config=ADAPTATION),
        }


@dataclass(frozen=True)
class GreekAt:
    """DBP-5L's Greek with a share of its facts, the other four languages whole, all seed links.

    Attributes:
        share: Of the training facts.
        seed: Of the draw, weights and batches.
        quick: Small models, an epoch.
    """

    share: float
    seed: int
    quick: bool = False

    @cached_property
    def _all(self) -> Dbp5l:
        return Dbp5l.load()

    @property
    def whole(self) -> Split:
        """The target with all facts."""
        return self._all.splits[LANGUAGE]

    @cached_property
    def split(self) -> Split:
        """The target with a share of them."""
        return with_share(self.whole, self.share, seed=self.seed)

    @cached_property
    def data(self) -> Dbp5l:
        """All five graphs."""
        return replace(self._all, splits={**self._all.splits, LANGUAGE: self.split})

    def recipe(self, width: int, epochs: int, n3: float, *, rate: float = 0.1) -> Recipe:
        """ComplEx without an encoder."""
        many = None if width == 160 else 2000
        made = recipe(width, epochs, seed=self.seed, n3=n3, num_candidates=many)
        model = ModelConfig(encoder="shallow", width=16 if self.quick else width)
        training = replace(
            made.training,
            learning_rate=rate,
            progress=False,
            accelerator="cpu",
            epochs=1 if self.quick else epochs,
        )
        return replace(made, model=model, training=training)

    def decisive(self) -> dict[str, Any]:
        """What decides the result, for the record."""
        made = (
            self.recipe(160, 40, 0.05),
            self.recipe(200, 12, 0.005),
            self.recipe(160, 10, 0.02, rate=0.02),
            self.recipe(160, 26, 0.02),
            self.recipe(200, 3, 0.005, rate=0.02),
        )
        return {
            "recipes": [asdict(recipe) for recipe in made],
            "trials": trials(self.quick, (128, 1024)),
            "distillation": asdict(DISTILLATION),
            "adaptation": asdict(ADAPTATION),
        }

    def models(self) -> Mapping[str, Checkpoint]:
        """By the way they were learned."""
        split = self.split

        def alone_(recipe: Recipe) -> Checkpoint:
            return pretrain(alone(split.train), [split], recipe=recipe)

        recipe = self.recipe(200, 12, 0.005)
        teacher = pretrain(self.data.joint, [split], recipe=recipe)
        graphs = [each.train for each in self.data.splits.values()]
        return {
            "scratch": best_of(
                alone_, self.recipe(160, 40, 0.05), *trials(self.quick, (128, 1024))
            ),
            "unlinked": pretrain(link(graphs, []), [split], recipe=recipe),
            "joint": teacher,
            "finetuned": finetune(teacher, split, recipe=self.recipe(160, 10, 0.02, rate=0.02)),
            "distilled": distill(
                teacher,
                split,
                self.data.subgraph(LANGUAGE, teacher),
                recipe=self.recipe(160, 26, 0.02),
                config=DISTILLATION,
            ),
            "adapted": adapt(
                teacher, split, recipe=self.recipe(200, 3, 0.005, rate=0.02), config=ADAPTATION
            ),
        }


@dataclass(frozen=True)
class UnrelatedAt:
    """umls with a share of its facts, alone and beside nations, which has nothing to say of it.

    They share no vector; but each is full of wrong answers for the other, which does the few facts
    of a small share good. So there is a placebo beside it: as many facts drawn at random.

    Attributes:
        share: Of umls's training facts.
        seed: Of the draw, weights and batches.
        quick: A few epochs.
    """

    share: float
    seed: int
    quick: bool = False

    @cached_property
    def whole(self) -> Split:
        """The target with all facts."""
        return load("umls", offline=True)

    @cached_property
    def split(self) -> Split:
        """The target with a share of them."""
        return with_share(self.whole, self.share, seed=self.seed)

    @property
    def recipe(self) -> Recipe:
        """ComplEx without an encoder."""
        return Recipe(
            ModelConfig(encoder="shallow", width=64),
            ObjectiveConfig(n3=0.1),
            BatchOptions(seed=self.seed),
            TrainConfig(
                epochs=2 if self.quick else 100,
                optimizer="adagrad",
                learning_rate=0.1,
                validate_every=2,
                patience=5,
                seed=self.seed,
                progress=False,
                accelerator="cpu",
            ),
        )

    def _batch(self) -> tuple[int, ...]:
        return (256,) if self.quick else (16, 256)

    def decisive(self) -> dict[str, Any]:
        """What decides the result, for the record."""
        return {"recipe": asdict(self.recipe), "batch": self._batch()}

    def models(self) -> Mapping[str, Checkpoint]:
        """Alone, beside the other graph, and beside random facts."""
        other = load("nations", offline=True).train

        def learned(linked: LinkedKG) -> Checkpoint:
            def learn(recipe: Recipe) -> Checkpoint:
                return pretrain(linked, [self.split], recipe=recipe)

            return best_of(learn, self.recipe, (0.1,), self._batch())

        return {
            "scratch": learned(alone(self.split.train)),
            "placebo": learned(link([self.split.train, scrambled(other, seed=self.seed)], [])),
            "joint": learned(link([self.split.train, other], [])),
        }
