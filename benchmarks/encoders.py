"""Encoder layers, forward and backward: ours against PyTorch Geometric's and the message form.

    python -m benchmarks.encoders [--quick] --out FILE.json

R-GCN (30 bases, 5 blocks) against ``torch_geometric.nn.RGCNConv``; CompGCN (sub, mult, corr)
against its message form, written plainly: a composed and transformed vector for every edge, as the
authors' code has it. FB15k-237 with inverses, width 200; with --quick umls, width 32.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch_geometric.nn import RGCNConv as TheirRGCNConv

from benchmarks import timing
from benchmarks.protocol import Benchmark, fingerprints, parser
from pyg_kgtransfer.models.compgcn import OPERATORS, CompGCNConv
from pyg_kgtransfer.models.rgcn import RGCNConv
from pyg_kgtransfer.process import prepare
from pyg_kgtransfer.sources.datasets import load

GOALS = {
    "rgcn_basis_speedup": 120, "rgcn_basis_memory": 1 / 20, "rgcn_block_speedup": 100,
    "compgcn_sub_speedup": 12, "compgcn_mult_speedup": 12, "compgcn_corr_speedup": 15,
    **{f"compgcn_{op}_memory": 1 / 8 for op in OPERATORS},
}  # fmt: skip


class MessageCompGCN(nn.Module):
    """One transformed message per edge, the weights of a ``CompGCNConv``."""

    def __init__(self, twin: CompGCNConv, edge_index: Tensor, edge_type: Tensor, rows: int) -> None:
        super().__init__()
        self.op = twin.op
        self.weight = nn.Parameter(twin.weight.detach().clone())
        self.relation_weight = nn.Parameter(twin.relation_weight.detach().clone())
        self.loop = nn.Parameter(twin.loop.detach().clone())
        self.bias = nn.Parameter(twin.bias.detach().clone())
        self.parts = []
        for inverse in (False, True):
            mask = (edge_type >= twin.num_relations) == inverse
            source, target = edge_index[:, mask]
            degrees = [torch.bincount(ids, minlength=rows).float() for ids in (source, target)]
            norm = (degrees[0][source] * degrees[1][target]).rsqrt()
            self.parts.append((source, target, edge_type[mask], norm))

    def compose(self, x: Tensor, z: Tensor) -> Tensor:
        if self.op == "sub":
            return x - z
        if self.op == "mult":
            return x * z
        spectrum = torch.fft.rfft(x).conj() * torch.fft.rfft(z)
        return torch.fft.irfft(spectrum, n=x.shape[1])

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        out = self.compose(x, self.loop) @ self.weight[2]
        for (source, target, kind, norm), weight in zip(self.parts, self.weight, strict=False):
            messages = self.compose(x[source], z[kind]) @ weight
            out = out.index_add(0, target, norm.unsqueeze(1) * messages)
        return out / 3 + self.bias + 0 * (z @ self.relation_weight).sum()


class OurCompGCN(nn.Module):
    """A ``CompGCNConv`` on fixed edges; relations are updated as well, as in its twin."""

    def __init__(self, conv: CompGCNConv, edge_index: Tensor, edge_type: Tensor) -> None:
        super().__init__()
        self.conv, self.edges = conv, (edge_index, edge_type)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        out, relations = self.conv(x, z, *self.edges)
        return out + 0 * relations.sum()


class Bound(nn.Module):
    """A convolution on fixed edges."""

    def __init__(self, conv: nn.Module, edge_index: Tensor, edge_type: Tensor) -> None:
        super().__init__()
        self.conv, self.edges = conv, (edge_index, edge_type)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x, *self.edges)
        return out


def compared(
    name: str, ours: timing.Work, theirs: timing.Work, *, repeats: int
) -> dict[str, float]:
    """Speed and memory of both."""
    figures = timing.alternate(ours, theirs, repeats=repeats).figures(f"{name}_speedup")
    mine, other = timing.peak_bytes(ours), timing.peak_bytes(theirs)
    return figures | {
        f"{name}_memory": mine / other,
        f"{name}_memory.ours_mb": mine / 2**20,
        f"{name}_memory.theirs_mb": other / 2**20,
    }


def main(argv: Sequence[str] | None = None) -> None:
    given = parser(__doc__ or "").parse_args(argv)
    given.seeds = given.seeds or [0]
    prepare()
    name, width, bases, blocks = ("umls", 32, 4, 4) if given.quick else ("fb15k-237", 200, 30, 5)
    repeats = 3 if given.quick else 5
    split = load(name, offline=True)
    graph = split.train.tensors()
    rows, kinds = len(graph.entity), 2 * graph.num_relations
    edges = (graph.edge_index, graph.edge_type)
    torch.manual_seed(given.seeds[0])
    x = torch.randn(rows, width).requires_grad_()
    z = torch.randn(kinds, width).requires_grad_()
    benchmark = Benchmark.begin("encoders", given, data={name: fingerprints(split)})

    def rgcn(label: str, **kind: int) -> dict[str, float]:
        ours = RGCNConv(width, width, kinds, **kind)
        theirs = TheirRGCNConv(width, width, kinds, **kind)
        works = [timing.forward_and_backward(Bound(conv, *edges), x) for conv in (ours, theirs)]
        return compared(label, works[0], works[1], repeats=repeats)

    def compgcn(op: str) -> dict[str, float]:
        conv = CompGCNConv(width, width, graph.num_relations, op=op)
        ours = OurCompGCN(conv, *edges)
        theirs = MessageCompGCN(conv, *edges, rows)
        torch.testing.assert_close(ours(x, z), theirs(x, z), rtol=1e-3, atol=1e-3)
        works = [timing.forward_and_backward(layer, x, z) for layer in (ours, theirs)]
        return compared(f"compgcn_{op}", works[0], works[1], repeats=repeats)

    settings = {"width": width, "bases": bases, "blocks": blocks, "repeats": repeats}
    benchmark.run("rgcn_basis", lambda: rgcn("rgcn_basis", num_bases=bases), settings=settings)
    benchmark.run("rgcn_block", lambda: rgcn("rgcn_block", num_blocks=blocks), settings=settings)
    for op in OPERATORS:
        benchmark.run(f"compgcn_{op}", lambda op=op: compgcn(op), settings=settings)
    found = benchmark.figures()
    table = [
        {"figure": figure, "measured": found[figure], "goal": goal, "reached":
         "yes" if (found[figure] <= goal if "memory" in figure else found[figure] >= goal)
         else "no"}
        for figure, goal in GOALS.items()
    ]  # fmt: skip
    protocol = dict(timing.PROTOCOL) | {
        "Task": f"one layer, forward and backward in all it reads, on {name} with inverses: "
        f"{rows:,} entities, {len(edges[1]):,} edges, {kinds} edge types, width {width}; our edges "
        "are sorted once, in the untimed call",
    }
    benchmark.finish(protocol=protocol, table=table)


if __name__ == "__main__":
    main()
