import errno
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
from pyg_kgtransfer.linking.alignment import Alignment
from pyg_kgtransfer.linking.linked import link
from pyg_kgtransfer.models.build import ModelConfig, build_model
from pyg_kgtransfer.models.calibration import (
    Calibration,
    Calibrator,
    IsotonicCalibration,
    RelationCalibration,
    calibrator_to_dict,
)
from pyg_kgtransfer.training import checkpoint_format
from pyg_kgtransfer.training.checkpoint import Checkpoint, SourceMaps, provenance
from pyg_kgtransfer.training.checkpoint_format import (
    INDEX,
    NAMES,
    WEIGHTS,
    write_index,
)
from pyg_kgtransfer.training.durable_files import previous_of

FACTS = [
    ("Athens", "capital_of", "Greece"),
    ("Athens", "capital_of", "Greece"),
    ("\ud800", "é", ""),
]
GOLDEN = Path(__file__).parent / "golden"


def typed_graph() -> KnowledgeGraph:
    types = {"Athens": "city", "Greece": "country", "\ud800": "city", "": "country"}
    return KnowledgeGraph.from_names(FACTS, name="world", types=types, labels={"": "nothing"})


def small(config: ModelConfig | None = None, seed: int = 0, **fields: object) -> Checkpoint:
    config = config or ModelConfig(encoder="shallow", decoder="distmult", width=4)
    torch.manual_seed(seed)
    model = build_model(config, num_entities=4, num_relations=2)
    return Checkpoint(model, typed_graph(), config, **fields)


def assert_same_state(one: nn.Module, other: nn.Module) -> None:
    assert one.state_dict().keys() == other.state_dict().keys()
    for key, value in one.state_dict().items():
        assert value.dtype == other.state_dict()[key].dtype
        assert torch.equal(value, other.state_dict()[key]), key


def reindex(folder: Path, change: Callable[[dict], None]) -> None:
    """Change the index of a checkpoint and seal it again, as another version might have."""
    index = json.loads((folder / INDEX).read_text())
    change(index)
    del index["sha256"]
    index["sha256"] = checkpoint_format._index_digest(index)
    (folder / INDEX).write_text(json.dumps(index))


def test_everything_comes_back(tmp_path: Path) -> None:
    config = ModelConfig(encoder="compgcn", decoder="rotate", width=4, layers=2, dropout=0.5)
    saved = small(config, metrics={"mrr": 0.25, "per_relation": {"é": [1, 2.5]}})
    path = saved.save(tmp_path / "some" / "where" / "teacher")
    back = Checkpoint.load(path)
    assert back.config == config
    assert back.metrics == saved.metrics
    assert back.provenance == saved.provenance
    assert back.sources is None
    assert back.id == saved.id == json.loads((path / INDEX).read_text())["id"]
    assert back.graph.named_triples() == FACTS
    assert back.graph.fingerprint() == saved.graph.fingerprint()
    assert (back.graph.name, back.graph.labels) == (
        "world",
        ("Athens", "Greece", "\ud800", "nothing"),
    )
    assert back.graph.entity_types == saved.graph.entity_types
    assert torch.equal(back.graph.entity_type, saved.graph.entity_type)
    assert_same_state(back.model, saved.model)
    assert not back.model.training
    graph = saved.graph.tensors()
    one, other = (m.eval().encode(graph).entity for m in (back.model, saved.model))
    assert torch.equal(one, other)
    assert [p.name for p in path.parent.iterdir()] == ["teacher"]
    assert not list(path.glob("*.p*"))


@pytest.mark.parametrize("inputs", ["features", "mixture"])
def test_given_features_come_back_with_the_model(tmp_path: Path, inputs: str) -> None:
    config = ModelConfig(encoder="shallow", decoder="distmult", width=4, inputs=inputs)
    model = build_model(config, num_entities=4, num_relations=2, features=torch.eye(4))
    back = Checkpoint.load(Checkpoint(model, typed_graph(), config).save(tmp_path / "c"))
    assert_same_state(back.model, model)


def test_loading_leaves_the_random_state_alone(tmp_path: Path) -> None:
    path = small().save(tmp_path / "c")
    before = torch.get_rng_state()
    Checkpoint.load(path)
    assert torch.equal(before, torch.get_rng_state())


