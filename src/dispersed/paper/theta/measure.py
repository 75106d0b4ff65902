"""Capacity of exact diffusion for ±1 patterns over signal level, tolerated Hamming error and dimension.

Theory says of it: no memory of many units holds more than e^{Cd} patterns, C(θ) the capacity of the channel from a
pattern to its cue (`theory.channel_rate`), and recall of the nearest pattern holds at least as many as the union
bound has (`theory.nearest_pattern`), at any d.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr

from dispersed import theory
from dispersed.capacities import CellFile, capacity_map
from dispersed.capacities.products import flow_by_products
from dispersed.memories import PatternMemory
from dispersed.noise import sigma_from_alpha
from dispersed.paper.results import Row
from dispersed.paper.statistics import power_law
from dispersed.validation import at_least, random_seed

THRESHOLDS = (0.01, 0.03, 0.1)
RECALLED = (4, 16, 64)
"""Numbers of patterns whose recall is measured at every signal level."""


def theta(
    seed: int = 0,
    alphas: Sequence[float] = (0.3, 0.5, 0.68, 0.8),
    dimensions: Sequence[int] = (8, 11, 14),
    precision: float = 0.15,
    sets: int = 30,
    cells: CellFile | None = None,
) -> tuple[list[Row], list[Row], list[Row]]:
    """Rows of capacities, of their slopes over dimensions, and of errors before and after recall."""
    random_seed(seed)
    rows, errors = [], []
    for alpha in alphas:
        found = capacity_map(
            PatternMemory,
            list(dimensions),
            flow_by_products(alpha),
            alphas=[alpha],
            thresholds=THRESHOLDS,
            precision=precision,
            sets=at_least("sets", sets, 2),
            also=RECALLED,
            seed=seed,
            cells=cells,
            name="exact diffusion",
        )
        rows += [row | _theory(row) for row in found.rows()]
        errors += [row | {"cue_error": _cue_error(alpha)} for row in found.error_rows()]
    recalls = [row for row in errors if row["n_patterns"] in RECALLED]
    return rows, _slopes(rows), recalls


def _theory(row: Row) -> Row:
    bound = theory.nearest_pattern(row["dimension"], row["alpha"], row["threshold"])
    return {"union_bound": float(bound), "channel": theory.channel_rate(row["alpha"])}


def _cue_error(alpha: float) -> float:
    """The fraction of units whose sign the noise has changed, Φ(−1/σ)."""
    return float(ndtr(-1 / np.asarray(sigma_from_alpha(alpha))))


def _slopes(rows: Sequence[Row]) -> list[Row]:
    """The growth of log capacity with the number of units, at each signal level and tolerance."""
    found = []
    for alpha in sorted({row["alpha"] for row in rows}):
        for threshold in THRESHOLDS:
            mine = [r for r in rows if (r["alpha"], r["threshold"], r["beyond"]) == (alpha, threshold, False)]
            if len(mine) < 2:
                continue
            d, held, low, high = (
                np.array([row[name] for row in mine], float) for name in ("dimension", "capacity", "ci_low", "ci_high")
            )
            # A power of exp(d) is an exponential of d.
            slope, ci_low, ci_high = power_law(np.exp(d), held, (high - low) / 2 / 1.96)
            found.append(
                {
                    "alpha": alpha,
                    "threshold": threshold,
                    "slope": slope,
                    "ci_low": ci_low,
                    "ci_high": ci_high,
                    "channel": theory.channel_rate(alpha),
                    "dimensions": len(mine),
                }
            )
    return found
