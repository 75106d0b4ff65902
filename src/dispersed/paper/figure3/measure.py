"""Figure 3: the error of exact diffusion over dimensions, and the capacity of every kind of memory.

Cells of 140 random ±1 pattern sets or more, noisy cues x = αy + √(1−α²)ε at α = 0.68, mean Hamming error 3 % (Supp. A).
Cells are written to a file as they are finished; a killed run finds them again.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dispersed.capacities import CellFile
from dispersed.capacities.cell import Trial, damaged_sets, recaller_of, signs
from dispersed.capacities.corruption import Noise
from dispersed.capacities.methods import Method, methods
from dispersed.dynamics import ProbabilityFlow
from dispersed.dynamics.grids import uniform_time
from dispersed.paper.capacity.measure import capacities
from dispersed.paper.figure3.learned import learned_capacities
from dispersed.paper.parallel import in_parallel
from dispersed.paper.results import Row
from dispersed.validation import random_seed

ALPHA = 0.68
THRESHOLD = 0.03
N_PATTERNS = (2, 4, 8, 16, 32, 64)
"""Numbers of patterns with a curve of their own in Fig. 3a."""
METHODS = ("diffusion", "modern_hopfield", "classical", "classical_null_diagonal", "dense_polynomial_3")
"""What is compared in Fig. 3b, besides learned networks."""


class Scale(NamedTuple):
    """How much is computed."""

    dimensions: tuple[int, ...]
    sets: int
    learned: tuple[int, ...]
    repeats: int
    precision: float | None
    """What half of an interval is of the capacity, at most."""


FULL = Scale(tuple(range(4, 25)), 140, (10, 12, 14, 16), 8, 0.05)
QUICK = Scale((4, 7, 10, 13, 16), 60, (10,), 2, None)


def compared(alpha: float = ALPHA) -> dict[str, Method]:
    """The exact methods of Fig. 3b by name."""
    available = methods(noisy=alpha)
    return {name: available[name] for name in METHODS}


def exact_capacities(
    seed: int = 0,
    quick: bool = False,
    cells: CellFile | None = None,
    *,
    alpha: float = ALPHA,
    threshold: float = THRESHOLD,
    dimensions: Sequence[int] | None = None,
) -> tuple[list[Row], list[Row]]:
    """The capacity of every exact method at every dimension, and the error grid behind it; see `capacities`."""
    scale = QUICK if quick else FULL
    return capacities(
        compared(alpha),
        dimensions or scale.dimensions,
        also={"diffusion": N_PATTERNS},
        alpha=alpha,
        threshold=threshold,
        sets=scale.sets,
        precision=scale.precision,
        seed=random_seed(seed),
        cells=cells,
    )


def learned_dots(
    exact: Sequence[Row],
    seed: int = 0,
    quick: bool = False,
    cells: CellFile | None = None,
    *,
    alpha: float = ALPHA,
    threshold: float = THRESHOLD,
) -> tuple[list[Row], list[Row]]:
    """The capacity of learned memories, and every training behind it; see `learned_capacities`.

    They start with 4 patterns more than the unsmoothed capacity of exact diffusion among the rows `exact`.
    """
    scale = QUICK if quick else FULL
    held = {row["dimension"]: row["capacity"] for row in exact if row["method"] == "diffusion"}
    starts = {d: round(held[d]) + 4 for d in scale.learned if d in held}
    return learned_capacities(starts, alpha, threshold, scale.repeats, seed, cells)


def euler_agreement(rows: Sequence[Row], seed: int = 0, sets: int = 20, alpha: float = ALPHA) -> list[Row]:
    """How often the paper's 300 Euler steps and the 20 steps by products used here recall the same sign.

    At every fourth dimension, with as many patterns as the diffusion memory holds: rows with `dimension`,
    `n_patterns`, `units` compared, `same` (fraction of equal signs) and the mean Hamming error of both.
    """
    _, family, fast, _ = compared(alpha)["diffusion"]
    diffusion = [row for row in rows if row["method"] == "diffusion"]
    jobs = [(row["dimension"], max(2, round(row["capacity"]))) for row in diffusion[::-4]]

    def one(job: tuple[int, int]) -> Row:
        d, n = job
        papers_flow = ProbabilityFlow(sigma_min=0.0, grid=uniform_time)
        trials = [Trial(family, d, dynamics, Noise(alpha), seed=seed) for dynamics in (fast, papers_flow)]
        patterns, cues = damaged_sets(trials[0], n, range(sets))
        truth = signs(patterns[:, : cues.shape[1]], trials[0].levels)
        ours, papers = (
            signs(recaller_of(trial, n, sets)(patterns, cues, range(sets)), trial.levels) for trial in trials
        )
        return {
            "dimension": d,
            "n_patterns": n,
            "units": ours.size,
            "same": float(np.mean(ours == papers)),
            "hamming_2m": float(np.mean(1 - ours * truth) / 2),
            "hamming_euler": float(np.mean(1 - papers * truth) / 2),
        }

    return in_parallel(one, jobs, "Figure 3, agreement of integrators")[::-1]
