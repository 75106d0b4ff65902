r"""Capacity for continuous patterns: exact diffusion, which weighs them by distance, and dot products, beside theory.

A cue x = αy + √(1−α²)ε is decoded to the pattern with the largest metric, of distance x·y/α − ‖y‖²/2 or of the dot
product x·y. Capacity is where half of the cues are decoded to another pattern. Of n patterns, n − 1 are independent
of the cue, and

    P(wrong) = E[1 − (1 − p)^{n−1}],    p = P(metric of an independent pattern > metric of y | x, y),

with p in closed form, for any d:

- distance, Gaussian: ‖z − y'‖² with z = x/α is noncentral χ² with d degrees of freedom and noncentrality ‖z‖²;
- dot product, Gaussian with covariance Λ: x·y' is normal of variance xᵀΛx;
- sphere: the cosine of an independent pattern with x is a Beta variable.

In the limit of many units log n/d tends to the rates of the random energy model (`theory.random_energy_rate`). With
covariance Λ of eigenvalues λ they are (1/2d) Σ log(1 + λ/σ²) by distance, and by dot product A²/(2Bd), A = Σ λ/σ² and
B = Σ λ(λ + σ²)/σ⁴, by the same derivation.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import betainc, ndtr
from scipy.stats import ncx2

from dispersed import theory
from dispersed.capacities import CellFile, Gaussian, Spherical, capacity
from dispersed.capacities.cell import Trial, damaged_sets, recaller_of
from dispersed.capacities.corruption import Noise
from dispersed.capacities.ensembles import Ensemble
from dispersed.capacities.estimate import crossing
from dispersed.capacities.search import ladder
from dispersed.dynamics import ExponentialIntegrator, Iteration, recall
from dispersed.memories import ModernHopfield, PatternMemory
from dispersed.paper.parallel import in_parallel
from dispersed.paper.results import Row
from dispersed.paper.statistics import bootstrap_mean
from dispersed.precision import full_precision
from dispersed.validation import at_least, random_seed

ALPHA = 0.68
SIGMA = math.sqrt(1 - ALPHA**2) / ALPHA
HALF = 0.5
"""The error at capacity: half of the cues are decoded to another pattern."""
TRIALS = 400_000
"""Cues over which theory averages, a tenth of them for many units."""
LARGE = (32, 64, 128, 256)
"""Numbers of units for which only theory is evaluated."""
RECALLED = 12
"""The number of units with which whole recalls are compared with their decoders."""


class Kind(NamedTuple):
    """An ensemble of continuous patterns."""

    ensemble: Ensemble
    variances: Float[np.ndarray, " d"]
    """The eigenvalues of the covariance."""


def kinds(d: int) -> dict[str, Kind]:
    """The ensembles by name; all have patterns of mean square norm d."""
    unequal = np.where(np.arange(d) < d // 2, 1.8, 0.2)
    return {
        "gaussian": Kind(Gaussian(), np.ones(d)),
        "spherical": Kind(Spherical(), np.ones(d)),
        "correlated": Kind(Gaussian(np.diag(unequal)), unequal),
    }


@full_precision
def by_distance(memory: Any, cues: Any, key: Any) -> Any:
    """The pattern nearest to each cue."""
    y = memory.patterns
    return y[jnp.argmax(cues / ALPHA @ y.T - jnp.sum(y**2, axis=1) / 2, axis=1)]


@full_precision
def by_dot_product(memory: Any, cues: Any, key: Any) -> Any:
    """The pattern whose dot product with each cue is largest."""
    y = memory.patterns
    return y[jnp.argmax(cues @ y.T, axis=1)]


DECODERS = {"distance": by_distance, "dot product": by_dot_product}


def continuous(
    seed: int = 0,
    dimensions: Sequence[int] = (4, 8, 12),
    precision: float = 0.1,
    sets: int = 40,
    cells: CellFile | None = None,
) -> tuple[list[Row], list[Row], list[Row]]:
    """Rows of capacities by ensemble, decoder and dimension; of theory for more units; and of whole recalls."""
    random_seed(seed)
    jobs = [(d, name, decoder) for d in sorted(dimensions, reverse=True) for name in kinds(d) for decoder in DECODERS]

    def one(job: tuple[int, str, str]) -> Row:
        d, name, decoder = job
        found = capacity(
            PatternMemory,
            d,
            DECODERS[decoder],
            ensemble=kinds(d)[name].ensemble,
            alpha=ALPHA,
            measure="nearest",
            threshold=HALF,
            precision=precision,
            sets=at_least("sets", sets, 2),
            max_cues=64,
            seed=seed,
            cells=cells,
            name=f"{name} patterns by {decoder}",
        )
        row = _theory(name, decoder, d, seed)
        return row | {
            "capacity": found.capacity,
            "ci_low": found.ci_low,
            "ci_high": found.ci_high,
            "rate": math.log(found.capacity) / d,
            "sets": found.sets,
        }

    rows = in_parallel(one, jobs, "Continuous patterns")[::-1]
    large = [_theory(name, decoder, d, seed) for d in LARGE for name in kinds(d) for decoder in DECODERS]
    return rows, large, _recalls(seed, sets)


def _theory(name: str, decoder: str, d: int, seed: int) -> Row:
    expected = expected_capacity(name, decoder, d, seed)
    return {
        "ensemble": name,
        "decoder": decoder,
        "dimension": d,
        "expected": expected,
        "expected_rate": None if expected is None else math.log(expected) / d,
        "limit": limit_rate(name, decoder, d),
    }


def limit_rate(name: str, decoder: str, d: int) -> float:
    """The rate log n/d for many units; of correlated patterns with the spectrum of these d units."""
    if name != "correlated":
        return theory.random_energy_rate(ALPHA, name, decoder="euclidean" if decoder == "distance" else "dot")
    power = kinds(d)[name].variances / SIGMA**2
    if decoder == "distance":
        return float(np.log1p(power).sum() / 2 / d)
    return float(power.sum() ** 2 / (2 * (power * (power + 1)).sum()) / d)


def expected_capacity(name: str, decoder: str, d: int, seed: int = 0) -> float | None:
    """The number of patterns at which P(wrong) is one half, at this d; None where p has no closed form.

    What can be measured is interpolated between the numbers of patterns of `capacity`, for both: straight lines between
    them cross one half up to 1.5 % later than the curve does.
    """
    log_p = _independent(name, decoder, d, np.random.default_rng([seed, d]))
    if log_p is None:
        return None
    log_right = np.log1p(-np.exp(np.minimum(log_p, -1e-12)))

    def wrong(n: float) -> float:
        return float(np.mean(-np.expm1((n - 1) * log_right)))

    if d not in LARGE:
        rungs = np.array(ladder(4096), float)
        return float(crossing(rungs, np.array([wrong(n) for n in rungs]), HALF))
    return math.exp(brentq(lambda log_n: wrong(math.exp(log_n)) - HALF, 0, 600, xtol=1e-6))


def _independent(name: str, decoder: str, d: int, rng: np.random.Generator) -> Float[np.ndarray, " trials"] | None:
    """Log p of each trial's cue."""
    ensemble, variances = kinds(d)[name]
    trials = TRIALS // 10 if d in LARGE else TRIALS
    y = ensemble(rng, trials, d)
    z = y + SIGMA * rng.standard_normal((trials, d))
    with np.errstate(divide="ignore"):
        if name == "spherical":
            cosine = np.sum(y * z, axis=1) / np.linalg.norm(z, axis=1) / math.sqrt(d)
            tail = betainc((d - 1) / 2, 0.5, 1 - cosine**2) / 2
            return np.log(np.where(cosine > 0, tail, 1 - tail))
        if decoder == "dot product":
            # The covariance is diagonal.
            return np.log(ndtr(-np.sum(y * z, axis=1) / np.sqrt((z**2 * variances).sum(axis=1))))
        if name == "correlated":
            return None
        return np.log(ncx2.cdf(np.sum((y - z) ** 2, axis=1), d, np.sum(z**2, axis=1)))


