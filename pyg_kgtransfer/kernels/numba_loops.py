"""The compiled loops of the CPU: rows in parallel, nothing of an edge's or a pair's size written.

Imported where Numba is installed only. Loops over edges read ``offsets`` (where each row starts)
and ``bounds`` (the rows of each thread); those over pairs know four scores of two vectors, see
``score``.
"""

import math

import numpy as np
from numba import njit, prange

DOT, L1, L2, MODULUS = range(4)

# contract: a * b + c in one instruction; reassoc: sums in lanes; NaN and infinity stay as they are
loop = njit(parallel=True, fastmath={"contract", "reassoc"}, cache=True)
inner = njit(fastmath={"contract", "reassoc"}, cache=True)


@loop
def weighted_sum(offsets, bounds, columns, weights, table, out):
    """Fill out[row] = sum of weight table[column] over the row's entries."""
    width = table.shape[1]
    for run in prange(len(bounds) - 1):
        for row in range(bounds[run], bounds[run + 1]):
            for d in range(width):
                out[row, d] = 0
            for entry in range(offsets[row], offsets[row + 1]):
                x, weight = table[columns[entry]], weights[entry]
                for d in range(width):
                    out[row, d] += weight * x[d]


@loop
def add_to_columns(offsets, columns, weights, table, parts, out):
    """Add weight table[row] to out[column] for each entry; each thread has a part of the width."""
    width = table.shape[1]
    for part in prange(parts):
        start, stop = part * width // parts, (part + 1) * width // parts
        for row in range(len(offsets) - 1):
            x = table[row, start:stop]
            for entry in range(offsets[row], offsets[row + 1]):
                total, weight = out[columns[entry], start:stop], weights[entry]
                for d in range(len(x)):
                    total[d] += weight * x[d]


@loop
def multiply_sum(offsets, bounds, a, b, weights, first, second, out):
    """Fill out[row] = sum of weight first[a] * second[b] over the row's edges."""
    width = first.shape[1]
    for run in prange(len(bounds) - 1):
        for row in range(bounds[run], bounds[run + 1]):
            for d in range(width):
                out[row, d] = 0
            for edge in range(offsets[row], offsets[row + 1]):
                x, z, weight = first[a[edge]], second[b[edge]], weights[edge]
                for d in range(width):
                    out[row, d] += weight * x[d] * z[d]


@loop
def complex_multiply_sum(offsets, bounds, a, b, weights, first, second, sign, out):
    """The same of complex numbers; ``sign`` -1: of first and the conjugate of second."""
    half = first.shape[1] // 2
    for run in prange(len(bounds) - 1):
        for row in range(bounds[run], bounds[run + 1]):
            for d in range(2 * half):
                out[row, d] = 0
            for edge in range(offsets[row], offsets[row + 1]):
                x, z, weight = first[a[edge]], second[b[edge]], weights[edge]
                for d in range(half):
                    real, imaginary = weight * x[d], weight * x[half + d]
                    turned = sign * z[half + d]
                    out[row, d] += real * z[d] - imaginary * turned
                    out[row, half + d] += real * turned + imaginary * z[d]


@loop
def row_dots(offsets, bounds, columns, left, right, out):
    """Fill out[entry] = left[row] . right[column]."""
    for run in prange(len(bounds) - 1):
        for row in range(bounds[run], bounds[run + 1]):
            for entry in range(offsets[row], offsets[row + 1]):
                out[entry] = score(DOT, left[row], right[columns[entry]])


@loop
def multiply_dots(offsets, bounds, a, b, left, first, second, out):
    """Fill out[edge] = left[row] . (first[a] * second[b])."""
    for run in prange(len(bounds) - 1):
        for row in range(bounds[run], bounds[run + 1]):
            g = left[row]
            for edge in range(offsets[row], offsets[row + 1]):
                x, z = first[a[edge]], second[b[edge]]
                total = out[edge] * 0
                for d in range(len(x)):
                    total += g[d] * x[d] * z[d]
                out[edge] = total


