"""The picture of bias."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pyg_kgtransfer.evaluation.bias import BiasResult, bias_of
from pyg_kgtransfer.evaluation.copy_rule import CopyRule
from pyg_kgtransfer.evaluation.link_prediction import LinkPrediction
from pyg_kgtransfer.evaluation.result import Groups
from pyg_kgtransfer.graph.entity_groups import EntityGroups
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.serving.bias_plot import LARGEST_PICTURE, plot_bias


@pytest.fixture(scope="module")
def result() -> BiasResult:
    generator = torch.Generator().manual_seed(0)
    facts = torch.randint(80, (200, 3), generator=generator) * torch.tensor([1, 0, 1])
    train, test = facts[:150], facts[150:]
    known = KnownTriples([facts], num_entities=80, num_relations=1)
    degree = torch.bincount(train[:, [0, 2]].reshape(-1), minlength=80)
    rank = LinkPrediction(test, known, groups=Groups(popularity=degree))
    many = EntityGroups(tuple(f"group {i}" for i in range(40)), torch.arange(80) % 40)
    return bias_of(rank, CopyRule(train, train[:0], num_entities=80, num_relations=1), None, many)


@pytest.mark.parametrize("groups", [True, False])
def test_a_picture_is_drawn_whole(result: BiasResult, tmp_path: Path, groups: bool) -> None:
    pytest.importorskip("matplotlib")
    assert len(result.rows("group")) > LARGEST_PICTURE
    path = tmp_path / "bias.png"
    plot_bias(result if groups else replace(result, groups=None), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [each.name for each in tmp_path.iterdir()] == ["bias.png"]


def test_the_extra_is_named(result: BiasResult, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pyg-kgtransfer\[plot\]"):
        plot_bias(result, tmp_path / "bias.png")
    assert not list(tmp_path.iterdir())
