"""New relations and entities from a few facts: what is learned, what stays, what is refused."""

import pytest
import torch

import pyg_kgtransfer as kgt

LANDS = 4
CITIES = [(f"c{i}", f"l{i % LANDS}") for i in range(24)]


@pytest.fixture(scope="module")
def world() -> kgt.KnowledgeGraph:
    facts = [(city, "in", land) for city, land in CITIES]
    facts += [(f"c{i}", "near", f"c{(i + LANDS) % 24}") for i in range(24)]
    return kgt.KnowledgeGraph.from_names(facts, name="world")


def taught(
    world: kgt.KnowledgeGraph,
    decoder: str,
    encoder: str = "shallow",
    *,
    features: torch.Tensor | None = None,
    **model,
) -> kgt.Checkpoint:
    training = kgt.TrainConfig(
        epochs=60, learning_rate=0.05, progress=False, accelerator="cpu", seed=0
    )
    config = kgt.ModelConfig(encoder=encoder, decoder=decoder, width=16, **model)
    objective = kgt.ObjectiveConfig("softplus", num_negatives=8)
    recipe = kgt.Recipe(config, objective, kgt.BatchOptions(batch_size=16), training)
    given = None if features is None else {"world": features}
    return kgt.pretrain(kgt.link([world], []), recipe=recipe, features=given)


def mean_place(checkpoint: kgt.Checkpoint, asked: list[tuple[str, str, str]]) -> float:
    """The mean place of the tails among all answers, from 1."""
    predictor = kgt.Predictor(checkpoint)
    places = [
        [answer.name for answer in predictor.tails(head, relation, k=28)].index(tail) + 1
        for head, relation, tail in asked
    ]
    return sum(places) / len(places)


def facts_of(relation: str, number: int) -> kgt.KnowledgeGraph:
    support = [(city, relation, land) for city, land in CITIES[:number]]
    return kgt.KnowledgeGraph.from_names(support, name="few")


@pytest.mark.parametrize("decoder", ["transe_l2", "distmult", "complex", "rotate"])
def test_a_relation_in_closed_form(world: kgt.KnowledgeGraph, decoder: str) -> None:
    """A relation between the pairs of another is found from four of them, without a step."""
    checkpoint = taught(world, decoder, reciprocal=decoder == "complex")
    asked = [(city, "lies_in", land) for city, land in CITIES[8:]]
    few = facts_of("lies_in", 4)
    found = kgt.few_shot(checkpoint, few, config=kgt.FewShotConfig(steps=0))
    fresh = kgt.few_shot(checkpoint, few, config=kgt.FewShotConfig(start="fresh", steps=0))
    assert mean_place(found, asked) < 4  # of 28
    assert mean_place(found, asked) < mean_place(fresh, asked)


@pytest.mark.parametrize(
    ("encoder", "decoder"), [("shallow", "distmult"), ("compgcn", "distmult"), ("shallow", "conve")]
)
def test_steps_change_new_rows_alone(world: kgt.KnowledgeGraph, encoder: str, decoder: str) -> None:
    checkpoint = taught(world, decoder, encoder)
    start = kgt.FewShotConfig(start="mean", steps=0)
    before = kgt.few_shot(checkpoint, facts_of("lies_in", 4), config=start)
    after = kgt.few_shot(
        checkpoint, facts_of("lies_in", 4), config=kgt.FewShotConfig(start="mean", steps=30)
    )
    old = {name: id for id, name in enumerate(checkpoint.graph.relations)}
    kept = [i for i, name in enumerate(after.graph.relations) if name in old]
    states = [each.model.state_dict() for each in (before, after)]
    changed = [name for name in states[0] if not torch.equal(states[0][name], states[1][name])]
    assert changed == ["encoder.relation"]
    one, other = (state["encoder.relation"] for state in states)
    assert torch.equal(one[kept], other[kept])
    new = after.graph.relations.id("lies_in")
    assert not torch.equal(one[new], other[new])


def test_a_new_entity_is_placed_by_its_facts(world: kgt.KnowledgeGraph) -> None:
    checkpoint = taught(world, "transe_l2", reciprocal=False)
    few = kgt.KnowledgeGraph.from_names(
        [("new", "near", "c1"), ("new", "near", "c5"), ("c9", "near", "new")], name="few"
    )
    found = kgt.few_shot(checkpoint, few, config=kgt.FewShotConfig(steps=200))
    answers = [answer.name for answer in kgt.Predictor(found).tails("new", "in")]
    assert answers.index("l1") < 5


def test_what_cannot_be_learned_is_named(world: kgt.KnowledgeGraph) -> None:
    checkpoint = taught(world, "distmult")

    def told(*facts: tuple[str, str, str]) -> str:
        with pytest.raises(ValueError, match="support fact") as error:
            kgt.few_shot(checkpoint, kgt.KnowledgeGraph.from_names(facts, name="few"))
        return str(error.value)

    assert "all is known" in told(("c1", "in", "l2"))
    assert "'c99' is new, nearest known: 'c" in told(("c99", "lies_in", "l1"))
    assert "'x' is new" in told(("x", "in", "y"))
    assert "got none" in told()
    rows = torch.ones(world.num_entities, 3)
    reads = taught(world, "distmult", inputs="features", features=rows)
    new = kgt.KnowledgeGraph.from_names([("new", "in", "l1")], name="few")
    with pytest.raises(ValueError, match="needs features"):
        kgt.few_shot(reads, new)
    with pytest.raises(ValueError, match="start is one of"):
        kgt.FewShotConfig(start="middle")
