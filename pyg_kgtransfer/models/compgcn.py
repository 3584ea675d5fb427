"""CompGCN: messages that compose a neighbour with its relation, and relations that are updated."""

from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor, nn

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors
from pyg_kgtransfer.kernels.plans import Edges, PlanCache, plain_edges
from pyg_kgtransfer.kernels.relational_csr import RelationalCSR
from pyg_kgtransfer.kernels.relational_spmm import relational_spmm
from pyg_kgtransfer.models.decoders import Decoder
from pyg_kgtransfer.models.encoder import (
    Encoder,
    LayerOptions,
    LayerOutput,
    Representations,
    run_layer,
)
from pyg_kgtransfer.models.inputs import EntityInput

OPERATORS = ("sub", "mult", "corr")


class CompGCNConv(nn.Module):
    """x'_v = (W_loop phi(x_v, z_loop) + sum over directions of W_dir m_dir) / 3 + b.

    m_dir = sum over the direction's edges (u, r) -> v of n_uv phi(x_u, z_r).
    Directions are original edges (types below R) and inverse edges (types from R on); n_uv is
    1 / sqrt(edges of the direction into v * edges of the direction out of u). Relations become
    z'_r = W_rel z_r. phi is one of

    - ``"sub"``: x - z,
    - ``"mult"``: x * z, elementwise,
    - ``"corr"``: circular correlation, sum_i x_i z_{(i + k) mod D}.

    Compositions are summed before they are transformed: ``sub`` as two sparse products A x - B z,
    ``corr`` as a product of Fourier transforms, whose inverse is part of the matrices.

    Args:
        in_width: Width of the entity and relation vectors that enter.
        out_width: Width of the vectors that leave.
        num_relations: R, real relations; edge types are in [0, 2R).
        op: phi.

    Raises:
        ValueError: If ``op`` is none of the three.

    Source: Vashishth et al. 2020, "Composition-Based Multi-Relational Graph Convolutional
    Networks", arXiv 1911.03082, eq. 2-4; the third and the symmetric norm as in the authors' code,
    where n_uv counts edges *into* u, which silences a u without any: we count those out of u.

    Example:
        >>> conv = CompGCNConv(4, 6, num_relations=1, op="corr")
        >>> edge_index, edge_type = torch.tensor([[0, 1], [1, 0]]), torch.tensor([0, 1])
        >>> x, z = conv(torch.ones(2, 4), torch.ones(2, 4), edge_index, edge_type)
        >>> x.shape, z.shape
        (torch.Size([2, 6]), torch.Size([2, 6]))
    """

    def __init__(
        self, in_width: int, out_width: int, num_relations: int, *, op: str = "sub"
    ) -> None:
        super().__init__()
        if op not in OPERATORS:
            raise ValueError(f"a CompGCN operator is one of {', '.join(OPERATORS)} (got {op!r})")
        self.in_width, self.out_width = in_width, out_width
        self.num_relations = num_relations
        self.op = op
        self.weight = nn.Parameter(torch.empty(3, in_width, out_width))  # original, inverse, loop
        self.relation_weight = nn.Parameter(torch.empty(in_width, out_width))
        self.loop = nn.Parameter(torch.empty(1, in_width))
        self.bias = nn.Parameter(torch.empty(out_width))
        self._plans = PlanCache(directional_plan)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw matrices anew (Xavier normal); the loop starts as phi's neutral or unit vector."""
        for weight in (*self.weight, self.relation_weight):
            nn.init.xavier_normal_(weight)
        self.loop.fill_(1.0 if self.op == "mult" else 0.0)
        if self.op == "corr":
            self.loop[0, 0] = 1.0
        nn.init.zeros_(self.bias)

    def forward(
        self, x: Tensor, z: Tensor, edge_index: Edges, edge_type: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Entity and relation vectors after the layer.

        Args:
            x: [N, in_width] entity vectors.
            z: [2R, in_width] relation vectors.
            edge_index: [2, M] int64, source above target; or an ``EdgeIndex``, a ``SparseTensor``
                or a sparse tensor, as PyG's layers take them.
            edge_type: [M] int64, in [0, 2R); types from R on are the inverse direction; ``None``:
                the values of a sparse matrix.

        Returns:
            x' [N, out_width] and z' [2R, out_width].

        Raises:
            ValueError: If an id is out of range or ``z`` has not 2R rows.
        """
        if z.shape[0] != 2 * self.num_relations:
            raise ValueError(
                f"{self.num_relations} relations and their inverses need "
                f"{2 * self.num_relations} relation vectors (got {z.shape[0]})"
            )
        edges, kinds = plain_edges(edge_index, edge_type)
        return self.propagate(x, z, self._plans(edges, kinds, len(x), 2 * self.num_relations))

    def propagate(self, x: Tensor, z: Tensor, plan: RelationalCSR) -> tuple[Tensor, Tensor]:
        """The same for edges that are sorted already, by ``directional_plan``."""
        sums = _COMPOSED_SUMS[self.op](plan, x, z)  # [2N, in], or [2N, 2F]
        matrices = self.weight / 3
        directions, loop = matrices[:2], matrices[2]
        if self.op == "corr":
            directions = _inverse_fourier(self.in_width, _wide(matrices)) @ directions
        bias: Tensor = self.bias
        if self.op == "sub":  # phi(x, z_loop) is affine in x: the loop's vector joins the matrix
            bias = bias - (self.loop @ loop).squeeze(0)
        else:
            unit = torch.eye(self.in_width, dtype=loop.dtype, device=loop.device)
            loop = _COMPOSITIONS[self.op](unit, self.loop) @ loop
        abreast = sums.to(x.dtype).view(len(x), 2 * sums.shape[1])
        out = torch.addmm(bias, abreast, directions.flatten(0, 1))
        return torch.addmm(out, x, loop), z @ self.relation_weight

    def extra_repr(self) -> str:
        return (
            f"{self.in_width}, {self.out_width}, num_relations={self.num_relations}, op={self.op!r}"
        )


class CompGCN(Encoder):
    """Layers of ``CompGCNConv`` over entity inputs and a table of relation vectors.

    A node collects its outgoing edges, as the paper's N(v) has it: v receives phi(x_u, z_r) for
    each fact (v, r, u), and phi(x_u, z_{r + R}) for each (u, r, v).

    Args:
        inputs: Gives the entity vectors that enter; their width D is kept by every layer.
        num_relations: R, real ones.
        relation_width: D', what the decoder asks for; the last relation vectors are projected to
            it where it is not D.
        op: phi, see ``CompGCNConv``.
        options: What happens around the layers. ``residual`` holds for relations, too.

    Attributes:
        relation: [2R, D] the relation vectors that enter.

    Example:
        >>> from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
        >>> from pyg_kgtransfer.models.inputs import Lookup
        >>> graph = KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")]).tensors()
        >>> CompGCN(Lookup(2, 8), 1, relation_width=4)(graph).relation.shape
        torch.Size([2, 4])
    """

    relation_rows = ("relation",)

    def __init__(
        self,
        inputs: EntityInput,
        num_relations: int,
        *,
        relation_width: int | None = None,
        op: str = "sub",
        options: LayerOptions | None = None,
    ) -> None:
        super().__init__()
        options = options or LayerOptions()
        width = inputs.width
        self.inputs = inputs
        self.width = width
        self.num_layers = options.num_layers
        self.recompute = options.recompute
        self.num_relations = num_relations
        self.relation = nn.Parameter(torch.empty(2 * num_relations, width))
        nn.init.xavier_normal_(self.relation)
        self.layers = nn.ModuleList(
            CompGCNConv(width, width, num_relations, op=op) for _ in range(options.num_layers)
        )
        self.outputs = nn.ModuleList(LayerOutput(width, options) for _ in self.layers)
        self.jump = nn.Parameter(torch.tensor(float(options.gate))) if options.jump else None
        relation_width = relation_width or width
        self.relation_projection = (
            nn.Linear(width, relation_width, bias=False) if relation_width != width else None
        )
        self._plans = PlanCache(directional_plan)

    def forward(self, graph: GraphTensors) -> Representations:
        x = inputs = self.inputs(graph.entity).to(self.relation.dtype)
        plan = self._plans(graph.edge_index, graph.edge_type, len(x), 2 * self.num_relations)
        # the message over an edge u -e-> v is phi(x_u, z of e's inverse): the fact as v tells it
        z = self.relation.roll(self.num_relations, 0)
        hidden = []
        layers = cast(Iterable[CompGCNConv], self.layers)
        outputs = cast(Iterable[LayerOutput], self.outputs)
        for layer, output in zip(layers, outputs, strict=True):
            result, relations = run_layer(layer.propagate, x, z, plan, recompute=self.recompute)
            x = output(x, result)
            z = relations if output.gate is None else z + output.gate * relations
            hidden.append(x)
        entity = x if self.jump is None else inputs + self.jump * x
        z = z.roll(self.num_relations, 0)
        if self.relation_projection is not None:
            z = self.relation_projection(z)
        return Representations(entity, z, tuple(hidden))

    @torch.no_grad()
    def initialise(self, decoder: Decoder) -> None:
        """Draw inputs and relation vectors as ``decoder`` wants them.

        Where relations are projected, the projection starts at the size that the decoder's own
        fresh relation vectors have.
        """
        self.inputs.initialise(decoder)
        if self.relation_projection is None:
            decoder.initialise(None, self.relation)
            return
        nn.init.xavier_normal_(self.relation)
        weight = self.relation_projection.weight  # [D', D]
        wanted = weight.new_empty(max(2 * self.num_relations, 1), weight.shape[0])
        decoder.initialise(None, wanted)
        size = self.relation.square().mean().sqrt() if self.num_relations else weight.new_ones(())
        spread = wanted.square().mean().sqrt() / (size * weight.shape[1] ** 0.5)
        weight.normal_().mul_(spread)


def directional_plan(
    edge_index: Tensor, edge_type: Tensor, num_rows: int, num_relations: int
) -> RelationalCSR:
    """Edges sorted per direction, with CompGCN's weights n_uv.

    Args:
        edge_index: [2, M] int64, source above target.
        edge_type: [M] int64, in [0, num_relations).
        num_rows: N.
        num_relations: Edge types, 2R; the second half is the inverse direction.

    Returns:
        A plan of 2N rows from N sources: row 2v holds the original edges into v, row 2v + 1 the
        inverse ones.

    Raises:
        ValueError: If shapes disagree or an id is out of range.
    """
    RelationalCSR.check(edge_index, edge_type, num_rows, num_relations)
    shift = (edge_type >= num_relations // 2).long()
    source, target = 2 * edge_index[0] + shift, 2 * edge_index[1] + shift  # [M] per direction
    out_degree = torch.bincount(source, minlength=2 * num_rows).double()
    in_degree = torch.bincount(target, minlength=2 * num_rows).double()
    return RelationalCSR(
        torch.stack([edge_index[0], target]),
        edge_type,
        2 * num_rows,
        num_relations,
        num_sources=num_rows,
        edge_weight=(out_degree[source] * in_degree[target]).rsqrt(),
    )


def circular_correlation(x: Tensor, z: Tensor) -> Tensor:
    """sum_i x_i z_{(i + k) mod D} at each k: [*, D], [*, D] -> [*, D]."""
    if not x.numel():  # which no Fourier transform takes
        return x * z
    spectrum = torch.fft.rfft(_wide(x)).conj() * torch.fft.rfft(_wide(z))
    return torch.fft.irfft(spectrum, n=x.shape[-1])


def _subtract_sum(plan: RelationalCSR, x: Tensor, z: Tensor) -> Tensor:
    return relational_spmm(plan, x, z, op="sub")


def _multiply_sum(plan: RelationalCSR, x: Tensor, z: Tensor) -> Tensor:
    return relational_spmm(plan, x, z, op="mul")


def _correlate_sum(plan: RelationalCSR, x: Tensor, z: Tensor) -> Tensor:
    """The sums' Fourier transforms: [2N, 2F]."""
    x, z = _wide(x), _wide(z)
    spectrum = _fourier(x)
    conjugate = torch.cat([spectrum.chunk(2, dim=1)[0], -spectrum.chunk(2, dim=1)[1]], dim=1)
    return relational_spmm(plan, x @ conjugate, z @ spectrum, op="complex_mul")


def _fourier(like: Tensor) -> Tensor:
    """The transform of real vectors as a matrix, real halves first: [D, 2F], F = D // 2 + 1."""
    unit = torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)
    transformed = torch.fft.rfft(unit)
    return torch.cat([transformed.real, transformed.imag], dim=1)


def _inverse_fourier(width: int, like: Tensor) -> Tensor:
    """Its inverse as a matrix: [2F, D]."""
    unit = torch.eye(len(torch.fft.rfftfreq(width)), dtype=like.dtype, device=like.device)
    zero = torch.zeros_like(unit)
    halves = torch.complex(unit, zero), torch.complex(zero, unit)
    return torch.cat([torch.fft.irfft(half, n=width) for half in halves])


def _wide(vectors: Tensor) -> Tensor:
    """Half-width floats (under autocast) as float32, which Fourier transforms need."""
    return vectors if vectors.dtype in (torch.float32, torch.float64) else vectors.float()


_COMPOSED_SUMS: dict[str, Callable[[RelationalCSR, Tensor, Tensor], Tensor]] = {
    "sub": _subtract_sum,
    "mult": _multiply_sum,
    "corr": _correlate_sum,
}
_COMPOSITIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mult": torch.mul,
    "corr": circular_correlation,
}
