"""DBP-5L: one teacher over five languages, five students; what does transfer gain for each?

    python -m benchmarks.jplr_dbp5l [--quick] [--ablate el] [--time el] --out FILE.json

Protocol: the teacher learns from the training facts of all five graphs. A target's student sees the
target's training facts and, between its linked entities, the training and validation facts of the
other four (never the target's own held-out ones). Links: all seed links of the set, closed
transitively; entity ids are permuted before anything is matched. Every finished model is kept
beside the output, so that an interrupted run goes on.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from benchmarks.dbp5l_task import LANGUAGES, Dbp5l
from benchmarks.protocol import Benchmark, parser
from pyg_kgtransfer.evaluation.comparison import compare
from pyg_kgtransfer.evaluation.result import LinkPredictionResult
from pyg_kgtransfer.graph.splits import Split
from pyg_kgtransfer.models.build import ModelConfig
from pyg_kgtransfer.objectives.build import ObjectiveConfig
from pyg_kgtransfer.training.batches import BatchOptions
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.training.config import TrainConfig
from pyg_kgtransfer.transfer.distill import DistillConfig, distill
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import alone, evaluate
from pyg_kgtransfer.transfer.recipe import Recipe

ABLATIONS: Mapping[str, Mapping[str, float]] = {
    "without_feature": {"feature": 0.0},
    "without_hidden": {"hidden": 0.0},
    "without_flow": {"flow": 0.0},
    "without_network": {"hidden": 0.0, "flow": 0.0},
    "without_prediction": {"prediction": 0.0},
    "without_any": {"feature": 0.0, "hidden": 0.0, "flow": 0.0, "prediction": 0.0},
}
DISTILLATION = DistillConfig(
    feature=0.5, hidden=0.2, flow=0.2, prediction=2.0, anneal_to=0.0, num_candidates=1000
)
TEACHER_WIDTH, STUDENT_WIDTH = 200, 160
TEACHER_N3, STUDENT_N3 = 0.005, 0.02
PATIENCE = 3  # a timed student stops at so many times target-only's seconds
ALONE_N3 = 0.05  # the best validation MRR of 0.005, 0.05 and 0.2, for Japanese


def recipe(
    width: int, epochs: int, *, seed: int, n3: float, num_candidates: int | None = None
) -> Recipe:
    """CompGCN (mult) before ComplEx, 1-vs-all with N3, Adagrad."""
    return Recipe(
        ModelConfig(operator="mult", width=width, residual=False, jump=True),
        ObjectiveConfig(n3=n3, num_candidates=num_candidates),
        BatchOptions(batch_size=1024, seed=seed),
        TrainConfig(
            epochs=epochs,
            optimizer="adagrad",
            learning_rate=0.1,
            validate_every=2,
            patience=3,
            save_every=5,
            seed=seed,
            accelerator="auto",
        ),
        validation_size=1000,
    )


class Study:
    """All models of one seed, trained when asked for and kept.

    Args:
        data: The graphs.
        folder: Where models are kept.
        seed: Of weights and batches.
        epochs: At most, of teacher, students and target-only models.
    """

    def __init__(
        self, data: Dbp5l, folder: Path, *, seed: int, epochs: tuple[int, int, int]
    ) -> None:
        self.data = data
        self.folder = folder / f"seed{seed}"
        self.seed = seed
        self.epochs = epochs

    def teacher(self) -> Checkpoint:
        """One teacher for all five."""
        path = self.folder / "teacher"
        if not path.exists():
            made = recipe(
                TEACHER_WIDTH, self.epochs[0], seed=self.seed, n3=TEACHER_N3, num_candidates=2000
            )
            made = replace(made, validation_size=300)
            splits = list(self.data.splits.values())
            pretrain(self.data.joint, splits, recipe=made, run_dir=self._run("teacher")).save(path)
        return Checkpoint.load(path)

    def target_only(self, target: str) -> Checkpoint:
        """The student's twin without sources."""
        path = self.folder / f"{target}.target_only"
        if not path.exists():
            made = recipe(STUDENT_WIDTH, self.epochs[2], seed=self.seed, n3=ALONE_N3)
            split = self.data.splits[target]
            run = self._run(f"{target}.target_only")
            pretrain(alone(split.train), [split], recipe=made, run_dir=run).save(path)
        return Checkpoint.load(path)

    def student(self, target: str, name: str = "student", **changes: float) -> Checkpoint:
        """The distilled student; ``changes`` are to the weights of ``DISTILLATION``."""
        path = self.folder / f"{target}.{name}"
        if not path.exists():
            teacher = self.teacher()
            linked = self.data.subgraph(target, teacher)
            distill(
                teacher,
                self.data.splits[target],
                linked,
                recipe=recipe(STUDENT_WIDTH, self.epochs[1], seed=self.seed, n3=STUDENT_N3),
                config=replace(DISTILLATION, **changes),
                run_dir=self._run(f"{target}.{name}"),
            ).save(path)
        return Checkpoint.load(path)

    def hurried_student(self, target: str, seconds: float) -> Checkpoint:
        """The same student, stopped after so many seconds of training; it is not kept."""
        teacher = self.teacher()
        made = recipe(STUDENT_WIDTH, self.epochs[1], seed=self.seed, n3=STUDENT_N3)
        made = replace(made, training=replace(made.training, max_seconds=seconds))
        linked = self.data.subgraph(target, teacher)
        return distill(teacher, self.data.splits[target], linked, recipe=made, config=DISTILLATION)

    def _run(self, name: str) -> Path:
        return self.folder / "runs" / name


