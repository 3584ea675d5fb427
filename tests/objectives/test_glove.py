"""GloVe beside a KGE loss: against a slow twin, in both modes, with real and complex entities."""

import math
from functools import partial

import pytest
import torch

import pyg_kgtransfer as kgt
from pyg_kgtransfer.functional import losses
from pyg_kgtransfer.objectives.glove import GloVeObjective, GloVeOptions, word_width
from pyg_kgtransfer.sources.cooccurrence import Cooccurrences, count_cooccurrences
from pyg_kgtransfer.sources.corpus import Corpus, count_words
from pyg_kgtransfer.sources.entity_words import entity_words

WORDS = kgt.Vocabulary(["athens", "greece", "the"], kind="word")
COUNTS = Cooccurrences(
    WORDS, torch.tensor([3, 2, 9]), torch.tensor([0, 0, 2], dtype=torch.int32),
    torch.tensor([1, 2, 2], dtype=torch.int32), torch.tensor([2.0, 300.0, 1.0]),
)  # fmt: skip
LABELS = ["Athens", "Greece the", "Oslo"]
BATCH_IDS = torch.tensor([[0, 0, 1], [0, 0, 2]])


def made(mode: str, decoder: str, **options: object):
    torch.manual_seed(0)
    config = kgt.ModelConfig(encoder="shallow", decoder=decoder, width=4, reciprocal=False)
    model = kgt.build_model(config, num_entities=3, num_relations=1)
    width = word_width(model.decoder, 4)
    objective = GloVeObjective(
        COUNTS, entity_words(LABELS, WORDS, by="tokens"), width,
        GloVeOptions(mode=mode, sample_size=4000, **{"map": "identity", "x_max": 100.0} | options),
    )  # fmt: skip
    graph = kgt.KnowledgeGraph(kgt.Vocabulary(LABELS), kgt.Vocabulary(["r"]), BATCH_IDS, "world")
    return model, objective, model.encode(graph.tensors())


def batch(seed: int = 0) -> kgt.Batch:
    return kgt.Batch(BATCH_IDS, torch.Generator().manual_seed(seed))


def by_hand(objective: GloVeObjective, entity: torch.Tensor, mode: str) -> tuple[float, float]:
    """The expected loss of words, and the tie."""
    word = objective.word.detach().clone()
    if mode == "shared":
        word[0] = entity[0]  # Athens is one word; the other entity has two
    context = objective.context.detach()
    pairs = [(0, 1, 2.0), (0, 2, 300.0), (2, 2, 1.0), (1, 0, 2.0), (2, 0, 300.0)]
    losses = [
        min(1.0, (x / 100) ** 0.75) * (float(word[i] @ context[j]) - math.log(x)) ** 2
        for i, j, x in pairs
    ]
    both = word + context
    ties = {0: both[0], 1: (both[1] + both[2]) / 2}
    if mode == "shared":
        del ties[0]
    gaps = [float((entity[e] - mean).square().sum()) for e, mean in ties.items()]
    return sum(losses) / len(losses), sum(gaps) / len(gaps)


@pytest.mark.parametrize("mode", ["tied", "shared"])
@pytest.mark.parametrize("decoder", ["transe_l2", "complex"])
def test_terms_are_those_of_a_loop(mode: str, decoder: str) -> None:
    model, objective, vectors = made(mode, decoder, tie=3.0)
    terms = objective.terms(model, vectors, batch())
    half = vectors.entity.detach()[:, : objective.word.shape[1]]
    words, tie = by_hand(objective, half, mode)
    assert terms["words"].item() == pytest.approx(words, rel=0.15)  # a sample of the pairs
    assert terms["tie"].item() == pytest.approx(3.0 * tie, rel=1e-5)
    assert objective(model, vectors, batch()).item() == pytest.approx(
        sum(term.item() for term in terms.values())
    )


@pytest.mark.parametrize("mode", ["tied", "shared"])
def test_words_and_entities_learn_from_each_other(mode: str) -> None:
    model, objective, vectors = made(mode, "complex", map="learned")
    objective(model, vectors, batch()).backward()
    table = model.encoder.inputs.weight.grad
    assert bool(table[:2, :2].any(1).all())  # the real halves
    assert not table[:, 2:].any()
    assert not table[2].any()  # Oslo has no words
    for name, parameter in objective.named_parameters():
        assert bool(parameter.grad.any()), name


