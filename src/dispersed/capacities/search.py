"""The search for the numbers of patterns at which recall begins to fail, and how often to repeat the measurement there.

Sets are added by one rule: the interval is wider than it may be. They are added to all numbers of patterns around the
crossing alike, those at which one resampled curve in a thousand may cross, and only errors of that many sets enter
the estimate. So no error is measured more often because it was large or small, as those are of which one looks for the
first that exceeds the threshold. What is left is that a width is itself estimated: sets in which few cues fail have
narrow intervals and high capacities. That is a bias of the order of the squared relative width, 0.25 % where the
width is 5 %.
"""

import math

import numpy as np

from dispersed.capacities.estimate import Estimate, bootstrap_crossings, estimate, grouped, interval
from dispersed.capacities.grid import Grid, more_sets

MOST_SETS = 100_000
"""Pattern sets of a cell, beyond which no interval is made narrower."""
UNLIKELY = 0.001
"""The part of resampled curves that may cross outside of the numbers of patterns that are measured."""


def ladder(most: int) -> list[int]:
    """Numbers of patterns worth trying, up to `most`: two an octave, between which error curves are straight."""
    rungs = [1, 2, 3, *(round(2 ** (k / 2)) for k in range(4, 2 * most.bit_length()))]
    return [n for n in rungs if n < most] + [most]


def search(grid: Grid, threshold: float, statistic: str, precision: float | None = None) -> Estimate:
    """Where the error crosses the threshold, to the given precision."""
    rungs = ladder(grid.most)
    window = _around(grid, rungs, threshold, statistic)
    if precision is None:
        return estimate(*_errors(grid, grid.tried(grid.most), grid.sets), threshold, statistic, seed=grid.trial.seed)
    return _narrowed(grid, rungs, window, threshold, statistic, precision)


def _around(grid: Grid, rungs: list[int], threshold: float, statistic: str) -> list[int]:
    """The rungs around every place where a resampled error curve may cross the threshold; all of them are measured."""
    wanted = [rungs[0]]
    while True:
        for n in wanted:
            grid.cell(n)
        counts, errors = _errors(grid, grid.tried(rungs[-1]), grid.sets)
        _, crossings = bootstrap_crossings(counts, errors, threshold, statistic)
        low, high = np.quantile(crossings, [UNLIKELY, 1 - UNLIKELY], method="inverted_cdf")
        if np.isinf(high):
            # Some curves have not crossed yet: an octave further.
            above = [n for n in rungs if n > counts[-1]]
            wanted = [n for n in above if n <= 2 * counts[-1]][-1:] or above[:1]
            if wanted:
                continue
            high = counts[-1]
        below = counts[counts <= low].max(initial=0)
        beyond = counts[counts >= high].min(initial=counts[-1])
        wanted = [n for n in rungs if below < n < beyond and n not in counts]
        if not wanted:
            return [n for n in rungs if below <= n <= beyond]


def _narrowed(
    grid: Grid, rungs: list[int], window: list[int], threshold: float, statistic: str, precision: float
) -> Estimate:
    """The estimate from the rungs around the crossing, with as many sets as its interval needs."""
    sets, seed = grid.sets, grid.trial.seed
    while True:
        counts, errors = _errors(grid, window, sets)
        if statistic == "mean":
            errors = grouped(errors)
        value, crossings = bootstrap_crossings(counts, errors, threshold, statistic, seed)
        found = interval(value, crossings, errors.shape[1])
        if np.isinf(value):
            return found
        low, high = np.quantile(crossings, [UNLIKELY, 1 - UNLIKELY], method="inverted_cdf")
        first = max((n for n in rungs if n <= low), default=rungs[0])
        last = min((n for n in rungs if n >= high), default=rungs[-1])
        around = [n for n in rungs if first <= n <= last]
        if not set(around) <= set(window):
            window = sorted({*window, *around})
            continue
        window = around
        width = (min(found.high, grid.most) - found.low) / 2 / found.value
        if width <= precision or sets >= MOST_SETS:
            return found
        # Widths fall with the square root of the number of sets.
        more = math.ceil(sets * min(max(1.1 * (width / precision) ** 2, 1.1), 16))
        sets = more_sets(min(more, MOST_SETS), grid.sets)


def _errors(grid: Grid, numbers: list[int], sets: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of patterns and the errors (numbers, sets)."""
    name = grid.trial.measure[0]
    return np.array(numbers), np.stack([grid.cell(n, sets).errors[name] for n in numbers])
