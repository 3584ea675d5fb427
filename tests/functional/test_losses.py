import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_kgtransfer.functional import losses


def tensors(seed: int, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]


def test_margin_loss_counts_violations_only() -> None:
    positive, negative = torch.tensor([2.0, 0.0]), torch.tensor([[0.5, 1.5], [-3.0, 0.0]])
    assert losses.margin_loss(positive, negative, margin=1.0).item() == pytest.approx(1.5 / 4)


def test_softplus_loss_against_its_formula() -> None:
    positive, negative = tensors(0, (4,), (4, 3))
    expected = sum(math.log1p(math.exp(-p)) for p in positive.tolist()) / 4
    expected += sum(math.log1p(math.exp(n)) for row in negative.tolist() for n in row) / 12
    assert losses.softplus_loss(positive, negative).item() == pytest.approx(expected)


@given(st.integers(0, 100), st.sampled_from([0.0, 0.5, 2.0]))
@settings(max_examples=20, deadline=None)
def test_self_adversarial_loss_against_loops(seed: int, temperature: float) -> None:
    positive, negative = tensors(seed, (3,), (3, 4))
    margin, total = 1.5, 0.0
    for b in range(3):
        weights = [math.exp(temperature * n) for n in negative[b].tolist()]
        total += -math.log(1 / (1 + math.exp(-(margin + positive[b].item())))) / 2
        for weight, n in zip(weights, negative[b].tolist(), strict=True):
            total += -weight / sum(weights) * math.log(1 / (1 + math.exp(margin + n))) / 2
    loss = losses.self_adversarial_loss(positive, negative, margin=margin, temperature=temperature)
    assert loss.item() == pytest.approx(total / 3)


def test_left_out_negatives_do_not_count() -> None:
    positive, negative = tensors(1, (2,), (2, 3))
    masked = torch.cat([negative, torch.full((2, 2), -torch.inf, dtype=torch.float64)], dim=1)
    for temperature in (0.0, 1.0):
        whole = losses.self_adversarial_loss(positive, masked, margin=1.0, temperature=temperature)
        part = losses.self_adversarial_loss(positive, negative, margin=1.0, temperature=temperature)
        assert whole.item() == pytest.approx(part.item())
    masked.requires_grad_()
    losses.self_adversarial_loss(positive, masked, margin=1.0, temperature=1.0).backward()
    assert torch.isfinite(masked.grad).all()


def test_weights_of_triples_average() -> None:
    positive, negative = tensors(2, (2,), (2, 3))
    options = {"margin": 1.0, "temperature": 1.0}
    only_first = losses.self_adversarial_loss(
        positive, negative, weight=torch.tensor([2.0, 0.0]), **options
    )
    alone = losses.self_adversarial_loss(positive[:1], negative[:1], **options)
    assert only_first.item() == pytest.approx(alone.item())


def test_multi_label_smoothing() -> None:
    scores, labels = torch.zeros(1, 4), torch.tensor([[1.0, 0, 0, 0]])
    assert losses.multi_label_loss(scores, labels, label_smoothing=0.1).item() == pytest.approx(
        math.log(2)
    )
    certain = torch.tensor([[20.0, -20, -20, -20]])
    plain = losses.multi_label_loss(certain, labels)
    smooth = losses.multi_label_loss(certain, labels, label_smoothing=0.1)
    assert plain < 1e-6 < smooth


@given(st.integers(0, 50), st.sampled_from([0.5, 1.0, 4.0]))
@settings(max_examples=20, deadline=None)
def test_soft_targets_are_a_scaled_divergence(seed: int, temperature: float) -> None:
    student, teacher = tensors(seed, (3, 5), (3, 5))
    p = torch.softmax(teacher / temperature, 1)
    q = torch.softmax(student / temperature, 1)
    expected = temperature**2 * (p * (p / q).log()).sum(1).mean()
    loss = losses.soft_target_loss(student, teacher, temperature=temperature)
    assert loss.item() == pytest.approx(expected.item())
    shifted = losses.soft_target_loss(teacher + 3.0, teacher, temperature=temperature)
    assert shifted.item() == pytest.approx(0.0, abs=1e-12)


def test_contrastive_loss_is_lowest_for_matching_rows() -> None:
    left = torch.eye(4)
    right_order = losses.contrastive_loss(left, left, temperature=0.1)
    wrong_order = losses.contrastive_loss(left, left.roll(1, 0), temperature=0.1)
    assert right_order < 0.01 < wrong_order


def test_n3_sums_cubes() -> None:
    factor = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    assert losses.n3_penalty(factor, factor).item() == pytest.approx((9 + 27) / 2 * 2)


@given(st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_flow_divergence_against_loops(seed: int) -> None:
    student, teacher = tensors(seed, (12,), (12,))
    segment = torch.randint(5, (12,), generator=torch.Generator().manual_seed(seed))
    total, occupied = 0.0, 0
    for node in range(5):
        inside = segment == node
        if inside.any():
            occupied += 1
            p, q = torch.softmax(teacher[inside], 0), torch.softmax(student[inside], 0)
            total += (p * (p / q).log()).sum().item()
    loss = losses.flow_divergence(student, teacher, segment, 5)
    assert loss.item() == pytest.approx(total / occupied, abs=1e-9)


def test_flow_divergence_gradient() -> None:
    student, teacher = tensors(3, (8,), (8,))
    segment = torch.tensor([0, 2, 2, 0, 1, 2, 0, 4])
    student.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda logits: losses.flow_divergence(logits, teacher, segment, 5), student
    )