def test_entities_begin_at_their_words_in_their_own_size() -> None:
    _, objective, vectors = made("tied", "complex", map="learned")
    before = vectors.entity.detach().clone()
    table = before.clone()
    objective.begin_entities(table)
    both = (objective.word + objective.context).detach()
    wanted = torch.stack([both[0], (both[1] + both[2]) / 2]) @ objective.map.detach()
    assert torch.allclose(table[:2, :2], wanted, atol=1e-6)
    assert wanted.square().mean().sqrt().item() == pytest.approx(
        before.square().mean().sqrt().item(), rel=1e-5
    )
    assert torch.equal(table[:2, 2:], before[:2, 2:])  # imaginary
    assert torch.equal(table[2], before[2])  # without words


def test_a_shared_entity_begins_as_its_word() -> None:
    model, objective, vectors = made("shared", "complex")
    tied = made("tied", "complex")[1]
    tied.load_state_dict(objective.state_dict())
    table = vectors.entity.detach().clone()
    objective.begin_entities(table)
    assert torch.equal(table[0, :2], objective.word[0])
    begun = kgt.Representations(table, vectors.relation)
    words = [o.terms(model, begun, batch())["words"] for o in (objective, tied)]
    assert torch.equal(*words)  # what words have learned is not lost


def test_without_a_tie_only_words_are_learned() -> None:
    model, objective, vectors = made("tied", "transe_l2", tie=0.0)
    assert list(objective.terms(model, vectors, batch())) == ["words"]


def test_other_words_are_refused() -> None:
    found = entity_words(["tea"], kgt.Vocabulary(["tea"], kind="word"))
    with pytest.raises(ValueError, match=r"the same words \(got 3 and 1"):
        GloVeObjective(COUNTS, found, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "both"}, r"mode must be one of tied, shared \(got 'both'\)"),
        ({"map": "none"}, "map must be one of identity, learned"),
        ({"tie": -1.0}, "tie must be at least 0"),
        ({"tie_size": 0}, "tie_size must be at least 1"),
        ({"sample_size": 0}, "sample_size must be at least 1"),
        ({"x_max": 0.0}, "x_max must be above 0"),
    ],
)
def test_options_out_of_range(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        GloVeOptions(**options)


def test_trained_jointly_entities_without_facts_come_to_lie_with_their_words(tmp_path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("athens lies in greece\nrome lies in italy\n" * 9)
    corpus = Corpus.at(path)
    words = count_words(corpus, min_count=1)
    counts = count_cooccurrences(corpus, words, tmp_path / "counts.npz")
    facts = [("athens", "in", "greece"), ("rome", "in", "italy")]
    graph = kgt.KnowledgeGraph.from_names(facts)
    train = graph.with_triples(graph.triples[:1])  # nothing is known of Rome but its text
    torch.manual_seed(0)
    config = kgt.ModelConfig(encoder="shallow", decoder="transe_l2", width=4, reciprocal=False)
    model = kgt.build_model(config, num_entities=4, num_relations=1)
    glove = GloVeObjective(
        counts,
        entity_words(train.entities.names, words.words),
        4,
        GloVeOptions(sample_size=64, map="identity", tie=1.0),
    )
    loss = partial(losses.self_adversarial_loss, margin=2.0, temperature=1.0)
    task = kgt.NegativeSampling(loss, num_negatives=4)
    training = kgt.TrainConfig(epochs=150, learning_rate=0.03, progress=False, accelerator="cpu")

    def apart() -> float:
        entity = model.encode(train.tensors()).entity.detach()[train.entities.id("rome")]
        own = words.words.id("rome")
        return float((entity - (glove.word + glove.context).detach()[own]).norm())

    before = apart()
    kgt.Trainer(training).fit(
        model, kgt.Mixture({"link": task, "glove": glove}),
        kgt.TripleBatches(train.triples, kgt.BatchOptions(batch_size=1)), graph=train.tensors(),
    )  # fmt: skip
    assert apart() < 0.3 * before
