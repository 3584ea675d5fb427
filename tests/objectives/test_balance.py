"""Weights of answers against loops; losses with them; what is learned with them, and without."""

from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import pyg_kgtransfer as kgt
from pyg_kgtransfer.functional import losses
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.objectives.balance import AnswerWeights, balanced_weights
from pyg_kgtransfer.objectives.build import ObjectiveConfig, build_objective
from pyg_kgtransfer.objectives.link_prediction import NegativeSampling, OneVsAll
from pyg_kgtransfer.training.resume import module_digest
from pyg_kgtransfer.transfer.recipe import task_objective

N, R = 6, 3
TRIPLE = st.tuples(st.integers(0, N - 1), st.integers(0, R - 1), st.integers(0, N - 1))
GROUPS = torch.tensor([0, 0, 2, 2, 1, 2])


def slow_weights(facts: set, exponent: float, by: str) -> dict[tuple[int, int], float]:
    """From (answer, relation) of each training answer to its weight, by loops."""
    answers = [(end, r) for h, r, t in facts for end in (h, t)]

    def kind(answer: int, relation: int) -> int:
        return {"popularity": answer, "relation": relation, "group": int(GROUPS[answer])}[by]

    count = Counter(kind(*answer) for answer in answers)
    weights = [count[kind(*answer)] ** -exponent for answer in answers]
    mean = sum(weights) / len(weights)
    return {answer: w / mean for answer, w in zip(answers, weights, strict=True)}


@given(st.lists(TRIPLE, min_size=1, max_size=12), st.sampled_from([0.25, 0.5, 1.0]))
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("by", ["popularity", "relation", "group"])
def test_weights_are_those_of_loops_and_average_one(by: str, facts: list, exponent: float) -> None:
    known = KnownTriples([torch.tensor(facts)], num_entities=N, num_relations=R)
    assert {tuple(triple) for triple in known.triples.tolist()} == set(facts)
    groups = GROUPS if by == "group" else None
    weigh = balanced_weights(known, exponent, by, groups=groups)
    head, relation, tail = known.triples.unbind(1)
    found = torch.cat([weigh(head, relation), weigh(tail, relation)])
    expected = slow_weights(set(facts), exponent, by)
    pairs = zip(torch.cat([head, tail]).tolist(), relation.tolist() * 2, strict=True)
    assert found.tolist() == pytest.approx([expected[pair] for pair in pairs], rel=1e-5)
    assert found.mean().item() == pytest.approx(1.0, rel=1e-5)


def test_an_entity_without_facts_has_a_weight() -> None:
    known = KnownTriples([torch.tensor([[0, 0, 1]])], num_entities=3, num_relations=1)
    weigh = balanced_weights(known, 1.0, "popularity")
    assert torch.isfinite(weigh.table).all()
    none = KnownTriples([], num_entities=3, num_relations=1)
    assert torch.isfinite(balanced_weights(none, 1.0, "popularity").table).all()


PAIR_LOSSES = [
    losses.softplus_loss,
    partial(losses.margin_loss, margin=1.0),
    partial(losses.self_adversarial_loss, margin=1.0, temperature=1.0),
]


def some_weights() -> AnswerWeights:
    return AnswerWeights(torch.arange(1, 11), 0.5, class_of=torch.arange(10))


