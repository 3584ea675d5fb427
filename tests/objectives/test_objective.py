from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from pyg_kgtransfer.functional import losses
from pyg_kgtransfer.graph.known_triples import KnownTriples
from pyg_kgtransfer.objectives.balance import balanced_weights
from pyg_kgtransfer.objectives.distillation import PredictionDistillation, Teacher
from pyg_kgtransfer.objectives.link_prediction import N3, KvsAll, NegativeSampling, OneVsAll
from pyg_kgtransfer.objectives.objective import Batch, Mixture
from pyg_kgtransfer.objectives.typed_negatives import TypedNegatives


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


def objectives(graph, make_model) -> dict[str, Callable]:
    """What has to be the same in parts, by name."""
    known = KnownTriples([graph.triples], num_entities=10, num_relations=3)
    weights = balanced_weights(known, 0.5, "popularity")
    half = torch.arange(10).where(torch.arange(10) % 3 > 0, torch.tensor(-1))  # knows two of three
    teacher = Teacher(make_model(6, 9).double(), graph.tensors(), half, torch.arange(3))
    adversarial = partial(losses.self_adversarial_loss, margin=1.0, temperature=1.0)
    return {
        "negatives": NegativeSampling(adversarial, num_negatives=3, known=known, with_self=True),
        "negatives of a type": TypedNegatives(losses.softplus_loss, 3, torch.arange(10) % 3),
        "shared negatives": NegativeSampling(losses.softplus_loss, num_negatives=3, shared=True),
        "weighted negatives": NegativeSampling(
            losses.softplus_loss, num_negatives=3, entity_weights=torch.arange(10.0)
        ),
        "softmax": OneVsAll(label_smoothing=0.1, answer_weights=weights),
        "sampled softmax": OneVsAll(num_candidates=3),
        "all answers": KvsAll(known),
        "norm": N3(),
        "teacher": Mixture(
            {"kd": PredictionDistillation(teacher, num_candidates=3), "ns": OneVsAll()}
        ),
    }


@pytest.mark.parametrize("size", [1, 2, 7, 16])
@pytest.mark.parametrize("parts", [1, 2, 3])
def test_parts_weigh_to_the_whole(graph, make_model, size: int, parts: int) -> None:
    """Loss and gradient, where parts differ in size and some have no row at all."""
    model = make_model(6, 1).double()
    for name, objective in objectives(graph, make_model).items():

        def value(cut: Callable[[Batch], Batch], objective=objective) -> tuple[Tensor, Tensor]:
            batch = cut(Batch(graph.triples[:size], torch.Generator().manual_seed(3)))
            loss = objective(model, model.encode(graph.tensors()), batch)
            (gradient,) = torch.autograd.grad(loss * batch.weight, model.encoder.entity)
            return batch.weight * loss.detach(), gradient

        whole = value(lambda batch: batch)
        ends = [size * k // parts for k in range(parts + 1)]
        found = [value(lambda batch, a=a, b=b: batch.part(a, b)) for a, b in pairwise(ends)]
        for of_whole, of_parts in zip(whole, zip(*found, strict=True), strict=True):
            total = torch.stack(of_parts).sum(0)
            near = 1e-6 if name == "softmax" else 1e-12  # its weights have 32 bits
            torch.testing.assert_close(total, of_whole, rtol=near, atol=near, msg=name)


def test_a_batch_of_other_triples_is_whole_by_itself(batch) -> None:
    part = batch.part(4, 9)
    assert (part.is_part, len(part.whole), part.weight) == (True, 16, 5 / 16)
    assert torch.equal(part.own(batch.triples), part.triples)
    other = part._replace(triples=batch.triples[:3].clone())
    assert (other.is_part, len(other.whole), other.weight) == (False, 3, 1.0)
    drawn = torch.arange(3)
    assert other.own(drawn) is drawn


def test_a_part_has_its_sources_and_those_of_the_whole(batch) -> None:
    part = batch._replace(source=torch.arange(16)).part(4, 9)
    assert part.source.tolist() == [4, 5, 6, 7, 8]
    assert part.share.source.tolist() == list(range(16))
