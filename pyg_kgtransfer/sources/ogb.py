"""The knowledge graphs of the Open Graph Benchmark, with the negatives of their leaderboards."""

import difflib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.dataset_table import Counts
from pyg_kgtransfer.sources.datasets import Places
from pyg_kgtransfer.sources.download import fetch_folder
from pyg_kgtransfer.sources.ogb_files import NODE, OGBFolder, local_to_global, unique
from pyg_kgtransfer.sources.ogb_split import OGBArrays

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OGBDataset:
    """A knowledge graph of OGB.

    Attributes:
        url: Of the archive.
        member: The folder in it.
        split: How it is split.
        is_typed: Whether entities have types.
        counts: As published.
        version: Of the release.
    """

    url: str
    member: str
    split: str
    is_typed: bool
    counts: Counts
    version: int = 1


_URL = "http://snap.stanford.edu/ogb/data/linkproppred/"
OGB: Mapping[str, OGBDataset] = MappingProxyType(
    {
        "ogbl-biokg": OGBDataset(
            f"{_URL}biokg.zip",
            "biokg",
            "random",
            True,
            Counts(entities=93773, relations=51, train=4762677, valid=162886, test=162870),
        ),
        "ogbl-wikikg2": OGBDataset(
            f"{_URL}wikikg-v2.zip",
            "wikikg-v2",
            "time",
            False,
            Counts(entities=2500604, relations=535, train=16109182, valid=429456, test=598543),
        ),
    }
)


def load_ogb(
    name: str,
    root: str | Path | None = None,
    *,
    cache: str | Path | None = None,
    offline: bool | None = None,
) -> Split:
    """``ogbl-biokg`` or ``ogbl-wikikg2`` with the negatives that their leaderboards rank among.

    The folder ``ogbl_biokg`` (or ``ogbl_wikikg2``) is searched in ``root``, in ``root/ogb`` and in
    the cache, as it was downloaded or as ``ogb.io.DatasetSaver`` wrote it. Facts are those of the
    split; where the raw graph differs from its training part, that is logged. The first call reads
    and checks everything and keeps the split as arrays in the cache, under the content of its
    files; later calls map them.

    Entities of ogbl-biokg have types, and ids that are local to them in the files: here an id is
    the local one and the entities of the types before, by name. They are called ``TYPE:NAME``,
    labelled ``NAME``. A name that stood before has ``#ID`` after it.

    Args:
        name: ``"ogbl-biokg"`` or ``"ogbl-wikikg2"``; case is ignored.
        root: The folder with data; default: ``KGT_DATA``, else ``../shared/data``.
        cache: Where arrays and downloads go; default: ``KGT_CACHE``, else in ``~/.cache``.
        offline: Download nothing; default: ``KGT_OFFLINE``, else downloads are allowed.

    Returns:
        The split; ``valid.negatives`` and ``test.negatives`` are memory-mapped, int32.

    Raises:
        ValueError: If the name is unknown, the release another one, or a file is damaged, refused
            or does not fit the others.
        FileNotFoundError: If files are missing (all are listed), and must not be downloaded.
        ConnectionError: If they must be downloaded and cannot be; nothing is kept then.
        OSError: If the cache cannot be written.

    Source: Hu et al. 2020, arXiv 2005.00687, appendix; the files as ogb 1.3 reads them.

    Example:
        >>> import tempfile
        >>> from pyg_kgtransfer.sources.synthetic_ogb import write_miniature
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_miniature("ogbl-biokg", folder)
        ...     split = load_ogb("ogbl-biokg", folder, cache=folder)
        >>> list(split.train.entity_types)
        ['disease', 'drug', 'function', 'protein', 'sideeffect']
        >>> split.test.negatives.head.shape[0] == len(split.test)
        True
    """
    wanted = name.strip().casefold()
    if wanted not in OGB:
        near = difflib.get_close_matches(wanted, OGB, n=2, cutoff=0.5)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise ValueError(f"a data set of OGB is one of {', '.join(OGB)} (got {name!r}{hint})")
    places = Places.given(root, offline)
    if cache is not None:
        places = replace(places, cache=Path(cache))
    folder = _folder(wanted, places)
    folder.check()
    num_nodes = folder.num_nodes()
    arrays = OGBArrays.of(folder, num_nodes, places.cache)
    is_new = not arrays.are_there
    if is_new:
        log.info("%s: the first time, everything is read and checked", wanted)
        arrays.make()
    split = _split(arrays)
    if is_new:
        _compare_raw(folder, split, num_nodes)
    if _counts(split) != OGB[wanted].counts:
        log.warning("%s is not as published: it has %s", wanted, _counts(split))
    return split


