"""Sums over edges: against gather and scatter, in growing graphs, and against the machine's limits.

    python -m benchmarks.kernels [--quick] --out FILE.json

Neighbour sums on fb15k-237 with inverses, width 200, forward and backward, against gather +
index_add and, where ``make ext`` has compiled them, torch_scatter and torch_sparse; products of
entity and relation on synthetic power-law graphs of 10^4 to 10^7 edges; and the bytes and
operations per second that both reach. With --quick: umls, width 32, up to 10^6 edges.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec

import torch
from torch import Tensor

from benchmarks import timing
from benchmarks.protocol import Benchmark, fingerprints, parser
from pyg_kgtransfer.kernels.engines import engine_name
from pyg_kgtransfer.kernels.relational_csr import RelationalCSR
from pyg_kgtransfer.kernels.relational_spmm import relational_spmm
from pyg_kgtransfer.process import prepare
from pyg_kgtransfer.sources.datasets import load

GOALS = {"gather": 25, "torch_scatter": 25, "torch_sparse": 6}


def peers(edge_index: Tensor, rows: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """Other ways to sum neighbours, those that are installed."""
    source, target = edge_index

    def gather(x: Tensor) -> Tensor:
        return x.new_zeros(rows, x.shape[1]).index_add(0, target, x[source])

    found: dict[str, Callable[[Tensor], Tensor]] = {"gather": gather}
    if find_spec("torch_scatter") is not None:
        import torch_scatter

        found["torch_scatter"] = lambda x: torch_scatter.scatter_add(
            x[source], target, dim=0, dim_size=rows
        )
    if find_spec("torch_sparse") is not None:
        import torch_sparse

        adjacency = torch_sparse.SparseTensor(row=target, col=source, sparse_sizes=(rows, rows))
        found["torch_sparse"] = lambda x: torch_sparse.matmul(adjacency, x)
    return found


def neighbour_sums(
    edge_index: Tensor, edge_type: Tensor, sizes: tuple[int, int], width: int, repeats: int
) -> dict[str, float]:
    """Speed of the neighbour sum over each peer's, forward and backward."""
    rows, kinds = sizes
    plan = RelationalCSR(edge_index, edge_type, rows, kinds)
    x = torch.randn(rows, width).requires_grad_()

    def ours(x: Tensor) -> Tensor:
        return relational_spmm(plan, x)

    figures: dict[str, float] = {}
    for name, theirs in peers(edge_index, rows).items():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-3)
        works = [timing.forward_and_backward(each, x) for each in (ours, theirs)]
        paired = timing.alternate(works[0], works[1], repeats=repeats)
        figures |= paired.figures(f"spmm_speedup_{name}")
        figures[f"spmm_memory_{name}"] = timing.peak_bytes(works[0]) / timing.peak_bytes(works[1])
    return figures


