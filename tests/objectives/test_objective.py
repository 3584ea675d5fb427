import pytest
import torch

from pyg_kgtransfer.objectives.link_prediction import N3, OneVsAll
from pyg_kgtransfer.objectives.objective import Batch, Mixture


def test_mixture_is_the_weighted_sum_of_its_terms(graph, model, batch) -> None:
    mixture = Mixture({"task": OneVsAll(), "n3": N3()}, {"n3": 0.5})
    representations = model.encode(graph.tensors())
    terms = mixture.terms(model, representations, batch)
    plain = N3()(model, representations, batch)
    assert terms["n3"].item() == pytest.approx(0.5 * plain.item())
    total = mixture(model, representations, batch)
    assert total.item() == pytest.approx(sum(t.item() for t in terms.values()))


def test_weights_move_linearly_to_their_end(graph, model, batch) -> None:
    mixture = Mixture({"n3": N3()}, {"n3": 1.0}, final_weights={"n3": 0.0})
    representations = model.encode(graph.tensors())
    start, half = (
        mixture(model, representations, batch._replace(progress=p)).item() for p in (0.0, 0.5)
    )
    assert half == pytest.approx(start / 2)


def test_nested_terms_are_named_by_path(graph, model, batch) -> None:
    inner = Mixture({"task": OneVsAll(), "n3": N3()})
    outer = Mixture({"link": inner, "extra": N3()}, {"extra": 0.0})
    terms = outer.terms(model, model.encode(graph.tensors()), batch)
    assert set(terms) == {"link.task", "link.n3"}


@pytest.mark.parametrize("weights", [{"task": -1.0}, {"tsk": 1.0}])
def test_bad_weights_are_refused(weights) -> None:
    with pytest.raises(ValueError, match="weight"):
        Mixture({"task": OneVsAll()}, weights)


def test_batch_defaults() -> None:
    batch = Batch(torch.zeros(1, 3, dtype=torch.long), torch.Generator())
    assert batch.source is None
    assert batch.progress == 0.0
