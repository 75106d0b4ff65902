"""Estimates with their uncertainty."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from dispersed.resampling import expanded_percentiles


def bootstrap_mean(
    values: ArrayLike, seed: int, level: float = 0.95, resamples: int = 2000
) -> tuple[float, float, float]:
    """The mean of independent values and its bootstrap interval by expanded percentiles."""
    values = np.asarray(values, dtype=float)
    rng = np.random.default_rng(seed)
    means = values[rng.integers(values.size, size=(resamples, values.size))].mean(axis=1)
    low, high = np.quantile(means, expanded_percentiles(values.size, level))
    return float(values.mean()), float(low), float(high)


def power_law(
    x: ArrayLike, y: ArrayLike, error: ArrayLike | None = None, level: float = 0.95
) -> tuple[float, float, float]:
    """The exponent k of y = c xᵏ by least squares in logarithms, and its interval.

    With the standard `error` of each y the fit is weighted and the interval is the normal one; without, the
    scatter about the line sets it, by Student's t. Values of y must be positive.
    """
    log_x, log_y = np.log(np.asarray(x, dtype=float)), np.log(np.asarray(y, dtype=float))
    if error is None:
        fit = stats.linregress(log_x, log_y)
        slope, half = fit.slope, fit.stderr * stats.t.ppf((1 + level) / 2, log_x.size - 2)
    else:
        weights = np.asarray(y, dtype=float) / np.asarray(error, dtype=float)
        (slope, _), covariance = np.polyfit(log_x, log_y, 1, w=weights, cov="unscaled")
        half = np.sqrt(covariance[0, 0]) * stats.norm.ppf((1 + level) / 2)
    return float(slope), float(slope - half), float(slope + half)


def pearson(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Pearson correlation of a and b over all but the first axis, one per entry of that axis."""
    u, v = (_centred(np.asarray(x, dtype=float)) for x in (a, b))
    return (u * v).sum(axis=1) / np.sqrt((u**2).sum(axis=1) * (v**2).sum(axis=1))


def _centred(x: np.ndarray) -> np.ndarray:
    x = x.reshape(len(x), -1)
    return x - x.mean(axis=1, keepdims=True)