def power_law(num_edges: int, num_relations: int, *, seed: int) -> tuple[Tensor, Tensor, int]:
    """Edges whose ends have a power law of degrees: ten edges per node on average."""
    generator = torch.Generator().manual_seed(seed)
    rows = max(num_edges // 10, 1)
    draws = torch.rand(3, num_edges, generator=generator).double()
    source, target = (rows * draws[:2] ** 2).long().clamp(max=rows - 1)
    return torch.stack([source, target]), (num_relations * draws[2]).long(), rows


def growth(num_edges: int, width: int, repeats: int) -> dict[str, float]:
    """Seconds and bytes of a product sum, forward and backward, on one graph."""
    relations = 200
    edge_index, edge_type, rows = power_law(num_edges, relations, seed=0)
    plan = RelationalCSR(edge_index, edge_type, rows, relations)
    x = torch.randn(rows, width).requires_grad_()
    z = torch.randn(relations, width).requires_grad_()

    def products(x: Tensor, z: Tensor) -> Tensor:
        return relational_spmm(plan, x, z, op="mul")

    work = timing.forward_and_backward(products, x, z)
    work()
    taken = min(timing.seconds(work) for _ in range(repeats))
    return {
        f"edges_{num_edges}.seconds": taken,
        f"edges_{num_edges}.bytes": timing.peak_bytes(work),
    }


def slope(figures: dict[str, float], sizes: Sequence[int], what: str) -> float:
    """Of log(figure) over log(edges), from the second size on: a first call has fixed costs."""
    points = torch.tensor([[n, figures[f"edges_{n}.{what}"]] for n in sizes[1:]]).double().log()
    x, y = (points - points.mean(0)).unbind(1)
    return float((x * y).sum() / (x * x).sum())


def limits(
    edge_index: Tensor, edge_type: Tensor, sizes: tuple[int, int], width: int
) -> dict[str, float]:
    """What part of the measured copy and product rates the sums and R-GCN's products reach."""
    rows, kinds = sizes
    plan = RelationalCSR(edge_index, edge_type, rows, kinds)
    x, table = torch.randn(rows, width), torch.randn(rows, width)
    pick = torch.randint(rows, (plan.num_edges,))
    gathered = torch.empty(plan.num_edges, width)
    gather = best(lambda: torch.index_select(x, 0, pick, out=gathered))
    read = 4.0 * plan.num_edges * width
    summed = best(lambda: plan.neighbour_sum(x))
    square = torch.randn(2048, 2048)
    flops = 2.0 * 2048**3 / best(lambda: square @ square)
    query = torch.randn(512, width)
    scored = 2.0 * len(query) * rows * width / best(lambda: query @ table.t())
    return {
        "gather_bytes_per_second": 2 * read / gather,
        "spmm_bytes_per_second": read / summed,
        "bandwidth_share": (read / summed) / (2 * read / gather),
        "gemm_flops_per_second": flops,
        "gemm_share": scored / flops,
    }


def best(work: timing.Work) -> float:
    """The least seconds of ten calls, after one."""
    work()
    return min(timing.seconds(work) for _ in range(10))


def plot(figures: dict[str, float], sizes: Sequence[int], path: str) -> None:
    """Seconds over edges, both logarithmic (PNG)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.loglog(sizes, [figures[f"edges_{n}.seconds"] for n in sizes], marker="o")
    axes.set(
        title="Sum of products over edges, forward and backward",
        xlabel="edges",
        ylabel="seconds",
    )
    axes.grid(visible=True, which="major")
    figure.savefig(path, dpi=120)


def main(argv: Sequence[str] | None = None) -> None:
    given = parser(__doc__ or "").parse_args(argv)
    given.seeds = given.seeds or [0]
    prepare()
    name, width, repeats = ("umls", 32, 3) if given.quick else ("fb15k-237", 200, 5)
    edges = [10**n for n in range(4, 7 if given.quick else 8)]
    split = load(name, offline=True)
    graph = split.train.tensors()
    sizes = (len(graph.entity), 2 * graph.num_relations)
    data = {name: fingerprints(split)}
    benchmark = Benchmark.begin("kernels", given, data=data)
    settings = {
        "width": width,
        "repeats": repeats,
        "peers": sorted(peers(graph.edge_index, sizes[0])),
    }
    torch.manual_seed(given.seeds[0])
    on = (graph.edge_index, graph.edge_type, sizes, width)
    benchmark.run("neighbour_sum", lambda: neighbour_sums(*on, repeats), settings=settings)
    for count in edges:
        benchmark.run(
            f"edges_{count}", lambda count=count: growth(count, 64, 3), settings={"width": 64}
        )
    benchmark.run("limits", lambda: limits(*on), settings=settings)
    found = benchmark.figures()
    further = {f"{kind}_slope": slope(found, edges, what)
               for kind, what in (("edges", "seconds"), ("memory", "bytes"))}  # fmt: skip
    rows = [
        {"figure": f"spmm_speedup_{peer}", "measured": found.get(f"spmm_speedup_{peer}"),
         "goal": goal}
        for peer, goal in GOALS.items()
    ]  # fmt: skip
    rows += [{"figure": k, "measured": v, "goal": 1} for k, v in further.items()]
    rows += [{"figure": k, "measured": found[k], "goal": None}
             for k in ("bandwidth_share", "gemm_share")]  # fmt: skip
    protocol = dict(timing.PROTOCOL) | {
        "Task": f"x of width {width} summed over neighbours, forward and backward, on {name} with "
        f"inverses: {sizes[0]:,} entities, {len(graph.edge_type):,} edges; engine "
        f"{engine_name(torch.device('cpu'))}",
        "Growth": "x * z of width 64 summed over edges, forward and backward, ten edges a node, "
        "both ends drawn by a square law, 200 relations; slopes are least squares of logarithms "
        "over all but the smallest graph",
        "Limits": "bandwidth_share: bytes of source rows that a neighbour sum reads per second, "
        "over those that copying the rows of as many random ids moves; gemm_share: operations per "
        "second of scoring 512 queries, over those of a 2048 x 2048 product",
    }
    benchmark.finish(protocol=protocol, figures=further, table=rows)
    if find_spec("matplotlib") is not None:
        plot(found, edges, str(given.out.with_suffix(".png")))


if __name__ == "__main__":
    main()
