"""What the verbs about texts share: the words, their vectors, the tree and its refiner."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jsonargparse import ArgumentParser, Namespace
from torch import Tensor

from pyg_kgtransfer.commands.inputs import ATLAS, DATA_HELP, load_split
from pyg_kgtransfer.commands.outputs import Show
from pyg_kgtransfer.graph.clustering import ClusterOptions, seed_hierarchy
from pyg_kgtransfer.graph.hierarchy import Hierarchy
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.serving import report
from pyg_kgtransfer.sources.atlas import load_atlas_names
from pyg_kgtransfer.sources.dataset_table import DATASETS
from pyg_kgtransfer.sources.datasets import Places, load_descriptions
from pyg_kgtransfer.sources.entity_text import EntityText, read_entity_text
from pyg_kgtransfer.sources.llm import LLM, LLMOptions, NoAnswerError, OpenAIChat
from pyg_kgtransfer.sources.refinement import RefineOptions, Refiner, questions, refine
from pyg_kgtransfer.sources.refiners import LLMRefiner, LocalRefiner
from pyg_kgtransfer.sources.text import (
    CachedText,
    NoText,
    SentenceText,
    TextEncoder,
    TfidfText,
    text_vectors,
)

TFIDF, MINILM = "tfidf", "minilm"


@dataclass(frozen=True)
class Endpoint:
    """Where a language model is; its key is read from the environment (OPENAI_API_KEY) alone.

    Attributes:
        model: Its name at that address.
        base_url: Any endpoint that speaks OpenAI's protocol; ``None``: OpenAI's own.
        timeout: Seconds to wait for an answer.
    """

    model: str = "gpt-4o-mini"
    base_url: str | None = None
    timeout: float = 60.0


def add_text_arguments(parser: ArgumentParser, *, data_help: str) -> None:
    """``--data``, and how its entities' texts become vectors."""
    parser.add_argument("--data", required=True, metavar="DATA", help=f"{data_help}: {DATA_HELP}")
    add_text_table(parser)
    parser.add_argument(
        "--encoder",
        default=TFIDF,
        metavar="ENCODER",
        help=f"from text to vectors: {TFIDF!r} (needs nothing), {MINILM!r} (sentences, extra "
        "'text', works offline), or the name or folder of a sentence-transformers model",
    )
    parser.add_argument(
        "--without_text",
        type=NoText,
        default="name",
        help="entities that are not described: their name stands for it, or they get no vector "
        "(zero), or they are refused",
    )
    parser.add_argument(
        "--cache",
        type=str | None,
        metavar="DIR",
        help="where vectors of texts and a language model's answers are kept (default: below "
        "KGT_CACHE, else ~/.cache/pyg_kgtransfer)",
    )


def add_text_table(parser: ArgumentParser) -> None:
    """``--text``."""
    parser.add_argument(
        "--text",
        type=str | None,
        metavar="FILE",
        help="what is said of the entities: a table with the columns entity and description, or "
        "entity, name and description (default: the texts that come with the atlas or a named data "
        "set, else the entities' names alone)",
    )


def add_hierarchy_arguments(parser: ArgumentParser) -> None:
    """How entities are clustered, and who refines the tree."""
    parser.add_class_arguments(ClusterOptions, "clusters")
    parser.add_argument(
        "--refine",
        type=Literal["none", "local", "llm"],
        default="local",
        help="who splits, joins and names clusters: nobody, rules on vectors and names, or a "
        "language model (extra 'llm')",
    )
    parser.add_class_arguments(RefineOptions, "leaves")
    parser.add_class_arguments(Endpoint, "llm")
    parser.add_class_arguments(LLMOptions, "budget")
    parser.add_argument(
        "--dry_run",
        type=bool,
        default=False,
        help="only tell how many questions the refinement would ask at most",
    )


class Texts(NamedTuple):
    """A graph and the words for its entities.

    Attributes:
        split: The graph with its held-out facts.
        words: What entities are called, and what is said of them.
        cache: Folder for vectors and answers.
    """

    split: Split
    words: EntityText
    cache: Path

    @property
    def graph(self) -> KnowledgeGraph:
        """The training graph."""
        return self.split.train

    @property
    def labels(self) -> list[str]:
        """What each entity is called."""
        names = self.words.names
        return [names.get(e) or self.graph.label(i) for i, e in enumerate(self.graph.entities)]