@loop
def complex_multiply_dots(offsets, bounds, a, b, left, first, second, sign, out):
    """The same of complex numbers, see ``complex_multiply_sum``."""
    half = first.shape[1] // 2
    for run in prange(len(bounds) - 1):
        for row in range(bounds[run], bounds[run + 1]):
            g = left[row]
            for edge in range(offsets[row], offsets[row + 1]):
                x, z = first[a[edge]], second[b[edge]]
                total = out[edge] * 0
                for d in range(half):
                    turned = sign * z[half + d]
                    total += g[d] * (x[d] * z[d] - x[half + d] * turned)
                    total += g[half + d] * (x[d] * turned + x[half + d] * z[d])
                out[edge] = total


@inner
def score(kind, a, b):
    """Give a . b, -|a - b|_1, -|a - b|_2, or minus the sum of the complex moduli of a - b."""
    total = a[:1].sum() * 0  # of the type of a
    if kind == DOT:
        for d in range(len(a)):
            total += a[d] * b[d]
    elif kind == L1:
        for d in range(len(a)):
            total -= abs(a[d] - b[d])
    elif kind == L2:
        for d in range(len(a)):
            total += (a[d] - b[d]) * (a[d] - b[d])
        total = -math.sqrt(total)
    else:
        half = len(a) // 2
        for d in range(half):
            real, imaginary = a[d] - b[d], a[half + d] - b[half + d]
            total -= math.sqrt(real * real + imaginary * imaginary)
    return total


@inner
def pull(kind, a, b, found, g, out):
    """Add to out g * d score(a, b) / d a, where ``found`` is the score; 0 where a distance is 0."""
    if kind == DOT:
        for d in range(len(a)):
            out[d] += g * b[d]
    elif kind == L1:
        for d in range(len(a)):
            out[d] -= g * np.sign(a[d] - b[d])
    elif kind == L2:
        if found != 0:
            share = g / found
            for d in range(len(a)):
                out[d] += share * (a[d] - b[d])
    else:
        half = len(a) // 2
        for d in range(half):
            real, imaginary = a[d] - b[d], a[half + d] - b[half + d]
            size = math.sqrt(real * real + imaginary * imaginary)
            share = g / size if size > 0 else g * 0
            out[d] -= share * real
            out[half + d] -= share * imaginary


@inner
def apart(kind, real, imaginary):
    """What two numbers of a difference add to its size, squared for L2."""
    if kind == L1:
        return abs(real) + abs(imaginary)
    squares = real * real + imaginary * imaginary
    return squares if kind == L2 else math.sqrt(squares)


