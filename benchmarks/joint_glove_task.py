"""The benchmark of facts and words: texts and counts, runs, and the numpy peer of GloVe."""

import multiprocessing
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.kg_fit_models import Setting
from benchmarks.protocol import Found
from pyg_kgtransfer.evaluation.result import LinkPredictionResult
from pyg_kgtransfer.evaluation.word_similarity import read_rated_pairs, word_similarity
from pyg_kgtransfer.functional.losses import glove_loss, glove_weight
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.sources.cooccurrence import Cooccurrences, count_cooccurrences
from pyg_kgtransfer.sources.corpus import Corpus, count_words
from pyg_kgtransfer.sources.datasets import Places, load_descriptions
from pyg_kgtransfer.sources.word_vectors import WordVectors
from pyg_kgtransfer.training.glove import GloVe, GloVeTraining, start_tables, train_glove
from pyg_kgtransfer.transfer.joint_glove import JointGloVeConfig, joint_glove
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import alone, evaluate
from pyg_kgtransfer.transfer.recipe import Recipe

MODELS = ("transe", "rotate", "complex")
LISTS = {
    "mc30": "MC-30", "men": "MEN-TR-3k", "mturk287": "MTurk-287", "mturk771": "MTurk-771",
    "rg65": "RG-65", "rw": "RW-STANFORD", "simlex999": "SIMLEX-999", "simverb3500": "SimVerb-3500",
    "verb143": "VERB-143", "ws353": "WS-353-ALL", "yp130": "YP-130",
}  # fmt: skip
EPOCHS = {"wn18rr": 8, "fb15k-237": 4}  # of training; elsewhere as in the recipes
CANDIDATES = 4096  # of ComplEx's softmax, there
WITH_SELF = {("wn18rr", "rotate")}  # a third of its facts are symmetric
MIN_COUNT = 5
ALONE = GloVeTraining()
_NUMPY_BATCH = 4096
_DEALT = 200  # groups of facts, for intervals


def files_of(root: Path) -> tuple[Path, ...]:
    """The running text."""
    files = sorted((root / "text-corpus").glob("*.txt"))
    return tuple(path for path in files if path.name != "SOURCE.txt")


@dataclass(eq=False)
class Task:
    """A graph, what is said of its entities, and the running text that names them.

    Attributes:
        name: Of the data set.
        split: The graph.
        folder: Where counts are kept.
    """

    name: str
    split: Split
    folder: Path

    @cached_property
    def labels(self) -> list[str]:
        """What each entity is called."""
        graph = self.split.train
        return [graph.label(i) for i in range(graph.num_entities)]

    @cached_property
    def texts(self) -> list[str]:
        """What is said of each entity."""
        said = load_descriptions(self.name, offline=True)
        return [said.get(entity, "") for entity in self.split.train.entities]

    @cached_property
    def counts(self) -> Cooccurrences:
        """Of the text, names of entities as one word each."""
        corpus = replace(
            Corpus.at(Places.given().root / "text-corpus", mentions=self.labels),
            files=files_of(Places.given().root),
        )
        words = count_words(corpus, min_count=MIN_COUNT)
        return count_cooccurrences(corpus, words, self.folder / f"{self.name}.counts.npz")

    def recipe(self, model: str) -> Recipe:
        """Of facts, alone and with words; the margin of TransE is half of the usual one."""
        found = Setting(firmness=0.5 if model == "transe" else 1.0).recipe(model)
        if self.name not in EPOCHS:
            return found
        training = replace(found.training, epochs=EPOCHS[self.name], validate_every=2)
        if model == "complex":
            loss = replace(found.objective, num_candidates=CANDIDATES)
        else:
            loss = replace(found.objective, with_self=(self.name, model) in WITH_SELF)
        return replace(found, objective=loss, training=training, validation_size=2000)


def agreement(vectors: WordVectors) -> dict[str, float]:
    """Spearman's correlation with people, and the share of pairs that are known, by list."""
    folder, found = Places.given().root / "word-similarity", {}
    for name, file in LISTS.items():
        result = word_similarity(vectors, read_rated_pairs(folder / f"EN-{file}.txt"))
        found |= {
            f"spearman.{name}": result.spearman,
            f"known.{name}": result.covered / result.total,
        }
    correlations = [value for key, value in found.items() if key.startswith("spearman.")]
    return found | {"spearman.mean": float(np.mean(correlations))}