def test_a_model_of_ones_own_is_given_to_load(tmp_path: Path, make: Callable) -> None:
    one, other = make(seed=1), make(seed=2)
    path = Checkpoint(one.model.double(), one.graph).save(tmp_path / "own")
    with pytest.raises(ValueError, match=r"model of your own.*model=\.\.\."):
        Checkpoint.load(path)
    back = Checkpoint.load(path, model=other.model)
    assert back.model is other.model
    assert back.config is None
    assert back.model.encoder.entity.dtype == torch.float64
    assert_same_state(back.model, one.model)


def test_weights_that_do_not_fit_are_named_with_their_shapes(
    tmp_path: Path, make: Callable
) -> None:
    path = Checkpoint(make().model, make().graph).save(tmp_path / "own")
    wider = make(entities=13).model
    wider.encoder.gate = nn.Parameter(torch.zeros(3))
    before = wider.encoder.entity.clone()
    with pytest.raises(ValueError, match="must fit the model") as raised:
        Checkpoint.load(path, model=wider)
    assert "encoder.entity has shape (12, 6) in the checkpoint, (13, 6) in the model" in str(
        raised.value
    )
    assert "the checkpoint has no encoder.gate (3,)" in str(raised.value)
    assert torch.equal(before, wider.encoder.entity)
    with pytest.raises(ValueError, match=r"the model has no encoder\.entity \(12, 6\)"):
        Checkpoint.load(path, model=small().model)


def test_the_maps_of_a_linked_graph_come_back(tmp_path: Path) -> None:
    left = KnowledgeGraph.from_names([("a", "r", "b")], name="left")
    right = KnowledgeGraph.from_names([("B", "s", "C")], name="right")
    linked = link([left, right], [Alignment.from_names(left, right, [("b", "B")])])
    config = ModelConfig(encoder="shallow", decoder="distmult", width=4)
    sizes = (linked.graph.num_entities, linked.graph.num_relations)
    model = build_model(config, num_entities=sizes[0], num_relations=sizes[1])
    came_from = provenance([left, right], seed=3)
    saved = Checkpoint(model, linked.graph, config, {}, came_from, SourceMaps.of(linked))
    back = Checkpoint.load(saved.save(tmp_path / "c"))
    assert back.sources.names == ("left", "right")
    for name in ("entity_maps", "relation_maps"):
        for one, other in zip(getattr(back.sources, name), getattr(linked, name), strict=True):
            assert torch.equal(one, other)
    assert back.saw(left)
    assert back.saw(right)
    assert back.saw(linked.graph)
    assert not back.saw(typed_graph())
    assert back.provenance["seed"] == 3


def test_a_child_names_its_parent_and_what_the_parent_saw(tmp_path: Path) -> None:
    unseen = KnowledgeGraph.from_names([("x", "y", "z")], name="far")
    parent = small(provenance=provenance([unseen]))
    parent = Checkpoint.load(parent.save(tmp_path / "parent"))
    child = small(seed=1, provenance=provenance(parent=parent))
    child = Checkpoint.load(child.save(tmp_path / "child"))
    assert child.provenance["parent"] == parent.id != child.id
    assert child.saw(unseen)
    assert child.provenance["graphs"][unseen.fingerprint()] == "far"
    assert child.provenance["versions"]["torch"] == torch.__version__


def test_a_checkpoint_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    path = small().save(tmp_path / "c")
    second = small(seed=1)
    second.save(path)
    assert Checkpoint.load(path).id == second.id
    (tmp_path / "empty").mkdir()
    second.save(tmp_path / "empty")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat").touch()
    for other in (tmp_path / "photos", tmp_path / "photos" / "cat"):
        with pytest.raises(FileExistsError, match="is not a checkpoint, so it is not replaced"):
            second.save(other)
    assert {p.name for p in tmp_path.iterdir()} == {"c", "empty", "photos"}


