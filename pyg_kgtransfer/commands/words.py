"""``kgt words``: ask vectors of words: neighbours, analogies, agreement with people."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from pyg_kgtransfer.commands.outputs import Json, Show
from pyg_kgtransfer.evaluation.word_similarity import (
    analogies,
    completions,
    neighbours,
    read_analogies,
    read_rated_pairs,
    word_similarity,
)
from pyg_kgtransfer.serving import report
from pyg_kgtransfer.sources.word_vectors import WordVectors, read_word_vectors

USAGE = "kgt words --vectors FILE --near WORD | --analogy A B C | --similarity FILE ..."


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of ``kgt words``."""
    parser.add_argument(
        "--vectors", required=True, metavar="FILE", help="in the text format of GloVe or word2vec"
    )
    parser.add_argument("--near", type=str | None, metavar="WORD", help="its nearest words")
    parser.add_argument(
        "--analogy", nargs=3, metavar=("A", "B", "C"), help="what is to C as B is to A"
    )
    parser.add_argument(
        "--similarity",
        nargs="+",
        default=[],
        metavar="FILE",
        help="lists of pairs that people rated: two words and a number on a line",
    )
    parser.add_argument(
        "--analogies",
        type=str | None,
        metavar="FILE",
        help="a list of analogies: four words on a line, ': NAME' before each group",
    )
    parser.add_argument("-k", "--k", type=int, default=10, help="how many words")


def run(options: Namespace, show: Show) -> Json:
    """Answer what is asked, one or several."""
    if not (options.near or options.analogy or options.similarity or options.analogies):
        raise ValueError("ask something: --near, --analogy, --similarity or --analogies")
    vectors = read_word_vectors(Path(options.vectors))
    told: Json = {"words": len(vectors.words), "width": vectors.vectors.shape[1]}
    if options.near:
        told["near"] = _listed(
            f"near {options.near}", neighbours(vectors, options.near, k=options.k), show
        )
    if options.analogy:
        a, b, c = options.analogy
        found = completions(vectors, a, b, c, k=options.k)
        told["analogy"] = _listed(f"{a} : {b} = {c} : ?", found, show)
    if options.similarity:
        told["similarity"] = _similarity(vectors, options.similarity, show)
    if options.analogies:
        result = analogies(vectors, read_analogies(Path(options.analogies)))
        rows = [
            {"group": name, "right": result.right[name], "covered": result.covered[name],
             "of": result.total[name]} for name in result.total
        ]  # fmt: skip
        show(report.records_table("analogies", rows))
        told["analogies"] = {"accuracy": result.accuracy, "groups": rows}
    return told


def _listed(title: str, found: list[tuple[str, float]], show: Show) -> list[Json]:
    rows: list[Json] = [{"word": word, "cosine": cosine} for word, cosine in found]
    show(report.records_table(title, rows))
    return rows


def _similarity(vectors: WordVectors, paths: list[str], show: Show) -> list[Json]:
    rows: list[Json] = []
    for path in map(Path, paths):
        result = word_similarity(vectors, read_rated_pairs(path))
        rows.append({"list": path.stem, **result._asdict()})
    show(report.records_table("agreement with people", rows))
    return rows
