"""The pages of the site: code runs, commands parse, links lead somewhere, names are all there.

``make docs`` builds the site itself, strictly. Blocks of ``python`` are run, ``kgt`` lines of
``bash`` parsed; what cannot run here (it needs a download, or other machines) is a block of ``py``.
"""

import doctest
import functools
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

import pyg_kgtransfer as kgt
from pyg_kgtransfer.cli import VERBS, parser_of

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def hook(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / "hooks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


site = hook("pages")
PAGES = sorted(DOCS.rglob("*.md"))


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_in_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert all(">>> " in block for block in blocks), "code that is not run cannot be shown"
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page.name, str(page), 0)
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    assert not said, "".join(said)


@pytest.mark.filterwarnings("ignore:Using 'NeighborSampler' without")
def test_loaders_of_pyg_feed_a_model_as_shown() -> None:
    typing = pytest.importorskip("torch_geometric.typing")
    if not (typing.WITH_PYG_LIB or typing.WITH_TORCH_SPARSE):
        pytest.skip("PyG samples neighbours with pyg-lib or torch-sparse")
    text = (DOCS / "scale.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec("\n".join(re.findall(r"^```py\n(.*?)^```", text, re.MULTILINE | re.DOTALL)), names)
    assert names["result"].metrics()["mrr"] > 0.4  # 0.11 untrained
    entity = names["typed"]["cluster_0"].entity
    assert torch.equal(names["known"], entity[names["part"]["cluster_0"].n_id])


@functools.lru_cache
def parser(verb: str):
    return parser_of(verb)


def commands() -> list[str]:
    blocks = [
        block
        for page in PAGES
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    ]
    lines = {line for block in blocks for line in block.replace("\\\n", " ").splitlines()}
    return sorted(line for line in lines if line.startswith("kgt "))


@pytest.mark.parametrize("command", commands())
def test_a_command_in_a_page_parses(command: str) -> None:
    words = shlex.split(command, comments=True)
    verb = next(name for name in (" ".join(words[1:3]), words[1]) if name in VERBS)
    parser(verb).parse_args(words[1 + len(verb.split()) :])


def nav_pages(entry: object) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    for inner in entry.values() if isinstance(entry, dict) else entry:
        if not isinstance(entry, str):
            yield from nav_pages(inner)


def test_the_navigation_has_every_page_and_no_other() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    nav = list(nav_pages(site.on_config(SimpleNamespace(nav=settings["nav"])).nav))
    assert sorted(nav) == sorted([*map(name_of, PAGES), *site.made_pages()])


@pytest.mark.parametrize("path", [*map(name_of, PAGES), "benchmarks.md", "reference/index.md"])
def test_links_lead_somewhere(path: str) -> None:
    made = site.made_pages()
    text = made[path]() if path in made else (DOCS / path).read_text(encoding="utf-8")
    there = {*map(name_of, PAGES), *made, *site.pictures()}
    for link in re.findall(r"\]\((?!https?:|#)([^)\s#]+)", text):
        target = (DOCS / path).parent.joinpath(link).resolve().relative_to(DOCS.resolve())
        assert target.as_posix() in there, link
    site.linked_names(text)  # refuses names that are not public


def test_every_public_name_is_in_the_reference_once() -> None:
    rooms = "".join(made() for path, made in site.made_pages().items() if "reference/" in path)
    entry = re.compile(r"^::: ([\w.]+)\n    options:\n      heading: ([\w.]+)$", re.MULTILINE)
    shown = entry.findall(rooms)
    assert len(shown) == len(set(shown))
    places = {name: place for place, name in shown}
    for name in kgt.__all__:
        value = getattr(kgt, name)
        assert places[name] == f"{value.__module__}.{value.__qualname__}"
        assert f"| [`{name}`][{places[name]}] |" in rooms
    # a room of functions; what public functions return
    assert {"losses.margin_loss", "predictor.Answer", "comparison.Comparison"} <= places.keys()


def test_the_command_line_is_what_help_says(capsys: pytest.CaptureFixture[str]) -> None:
    text = site.command_line(["doctor", "link", "tune"])
    assert "## kgt doctor" in text
    assert "usage: kgt link --left DATA" in text
    assert "### --similarity.*" in text
    assert "--similarity.threshold X" in text.partition("## Settings")[2]
    assert "how to search:" in text.partition("## Settings")[0]  # options of a class, unnested


def test_a_page_that_names_what_is_not_public_is_refused() -> None:
    assert site.linked_names("`kgt.link`") == "[`kgt.link`][pyg_kgtransfer.linking.linked.link]"
    assert site.linked_names("```\n`kgt.no`\n```") == "```\n`kgt.no`\n```"
    with pytest.raises(ValueError, match=r"`kgt\.no`, which is no public name"):
        site.linked_names("see `kgt.no`")


def test_messages_that_are_explained_are_said_somewhere() -> None:
    text = (DOCS / "guides" / "troubleshooting.md").read_text(encoding="utf-8")
    code = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "pyg_kgtransfer").rglob("*.py"))
    said = re.sub(r'"\s*\n\s*f?"', "", code)  # literals over several lines
    messages = re.findall(r"^\| `(.*?)` \|", text, re.MULTILINE)
    assert len(messages) > 8
    for message in messages:
        for part in re.split(r"\b[XY]\b", message):
            assert part.strip() in said, message


def test_code_is_shown_without_prompts_and_results_as_comments() -> None:
    page = "text\n```python\n>>> for i in (1, 2):\n...     print(i)\n1\n2\n\n```\n>>> not code"
    assert site.without_prompts(page) == (
        "text\n```python\nfor i in (1, 2):\n    print(i)\n# 1\n# 2\n```\n>>> not code"
    )


def test_docstrings_become_markdown_with_links() -> None:
    pytest.importorskip("griffe")
    as_markdown = hook("docstrings").as_markdown
    text = "A ``Split`` of ``x``.\n\nSource: A 2020.\n\nExample:\n    >>> 1"
    assert as_markdown(text) == (
        "A [`Split`][pyg_kgtransfer.graph.splits.Split] of `x`.\n\n**Source:** A 2020.\n\n"
        "Examples:\n    >>> 1"
    )
    assert as_markdown("A ``Split``.", "pyg_kgtransfer.graph.splits.Split") == "A `Split`."
