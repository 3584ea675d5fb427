"""What ``--data`` and ``--links`` stand for: graphs, and what is the same in them."""

import difflib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import HeldOut, Split
from pyg_kgtransfer.linking.alignment import Alignment
from pyg_kgtransfer.linking.linked import link
from pyg_kgtransfer.linking.linked_kg import LinkedKG, Mode
from pyg_kgtransfer.sources.atlas import Atlas, load_atlas
from pyg_kgtransfer.sources.dataset_table import DATASETS
from pyg_kgtransfer.sources.datasets import load, load_dbp5l_links
from pyg_kgtransfer.sources.files import read_split, read_triples
from pyg_kgtransfer.sources.folders import read_dglke, read_openke
from pyg_kgtransfer.sources.mapped import is_mapped, read_mapped
from pyg_kgtransfer.sources.ogb import OGB, load_ogb
from pyg_kgtransfer.training.checkpoint import Checkpoint, SourceMaps
from pyg_kgtransfer.training.checkpoint_format import INDEX
from pyg_kgtransfer.training.durable_files import standing_folder

ATLAS = "atlas"
ATLAS_GRAPHS = ("geonames", "cldr", "iso")
DBP5L = "dbp-5l/"
DATA_HELP = (
    "'atlas' (the world, comes with this package), a named data set (ogbl-biokg and ogbl-wikikg2 "
    "with their negatives), a folder with train, valid and test tables or that write_mapped wrote, "
    "or one table of triples (head, relation, tail; tab-separated, or .csv)"
)


def load_split(text: str) -> Split:
    """The graph that ``text`` names, with its held-out facts; of the atlas: GeoNames.

    Args:
        text: ``atlas``, ``atlas:cldr``, a named data set, a folder of tables (or of OpenKE or
            DGL-KE, or memory-mapped), or a table of triples, all of which are for training then.
            ``NAME=PATH`` gives a folder or table another name than its own.

    Raises:
        ValueError: If there is no such thing (the nearest names are offered), or lines are wrong.
        OSError: If a file is missing or cannot be read.
    """
    if _is_atlas(text):
        return _atlas_split(load_atlas(), text.partition(":")[2] or ATLAS_GRAPHS[0])
    if text.casefold() in DATASETS:
        return load(text)
    if text.casefold() in OGB:
        return load_ogb(text)
    name, path = _named_path(text)
    if _is_checkpoint(path):
        raise ValueError(f"{path} is a checkpoint, not data: pass it as the model")
    if path.is_dir() and is_mapped(path):  # it says what it is called
        split = read_mapped(path)
        return replace(split, train=replace(split.train, name=name or split.train.name))
    if path.is_dir():
        return _folder(path, name or path.absolute().name)
    if path.exists():
        return without_held_out(read_triples(path, name=name))
    raise FileNotFoundError(f"there is no file or folder {path}{_nearest(text)}")


def load_splits(texts: Sequence[str]) -> tuple[list[Split], list[Alignment]]:
    """All graphs of ``texts``, and the links that come with them.

    Args:
        texts: As in ``load_split``, but ``atlas`` stands for its three graphs.

    Raises:
        ValueError: As in ``load_split``, or if two graphs have one name.
        OSError: As in ``load_split``.
    """
    whole = [f"{ATLAS}:{name}" for name in ATLAS_GRAPHS]
    each = [one for text in texts for one in (whole if text == ATLAS else [text])]
    atlas = load_atlas() if any(map(_is_atlas, each)) else None
    splits = [
        _atlas_split(atlas, one.partition(":")[2])
        if atlas is not None and _is_atlas(one)
        else load_split(one)
        for one in each
    ]
    names = [split.train.name for split in splits]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"graphs need names of their own (got {', '.join(map(repr, twice))} twice): call one "
            f"otherwise, such as {twice[0]}2={each[names.index(twice[0])]}"
        )
    graphs = {split.train.name: split.train for split in splits}
    links = [] if atlas is None else _atlas_links(atlas, graphs)
    return splits, links + _dbp5l_links(graphs)


def load_graph(text: str) -> KnowledgeGraph:
    """The training graph that ``text`` names: as in ``load_split``, or that of a checkpoint."""
    if is_checkpoint(text):
        return Checkpoint.load(_named_path(text)[1]).graph
    return load_split(text).train


def is_checkpoint(text: str) -> bool:
    """Whether ``text`` is the path of a checkpoint."""
    return _is_checkpoint(_named_path(text)[1])


def read_links(path: str, graphs: Sequence[KnowledgeGraph]) -> Alignment:
    """The alignment in a file: between two graphs, or the two that its name ``a~b.tsv`` gives.

    Args:
        path: The file, as ``kgt link`` writes it.
        graphs: Those it may be between; where there are two, the first has the left names unless
            the file's name says otherwise. A slash in a graph's name is a dash in the file's.

    Raises:
        ValueError: If it cannot be told which graphs are meant, or lines are wrong: unknown
            entities are listed with file:line.
        OSError: If the file cannot be read.
    """
    file = Path(path)
    if file.is_dir():
        raise IsADirectoryError(f"a file of links is wanted, not a folder (got {file})")
    if not file.exists():
        raise FileNotFoundError(f"there is no file of links {file}")
    by_name = {graph.name.replace("/", "-"): graph for graph in graphs}
    left, _, right = file.name.removesuffix(".tsv").partition("~")
    if left in by_name and right in by_name:
        return Alignment.read(file, by_name[left], by_name[right])
    if len(graphs) == 2:
        return Alignment.read(file, graphs[0], graphs[1])
    raise ValueError(
        f"the name of a file of links says which graphs it is between, such as "
        f"{'~'.join(list(by_name)[:2]) if len(by_name) > 1 else 'left~right'}.tsv (got "
        f"{file.name}; the graphs are {', '.join(by_name)})"
    )


