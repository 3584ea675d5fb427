from dataclasses import replace

import pytest
import torch

from pyg_kgtransfer.demo.report import graph_rows, link_rows, protocol, study_figures, table_rows
from pyg_kgtransfer.demo.study import (
    AtlasSettings,
    AtlasTask,
    atlas_task,
    copy_rule_row,
    gains_over_target_only,
)


@pytest.fixture(scope="module")
def strict() -> AtlasTask:
    return atlas_task()


def unordered(pairs: torch.Tensor, size: int) -> torch.Tensor:
    low, high = pairs.min(1).values, pairs.max(1).values
    return low * size + high


def test_no_source_links_a_held_out_pair_in_strict_mode(strict: AtlasTask) -> None:
    size = strict.linked.graph.num_entities
    held_out = torch.cat([strict.target.valid.triples, strict.target.test.triples])
    asked = unordered(held_out[:, [0, 2]], size)  # the target comes first: its ids are joint ids

    def linked_pairs(task: AtlasTask) -> int:
        others = task.linked.graph.triples[task.linked.source > 0]
        return int(torch.isin(asked, unordered(others[:, [0, 2]], size)).sum())

    assert linked_pairs(strict) == 0
    assert linked_pairs(atlas_task(strict=False)) > 200
    assert strict.linked.sizes()[0] == strict.target.train.num_triples


def test_copyable_facts_do_not_depend_on_strictness_or_links(strict: AtlasTask) -> None:
    for other in (atlas_task(strict=False), atlas_task(shuffle_seed=1)):
        assert torch.equal(strict.copyable, other.copyable)
    assert 0.15 < strict.copyable.float().mean() < 0.25


def test_the_control_changes_only_whom_a_source_speaks_of(strict: AtlasTask) -> None:
    control = atlas_task(shuffle_seed=0)
    target, size = strict.target.train, strict.target.train.num_entities
    assert control.num_links == strict.num_links
    types = target.entity_type
    for name in ("cldr", "iso"):
        true_map, shuffled_map = (
            task.linked.back_map(name)[0][:size] for task in (strict, control)
        )
        assert int((true_map >= 0).sum()) == int((shuffled_map >= 0).sum())
        assert (true_map == shuffled_map)[true_map >= 0].float().mean() < 0.2
        for kind in types.unique():  # the same counterparts, of the same type
            members = types == kind
            assert torch.equal(true_map[members].sort()[0], shuffled_map[members].sort()[0])
    assert control.linked.graph.num_entities == strict.linked.graph.num_entities


def test_figures_and_tables_of_rows(strict: AtlasTask) -> None:
    rule = copy_rule_row(strict)
    rows = [rule, replace(rule, name="target_only"), replace(rule, name="student")]
    gains = gains_over_target_only(rows, strict)
    figures = study_figures(rows, gains, strict)
    assert figures["student.mrr"] == figures["target_only.mrr"] == rule.result.metrics()["mrr"]
    assert figures["student.gain"] == figures["student.gain_low"] == 0.0
    share = strict.copyable.double().mean().item()
    whole = (
        share * figures["student.copyable.mrr"] + (1 - share) * figures["student.not_copyable.mrr"]
    )
    assert whole == pytest.approx(figures["student.mrr"])
    assert [row[""] for row in table_rows(rows, gains, strict)] == ["copy rule"] * 3
    assert len(graph_rows(strict)) == 4
    assert sum(int(row["links"].replace(",", "")) for row in link_rows(strict)) > 2500
    assert "strict: no source" in protocol(strict, AtlasSettings())["sources"]
