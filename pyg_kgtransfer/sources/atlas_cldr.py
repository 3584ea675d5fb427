"""The Unicode CLDR graph of the atlas, rebuilt from the babel package (extra ``atlas``)."""

from collections.abc import Callable
from typing import Any

RELATIONS = (
    "spoken_language",
    "official_language",
    "regional_language",
    "uses_currency",
    "formerly_used_currency",
    "has_timezone",
    "exemplar_city",
    "in_metazone",
    "windows_zone",
    "written_in",
    "most_likely_in",
    "default_language",
    "default_script",
    "first_day",
    "weekend_start",
    "locale_language",
    "locale_territory",
    "locale_script",
    "locale_parent",
    "text_direction",
)
NOWHERE = ("001", "ZZ")  # the world and the unknown territory: not places
STATUS = {
    "official": "official_language",
    "de_facto_official": "official_language",
    "official_regional": "regional_language",
}
SPOKEN_BY = 1.0  # percent of the population, for a language without official status
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

Facts = list[tuple[str, str, str]]


def cldr_table() -> tuple[Facts, dict[str, str]]:
    """Territories, languages, scripts, currencies, zones and locales, and what CLDR says of them.

    Zones carry their present names: legacy ones (``America/Buenos_Aires``) are mapped by CLDR's
    aliases. A place is the exemplar city of a zone and is named by it, for its label may repeat.

    Returns:
        The facts as names (head, relation, tail), and the label of every entity, in English.

    Raises:
        ImportError: If babel is not installed.
    """
    try:
        from babel.core import get_global
        from babel.localedata import load, locale_identifiers
    except ImportError:
        raise ImportError(
            "rebuilding the atlas needs `pip install pyg-kgtransfer[atlas]` (got no babel)"
        ) from None
    names = (
        "likely_subtags",
        "meta_zones",
        "parent_exceptions",
        "territory_currencies",
        "territory_languages",
        "windows_zone_mapping",
        "zone_aliases",
        "zone_territories",
    )
    lookup: Callable[..., Any] = get_global
    tables = {name: dict(lookup(name)) for name in names}
    tables["english"] = dict(load("en"))
    locales = sorted(locale_identifiers())
    facts = _language_facts(tables) + _currency_facts(tables) + _zone_facts(tables)
    facts += _likely_facts(tables, locales) + _locale_facts(tables, locales)
    return facts, _labels(tables, locales)


def cldr_version() -> str:
    """Which release of CLDR the installed babel carries: ``"47"``."""
    from babel.core import get_global

    return str(get_global("cldr")["version"])


def _language_facts(tables: dict[str, Any]) -> Facts:
    facts: dict[tuple[str, str, str], None] = {}  # zh_Hant and zh are one language of a territory
    for territory, languages in tables["territory_languages"].items():
        for tongue, use in languages.items():
            relation = STATUS.get(use["official_status"])
            if relation is None and use["population_percent"] >= SPOKEN_BY:
                relation = "spoken_language"
            if relation is not None and territory not in NOWHERE:
                language = f"language/{tongue.split('_')[0]}"
                facts[f"territory/{territory}", relation, language] = None
    return list(facts)


def _currency_facts(tables: dict[str, Any]) -> Facts:
    facts: dict[tuple[str, str, str], None] = {}
    for territory, currencies in tables["territory_currencies"].items():
        for currency, _, end, is_tender in currencies:
            relation = "uses_currency" if end is None else "formerly_used_currency"
            if is_tender and territory not in NOWHERE:
                facts[f"territory/{territory}", relation, f"currency/{currency}"] = None
    return list(facts)


