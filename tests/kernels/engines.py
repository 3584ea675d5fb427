"""The engines that can be tested here, and random graphs for them."""

from typing import NamedTuple

import hypothesis.strategies as st
import pytest
import torch
from torch import Tensor

from pyg_kgtransfer.kernels.engines import ENGINES, engines_on
from pyg_kgtransfer.kernels.relational_csr import RelationalCSR

CPU = torch.device("cpu")
EVERY_ENGINE = [
    pytest.param(name, marks=pytest.mark.skipif(bool(reason), reason=reason))
    for name, reason in engines_on(CPU).items()
]
assert len(EVERY_ENGINE) == len(ENGINES)


class Problem(NamedTuple):
    """A plan, and the edges that it was made of."""

    plan: RelationalCSR
    source: Tensor
    target: Tensor
    relation: Tensor
    weight: Tensor  # [M], ones where the plan has none


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Empty graphs, one node, isolated nodes, loops, parallel edges, unused relations."""
    rows, sources = draw(st.integers(0, 5)), draw(st.integers(0, 5))
    relations = draw(st.integers(1, 4))
    edge = st.tuples(
        st.integers(0, max(sources - 1, 0)),
        st.integers(0, max(rows - 1, 0)),
        st.integers(0, relations - 1),
    )
    edges = draw(st.lists(edge, max_size=20 if rows and sources else 0))
    table = torch.tensor(edges, dtype=torch.long).view(-1, 3)
    fixed = torch.arange(len(edges)).double() - 2.5 if draw(st.booleans()) else None
    plan = RelationalCSR(
        table[:, :2].t(), table[:, 2], rows, relations, num_sources=sources, edge_weight=fixed
    )
    weight = torch.ones(len(edges)).double() if fixed is None else fixed
    return Problem(plan, *table.unbind(1), weight)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Float64 draws that repeat themselves."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)
