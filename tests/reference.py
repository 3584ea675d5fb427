"""Slow, obvious twins of layers and decoders: dense tensors, Python loops, no cleverness."""

import cmath

import torch
from torch import Tensor

from pyg_kgtransfer.models.compgcn import CompGCNConv
from pyg_kgtransfer.models.rgcn import RGCNConv

Edges = list[tuple[int, int, int]]


def edge_list(edge_index: Tensor, edge_type: Tensor) -> Edges:
    """(source, relation, target) of every edge."""
    return list(
        zip(edge_index[0].tolist(), edge_type.tolist(), edge_index[1].tolist(), strict=True)
    )


def relation_matrices(conv: RGCNConv) -> Tensor:
    """W_r as full matrices: [R, in, out]."""
    matrices = torch.zeros(
        conv.num_relations, conv.in_width, conv.out_width, dtype=conv.weight.dtype
    )
    for relation in range(conv.num_relations):
        if conv.coefficient is not None:
            for basis in range(len(conv.weight)):
                matrices[relation] += conv.coefficient[relation, basis] * conv.weight[basis]
        else:
            matrices[relation] = torch.block_diag(*conv.weight[relation])
    return matrices


def rgcn(conv: RGCNConv, x: Tensor, edge_index: Tensor, edge_type: Tensor) -> Tensor:
    """x'_i = W_0 x_i + sum_r mean_{j in N_r(i)} W_r x_j + b."""
    matrices = relation_matrices(conv)
    edges = edge_list(edge_index, edge_type)
    rows = []
    for node in range(len(x)):
        row = x[node] @ conv.self_weight + conv.bias
        for relation in range(conv.num_relations):
            messages = [
                x[u] @ matrices[relation] for u, r, v in edges if (r, v) == (relation, node)
            ]
            if messages:
                row = row + sum(messages) / len(messages)
        rows.append(row)
    return torch.stack(rows) if rows else x.new_zeros(0, conv.out_width)


def compose(op: str, x: Tensor, z: Tensor) -> Tensor:
    """phi(x, z) of two vectors."""
    if op == "sub":
        return x - z
    if op == "mult":
        return x * z
    width = len(x)
    return torch.stack([sum(x[i] * z[(i + k) % width] for i in range(width)) for k in range(width)])


def compgcn(
    conv: CompGCNConv, x: Tensor, z: Tensor, edge_index: Tensor, edge_type: Tensor
) -> tuple[Tensor, Tensor]:
    """The layer, edge by edge."""
    edges = edge_list(edge_index, edge_type)
    num_relations = conv.num_relations
    rows = [
        compose(conv.op, x[node], conv.loop[0]) @ conv.weight[2] / 3 + conv.bias
        for node in range(len(x))
    ]
    for direction in (0, 1):
        own = [edge for edge in edges if (edge[1] >= num_relations) == bool(direction)]
        for u, r, v in own:
            out_of_u = sum(1 for edge in own if edge[0] == u)
            into_v = sum(1 for edge in own if edge[2] == v)
            message = compose(conv.op, x[u], z[r]) @ conv.weight[direction]
            rows[v] = rows[v] + message / (out_of_u * into_v) ** 0.5 / 3
    entity = torch.stack(rows) if rows else x.new_zeros(0, conv.out_width)
    return entity, z @ conv.relation_weight


def score(decoder: str, head: list[float], relation: list[float], tail: list[float]) -> float:
    """The score of one triple by the decoder of that name (see ``build.DECODERS``)."""
    triple = list(zip(head, relation, tail, strict=False))
    if decoder == "transe_l1":
        return -sum(abs(h + r - t) for h, r, t in triple)
    if decoder == "transe_l2":
        return -(sum((h + r - t) ** 2 for h, r, t in triple) ** 0.5)
    if decoder == "distmult":
        return sum(h * r * t for h, r, t in triple)
    h_complex, t_complex = as_complex(head), as_complex(tail)
    if decoder == "complex":
        return sum(
            (h * r * t.conjugate()).real
            for h, r, t in zip(h_complex, as_complex(relation), t_complex, strict=True)
        )
    if decoder == "rotate":
        return -sum(
            abs(h * cmath.exp(1j * phase) - t)
            for h, phase, t in zip(h_complex, relation, t_complex, strict=True)
        )
    raise ValueError(f"no reference for decoder {decoder!r}")


def as_complex(vector: list[float]) -> list[complex]:
    """The numbers stored as real halves, then imaginary halves."""
    half = len(vector) // 2
    return [complex(vector[i], vector[half + i]) for i in range(half)]
