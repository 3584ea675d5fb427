"""The cases of the atlas benchmark: what each changes, and the figures of one that is tiny."""

from dataclasses import replace

import pytest

from benchmarks.jplr_atlas import CASES, Case, case_figures, table
from pyg_kgtransfer.demo.study import AtlasSettings

TINY = AtlasSettings(
    teacher_width=8,
    student_width=4,
    teacher_epochs=1,
    student_epochs=1,
    alone_epochs=1,
    progress=False,
)


def test_every_case_differs_from_the_main_one_in_one_respect() -> None:
    main = Case()
    for part, cases in CASES.items():
        for name, case in cases.items():
            changed = {
                field for field in vars(main) if getattr(case, field) != getattr(main, field)
            }
            assert len(changed) == (0 if (part, name) == ("encoders", "compgcn") else 1), name


def test_cases_change_what_is_linked() -> None:
    main, open_ = Case().task(0).linked, Case(strict=False).task(0).linked
    assert main.graph.num_triples < open_.graph.num_triples
    assert Case(sources=("iso",)).task(0).linked.names == ("geonames", "iso")
    shuffled = Case(shuffled=True)
    first, second = shuffled.task(0).linked, shuffled.task(1).linked
    assert first.graph.fingerprint() != second.graph.fingerprint()
    assert main.graph.fingerprint() == Case().task(1).linked.graph.fingerprint()


def test_distances_learn_from_negative_samples() -> None:
    for decoder, loss in (("complex", "one_vs_all"), ("rotate", "self_adversarial")):
        settings = replace(TINY, decoder=decoder)
        assert settings.recipe(8, 1, settings.n3).objective.loss == loss


@pytest.mark.parametrize("name", ["shallow", "transe_l2"])
def test_a_case_gives_a_figure_for_every_cell_of_its_table(name: str) -> None:
    cases = {name: case for part in CASES.values() for name, case in part.items()}
    case = cases[name]
    settings = replace(TINY, encoder=case.encoder, decoder=case.decoder)
    found = case_figures(name, case, settings)
    rows = table(found.figures, [name])
    assert [row["model"] for row in rows] == [
        "copy rule", "target only", "teacher", "finetuned", "student"
    ]  # fmt: skip
    assert all(0 <= row["mrr"] <= 1 for row in rows)
    assert rows[-1]["parameters"] < rows[2]["parameters"]
    assert set(found.notes["curves"]) == {"target_only", "teacher", "finetuned", "student"}
