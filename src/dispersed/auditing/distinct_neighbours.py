"""The nearest training pattern of a state, and the second one that is no near-duplicate of it.

**Source**: Levina & Bickel (2004), Maximum likelihood estimation of intrinsic dimension.
"""

from typing import NamedTuple

import numpy as np

from dispersed.auditing.neighbours import Points
from dispersed.types import Float, Int

THIRD = 1 / 3
"""The ratio of distances below which a state looks like a copy, and a pattern like a near-duplicate."""
CHOSEN = 2000
"""Training patterns, drawn at random, whose own neighbours are the baseline."""
NEIGHBOURS = 4
"""Patterns near a sample among which the second is sought first."""
MANY = 4096
"""If all of the one in so many patterns that is nearest are near-duplicates, it is sought among all patterns."""
TENTH = 10
"""The neighbour of a training pattern at a third of whose median distance lie near-duplicates."""


class Neighbours(NamedTuple):
    """The nearest training pattern of each of some states, and how far away it and the second one are."""

    pattern: Int[np.ndarray, " n"]
    distance: Float[np.ndarray, " n"]
    second: Float[np.ndarray, " n"]
    """The distance d₂ to the nearest pattern that is no near-duplicate of the first; infinite where there is none."""

    @property
    def ratio(self) -> Float[np.ndarray, " n"]:
        """d₁/d₂; where there is no second pattern 0 of a state that equals the first, and otherwise 1."""
        told = np.isfinite(self.second)
        return np.where(told, self.distance / np.where(told, self.second, 1), self.distance > 0)


def baseline(stored: Points, rng: np.random.Generator) -> tuple[float, Neighbours, float]:
    """The distance of near-duplicates, the neighbours of some patterns among the others, the intrinsic dimension."""
    n = stored.shape[0]
    chosen = np.sort(rng.choice(n, min(n, CHOSEN), replace=False))
    if n == 1:
        nobody = np.full(1, np.inf)
        return 0.0, Neighbours(np.array([-1]), nobody, nobody), float("nan")
    x = stored.rows(chosen)
    index, distance = without_self(*stored.nearest(x, min(n, TENTH + 1)), chosen)
    radius = float(np.median(distance[:, -1])) * THIRD
    near = _of_first(stored, x, index, distance, radius, chosen)
    # The estimate of Levina and Bickel; distinct neighbours alone have logarithms, and one distance alone says nothing.
    logs = np.log(np.where(distance > 0, distance, np.nan))
    slopes = (logs[:, -1:] - logs)[:, :-1]
    told = np.isfinite(slopes) & (slopes > 0)
    total = float(slopes[told].sum())
    return radius, near, float(told.sum() - told.any(axis=1).sum()) / total if total > 0 else float("nan")


def without_self(index: np.ndarray, distance: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours but for the pattern itself, which may stand behind its duplicates, or behind all that were sought."""
    other = index != own[:, None]
    other[other.all(axis=1), -1] = False
    shape = (len(index), index.shape[1] - 1)
    return index[other].reshape(shape), distance[other].reshape(shape)


def neighbours(stored: Points, states: Points, radius: float) -> Neighbours:
    """The neighbours of each state."""
    n = stored.shape[0]
    parts = []
    for _, rows in states.blocks():
        index, distance = stored.nearest(rows, min(n, NEIGHBOURS))
        parts.append(_of_first(stored, rows.astype(float), index, distance, radius, None))
    return Neighbours(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _of_first(
    stored: Points, x: np.ndarray, index: np.ndarray, distance: np.ndarray, radius: float, own: np.ndarray | None
) -> Neighbours:
    """The first neighbour, and the second that is none of its near-duplicates, sought among more until it is found."""
    n = stored.shape[0] - (own is not None)
    second = np.full(len(x), np.inf)
    left = np.arange(len(x))
    first, nearest = index[:, 0], distance[:, 0]
    while len(left):
        apart = _apart(stored, index) > radius
        found = apart.any(axis=1)
        second[left[found]] = distance[found, apart[found].argmax(axis=1)]
        left, k = left[~found], index.shape[1]
        if k == n or k * MANY >= n:
            break
        if len(left):
            k = min(n, 8 * k)
            if own is None:
                index, distance = stored.nearest(x[left], k)
            else:
                index, distance = without_self(*stored.nearest(x[left], k + 1), own[left])
    if index.shape[1] < n:
        for one in np.unique(first[left]):
            alike = left[first[left] == one]
            second[alike] = stored.nearest_apart(x[alike], int(one), radius, None if own is None else own[alike])
    return Neighbours(first, nearest, second)


def _apart(stored: Points, index: np.ndarray) -> np.ndarray:
    """The distance of each neighbour from the first one."""
    b, k = index.shape
    apart = np.empty((b, k))
    step = max(1, (1 << 22) // (k * stored.shape[1]))
    for start in range(0, b, step):
        y = stored.rows(index[start : start + step].reshape(-1)).reshape(-1, k, stored.shape[1])
        gap = (y - y[:, :1]) * stored.scale
        apart[start : start + step] = np.sqrt(np.einsum("bkd,bkd->bk", gap, gap)) / stored.scale
    return apart
