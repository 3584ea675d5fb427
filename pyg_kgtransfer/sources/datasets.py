"""Named benchmark sets: found in a local folder first, checked by sha256 and counts."""

import csv
import difflib
import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

import torch

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import HeldOut, InductiveSplit, Split
from pyg_kgtransfer.graph.vocabulary import Vocabulary
from pyg_kgtransfer.sources.dataset_table import (
    DATASETS,
    DBP5L_LINKS,
    LANGUAGES,
    Counts,
    DataFile,
    Dataset,
    TextTable,
)
from pyg_kgtransfer.sources.download import Wanted, fetch, fetch_members, sha256_of
from pyg_kgtransfer.sources.files import log_unseen, split_from_names
from pyg_kgtransfer.sources.lines import LineFaults, read_lines
from pyg_kgtransfer.sources.tables import TableFormat, read_rows

DEFAULT_ROOT = Path("../shared/data")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Places:
    """Where data lie, and whether to download what is missing.

    Attributes:
        root: Searched first.
        cache: Searched next; downloads go there.
        offline: Download nothing.
    """

    root: Path
    cache: Path
    offline: bool

    @classmethod
    def given(
        cls, root: str | os.PathLike[str] | None = None, offline: bool | None = None
    ) -> "Places":
        """What the caller says, else the environment, else the defaults.

        The environment has ``KGT_DATA`` (root, default ``../shared/data``), ``KGT_CACHE`` (default
        ``~/.cache/pyg_kgtransfer``) and ``KGT_OFFLINE`` (1 or 0, default 0).

        Raises:
            ValueError: If ``KGT_OFFLINE`` is neither.
        """
        switch = os.environ.get("KGT_OFFLINE", "0").strip().casefold()
        if switch not in ("", "0", "1", "true", "false", "yes", "no"):
            raise ValueError(f"KGT_OFFLINE must be 1 or 0 (got {os.environ['KGT_OFFLINE']!r})")
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cls(
            Path(root or os.environ.get("KGT_DATA") or DEFAULT_ROOT),
            Path(os.environ.get("KGT_CACHE") or home / "pyg_kgtransfer"),
            switch in ("1", "true", "yes") if offline is None else offline,
        )

    def find(self, file: DataFile) -> Path | None:
        """Where ``file`` lies, if it lies anywhere."""
        places = (self.root / file.path, self.cache / file.path)
        return next((path for path in places if path.is_file()), None)


def load(
    name: str, root: str | os.PathLike[str] | None = None, offline: bool | None = None
) -> Split:
    """A named benchmark set, as it is published.

    The names are in ``DATASETS``: ``fb15k-237``, ``wn18rr``, ``umls``, ``kinship``, ``nations``,
    ``countries/s1``, ``codex-s``, ``dbp-5l/el``, ``grail-inductive/fb237_v1`` ... Case is ignored.
    Files are searched in ``root``, then in the cache, then downloaded into the cache; they must
    have the sha256 of the table, and the set its counts. Entities are labelled where the set has
    names for them.

    Vocabularies cover train, valid and test. In DBP-5L ids are the line numbers of its files, and
    relations those of all five languages. An entity that both graphs know often has one id in
    both: permute ids before you match by anything but names. A URI on several lines names the last
    of them, the only one that facts and links use; the others are ``URI#line-NUMBER``.

    Args:
        name: Of the set.
        root: The folder with data; default: ``KGT_DATA``, else ``../shared/data``.
        offline: Download nothing; default: ``KGT_OFFLINE``, else downloads are allowed.

    Raises:
        ValueError: If the name is unknown, or a file or count is not the published one.
        FileNotFoundError: If files are missing and cannot be or must not be downloaded.
        ConnectionError: If a download fails.

    Example:
        >>> DATASETS["umls"].counts
        Counts(entities=135, relations=46, train=5216, valid=652, test=661)
        >>> load("ulms")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: a data set is one of ... (got 'ulms'; nearest: umls)
    """
    return load_dataset(_named(name), Places.given(root, offline))


def load_descriptions(
    name: str, root: str | os.PathLike[str] | None = None, offline: bool | None = None
) -> dict[str, str]:
    """What the entities of a named set are, in English: entity name to text.

    There are descriptions of ``fb15k-237``, ``wn18rr``, ``umls`` and ``codex-s``; an entity may be
    missing.

    Args:
        name: Of the set.
        root: As in ``load``.
        offline: As in ``load``.

    Raises:
        ValueError: As in ``load``, or if the set has no descriptions.
        FileNotFoundError: As in ``load``.
        ConnectionError: As in ``load``.

    Example:
        >>> load_descriptions("nations")
        Traceback (most recent call last):
        ValueError: there are descriptions of fb15k-237, wn18rr, umls, codex-s (got 'nations')
    """
    dataset = _named(name)
    if dataset.descriptions is None:
        described = ", ".join(n for n, each in DATASETS.items() if each.descriptions)
        raise ValueError(f"there are descriptions of {described} (got {dataset.name!r})")
    what = f"descriptions of {dataset.name!r}"
    [path] = _present(what, [dataset.descriptions.file], Places.given(root, offline))
    return _texts(dataset.descriptions, path)