def _zone_facts(tables: dict[str, Any]) -> Facts:
    facts: Facts = []
    zones = {z: t for z, t in tables["zone_territories"].items() if t not in NOWHERE}
    present = tables["zone_aliases"]
    for zone, territory in zones.items():
        facts.append((f"territory/{territory}", "has_timezone", f"zone/{zone}"))
        facts.append((f"zone/{zone}", "exemplar_city", f"place/{zone}"))
    for zone, metazone in tables["meta_zones"].items():
        if present.get(zone, zone) in zones:
            facts.append((f"zone/{present.get(zone, zone)}", "in_metazone", f"metazone/{metazone}"))
    for windows, zone in tables["windows_zone_mapping"].items():
        if present.get(zone, zone) in zones:
            facts.append((f"zone/{present.get(zone, zone)}", "windows_zone", f"windows/{windows}"))
    return facts


def _languages(tables: dict[str, Any], locales: list[str]) -> list[str]:
    """The languages of a territory or a locale; CLDR knows likely subtags of 6,500 others."""
    spoken = {tongue for use in tables["territory_languages"].values() for tongue in use}
    return sorted({name.split("_")[0] for name in (*spoken, *locales)})


def _likely_facts(tables: dict[str, Any], locales: list[str]) -> Facts:
    facts: Facts = []
    likely = {name: full.split("_") for name, full in tables["likely_subtags"].items()}
    for language in _languages(tables, locales):
        if language in likely:
            _, script, territory = likely[language]
            facts.append((f"language/{language}", "written_in", f"script/{script}"))
            if territory not in NOWHERE:
                facts.append((f"language/{language}", "most_likely_in", f"territory/{territory}"))
    for name, (language, script, territory) in likely.items():
        if name != f"und_{territory}" or len(territory) != 2:
            continue
        head = f"territory/{territory}"
        facts.append((head, "default_language", f"language/{language}"))
        facts.append((head, "default_script", f"script/{script}"))
        names = (f"{language}_{territory}", f"{language}_{script}_{territory}")
        facts += _week_facts(territory, [name for name in names if name in locales])
    return facts


def _week_facts(territory: str, locales: list[str]) -> Facts:
    """When the week and the weekend of a territory begin, by the first of its default locales."""
    if not locales:
        return []
    from babel import Locale

    locale = Locale.parse(locales[0])
    return [
        (f"territory/{territory}", "first_day", f"day/{DAYS[locale.first_week_day]}"),
        (f"territory/{territory}", "weekend_start", f"day/{DAYS[locale.weekend_start]}"),
    ]


def _locale_facts(tables: dict[str, Any], locales: list[str]) -> Facts:
    from babel import Locale

    facts: Facts = []
    for name in locales:
        locale = Locale.parse(name)
        head = f"locale/{name}"
        facts.append((head, "locale_language", f"language/{locale.language}"))
        if locale.territory and locale.territory not in NOWHERE:
            facts.append((head, "locale_territory", f"territory/{locale.territory}"))
        if locale.script:
            facts.append((head, "locale_script", f"script/{locale.script}"))
        parent = tables["parent_exceptions"].get(name, name.rpartition("_")[0])
        if parent:
            facts.append((head, "locale_parent", f"locale/{parent}"))
        if "_" not in name:
            direction = f"direction/{locale.character_order}"
            facts.append((f"language/{name}", "text_direction", direction))
    return facts


def _labels(tables: dict[str, Any], locales: list[str]) -> dict[str, str]:
    from babel import Locale

    english = tables["english"]
    labels = {f"day/{day}": day for day in DAYS}
    for kind, names in (("territory", "territories"), ("language", "languages"),
                        ("script", "scripts"), ("currency", "currency_names")):  # fmt: skip
        labels |= {f"{kind}/{code}": label for code, label in english[names].items()}
    for zone in tables["zone_territories"]:
        last = zone.rpartition("/")[2].replace("_", " ")
        labels[f"place/{zone}"] = english["time_zones"].get(zone, {}).get("city", last)
    labels |= {f"metazone/{m}": m.replace("_", " ") for m in tables["meta_zones"].values()}
    for name in locales:
        labels[f"locale/{name}"] = Locale.parse(name).english_name or name
    return labels
