import errno
import functools
import json
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from pyg_kgtransfer.functional import losses
from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.objectives.link_prediction import NegativeSampling
from pyg_kgtransfer.training.config import OPTIMIZERS, TrainConfig, build_optimizer
from pyg_kgtransfer.training.resume import (
    RunState,
    check_same_run,
    flatten_optimizer,
    graph_digest,
    module_digest,
    read_state,
    restore_optimizer,
    write_state,
)


def state(step: int) -> RunState:
    return RunState({"weight": torch.full((4,), float(step))}, {"step": step, "rows": [{"a": 0.1}]})


def assert_state(folder: Path, step: int) -> None:
    found = read_state(folder)
    assert found is not None
    assert found.scalars == state(step).scalars
    assert torch.equal(found.tensors["weight"], state(step).tensors["weight"])


def test_the_last_state_is_read_and_older_files_go(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "resume"
    assert read_state(folder) is None
    for step in (1, 2, 2, 2, 3):
        write_state(folder, state(step))
        assert_state(folder, step)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("call", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("death", [KeyboardInterrupt, OSError])
def test_a_failure_at_any_sync_or_rename_leaves_a_whole_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int, death: type[BaseException]
) -> None:
    write_state(tmp_path, state(1))
    done: list[int] = []

    def failing(real: object) -> object:
        def act(*arguments: object) -> object:
            done.append(1)
            if len(done) == call:
                raise death(errno.ENOSPC, "No space left on device")
            return real(*arguments)

        return act

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(os.fsync))
        patch.setattr(os, "replace", failing(os.replace))
        with pytest.raises(death) as raised:
            write_state(tmp_path, state(2))
    is_renamed = call == 5
    assert_state(tmp_path, 2 if is_renamed else 1)
    if death is OSError:
        kept = "it is in place" if is_renamed else "the last resume checkpoint is untouched"
        assert f"the disk is full; {kept}" in str(raised.value)
        assert len(list(tmp_path.iterdir())) == (3 if is_renamed else 2)
    write_state(tmp_path, state(3))
    assert_state(tmp_path, 3)
    assert len(list(tmp_path.iterdir())) == 2


def test_damage_and_other_formats_are_named(tmp_path: Path) -> None:
    write_state(tmp_path, state(1))
    (tensors,) = tmp_path.glob("*.safetensors")
    whole = tensors.read_bytes()
    tensors.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"tensors-0+1\.safetensors must have \d+ bytes"):
        read_state(tmp_path)
    tensors.unlink()
    with pytest.raises(ValueError, match=r"got None"):
        read_state(tmp_path)
    index = tmp_path / "state.json"
    index.write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match=r"format 1.*got 99"):
        read_state(tmp_path)
    index.write_text("{")
    with pytest.raises(ValueError, match="must be JSON"):
        read_state(tmp_path)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on_exactly_from_tensors_and_json(name: str) -> None:
    def steps(module: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            module(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()

    def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
        groups = [{"params": module[0].parameters(), "lr": 0.5}, {"params": module[1].parameters()}]
        config = TrainConfig(optimizer=name, weight_decay=0.01, learning_rate=0.05)
        return module, build_optimizer(config, module, nn.Identity(), groups)

    module, optimizer = fresh()
    steps(module, optimizer, 3)
    tensors, scalars = flatten_optimizer(optimizer)
    tensors = {key: value.clone() for key, value in tensors.items()}
    scalars = json.loads(json.dumps(scalars))
    weights = {key: value.clone() for key, value in module.state_dict().items()}
    steps(module, optimizer, 4)

    again, other = fresh()
    again.load_state_dict(weights)
    restore_optimizer(other, tensors, scalars)
    assert other.param_groups[0]["lr"] == 0.5
    steps(again, other, 4)
    for key, value in module.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])


def test_a_module_is_told_by_its_settings_not_by_its_weights() -> None:
    def objective(margin: float, negatives: int = 8) -> NegativeSampling:
        loss = functools.partial(losses.margin_loss, margin=margin)
        return NegativeSampling(loss, num_negatives=negatives)

    assert module_digest(nn.Linear(2, 2)) == module_digest(nn.Linear(2, 2))
    assert module_digest(nn.Dropout(0.1)) != module_digest(nn.Dropout(0.2))
    assert module_digest(nn.Linear(2, 2)) != module_digest(nn.Linear(2, 2, bias=False))
    assert module_digest(nn.Dropout(0.1)) == module_digest(nn.Dropout(0.1).eval())
    assert module_digest(objective(1.0)) == module_digest(objective(1.0))
    assert module_digest(objective(1.0)) != module_digest(objective(2.0))
    assert module_digest(objective(1.0)) != module_digest(objective(1.0, negatives=9))
    softplus = NegativeSampling(losses.softplus_loss, num_negatives=8)
    assert module_digest(softplus) != module_digest(objective(1.0))


def test_a_graph_is_told_by_its_edges() -> None:
    graph = KnowledgeGraph.from_names([("a", "r", "b")])
    turned = KnowledgeGraph.from_names([("b", "r", "a")], entities=["a", "b"])
    assert graph_digest(graph.tensors()) == graph_digest(graph.tensors())
    assert graph_digest(graph.tensors()) != graph_digest(turned.tensors())


def test_another_run_is_refused_with_what_differs(tmp_path: Path) -> None:
    stored = {"config": {"epochs": 3, "seed": 0}, "graph": "a" * 64, "device": "cuda"}
    check_same_run(stored, json.loads(json.dumps(stored)), tmp_path)
    now = {"config": {"epochs": 4, "seed": 0}, "graph": "b" * 64, "device": "cpu"}
    expected = r"epochs was 3, is 4; other graph; the device was cuda, is cpu.*another run_dir"
    with pytest.raises(ValueError, match=expected):
        check_same_run(stored, now, tmp_path)
