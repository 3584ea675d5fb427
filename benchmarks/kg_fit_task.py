"""KG-FIT's benchmark: graphs with words for their entities and hierarchies over them."""

import csv
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.protocol import Found
from benchmarks.timing import peak_bytes
from pyg_kgtransfer.evaluation.result import LinkPredictionResult
from pyg_kgtransfer.graph.clustering import Clustered, seed_hierarchy
from pyg_kgtransfer.graph.hierarchy import Hierarchy
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.atlas import load_atlas, load_atlas_names
from pyg_kgtransfer.sources.datasets import load, load_descriptions
from pyg_kgtransfer.sources.hierarchies import read_nested_hierarchy
from pyg_kgtransfer.sources.refinement import refine
from pyg_kgtransfer.sources.refiners import LocalRefiner
from pyg_kgtransfer.sources.text import TextEncoder, text_vectors
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.kg_fit import KGFitConfig, kg_fit
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import alone, evaluate
from pyg_kgtransfer.transfer.recipe import Recipe

MADE_BY = {"seed": "seed_hierarchy", "gpt35": "llm_hierarchy_gpt35", "gpt4o": "llm_hierarchy"}


@dataclass(eq=False)
class Task:
    """A graph with the words for its entities.

    Attributes:
        name: Of the data set.
        split: The graph.
        descriptions: Of its entities.
        encoder: From text to vectors.
        trees: Hierarchies by who made them; ``"shuffled"``: of vectors that change entities.
        built: What making them took.
    """

    name: str
    split: Split
    descriptions: Mapping[str, str]
    encoder: TextEncoder
    trees: dict[str, Hierarchy] = field(default_factory=dict)
    built: dict[str, float] = field(default_factory=dict)
    kept: dict[int, Tensor] = field(default_factory=dict)

    def vectors(self, width: int, tree: str = "here") -> Tensor:
        """Text vectors of a width; for the tree ``"shuffled"`` those of other entities."""
        graph = self.split.train
        if width not in self.kept:
            self.kept[width] = text_vectors(
                graph.entities,
                self.labels,
                self.descriptions,
                self.encoder,
                width=width,
                cut="principal",
            )
        if tree != "shuffled":
            return self.kept[width]
        generator = torch.Generator().manual_seed(0)
        return self.kept[width][torch.randperm(graph.num_entities, generator=generator)]

    @property
    def labels(self) -> dict[str, str]:
        """What each entity is called."""
        graph = self.split.train
        return {name: graph.label(i) for i, name in enumerate(graph.entities)}

    def make_tree(self, tree: str = "here") -> None:
        """Cluster the entities, refine by rules, and note time, memory and threshold."""
        vectors = self.vectors(256, tree)
        start = time.perf_counter()
        found = seed_hierarchy(vectors, self.split.train.entities)
        refined = refine(found.hierarchy, list(self.labels.values()), LocalRefiner(vectors))
        self.trees[tree] = refined.hierarchy
        if tree != "here":
            return
        self.built = {
            "seconds": time.perf_counter() - start,
            "threshold": found.best.threshold,
            "silhouette": found.best.silhouette or 0.0,
            "clusters": len(refined.hierarchy),
        }
        work = partial(seed_hierarchy, vectors, self.split.train.entities)
        self.built["memory_mb"] = peak_bytes(work) / 2**20

    def read_trees(self, folder: Path) -> None:
        """KG-FIT's own hierarchies; entities are told apart by a table of their labels there."""
        with (folder / "mid2leaf.tsv").open(encoding="utf-8", newline="") as file:
            labels = {row[0]: row[1] for row in csv.reader(file, delimiter="\t")}
        entities = self.split.train.entities
        for name, file_name in MADE_BY.items():
            path = folder / f"{file_name}.json"
            self.trees[name] = read_nested_hierarchy(path, entities, labels, missing="leave")


def trained(task: Task, recipe: Recipe, tree: str, fit: KGFitConfig | None) -> Checkpoint:
    """The base model where ``fit`` is ``None``, else under KG-FIT."""
    if fit is None:
        return pretrain(alone(task.split.train), [task.split], recipe=recipe)
    text = task.vectors(recipe.model.width, tree)
    return kg_fit(task.split, text, task.trees[tree], recipe=recipe, config=fit)


def measured(
    name: str, task: Task, recipe: Recipe, tree: str = "here", fit: KGFitConfig | None = None
) -> Found:
    """Train, select on validation, rank the test facts."""
    checkpoint = trained(task, recipe, tree, fit)
    result = evaluate(checkpoint, task.split)
    metrics = result.metrics()
    figures = {f"{name}.{metric}": metrics[metric] for metric in ("mrr", "hits@1", "hits@10")}
    figures[f"{name}.valid.mrr"] = checkpoint.metrics["valid"]["mrr"]
    figures[f"{name}.seconds"] = checkpoint.metrics["seconds"]
    curve = [
        {k: row[k] for k in ("epoch", "mrr", "hits@10")} for row in checkpoint.metrics["curve"]
    ]
    return Found(figures, {"hits": hits_of(result), "curve": curve})


def hits_of(result: LinkPredictionResult) -> str:
    """Of each test fact on how many sides the answer is among the first ten: a digit each."""
    return "".join(map(str, (result.ranks <= 10).sum(1).tolist()))


def split_of(name: str) -> Split:
    """The graph of a set; of the atlas GeoNames, alone."""
    return load_atlas().geonames if name == "atlas" else load(name, offline=True)


def descriptions_of(name: str) -> dict[str, str]:
    """What is said of the entities of a set; in the atlas their names in a dozen languages."""
    if name == "atlas":
        return {entity: "; ".join(names) for entity, names in load_atlas_names().items()}
    return load_descriptions(name, offline=True)


def many_entities(count: int) -> dict[str, float]:
    """What a hierarchy of so many entities takes: synthetic vectors around 3,000 centres."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(3000, 256, generator=generator)
    vectors = torch.randn(count, 256, generator=generator).mul_(0.5)
    vectors += centres[torch.randint(3000, (count,), generator=generator)]
    entities = Vocabulary(map(str, range(count)), kind="entity")
    found: list[Clustered] = []
    start = time.perf_counter()
    peak = peak_bytes(lambda: found.append(seed_hierarchy(vectors, entities)))
    return {
        "many.entities": float(count),
        "many.hierarchy.seconds": time.perf_counter() - start,
        "many.hierarchy.memory_mb": peak / 2**20,
        "many.hierarchy.clusters": float(found[0].best.num_clusters),
        "many.hierarchy.silhouette": found[0].best.silhouette or 0.0,
    }
