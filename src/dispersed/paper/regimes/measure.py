r"""Regimes of two Gaussian classes, of which everything is known, and of real digits.

Two classes N(±m e, s²I) of equal weight have in closed form

- speciation at σ² = m² − s², where the slope of D in the middle, s²/(s²+σ²) + m²σ²/(s²+σ²)², is 1;
- cloning φ(σ) = E[p² + (1 − p)²], p = 1/(1 + e^{−2mx/(s²+σ²)}), x ~ N(m, s² + σ²);
- collapse where (d/2) log(1 + s²/σ²) = log(n/2), the patterns of one class. Of finite sets the others typically weigh
  half of their average, so that the mean log odds vanish where theory has n/4.
"""

import math

import jax
import numpy as np
from scipy.special import expit

from dispersed import theory
from dispersed.datasets import load_digits
from dispersed.paper.results import Row
from dispersed.progress import track
from dispersed.regime import regimes
from dispersed.validation import at_least, random_seed

DIMENSIONS = (8, 32, 128)
HALF_DISTANCE, WIDTH = 6.0, 1.0


def regimes_of_mixtures_and_digits(
    seed: int = 0, patterns: int = 2000, cues: int = 200
) -> tuple[list[Row], list[Row], list[Row]]:
    """Rows of speciation and collapse of mixtures by dimension, of their curves by level, and of digits by level.

    `patterns` are those of each mixture, `cues` those at every level.
    """
    random_seed(seed)
    at_least("patterns", patterns, 100)
    at_least("cues", cues, 10)
    key = jax.random.key(seed)
    found: list[Row] = []
    curves: list[Row] = []
    for d in track(DIMENSIONS, "Regimes, mixtures"):
        rng = np.random.default_rng([seed, d])
        label = np.arange(patterns) % 2
        y = (WIDTH * rng.standard_normal((patterns, d))).astype(np.float32)
        y[:, 0] += HALF_DISTANCE * (2 * label - 1)
        of = regimes(y, labels=label, key=jax.random.fold_in(key, d), cues=cues)
        found.append({"dimension": d, "patterns": patterns} | of.levels() | _theory(d, patterns))
        curves += [
            {"dimension": d, **row, "cloning_of_classes_expected": cloning(row["sigma"] or 0.0)} for row in of.rows()
        ]
    images, digits = (np.asarray(part) for part in load_digits())
    order = np.random.default_rng(seed).permutation(len(images))
    stored, held_out = order[:1500], order[1500:]
    of = regimes(
        images[stored], held_out=images[held_out], labels=digits[stored], key=jax.random.fold_in(key, 0), cues=cues
    )
    return found, curves, [of.levels() | row for row in of.rows()]


def _theory(d: int, n: int) -> Row:
    variances = np.full(d, WIDTH**2)
    return {
        "speciation_expected": math.sqrt(HALF_DISTANCE**2 - WIDTH**2),
        "collapse_expected": theory.collapse_sigma(variances, n // 4),
        "collapse_limit": theory.collapse_sigma(variances, n // 2),
    }


def cloning(sigma: float) -> float:
    """φ(σ) of the two classes."""
    x, w = np.polynomial.hermite_e.hermegauss(120)
    width = math.hypot(WIDTH, sigma)
    p = expit(2 * HALF_DISTANCE * (HALF_DISTANCE + width * x) / width**2)
    return float(w @ (p**2 + (1 - p) ** 2) / w.sum())
