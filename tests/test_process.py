"""What a training program asks of the system."""

import os
import subprocess
import sys

import pytest

_HELD_AFTER_FREEING = """
from pyg_kgtransfer.process import prepare
{prepare}
blocks = [bytearray(b"x") * 2**24 for _ in range(16)]
del blocks
with open("/proc/self/statm") as stream:
    print(int(stream.read().split()[1]) * 4096 // 2**20)
"""


def megabytes_held(prepare: str, **environment: str) -> int:
    """Memory of a process that has freed 16 blocks of 16 MB."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    script = _HELD_AFTER_FREEING.format(prepare=prepare)
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the setting is glibc's")
def test_memory_is_kept_when_prepared_and_the_users_own_setting_stands() -> None:
    assert megabytes_held("") < 150
    assert megabytes_held("prepare()") > 250
    assert megabytes_held("prepare()", MALLOC_TRIM_THRESHOLD_="131072") < 150


def test_a_wait_policy_of_the_users_own_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyg_kgtransfer.process import prepare

    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")  # leave this process's memory alone
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    prepare()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    prepare()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.delenv("GOMP_SPINCOUNT")
    prepare()
    assert int(os.environ["GOMP_SPINCOUNT"]) > 0