@loop
def distances_of_all(kind, query, table, tile, out):
    """Fill out[b, n] = score(query[b], table[n]), but for DOT.

    A tile of the table is turned over and stays in the cache: candidates fill the lanes, so that
    nothing is summed across them, and eight numbers of each are added before a sum is stored.
    """
    width = query.shape[1]
    half, none = width // 2, table.dtype.type(0)
    whole = half // 4 * 4
    for t in prange((len(table) + tile - 1) // tile):
        start, stop = t * tile, min(len(table), (t + 1) * tile)
        p = np.ascontiguousarray(table[start:stop].T)  # [D, tile]
        for b in range(len(query)):
            q, line = query[b], out[b, start:stop]
            for n in range(len(line)):
                line[n] = 0
            for d in range(0, whole, 4):
                q0, q1, q2, q3 = q[d], q[d + 1], q[d + 2], q[d + 3]
                p0, p1, p2, p3 = p[d], p[d + 1], p[d + 2], p[d + 3]
                e = half + d
                r0, r1, r2, r3 = q[e], q[e + 1], q[e + 2], q[e + 3]
                s0, s1, s2, s3 = p[e], p[e + 1], p[e + 2], p[e + 3]
                for n in range(len(line)):
                    line[n] += (
                        apart(kind, q0 - p0[n], r0 - s0[n]) + apart(kind, q1 - p1[n], r1 - s1[n])
                    ) + (apart(kind, q2 - p2[n], r2 - s2[n]) + apart(kind, q3 - p3[n], r3 - s3[n]))
            for d in range(whole, half):
                for n in range(len(line)):
                    line[n] += apart(kind, q[d] - p[d, n], q[half + d] - p[half + d, n])
            for d in range(2 * half, width):  # the last number of an odd width
                for n in range(len(line)):
                    line[n] += apart(kind, q[d] - p[d, n], none)
            for n in range(len(line)):
                line[n] = -math.sqrt(line[n]) if kind == L2 else -line[n]


@loop
def pull_all(kind, of, other, found, grad, out):
    """Fill out[i] = sum over j of grad[i, j] d score(of[i], other[j]) / d of[i]."""
    for i in prange(len(of)):
        for d in range(of.shape[1]):
            out[i, d] = 0
        for j in range(len(other)):
            if grad[i, j] != 0:
                pull(kind, of[i], other[j], found[i, j], grad[i, j], out[i])


@loop
def scores_of_own(kind, query, table, index, out):
    """Fill out[b, k] = score(query[b], table[index[b, k]])."""
    for b in prange(len(query)):
        for k in range(index.shape[1]):
            out[b, k] = score(kind, query[b], table[index[b, k]])


@loop
def pull_queries(kind, query, table, index, found, grad, out):
    """Fill out[b] = the gradient of each query over its own candidates."""
    for b in prange(len(query)):
        for d in range(query.shape[1]):
            out[b, d] = 0
        for k in range(index.shape[1]):
            pull(kind, query[b], table[index[b, k]], found[b, k], grad[b, k], out[b])


@njit(cache=True)
def places_by_row(flat, rows):
    """A counting sort: offsets [rows + 1], and the places of ``flat`` row by row, in order."""
    offsets = np.zeros(rows + 1, np.int64)
    for row in flat:
        offsets[row + 1] += 1
    for row in range(rows):
        offsets[row + 1] += offsets[row]
    free, places = offsets[:-1].copy(), np.empty(len(flat), np.int64)
    for place in range(len(flat)):
        places[free[flat[place]]] = place
        free[flat[place]] += 1
    return offsets, places


@loop
def pull_candidates(kind, query, table, offsets, bounds, places, found, grad, out):
    """Fill out[n] = the gradient of each row of the table over the pairs that it is in."""
    each = found.shape[1]
    for run in prange(len(bounds) - 1):
        for n in range(bounds[run], bounds[run + 1]):
            for d in range(table.shape[1]):
                out[n, d] = 0
            for at in range(offsets[n], offsets[n + 1]):
                b, k = places[at] // each, places[at] % each
                pull(kind, table[n], query[b], found[b, k], grad[b, k], out[n])


@loop
def count_above(scores, known_offsets, known, true_offsets, true, greater, equal, competing, wrong):
    """Filtered counts of each true answer, row by row; ``wrong[row]``: a score is not finite."""
    for row in prange(len(scores)):
        line = scores[row].copy()
        broken = False
        for column in range(len(line)):
            broken |= line[column] - line[column] != 0
        wrong[row] = broken
        left = len(line)
        for offsets, columns in ((known_offsets, known), (true_offsets, true)):
            for at in range(offsets[row], offsets[row + 1]):
                if line[columns[at]] != -np.inf:
                    line[columns[at]] = -np.inf
                    left -= 1
        for at in range(true_offsets[row], true_offsets[row + 1]):
            mine, above, same = scores[row, true[at]], 0, 0
            for column in range(len(line)):
                above += line[column] > mine
                same += line[column] == mine
            greater[at], equal[at], competing[at] = above, same, left + 1
