"""Sums over the edges of a graph of what a node and a relation make together, on some engine.

``out[v] = sum over the edges (u, r) -> v of w * (x_u op z_r)``: one operator behind every layer
that passes messages over relations. Nothing of the size edges x D is made by a fused engine.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pyg_kgtransfer.kernels import torch_engine
from pyg_kgtransfer.kernels.engines import engine_for, engine_name
from pyg_kgtransfer.kernels.products import Product
from pyg_kgtransfer.kernels.relational_csr import RelationalCSR

_FEW_NUMBERS = 1 << 22  # of which a table may always be made, 16 MB in float32
OPERATORS = ("copy", "add", "sub", "mul", "complex_mul")
REDUCTIONS = ("sum", "mean", "max")


def relational_spmm(
    plan: RelationalCSR,
    x: Tensor,
    z: Tensor | None = None,
    *,
    op: str = "copy",
    reduce: str = "sum",
    weight: Tensor | None = None,
) -> Tensor:
    """out[v] = the sum, mean or maximum over the edges (u, r) -> v of w * (x_u op z_r).

    Float32 and float64 stay what they are; narrower floats are summed in float32. Rows without
    edges are 0. Of equal maxima the first edge in the plan's order gets the gradient. Gradients
    of gradients are refused (``RuntimeError``).

    Args:
        plan: The edges.
        x: [S, D] source vectors, or [S, B, D]: B states per node, as in conditional message
            passing (NBFNet, ULTRA).
        z: [R, D] relation vectors, or [R, B, D]; for every ``op`` but ``"copy"``.
        op: ``"copy"`` (x_u alone), ``"add"``, ``"sub"`` (x_u - z_r), ``"mul"`` (elementwise) or
            ``"complex_mul"`` (complex numbers stored as reals, the real halves first).
        reduce: ``"sum"``; ``"mean"``, the sum over the number of edges into v; or ``"max"``,
            elementwise (not with ``"complex_mul"``).
        weight: [M] the w, one per edge in the order that the plan was given them, with gradients;
            they multiply the plan's own. ``None``: the plan's own alone.

    Returns:
        [N, D], or [N, B, D].

    Raises:
        ValueError: If shapes, types or devices do not fit, a weight is not finite (looked for on
            the CPU alone), a name is unknown, or the forced engine cannot work here.

    Example:
        >>> plan = RelationalCSR(torch.tensor([[0, 1], [2, 2]]), torch.tensor([0, 1]), 3, 2)
        >>> x, z = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[3.0], [5.0]])
        >>> relational_spmm(plan, x, z, op="mul").view(-1).tolist()  # 1 * 3 + 2 * 5
        [0.0, 0.0, 13.0]
        >>> relational_spmm(plan, x, z, op="sub", reduce="max").view(-1).tolist()
        [0.0, 0.0, -2.0]
    """
    _check(plan, x, z, op, reduce, weight)
    shape = (plan.num_rows, *x.shape[1:])
    flat = _flat(x, op)
    relations = None if z is None else _flat(_batched(z, x), op)
    if weight is not None:
        weight = plan.in_order(weight)
    result: Tensor
    if reduce == "max":
        result = _maximum(plan, flat, relations, op, weight)
    else:
        result = _sum(plan, flat, relations, op, weight)
        if reduce == "mean":
            result = result / plan.in_degree.clamp(min=1).to(result.dtype).unsqueeze(1)
    return _unflat(result, shape, op)


def _sum(
    plan: RelationalCSR, x: Tensor, z: Tensor | None, op: str, weight: Tensor | None
) -> Tensor:
    if z is None:
        return plan.neighbour_sum(x, weight)
    if op in ("add", "sub"):
        of_relations = plan.relation_sum(z) if weight is None else plan.relation_edges(z, weight)
        total = plan.neighbour_sum(x, weight)
        return total + of_relations if op == "add" else total - of_relations
    kind = Product.REAL if op == "mul" else Product.COMPLEX
    if engine_name(x.device) == "torch" and _pairs_fit(plan, x):
        return _pair_product(plan, x, z, weight, kind)
    fused: Tensor = _fused_product(plan, x, z, weight, kind)
    return fused


def _pairs_fit(plan: RelationalCSR, x: Tensor) -> bool:
    """Whether a row per (source, relation) is far less than a row per edge, or little."""
    pairs = len(plan.source_pairs.relation)
    return 2 * pairs <= plan.num_edges or pairs * x.shape[1] <= _FEW_NUMBERS


def _pair_product(
    plan: RelationalCSR, x: Tensor, z: Tensor, weight: Tensor | None, kind: Product
) -> Tensor:
    """Products once per distinct (source, relation), not once per edge."""
    pairs = plan.source_pairs
    return pairs.scatter(kind.of(pairs.gather(x), pairs.relation_gather(z)), weight)


class _FusedProduct(torch.autograd.Function):
    """Sums of products, and their gradients as sums over the same edges in other orders."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, z: Tensor, weight: Tensor | None, plan: RelationalCSR, kind: Product
    ) -> Tensor:
        ctx.save_for_backward(x, z, weight)
        ctx.plan, ctx.kind, ctx.engine = plan, kind, _Fused.on(x.device)
        weights = plan.by_target.weights(_weight_type(x), weight)
        out: Tensor = ctx.engine.product_sum(plan.by_target, x, z, weights, kind)
        return out

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        x, z, weight = ctx.saved_tensors
        plan, kind, engine = ctx.plan, ctx.kind, ctx.engine
        grad = grad.contiguous()
        of_x = of_z = of_weight = None
        if ctx.needs_input_grad[0]:
            weights = plan.by_source.weights(_weight_type(x), weight)
            of_x = engine.product_sum(plan.by_source, grad, z, weights, kind.gradient)
        if ctx.needs_input_grad[1]:
            weights = plan.by_relation.weights(_weight_type(x), weight)
            of_z = engine.product_sum(plan.by_relation, grad, x, weights, kind.gradient)
        if ctx.needs_input_grad[2]:
            dots = engine.product_dots(plan.by_target, grad, x, z, kind).to(weight.dtype)
            of_weight = torch.empty_like(dots).index_copy(0, plan.by_target.edge, dots)
        return of_x, of_z, of_weight, None, None


