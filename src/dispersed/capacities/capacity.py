"""How many random patterns can a memory hold? The search for the number at which recall begins to fail."""

import equinox as eqx
import numpy as np

from dispersed.capacities.cell import Cell, Family, measure_cell
from dispersed.capacities.cell_file import CellFile, Values
from dispersed.capacities.corruption import Corruption, Mask, Noise
from dispersed.capacities.estimate import bootstrap_crossings, estimate
from dispersed.dynamics import Dynamics
from dispersed.validation import InputError, at_least, probability, random_seed


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
    """What one cell says, as a row."""
    return {
        "dimension": cell.dimension,
        "n_patterns": cell.n_patterns,
        "hamming_mean": float(cell.hamming.mean()),
        "hamming_median": float(np.median(cell.hamming)),
        "pattern_mean": float(cell.pattern.mean()),
        "pattern_median": float(np.median(cell.pattern)),
        "sets": cell.half_errors.size,
        "cues": cell.cues,
    }


def ladder(most: int) -> list[int]:
    """Numbers of patterns worth trying, up to `most`: two an octave, between which error curves are straight."""
    rungs = [1, 2, 3, *(round(2 ** (k / 2)) for k in range(4, 2 * most.bit_length()))]
    return [n for n in rungs if n < most] + [most]


def capacity(
    family: Family,
    dimension: int,
    dynamics: Dynamics | None = None,
    *,
    alpha: float = 0.68,
    mask_rate: float | None = None,
    threshold: float = 0.03,
    measure: str = "hamming",
    statistic: str = "mean",
    sets: int = 140,
    max_patterns: int = 4096,
    max_cues: int = 256,
    seed: int = 0,
    also: tuple[int, ...] = (),
    cells: CellFile | None = None,
    name: str | None = None,
) -> Capacity:
    r"""The number of random ±1 patterns that a memory holds: where its recall error crosses `threshold`.

    For a few numbers of patterns N, `sets` random pattern sets are stored; their patterns are damaged and
    recalled, and the error is averaged over sets. N is tried by octaves until the error crosses the threshold,
    then by half octaves wherever a resampled curve may cross. `capacity` is the interpolated N.

    **Arguments**

    - `family`: makes a memory of patterns (n, d), e.g. `PatternMemory` or
      `lambda patterns: ModernHopfield(patterns, beta=5)`. It must be traceable by `jax.jit`.
    - `dimension`: d ≥ 1 units.
    - `dynamics`: as for `recall`.
    - `alpha`: signal level in (0, 1] of the noisy cues x = αy + √(1−α²) ε. With `mask_rate`, cues are instead
      clean patterns with each entry set to zero at that rate, and a memory is told to recall them from `alpha`.
    - `threshold`: tolerated error, in (0, 1); the paper's is 0.03.
    - `measure`: `"hamming"`, the fraction of wrong units, or `"pattern"`, the fraction of cues with any wrong unit.
    - `statistic`: `"mean"` or `"median"` over pattern sets. The other three errors are in the grid all the same.
    - `max_patterns`: where to stop. A capacity beyond it is reported as a lower bound, `beyond=True`.
    - `max_cues`: of larger sets only that many patterns are cues.
    - `also`: numbers of patterns to measure besides, for the error grid.
    - `cells`: a `CellFile` in which finished cells are kept and found again; it needs the family's `name`.

    **Raises** `InputError` for anything outside these domains.

    **Source**: Ambrogioni (2023), Sec. 7, Fig. 3 and Supp. A, which take the largest N of a grid whose error does
    not exceed the threshold, and do not interpolate.

    >>> import dispersed
    >>> held = dispersed.capacity(dispersed.ClassicalHopfield, 10, sets=40)
    >>> 1 < held.ci_low < held.capacity < held.ci_high < 3
    True
    """
    dimension = at_least("dimension", dimension, 1)
    sets = at_least("sets", sets, 2)
    max_patterns = at_least("max_patterns", max_patterns, 1)
    max_cues = at_least("max_cues", max_cues, 1)
    seed = random_seed(seed)
    probability("threshold", threshold)
    if measure not in ("hamming", "pattern"):
        raise InputError("measure", f"got {measure!r}", '"hamming" and "pattern" are accepted')
    if statistic not in ("mean", "median"):
        raise InputError("statistic", f"got {statistic!r}", '"mean" and "median" are accepted')
    if dynamics is not None and not isinstance(dynamics, Dynamics):
        raise InputError("dynamics", f"got {dynamics!r}", "a dynamics such as dispersed.OneStep() is accepted")
    if not callable(family):
        raise InputError("family", f"got {family!r}", "a function that makes a memory of patterns is accepted")
    if not isinstance(also, tuple | list):
        raise InputError("also", f"got {also!r}", "numbers of patterns such as (10, 20) are accepted")
    if not isinstance(cells, CellFile | None):
        raise InputError("cells", f"got {cells!r}", "a CellFile is accepted")
    if cells is not None and name is None:
        raise InputError("name", "got None", "cells are kept under the family's name: give one")
    corruption: Corruption = Noise(alpha) if mask_rate is None else Mask(mask_rate, alpha)
    grid = Grid(family, name, dimension, dynamics, corruption, sets, max_cues, seed, cells)
    for n in also:
        grid.measure(at_least("also", n, 1))
    _search(grid, ladder(max_patterns), threshold, measure, statistic)
    found = grid.ascending(max_patterns)
    errors = np.stack([getattr(cell, measure) for cell in found])
    counts = np.array([cell.n_patterns for cell in found])
    value, low, high = estimate(counts, errors, threshold, statistic, seed=seed)
    return Capacity(
        dimension,
        min(value, float(max_patterns)),
        min(low, float(max_patterns)),
        min(high, float(max_patterns)),
        beyond=bool(np.isinf(value)),
        cells=tuple(grid.ascending()),
    )


