"""Figure 3: the error of exact diffusion over dimensions, and the capacity of every kind of memory.

Cells of 140 random ±1 pattern sets, noisy cues x = αy + √(1−α²)ε at α = 0.68, mean Hamming error 3 % (Supp. A).
Cells are kept in a file as they are finished; a killed run finds them again.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dispersed.capacities import CellFile
from dispersed.capacities.cell import recall_cell
from dispersed.capacities.corruption import Noise
from dispersed.capacities.methods import Method, methods
from dispersed.dynamics import ProbabilityFlow
from dispersed.paper.capacity.measure import capacities
from dispersed.paper.figure3.learned import learned_capacities
from dispersed.paper.parallel import in_parallel
from dispersed.paper.results import Row
from dispersed.validation import at_least

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


FULL = Scale(tuple(range(4, 25)), 140, (10, 12, 14, 16), 8)
QUICK = Scale((4, 7, 10, 13, 16), 60, (10,), 2)


def compared() -> dict[str, Method]:
    """The exact methods of Fig. 3b by name."""
    available = methods()
    return {name: available[name] for name in METHODS}


def exact_capacities(seed: int = 0, quick: bool = False, cells: CellFile | None = None) -> tuple[list[Row], list[Row]]:
    """The capacity of every exact method at every dimension, and the error grid behind it; see `capacities`."""
    scale = QUICK if quick else FULL
    return capacities(
        compared(),
        scale.dimensions,
        also={"diffusion": N_PATTERNS},
        alpha=ALPHA,
        threshold=THRESHOLD,
        sets=scale.sets,
        seed=at_least("seed", seed, 0),
        cells=cells,
    )


def learned_dots(
    exact: Sequence[Row], seed: int = 0, quick: bool = False, cells: CellFile | None = None
) -> tuple[list[Row], list[Row]]:
    """The capacity of learned memories, and every training behind it; see `learned_capacities`.

    They start with 4 patterns more than the unsmoothed capacity of exact diffusion among the rows `exact`.
    """
    scale = QUICK if quick else FULL
    held = {row["dimension"]: row["capacity"] for row in exact if row["method"] == "diffusion"}
    starts = {d: round(held[d]) + 4 for d in scale.learned}
    return learned_capacities(starts, ALPHA, THRESHOLD, scale.repeats, seed, cells)


def euler_agreement(rows: Sequence[Row], seed: int = 0, sets: int = 20) -> list[Row]:
    """How often the paper's 300 Euler steps and the 20 evaluations used here recall the same sign.

    At every fourth dimension, with as many patterns as the diffusion memory holds: rows with `dimension`,
    `n_patterns`, `units` compared, `same` (share of equal signs) and the mean Hamming error of both.
    """
    _, family, fast, _ = methods()["diffusion"]
    diffusion = [row for row in rows if row["method"] == "diffusion"]
    jobs = [(row["dimension"], max(2, round(row["capacity"]))) for row in diffusion[::-4]]

    def one(job: tuple[int, int]) -> Row:
        d, n = job
        recalls = [
            recall_cell(family, d, n, dynamics, Noise(ALPHA), sets, 256, seed) for dynamics in (fast, ProbabilityFlow())
        ]
        (ours, truth), (papers, _) = recalls
        return {
            "dimension": d,
            "n_patterns": n,
            "units": ours.size,
            "same": float(np.mean(ours == papers)),
            "hamming_2m": float(np.mean(1 - ours * truth) / 2),
            "hamming_euler": float(np.mean(1 - papers * truth) / 2),
        }

    return in_parallel(one, jobs, "Figure 3, agreement of integrators")[::-1]


def sentences(rows: Sequence[Row], agreement: Sequence[Row]) -> list[str]:
    """What the rows say."""
    by = {(row["method"], row["dimension"]): row for row in rows}
    diffusion = [row for row in rows if row["method"] == "diffusion"]
    first, last = diffusion[0]["dimension"], diffusion[-1]["dimension"]
    values = [row["capacity"] for row in diffusion]
    rate = np.polyfit([row["dimension"] for row in diffusion], np.log(values), 1)[0]
    ratios = [by["modern_hopfield", row["dimension"]]["capacity"] / row["capacity"] for row in diffusion]
    top = {method: by[method, last]["capacity"] for method in METHODS}
    units = sum(row["units"] for row in agreement)
    different = round(sum(row["units"] * (1 - row["same"]) for row in agreement))
    lines = [
        f"From d = {first} to {last} the capacity of exact diffusion grows from {values[0]:.1f} to {values[-1]:.1f} "
        f"patterns, by a factor of {np.exp(rate):.2f} a unit; at d = {last} the classical network holds "
        f"{top['classical']:.1f} with its self-coupling, {top['classical_null_diagonal']:.1f} without, the cubic "
        f"one {top['dense_polynomial_3']:.1f}.",
        f"The modern Hopfield network (β = 5) holds {min(ratios):.2f} to {max(ratios):.2f} times as many patterns as "
        "exact diffusion, on the same patterns and cues.",
        f"Exact diffusion is recalled here by the exponential integrator of order 2 in 20 steps. Of {units} units "
        f"recalled by the paper's 300 Euler steps too, {different} have another sign.",
        "The theory curves ask for fixed points at large d, from clean cues and without tolerance, so only their "
        "growth compares; the nearest-pattern bound holds for this very task.",
        f"Smoothing over dimensions, as in the paper, flattens the ends: at d = {last} it makes "
        f"{diffusion[-1]['smoothed']:.1f} of {values[-1]:.1f}.",
    ]
    lines += [
        f"Learned networks of d = {row['dimension']} hold {row['capacity']:.1f} patterns "
        f"[{row['ci_low']:.1f}, {row['ci_high']:.1f}] over {row['sets']} repeats, exact diffusion "
        f"{by['diffusion', row['dimension']]['capacity']:.1f} "
        f"[{by['diffusion', row['dimension']]['ci_low']:.1f}, {by['diffusion', row['dimension']]['ci_high']:.1f}]."
        for row in rows
        if row["method"] == "learned"
    ]
    return lines
