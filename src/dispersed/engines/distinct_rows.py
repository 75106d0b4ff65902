"""Patterns that are equal, as they are written down, found so that each is weighed once."""

import numpy as np

from dispersed.engines.options import TILE


def distinct_rows(
    codes: np.ndarray, scale: np.ndarray | None, log_w: np.ndarray, height: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The first of the equal rows that weigh most, the log weight of all of them, and its part of that, (m,) each.

    None if no row occurs more often than a tile is large. Rows are compared `height` at a time.
    """
    keys = np.array([hash(row.tobytes()) for row in codes])
    if scale is not None:
        keys ^= np.array([hash((float(one), "scale")) for one in scale])
    _, some, group, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    if counts.max() <= TILE:
        return None
    for start in range(0, len(codes), height):
        here, there = slice(start, start + height), some[group[start : start + height]]
        same = (codes[here] == codes[there]).all() and (scale is None or (scale[here] == scale[there]).all())
        if not same:  # two patterns with one hash
            return None
    # In the order of their groups, in these of their weights, and in that of the patterns.
    order = np.lexsort((-log_w, group))
    first = order[np.cumsum(counts) - counts]
    heaviest = np.maximum(log_w[first], -1e300)
    weight = np.exp(log_w - heaviest[group])
    mass = np.bincount(group, weight)
    with np.errstate(divide="ignore"):
        log_mass = np.where(mass > 0, heaviest + np.log(mass), -np.inf)
    index = np.argsort(first)
    first, log_mass, mass = first[index], log_mass[index], mass[index]
    return first, log_mass, 1 / np.maximum(mass, 1)
