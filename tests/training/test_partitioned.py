"""A table in buckets: each fact once, exact resume, and as good as one in memory."""

import itertools
import resource
import time
from pathlib import Path

import pytest
import torch

from pyg_kgtransfer.functional import losses
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.models.build import ModelConfig, build_model
from pyg_kgtransfer.objectives.link_prediction import NegativeSampling
from pyg_kgtransfer.objectives.objective import Batch, Objective
from pyg_kgtransfer.sources.synthetic import planted
from pyg_kgtransfer.sources.tensor_files import map_tensors
from pyg_kgtransfer.training.batches import BatchOptions
from pyg_kgtransfer.training.buckets import EntityBuckets, PairedTriples, pair_order
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.training.loss_meter import NotFiniteError
from pyg_kgtransfer.training.partition import Partition, check_fit
from pyg_kgtransfer.training.partitioned import PartitionedTrainer
from pyg_kgtransfer.training.resume import read_state

OPTIONS = BatchOptions(batch_size=16, seed=3)


def trainer(
    split: Split, folder: Path, *, buckets: int = 3, save_every: int = 2, **settings: object
):
    objective = settings.pop("objective", None) or NegativeSampling(
        losses.softplus_loss, num_negatives=8, shared=True
    )
    graph = split.train
    room = EntityBuckets.draw(graph.num_entities, buckets, seed=OPTIONS.seed).room
    torch.manual_seed(0)
    model = build_model(
        ModelConfig(encoder="shallow", decoder="distmult", width=8, sparse=True, reciprocal=False,
                    table=settings.pop("table", "float32")),
        num_entities=room, num_relations=graph.num_relations,
    )  # fmt: skip
    plain = {"optimizer": "rowwise_adagrad", "learning_rate": 0.3, "epochs": 2}
    config = TrainConfig(**{**plain, "progress": False, "accelerator": "cpu", **settings})
    partition = Partition(buckets, save_every=save_every)
    return PartitionedTrainer(model, objective, config, partition=partition, run_dir=folder)


@pytest.mark.parametrize("buckets", [1, 2, 5])
def test_pairs_are_met_once_and_one_bucket_is_new(buckets: int) -> None:
    there: list[int] = [0, 1]  # as they came, the newest last
    for epoch in (0, 1, 2):
        order = list(pair_order(buckets, epoch))
        assert sorted(order) == [(i, j) for i in range(buckets) for j in range(i, buckets)]
        for pair in order:
            assert len({*pair} - {*there}) <= 1
            rest = [bucket for bucket in there if bucket not in pair]
            there = (rest + sorted({*pair}))[-2:]


@pytest.mark.parametrize("buckets", [1, 3, 7])
def test_each_fact_is_in_one_pair(tmp_path: Path, buckets: int) -> None:
    graph = planted(24).train
    split = EntityBuckets.draw(24, buckets, seed=0)
    assert sorted(split.place.tolist()) == list(range(24))
    kept = PairedTriples.write(graph.triples, split, tmp_path / "triples.safetensors")
    back = torch.argsort(split.place)
    found = []
    for pair in pair_order(buckets, 0):
        for h, r, t in kept.of(pair).tolist():
            assert sorted(split.of(torch.tensor([h, t])).tolist()) == sorted(pair)
            found.append([int(back[h]), r, int(back[t])])
    assert sorted(found) == sorted(graph.triples.tolist())