class _Fused(NamedTuple):
    """The functions of an engine that multiplies while it sums."""

    product_sum: Callable[..., Tensor]
    product_dots: Callable[..., Tensor]

    @classmethod
    def on(cls, device: torch.device) -> "_Fused":
        engine = cast(Any, engine_for(device))
        return cls(engine.product_sum, engine.product_dots)


@torch.compiler.disable
def _fused_product(
    plan: RelationalCSR, x: Tensor, z: Tensor, weight: Tensor | None, kind: Product
) -> Tensor:
    dtype = torch.promote_types(x.dtype, z.dtype)
    wide = engine_for(x.device).table_type(dtype)
    given = None if weight is None else weight.to(_weight_type(x.to(wide)))
    result: Tensor = _FusedProduct.apply(x.to(wide), z.to(wide), given, plan, kind)
    return result.to(dtype)


def _weight_type(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


class _Maximum(torch.autograd.Function):
    """Maxima forward; backward to the edge that has each."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, z: Tensor | None, weight: Tensor, plan: RelationalCSR, op: str
    ) -> Tensor:
        edges = plan.by_target
        best, place = torch_engine.maxima(edges, _COMBINE.get(op), x, z, weight[edges.edge])
        ctx.save_for_backward(x, z, weight, place)
        ctx.plan, ctx.op = plan, op
        return best

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        x, z, weight, place = ctx.saved_tensors
        edges, none = ctx.plan.by_target, place < 0
        place = place.clamp(min=0)
        if not len(edges.edge):
            of_z = None if z is None else torch.zeros_like(z)
            return torch.zeros_like(x), of_z, torch.zeros_like(weight), None, None
        grad = grad.masked_fill(none, 0.0)
        first, second = edges.first[place].long(), edges.second[place].long()  # [N, D]
        edge = edges.edge[place]
        scaled = grad * weight[edge]
        of_x, of_z, message = scaled, scaled, x.gather(0, first)
        if z is not None:
            other = z.gather(0, second)
            if ctx.op == "mul":
                of_x, of_z, message = scaled * other, scaled * message, message * other
            elif ctx.op == "sub":
                of_z, message = -scaled, message - other
            else:
                message = message + other
        return (
            torch.zeros_like(x).scatter_add_(0, first, of_x),
            None if z is None else torch.zeros_like(z).scatter_add_(0, second, of_z),
            torch.zeros_like(weight).scatter_add_(0, edge.flatten(), (grad * message).flatten()),
            None,
            None,
        )


_COMBINE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
}


@torch.compiler.disable
def _maximum(
    plan: RelationalCSR, x: Tensor, z: Tensor | None, op: str, weight: Tensor | None
) -> Tensor:
    dtype = x.dtype if z is None else torch.promote_types(x.dtype, z.dtype)
    wide = torch.promote_types(dtype, torch.float32)
    if weight is None:
        weight = x.new_ones(plan.num_edges) if plan.weight is None else plan.weight
    given = None if z is None else z.to(wide)
    result: Tensor = _Maximum.apply(x.to(wide), given, weight.to(wide), plan, op)
    return result.to(dtype)


def _batched(z: Tensor, x: Tensor) -> Tensor:
    """Relation vectors for every state of a node: [R, D] -> [R, B, D] where x is [S, B, D]."""
    if z.dim() == x.dim():
        return z
    return z.unsqueeze(1).expand(-1, x.shape[1], -1)


def _flat(table: Tensor, op: str) -> Tensor:
    """[S, B, D] as [S, B D]; complex halves stay first and last."""
    if table.dim() == 2:
        return table
    if op == "complex_mul":
        table = table.unflatten(2, (2, -1)).transpose(1, 2)
    return table.flatten(1)


def _unflat(result: Tensor, shape: tuple[int, ...], op: str) -> Tensor:
    if len(shape) == 2:
        return result
    if op == "complex_mul":
        halves = result.view(shape[0], 2, shape[1], shape[2] // 2)
        return halves.transpose(1, 2).flatten(2)
    return result.view(shape)


def _check(
    plan: RelationalCSR,
    x: Tensor,
    z: Tensor | None,
    op: str,
    reduce: str,
    weight: Tensor | None,
) -> None:
    for name, value, known in (("op", op, OPERATORS), ("reduce", reduce, REDUCTIONS)):
        if value not in known:
            raise ValueError(f"{name} is one of {', '.join(known)} (got {value!r})")
    if (z is None) != (op == "copy"):
        wanted = "takes no relation vectors" if op == "copy" else "needs relation vectors"
        raise ValueError(f"op {op!r} {wanted} (got {'none' if z is None else list(z.shape)})")
    if op == "complex_mul" and reduce == "max":
        raise ValueError("complex numbers have no maximum (got op 'complex_mul', reduce 'max')")
    tables = {"x": (x, plan.num_sources)} | ({} if z is None else {"z": (z, plan.num_relations)})
    for name, (table, rows) in tables.items():
        if table.dim() not in (2, 3) or len(table) != rows:
            raise ValueError(f"{name} must have shape [{rows}, D] (got {list(table.shape)})")
        if not table.is_floating_point():
            raise ValueError(f"{name} must be floats (got {table.dtype})")
    if z is not None:
        same_batch = z.dim() == 2 or z.shape[1] == x.shape[1]
        if x.shape[-1] != z.shape[-1] or z.dim() > x.dim() or not same_batch:
            raise ValueError(
                f"x and z must be equally wide (got {list(x.shape[1:])} and {list(z.shape[1:])})"
            )
    if op == "complex_mul" and x.shape[-1] % 2:
        raise ValueError(f"complex vectors have an even width (got {x.shape[-1]})")
    if weight is not None:
        if weight.shape != (plan.num_edges,) or not weight.is_floating_point():
            raise ValueError(
                f"weight must be floats of shape [{plan.num_edges}], one per edge "
                f"(got {weight.dtype} {list(weight.shape)})"
            )
        if weight.device.type == "cpu" and not bool(torch.isfinite(weight).all()):
            edge = int((~torch.isfinite(weight)).nonzero()[0])
            raise ValueError(f"weights must be finite (got {weight[edge].item()} at edge {edge})")
    for name, given in (("x", x), ("z", z), ("weight", weight)):
        if given is not None and given.device != plan.device:
            raise ValueError(
                f"{name} must be where the edges are, on {plan.device} (got {given.device})"
            )
