"""Facts and words together: what comes out, where they meet, schedules."""

from pathlib import Path

import pytest
import torch

import pyg_kgtransfer as kgt
from pyg_kgtransfer.objectives.glove import GloVeOptions
from pyg_kgtransfer.sources.cooccurrence import Cooccurrences, count_cooccurrences
from pyg_kgtransfer.sources.corpus import Corpus, count_words
from pyg_kgtransfer.sources.word_vectors import WordVectors
from pyg_kgtransfer.transfer.joint_glove import JointGloVeConfig, joint_glove


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Cooccurrences:
    folder = tmp_path_factory.mktemp("text")
    lines = [f"town{i} lies by the river of land{i % 3} land{i % 3}" for i in range(12)] * 5
    (folder / "text.txt").write_text("\n".join(lines))
    corpus = Corpus.at(folder)
    return count_cooccurrences(corpus, count_words(corpus), folder / "counts.npz")


@pytest.fixture(scope="module")
def split() -> kgt.Split:
    facts = [(f"t{i}", "in", f"l{i % 3}") for i in range(12)]
    facts += [(f"t{i}", "near", f"t{(i + 3) % 12}") for i in range(12)]
    labels = {f"t{i}": f"Town{i}" for i in range(12)} | {f"l{i}": f"land{i}" for i in range(3)}
    graph = kgt.KnowledgeGraph.from_names(facts, name="towns", labels=labels)
    return kgt.random_split(graph, 0.1, 0.2)


def recipe(decoder: str, *, epochs: int = 3) -> kgt.Recipe:
    return kgt.Recipe(
        kgt.ModelConfig(encoder="shallow", decoder=decoder, width=8),
        kgt.ObjectiveConfig("self_adversarial", num_negatives=4),
        kgt.BatchOptions(batch_size=8),
        kgt.TrainConfig(epochs=epochs, progress=False, accelerator="cpu"),
    )


@pytest.mark.parametrize("mode", ["tied", "shared"])
@pytest.mark.parametrize(("decoder", "width"), [("transe_l2", 8), ("complex", 4), ("rotate", 4)])
def test_a_model_and_vectors_of_words_come_out(mode, decoder, width, split, counts) -> None:
    config = JointGloVeConfig(words=GloVeOptions(mode=mode, sample_size=64))
    found = joint_glove(split, counts, recipe=recipe(decoder), config=config)
    assert found.covered == 15
    assert found.vectors.vectors.shape == (len(counts.words), width)
    assert not found.vectors.vectors.requires_grad
    assert found.checkpoint.provenance["joint_glove"]["words"]["mode"] == mode
    assert 0 < kgt.evaluate(found.checkpoint, split).metrics()["mrr"] <= 1


def test_words_alone_leave_relations_as_they_were(split, counts) -> None:
    config = JointGloVeConfig(alpha=0.0, words=GloVeOptions(mode="shared", sample_size=64))
    found = joint_glove(split, counts, recipe=recipe("distmult", epochs=2), config=config)
    torch.manual_seed(0)
    again = joint_glove(split, counts, recipe=recipe("distmult", epochs=1), config=config)
    first, second = (each.checkpoint.model.encoder.relation for each in (found, again))
    assert torch.equal(first, second)


def test_vectors_of_words_may_begin_from_others(split, counts) -> None:
    start = WordVectors(kgt.Vocabulary(["river"]), 100 * torch.ones(1, 8))
    config = JointGloVeConfig(warm_epochs=0)
    found = joint_glove(split, counts, recipe=recipe("transe_l2"), config=config, start=start)
    assert float(found.vectors.of("river").mean()) > 50
    wrong = WordVectors(kgt.Vocabulary(["river"]), torch.ones(1, 2))
    with pytest.raises(ValueError, match=r"width 8 \(got 2\)"):
        joint_glove(split, counts, recipe=recipe("transe_l2"), start=wrong)


def test_without_a_common_word_nothing_is_trained(split, counts, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="something in common"):
        joint_glove(split, counts, recipe=recipe("transe_l2"), labels=["?"] * 15,
                    run_dir=tmp_path / "run")  # fmt: skip
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("options", [{"alpha": 1.1}, {"final_alpha": -0.1}])
def test_weights_out_of_range(options) -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        JointGloVeConfig(**options)