@pytest.mark.parametrize("call", range(1, 7))
@pytest.mark.parametrize("death", [OSError, KeyboardInterrupt])
def test_a_full_disk_or_a_break_leaves_the_old_one_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int, death: type[BaseException]
) -> None:
    old = small()
    path = old.save(tmp_path / "c")
    fresh = tmp_path / "fresh"
    for target in (path, fresh):
        done: list[int] = []
        real = os.fsync

        def failing(
            descriptor: int, done: list[int] = done, real: Callable[[int], None] = real
        ) -> None:
            done.append(1)
            if len(done) == call:
                raise death(errno.ENOSPC, "No space left on device")
            real(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing)
            with pytest.raises(death) as raised:
                small(seed=1).save(target)
        if death is OSError:
            assert raised.value.errno == errno.ENOSPC
            kept = "the checkpoint before it is untouched" if target == path else "nothing is left"
            assert f"the disk is full; {kept}" in str(raised.value)
    if death is OSError:
        assert Checkpoint.load(path).id == old.id
        assert [p.name for p in tmp_path.iterdir()] == ["c"]
    else:  # after the last rename the new one stands
        expected = small(seed=1).id if call == 6 else old.id
        assert Checkpoint.load(path).id == expected
        assert fresh.exists() == (call == 6)


def test_a_file_that_the_system_refuses_to_write_is_said_in_words(tmp_path: Path) -> None:
    path = small().save(tmp_path / "c")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            import signal

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (150, 150))
            small(seed=1).save(path)
        except OSError as error:
            is_worded = "the checkpoint could not be written" in str(error)
            code = 0 if error.errno == errno.EFBIG and is_worded else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert Checkpoint.load(path).id == small().id
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_a_replacement_cut_off_between_its_renames_is_found(tmp_path: Path) -> None:
    saved = small()
    path = saved.save(tmp_path / "c")
    path.rename(previous_of(path))
    assert Checkpoint.load(path).id == saved.id


def test_not_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no checkpoint at"):
        Checkpoint.load(tmp_path / "missing")
    path = small().save(tmp_path / "c")
    with pytest.raises(NotADirectoryError, match="a checkpoint is a folder"):
        Checkpoint.load(path / INDEX)
    with pytest.raises(ValueError, match=r"is not a checkpoint.*did you mean .*/c\?"):
        Checkpoint.load(tmp_path)
    (path / INDEX).write_text('{"epochs": 3}')
    with pytest.raises(ValueError, match="no schema_version"):
        Checkpoint.load(path)
    (path / INDEX).write_text("{")
    with pytest.raises(ValueError, match="must be JSON"):
        Checkpoint.load(path)


@pytest.mark.parametrize("name", [WEIGHTS, "graph.safetensors", NAMES])
def test_tampering_and_missing_files_are_named(tmp_path: Path, name: str) -> None:
    path = small().save(tmp_path / "c") / name
    whole = bytearray(path.read_bytes())
    whole[-2] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=rf"{name} was changed after it was saved"):
        Checkpoint.load(path.parent)
    path.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=rf"{name} was changed.* bytes"):
        Checkpoint.load(path.parent)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"lacks its file {name}"):
        Checkpoint.load(path.parent)


def test_tampering_with_the_index_is_named(tmp_path: Path) -> None:
    path = small(metrics={"mrr": 0.25}).save(tmp_path / "c")
    index = path / INDEX
    index.write_text(index.read_text().replace("0.25", "0.95"))
    with pytest.raises(ValueError, match=rf"{INDEX} was changed after it was saved"):
        Checkpoint.load(path)


def test_the_index_cannot_point_outside_its_folder(tmp_path: Path) -> None:
    path = small().save(tmp_path / "c")
    entry = {"bytes": 1, "sha256": ""}
    reindex(path, lambda index: index["files"].update({"../../etc/passwd": entry}))
    with pytest.raises(
        ValueError, match=r"must list the files of a checkpoint \(got \.\./\.\./etc"
    ):
        Checkpoint.load(path)


def test_another_schema_is_refused_and_an_older_one_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small(metrics={"mrr": 0.5}).save(tmp_path / "c")
    reindex(path, lambda index: index.update(schema_version=2))
    with pytest.raises(ValueError, match=r"reads: 1 \(got 2\); a newer pyg_kgtransfer wrote it"):
        Checkpoint.load(path)

    def older(index: dict) -> None:
        index["schema_version"] = 0
        index["figures"] = index.pop("metrics")

    reindex(path, older)
    with pytest.raises(ValueError, match=r"reads: 1 \(got 0\)$"):
        Checkpoint.load(path)
    migration = {0: lambda old: {**old, "metrics": old["figures"], "schema_version": 1}}
    monkeypatch.setattr(checkpoint_format, "MIGRATIONS", migration)
    assert Checkpoint.load(path).metrics == {"mrr": 0.5}
    reindex(path, lambda index: index.update(schema_version=2))
    with pytest.raises(ValueError, match=r"reads: 0, 1 \(got 2\)"):
        Checkpoint.load(path)


