"""``kgt doctor``: what this installation has, and what is wrong with it."""

from collections.abc import Callable
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pyg_kgtransfer.serving import report
from pyg_kgtransfer.serving.doctor import diagnose

USAGE = "kgt doctor"


def add_arguments(parser: ArgumentParser) -> None:
    """The arguments of ``kgt doctor``: none of its own."""


def run(options: Namespace, show: Callable[[object], None]) -> dict[str, Any]:
    """Show versions, devices, extras and problems."""
    found = diagnose()
    show(report.facts_table("this installation", found["versions"]))
    show(report.facts_table("devices", found["devices"]))
    groups = {"required": found["required"], **found["extras"]}
    packages = [
        {
            "extra": group,
            "package": name,
            "version": entry["version"] or "not installed",
            "wanted": entry["wanted"],
        }
        for group, entries in groups.items()
        for name, entry in entries.items()
    ]
    show(report.records_table("packages", packages))
    engines = {
        name: "works" if entry["works"] else entry["problem"] or "not installed"
        for name, entry in found["engines"].items()
    }
    show(report.facts_table("engines", engines))
    show(report.facts_table("data sets", found["data"]))
    show("\n".join(found["problems"]) or "no problem found")
    return found