def read_texts(options: Namespace) -> Texts:
    """The graph of ``--data`` and the words for its entities."""
    split = load_split(options.data)
    cache = Path(options.cache) if options.cache else Places.given().cache
    found = entity_text(options, split)
    graph = split.train
    labels = {e: graph.label(i) for i, e in enumerate(graph.entities)}
    return Texts(split, EntityText(labels | found.names, found.descriptions), cache)


def entity_text(options: Namespace, split: Split) -> EntityText:
    """What ``--text`` says of the entities, else what is known of the atlas or a named set."""
    entities, name = split.train.entities, options.data.casefold()
    if options.text:
        return read_entity_text(Path(options.text), entities)
    if options.data.partition(":")[0] == ATLAS:
        names = load_atlas_names()
        return EntityText({}, {e: "; ".join(names[e]) for e in entities if e in names})
    has_text = name in DATASETS and DATASETS[name].descriptions
    return EntityText({}, load_descriptions(options.data) if has_text else {})


def encoded(options: Namespace, texts: Texts, width: int) -> Tensor:
    """A text vector for each entity, of this width; kept on disk."""
    encoder: TextEncoder = (
        TfidfText(max(1, width // 2))
        if options.encoder == TFIDF
        else SentenceText(None if options.encoder == MINILM else options.encoder)
    )
    return text_vectors(
        texts.graph.entities,
        texts.words.names,
        texts.words.descriptions,
        CachedText(encoder, texts.cache / "text"),
        width=width,
        cut="prefix" if options.encoder == TFIDF else "principal",
        without=options.without_text,
    )


def made_hierarchy(
    options: Namespace, texts: Texts, vectors: Tensor, show: Show
) -> tuple[Hierarchy, dict[str, Any]]:
    """Cluster, refine if wished, and tell what was done; a refiner out of reach leaves the seed.

    Returns:
        The hierarchy, and the report.
    """
    found = seed_hierarchy(vectors, texts.graph.entities, options.clusters)
    tree = found.hierarchy
    told: dict[str, Any] = {
        "threshold": found.best.threshold,
        "silhouette": found.best.silhouette,
        **_counts(tree),
        "questions_at_most": questions(tree, options.leaves),
    }
    if options.refine == "none" or options.dry_run:
        show(report.facts_table("hierarchy of clusters", told))
        return tree, told
    refiner, llm = _refiner(options, texts, vectors)
    try:
        refined = refine(tree, texts.labels, refiner, options.leaves, progress=True)
    except NoAnswerError as error:
        show(report.facts_table("hierarchy of clusters", told))
        raise SeedKeptError(str(error), tree, told) from error
    told |= _counts(refined.hierarchy) | {
        "refined_by": options.refine,
        "decisions": refined.done,
        "without_answer": refined.failed,
        "refined_to_the_end": refined.is_whole,
    }
    if llm is not None:
        told |= {"calls": llm.num_calls, "tokens": llm.num_tokens, "known": llm.num_known}
    show(report.facts_table("hierarchy of clusters", told))
    return refined.hierarchy, told


class SeedKeptError(ValueError):
    """The refiner is out of reach; ``hierarchy`` is the seed, ``told`` its report."""

    def __init__(self, message: str, hierarchy: Hierarchy, told: dict[str, Any]) -> None:
        super().__init__(message)
        self.hierarchy, self.told = hierarchy, told


def _refiner(options: Namespace, texts: Texts, vectors: Tensor) -> tuple[Refiner, LLM | None]:
    if options.refine == "local":
        return LocalRefiner(vectors), None
    endpoint: Endpoint = options.llm
    chat = OpenAIChat(endpoint.model, base_url=endpoint.base_url, timeout=endpoint.timeout)
    llm = LLM(chat, texts.cache / "answers", options.budget)
    return LLMRefiner(llm), llm


def _counts(tree: Hierarchy) -> dict[str, int]:
    return {
        "clusters": len(tree),
        "leaves": int(tree.is_leaf.sum()),
        "depth": int(tree.depth.max()),
        "entities": int((tree.cluster_of >= 0).sum()),
        "entities_in_no_cluster": int((tree.cluster_of < 0).sum()),
    }
