"""How many random patterns can a memory hold? The number at which recall begins to fail."""

from typing import Any

import equinox as eqx
import numpy as np

from dispersed.capacities.cell import Cell, Family, Recalled, Trial
from dispersed.capacities.cell_file import CellFile
from dispersed.capacities.corruption import Corruption, Damage, corruption_of
from dispersed.capacities.ensembles import Ensemble, Subsample, ensemble_of, two_levels
from dispersed.capacities.grid import Grid
from dispersed.capacities.measures import MEASURES, OF_SIGNS, Measure, measure_of
from dispersed.capacities.search import search
from dispersed.dynamics import Dynamics
from dispersed.dynamics.registry import named
from dispersed.types import ArrayLike
from dispersed.validation import InputError, at_least, positive_number, probability, random_seed


class Capacity(eqx.Module):
    """How many patterns a memory of `dimension` units holds, and the errors that say so."""

    dimension: int
    capacity: float
    """Interpolated number of patterns at which the error crosses the threshold."""
    ci_low: float
    ci_high: float
    """95 % bootstrap interval over pattern sets."""
    beyond: bool
    """Whether the error stays below the threshold up to the most patterns tried; `capacity` is then that bound."""
    cells: tuple[Cell, ...]
    """The error grid, one cell for every number of patterns tried, ascending."""

    @property
    def sets(self) -> int:
        """The number of pattern sets of the cells that it was estimated from, the most that any cell has."""
        return max(cell.sets for cell in self.cells)

    def rows(self) -> list[dict[str, float | int]]:
        """The error grid, one row a number of patterns: mean and median of Hamming and whole-pattern errors."""
        return [error_row(cell) for cell in self.cells]

    def __repr__(self) -> str:
        bound = "≥ " if self.beyond else ""
        return (
            f"Capacity({bound}{self.capacity:.1f} patterns of {self.dimension} units, "
            f"95 % interval {self.ci_low:.1f} to {self.ci_high:.1f}, {len(self.cells)} cells)"
        )


def error_row(cell: Cell) -> dict[str, float | int]:
    """What one cell says, as a row: the mean and the median of each error over sets."""
    row: dict[str, float | int] = {"dimension": cell.dimension, "n_patterns": cell.n_patterns}
    for name, errors in cell.errors.items():
        row |= {f"{name}_mean": float(errors.mean()), f"{name}_median": float(np.median(errors))}
    return row | {"sets": cell.sets, "cues": cell.cues}


def capacity(
    family: Family,
    dimension: int | None = None,
    dynamics: Dynamics | Recalled | str | None = None,
    *,
    ensemble: Ensemble | ArrayLike | None = None,
    alpha: float = 0.68,
    mask_rate: float | None = None,
    corruption: Corruption | Damage | None = None,
    threshold: float = 0.03,
    measure: str | Measure = "hamming",
    statistic: str = "mean",
    sets: int = 140,
    precision: float | None = None,
    max_patterns: int = 4096,
    max_cues: int = 256,
    seed: int = 0,
    also: tuple[int, ...] = (),
    cells: CellFile | None = None,
    name: str | None = None,
) -> Capacity:
    r"""The number of random patterns that a memory holds: where its recall error crosses `threshold`.

    For a few numbers of patterns N, `sets` random pattern sets are stored; their patterns are damaged and
    recalled, and the error is averaged over sets. N is tried by octaves until the error crosses the threshold,
    then by half octaves wherever a resampled curve may cross. `capacity` is the interpolated N.

    **Arguments**

    - `family`: makes a memory of patterns (n, d), e.g. `PatternMemory` or
      `lambda patterns: ModernHopfield(patterns, beta=5)`. It must be traceable by `jax.jit`.
    - `dimension`: d ≥ 1 units; those of a data set where `ensemble` is one.
    - `dynamics`: as for `recall`, the name of one, or a function `(memory, cues, key) -> states` of all cues (m, d)
      of a memory, traceable by `jax.jit`.
    - `ensemble`: what the patterns are: `Rademacher()`, ±1, by default; `Sparse(activity)`, `Gaussian(covariance)`,
      `Spherical()` or `HiddenManifold(latent)` of `dispersed.capacities`; an array of patterns (N, d), of which sets
      are drawn; or a function `(rng, n, d) -> patterns` with a generator of NumPy.
    - `alpha`: signal level in (0, 1] of the noisy cues x = αy + √(1−α²) ε. With `mask_rate`, cues are instead
      clean patterns with each entry set to zero at that rate, and a memory is told to recall them from `alpha`.
    - `corruption`: another way to damage patterns: `Flip(rate)`, `Occlusion(hidden)`, or a function
      `(patterns, rng) -> cues`, of which a memory is told that they are of `alpha`.
    - `threshold`: tolerated error, in (0, 1); the paper's is 0.03.
    - `measure`: of patterns with two values `"hamming"`, the fraction of wrong units, or `"pattern"`, the fraction of
      cues with any wrong unit. Of any patterns `"nearest"`, the fraction of recalled states to which another pattern
      is nearer; `"overlap"`, that of states whose cosine with the right pattern is below 0.9 (`Overlap(least)`);
      `"square"`, the squared error of a unit; or a function `(recalled, targets, patterns) -> errors` of the cues.
    - `statistic`: `"mean"` or `"median"` over pattern sets. The other errors are in the grid all the same.
    - `precision`: spend more sets where the error crosses the threshold, until half of the interval is at most this
      part of the capacity. All N there have the same number of sets, and sets are added by the width of the interval
      alone, whatever the capacity is: the estimate leans towards neither side but by the correlation of width and
      value, which is of the order of the squared precision.
    - `max_patterns`: where to stop. A capacity beyond it is reported as a lower bound, `beyond=True`.
    - `max_cues`: of larger sets only that many patterns are cues.
    - `also`: numbers of patterns to measure besides, for the error grid.
    - `cells`: a `CellFile` in which finished cells are kept and found again; it needs a `name`, which must tell apart
      families, and functions that are given as ensemble, corruption, dynamics or measure.

    **Raises** `InputError` for anything outside these domains.

    **Source**: Ambrogioni (2023), Sec. 7, Fig. 3 and Supp. A, which take the largest N of a grid whose error does
    not exceed the threshold, and do not interpolate.

    >>> import dispersed
    >>> held = dispersed.capacity(dispersed.ClassicalHopfield, 10, sets=40)
    >>> 1 < held.ci_low < held.capacity < held.ci_high < 3
    True
    """
    check_target(measure_of(measure)[0], threshold, statistic, precision)
    grid = prepared(
        family,
        dimension,
        dynamics,
        ensemble=ensemble,
        alpha=alpha,
        mask_rate=mask_rate,
        corruption=corruption,
        measure=measure,
        sets=sets,
        max_patterns=max_patterns,
        max_cues=max_cues,
        seed=seed,
        also=also,
        cells=cells,
        name=name,
    )
    return at_threshold(grid, threshold, statistic, precision)


