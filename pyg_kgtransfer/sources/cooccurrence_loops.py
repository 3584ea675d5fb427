"""The compiled loop that counts pairs of words. Imported where Numba is installed only."""

import numpy as np
from numba import njit

_SPREAD = np.int64(-7046029254386353131)  # 2^64 / the golden ratio, odd: spreads keys over slots
_EMPTY = -1


@njit(cache=True)
def slot_of(pair, pairs):
    """Where a pair is in the table, or may be put."""
    mask = len(pairs) - 1
    at = ((pair * _SPREAD) >> 20) & mask
    while pairs[at] != _EMPTY and pairs[at] != pair:
        at = (at + 1) & mask
    return at


@njit(cache=True)
def add_pairs(ids, start, window, number, pairs, sums, used, most):
    """Add 1 / distance for each word and those before it in its line, from ``start`` on.

    It stops behind the line in which more than ``most`` slots came to be in use. Returns where, and
    how many are in use.
    """
    near = np.empty(window, np.int64)
    before = 0
    for at in range(start, len(ids)):
        word = np.int64(ids[at])
        if word < 0:
            before = 0
            if used > most:
                return at + 1, used
            continue
        for distance in range(1, min(before, window) + 1):
            other = near[(before - distance) % window]
            low, high = (word, other) if word < other else (other, word)
            pair = low * number + high
            slot = slot_of(pair, pairs)
            if pairs[slot] == _EMPTY:
                pairs[slot] = pair
                used += 1
            sums[slot] += 1.0 / distance
        near[before % window] = word
        before += 1
    return len(ids), used
