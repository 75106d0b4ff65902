"""Capacities over noise levels, thresholds and dimensions at once."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import numpy as np

from dispersed.capacities.capacity import Capacity, at_threshold, check_target, error_row, prepared
from dispersed.capacities.cell import Family, Recalled
from dispersed.capacities.corruption import Corruption
from dispersed.capacities.measures import measure_of
from dispersed.dynamics import Dynamics
from dispersed.machine import cores, on_cores
from dispersed.progress import track
from dispersed.validation import InputError, at_least, signal_level


class CapacityMap(eqx.Module):
    """Capacities over noise levels, thresholds and dimensions."""

    capacities: dict[tuple[float, float, int], Capacity]
    """By signal level, threshold and dimension."""

    def rows(self) -> list[dict[str, Any]]:
        """One row for each capacity, with its interval."""
        return [
            {
                "alpha": alpha,
                "threshold": threshold,
                "dimension": d,
                "capacity": found.capacity,
                "ci_low": found.ci_low,
                "ci_high": found.ci_high,
                "beyond": found.beyond,
                "sets": found.sets,
            }
            for (alpha, threshold, d), found in self.capacities.items()
        ]

    def __repr__(self) -> str:
        alphas, thresholds, dimensions = (len(set(each)) for each in zip(*self.capacities, strict=True))
        counts = f"{alphas} noise levels, {thresholds} thresholds, {dimensions} dimensions"
        least, most = (end(found.capacity for found in self.capacities.values()) for end in (min, max))
        return f"CapacityMap({counts}, capacities {least:.1f} to {most:.1f})"

    def error_rows(self) -> list[dict[str, Any]]:
        """The error grids behind them, one row for each cell."""
        # The cells of the last threshold are those of all.
        last = {(alpha, d): found for (alpha, _, d), found in self.capacities.items()}
        return [{"alpha": alpha, **error_row(cell)} for (alpha, _), found in last.items() for cell in found.cells]


def capacity_map(
    family: Family,
    dimensions: Sequence[int] | np.ndarray,
    dynamics: Dynamics | Recalled | str | None = None,
    *,
    alphas: Sequence[float] | np.ndarray = (0.68,),
    thresholds: Sequence[float] | np.ndarray = (0.03,),
    statistic: str = "mean",
    precision: float | None = None,
    **settings: Any,
) -> CapacityMap:
    """Capacities over noise levels, thresholds and dimensions, each as `capacity` measures it.

    Cells are measured once for all thresholds, noise levels and dimensions side by side. `settings` are those of
    `capacity`, and the other arguments lists of them.

    >>> import dispersed
    >>> held = dispersed.capacity_map(dispersed.ClassicalHopfield, [6], alphas=[0.7, 0.9], thresholds=[0.05], sets=20)
    >>> [row["alpha"] for row in held.rows()]
    [0.7, 0.9]
    """
    for argument, values in (("dimensions", dimensions), ("alphas", alphas), ("thresholds", thresholds)):
        listed = isinstance(values, np.ndarray | Sequence) and not isinstance(values, str)
        if not listed or np.ndim(values) != 1 or not len(values):
            raise InputError(argument, f"got {values!r}", "a list with at least one number is accepted")
    for argument in ("alpha", "threshold"):
        if argument in settings:
            given = f"got one {argument}"
            raise InputError(f"{argument}s", given, f"a list is accepted, {argument}s=[{settings[argument]!r}]")
    dimensions = [at_least("dimensions", d, 1) for d in dimensions]
    for alpha in alphas:
        signal_level(alpha)
    for threshold in thresholds:
        check_target(measure_of(settings.get("measure", "hamming"))[0], threshold, statistic, precision)
    if isinstance(settings.get("corruption"), Corruption) and len(alphas) > 1:
        given = f"got {len(alphas)} levels for {type(settings['corruption']).__name__}, which has one of its own"
        raise InputError("alphas", given, "one is accepted with such a corruption")

    def one(job: tuple[int, float]) -> list[Capacity]:
        d, alpha = job
        grid = prepared(family, d, dynamics, alpha=alpha, **settings)
        return [at_threshold(grid, threshold, statistic, precision) for threshold in thresholds]

    # The dearest first, so that no core is left with a long job at the end.
    jobs = [(d, alpha) for d in sorted(dimensions, reverse=True) for alpha in sorted(alphas, reverse=True)]
    found = dict(zip(jobs, track(on_cores(cores(), one, jobs), "Capacity", total=len(jobs)), strict=True))
    return CapacityMap(
        {
            (float(alpha), float(threshold), d): found[d, alpha][at]
            for d in sorted(dimensions)
            for alpha in sorted(alphas)
            for at, threshold in enumerate(thresholds)
        }
    )