def test_numbers_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        small(metrics={"mrr": float("nan")}).save(tmp_path / "c")
    with pytest.raises(ValueError, match="finite numbers"):
        small(metrics={"mrr": torch.tensor(0.5)}).save(tmp_path / "c")
    broken = small()
    with torch.no_grad():
        next(broken.model.parameters())[0] = torch.nan
    with pytest.raises(ValueError, match="weights must be finite"):
        broken.save(tmp_path / "c")
    assert not list(tmp_path.iterdir())


def test_an_index_with_number_keys_is_sealed_as_it_will_be_read(tmp_path: Path) -> None:
    saved = small(metrics={"hits": {10: 0.5, 3: 0.2, 1: 0.1}})
    back = Checkpoint.load(saved.save(tmp_path / "c"))
    assert back.metrics == {"hits": {"10": 0.5, "3": 0.2, "1": 0.1}}


@pytest.mark.parametrize(
    "calibration",
    [
        Calibration(1 / 3, -1e-300),
        IsotonicCalibration(np.array([-1 / 3, 0.1]), np.array([0.0, 1 / 7])),
        RelationCalibration(Calibration(0.1, 2.0), np.array([1 / 3, 2.0]), np.array([0.1, -1.0])),
    ],
)
def test_a_calibration_comes_back_and_is_no_other_model(
    tmp_path: Path, calibration: Calibrator
) -> None:
    plain, calibrated = small(), small(calibration=calibration)
    back = Checkpoint.load(calibrated.save(tmp_path / "c"))
    scores, relation = torch.linspace(-2, 2, 9), torch.arange(9) % 2
    assert type(back.calibration) is type(calibration)
    for told in (None, relation):
        assert torch.equal(
            back.calibration.probability(scores, told), calibration.probability(scores, told)
        )
    assert back.id == plain.id
    assert calibrator_to_dict(back.calibration) == calibrator_to_dict(calibration)
    without = plain.save(tmp_path / "plain")
    assert "calibration" not in json.loads((without / INDEX).read_text())
    assert Checkpoint.load(without).calibration is None


def test_a_calibration_of_another_kind_is_named(tmp_path: Path) -> None:
    class Own:
        def probability(self, scores: torch.Tensor, relation: object = None) -> torch.Tensor:
            return scores.sigmoid()

    with pytest.raises(ValueError, match=r"platt, isotonic, relation can be kept \(got a Own\)"):
        small(calibration=Own()).save(tmp_path / "c")
    assert not list(tmp_path.iterdir())
    path = small(calibration=Calibration(1.0, 0.0)).save(tmp_path / "c")
    reindex(path, lambda index: index["calibration"].update(kind="beta"))
    with pytest.raises(ValueError, match=r"checkpoint\.json must hold a calibration .*got 'beta'"):
        Checkpoint.load(path)
    reindex(path, lambda index: index.update(calibration={"kind": "platt", "slope": 1.0}))
    with pytest.raises(ValueError, match=r"platt lacks its numbers \(got \['kind', 'slope'\]\)"):
        Checkpoint.load(path)


def test_an_index_lists_every_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    write_index(tmp_path, {})
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["files"]["a"]["bytes"] == 3


def test_a_checkpoint_of_schema_1_written_once_still_loads(make: Callable) -> None:
    own = make(seed=9)
    back = Checkpoint.load(GOLDEN / "schema_1", model=own.model)
    assert back.graph.named_triples()[0] == ("Athens", "capital_of", "Greece")
    assert back.metrics == {"mrr": 0.5}
    assert back.sources.names == ("left", "right")
    assert back.sources.entity_maps[1].tolist() == [1, -1]
    assert back.model.encoder.relation.view(-1).tolist() == [i / 4 for i in range(24)]
    assert back.calibration is None
