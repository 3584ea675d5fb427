"""Slow, obvious twins of layers and decoders: dense tensors, Python loops, no cleverness."""

import cmath
import math
import operator

import torch
from torch import Tensor, nn

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


def score(name: str, decoder: nn.Module, *given: list[float]) -> float:
    """The score of (head, relation, tail) by the decoder of that name (see ``build.DECODERS``)."""
    if name in _WITH_WEIGHTS:
        return _WITH_WEIGHTS[name](decoder, *given)
    return _plain_score(name, *given)


def _transr(decoder: nn.Module, head: list, relation: list, tail: list) -> float:
    rank = decoder.rank
    shift, flat = relation[:rank], relation[rank:]
    total = 0.0
    for i in range(rank):
        column = [flat[d * rank + i] for d in range(len(head))]
        of_head, of_tail = (sum(map(operator.mul, v, column)) for v in (head, tail))
        total -= (of_head + shift[i] - of_tail) ** 2
    return total


def _protate(decoder: nn.Module, head: list, relation: list, tail: list) -> float:
    return -decoder.modulus.item() * sum(
        abs(math.sin((h + r - t) / 2)) for h, r, t in zip(head, relation, tail, strict=True)
    )


def _hake(decoder: nn.Module, head: list, relation: list, tail: list) -> float:
    half = len(head) // 2
    phase = modulus = 0.0
    for d in range(half):
        phase += abs(math.sin((head[d] + relation[d] - tail[d]) / 2))
        size, bias = abs(relation[half + d]), relation[2 * half + d]
        bias = max(min(bias, 1.0), -size)
        modulus += (head[half + d] * (size + bias) - tail[half + d] * (1 - bias)) ** 2
    return -decoder.phase_weight.item() * phase - decoder.modulus_weight.item() * modulus**0.5


def _tucker(decoder: nn.Module, head: list, relation: list, tail: list) -> float:
    core, width = decoder.core.tolist(), len(head)
    h = _normed(decoder.norm_entity, head)
    query = [
        sum(core[a][b][c] * h[a] * relation[b]
            for a in range(width) for b in range(len(relation)))
        for c in range(width)
    ]  # fmt: skip
    return sum(map(operator.mul, _normed(decoder.norm_query, query), tail))


def _conve(decoder: nn.Module, head: list, relation: list, tail: list) -> float:
    columns = len(head) // decoder.rows
    image = [v[i * columns : (i + 1) * columns] for v in (head, relation)
             for i in range(decoder.rows)]  # fmt: skip
    image = [[_normed(decoder.norm_image, [x])[0] for x in row] for row in image]
    filters, biases = decoder.convolution.weight.tolist(), decoder.convolution.bias.tolist()
    flat = []
    for channel, (kernel, bias) in enumerate(zip(filters, biases, strict=True)):
        for i in range(len(image) - 2):
            for j in range(columns - 2):
                total = bias + sum(
                    kernel[0][a][b] * image[i + a][j + b] for a in range(3) for b in range(3)
                )
                flat.append(max(0.0, _normed(decoder.norm_maps, [total], first=channel)[0]))
    rows, shift = decoder.project.weight.tolist(), decoder.project.bias.tolist()
    query = [sum(map(operator.mul, row, flat)) + b for row, b in zip(rows, shift, strict=True)]
    query = [max(0.0, x) for x in _normed(decoder.norm_query, query)]
    return sum(map(operator.mul, query, tail))


def _normed(norm: nn.Module, vector: list[float], first: int = 0) -> list[float]:
    """By the running averages, of dimensions from ``first`` on."""
    tables = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    numbers = zip(*(table.tolist()[first : first + len(vector)] for table in tables), strict=True)
    return [
        (x - mean) / (variance + norm.eps) ** 0.5 * scale + shift
        for x, (mean, variance, scale, shift) in zip(vector, numbers, strict=True)
    ]


_WITH_WEIGHTS = {
    "transr": _transr, "protate": _protate, "hake": _hake, "tucker": _tucker, "conve": _conve,
}  # fmt: skip


def _plain_score(decoder: str, head: list, relation: list, tail: list) -> float:
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