class Grid:
    """The cells of one memory family at one dimension, each measured when it is first needed."""

    def __init__(
        self,
        family: Family,
        name: str | None,
        dimension: int,
        dynamics: Dynamics | None,
        corruption: Corruption,
        sets: int,
        max_cues: int,
        seed: int,
        kept: CellFile | None,
    ) -> None:
        from dispersed import __version__

        self._arguments = (dynamics, corruption, sets, max_cues, seed)
        self._family, self._dimension, self._kept = family, dimension, kept
        self._cells: dict[int, Cell] = {}
        self._settings = {
            "version": __version__,
            "family": name,
            "dimension": dimension,
            "dynamics": eqx.tree_pformat(dynamics, short_arrays=False),
            "corruption": eqx.tree_pformat(corruption),
            "sets": sets,
            "max_cues": max_cues,
            "seed": seed,
        }

    def measure(self, n: int) -> None:
        """Measure the cell of `n` patterns unless that is done."""
        if n in self._cells:
            return

        def compute() -> Values:
            cell = measure_cell(self._family, self._dimension, n, *self._arguments)
            return {"half_errors": cell.half_errors.tolist(), "wrong_cues": cell.wrong_cues.tolist()}

        values = compute() if self._kept is None else self._kept.get({**self._settings, "n_patterns": n}, compute)
        cues = min(n, self._arguments[3])
        counts = {kind: np.asarray(row) for kind, row in values.items()}
        sets = self._arguments[2]
        whole = all(row.shape == (sets,) and row.dtype.kind == "i" for row in counts.values())
        if counts.keys() != {"half_errors", "wrong_cues"} or not whole:
            given = f"the cell of {n} patterns in {self._kept!r} holds other numbers than those of {sets} sets"
            raise InputError("cells", given, "a file written by capacity is accepted")
        self._cells[n] = Cell(self._dimension, n, cues, **counts)

    def ascending(self, most: int | None = None) -> list[Cell]:
        """The cells there are, those of up to `most` patterns."""
        return [self._cells[n] for n in sorted(self._cells) if most is None or n <= most]


def _search(grid: Grid, rungs: list[int], threshold: float, kind: str, statistic: str) -> None:
    """Measure the rungs around every place where a resampled error curve may cross the threshold."""
    wanted = [rungs[0]]
    while wanted:
        for n in wanted:
            grid.measure(n)
        found = grid.ascending(rungs[-1])
        counts = np.array([cell.n_patterns for cell in found])
        errors = np.stack([getattr(cell, kind) for cell in found])
        _, crossings = bootstrap_crossings(counts, errors, threshold, statistic)
        low, high = np.quantile(crossings, [0.001, 0.999], method="inverted_cdf")
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
