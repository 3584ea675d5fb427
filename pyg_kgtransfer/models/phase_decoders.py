"""Decoders whose entities have phases: pRotatE and HAKE."""

import math

import torch
from torch import Tensor, nn

from pyg_kgtransfer.functional import scores
from pyg_kgtransfer.kernels.pair_scores import Pairing
from pyg_kgtransfer.models.decoders import Decoder, paired_scores


def _sine_scores(query: Tensor, candidates: Tensor) -> Tensor:
    """-sum of |sin((query - candidate) / 2)|: half the chord between points on the unit circle."""
    chords = paired_scores(scores.rotation(query), scores.rotation(candidates), Pairing.MODULUS)
    return 0.5 * chords


class PRotatE(Decoder):
    """-C sum_d |sin((h_d + r_d - t_d) / 2)|: RotatE with entities on the unit circle, too.

    Args:
        modulus: C at first, above 0; it is trained. 4 / D starts as the authors' code does with a
            margin of 6.

    Raises:
        ValueError: If ``modulus`` is not above 0.

    Source: Sun et al. 2019, arXiv 1902.10197. Vectors are phases in radians.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> athens, greece = torch.tensor([[[0.0]], [[torch.pi]]])
        >>> half_turn, none = torch.tensor([[torch.pi]]), torch.tensor([[0.0]])
        >>> decoder = kgt.PRotatE(modulus=2.0)
        >>> abs(round(decoder.compare(decoder.tail_query(athens, half_turn), greece).item(), 3))
        0.0
        >>> round(decoder.compare(decoder.tail_query(athens, none), greece).item(), 3)
        -2.0
    """

    def __init__(self, *, modulus: float = 0.02) -> None:
        super().__init__()
        if not modulus > 0:
            raise ValueError(f"pRotatE needs a modulus above 0 (got {modulus})")
        self.modulus = nn.Parameter(torch.tensor(modulus))

    def tail_query(self, head: Tensor, relation: Tensor) -> Tensor:
        return head + relation

    def head_query(self, relation: Tensor, tail: Tensor) -> Tensor:
        return tail - relation

    def compare(self, query: Tensor, candidates: Tensor) -> Tensor:
        return self.modulus * _sine_scores(query, candidates)

    @torch.no_grad()
    def initialise(self, entity: Tensor | None, relation: Tensor | None) -> None:
        for table in (entity, relation):
            if table is not None:
                table.uniform_(-math.pi, math.pi)


class HAKE(Decoder):
    """-a ||h_m (|r_m| + b) - t_m (1 - b)||_2 - c sum_d |sin((h_p + r_p - t_p) / 2)_d|.

    Moduli tell levels of a hierarchy apart, phases entities of one level. The first half of an
    entity vector are phases in radians, the second moduli; a relation has phases, moduli and
    biases b, kept in [-|r_m|, 1], of D / 2 each.

    Args:
        phase_weight: c at first, above 0; it is trained.
        modulus_weight: a at first, above 0; it is trained.

    Raises:
        ValueError: If a weight is not above 0.

    Source: Zhang et al. 2020, arXiv 1911.09419; the bias multiplies both sides, as in
    the authors' code, instead of dividing one.

    Example:
        >>> import pyg_kgtransfer as kgt
        >>> dog, animal = torch.tensor([[[0.0, 4.0]], [[0.0, 2.0]]])  # a phase and a modulus
        >>> is_a = torch.tensor([[0.0, 0.5, 0.0]])  # no turn, half the modulus, no bias
        >>> decoder = kgt.HAKE()
        >>> abs(decoder.compare(decoder.tail_query(dog, is_a), animal).item())
        0.0
    """

    def __init__(self, *, phase_weight: float = 0.5, modulus_weight: float = 1.0) -> None:
        super().__init__()
        for name, weight in (("phase_weight", phase_weight), ("modulus_weight", modulus_weight)):
            if not weight > 0:
                raise ValueError(f"HAKE needs a {name} above 0 (got {weight})")
        self.phase_weight = nn.Parameter(torch.tensor(phase_weight))
        self.modulus_weight = nn.Parameter(torch.tensor(modulus_weight))

    def relation_width(self, entity_width: int) -> int:
        return 3 * (entity_width // 2)

    def check_width(self, entity_width: int) -> None:
        if entity_width % 2:
            raise ValueError(
                f"HAKE stores phases and moduli in halves, so the width must be even "
                f"(got {entity_width})"
            )

    def tail_query(self, head: Tensor, relation: Tensor) -> Tensor:
        phase, modulus = head.chunk(2, dim=-1)
        turn, of_head, of_tail = self._parts(relation)
        return torch.cat([phase + turn, modulus * of_head, of_tail], dim=-1)

    def head_query(self, relation: Tensor, tail: Tensor) -> Tensor:
        phase, modulus = tail.chunk(2, dim=-1)
        turn, of_head, of_tail = self._parts(relation)
        return torch.cat([phase - turn, modulus * of_tail, of_head], dim=-1)

    @staticmethod
    def _parts(relation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Its phases, and what it multiplies the moduli of heads and of tails with."""
        turn, modulus, bias = relation.chunk(3, dim=-1)
        modulus = modulus.abs()
        bias = torch.maximum(bias.clamp(max=1.0), -modulus)
        return turn, modulus + bias, 1.0 - bias

    def compare(self, query: Tensor, candidates: Tensor) -> Tensor:
        turned, scaled, scale = query.chunk(3, dim=-1)
        phase, modulus = candidates.chunk(2, dim=-1)
        return self.phase_weight * _sine_scores(turned, phase) + (
            self.modulus_weight * scores.negative_scaled_distance(scaled, scale, modulus)
        )

    @torch.no_grad()
    def initialise(self, entity: Tensor | None, relation: Tensor | None) -> None:
        if entity is not None:
            phase, modulus = entity.chunk(2, dim=-1)
            phase.uniform_(-math.pi, math.pi)
            modulus.uniform_(-1.0, 1.0)
        if relation is not None:
            phase, modulus, bias = relation.chunk(3, dim=-1)
            phase.uniform_(-math.pi, math.pi)
            modulus.fill_(1.0)
            bias.zero_()
