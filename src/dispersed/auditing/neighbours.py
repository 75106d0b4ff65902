r"""Exact nearest neighbours in any number of points, with bounded memory.

Of ½‖x − y‖² what differs between points y is ½‖y‖² − x·y. It is computed in single precision by products, block by
block, and of each tile of points only the least value stays. The tiles of the k nearest points are those with the k
least values, up to a bound on round-off. The points in these tiles are then compared in double precision by
differences, so neither near-ties nor an offset far from the origin change the result; they only make it slower. In few
dimensions points are so dense that single precision would leave most of them: there the products are in double
precision. A state for which even that leaves many points, as equal ones do, is compared with all of them.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from dispersed.engines import pattern_source
from dispersed.storage import PatternStore, Storage
from dispersed.types import Float, Int
from dispersed.validation import InputError, check_finite, number_array

TILE = 16
"""Points whose least value stays, where there are many points."""
FEW = 8192
"""Points of which every value stays."""
BLOCK = 8192
"""Points whose products are computed at once."""
AT_ONCE = 1 << 25
"""Numbers that are in memory at once."""
DENSE = 24
"""Units up to which products are in double precision: 10⁶ points on a line lie closer than single precision tells."""
CROWD = 64
"""A state with more candidates than this many for each neighbour, and 1 of 32 points, is compared with all."""
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

    def to_nearest_other(self, x: np.ndarray) -> Float[np.ndarray, " b"]:
        """The distance of each of some of these points (b, d) to the nearest one that differs; infinite without any."""
        distance = self.nearest(x, min(2, self.shape[0]))[1][:, -1]
        equal = np.flatnonzero(distance == 0)
        if equal.size:
            distance[equal] = np.inf
            for _, rows in self.blocks():
                between = self._distances(x[equal], rows)
                distance[equal] = np.minimum(distance[equal], np.where(between > 0, between, np.inf).min(axis=1))
        return distance

    def _nearest(self, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        n, d = self.shape
        moved = (x - self.centre) * self.scale
        kind: Any = np.float64 if d <= DENSE else np.float32
        first, minima, largest = self._tile_minima(np.clip(moved, -1e15, 1e15).astype(kind))
        count = np.diff(first, append=n)
        # Rounded entries, products and sums: (d + 8)u(‖y‖² + ‖x‖‖y‖) bounds the error of each value.
        length = np.sqrt((moved**2).sum(axis=1))
        error = 1.01 * (d + 8) * float(np.finfo(kind).eps) / 2 * (largest**2 + length * largest) + 1e-30
        error[(np.abs(moved) > 1e15).any(axis=1)] = np.inf
        tiles = min(k, len(first))
        least = np.partition(minima, tiles - 1, axis=1)[:, tiles - 1] if tiles < len(first) else np.full(len(x), np.inf)
        # Fewer than k points may lie in the k best tiles only if that is all of them.
        limit = least.astype(float) + 2 * error
        index, distance = np.full((len(x), k), -1), np.full((len(x), k), np.inf)
        crowded = (minima <= limit[:, None]).sum(axis=1) * count[0] > max(CROWD * k, n // 32)
        index[crowded], distance[crowded] = self._among_all(x[crowded], k)
        limit[crowded] = -np.inf
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

    def _among_all(self, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest points of each state, by the differences from all points."""
        index, distance = np.full((len(x), k), -1), np.full((len(x), k), np.inf)
        for start, rows in self.blocks():
            for part in _parts(len(x)):
                far = self._distances(x[part], rows)
                # Among equal points those that stand first are there already.
                nearer = np.flatnonzero((far < distance[part, -1:]).any(axis=1))
                where = np.arange(len(x))[part][nearer]
                which = np.broadcast_to(start + np.arange(len(rows)), far.shape)[nearer]
                both = np.hstack([index[where], which]), np.hstack([distance[where], far[nearer]])
                index[where], distance[where] = _least(*both, k)
        return index, distance

    def _distances(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return cdist(x * self.scale, y.astype(float) * self.scale) / self.scale

    def nearest_apart(self, x: np.ndarray, point: int, radius: float, own: np.ndarray | None) -> np.ndarray:
        """The distance of each state from the nearest point beyond a radius around one of the points; ∞ if none is.

        `own` are the indices of points that the states are themselves, and which do not count for them.
        """
        least = np.full(len(x), np.inf)
        centre = self.rows(np.array([point]))
        for start, rows in self.blocks():
            apart = np.flatnonzero(self._distances(centre, rows)[0] > radius)
            for part in _parts(len(x)):
                far = self._distances(x[part], rows[apart])
                if own is not None:
                    far[own[part, None] == start + apart] = np.inf
                least[part] = np.minimum(least[part], far.min(axis=1, initial=np.inf))
        return least

    def _tile_minima(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """The first point of each tile, the least ½‖y‖² − x·y in it (b, tiles), and the largest ‖y‖."""
        tile = 1 if self.shape[0] <= FEW else TILE
        first, minima, largest = [], [], 0.0
        for start, rows in self.blocks():
            y = ((rows.astype(float) - self.centre) * self.scale).astype(x.dtype)
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
    try:
        return Points(pattern_source(value) if stored else value, argument)
    except InputError as error:
        if error._parts[0] != "patterns":
            raise
        raise InputError(argument, *error._parts[1:]) from None


def _parts(count: int) -> Iterator[slice]:
    """So many states, in parts that are compared with a block of points at once."""
    step = AT_ONCE // 8 // BLOCK + 1
    return (slice(start, start + step) for start in range(0, count, step))


def _least(which: np.ndarray, far: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k least of each row, in order; among equal ones those that stand first."""
    limit = np.partition(far, k - 1, axis=1)[:, k - 1, None]
    below, equal = far < limit, far == limit
    taken = below | (equal & (np.cumsum(equal, axis=1) <= k - below.sum(axis=1, keepdims=True)))
    shape = (len(far), k)
    which, far = which[taken].reshape(shape), far[taken].reshape(shape)
    order = np.argsort(far, axis=1, kind="stable")
    return np.take_along_axis(which, order, 1), np.take_along_axis(far, order, 1)


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
    array = number_array(argument, value)
    small = array.dtype.itemsize <= 2 or array.dtype == bool or (array.dtype.kind == "f" and array.dtype.itemsize == 4)
    array = array.astype(np.float32 if small else float, copy=False)
    if array.ndim > 2 and 0 not in array.shape:
        accepted = f"states (n, d) are accepted: flatten with {argument}.reshape({array.shape[0]}, -1)"
        raise InputError(argument, f"got shape {array.shape}", accepted)
    if array.ndim == 1 and array.size:
        accepted = f"states (n, d) are accepted: of one unit with {argument}.reshape(-1, 1)"
        raise InputError(argument, f"got shape {array.shape}", accepted)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(argument, f"got shape {array.shape}", "at least one state of one unit, (n, d), is accepted")
    check_finite(argument, array)
    largest = float(np.abs(array).max())
    if largest > LARGEST:
        raise InputError(argument, f"got entries up to {largest:.3g}", f"up to {LARGEST:g} are accepted")
    return array