def load_inductive(
    name: str, root: str | os.PathLike[str] | None = None, offline: bool | None = None
) -> InductiveSplit:
    """A pair of GraIL's graphs: learn on one, be asked about the unseen entities of the other.

    Relations have the ids of the graph to learn on in both.

    Args:
        name: Of the graph to learn on: ``"grail-inductive/fb237_v1"``, or ``"fb237_v1"`` for short.
        root: As in ``load``.
        offline: As in ``load``.

    Raises:
        ValueError: As in ``load``.
        FileNotFoundError: As in ``load``.
        ConnectionError: As in ``load``.

    Example:
        >>> load_inductive("umls")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: a data set is one of ... (got 'grail-inductive/umls'; nearest: ...)
    """
    full = name if name.casefold().startswith("grail-inductive/") else f"grail-inductive/{name}"
    pairs = [known for known in DATASETS if f"{known}_ind" in DATASETS]
    dataset = _named(full, pairs)
    places = Places.given(root, offline)
    seen = load_dataset(dataset, places)
    unseen = load_dataset(DATASETS[f"{dataset.name}_ind"], places)
    new_ids = seen.train.relations.ids(unseen.train.relations.names)

    def renumbered(triples: torch.Tensor) -> torch.Tensor:
        return torch.stack([triples[:, 0], new_ids[triples[:, 1]], triples[:, 2]], dim=1)

    train = replace(
        unseen.train,
        relations=seen.train.relations,
        triples=renumbered(unseen.train.triples),
    )
    return InductiveSplit(
        seen,
        Split(
            train,
            HeldOut(renumbered(unseen.valid.triples), "valid"),
            HeldOut(renumbered(unseen.test.triples), "test"),
        ),
    )


def load_dbp5l_links(
    left: str,
    right: str,
    root: str | os.PathLike[str] | None = None,
    offline: bool | None = None,
) -> list[tuple[str, str]]:
    """Which entities of two languages of DBP-5L are the same: its seed links, by name.

    The files state some links twice; here each comes once, in order of first occurrence.

    Args:
        left: One of ``el``, ``en``, ``es``, ``fr``, ``ja``.
        right: Another one.
        root: As in ``load``.
        offline: As in ``load``.

    Returns:
        Pairs (entity name in left, entity name in right).

    Raises:
        ValueError: If these are not two of the languages, or a file is not the published one.
        FileNotFoundError: As in ``load``.
        ConnectionError: As in ``load``.
    """
    if left == right or not {left, right} <= set(LANGUAGES):
        raise ValueError(
            f"links are between two of the languages {', '.join(LANGUAGES)} "
            f"(got {left!r} and {right!r})"
        )
    is_turned = (left, right) not in DBP5L_LINKS
    first, second = (right, left) if is_turned else (left, right)
    files = [DBP5L_LINKS[first, second]]
    files += [DATASETS[f"dbp-5l/{language}"].files[3] for language in (first, second)]
    paths = _present(f"links {first}-{second} of dbp-5l", files, Places.given(root, offline))
    names = [_line_names(path) for path in paths[1:]]
    links = [tuple(map(int, line.split("\t"))) for line in read_lines(paths[0])]
    pairs = dict.fromkeys((names[0][a], names[1][b]) for a, b in links)
    return [(b, a) if is_turned else (a, b) for a, b in pairs]


def load_dataset(dataset: Dataset, places: Places) -> Split:
    """A set that need not be in ``DATASETS``, from given places; else as ``load``."""
    was_there = all(places.find(file) for file in dataset.files)
    paths = _present(f"data set {dataset.name!r}", dataset.files, places)
    if dataset.layout == "lines":
        split = _line_split(dataset.name, paths)
    else:
        split = _named_split(dataset.name, paths)
    train = split.train
    log_unseen(train, level=logging.INFO)
    counts = Counts(
        train.num_entities,
        train.num_relations,
        train.num_triples,
        len(split.valid),
        len(split.test),
    )
    if counts != dataset.counts:
        raise ValueError(f"{dataset.name} must have {dataset.counts} (got {counts})")
    table = dataset.labels
    if table is None:
        return split
    if places.find(table.file) is None and was_there:
        log.info("%s: no %s, so entities show their names", dataset.name, table.file.path)
        return split
    [path] = _present(f"data set {dataset.name!r}", [table.file], places)
    labels = _texts(table, path)
    shown = tuple(labels.get(entity, entity) for entity in train.entities)
    return replace(split, train=replace(train, labels=shown))


