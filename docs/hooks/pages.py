"""Pages that are made when the site is built, so that they cannot go stale (a hook of MkDocs).

The command line from ``kgt VERB --help``, the reference from the public names and the modules they
live in, the benchmarks from the README's tables.
"""

import importlib
import inspect
import os
import pkgutil
import re
import typing
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pyg_kgtransfer as kgt
from pyg_kgtransfer import cli
from pyg_kgtransfer.commands.help import explanation, topics

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parent.parent.parent
ROOMS = (
    "functional", "kernels", "graph", "sources", "linking", "models", "objectives", "training",
    "evaluation", "transfer", "serving",
)  # fmt: skip
README_URL = "https://github.com/pyg-kgtransfer/pyg_kgtransfer/blob/main/"


def on_config(config: "MkDocsConfig") -> "MkDocsConfig":
    """Put the rooms into the navigation."""
    for entry in config.nav or []:
        if entry.get("Reference") == "reference/":
            entry["Reference"] = [
                {"All names": "reference/index.md"},
                *({room: f"reference/{room}.md"} for room in ROOMS),
            ]
    return config


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the pages that are made, and the pictures of the benchmarks."""
    from mkdocs.structure.files import File

    for path, made in made_pages().items():
        files.append(File.generated(config, path, content=made()))
    for place, picture in pictures().items():
        files.append(File.generated(config, place, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Make links of the public names that a page mentions, and code that can be copied."""
    return without_prompts(linked_names(markdown))


def linked_names(markdown: str) -> str:
    """The text with a link to the reference on every `kgt.NAME`, code blocks left alone.

    Raises:
        ValueError: If there is no such name.
    """
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else _with_links(part) for part in parts)


def without_prompts(markdown: str) -> str:
    """The text with its tested Python blocks as one would type them, results as comments."""

    def plain(found: re.Match[str]) -> str:
        lines = [
            line[4:] if line.startswith((">>> ", "... ")) else f"# {line}"
            for line in found[1].splitlines()
            if line.strip()
        ]
        return "\n".join(["```python", *lines, "```"])

    return re.sub(r"^```python\n(.*?)^```$", plain, markdown, flags=re.MULTILINE | re.DOTALL)


def _with_links(text: str) -> str:
    def link(found: re.Match[str]) -> str:
        if found[1] not in kgt.__all__:
            raise ValueError(f"a page names {found[0]}, which is no public name")
        return f"[{found[0]}][{_path(getattr(kgt, found[1]))}]"

    return re.sub(r"(?<!\[)`kgt\.([A-Za-z]\w*)[^`]*`", link, text)


def made_pages() -> dict[str, Callable[[], str]]:
    """Every page that is made: its path in ``docs/``, and what makes its Markdown."""
    rooms = {f"reference/{room}.md": partial(room_page, room) for room in ROOMS}
    made = {"command-line.md": command_line, "benchmarks.md": benchmarks}
    return {**made, "reference/index.md": all_names, **rooms}


def pictures() -> dict[str, Path]:
    """The plots of the benchmarks: their paths in ``docs/``, and where they are."""
    folder = ROOT / "benchmarks" / "results"
    return {f"benchmarks/results/{p.name}": p for p in sorted(folder.glob("*.png"))}


def command_line(verbs: Iterable[str] = tuple(cli.VERBS)) -> str:
    """A section a verb, as ``kgt VERB --help`` has it; last the settings, which verbs share."""
    text = ["# Command line", f"```text\n{cli.overview(cli.VERBS)}\n```"]
    settings: dict[str, tuple[list[str], str]] = {}  # by first name: whose, and the help
    for verb in verbs:
        text += [f"## kgt {verb}", f"```text\n{_help(verb)}\n```"]
        groups = topics(cli.parser_of(verb))
        for name in dict.fromkeys(group.partition(".")[0] for group in groups):
            told = re.sub(r"\A.*?\n\n.*?\n\n", "", _help(verb, name), flags=re.DOTALL)
            takers, _ = settings.setdefault(name, ([], told))
            takers.append(f"`{verb}`")
    text.append("## Settings")
    for name, (takers, told) in settings.items():
        text += [f"### --{name}.*", f"Of {', '.join(takers)}.", f"```text\n{told}\n```"]
    return "\n\n".join(text) + "\n"


def _help(verb: str, topic: str = "") -> str:
    width, os.environ["COLUMNS"] = os.environ.get("COLUMNS"), "92"
    try:
        return explanation(cli.parser_of(verb), topic)
    finally:
        if width is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = width


