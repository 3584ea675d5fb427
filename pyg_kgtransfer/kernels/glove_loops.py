"""The compiled loops of GloVe: AdaGrad, pair after pair. Imported where Numba is installed only."""

import numpy as np
from numba import njit, prange

_SUMS = {"contract", "reassoc"}  # a loss that is no longer a number must be seen


@njit(parallel=True, error_model="numpy", cache=True)
def shuffle_tiles(order, tiles, seed):
    """Shuffle ``order`` within each tile: positions ``tiles[t]`` to ``tiles[t + 1]``."""
    for t in prange(len(tiles) - 1):
        np.random.seed(seed + t)
        np.random.shuffle(order[tiles[t] : tiles[t + 1]])


@njit(parallel=True, fastmath=_SUMS, error_model="numpy", cache=True)
def adagrad_pass(order, tiles, visits, strata, given, tables, rate):
    """One pass over all pairs; returns the sum of weight * (score - log)^2.

    Args:
        order: [P] positions of pairs, tile after tile.
        tiles: [tiles + 1] where each tile's pairs begin.
        visits: Tiles in the order of their visit, stratum after stratum.
        strata: [G * G + 1] where the visits of each stratum begin; stratum g * G + h has words of
            group g and contexts of group h, so that G of them may go side by side.
        given: Row, column, logarithm and weight of each pair.
        tables: Word and context vectors, their biases, and the sums of squared gradients of all
            four in the same order.
        rate: Of learning.
    """
    groups = int(np.sqrt(len(strata) - 1))
    sums = np.zeros(len(strata) - 1)
    for shift in range(groups):
        for g in prange(groups):
            stratum = g * groups + (g + shift) % groups
            for visit in range(strata[stratum], strata[stratum + 1]):
                tile = visits[visit]
                part = order[tiles[tile] : tiles[tile + 1]]
                sums[stratum] += _adagrad(part, given, tables, np.float32(rate))
    return sums.sum()


@njit(fastmath=_SUMS, error_model="numpy", cache=True)
def _adagrad(order, given, tables, rate):
    row, column, log, weight = given
    word, context, word_bias, context_bias, w2, c2, wb2, cb2 = tables
    width, total = word.shape[1], 0.0
    for p in order:
        i, j = row[p], column[p]
        w, c, ws, cs = word[i], context[j], w2[i], c2[j]
        score = np.float32(0.0)
        for d in range(width):
            score += w[d] * c[d]
        gap = score + word_bias[i] + context_bias[j] - log[p]
        pull = weight[p] * gap
        total += pull * gap
        _step(w, c, ws, cs, pull, rate)
        word_bias[i] -= rate * pull / np.sqrt(wb2[i])
        context_bias[j] -= rate * pull / np.sqrt(cb2[j])
        wb2[i] += pull * pull
        cb2[j] += pull * pull
    return total


@njit(fastmath=_SUMS, error_model="numpy", cache=True)
def _step(w, c, ws, cs, pull, rate):
    """Both vectors of a pair, and their sums of squared gradients."""
    for d in range(len(w)):
        of_w, of_c = pull * c[d], pull * w[d]
        w[d] -= rate * of_w / np.sqrt(ws[d])
        c[d] -= rate * of_c / np.sqrt(cs[d])
        ws[d] += of_w * of_w
        cs[d] += of_c * of_c