def joined(
    splits: Sequence[Split], alignments: Sequence[Alignment], *, mode: Mode, strict: bool
) -> LinkedKG:
    """The joint graph of the training facts.

    Args:
        splits: At least one.
        alignments: Between their graphs.
        mode: How aligned entities are joined: see ``link``.
        strict: Less the facts of other graphs between two entities of a valid or test fact.
    """
    linked = link([split.train for split in splits], alignments, mode=mode)
    if strict:
        for split in splits:
            linked = without_held_out_pairs(linked, split)
    return linked


def placed(checkpoint: Checkpoint, graph: KnowledgeGraph, path: str) -> Checkpoint:
    """The checkpoint with the way from ``graph`` to its rows: as trained, else by equal names."""
    if checkpoint.sources is not None and graph.name in checkpoint.sources.names:
        return checkpoint
    joint = checkpoint.graph
    entity_map = joint.entities.positions_of(graph.entities)
    relation_map = joint.relations.positions_of(graph.relations)
    for kind, to, names in (
        ("entities", entity_map, graph.entities.names),
        ("relations", relation_map, graph.relations.names),
    ):
        _check_known(kind, to, names, graph.name, path)
    return replace(checkpoint, sources=SourceMaps((graph.name,), (entity_map,), (relation_map,)))


def without_held_out_pairs(linked: LinkedKG, split: Split) -> LinkedKG:
    """The joint graph less other graphs' facts between two entities of a held-out fact."""
    held_out = torch.cat([split.valid.triples, split.test.triples])
    return linked.without_pairs(split.train.name, held_out) if len(held_out) else linked


def without_held_out(graph: KnowledgeGraph) -> Split:
    """A split in which everything is for training."""
    nothing = graph.triples[:0]
    return Split(graph, HeldOut(nothing, "valid"), HeldOut(nothing, "test"))


def _is_atlas(text: str) -> bool:
    return text == ATLAS or text.startswith(f"{ATLAS}:")


def _atlas_split(atlas: Atlas, name: str) -> Split:
    if name not in ATLAS_GRAPHS:
        near = difflib.get_close_matches(name, ATLAS_GRAPHS, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"the atlas has the graphs {', '.join(ATLAS_GRAPHS)} (got {name!r}); nearest: {near!r}"
        )
    if name == ATLAS_GRAPHS[0]:
        return atlas.geonames
    return without_held_out(atlas.cldr if name == ATLAS_GRAPHS[1] else atlas.iso)


def _atlas_links(atlas: Atlas, graphs: Mapping[str, KnowledgeGraph]) -> list[Alignment]:
    """The links by code between those graphs of the atlas that are among ``graphs``, by name."""
    return [
        Alignment.from_names(graphs[left], graphs[right], pairs)
        for (left, right), pairs in atlas.links.items()
        if left in graphs and right in graphs
    ]


def _dbp5l_links(graphs: Mapping[str, KnowledgeGraph]) -> list[Alignment]:
    """The seed links between languages of DBP-5L, whose relations are the same in all of them."""
    languages = [name for name in graphs if name in DATASETS and name.startswith(DBP5L)]
    return [
        Alignment.from_names(
            graphs[left],
            graphs[right],
            load_dbp5l_links(left.removeprefix(DBP5L), right.removeprefix(DBP5L)),
            [(relation, relation) for relation in graphs[left].relations],
        )
        for left, right in itertools.combinations(languages, 2)
    ]


def _folder(path: Path, name: str) -> Split:
    if (path / "entity2id.txt").exists():
        return read_openke(path, name=name)
    if (path / "entities.dict").exists():
        return read_dglke(path, name=name)
    return read_split(path, name=name)


def _named_path(text: str) -> tuple[str | None, Path]:
    """The name and the path of ``NAME=PATH``, or ``None`` and the path."""
    name, mark, rest = text.partition("=")
    if not mark or Path(text).exists() or not name or not rest:
        return None, Path(text)
    return name, Path(rest)


def _is_checkpoint(path: Path) -> bool:
    return (standing_folder(path) / INDEX).is_file()


def _nearest(text: str) -> str:
    """What may have been meant, as the end of a sentence."""
    known = [ATLAS, *DATASETS, *OGB]
    near = difflib.get_close_matches(text.casefold(), known, n=3, cutoff=0.5)
    listed = ", ".join(map(repr, near or known))
    return f", and no data set of that name; {'nearest' if near else 'known'}: {listed}"


def _check_known(kind: str, to: Tensor, names: Sequence[str], graph: str, path: str) -> None:
    unknown = (to < 0).nonzero().view(-1).tolist()
    if unknown:
        listed = ", ".join(repr(names[i]) for i in unknown[:3])
        raise ValueError(
            f"{path} must know all {kind} of {graph!r} (got {len(unknown):,} of {len(names):,} "
            f"unknown, such as {listed}): move the model there first, with 'kgt finetune'"
        )
