"""Imports run downward only: the floors of the house, decided by the syntax tree."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent / "pyg_kgtransfer"
FLOORS = {
    "functional": 0, "process": 0, "kernels": 1, "graph": 1, "sources": 2, "linking": 2,
    "models": 3, "objectives": 4, "training": 5, "evaluation": 5, "transfer": 6, "serving": 7,
    "demo": 7, "commands": 8, "cli": 9,
    "__main__": 10,
}  # fmt: skip


def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.startswith("pyg_kgtransfer.")}


def room(module: str) -> str:
    return module.split(".")[1]


def files() -> list[Path]:
    return [path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "__init__.py"]


def test_a_room_imports_from_lower_floors_or_itself() -> None:
    assert len(files()) > 10
    for path in files():
        own = path.relative_to(ROOT).with_suffix("").parts[0]
        for name in imported(path):
            if room(name) in FLOORS and room(name) != own:
                assert FLOORS[room(name)] < FLOORS[own], f"{path.name} ({own}) imports {name}"


def test_no_cycles_inside_a_room() -> None:
    modules = {
        ".".join(("pyg_kgtransfer", *p.relative_to(ROOT).with_suffix("").parts)): p for p in files()
    }
    edges = {
        name: {m for m in imported(path) if m in modules and m != name}
        for name, path in modules.items()
    }
    done: set[str] = set()
    while len(done) < len(edges):
        ready = {name for name, needs in edges.items() if name not in done and needs <= done}
        assert ready, f"a cycle among {sorted(set(edges) - done)}"
        done |= ready
