"""The notebooks: each runs from a bare clone on a CPU, draws something, and is stored clean."""

import ast
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

import pyg_kgtransfer as kgt

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS = 90


def cells(path: Path, kind: str) -> list[str]:
    """The sources of the cells of one kind."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == kind]


def executed(path: Path, folder: Path) -> tuple[list[dict[str, Any]], float]:
    """All outputs of a notebook run by this interpreter in ``folder``, and the seconds it took."""
    nbclient = pytest.importorskip("nbclient", reason="needs the extra 'notebooks' (no nbclient)")
    pytest.importorskip("ipykernel", reason="needs the extra 'notebooks' (no ipykernel)")
    pytest.importorskip("matplotlib", reason="needs the extra 'notebooks' (no matplotlib)")
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbformat import read

    # without a folder to look in, "python3" is ipykernel under sys.executable, installed or not
    kernel = AsyncKernelManager(
        kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[])
    )
    notebook = read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, km=kernel, timeout=SECONDS, resources={"metadata": {"path": str(folder)}}
    )
    environment = {
        **{name: value for name, value in os.environ.items() if name != "MPLBACKEND"},
        "PYTHONPATH": str(ROOT),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
    }
    began = time.monotonic()
    client.execute(env=environment)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return outputs, time.monotonic() - began


def test_there_are_notebooks() -> None:
    assert [path.name[0] for path in NOTEBOOKS] == list("123456")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_and_draws(path: Path, tmp_path: Path) -> None:
    outputs, seconds = executed(path, tmp_path)  # an error in a cell is raised
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    assert "image/png" in kinds
    assert "text/markdown" in kinds  # a table
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert seconds < SECONDS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_holds_no_output_and_no_trace_of_a_run(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert set(content["metadata"]) == {"kernelspec", "language_info"}
    assert content["metadata"]["language_info"] == {"name": "python"}
    for cell in content["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
        assert cell["metadata"] == {}
    assert not re.search(r"/(home|root|work|tmp|Users)/", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_uses_public_names_alone(path: Path) -> None:
    code = "\n".join(cells(path, "code"))
    assert "import pyg_kgtransfer as kgt" in code
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            assert not (node.module or "").startswith("pyg_kgtransfer")
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "kgt":
            assert node.attr in kgt.__all__, node.attr
        if isinstance(node, ast.Attribute) and not node.attr.startswith("__"):
            assert not node.attr.startswith("_"), node.attr


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_says_what_it_does_in_short_cells(path: Path) -> None:
    texts, code = cells(path, "markdown"), cells(path, "code")
    assert texts[0].startswith("# ")
    assert len(texts) >= len(code) / 2
    assert max(len(cell.splitlines()) for cell in code) <= 45
