r"""From error curves to a capacity: the interpolated number of patterns at which the error crosses a threshold.

Errors are measured at a few numbers of patterns N_1 < N_2 < … on many random pattern sets. Their averages
scatter, and where they scatter more than they rise a curve may cross the threshold several times. More patterns
never help on average, so the curve is first replaced by the non-decreasing one nearest to it (isotonic
regression, least squares), which crosses once:

    capacity = N_k + (N_{k+1} − N_k)(threshold − e_k)/(e_{k+1} − e_k),    e_k ≤ threshold < e_{k+1}.

An empty memory makes no error: the curve starts at N = 0, e = 0, so a capacity below one says that not even one
pattern is recalled well enough. The interval is the bootstrap over pattern sets, by expanded percentiles.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from dispersed.resampling import expanded_percentiles

GROUPS = 1000
"""So many groups of sets have the interval of the sets themselves, and take less time to resample."""


class Estimate(NamedTuple):
    """A capacity and its bootstrap interval; infinite where the error never crosses the threshold."""

    value: float
    low: float
    high: float


def isotonic(curves: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch n"]:
    """The non-decreasing curves nearest to the given ones in least squares, along the last axis.

    By the min–max formula, fit_k = max_{i ≤ k} min_{j ≥ k} mean(e_i … e_j), for all curves at once.
    """
    n = curves.shape[-1]
    sums = np.concatenate([np.zeros((*curves.shape[:-1], 1)), np.cumsum(curves, axis=-1)], axis=-1)
    first, last = np.arange(n)[:, None], np.arange(n)[None, :]
    means = (sums[..., None, 1:] - sums[..., :-1, None]) / np.maximum(last - first + 1, 1)
    least = np.minimum.accumulate(np.where(first <= last, means, np.inf)[..., ::-1], axis=-1)[..., ::-1]
    return np.maximum.accumulate(np.where(first <= last, least, -np.inf), axis=-2)[..., np.arange(n), np.arange(n)]


def crossing(
    n_patterns: Float[np.ndarray, " n"], curves: Float[np.ndarray, "*batch n"], threshold: float
) -> Float[np.ndarray, "*batch"]:
    """Where non-decreasing error curves over `n_patterns` rise above `threshold`; infinite where they do not."""
    x = np.concatenate([[0.0], n_patterns])
    e = np.concatenate([np.zeros((*curves.shape[:-1], 1)), curves], axis=-1)
    above = e > threshold
    k = np.where(above.any(axis=-1), above.argmax(axis=-1), 1)
    before, after = (np.take_along_axis(e, at[..., None], axis=-1)[..., 0] for at in (k - 1, k))
    rise = np.where(above.any(axis=-1), after - before, 1)
    at = x[k - 1] + (x[k] - x[k - 1]) * (threshold - before) / rise
    return np.where(above.any(axis=-1), at, np.inf)


def bootstrap_crossings(
    n_patterns: Sequence[int] | np.ndarray,
    errors: Float[np.ndarray, "n sets"],
    threshold: float,
    statistic: str = "mean",
    seed: int = 0,
    resamples: int = 2000,
) -> tuple[float, Float[np.ndarray, " resamples"]]:
    """The crossing of the average error curve, and those of curves over resampled pattern sets.

    `errors[k, r]` is the error of the r-th set with its first `n_patterns[k]` patterns stored: sets are nested,
    and one that is drawn is drawn for every number of patterns.
    """
    n_patterns, errors = np.asarray(n_patterns, dtype=float), np.asarray(errors, dtype=float)
    sets = errors.shape[1]
    rng = np.random.default_rng(seed)
    if statistic == "mean":
        times_drawn = rng.multinomial(sets, np.full(sets, 1 / sets), size=resamples)
        curves = times_drawn @ errors.T / sets
        curve = errors.mean(axis=1)
    else:
        drawn = rng.integers(sets, size=(resamples, sets))
        curves = np.stack([np.median(row[drawn], axis=1) for row in errors], axis=1)
        curve = np.median(errors, axis=1)
    return (
        float(crossing(n_patterns, isotonic(curve), threshold)),
        crossing(n_patterns, isotonic(curves), threshold),
    )


def estimate(
    n_patterns: Sequence[int] | np.ndarray,
    errors: Float[np.ndarray, "n sets"],
    threshold: float,
    statistic: str = "mean",
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """The capacity at `threshold` and its bootstrap interval, from `errors[k, r]` of sets r at `n_patterns[k]`."""
    crossings = bootstrap_crossings(n_patterns, errors, threshold, statistic, seed)
    return interval(*crossings, np.shape(errors)[1], level)


def interval(value: float, resampled: Float[np.ndarray, " resamples"], sets: int, level: float = 0.95) -> Estimate:
    """A crossing with the interval of those that were resampled from so many sets."""
    # An order statistic, not an interpolated quantile: some resampled crossings may be infinite.
    low, high = np.quantile(resampled, expanded_percentiles(sets, level), method="inverted_cdf")
    return Estimate(value, float(low), float(high))


def smooth(
    dimensions: Sequence[int] | np.ndarray, values: Sequence[float] | np.ndarray, width: float = 1.5
) -> Float[np.ndarray, " n"]:
    """Values over dimensions convolved with a Gaussian kernel of standard deviation `width` (Supp. A).

    The kernel is normalised over the dimensions there are, so the ends are averages of what lies inside.
    """
    at = np.asarray(dimensions, dtype=float)
    kernel = np.exp(-((at[:, None] - at[None, :]) ** 2) / (2 * width**2))
    return kernel @ np.asarray(values, dtype=float) / kernel.sum(axis=1)


def grouped(errors: Float[np.ndarray, "n sets"]) -> Float[np.ndarray, "n groups"]:
    """Mean errors of groups of sets, where there are many sets: what is independent of each other to be resampled."""
    size = errors.shape[1] // GROUPS
    if size < 2:
        return errors
    groups = errors.shape[1] // size
    means = errors[:, : groups * size].reshape(len(errors), groups, size).mean(axis=2)
    # The few sets that fill no group count in the mean.
    return means + (errors.mean(axis=1) - means.mean(axis=1))[:, None]
