"""R-GCN: one linear map per relation, each a mean over neighbours; basis and block-diagonal."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from pyg_kgtransfer.graph.knowledge_graph import GraphTensors
from pyg_kgtransfer.kernels.plans import Edges, PlanCache, plain_edges
from pyg_kgtransfer.kernels.relation_matmul import basis_sum, block_sum
from pyg_kgtransfer.kernels.relational_csr import RelationalCSR
from pyg_kgtransfer.models.decoders import Decoder
from pyg_kgtransfer.models.encoder import (
    Encoder,
    LayerOptions,
    LayerOutput,
    Representations,
    run_layer,
)
from pyg_kgtransfer.models.inputs import EntityInput


class RGCNConv(nn.Module):
    """x'_i = W_0 x_i + sum_r 1 / c_{i,r} sum_{j in N_r(i)} W_r x_j + b.

    c_{i,r} counts the edges of relation r into i, repeated ones as often as they occur: the inner
    sum is the exact mean per (target, relation). Vectors are averaged before they are transformed,
    so nothing of the size of edges x matrices is made.

    Args:
        in_width: Width of the vectors that enter.
        out_width: Width of the vectors that leave.
        num_relations: Edge types in ``edge_type``; inverses, where there are any, count as such.
        num_bases: B, share W_r = sum_b a_{r,b} V_b; ``None``: do not.
        num_blocks: Make W_r block-diagonal with so many blocks; ``None``: full matrices.

    Raises:
        ValueError: If both ways to save parameters are asked for, or the blocks do not divide the
            widths.

    Source: Schlichtkrull et al. 2018, "Modeling Relational Data with Graph Convolutional
    Networks", arXiv 1703.06103, eq. 2-4. The bias is ours.

    Example:
        >>> conv = RGCNConv(4, 6, num_relations=2, num_bases=2)
        >>> conv(torch.ones(3, 4), torch.tensor([[0, 1], [2, 2]]), torch.tensor([0, 1])).shape
        torch.Size([3, 6])
    """

    def __init__(
        self,
        in_width: int,
        out_width: int,
        num_relations: int,
        *,
        num_bases: int | None = None,
        num_blocks: int | None = None,
    ) -> None:
        super().__init__()
        _check_savings(in_width, out_width, num_bases, num_blocks)
        self.in_width, self.out_width = in_width, out_width
        self.num_relations = num_relations
        self.num_bases = num_bases
        self.num_blocks = num_blocks
        if num_bases is not None:
            self.weight = nn.Parameter(torch.empty(num_bases, in_width, out_width))
            self.coefficient = nn.Parameter(torch.empty(num_relations, num_bases))
        else:
            blocks = num_blocks or 1  # full matrices are one block
            self.weight = nn.Parameter(
                torch.empty(num_relations, blocks, in_width // blocks, out_width // blocks)
            )
            self.register_parameter("coefficient", None)
        self.self_weight = nn.Parameter(torch.empty(in_width, out_width))
        self.bias = nn.Parameter(torch.empty(out_width))
        self.relation_rows = ("weight",) if num_bases is None else ("coefficient",)
        self._plans = PlanCache()
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the matrices anew: Glorot uniform per matrix; coefficients of size 1 / sqrt(B)."""
        fan = sum(self.weight.shape[-2:])
        bound = (6.0 / fan) ** 0.5
        self.weight.uniform_(-bound, bound)
        if self.coefficient is not None:
            self.coefficient.normal_(std=self.coefficient.shape[1] ** -0.5)
        nn.init.xavier_uniform_(self.self_weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, edge_index: Edges, edge_type: Tensor | None = None) -> Tensor:
        """Vectors after the layer.

        Args:
            x: [N, in_width].
            edge_index: [2, M] int64, source above target; or an ``EdgeIndex``, a ``SparseTensor``
                or a sparse tensor, as PyG's layers take them.
            edge_type: [M] int64, in [0, num_relations); ``None``: the values of a sparse matrix.

        Returns:
            [N, out_width].

        Raises:
            ValueError: If an id is out of range.
        """
        edges, kinds = plain_edges(edge_index, edge_type)
        return self.propagate(x, self._plans(edges, kinds, len(x), self.num_relations))

    def propagate(self, x: Tensor, plan: RelationalCSR) -> Tensor:
        """The same for edges that are sorted already, by ``RelationalCSR``."""
        if self.coefficient is not None:
            messages = basis_sum(plan, x, self.coefficient, self.weight)
        else:
            messages = block_sum(plan, x, self.weight)
        return torch.addmm(messages + self.bias, x, self.self_weight)

    def extra_repr(self) -> str:
        return (
            f"{self.in_width}, {self.out_width}, num_relations={self.num_relations}, "
            f"num_bases={self.num_bases}, num_blocks={self.num_blocks}"
        )