@pytest.mark.parametrize("loss", PAIR_LOSSES)
def test_each_side_of_negative_sampling_weighs_by_its_own_answer(graph, model, batch, loss) -> None:
    weigh = some_weights()
    representations = model.encode(graph.tensors())
    found = []

    def keeping(positive, negative, weight):
        found.append((positive, negative))
        return loss(positive, negative, weight=weight)

    value = NegativeSampling(keeping, num_negatives=4, answer_weights=weigh)(
        model, representations, batch
    )
    head, relation, tail = batch.triples.unbind(1)
    total = 0.0
    for (positive, negative), answer in zip(found, (tail, head), strict=True):
        for row in range(len(batch.triples)):
            one = slice(row, row + 1)
            weight = weigh(answer[one], relation[one])
            total += (weight * loss(positive[one], negative[one])).item()
    assert value.item() == pytest.approx(total / len(batch.triples) / 2, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_each_side_of_one_vs_all_weighs_by_its_own_answer(graph, model, batch, smoothing) -> None:
    weigh = some_weights()
    representations = model.encode(graph.tensors())
    value = OneVsAll(label_smoothing=smoothing, answer_weights=weigh)(model, representations, batch)
    total = 0.0
    for fact in batch.triples:
        h, r, t = fact.split(1)
        tails = model.score_tails(representations, h, r)
        heads = model.score_heads(representations, r, t)
        for scores, answer in ((tails, t), (heads, h)):
            each = F.cross_entropy(scores, answer, label_smoothing=smoothing)
            total += (weigh(answer, r) * each).item()
    assert value.item() == pytest.approx(total / len(batch.triples) / 2, rel=1e-5)


@pytest.mark.parametrize(
    "loss",
    [*PAIR_LOSSES, losses.cross_entropy_loss],
    ids=["softplus", "margin", "self_adversarial", "cross_entropy"],
)
def test_weights_of_losses_are_repeats_of_rows(loss) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    given = torch.randn(3, generator=generator, dtype=torch.float64), scores
    if loss is losses.cross_entropy_loss:
        given = scores, torch.tensor([0, 3, 2])
    weight = torch.tensor([2, 1, 3])
    repeated = loss(*(each.repeat_interleave(weight, dim=0) for each in given))
    weighted = loss(*given, weight=weight.double())
    assert weighted.item() == pytest.approx(repeated.item())
    alike = loss(*given, weight=torch.full((3,), 0.7, dtype=torch.float64))
    assert alike.item() == pytest.approx(loss(*given).item())


CONFIGS = [
    ObjectiveConfig(),
    ObjectiveConfig(label_smoothing=0.1, num_candidates=5),
    ObjectiveConfig("softplus", num_negatives=4),
    ObjectiveConfig("margin", num_negatives=4, margin=1.0, filtered=True),
    ObjectiveConfig("self_adversarial", num_negatives=4, shared_negatives=True),
]


def plain_loss(config: ObjectiveConfig, positive: torch.Tensor, negative: torch.Tensor):
    """The formulas as they are without weights."""
    if config.loss == "softplus":
        return F.softplus(-positive).mean() + F.softplus(negative).mean()
    if config.loss == "margin":
        return F.relu(config.margin - positive.unsqueeze(1) + negative).mean()
    share = torch.softmax(config.temperature * negative.detach(), dim=1)
    terms = (share * F.softplus(negative + config.margin)).sum(1)
    return (0.5 * (F.softplus(-(positive + config.margin)) + terms)).mean()


@pytest.mark.parametrize("config", CONFIGS)
def test_without_balance_every_bit_is_as_it_was(config, graph, model, batch) -> None:
    known = KnownTriples([graph.triples], num_entities=10, num_relations=3)
    objective = build_objective(replace(config, balance=0.0, balance_by="relation"), known)
    representations = model.encode(graph.tensors())
    value = objective(model, representations, batch)
    batch.generator.manual_seed(3)
    head, relation, tail = batch.triples.unbind(1)
    if isinstance(objective, OneVsAll):
        candidates, column = objective._candidates(tail, representations, batch.generator)
        tails = model.score_tails(representations, head, relation, candidates)
        smooth = {"label_smoothing": config.label_smoothing}
        expected = F.cross_entropy(tails, column, **smooth)
        candidates, column = objective._candidates(head, representations, batch.generator)
        heads = model.score_heads(representations, relation, tail, candidates)
        expected = 0.5 * (expected + F.cross_entropy(heads, column, **smooth))
    else:
        other = build_objective(config, known)
        other.loss = partial(plain_loss, config)  # takes no weight
        expected = other(model, representations, batch)
    assert torch.equal(value, expected)


def star() -> kgt.Split:
    """Sixty people of a large place and of a small one."""
    facts = [(f"p{i}", "from", "large" if i % 10 else "small") for i in range(60)]
    facts += [(f"p{i}", "knows", f"p{(i + 1) % 60}") for i in range(30)]
    return kgt.random_split(kgt.KnowledgeGraph.from_names(facts, name="star"), 0.0, 0.0)


def trained(split: kgt.Split, groups=None, **objective) -> kgt.Checkpoint:
    recipe = kgt.Recipe(
        kgt.ModelConfig(encoder="shallow", decoder="distmult", width=16),
        kgt.ObjectiveConfig(**objective),
        kgt.BatchOptions(batch_size=16),
        kgt.TrainConfig(epochs=6, learning_rate=0.02, progress=False, accelerator="cpu"),
    )
    return kgt.pretrain(kgt.link([split.train], []), recipe=recipe, groups=groups)


def weight_bits(checkpoint: kgt.Checkpoint) -> list[torch.Tensor]:
    return list(checkpoint.model.state_dict().values())


def test_a_recipe_with_beta_0_trains_the_same_bits() -> None:
    split = star()
    plain = weight_bits(trained(split))
    for by in ("popularity", "relation", "group"):
        same = weight_bits(trained(split, balance=0.0, balance_by=by))
        assert all(map(torch.equal, plain, same))
    other = weight_bits(trained(split, balance=0.5))
    assert not all(map(torch.equal, plain, other))


def test_groups_decide_what_is_balanced() -> None:
    split = star()
    names = split.train.entities.names
    alike = {name: "all" for name in names}
    places = {name: name for name in names if "small" in name or "large" in name}
    options = {"balance": 1.0, "balance_by": "group"}
    plain = trained(split)
    one = trained(split, alike, **options)  # one group: nothing to balance
    for left, right in zip(weight_bits(plain), weight_bits(one), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=1e-4)
    apart = trained(split, places, **options)
    assert not all(map(torch.equal, weight_bits(plain), weight_bits(apart)))
    typed = replace(
        split.train,
        entity_types=kgt.Vocabulary(["other", *places], kind="entity type"),
        entity_type=torch.tensor([1 + list(places).index(n) if n in places else 0 for n in names]),
    )
    by_type = trained(
        replace(split, train=typed), **options
    )  # types are groups where none are given
    assert all(map(torch.equal, weight_bits(apart), weight_bits(by_type)))


def test_what_cannot_be_balanced_is_told() -> None:
    with pytest.raises(ValueError, match=r"balance must be in \[0, 1\] \(got 1\.5\)"):
        ObjectiveConfig(balance=1.5)
    with pytest.raises(ValueError, match=r"balance_by must be one of .*did you mean 'relation'"):
        ObjectiveConfig(balance_by="relations")
    with pytest.raises(ValueError, match="k-vs-all learns all answers of a query at once"):
        ObjectiveConfig("k_vs_all", balance=0.5)
    split = star()
    options = {"balance": 0.5, "balance_by": "group"}
    with pytest.raises(ValueError, match=r"groups: those that pretrain takes, or entity types"):
        trained(split, **options)
    with pytest.raises(ValueError, match=r"unknown entity: 'larg'.*nearest known: 'large'"):
        trained(split, {"larg": "place"}, **options)
    with pytest.raises(ValueError, match=r"groups are for .*'group' \(got 'popularity'\)"):
        trained(split, {"large": "place"}, balance=0.5)
    known = split.known(("train",))
    with pytest.raises(ValueError, match=r"and it with them \(got none\)"):
        balanced_weights(known, 0.5, "group")
    with pytest.raises(ValueError, match=r"\(got some, to balance by relation\)"):
        balanced_weights(known, 0.5, "relation", groups=torch.zeros(known.num_entities).long())
    with pytest.raises(ValueError, match=r"groups must be int64 of shape \[62\]"):
        balanced_weights(known, 0.5, "group", groups=torch.zeros(3).long())
    with pytest.raises(ValueError, match="groups must be at least 0"):
        balanced_weights(known, 0.5, "group", groups=torch.full((62,), -1))


def test_another_balance_is_another_run() -> None:
    known = star().known(("train",))

    def digest(**options) -> str:
        return module_digest(build_objective(ObjectiveConfig(**options), known))

    assert digest(balance=0.5) == digest(balance=0.5)
    several = [{}, {"balance": 0.5}, {"balance": 1.0}, {"balance": 0.5, "balance_by": "relation"}]
    assert len({digest(**options) for options in several}) == 4


def test_each_source_of_a_foundation_model_is_balanced_by_itself() -> None:
    left = kgt.KnowledgeGraph.from_names([("a", "r", "b"), ("c", "r", "b")], name="left")
    right = kgt.KnowledgeGraph.from_names([("x", "s", "y"), ("y", "s", "z")], name="right")
    linked = kgt.link([left, right], [])
    recipe = kgt.Recipe(
        kgt.ModelConfig(encoder="foundation", width=4, layers=1),
        kgt.ObjectiveConfig(balance=1.0, balance_by="group"),
    )
    groups = {"a": "rare", "b": "hub", "y": "hub"}
    across = task_objective(recipe, linked, groups=groups)
    tables = [loss.answer_weights.table.tolist() for loss in across.losses]
    assert tables[0] == pytest.approx([4 / 3, 2 / 3, 4 / 3])  # a and c once each, b twice
    assert tables[1] == pytest.approx([1.0, 1.0, 1.0])  # x and z of no group twice, y twice
