"""The ISO graph of the atlas, rebuilt from the pycountry package (extra ``atlas``)."""

from collections.abc import Iterable
from typing import Any

RELATIONS = (
    "subdivision_of",
    "has_type",
    "part_of",
    "issued_by",
    "language_type",
    "language_scope",
    "succeeded_by",
)
LANGUAGE_TYPES = {
    "A": "Ancient",
    "C": "Constructed",
    "E": "Extinct",
    "H": "Historical",
    "L": "Living",
    "S": "Special",
}
LANGUAGE_SCOPES = {"I": "Individual", "M": "Macrolanguage", "S": "Special"}

Facts = list[tuple[str, str, str]]


def _database() -> Any:
    try:
        import pycountry
    except ImportError:
        raise ImportError(
            "rebuilding the atlas needs `pip install pyg-kgtransfer[atlas]` (got no pycountry)"
        ) from None
    return pycountry


def country_codes() -> dict[str, str]:
    """The three-letter code of each two-letter country code (ISO 3166-1)."""
    return {country.alpha_2: country.alpha_3 for country in _database().countries}


def language_codes() -> dict[str, str]:
    """The ISO 639-3 code of each two-letter (ISO 639-1) and three-letter language code."""
    languages = list(_database().languages)
    codes = {language.alpha_3: language.alpha_3 for language in languages}
    return codes | {x.alpha_2: x.alpha_3 for x in languages if hasattr(x, "alpha_2")}


def iso_table(mentioned: Iterable[str]) -> tuple[Facts, dict[str, str]]:
    """Countries, subdivisions, currencies, languages and former countries, as ISO codes have it.

    A currency is issued by the country whose two-letter code begins its own (``DEM``: ``DE``); a
    former country is succeeded by the one whose code ends its own (ISO 3166-3, ``DDDE``: ``DE``).

    Args:
        mentioned: Language codes of the other graphs. Languages with a two-letter code and these
            are kept; all 7,923 would add two uninformative facts each.

    Returns:
        The facts as names (head, relation, tail), and the label of every entity.

    Raises:
        ImportError: If pycountry is not installed.
    """
    iso = _database()
    countries, codes = country_codes(), language_codes()
    kept = {codes[code] for code in mentioned if code in codes}
    kept |= {language.alpha_3 for language in iso.languages if hasattr(language, "alpha_2")}
    labels = {f"country/{country.alpha_3}": country.name for country in iso.countries}
    facts = _subdivision_facts(iso, countries, labels)
    for currency in iso.currencies:
        name, issuer = f"currency/{currency.alpha_3}", countries.get(currency.alpha_3[:2])
        labels[name] = currency.name
        if issuer is not None:
            facts.append((name, "issued_by", f"country/{issuer}"))
    for language in (x for x in iso.languages if x.alpha_3 in kept):
        name = f"language/{language.alpha_3}"
        labels[name] = language.name
        facts.append((name, "language_type", f"language_type/{LANGUAGE_TYPES[language.type]}"))
        facts.append((name, "language_scope", f"language_scope/{LANGUAGE_SCOPES[language.scope]}"))
    for former in iso.historic_countries:
        name, successor = f"former_country/{former.alpha_4}", countries.get(former.alpha_4[2:])
        labels[name] = former.name
        if successor is not None:  # HH: no single successor
            facts.append((name, "succeeded_by", f"country/{successor}"))
    return facts, labels


def _subdivision_facts(iso: Any, countries: dict[str, str], labels: dict[str, str]) -> Facts:
    facts: Facts = []
    for subdivision in iso.subdivisions:
        name = f"subdivision/{subdivision.code}"
        # the id is ASCII (every type is), the label keeps the blanks
        kind = f"subdivision_type/{subdivision.type.replace(' ', '_')}"
        labels[name], labels[kind] = subdivision.name, subdivision.type
        facts.append((name, "subdivision_of", f"country/{countries[subdivision.country_code]}"))
        facts.append((name, "has_type", kind))
        if subdivision.parent_code:
            facts.append((name, "part_of", f"subdivision/{subdivision.parent_code}"))
    return facts
