import json
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

from pyg_kgtransfer.serving import doctor
from pyg_kgtransfer.serving.doctor import diagnose


def test_it_is_ready_for_json_and_names_what_is_required() -> None:
    found = json.loads(json.dumps(diagnose()))
    wanted = metadata.requires(doctor.DISTRIBUTION) or []
    required = [line for line in wanted if "extra ==" not in line]
    assert len(found["required"]) == len(required)
    assert found["required"]["torch"] == {
        "version": torch.__version__,
        "wanted": ">=2.6",
        "fits": True,
    }
    assert found["required"]["jsonargparse"]["wanted"].startswith(">=")  # not its own extra
    assert set(found["extras"]) >= {"plot", "pandas", "tensorboard", "atlas", "scatter"}
    assert found["devices"]["cuda"]["available"] == torch.cuda.is_available()
    assert found["devices"]["cpu"]["engine"] == "numba"


def test_what_is_not_installed_is_no_problem_where_it_is_an_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = ["torch>=1", 'no-such-package>=2; extra == "rare"']
    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    found = diagnose()
    entry = {"version": None, "wanted": ">=2", "fits": False}
    assert found["extras"] == {"rare": {"no-such-package": entry}}
    assert found["problems"] == []


def test_versions_that_do_not_fit_are_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["torch>=99", "no-such-package", 'numpy<1; extra == "old"']
    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    problems = "\n".join(diagnose()["problems"])
    assert f"torch>=99 is required (got {torch.__version__})" in problems
    assert "no-such-package is required (got none)" in problems
    assert "numpy of the extra old should be <1" in problems


def test_an_extension_that_does_not_load_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken_extension.py").write_text("raise OSError('undefined symbol: x\\nmore')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(doctor.ENGINES, "broken", "broken_extension")
    monkeypatch.setitem(doctor.ENGINES, "absent", "absent_extension")
    found = diagnose()
    assert found["engines"]["torch"] == {"found": True, "works": True, "problem": None}
    assert found["engines"]["absent"] == {"found": False, "works": False, "problem": None}
    assert found["engines"]["broken"]["problem"] == "undefined symbol: x"
    assert found["problems"] == ["broken is installed but does not load: undefined symbol: x"]
    assert "broken_extension" not in sys.modules


def test_the_folder_of_data_sets_is_the_one_they_are_read_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KGT_DATA", str(tmp_path))
    monkeypatch.setenv("KGT_OFFLINE", "1")
    data = diagnose()["data"]
    assert (data["folder"], data["folder_exists"], data["offline"]) == (str(tmp_path), True, True)
    monkeypatch.setenv("KGT_OFFLINE", "maybe")
    [problem] = diagnose()["problems"]
    assert "KGT_OFFLINE" in problem
