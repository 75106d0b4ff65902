r"""Exact nearest neighbours in any number of points, with bounded memory.

Of ½‖x − y‖² what differs between points y is ½‖y‖² − x·y. It is computed in single precision by products, block by
block, and of each tile of points only the least value stays. The tiles of the k nearest points are those with the k
least values, up to a bound on round-off. The points in these tiles are then compared in double precision by
differences, so neither near-ties nor an offset far from the origin change the result; they only make it slower.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from dispersed.engines import pattern_source
from dispersed.storage import PatternStore, Storage
from dispersed.types import Float, Int
from dispersed.validation import InputError, check_finite, plain_array

TILE = 16
"""Points whose least value stays, where there are many points."""
FEW = 8192
"""Points of which every value stays."""
BLOCK = 8192
"""Points whose products are computed at once."""
AT_ONCE = 1 << 25
"""Numbers that are in memory at once."""
LARGEST = 1e100
"""The largest entry, whose square is a number in double precision."""


class Points:
    """Points (n, d), an array or a `Storage`, among which neighbours are sought."""

    def __init__(self, source: Any, argument: str) -> None:
        self.source: np.ndarray | Storage = source if isinstance(source, Storage) else _checked(source, argument)
        self.shape: tuple[int, int] = self.source.shape
        total, highest, lowest = np.zeros(self.shape[1]), -np.inf, np.inf
        for _, rows in self.blocks():
            total += rows.sum(axis=0, dtype=float)
            highest, lowest = np.maximum(highest, rows.max(axis=0)), np.minimum(lowest, rows.min(axis=0))
        self.centre = np.clip(total / self.shape[0], lowest, highest)
        farthest = max(float((highest - self.centre).max()), float((self.centre - lowest).max()))
        # A power of two, so that nothing is rounded; squares of scaled points neither overflow nor vanish.
        self.scale = 1.0 if farthest == 0 else float(2.0 ** -np.ceil(np.log2(farthest)))

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """The index of the first of some points, and the points."""
        if isinstance(self.source, Storage):
            for start, codes, scale in self.source.blocks(BLOCK):
                yield start, self.source.encoding.decode(codes, scale, self.shape[1])
        else:
            for start in range(0, self.shape[0], BLOCK):
                yield start, self.source[start : start + BLOCK]

    def rows(self, indices: np.ndarray) -> Float[np.ndarray, "k d"]:
        """Some points, in double precision."""
        chosen = self.source.rows(indices) if isinstance(self.source, Storage) else self.source[indices]
        return chosen.astype(float)

    def nearest(self, x: np.ndarray, k: int) -> tuple[Int[np.ndarray, "b k"], Float[np.ndarray, "b k"]]:
        """The k nearest points of each state (b, d), nearest first, equally near ones in order; and their distances.

        `k` ≤ n. Distances are in double precision, by differences.
        """
        n = self.shape[0]
        size = max(1, min(AT_ONCE // BLOCK, AT_ONCE // (n if n <= FEW else n // TILE + 1)))
        parts = [self._nearest(x[start : start + size].astype(float), k) for start in range(0, len(x), size)]
        empty = (np.zeros((0, k), int), np.zeros((0, k)))
        index, distance = (np.concatenate(part) for part in zip(empty, *parts, strict=True))
        return index, distance

    def _nearest(self, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        n, d = self.shape
        moved = (x - self.centre) * self.scale
        single = np.clip(moved, -1e15, 1e15).astype(np.float32)
        first, minima, largest = self._tile_minima(single)
        count = np.diff(first, append=n)
        # Rounded entries, products and sums: (d + 8)u(‖y‖² + ‖x‖‖y‖) bounds the error of each value.
        length = np.sqrt((moved**2).sum(axis=1))
        error = 1.01 * (d + 8) * 2.0**-24 * (largest**2 + length * largest) + 1e-30
        error[(np.abs(moved) > 1e15).any(axis=1)] = np.inf
        tiles = min(k, len(first))
        least = np.partition(minima, tiles - 1, axis=1)[:, tiles - 1] if tiles < len(first) else np.full(len(x), np.inf)
        # Fewer than k points may lie in the k best tiles only if that is all of them.
        limit = least.astype(float) + 2 * error
        index, distance = np.full((len(x), k), -1), np.full((len(x), k), np.inf)
        group = max(1, min(len(x), AT_ONCE // 8 // len(first)))
        for start in range(0, len(x), group):
            rows = slice(start, start + group)
            whose, tile = np.nonzero(minima[rows] <= limit[rows, None])
            step = max(1, AT_ONCE // 4 // (TILE * d))
            for part in range(0, len(whose), step):
                who, which = whose[part : part + step] + start, tile[part : part + step]
                repeated = np.repeat(who, count[which])
                offset = np.arange(len(repeated)) - np.repeat(np.cumsum(count[which]) - count[which], count[which])
                candidate = np.repeat(first[which], count[which]) + offset
                gap = (self.rows(candidate) - x[repeated]) * self.scale
                found = np.sqrt(np.einsum("ij,ij->i", gap, gap)) / self.scale
                _merge(index, distance, repeated, candidate, found)
        return index, distance

    def _tile_minima(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """The first point of each tile, the least ½‖y‖² − x·y in it (b, tiles), and the largest ‖y‖."""
        tile = 1 if self.shape[0] <= FEW else TILE
        first, minima, largest = [], [], 0.0
        for start, rows in self.blocks():
            y = ((rows.astype(float) - self.centre) * self.scale).astype(np.float32)
            square = np.einsum("ij,ij->i", y, y)
            largest = max(largest, float(square.max()))
            starts = np.arange(0, len(y), tile)
            first.append(start + starts)
            if tile == 1:
                value = x @ y.T
                minima.append(np.subtract(square / 2, value, out=value))
                continue
            value = y @ x.T
            np.subtract(square[:, None] / 2, value, out=value)
            whole = len(y) // tile * tile
            parts = [value[:whole].reshape(-1, tile, len(x)).min(axis=1)]
            if whole < len(y):
                parts.append(value[whole:].min(axis=0)[None])
            minima += [part.T for part in parts]
        return np.concatenate(first), np.concatenate(minima, axis=1), float(np.sqrt(largest)) * 1.001


def points(value: Any, argument: str) -> Points:
    """Points from an array, a path, a `Storage` or a `PatternStore`. Double precision stays."""
    stored = isinstance(value, str | Storage | PatternStore) or hasattr(value, "__fspath__")
    return Points(pattern_source(value) if stored else value, argument)


def _merge(index: np.ndarray, distance: np.ndarray, whose: np.ndarray, found: np.ndarray, how_far: np.ndarray) -> None:
    """Put further points among the nearest of each state, in place. `whose` is in order."""
    k = index.shape[1]
    states = np.unique(whose)
    who = np.concatenate([np.repeat(states, k), whose])
    which = np.concatenate([index[states].reshape(-1), found])
    far = np.concatenate([distance[states].reshape(-1), how_far])
    order = np.lexsort((which, far, who))
    who = who[order]
    begin = np.searchsorted(who, states)
    taken = order[begin[:, None] + np.arange(k)]
    index[states], distance[states] = which[taken], far[taken]


def _checked(value: Any, argument: str) -> np.ndarray:
    """A finite array (n, d), in single precision where that holds its numbers, else in double."""
    array = plain_array(argument, value)
    if array.dtype.kind not in "biuf":
        raise InputError(argument, f"got dtype {array.dtype}", "real numbers are accepted")
    small = array.dtype.itemsize <= 2 or array.dtype == bool or (array.dtype.kind == "f" and array.dtype.itemsize == 4)
    array = array.astype(np.float32 if small else float, copy=False)
    if array.ndim > 2 and 0 not in array.shape:
        accepted = f"states (n, d) are accepted: flatten with {argument}.reshape({array.shape[0]}, -1)"
        raise InputError(argument, f"got shape {array.shape}", accepted)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(argument, f"got shape {array.shape}", "at least one state of one unit, (n, d), is accepted")
    check_finite(argument, array)
    largest = float(np.abs(array).max())
    if largest > LARGEST:
        raise InputError(argument, f"got entries up to {largest:.3g}", f"up to {LARGEST:g} are accepted")
    return array