def seconds_to(checkpoint: Checkpoint, mrr: float) -> float | None:
    """Seconds until a validation MRR was first reached."""
    return next((p["seconds"] for p in checkpoint.metrics["curve"] if p["mrr"] >= mrr), None)


class Parts(NamedTuple):
    """Which test facts of a target sources can answer: bool [T] each."""

    copyable: Tensor
    stated: Tensor

    @classmethod
    def of(cls, study: Study, target: str) -> "Parts":
        """Those of one target."""
        return cls(study.data.copyable(target), study.data.stated(target))


def result_figures(prefix: str, result: LinkPredictionResult, parts: Parts) -> dict[str, float]:
    """MRR and hits of one model: all, tails alone, copyable and not, not stated."""
    metrics = result.metrics()
    names = ("mrr", "hits@1", "hits@10", "tail.mrr")
    figures = {f"{prefix}.{name}": metrics[name] for name in names}
    masks = {
        "copyable": parts.copyable,
        "not_copyable": ~parts.copyable,
        "not_stated": ~parts.stated,
    }
    for part, mask in masks.items():
        figures[f"{prefix}.{part}.mrr"] = result.select(mask).metrics()["mrr"]
    return figures


def target_figures(study: Study, target: str) -> dict[str, float]:
    """Copy rules, target only, teacher and student of one language."""
    data, split = study.data, study.data.splits[target]
    parts = Parts.of(study, target)
    alone_model, student = study.target_only(target), study.student(target)
    rank = data.ranking(target)
    rules = {kind: rank(data.copy_rule(target, kind), None) for kind in ("shared", "learned")}
    better = max(rules, key=lambda kind: rules[kind].metrics()["mrr"])
    results = {
        "copy_rule": rules[better],
        "target_only": evaluate(alone_model, split),
        "teacher": evaluate(study.teacher(), split),
        "student": evaluate(student, split),
    }
    figures = {
        f"{target}.copyable_share": float(parts.copyable.float().mean()),
        f"{target}.stated_share": float(parts.stated.float().mean()),
        f"{target}.not_copyable_facts": int((~parts.copyable).sum()),
    }
    for kind, result in rules.items():
        figures |= result_figures(f"{target}.copy_rule_{kind}", result, parts)
    for name, result in results.items():
        figures |= result_figures(f"{target}.{name}", result, parts)
    for base, suffix in (("target_only", "gain"), ("copy_rule", "gain_over_copy_rule")):
        pair = [in_target_ids(results[name], split) for name in (base, "student")]
        by_pair = compare(pair[0], pair[1], copyable=parts.copyable)
        by_fact = compare(pair[0], pair[1], copyable=parts.stated)
        for part, gain in (
            ("", by_pair.overall["mrr"]),
            ("not_copyable.", by_pair.copyable["not copyable"]["mrr"]),
            ("not_stated.", by_fact.copyable["not copyable"]["mrr"]),
        ):
            stem = f"{target}.student.{part}{suffix}"
            figures |= {stem: gain.gain, f"{stem}_low": gain.low, f"{stem}_high": gain.high}
    return figures


def in_target_ids(result: LinkPredictionResult, split: Split) -> LinkPredictionResult:
    """The same ranks with the triples in the target's ids: readers have ids of their own."""
    return replace(result, triples=split.test.triples)


def time_figures(study: Study, target: str) -> dict[str, float]:
    """Seconds that each needs to reach target-only's best validation MRR, and their ratio."""
    alone_model = study.target_only(target)
    best = max(point["mrr"] for point in alone_model.metrics["curve"])
    took = seconds_to(alone_model, best) or 0.0
    needed = seconds_to(study.hurried_student(target, PATIENCE * took), best)
    figures = {
        f"{target}.target_only.seconds_to_best": took,
        f"{target}.student.reaches_target_only_best": float(needed is not None),
    }
    if needed is not None and took:
        figures[f"{target}.student.seconds_to_target_only_best"] = needed
        figures[f"{target}.seconds_ratio"] = needed / took
    return figures