def measured(name: str, task: Task, recipe: Recipe, config: JointGloVeConfig | None) -> Found:
    """Facts alone where there is no ``config``, else with words: ranks of test facts, agreement."""
    figures: dict[str, float] = {}
    start = time.perf_counter()
    if config is None:
        checkpoint = pretrain(alone(task.split.train), [task.split], recipe=recipe)
    else:
        texts = task.texts if config.by == "text" else None
        found = joint_glove(task.split, task.counts, recipe=recipe, config=config, texts=texts)
        checkpoint = found.checkpoint
        figures |= agreement(found.vectors)
    figures["seconds"] = time.perf_counter() - start
    result = evaluate(checkpoint, task.split)
    metrics = result.metrics()
    figures |= {metric: metrics[metric] for metric in ("mrr", "hits@10")}
    bands = result.by("popularity")
    low, is_low = low_band(result)
    figures |= {"low.mrr": bands[low]["mrr"], "low.hits@10": bands[low]["hits@10"]}
    if "unseen in training" in bands:
        figures["unseen.mrr"] = bands["unseen in training"]["mrr"]
    figures["valid.mrr"] = checkpoint.metrics["valid"]["mrr"]
    notes = {"low": low, "bands": {band: m["mrr"] for band, m in bands.items()}}
    notes |= {"sums": {"mrr": _sums(result), "low.mrr": _sums(result, is_low)}}
    return Found({f"{name}.{key}": value for key, value in figures.items()}, notes)


def low_band(result: LinkPredictionResult) -> tuple[str, Tensor]:
    """The quarter of answers that training names most rarely, never seen ones apart, [T, 2]."""
    names, member = result.members("popularity")
    low = next(i for i, name in enumerate(names) if i and bool((member == i).any()))
    return names[low], member == low


def _sums(result: LinkPredictionResult, mask: Tensor | None = None) -> list[float]:
    """Sums of reciprocal ranks over groups of facts, dealt by chance: what a bootstrap draws."""
    gained = result.ranks.reciprocal()
    if mask is not None:
        gained = gained * mask
    order = np.random.default_rng(0).permutation(len(result))
    parts = np.array_split(gained.sum(1).numpy()[order], min(_DEALT, len(result)))
    return [round(float(part.sum()), 6) for part in parts]


def learned_alone(name: str, counts: Cooccurrences, width: int, seed: int) -> Found:
    """GloVe alone."""
    found = train_glove(counts, replace(ALONE, width=width, seed=seed))
    figures = {"loss": found.losses[-1]} | agreement(found.vectors)
    return Found({f"{name}.{key}": value for key, value in figures.items()})


def against_numpy(task: Task, width: int, epochs: int) -> dict[str, float]:
    """Ours and plain numpy from the same start: losses, agreement with people, pairs a second."""
    counts = task.counts
    options = replace(ALONE, width=width, epochs=epochs)
    train_glove(counts, replace(options, epochs=1))  # compiles
    ours = train_glove(counts, options)
    theirs, losses, rate = numpy_glove(counts, options)
    by_numpy = _loss_of(counts, options, ours)
    by_torch = float(_loss_by_torch(counts, options, ours))
    return {
        "glove_speedup": ours.pairs_per_second / rate,
        "glove.pairs_per_second": ours.pairs_per_second,
        "numpy.pairs_per_second": rate,
        "glove.last_loss": ours.losses[-1],
        "numpy.last_loss": losses[-1],
        "loss_of_same_vectors.by_numpy": by_numpy,
        "loss_of_same_vectors.by_ours": by_torch,
        "glove.spearman.mean": agreement(ours.vectors)["spearman.mean"],
        "numpy.spearman.mean": agreement(theirs)["spearman.mean"],
    }


def _arrays(counts: Cooccurrences, options: GloVeTraining) -> tuple[np.ndarray, ...]:
    """Row, column, logarithm of the count, weight: plain numpy, from the formula."""
    row, column, value = (table.numpy() for table in counts.both_ways())
    weight = np.minimum(1.0, (value / options.x_max) ** options.exponent)
    return row.astype(np.int64), column.astype(np.int64), np.log(value), weight.astype(np.float32)