def _named(name: str, known: Sequence[str] = tuple(DATASETS)) -> Dataset:
    wanted = name.strip().casefold()
    if wanted in known:
        return DATASETS[wanted]
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    hint = f"; nearest: {', '.join(near)}" if near else ""
    raise ValueError(f"a data set is one of {', '.join(known)} (got {name!r}{hint})")


def _present(what: str, files: Sequence[DataFile], places: Places) -> list[Path]:
    """The checked paths of ``files``, after downloads if need be."""
    missing = [file for file in files if places.find(file) is None]
    if missing:
        cannot = [file for file in missing if file.url is None]
        if places.offline or cannot:
            _raise_missing(what, missing, places)
        _download(missing, places.cache)
    paths: list[Path] = []
    for file in files:
        path = places.find(file) or places.cache / file.path
        digest = sha256_of(path)
        if digest != file.sha256:
            raise ValueError(
                f"{path} must have sha256 {file.sha256} (got {digest}): it is another version or "
                "damaged; take it away to look further, in the cache and on the network"
            )
        paths.append(path)
    return paths


def _raise_missing(what: str, missing: Sequence[DataFile], places: Places) -> None:
    urls = dict.fromkeys(file.url for file in missing if file.url)
    source = f"they are at {' '.join(urls)}" if urls else "they cannot be downloaded one by one"
    homepages = {
        dataset.homepage
        for dataset in DATASETS.values()
        for file in missing
        if file in dataset.files
    }
    see = f"; see {' '.join(sorted(homepages))}" if homepages else ""
    switch = (
        "offline=False or KGT_OFFLINE=0 downloads what has an address" if places.offline else ""
    )
    raise FileNotFoundError(
        f"the {what} needs {', '.join(file.path for file in missing)} below {places.root} or "
        f"{places.cache} (got none of them): {source}{see}; put them there or name their folder "
        f"by root or KGT_DATA{'; ' if switch else ''}{switch}"
    )


def _download(files: Sequence[DataFile], cache: Path) -> None:
    archives: dict[str, dict[str, Wanted]] = defaultdict(dict)
    for file in files:
        wanted = Wanted(cache / file.path, file.sha256)
        if file.url and file.member:
            archives[file.url][file.member] = wanted
        elif file.url:
            fetch(file.url, wanted)
    for url, members in archives.items():
        fetch_members(url, members)


def _named_split(name: str, paths: Sequence[Path]) -> Split:
    """A split of tables of names."""
    faults = LineFaults(f"the data set {name!r}")
    parts = [read_rows(path, TableFormat(), faults) for path in paths]
    faults.raise_if_any()
    return split_from_names(*parts, name=name)


def _line_split(name: str, paths: Sequence[Path]) -> Split:
    """A split of DBP-5L: ids are line numbers."""
    train, valid, test = (
        torch.tensor([list(map(int, line.split("\t"))) for line in read_lines(path)])
        for path in paths[:3]
    )
    names = _line_names(paths[3])
    relations = [line.removesuffix("\n") for line in read_lines(paths[4])]
    graph = KnowledgeGraph(
        Vocabulary(names, kind="entity"),
        Vocabulary(relations, kind="relation"),
        train,
        name,
        labels=tuple(map(_uri_label, names)),
    )
    return Split(graph, HeldOut(valid, "valid"), HeldOut(test, "test"))


def _line_names(path: Path) -> list[str]:
    """The URI of each line; of lines with one URI only the last is called by it."""
    uris = [line.removesuffix("\n") for line in read_lines(path)]
    last = {uri: number for number, uri in enumerate(uris)}
    return [u if last[u] == i else f"{u}#line-{i}" for i, u in enumerate(uris)]


def _uri_label(uri: str) -> str:
    """``http://dbpedia.org/resource/500_Days_of_Summer`` -> ``500 Days of Summer``."""
    return unquote(uri.partition("/resource/")[2] or uri).replace("_", " ")


def _texts(table: TextTable, path: Path) -> dict[str, str]:
    """Entity -> its text."""
    lines = read_lines(path)
    rows = (
        csv.reader(lines, delimiter="\t")
        if table.is_quoted
        else (line.removesuffix("\n").split("\t") for line in lines)
    )
    if table.has_header:
        next(rows)
    entity, *columns = table.columns
    return {
        row[entity]: ". ".join(filter(None, (_cut(row[column], table) for column in columns)))
        for row in rows
    }


def _cut(field: str, table: TextTable) -> str:
    if table.until:
        return field.partition(table.until)[0]
    before, mark, rest = field.partition(table.after) if table.after else (field, "", "")
    return rest if mark else before