def prepared(
    family: Family,
    dimension: int | None,
    dynamics: Dynamics | Recalled | str | None,
    *,
    ensemble: Ensemble | ArrayLike | None = None,
    alpha: float = 0.68,
    mask_rate: float | None = None,
    corruption: Corruption | Damage | None = None,
    measure: str | Measure = "hamming",
    sets: int = 140,
    max_patterns: int = 4096,
    max_cues: int = 256,
    seed: int = 0,
    also: tuple[int, ...] = (),
    cells: CellFile | None = None,
    name: str | None = None,
) -> Grid:
    """The cells of a memory, of which only those of `also` are measured yet; the arguments are those of `capacity`."""
    chosen = ensemble_of(ensemble)
    if dimension is None:
        if not isinstance(chosen, Subsample):
            raise InputError(
                "dimension", "got None", "the number of units is needed, unless the ensemble is a data set"
            )
        dimension = chosen.patterns.shape[1]
    d = at_least("dimension", dimension, 1)
    if isinstance(chosen, Subsample) and chosen.patterns.shape[1] != d:
        raise InputError("dimension", f"got {d}", f"the {chosen.patterns.shape[1]} units of the patterns are accepted")
    if not callable(family):
        raise InputError("family", f"got {family!r}", "a function that makes a memory of patterns is accepted")
    if not isinstance(also, tuple | list):
        raise InputError("also", f"got {also!r}", "numbers of patterns such as (10, 20) are accepted")
    if not isinstance(cells, CellFile | None):
        raise InputError("cells", f"got {cells!r}", "a CellFile is accepted")
    if cells is not None and name is None:
        raise InputError("name", "got None", "cells are kept under the family's name: give one")
    trial = Trial(
        family,
        d,
        _dynamics(dynamics),
        corruption_of(corruption, alpha, mask_rate),
        chosen,
        two_levels(chosen, d),
        measure_of(measure),
        at_least("max_cues", max_cues, 1),
        random_seed(seed),
    )
    if trial.measure[1] is None and trial.levels is None:
        names = ", ".join(MEASURES)
        given = f"got {trial.measure[0]!r} for patterns that have not two values"
        raise InputError("measure", given, f"{names} and functions are accepted")
    most = at_least("max_patterns", max_patterns, 1)
    if isinstance(chosen, Subsample):
        most = min(most, len(chosen.patterns))
    grid = Grid(trial, at_least("sets", sets, 2), most, cells, name)
    for n in also:
        if at_least("also", n, 1) and isinstance(chosen, Subsample) and n > len(chosen.patterns):
            accepted = f"numbers up to the {len(chosen.patterns)} patterns of the data set are accepted"
            raise InputError("also", f"got {n}", accepted)
    for n in also:
        grid.cell(n)
    return grid


def at_threshold(grid: Grid, threshold: float, statistic: str = "mean", precision: float | None = None) -> Capacity:
    """The capacity at a threshold that was checked, for which cells are measured where they are not yet."""
    value, low, high = search(grid, threshold, statistic, precision)
    most = float(grid.most)
    return Capacity(
        grid.trial.dimension,
        min(value, most),
        min(low, most),
        min(high, most),
        beyond=bool(np.isinf(value)),
        cells=tuple(grid.measured()),
    )


def check_target(measure: str, threshold: float, statistic: str, precision: float | None) -> None:
    """Raise `InputError` for what no capacity can be looked for at, before anything is measured."""
    bounded = measure in OF_SIGNS or (measure in MEASURES and measure != "square")
    (probability if bounded else positive_number)("threshold", threshold)
    if statistic not in ("mean", "median"):
        raise InputError("statistic", f"got {statistic!r}", '"mean" and "median" are accepted')
    if precision is not None:
        probability("precision", precision)


def _dynamics(given: Any) -> Dynamics | Recalled | None:
    if isinstance(given, str):
        return named(given)
    if given is None or isinstance(given, Dynamics) or (callable(given) and not isinstance(given, type)):
        return given
    accepted = "a dynamics such as dispersed.OneStep(), its name, or a function (memory, cues, key) is accepted"
    raise InputError("dynamics", f"got {given!r}", accepted)
