"""Layers hold no row per edge, forward and backward."""

import sys

import pytest
import torch

from benchmarks.timing import forward_and_backward, peak_bytes
from pyg_kgtransfer.models.compgcn import OPERATORS, CompGCNConv
from pyg_kgtransfer.models.rgcn import RGCNConv

ROWS, KINDS, EDGES, WIDTH = 10_000, 100, 1_000_000, 64
ROW_PER_EDGE = 4 * EDGES * WIDTH  # bytes: 256 MB
LAYERS = {
    "rgcn bases": lambda: RGCNConv(WIDTH, WIDTH, KINDS, num_bases=4),
    "rgcn blocks": lambda: RGCNConv(WIDTH, WIDTH, KINDS, num_blocks=4),
    "rgcn": lambda: RGCNConv(WIDTH, WIDTH, KINDS),
    **{f"compgcn {op}": lambda op=op: CompGCNConv(WIDTH, WIDTH, KINDS // 2, op=op)
       for op in OPERATORS},
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", LAYERS)
def test_no_row_per_edge_is_held(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.randint(ROWS, (2, EDGES), generator=generator)
    edge_type = torch.randint(KINDS, (EDGES,), generator=generator)
    conv = LAYERS[kind]()
    x = torch.randn(ROWS, WIDTH, requires_grad=True)
    tables = [x] if "rgcn" in kind else [x, torch.randn(KINDS, WIDTH, requires_grad=True)]

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv

        def forward(self, *given: torch.Tensor) -> torch.Tensor:
            out = self.conv(*given, edge_index, edge_type)
            return out if isinstance(out, torch.Tensor) else torch.cat(out)

    work = forward_and_backward(Whole(), *tables)
    work()  # sorts the edges and compiles the loops
    assert peak_bytes(work) < 0.8 * ROW_PER_EDGE