def _loss_of(counts: Cooccurrences, options: GloVeTraining, found: GloVe) -> float:
    row, column, log, weight = _arrays(counts, options)
    word, context, biases = (t.numpy() for t in (found.word, found.context, found.biases))
    total = 0.0
    for start in range(0, len(row), 1 << 18):
        part = slice(start, start + (1 << 18))
        i, j = row[part], column[part]
        gap = (word[i] * context[j]).sum(1) + biases[0, i] + biases[1, j] - log[part]
        total += float((weight[part] * gap**2).sum(dtype=np.float64))
    return total / len(row)


def _loss_by_torch(counts: Cooccurrences, options: GloVeTraining, found: GloVe) -> Tensor:
    row, column, value = counts.both_ways()
    weight = glove_weight(value, x_max=options.x_max, exponent=options.exponent)
    score = (found.word[row] * found.context[column]).sum(1)
    score += found.biases[0, row] + found.biases[1, column]
    return glove_loss(score.double(), value.double(), weight.double())


def numpy_glove(
    counts: Cooccurrences, options: GloVeTraining
) -> tuple[WordVectors, list[float], float]:
    """Plain numpy, by batches: the words, the loss of each epoch, pairs a second."""
    row, column, log, weight = _arrays(counts, options)
    tables = [table.numpy() for table in start_tables(counts, options)]
    word, context, word_bias, context_bias, *squares = tables
    order, losses = np.random.default_rng(options.seed), []
    start = time.perf_counter()
    for _ in range(options.epochs):
        total = 0.0
        for at in np.array_split(order.permutation(len(row)), len(row) // _NUMPY_BATCH + 1):
            i, j = row[at], column[at]
            w, c = word[i], context[j]
            gap = (w * c).sum(1) + word_bias[i] + context_bias[j] - log[at]
            pull = weight[at] * gap
            total += float(pull @ gap)
            gradients = (pull[:, None] * c, pull[:, None] * w, pull, pull)
            for table, square, ids, gradient in zip(
                (word, context, word_bias, context_bias), squares, (i, j, i, j), gradients,
                strict=True,
            ):  # fmt: skip
                np.add.at(table, ids, -options.learning_rate * gradient / np.sqrt(square[ids]))
                np.add.at(square, ids, gradient**2)
        losses.append(total / len(row))
    rate = options.epochs * len(row) / (time.perf_counter() - start)
    return WordVectors(counts.words, torch.from_numpy(word + context)), losses, rate


def zipf_text(path: Path, megabytes: float) -> None:
    """Lines of words drawn by Zipf's law from 200,000."""
    generator = np.random.default_rng(0)
    words = np.array([f"w{i:x}" for i in range(200_000)])
    upto = np.cumsum(1.0 / (np.arange(len(words)) + 2.7))
    with path.open("w", encoding="ascii") as file:
        while file.tell() < megabytes * 1e6:
            drawn = words[np.searchsorted(upto, generator.random(200_000) * upto[-1])]
            file.writelines(
                " ".join(drawn[i : i + 1000]) + "\n" for i in range(0, len(drawn), 1000)
            )


def counted(text: Path, out: Path, *, stop: bool = False) -> dict[str, float]:
    """Count in a process of its own: its seconds, words and highest memory.

    Args:
        text: To count.
        out: Of the counts.
        stop: Kill it when part of the text is counted; the same call without goes on there.
    """
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    process = context.Process(target=_count, args=(text, out, queue))
    process.start()
    if stop:
        state = out.with_name(f"{out.name}.parts") / "state.json"
        while process.is_alive() and not state.exists():
            time.sleep(0.05)
        process.kill()
        process.join()
        if not state.exists() or out.exists():
            raise RuntimeError("the count must be interrupted in its middle (got to its end)")
        return {}
    found: dict[str, float] = queue.get()
    process.join()
    return found


def _count(text: Path, out: Path, queue: Any) -> None:
    from pyg_kgtransfer.sources.cooccurrence import count_cooccurrences

    corpus = Corpus.at(text)
    start = time.perf_counter()
    words = count_words(corpus, min_count=5)
    middle = time.perf_counter()
    found = count_cooccurrences(corpus, words, out)
    end = time.perf_counter()
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    queue.put({
        "tokens": float(words.num_tokens),
        "words": float(len(words.words)),
        "pairs": float(len(found)),
        "vocabulary_seconds": middle - start,
        "seconds": end - middle,
        "tokens_per_second": words.num_tokens / (end - start),
        "memory_mb": peak / 1024,
    })  # fmt: skip