# The reference.


def room_page(room: str) -> str:
    """What is public in a room, module by module, and what its functions return.

    ``functional`` has no public names of the package: all of its functions are shown.
    """
    package = importlib.import_module(f"pyg_kgtransfer.{room}")
    text = [f"# {room}", _sentence(package)]
    for module in _modules(package):
        members = list(_members(module, everything=room == "functional"))
        if members:
            text += [f"## {module.__name__.removeprefix('pyg_kgtransfer.')}", _prose(module)]
            text += [f"::: {_path(value)}\n    options:\n      heading: {name}"
                     for name, value in members]  # fmt: skip
    return "\n\n".join(text) + "\n"


def all_names() -> str:
    """A table of every public name: where it is, and the first line of its docstring."""
    rows = [
        f"| [`{name}`][{_path(value)}] | [{room}]({room}.md) | {_first_line(value)} |"
        for name, value in sorted(_public().items(), key=lambda item: item[0].casefold())
        for room in [_room(value)]
    ]
    head = (
        "# All names\n\nEach is a name of the package: `import pyg_kgtransfer as kgt`, then "
        "`kgt.` and the name.\n\n| name | room | what it is |\n|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


def _public() -> dict[str, typing.Any]:
    return {name: getattr(kgt, name) for name in kgt.__all__}


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if not found.name.endswith(("_loops", "_kernels")):  # compiled; nothing public
            yield importlib.import_module(found.name)


def _members(module: ModuleType, *, everything: bool) -> Iterator[tuple[str, typing.Any]]:
    """The public names that live in a module, then the classes its room's functions return."""
    public = {name: value for name, value in _public().items() if _home(value) == module.__name__}
    yield from public.items()
    listed = set(map(id, public.values()))
    returned = set(map(id, returned_classes()))
    for name, value in vars(module).items():
        own = getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
        wanted = (everything and inspect.isfunction(value)) or id(value) in returned
        if own and wanted and id(value) not in listed:
            yield f"{module.__name__.rpartition('.')[2]}.{name}", value


def returned_classes() -> list[type]:
    """Classes of ours, not public by name, that public functions and methods return."""
    public = list(_public().values())
    found: dict[int, type] = {}
    for value in public:
        for function in _functions(value):
            hint = typing.get_type_hints(function).get("return")
            for part in _parts(hint):
                ours = inspect.isclass(part) and _home(part).startswith("pyg_kgtransfer.")
                if ours and part not in public and not part.__name__.startswith("_"):
                    found[id(part)] = part
    return list(found.values())


def _functions(value: typing.Any) -> Iterator[typing.Any]:
    if not inspect.isclass(value):
        yield value
        return
    for name, member in vars(value).items():
        if not name.startswith("_") or name == "__call__":
            function = getattr(member, "__func__", getattr(member, "fget", member))
            if inspect.isfunction(function):
                yield function


def _parts(hint: typing.Any) -> Iterator[typing.Any]:
    yield hint
    for part in typing.get_args(hint):
        yield from _parts(part)


def _home(value: typing.Any) -> str:
    return str(value.__module__)


def _path(value: typing.Any) -> str:
    return f"{_home(value)}.{value.__qualname__}"


def _room(value: typing.Any) -> str:
    return _home(value).split(".")[1]


def _prose(module: ModuleType) -> str:
    """A module's docstring in Markdown, without its example."""
    text = inspect.getdoc(module) or ""
    return text.split("\nExample:")[0].replace("``", "`").strip()


def _sentence(value: typing.Any) -> str:
    return (inspect.getdoc(value) or "").split("\n\n")[0].replace("``", "`")


def _first_line(value: typing.Any) -> str:
    return _sentence(value).replace("\n", " ").replace("|", r"\|")


# The benchmarks.


def benchmarks() -> str:
    """The README's section on benchmarks, whose figures the scripts of ``benchmarks/`` printed."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^## Benchmarks\n(.*?)(?=^## |\Z)", readme, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError("README.md must have a section '## Benchmarks', which the site shows")
    text = re.sub(r"^###", "##", found[1], flags=re.MULTILINE)
    text = re.sub(r"\]\((benchmarks/results/[\w.]+\.png)\)", r"](\1)", text)
    text = re.sub(
        r"\]\((?!http|benchmarks/results/\w+\.png)([^)#][^)]*)\)", rf"]({README_URL}\1)", text
    )
    return f"# Benchmarks\n{text}"
