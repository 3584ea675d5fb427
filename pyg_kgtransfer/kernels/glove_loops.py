"""The compiled loop of GloVe: AdaGrad, pair after pair. Imported where Numba is installed only."""

import math

from numba import njit


@njit(fastmath={"contract", "reassoc"}, cache=True)
def adagrad_pass(order, row, column, log, weight, tables, rate):
    """One pass over pairs in ``order``; returns the sum of weight * (score - log)^2.

    ``tables``: word and context vectors, their biases, and the sums of squared gradients of all
    four in the same order.
    """
    word, context, word_bias, context_bias, w2, c2, wb2, cb2 = tables
    width, total = word.shape[1], 0.0
    for at in range(len(order)):
        p = order[at]
        i, j = row[p], column[p]
        w, c, ws, cs = word[i], context[j], w2[i], c2[j]
        score = word_bias[i] + context_bias[j]
        for d in range(width):
            score += w[d] * c[d]
        gap = score - log[p]
        pull = weight[p] * gap
        total += pull * gap
        for d in range(width):
            of_w, of_c = pull * c[d], pull * w[d]
            w[d] -= rate * of_w / math.sqrt(ws[d])
            c[d] -= rate * of_c / math.sqrt(cs[d])
            ws[d] += of_w * of_w
            cs[d] += of_c * of_c
        word_bias[i] -= rate * pull / math.sqrt(wb2[i])
        context_bias[j] -= rate * pull / math.sqrt(cb2[j])
        wb2[i] += pull * pull
        cb2[j] += pull * pull
    return total
