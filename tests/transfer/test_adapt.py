"""Domain adaptation: two graphs come to look alike, and the figure of it is told."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pyg_kgtransfer.linking.alignment import Alignment
from pyg_kgtransfer.linking.linked import link
from pyg_kgtransfer.models.foundation import FoundationModel
from pyg_kgtransfer.sources.synthetic import PlantedPair
from pyg_kgtransfer.training.checkpoint import Checkpoint
from pyg_kgtransfer.transfer.adapt import AdaptConfig, Method, adapt
from pyg_kgtransfer.transfer.pretrain import pretrain
from pyg_kgtransfer.transfer.ranking import evaluate
from pyg_kgtransfer.transfer.recipe import Recipe
from pyg_kgtransfer.transfer.zero_shot import zero_shot

Make = Callable[..., Recipe]


@pytest.fixture(scope="module")
def source(pair: PlantedPair, make_recipe: Make) -> Checkpoint:
    """Of the rich graph alone."""
    return pretrain(link([pair.rich], []), recipe=make_recipe())


@pytest.fixture(scope="module")
def half(pair: PlantedPair) -> Alignment:
    """Every other entity is linked: each graph has some of its own."""
    return Alignment.from_names(pair.sparse.train, pair.rich, pair.entity_pairs[::2])


@pytest.mark.parametrize("method", ["mmd", "adversary"])
def test_the_gap_closes_further_than_without(
    pair: PlantedPair, source: Checkpoint, half: Alignment, make_recipe: Make, method: Method
) -> None:
    recipe = make_recipe(epochs=20, learning_rate=0.02)

    def moved(weight: float) -> Checkpoint:
        config = AdaptConfig(method=method, weight=weight, new_rows="fresh")
        return adapt(source, pair.sparse, half, recipe=recipe, config=config)

    plain, adapted = moved(0.0), moved(3.0)
    gap, without = adapted.metrics["domain_gap"], plain.metrics["domain_gap"]
    assert gap["before"] == without["before"]
    assert 0 < gap["after"]["mmd"] < 0.8 * without["after"]["mmd"] < gap["before"]["mmd"]
    assert evaluate(adapted, pair.sparse).metrics()["mrr"] > 0.1
    assert adapted.provenance["adaptation"]["method"] == method
    assert adapted.provenance["parent"] == source.id


def test_a_teacher_that_knows_the_target_is_adapted_by_its_sources(
    pair: PlantedPair, half: Alignment, make_recipe: Make
) -> None:
    teacher = pretrain(link([pair.sparse.train, pair.rich], [half]), recipe=make_recipe(epochs=5))
    found = adapt(teacher, pair.sparse, recipe=make_recipe(epochs=2))
    assert set(found.metrics["domain_gap"]["after"]) == {"a_distance", "mmd"}


def test_bad_input_is_told(pair: PlantedPair, source: Checkpoint, make_recipe: Make) -> None:
    everything = Alignment.from_names(pair.sparse.train, pair.rich, pair.entity_pairs)
    inside = pair.sparse.train.with_triples(pair.sparse.train.triples[:5])
    with pytest.raises(ValueError, match=r"needs 4 entities that one of .* alone \(got 0 of"):
        adapt(source, pair.sparse, everything, recipe=make_recipe())
    with pytest.raises(ValueError, match="method is one of mmd, adversary"):
        AdaptConfig(method="coral")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weight must be at least 0"):
        AdaptConfig(weight=-1.0)
    with pytest.raises(ValueError, match="sample_size must be at least 2"):
        AdaptConfig(sample_size=1)
    foundation = zero_shot(FoundationModel(8, 1), inside)
    with pytest.raises(ValueError, match="a vector for each entity"):
        adapt(foundation, pair.sparse, recipe=make_recipe())


def test_the_sources_stay_and_another_start_is_another_run(
    pair: PlantedPair, source: Checkpoint, half: Alignment, make_recipe: Make, tmp_path: Path
) -> None:
    recipe = make_recipe(epochs=2)
    found = adapt(source, pair.sparse, half, recipe=recipe, run_dir=tmp_path)
    assert found.sources is not None
    assert found.sources.names == (pair.sparse.train.name, pair.rich.name)
    rows = found.sources.entity_maps[1]
    assert found.graph.entities.name(int(rows[3])) in (
        pair.rich.entities.name(3),
        *pair.sparse.train.entities,
    )
    fresh = AdaptConfig(new_rows="fresh")
    with pytest.raises(ValueError, match="another"):
        adapt(source, pair.sparse, half, recipe=recipe, config=fresh, run_dir=tmp_path)
