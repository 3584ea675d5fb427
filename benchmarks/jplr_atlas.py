"""The atlas: what pre-training jointly and re-training locally gain for GeoNames, and when not.

    python -m benchmarks.jplr_atlas [--quick] [--only PART ...] --out FILE.json

Parts: every encoder under ComplEx and every decoder under CompGCN (strict); strict and not; and the
two controls, ISO as the only source and shuffled links. Every seed trains its own teacher, student,
fine-tuned model and target-only twin. Strict: no source fact links the entities of a validation or
test fact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from benchmarks.protocol import Benchmark, Found, fingerprints, parser
from pyg_kgtransfer.demo.report import protocol, study_figures
from pyg_kgtransfer.demo.study import (
    TEACHING,
    AtlasSettings,
    AtlasTask,
    atlas_task,
    gains_over_target_only,
    study_rows,
)


@dataclass(frozen=True)
class Case:
    """One setting of the study.

    Attributes:
        encoder: Of all models.
        decoder: Of all models.
        sources: What the target is linked with.
        strict: Whether the sources are cleared of held-out pairs.
        shuffled: Whether links are permuted.
    """

    encoder: str = "compgcn"
    decoder: str = "complex"
    sources: tuple[str, ...] = ("cldr", "iso")
    strict: bool = True
    shuffled: bool = False

    def task(self, seed: int) -> AtlasTask:
        """The graphs and links."""
        shuffle_seed = seed if self.shuffled else None
        return atlas_task(sources=self.sources, strict=self.strict, shuffle_seed=shuffle_seed)


CASES: Mapping[str, Mapping[str, Case]] = {
    "encoders": {
        "compgcn": Case(),
        "shallow": Case(encoder="shallow"),
        "rgcn": Case(encoder="rgcn"),
    },
    "controls": {
        "shuffled": Case(shuffled=True),
        "iso_only": Case(sources=("iso",)),
        "cldr_only": Case(sources=("cldr",)),
    },
    "not_strict": {"not_strict": Case(strict=False)},
    "decoders": {
        "distmult": Case(decoder="distmult"),
        "transe_l1": Case(decoder="transe_l1"),
        "transe_l2": Case(decoder="transe_l2"),
        "rotate": Case(decoder="rotate"),
    },
}


def case_figures(name: str, case: Case, settings: AtlasSettings) -> Found:
    """All rows of one case and seed, under ``NAME.ROW.METRIC``."""
    task = case.task(settings.seed)
    rows = study_rows(task, settings)
    gains = gains_over_target_only(rows, task)
    figures = study_figures(rows, gains, task)
    curves = {row.name: row.checkpoint.metrics["curve"] for row in rows if row.checkpoint}
    negative = {row: list(gain.negative_transfer) for row, gain in gains.items()}
    return Found(
        {f"{name}.{figure}": value for figure, value in figures.items()},
        {"curves": curves, "negative_transfer": negative},
    )


def table(figures: Mapping[str, float], names: Sequence[str]) -> list[dict[str, Any]]:
    """For people: one line per case and model."""
    rows = []
    for name in names:
        for model in ("copy_rule", "target_only", "teacher", "finetuned", "student"):
            stem = f"{name}.{model}"
            row: dict[str, Any] = {"case": name, "model": model.replace("_", " ")}
            for metric in ("mrr", "hits@1", "hits@10", "copyable.mrr", "not_copyable.mrr"):
                row[metric] = figures[f"{stem}.{metric}"]
            row["parameters"] = int(figures[f"{stem}.parameters"])
            row["seconds"] = round(figures[f"{stem}.seconds"])
            row["gain over target only (95 %)"] = ""
            if f"{stem}.gain" in figures:
                gain, low, high = (figures[f"{stem}.gain{end}"] for end in ("", "_low", "_high"))
                row["gain over target only (95 %)"] = f"{gain:+.3f} [{low:+.3f}, {high:+.3f}]"
            rows.append(row)
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__ or "")
    options.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="PART")
    given = options.parse_args(argv)
    settings = AtlasSettings()
    if given.quick:
        settings = replace(settings, teacher_epochs=2, student_epochs=2, alone_epochs=4)
        settings = replace(settings, teacher_width=32, student_width=16)
    cases = {name: case for part in given.only for name, case in CASES[part].items()}
    task = atlas_task()
    data = {"geonames": fingerprints(task.target), "joint": task.linked.graph.fingerprint()}
    benchmark = Benchmark.begin("jplr_atlas", given, data=data)
    for seed in benchmark.seeds:
        for name, case in cases.items():
            own = replace(settings, encoder=case.encoder, decoder=case.decoder, seed=seed)
            benchmark.run(
                f"{name}.seed{seed}",
                partial(case_figures, name, case, own),
                settings={
                    "case": asdict(case),
                    "settings": asdict(own),
                    "recipe": asdict(own.recipe(own.student_width, own.student_epochs, own.n3)),
                    "distillation": asdict(TEACHING),
                },
            )
    of_case = ("encoder", "decoder", "seed")
    about = protocol(task, settings) | {
        "settings": {k: v for k, v in asdict(settings).items() if k not in of_case},
        "sources": "strict but in the case not_strict",
        "figures": "medians over seeds; of a gain's interval, medians of its ends",
    }
    benchmark.finish(protocol=about, table=table(benchmark.figures(), list(cases)))


if __name__ == "__main__":
    main()