def _recalls(seed: int, sets: int) -> list[Row]:
    """Errors of whole recalls and of their decoders on the same cues, and how often both name the same pattern."""
    memories: dict[str, tuple[Any, Any, str]] = {
        "exact diffusion": (PatternMemory, ExponentialIntegrator(20), "distance"),
        "modern Hopfield": (_hopfield, _updates, "dot product"),
    }
    rows = []
    for name in ("gaussian", "spherical"):
        for n in (8, 16, 32):

            def named(family: Any, way: Any, name: str = name, n: int = n) -> Any:
                """The pattern nearest to what each cue is recalled as, or decoded to."""
                trial = Trial(family, RECALLED, way, Noise(ALPHA), kinds(RECALLED)[name].ensemble, None, seed=seed)
                patterns, cues = damaged_sets(trial, n, range(sets))
                states = recaller_of(trial, n, sets)(patterns, cues, range(sets))
                return np.argmin(((states[:, :, None] - patterns[:, None]) ** 2).sum(axis=3), axis=2)

            decoded = {decoder: named(PatternMemory, way) for decoder, way in DECODERS.items()}
            same = float(np.mean(decoded["distance"] == decoded["dot product"]))
            for memory, (family, dynamics, decoder) in memories.items():
                ended = named(family, dynamics)
                value, low, high = bootstrap_mean((ended != np.arange(n)).mean(axis=1), seed)
                rows.append(
                    {
                        "ensemble": name,
                        "memory": memory,
                        "dimension": RECALLED,
                        "n_patterns": n,
                        "error": value,
                        "ci_low": low,
                        "ci_high": high,
                        "decoder_error": float(np.mean(decoded[decoder] != np.arange(n))),
                        "as_decoded": float(np.mean(ended == decoded[decoder])),
                        "decoders_agree": same,
                        "cues": ended.size,
                    }
                )
    return rows


def _hopfield(patterns: Any) -> ModernHopfield:
    """At the temperature of the noise."""
    return ModernHopfield(patterns, 1 / SIGMA**2)


def _updates(memory: Any, cues: Any, key: Any) -> Any:
    return recall(memory, cues / ALPHA, Iteration(150)).x