class RGCN(Encoder):
    """Layers of ``RGCNConv`` over entity inputs, beside a table of relation vectors.

    Args:
        inputs: Gives the entity vectors that enter; their width D is kept by every layer.
        num_relations: R, real ones; the graph's edges also carry their inverses.
        relation_width: D', what the decoder asks for; default D.
        num_bases: As in ``RGCNConv``.
        num_blocks: As in ``RGCNConv``.
        options: What happens around the layers.

    Attributes:
        relation: [2R, D'] relation vectors, inverses included.

    Example:
        >>> from pyg_kgtransfer.graph.knowledge_graph import KnowledgeGraph
        >>> from pyg_kgtransfer.models.inputs import Lookup
        >>> graph = KnowledgeGraph.from_names([("Athens", "capital_of", "Greece")]).tensors()
        >>> RGCN(Lookup(2, 8), 1, num_bases=2)(graph).entity.shape
        torch.Size([2, 8])
    """

    relation_rows = ("relation",)

    def __init__(
        self,
        inputs: EntityInput,
        num_relations: int,
        *,
        relation_width: int | None = None,
        num_bases: int | None = None,
        num_blocks: int | None = None,
        options: LayerOptions | None = None,
    ) -> None:
        super().__init__()
        options = options or LayerOptions(activation=torch.relu)
        width = inputs.width
        self.inputs = inputs
        self.width = width
        self.num_layers = options.num_layers
        self.recompute = options.recompute
        self.num_edge_types = 2 * num_relations
        self.layers = nn.ModuleList(
            RGCNConv(width, width, 2 * num_relations, num_bases=num_bases, num_blocks=num_blocks)
            for _ in range(options.num_layers)
        )
        self.outputs = nn.ModuleList(LayerOutput(width, options) for _ in self.layers)
        self.jump = nn.Parameter(torch.tensor(float(options.gate))) if options.jump else None
        self.relation = nn.Parameter(torch.empty(2 * num_relations, relation_width or width))
        nn.init.xavier_normal_(self.relation)
        self._plans = PlanCache()

    def forward(self, graph: GraphTensors) -> Representations:
        x = inputs = self.inputs(graph.entity).to(self.relation.dtype)
        plan = self._plans(graph.edge_index, graph.edge_type, len(x), self.num_edge_types)
        hidden = []
        layers = cast(Iterable[RGCNConv], self.layers)
        for layer, output in zip(layers, self.outputs, strict=True):
            x = output(x, run_layer(layer.propagate, x, plan, recompute=self.recompute))
            hidden.append(x)
        entity = x if self.jump is None else inputs + self.jump * x
        return Representations(entity, self.relation, tuple(hidden))

    def initialise(self, decoder: Decoder) -> None:
        """Draw inputs and relation vectors as ``decoder`` wants them."""
        self.inputs.initialise(decoder)
        decoder.initialise(None, self.relation)


def _check_savings(
    in_width: int, out_width: int, num_bases: int | None, num_blocks: int | None
) -> None:
    if num_bases is not None and num_blocks is not None:
        raise ValueError(
            f"R-GCN matrices are shared by bases or by blocks, not both "
            f"(got num_bases={num_bases}, num_blocks={num_blocks})"
        )
    if num_bases is not None and num_bases < 1:
        raise ValueError(f"num_bases must be at least 1 (got {num_bases})")
    if num_blocks is not None and (
        num_blocks < 1 or in_width % num_blocks or out_width % num_blocks
    ):
        raise ValueError(
            f"num_blocks must divide the widths {in_width} and {out_width} (got {num_blocks})"
        )
