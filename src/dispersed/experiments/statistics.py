"""Estimates with their uncertainty."""

import numpy as np
from numpy.typing import ArrayLike


def bootstrap_mean(
    values: ArrayLike, seed: int, level: float = 0.95, resamples: int = 2000
) -> tuple[float, float, float]:
    """The mean of independent values and its percentile bootstrap interval."""
    values = np.asarray(values, dtype=float)
    rng = np.random.default_rng(seed)
    means = values[rng.integers(values.size, size=(resamples, values.size))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(values.mean()), float(low), float(high)


def pearson(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Pearson correlation of a and b over all but the first axis, one per entry of that axis."""
    u, v = (_centred(np.asarray(x, dtype=float)) for x in (a, b))
    return (u * v).sum(axis=1) / np.sqrt((u**2).sum(axis=1) * (v**2).sum(axis=1))


def _centred(x: np.ndarray) -> np.ndarray:
    x = x.reshape(len(x), -1)
    return x - x.mean(axis=1, keepdims=True)
