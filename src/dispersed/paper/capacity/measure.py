"""Capacity of several kinds of memory over several dimensions, as rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dispersed.capacities import Capacity, capacity, capacity_map, error_row, smooth
from dispersed.capacities.methods import Method
from dispersed.paper.parallel import in_parallel
from dispersed.paper.results import Row
from dispersed.theory import nearest_pattern


def capacities(
    chosen: Mapping[str, Method],
    dimensions: Sequence[int],
    also: Mapping[str, tuple[int, ...]] | None = None,
    **settings: Any,
) -> tuple[list[Row], list[Row]]:
    """The capacity of every method at every dimension, and the error grids from which it was estimated.

    `also` names numbers of patterns to measure besides, by method; `settings` go to `dispersed.capacity`.

    Capacity rows have `method`, `dimension`, `capacity`, `ci_low`, `ci_high` (95 % bootstrap over sets),
    `smoothed`, `smoothed_low`, `smoothed_high` (Gaussian kernel of σ = 1.5 over dimensions), `beyond` and `sets`, the
    most that any cell has. Error rows have `method`, `dimension`, `n_patterns`, mean and median over sets of the
    errors, `sets` and `cues`.
    """
    # The dearest first, so that no core is left with a long job at the end.
    jobs = [(name, d) for d in sorted(dimensions, reverse=True) for name in chosen]

    def one(job: tuple[str, int]) -> Capacity:
        name, d = job
        label, family, dynamics, _ = chosen[name]
        return capacity(family, d, dynamics, also=(also or {}).get(name, ()), name=label, **settings)

    found = dict(zip(jobs, in_parallel(one, jobs, "Capacity"), strict=True))
    rows, errors = [], []
    for name in chosen:
        results = [found[name, d] for d in sorted(dimensions)]
        rows += capacity_rows(name, results)
        errors += [{"method": name, **error_row(cell)} for result in results for cell in result.cells]
    return rows, errors


def capacity_maps(
    chosen: Callable[[float], Mapping[str, Method]],
    dimensions: Sequence[int],
    alphas: Sequence[float],
    thresholds: Sequence[float],
    **settings: Any,
) -> tuple[list[Row], list[Row]]:
    """The capacity of every method over signal levels, thresholds and dimensions, and the error grids behind it.

    `chosen` names the methods at a signal level; `settings` go to `dispersed.capacity_map`. Rows are those of
    `CapacityMap`, with the `method`.
    """
    rows, errors = [], []
    for alpha in alphas:
        for name, (label, family, dynamics, _) in chosen(alpha).items():
            found = capacity_map(
                family, dimensions, dynamics, alphas=[alpha], thresholds=thresholds, name=label, **settings
            )
            rows += [{"method": name, **row} for row in found.rows()]
            errors += [{"method": name, **row} for row in found.error_rows()]
    return rows, errors


def capacity_rows(method: str, results: Sequence[Capacity]) -> list[Row]:
    """Capacities of one method over dimensions as rows, raw and smoothed."""
    dimensions = [result.dimension for result in results]
    smoothed = [
        smooth(dimensions, [getattr(result, field) for result in results])
        for field in ("capacity", "ci_low", "ci_high")
    ]
    return [
        {
            "method": method,
            "dimension": result.dimension,
            "capacity": result.capacity,
            "ci_low": result.ci_low,
            "ci_high": result.ci_high,
            "smoothed": float(middle),
            "smoothed_low": float(low),
            "smoothed_high": float(high),
            "beyond": result.beyond,
            "sets": result.sets,
        }
        for result, middle, low, high in zip(results, *smoothed, strict=True)
    ]


def theories(
    chosen: Mapping[str, Method], alpha: float, threshold: float
) -> dict[str, dict[str, Callable[[np.ndarray], np.ndarray]]]:
    """Closed forms to draw over each method's capacity to a mean Hamming error from noisy cues."""
    known = {name: dict(method.theories) for name, method in chosen.items()}
    if "diffusion" in known and alpha < 1:
        known["diffusion"]["union bound, nearest pattern (lower)"] = lambda d: nearest_pattern(d, alpha, threshold)
    return known
