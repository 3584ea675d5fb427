"""``kgt glove``: vectors of words from running text, alone or jointly with a graph's facts."""

import logging
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from pyg_kgtransfer.commands.inputs import DATA_HELP, load_split
from pyg_kgtransfer.commands.outputs import Json, Show, checked_out, run_folder, save
from pyg_kgtransfer.commands.texts import add_text_table, entity_text
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.serving import report
from pyg_kgtransfer.sources.cooccurrence import Cooccurrences, count_cooccurrences
from pyg_kgtransfer.sources.corpus import Corpus, count_words
from pyg_kgtransfer.sources.word_vectors import read_word_vectors, write_word_vectors
from pyg_kgtransfer.training.glove import GloVeInterrupted, GloVeTraining, train_glove
from pyg_kgtransfer.transfer.joint_glove import JointGloVeConfig, joint_glove
from pyg_kgtransfer.transfer.recipe import Recipe

log = logging.getLogger(__name__)

USAGE = "kgt glove --corpus PATH --vectors FILE [--data DATA --out DIR]"


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of ``kgt glove``."""
    parser.add_argument(
        "--corpus",
        required=True,
        metavar="PATH",
        help="running text: a file, or a folder of .txt files, packed (.gz, .xz) or not",
    )
    parser.add_argument(
        "--vectors", required=True, metavar="FILE", help="file to write, in GloVe's text format"
    )
    parser.add_argument(
        "--data",
        type=str | None,
        metavar="DATA",
        help=f"learn words jointly with the facts of this graph: {DATA_HELP}",
    )
    parser.add_argument(
        "--out", type=str | None, metavar="DIR", help="with --data: folder for the checkpoint"
    )
    parser.add_argument(
        "--run_dir",
        type=str | None,
        metavar="DIR",
        help="with --data: folder for the log and a resume checkpoint",
    )
    add_text_table(parser)
    parser.add_argument(
        "--start", type=str | None, metavar="FILE", help="word vectors to begin from"
    )
    parser.add_argument("--min_count", type=int, default=5, help="least occurrences of a word")
    parser.add_argument(
        "--max_words", type=int | None, help="at most so many words, the most frequent"
    )
    parser.add_argument("--fold", type=bool, default=True, help="words without case")
    parser.add_argument("--window", type=int, default=10, help="how many words before it one meets")
    parser.add_argument(
        "--memory_mb", type=float, default=256.0, help="of the table of counts, in MiB"
    )
    parser.add_argument(
        "--join_mentions",
        type=bool,
        default=True,
        help="with --data: names of entities of several words are one word of the text",
    )
    parser.add_class_arguments(GloVeTraining, "glove")
    parser.add_class_arguments(JointGloVeConfig, "joint")
    parser.add_class_arguments(Recipe, "recipe")


def run(options: Namespace, show: Show) -> Json:
    """Count, train, write. An interrupted count goes on; counts stay in VECTORS.counts.npz."""
    if (options.data is None) != (options.out is None):
        raise ValueError("--data and --out go together: the graph, and where its model goes")
    if options.text and options.data is None:
        raise ValueError("--text says something of the entities of a graph: name it by --data")
    out = None if options.out is None else checked_out(options)
    split = None if options.data is None else load_split(options.data)
    start = None if options.start is None else read_word_vectors(Path(options.start))
    vectors = Path(options.vectors)
    called, texts = ([], None) if split is None else _said(options, split)
    counts, told = _counted(options, called, vectors)
    show(report.facts_table("words", told))
    if split is None:
        try:
            found = train_glove(counts, options.glove, start=start, progress=True)
        except GloVeInterrupted as stopped:
            write_word_vectors(stopped.found.vectors, vectors)
            log.warning("%s: %s has what was learned; go on with --start", stopped, vectors)
            raise
        told |= {"losses": list(found.losses), "pairs_per_second": found.pairs_per_second}
        learned = {
            "epochs": len(found.losses),
            "first_loss": found.losses[0],
            "last_loss": found.losses[-1],
            "pairs_per_second": round(found.pairs_per_second),
        }
        show(report.facts_table("learned", learned))
        words = found.vectors
    else:
        found_jointly = joint_glove(
            split,
            counts,
            recipe=options.recipe,
            config=options.joint,
            labels=called,
            texts=texts,
            start=start,
            run_dir=run_folder(options.run_dir),
        )
        words = found_jointly.vectors
        told["entities_with_words"] = f"{found_jointly.covered} of {len(called)}"
        if out is not None:
            told = save(found_jointly.checkpoint, out, show, **told)
    write_word_vectors(words, vectors)
    show(f"written to {vectors}; look at it: kgt words --vectors {vectors} --near WORD")
    return {"vectors": str(vectors), **told}


def _said(options: Namespace, split: Split) -> tuple[list[str], list[str] | None]:
    """What each entity is called, and what is said of it where that is wanted."""
    graph, wanted = split.train, options.joint.by in ("text", "table")
    labels = [graph.label(i) for i in range(graph.num_entities)]
    if not (options.text or wanted):
        return labels, None
    names, said = entity_text(options, split)
    if wanted and not said:
        raise ValueError(
            f"--joint.by {options.joint.by} needs what is said of the entities of {options.data}: "
            "give it by --text"
        )
    labels = [names.get(e) or label for e, label in zip(graph.entities, labels, strict=True)]
    return labels, [said.get(entity, "") for entity in graph.entities] if wanted else None


def _counted(options: Namespace, called: list[str], vectors: Path) -> tuple[Cooccurrences, Json]:
    mentions = called if options.join_mentions else []
    corpus = Corpus.at(Path(options.corpus), fold=options.fold, mentions=mentions)
    words = count_words(corpus, min_count=options.min_count, max_words=options.max_words)
    counts = count_cooccurrences(
        corpus,
        words,
        vectors.with_name(f"{vectors.name}.counts.npz"),
        window=options.window,
        memory_mb=options.memory_mb,
    )
    told: Json = {
        "files": len(corpus.files),
        "tokens": words.num_tokens,
        "words": len(words.words),
        "pairs": len(counts),
    }
    return counts, told
