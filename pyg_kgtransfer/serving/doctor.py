"""What this installation has: versions, devices, extras. For bug reports and first aid."""

import importlib
import importlib.util
import os
import platform
import re
import sys
from importlib import metadata
from typing import Any

import pyg_kgtransfer

DISTRIBUTION = "pyg-kgtransfer"
# Compiled, the latter two against one version of torch: to be there is not enough, they must load.
ENGINES = {
    "torch": "torch",
    "numba": "numba",
    "torch-scatter": "torch_scatter",
    "torch-sparse": "torch_sparse",
}

Json = dict[str, Any]


def diagnose() -> Json:
    """Versions, devices and extras, ready for JSON. Nothing is changed and nothing downloaded.

    Returns:
        ``versions`` (of this package, Python and the machine), ``required`` and ``extras`` (per
        package the version found, or ``None``, and the one wanted), ``engines`` (whether the
        compiled packages load), ``devices``, ``data`` (where named data sets are looked for) and
        ``problems``, sentences, none where all is well.

    Example:
        >>> sorted(diagnose())
        ['data', 'devices', 'engines', 'extras', 'problems', 'required', 'versions']
    """
    required, extras = _packages()
    engines = {name: _engine(module) for name, module in ENGINES.items()}
    devices: Json = {}
    data: Json = {}
    trouble: list[str] = []
    if engines["torch"]["works"]:
        devices = _devices()
        data, trouble = _data()
    return {
        "versions": {
            "pyg_kgtransfer": pyg_kgtransfer.__version__,
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
            "executable": sys.executable,
        },
        "required": required,
        "extras": extras,
        "engines": engines,
        "devices": devices,
        "data": data,
        "problems": _problems(required, extras, engines) + trouble,
    }


def _problems(required: Json, extras: Json, engines: Json) -> list[str]:
    """What is missing, too old or broken, a sentence each; an extra may be missing."""
    problems = [
        f"{name}{entry['wanted']} is required (got {entry['version'] or 'none'})"
        for name, entry in required.items()
        if not entry["fits"]
    ]
    problems += [
        f"{name} of the extra {extra} should be {entry['wanted']} (got {entry['version']})"
        for extra, entries in extras.items()
        for name, entry in entries.items()
        if entry["version"] and not entry["fits"]
    ]
    problems += [
        f"{name} is installed but does not load: {entry['problem']}"
        for name, entry in engines.items()
        if entry["found"] and not entry["works"]
    ]
    if not required:
        problems.append(f"{DISTRIBUTION} is not installed, so its requirements are not known")
    return problems


def _packages() -> tuple[Json, Json]:
    """What the metadata of this package asks for, and what is there: required, by extra."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return {}, {}
    required: Json = {}
    extras: Json = {}
    for line in lines:
        wanted, _, marker = line.partition(";")
        found = re.match(r"([\w.-]+)(?:\[[^\]]*\])?\s*(.*)", wanted.strip())
        if found is None:
            continue
        name, specifier = found[1], found[2].strip(" ()")
        extra = re.search(r"extra == [\"']([\w.-]+)[\"']", marker)
        group = required if extra is None else extras.setdefault(extra[1], {})
        group[name] = _package(name, specifier)
    return required, extras


def _package(name: str, specifier: str) -> Json:
    try:
        version: str | None = metadata.version(name)
    except metadata.PackageNotFoundError:
        version = None
    fits = version is not None and _fits(version, specifier)
    return {"version": version, "wanted": specifier, "fits": fits}


def _fits(version: str, specifier: str) -> bool:
    """Whether ``version`` meets ``specifier``; taken as met where ``packaging`` is not there."""
    if importlib.util.find_spec("packaging") is None:
        return True
    from packaging.specifiers import SpecifierSet  # comes with torch_geometric and Fabric

    return SpecifierSet(specifier).contains(version, prereleases=True)


def _engine(module: str) -> Json:
    """Whether a compiled extension is there, and whether it loads."""
    if importlib.util.find_spec(module) is None:
        return {"found": False, "works": False, "problem": None}
    try:
        importlib.import_module(module)
    except (ImportError, OSError, RuntimeError) as error:
        return {"found": True, "works": False, "problem": str(error).splitlines()[0]}
    return {"found": True, "works": True, "problem": None}


def _devices() -> Json:
    """What torch can compute on, and with which engine edges are summed there."""
    import torch  # takes seconds, and does not load everywhere: that is for us to find out

    cuda = torch.cuda.is_available()
    count = torch.cuda.device_count() if cuda else 0
    return {
        "cpu": {
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "engine": _engine_in_use("cpu"),
        },
        "cuda": {
            "available": cuda,
            "built_for": torch.version.cuda,
            "names": [torch.cuda.get_device_name(i) for i in range(count)],
            "engine": _engine_in_use("cuda"),
        },
        "mps": {"available": torch.backends.mps.is_available()},
    }


def _engine_in_use(device: str) -> str:
    """Which engine sums edges there, or what is wrong with the one that is forced."""
    import torch

    from pyg_kgtransfer.kernels.engines import engine_name

    try:
        return engine_name(torch.device(device))
    except ValueError as error:
        return str(error)


def _data() -> tuple[Json, list[str]]:
    """Where named data sets are looked for, and what is wrong with that."""
    try:
        from pyg_kgtransfer.sources.datasets import Places  # needs torch and torch_geometric

        places = Places.given()
    except (ValueError, ImportError) as error:
        return {}, [str(error)]
    found = {
        "folder": str(places.root),
        "folder_exists": places.root.is_dir(),
        "cache": str(places.cache),
        "offline": places.offline,
    }
    return found, []