class Seen(Objective):
    """Takes down the facts that it meets, by the numbers that stand in the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.met: list[tuple[float, int, float]] = []

    def forward(self, model, representations, batch: Batch) -> torch.Tensor:
        head, relation, tail = batch.triples.unbind(1)
        assert int(batch.triples[:, [0, 2]].max()) < len(representations.entity)
        ends = [representations.rows(each)[:, 0].tolist() for each in (head, tail)]
        self.met += list(zip(ends[0], relation.tolist(), ends[1], strict=True))
        return 0.0 * representations.rows(head).sum()


@pytest.mark.parametrize("buckets", [1, 3, 7])
def test_each_epoch_meets_each_fact_with_its_own_rows(tmp_path: Path, buckets: int) -> None:
    split, seen = planted(24), Seen()
    run = trainer(split, tmp_path, buckets=buckets, objective=seen)
    run.fit(split.train, OPTIONS)
    rows = run.rows(torch.arange(24))[:, 0].tolist()
    assert len(set(rows)) == 24
    wanted = [(rows[h], r, rows[t]) for h, r, t in split.train.triples.tolist()]
    assert sorted(seen.met) == sorted(wanted * 2)
    assert seen.met[: len(wanted)] != seen.met[len(wanted) :]
    assert [row["epoch"] for row in run.history.rows] == [1, 2]


@pytest.mark.parametrize("table", ["float32", "bfloat16"])
def test_a_run_that_was_cut_off_goes_on_exactly(tmp_path: Path, table: str) -> None:
    split = planted(24)
    whole = trainer(split, tmp_path / "whole", table=table)
    whole.fit(split.train, OPTIONS)
    every = torch.arange(24)
    for cut in (2, 3, 7):  # pairs; saved after each second one, and when asked to stop
        folder = tmp_path / f"cut{cut}"
        trainer(split, folder, table=table).fit(split.train, OPTIONS, max_pairs=cut)
        again = trainer(split, folder, table=table)
        again.fit(split.train, OPTIONS)
        assert torch.equal(again.rows(every), whole.rows(every))
        relation = "model.encoder.relation"
        pairs = [run.learner.module.get_parameter(relation) for run in (again, whole)]
        assert torch.equal(*pairs)
        rows = [[row["loss"] for row in run.history.rows] for run in (again, whole)]
        assert rows[0] == rows[1]


class Stop(Objective):
    """Breaks off after so many steps, as a kill would: nothing is saved then."""

    def __init__(self, inner: Objective, steps: int) -> None:
        super().__init__()
        self.inner, self._steps = inner, steps

    def forward(self, model, representations, batch: Batch) -> torch.Tensor:
        self._steps -= 1
        if self._steps < 0:
            raise RuntimeError("pulled the plug")
        return self.inner(model, representations, batch)


def test_a_kill_between_two_saves_loses_nothing_before(tmp_path: Path) -> None:
    split = planted(24)

    def objective(steps: int) -> Objective:
        loss = NegativeSampling(losses.softplus_loss, num_negatives=8, shared=True)
        return Stop(loss, steps)

    whole = trainer(split, tmp_path / "whole", objective=objective(10**9))
    whole.fit(split.train, OPTIONS)
    steps = whole.history.steps
    for after in (steps // 3, steps - 2):
        folder = tmp_path / f"after{after}"
        with pytest.raises(RuntimeError, match="plug"):
            trainer(split, folder, objective=objective(after)).fit(split.train, OPTIONS)
        again = trainer(split, folder, objective=objective(10**9))
        again.fit(split.train, OPTIONS)
        assert torch.equal(again.rows(torch.arange(24)), whole.rows(torch.arange(24)))
        files = sorted(path.name for path in (folder / "buckets").iterdir())
        assert len(files) == 3  # one of each bucket: older versions are gone


class Overflow(Objective):
    """Its gradient is infinite at one step."""

    def __init__(self, inner: Objective, step: int) -> None:
        super().__init__()
        self.inner, self._steps = inner, step

    def forward(self, model, representations, batch: Batch) -> torch.Tensor:
        self._steps -= 1
        loss = self.inner(model, representations, batch)
        if self._steps == 0:
            loss.register_hook(lambda gradient: gradient * float("inf"))
        return loss


@pytest.mark.parametrize("save_every", [1, 100])
def test_what_is_not_finite_is_not_saved(tmp_path: Path, save_every: int) -> None:
    split = planted(24)

    def run(folder: str, step: int) -> PartitionedTrainer:
        loss = NegativeSampling(losses.softplus_loss, num_negatives=8, shared=True)
        given = {"objective": Overflow(loss, step), "save_every": save_every, "epochs": 1}
        return trainer(split, tmp_path / folder, **given)

    whole = run("whole", 0)
    whole.fit(split.train, OPTIONS)
    for step in range(2, 6):  # within a pair, and at its end
        with pytest.raises(NotFiniteError, match="must be finite"):
            run(f"at{step}", step).fit(split.train, OPTIONS)
        for file in (tmp_path / f"at{step}").rglob("*.safetensors"):
            tensors = map_tensors(file).values()
            assert all(each.isfinite().all() for each in tensors if each.is_floating_point())
        again = run(f"at{step}", 0)
        again.fit(split.train, OPTIONS)
        assert torch.equal(again.rows(torch.arange(24)), whole.rows(torch.arange(24)))


def test_a_run_ends_saved_whenever_its_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = planted(24)
    for limit in range(4, 16):
        folder = tmp_path / f"limit{limit}"
        run = trainer(split, folder, epochs=1, save_every=100, max_seconds=limit)
        with monkeypatch.context() as patched:  # a second goes by between two looks at the clock
            patched.setattr(time, "monotonic", itertools.count().__next__)
            history = run.fit(split.train, OPTIONS)
        assert history.stop_reason == "max_seconds"
        assert read_state(folder / "resume").scalars["step"] == run.step > 0


def test_a_trainer_goes_on_with_what_it_began(tmp_path: Path) -> None:
    split = planted(24)
    whole = trainer(split, tmp_path / "whole", table="bfloat16")
    whole.fit(split.train, OPTIONS)
    for first in (0, 3):
        run = trainer(split, tmp_path / f"first{first}", table="bfloat16")
        run.fit(split.train, OPTIONS, max_pairs=first)
        assert (run.num_triples > 0) == (first > 0)
        run.fit(split.train, OPTIONS)
        assert torch.equal(run.rows(torch.arange(24)), whole.rows(torch.arange(24)))
        assert run.num_triples == whole.num_triples == 2 * split.train.num_triples
    broken = trainer(split, tmp_path / "b", objective=Stop(Seen(), 2))
    for error, words in ((RuntimeError, "plug"), (ValueError, r"not saved .*took 2 steps")):
        with pytest.raises(error, match=words):
            broken.fit(split.train, OPTIONS)


def test_it_is_saved_by_the_clock_where_asked_for(tmp_path: Path) -> None:
    split = planted(24)
    for seconds, there in ((0.0, True), (1000.0, False)):
        loss = NegativeSampling(losses.softplus_loss, num_negatives=8, shared=True)
        given = {"objective": Stop(loss, 8), "save_every": 100, "save_seconds": seconds}
        with pytest.raises(RuntimeError, match="plug"):
            trainer(split, tmp_path / f"{there}", **given).fit(split.train, OPTIONS)
        assert (tmp_path / f"{there}" / "resume").exists() == there


def test_a_lost_file_and_strange_settings_are_told(tmp_path: Path) -> None:
    split = planted(24)
    trainer(split, tmp_path).fit(split.train, OPTIONS, max_pairs=2)
    lost = min((tmp_path / "buckets").iterdir())
    lost.unlink()
    with pytest.raises(FileNotFoundError, match=rf"lacks {lost.name}, which the resume"):
        trainer(split, tmp_path).fit(split.train, OPTIONS)
    with pytest.raises(ValueError, match=r"max_pairs must be at least 0 \(got -2\)"):
        trainer(split, tmp_path).fit(split.train, OPTIONS, max_pairs=-2)
    for given in ({"tensorboard": True}, {"validate_every": 2}, {"save_every": 2}):
        config = TrainConfig(optimizer="rowwise_adagrad", progress=False, **given)
        with pytest.raises(ValueError, match="leave tensorboard, validate_every and save_every"):
            check_fit(trainer(split, tmp_path).learner.module.model, config)


def test_random_states_and_device_are_kept(tmp_path: Path) -> None:
    split = planted(24)
    run = trainer(split, tmp_path)
    run.fit(split.train, OPTIONS, max_pairs=2)
    state = read_state(tmp_path / "resume")
    assert {n for n in state.tensors if n.startswith("random")} == {*run.learner.random_states()}
    assert state.scalars["identity"]["device"] == "cpu"


def test_other_data_and_settings_are_refused(tmp_path: Path) -> None:
    split = planted(24)
    trainer(split, tmp_path).fit(split.train, OPTIONS, max_pairs=2)
    with pytest.raises(ValueError, match=r"another run.*num_buckets"):
        trainer(split, tmp_path, buckets=2).fit(split.train, OPTIONS)
    with pytest.raises(ValueError, match="other graph"):
        trainer(split, tmp_path).fit(planted(24, seed=5).train, OPTIONS)
    with pytest.raises(ValueError, match="room for the two largest of 3 buckets, 20 entities"):
        trainer(split, tmp_path / "b").fit(planted(28).train, OPTIONS)
    with pytest.raises(ValueError, match="needs optimizer 'rowwise_adagrad'"):
        trainer(split, tmp_path, optimizer="adagrad")
    with pytest.raises(ValueError, match="none empty"):
        EntityBuckets.draw(4, 5, seed=0)
    with pytest.raises(ValueError, match="at least 1"):
        Partition(0)


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    split = planted(24)
    whole = trainer(split, tmp_path / "whole")
    whole.fit(split.train, OPTIONS)
    trainer(split, tmp_path / "cut").fit(split.train, OPTIONS, max_pairs=2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
    try:
        with pytest.raises(OSError, match="the disk is full"):
            trainer(split, tmp_path / "cut").fit(split.train, OPTIONS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    again = trainer(split, tmp_path / "cut")
    again.fit(split.train, OPTIONS)
    assert torch.equal(again.rows(torch.arange(24)), whole.rows(torch.arange(24)))