def ablation_figures(study: Study, target: str) -> dict[str, float]:
    """The student with one level of distillation left out at a time."""
    split, parts = study.data.splits[target], Parts.of(study, target)
    full = evaluate(study.student(target), split)
    figures: dict[str, float] = {}
    for name, changes in ABLATIONS.items():
        result = evaluate(study.student(target, name, **changes), split)
        figures |= result_figures(f"{target}.{name}", result, parts)
        gain = compare(result, full, copyable=parts.copyable).overall["mrr"]
        stem = f"{target}.{name}.loss"  # what leaving it out loses
        figures |= {stem: gain.gain, f"{stem}_low": gain.low, f"{stem}_high": gain.high}
    return figures


def settings_digest(data: Dbp5l, settings: Mapping[str, Any]) -> str:
    """What decides the models of a study, in twelve digits: models of other settings stay apart."""
    content = json.dumps([data.fingerprints(), settings], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def table(figures: Mapping[str, float], targets: Sequence[str]) -> list[dict[str, Any]]:
    """For people: one line per target and model."""
    rows = []
    for target in targets:
        for model in ("copy_rule", "target_only", "teacher", "student"):
            stem = f"{target}.{model}"
            row: dict[str, Any] = {"target": target, "model": model.replace("_", " ")}
            for metric in ("mrr", "tail.mrr", "hits@10", "copyable.mrr", "not_copyable.mrr"):
                row[metric] = figures[f"{stem}.{metric}"]
            row["gain over target only (95 %)"] = ""
            if model == "student":
                gain, low, high = (figures[f"{stem}.gain{end}"] for end in ("", "_low", "_high"))
                row["gain over target only (95 %)"] = f"{gain:+.3f} [{low:+.3f}, {high:+.3f}]"
            rows.append(row)
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__ or "")
    languages: dict[str, Any] = {"nargs": "+", "choices": LANGUAGES, "metavar": "LANGUAGE"}
    options.add_argument("--targets", default=list(LANGUAGES), **languages)
    options.add_argument(
        "--ablate", default=[], help="leave out each level of distillation in turn", **languages
    )
    options.add_argument(
        "--time", default=[], help="time student and target only; let nothing else run", **languages
    )
    given = options.parse_args(argv)
    data = Dbp5l.load()
    targets = ["el"] if given.quick else given.targets
    epochs = (1, 1, 2) if given.quick else (20, 16, 40)
    settings = {
        "epochs": epochs,
        "widths": (TEACHER_WIDTH, STUDENT_WIDTH),
        "n3": (TEACHER_N3, STUDENT_N3, ALONE_N3),
        "distillation": asdict(DISTILLATION),
        "recipe": asdict(recipe(STUDENT_WIDTH, 1, seed=0, n3=STUDENT_N3)),
    }
    benchmark = Benchmark.begin("jplr_dbp5l", given, data=data.fingerprints())
    for seed in benchmark.seeds:
        models = benchmark.folder / f"models-{settings_digest(data, settings)}"
        study = Study(data, models, seed=seed, epochs=epochs)
        jobs = [(target, target_figures) for target in targets]
        jobs += [(target, ablation_figures) for target in given.ablate]
        jobs += [(target, time_figures) for target in given.time]
        for target, work in jobs:
            name = f"{target}.{work.__name__}.seed{seed}"
            benchmark.run(name, partial(work, study, target), settings=settings)
    protocol = {
        "task": (__doc__ or "").partition("Protocol: ")[2].replace("\n", " "),
        "ranking": "filtered by train, valid and test of the target, realistic ranks, "
        "candidates: all entities of the target; mrr: both sides, tail.mrr: tails alone",
        "copyable": "test facts whose entity pair a source links (train or valid), by any "
        "relation; stated: those that a source states as they are",
        "copy rule": "the answers that sources state, then the relation's most frequent ones; "
        "shared: under the fact's own relation, learned: also under relations that go along with "
        "it in training; copy_rule is whichever is better on the test facts",
        "teacher": "saw the training facts of the five graphs; copy rule and student saw the "
        "validation facts of the other four as well",
        "gain": "student less baseline, MRR, paired bootstrap over test facts, 95 %",
        "seconds_ratio": "training seconds (validations included, encoding the teacher and making "
        "the subgraph not) of the student until target-only's best validation MRR, over those of "
        "target-only, one thread each; figures of seeds that reach it",
        "epochs": f"teacher {epochs[0]}, student {epochs[1]}, target only {epochs[2]}, at most",
    }
    benchmark.finish(protocol=protocol, table=table(benchmark.figures(), targets))


if __name__ == "__main__":
    main()