def is_published(split: Split) -> bool:
    """Whether a split has the name and the counts of a data set of OGB; a miniature has not.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> graph = kgt.KnowledgeGraph.from_names([("a", "r", "b")] * 9, name="ogbl-biokg")
        >>> is_published(kgt.random_split(graph))
        False
    """
    known = OGB.get(split.train.name)
    return known is not None and known.counts == _counts(split)


def _counts(split: Split) -> Counts:
    train = split.train
    sizes = train.num_entities, train.num_relations, train.num_triples
    return Counts(*sizes, len(split.valid), len(split.test))


def find_ogb(name: str, places: Places) -> Path | None:
    """The folder of a data set, if it lies anywhere."""
    base = name.replace("-", "_")
    found = [home / each for home in _homes(places) for each in (f"{base}_pyg", base)]
    return next((each for each in found if each.is_dir()), None)


def _homes(places: Places) -> tuple[Path, ...]:
    return places.root, places.root / "ogb", places.cache / "ogb"


def _folder(name: str, places: Places) -> OGBFolder:
    """Where the data set lies, after a download if need be."""
    known, base, path = OGB[name], name.replace("-", "_"), find_ogb(name, places)
    if path is None:
        if places.offline:
            raise FileNotFoundError(
                f"the data set {name!r} needs its folder {base} in "
                f"{', '.join(map(str, _homes(places)))} (got none of them): unpack {known.url} "
                f"there as {base}, or name its place by root or KGT_DATA; offline=False or "
                "KGT_OFFLINE=0 downloads it"
            )
        path = places.cache / "ogb" / base
        fetch_folder(known.url, known.member, path)
    return OGBFolder(name, path, known.version, known.split, known.is_typed)


def _split(arrays: OGBArrays) -> Split:
    folder, num_nodes = arrays.folder, arrays.num_nodes
    train, valid, test = arrays.triples("train"), *map(arrays.held_out, ("valid", "test"))
    parts = (train, valid.triples, test.triples)
    highest = max((int(part[:, 1].max()) for part in parts if len(part)), default=-1)
    num_relations = max(highest + 1, folder.num_named_relations())
    names, labels = _entity_names(folder, num_nodes)
    types = torch.repeat_interleave(torch.tensor(list(num_nodes.values())))
    relations = folder.names("relation", num_relations) or map(str, range(num_relations))
    graph = KnowledgeGraph(
        Vocabulary(names, kind="entity"),
        Vocabulary(relations, kind="relation"),
        train,
        folder.name,
        labels,
        Vocabulary(num_nodes, kind="entity type") if folder.is_typed else None,
        types if folder.is_typed else None,
    )
    return Split(graph, valid, test)


def _entity_names(
    folder: OGBFolder, num_nodes: Mapping[str, int]
) -> tuple[list[str], tuple[str, ...] | None]:
    """Unique names and, where there are types, labels, by global id."""
    if not folder.is_typed:
        size = num_nodes[NODE]
        return folder.names(NODE, size) or list(map(str, range(size))), None
    shown, names = list[str](), list[str]()
    for kind, size in num_nodes.items():
        own = folder.names(kind, size) or list(map(str, range(size)))
        shown += own
        names += [f"{kind}:{name}" for name in own]
    return unique(names), tuple(shown)


def _compare_raw(folder: OGBFolder, split: Split, num_nodes: Mapping[str, int]) -> None:
    """Log whether the raw graph, which is what ``ogb`` gives to encoders, is the training part."""
    start = local_to_global(num_nodes)
    facts = [
        part + np.array([start[head], 0, start[tail]])
        for (head, tail), parts in folder.edges().items()
        for part in parts
    ]
    size = split.train.num_entities, split.train.num_relations
    raw = np.concatenate(facts) if facts else np.zeros((0, 3), np.int64)
    learned = split.train.triples.numpy()

    def keys(triples: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        head, relation, tail = triples.T
        found: npt.NDArray[np.int64] = np.sort((head * size[1] + relation) * size[0] + tail)
        return found

    if not np.array_equal(keys(raw), keys(learned)):
        log.warning(
            "%s: the raw graph states %d facts and the training part of the split %d, not the "
            "same ones; the latter are learned from and read",
            folder.name, len(raw), len(learned),
        )  # fmt: skip
