"""``kgt kg-fit``: a model trained on facts under constraints from a hierarchy made of text."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from torch import Tensor

from pyg_kgtransfer.commands.outputs import (
    Json,
    Show,
    add_training_arguments,
    checked_out,
    run_folder,
    save,
)
from pyg_kgtransfer.commands.texts import (
    SeedKeptError,
    Texts,
    add_hierarchy_arguments,
    add_text_arguments,
    encoded,
    made_hierarchy,
    read_texts,
)
from pyg_kgtransfer.graph.hierarchy import Hierarchy
from pyg_kgtransfer.serving import report
from pyg_kgtransfer.sources.hierarchies import (
    is_nested_hierarchy,
    read_hierarchy,
    read_nested_hierarchy,
    write_hierarchy,
)
from pyg_kgtransfer.transfer.kg_fit import KGFitConfig, kg_fit
from pyg_kgtransfer.transfer.ranking import evaluate

USAGE = "kgt kg-fit --data DATA [--text FILE] [--hierarchy FILE] --out DIR"


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of ``kgt kg-fit``."""
    add_text_arguments(parser, data_help="the graph to train on")
    parser.add_argument(
        "--hierarchy",
        type=str | None,
        metavar="FILE",
        help="use this one, as 'kgt hierarchy make' or KG-FIT's code writes it; an entity that it "
        "does not name is in no cluster (default: made here, and written to OUT.hierarchy.json)",
    )
    add_hierarchy_arguments(parser)
    parser.add_class_arguments(KGFitConfig, "fit")
    add_training_arguments(parser)


def run(options: Namespace, show: Show) -> Json:
    """Encode, cluster, train, save; the test facts are ranked where there are some."""
    out = checked_out(options)
    texts = read_texts(options)
    vectors = encoded(options, texts, options.recipe.model.width)
    tree, told = _hierarchy(options, texts, vectors, out, show)
    if options.dry_run:
        return told
    checkpoint = kg_fit(
        texts.split,
        vectors,
        tree,
        recipe=options.recipe,
        config=options.fit,
        run_dir=run_folder(options.run_dir),
    )
    result = save(checkpoint, out, show, hierarchy=told)
    if len(texts.split.test):
        metrics = evaluate(checkpoint, texts.split).metrics()
        show(report.metrics_table("test facts", {"both sides": metrics}))
        result["test"] = metrics
    return result


def _hierarchy(
    options: Namespace, texts: Texts, vectors: Tensor, out: Path, show: Show
) -> tuple[Hierarchy, Json]:
    if options.hierarchy is not None:
        path = Path(options.hierarchy)
        if is_nested_hierarchy(path):
            labels = dict(zip(texts.graph.entities, texts.labels, strict=True))
            tree = read_nested_hierarchy(path, texts.graph.entities, labels, missing="leave")
        else:
            tree = read_hierarchy(path).of(texts.graph.entities)
        lost = int((tree.cluster_of < 0).sum())
        told: Json = {"file": str(path), "clusters": len(tree), "entities_in_no_cluster": lost}
        show(report.facts_table("hierarchy of clusters", told))
        return tree, told
    kept = out.with_name(f"{out.name}.hierarchy.json")
    try:
        tree, told = made_hierarchy(options, texts, vectors, show)
    except SeedKeptError as error:
        write_hierarchy(error.hierarchy, kept)
        raise ValueError(
            f"{error}; the seed is in {kept}: train with it by --hierarchy {kept}, or refine "
            "without a model by --refine local"
        ) from error
    if not options.dry_run:
        write_hierarchy(tree, kept)
        told["file"] = str(kept)
    return tree, told
