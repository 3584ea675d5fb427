"""Options of what is learned beside the facts, and the mixture that they make."""

from dataclasses import fields

import pytest
import torch

import pyg_kgtransfer as kgt
from pyg_kgtransfer.objectives.augmentation import ProposedFacts
from pyg_kgtransfer.objectives.auxiliary import AuxiliaryConfig, auxiliary_objective
from pyg_kgtransfer.objectives.build import ObjectiveConfig
from pyg_kgtransfer.objectives.link_prediction import KvsAll, NegativeSampling, OneVsAll
from pyg_kgtransfer.objectives.objective import Batch, Mixture
from pyg_kgtransfer.objectives.self_supervision import ContrastiveViews, MaskedEdges

ALL = AuxiliaryConfig(proposed=0.5, masked=0.25, contrastive=0.125, sample_size=8)


@pytest.fixture
def ladder() -> kgt.KnowledgeGraph:
    """Whose rungs are stated up and, but for the last few, down."""
    facts = [(f"{a}", "up", f"{a + 1}") for a in range(20)]
    facts += [(b, "down", a) for a, _, b in facts[:14]]
    return kgt.KnowledgeGraph.from_names(facts, name="ladder")


def test_with_all_defaults_there_is_the_loss_alone(ladder) -> None:
    assert isinstance(auxiliary_objective(AuxiliaryConfig(), ObjectiveConfig(), ladder), OneVsAll)
    halved = auxiliary_objective(AuxiliaryConfig(task=0.5), ObjectiveConfig(), ladder)
    assert isinstance(halved, Mixture)
    assert halved.weights == {"task": 0.5}


def test_each_part_is_made_as_the_options_say(ladder) -> None:
    mixture = auxiliary_objective(ALL, ObjectiveConfig(), ladder)
    assert mixture.weights == {"task": 1.0, "proposed": 0.5, "masked": 0.25, "contrastive": 0.125}
    parts = dict(mixture.objectives)
    assert isinstance(parts["proposed"], ProposedFacts)
    proposed = ladder.with_triples(parts["proposed"].triples).named_triples()
    assert set(proposed) == {(f"{a + 1}", "down", f"{a}") for a in range(14, 20)}
    masked, views = parts["masked"], parts["contrastive"]
    assert isinstance(masked, MaskedEdges)
    assert isinstance(views, ContrastiveViews)
    assert (masked.share, views.share, views.temperature) == (0.2, 0.2, 0.5)
    assert parts["proposed"].sample_size == masked.sample_size == views.sample_size == 8


@pytest.mark.parametrize(
    ("asks", "names"),
    [
        ("both", ["masked.entities", "masked.relations"]),
        ("entities", ["masked"]),
        ("relations", ["masked"]),
    ],
)
def test_hidden_facts_are_asked_for_their_ends_or_relations(ladder, asks, names) -> None:
    config = AuxiliaryConfig(task=0.0, masked=1.0, mask_asks=asks)
    objective = auxiliary_objective(config, ObjectiveConfig(), ladder)
    torch.manual_seed(0)
    model = kgt.build_model(kgt.ModelConfig(width=8), num_entities=21, num_relations=2)
    batch = Batch(ladder.triples, torch.Generator().manual_seed(0))
    terms = objective.terms(model, model.encode(ladder.tensors()), batch)
    assert list(terms) == names
    asked = objective.objectives["masked"].objective.objectives
    assert list(asked) == (["entities", "relations"] if asks == "both" else [asks])


@pytest.mark.parametrize("loss", ["one_vs_all", "k_vs_all", "softplus"])
def test_proposed_facts_have_the_same_loss_and_are_no_negatives(ladder, loss) -> None:
    config = ObjectiveConfig(loss, filtered=True, n3=0.1)
    mixture = auxiliary_objective(ALL, config, ladder)
    task, proposed = mixture.objectives["task"], mixture.objectives["proposed"].objective
    assert task.weights == proposed.weights == {"task": 1.0, "n3": 0.1}
    own, other = task.objectives["task"], proposed.objectives["task"]
    assert type(own) is type(other)
    if isinstance(own, KvsAll | NegativeSampling):
        new = mixture.objectives["proposed"].triples
        assert not own.known.contains(new).any()
        assert other.known.contains(new).all()
        assert other.known.contains(ladder.triples).all()


def test_rules_that_propose_nothing_are_refused(ladder) -> None:
    config = AuxiliaryConfig(proposed=1.0, min_support=15)
    with pytest.raises(ValueError, match=r"'ladder' must propose .*from 0 rules of min_support 15"):
        auxiliary_objective(config, ObjectiveConfig(), ladder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": -1.0}, r"weight of task must be at least 0, and finite \(got -1.0\)"),
        ({"masked": float("nan")}, "weight of masked"),
        ({"task": 0.0}, r"one of task, proposed, masked, contrastive must weigh more .*\(got none"),
        ({"min_support": 0}, r"min_support must be at least 1 \(got 0\)"),
        ({"min_confidence": 1.5}, r"min_confidence must be in \[0, 1\] \(got 1.5\)"),
        ({"mask_share": 0.0}, r"mask_share must be in \(0, 1\) \(got 0.0\)"),
        ({"view_dropout": 1.0}, r"view_dropout must be in \(0, 1\) \(got 1.0\)"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"sample_size": 1}, r"sample_size must be at least 2 \(got 1\)"),
        ({"mask_asks": "tails"}, r"both, entities, relations \(got 'tails'\)"),
    ],
)
def test_options_out_of_range_are_named(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        AuxiliaryConfig(**options)


def test_every_option_is_plain() -> None:
    assert all(isinstance(getattr(ALL, f.name), int | float | str) for f in fields(ALL))
