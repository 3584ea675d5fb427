"""What tests of the command line share: how it ran, small graphs, what an error looks like."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

MODEL = ["--recipe.model.encoder", "shallow", "--recipe.model.width", "8"]
TRAINING = ["--recipe.training.accelerator", "cpu", "--recipe.training.progress", "false"]
QUICK = [*MODEL, *TRAINING, "--recipe.training.epochs", "2"]


class Ran(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """What stdout holds: one JSON object and nothing else."""
        return json.loads(self.out)


Kgt = Callable[..., Ran]


def facts(city: str, country: str) -> list[tuple[str, str, str]]:
    """A ring of 12 cities in 3 countries."""
    rows = [(f"{city} {i}", "next", f"{city} {(i + 1) % 12}") for i in range(12)]
    return rows + [(f"{city} {i}", "located in", f"{country} {i % 3}") for i in range(12)]


def write_split(folder: Path, rows: list[tuple[str, str, str]]) -> Path:
    """Every eighth fact to test, the one after to valid."""
    folder.mkdir()
    for part, places in (("train", (0, 2, 3, 4, 6, 7)), ("valid", (1,)), ("test", (5,))):
        lines = ["\t".join(row) + "\n" for i, row in enumerate(rows) if i % 8 in places]
        (folder / f"{part}.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


def assert_told(ran: Ran, *parts: str) -> None:
    """One paragraph on stderr that has ``parts``, nothing on stdout, status 2."""
    assert ran.status == 2
    assert ran.out == ""
    assert "Traceback" not in ran.err
    assert "\n\n" not in ran.err
    assert ran.err.startswith("kgt")
    for part in parts:
        assert part in ran.err, ran.err
