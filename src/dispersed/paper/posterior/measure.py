"""Probabilistic recall (Sec. 5.1): does recall by the reverse SDE sample the posterior over memories?

Three questions, each to ±1 patterns and cues x = αy + √(1−α²)ε:

- One ambiguous cue, recalled 4,000 times: is the recalled distribution the exact posterior p(j | x)? Asked of
  the reverse SDE in variance-exploding and variance-preserving time, which an exact change of time makes the
  same process, and of ancestral sampling of order 1 and 2.
- The same with few steps and very many recalls, so that the solver's bias shows above the sampling error: does
  the bias vanish as the weak order says?
- Many cues: of the memories recalled with frequency p, is a fraction p the truth?
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats
from scipy.optimize import curve_fit

from dispersed.dynamics import AncestralSampling, Dynamics, Posterior, ReverseSDE, recall_many, reliability
from dispersed.dynamics.grids import uniform_time
from dispersed.memories import PatternMemory
from dispersed.noise import sigma_from_alpha
from dispersed.paper.results import Row
from dispersed.paper.table1.measure import random_patterns
from dispersed.processes import VE, VP, Process
from dispersed.progress import track
from dispersed.types import Array
from dispersed.validation import at_least, random_seed

ALPHA = 0.45
PATTERNS, UNITS = 8, 6
STEPS_ENOUGH = 300
METHODS = {
    "sde_ve": "reverse SDE, VE time, Euler–Maruyama",
    "sde_vp": "reverse SDE, VP time, Euler–Maruyama",
    "ancestral": "ancestral sampling (order 1 in log σ)",
    "ancestral_2": "ancestral sampling, Heun (order 2 in log σ)",
}
"""The samplers compared, by their name in the results."""
DECLARED = {"sde_ve": 1, "sde_vp": 1, "ancestral": 1, "ancestral_2": 2}
"""The weak order of each."""
REPEATS = {"sde_ve": 1, "sde_vp": 1, "ancestral": 2, "ancestral_2": 6}
"""How many times more recalls each gets: they take fewer steps, and the smaller bias needs them."""
INTERVALS = {"sde_ve": (16, 32, 64), "sde_vp": (8, 16, 32, 64), "ancestral": (8, 16, 32), "ancestral_2": (6, 12, 24)}
"""Step counts at which the bias is measured: fine enough to show its leading order, coarse enough to show it."""
SIGMA_MIN = 0.25
"""Where ancestral sampling ends: patterns are at least 2 apart, and at this noise all is decided."""


def _sampler(method: str, intervals: int) -> tuple[Dynamics, Process]:
    if method == "sde_ve":
        return ReverseSDE(steps=intervals, sigma_min=0.0, grid=uniform_time), VE()
    if method == "sde_vp":
        return ReverseSDE(steps=intervals, sigma_min=0.0, grid=uniform_time), VP()
    # One step more: the last, to σ = 0, is not on the grid in log σ.
    return AncestralSampling(intervals + 1, DECLARED[method], SIGMA_MIN), VE()


def posterior(samples: int = 4000, repeats: int = 50, cues: int = 400, seed: int = 0) -> list[Row]:
    """The three questions, as rows of four kinds, named in the column `part`.

    - "recall": `method`, `pattern`, `exact`, `frequency`, `ci_low`, `ci_high`, one row per stored pattern.
    - "steps": `method`, `steps`, `samples`, `total_variation` (the mean over `repeats` such recalls of the cue),
      `sampling_floor` (what exact draws would give), and the solver's `bias` with its standard `error`.
    - "order": `method`, `order`, `ci_low`, `ci_high`, `declared`.
    - "calibration": `method`, `stated`, `observed`, `ci_low`, `ci_high`, `pairs`, and over all bins `gap` and
      `p_value`.
    """
    at_least("samples", samples, 100)
    at_least("repeats", repeats, 5)
    at_least("cues", cues, 20)
    random_seed(seed)
    for_cue, for_recall, for_cues = jax.random.split(jax.random.key(seed), 3)
    # Patterns and cue are fixed and only noise depends on the seed, so that orders stay comparable. Two of the
    # patterns are equal and count as one.
    memory = PatternMemory(random_patterns(jax.random.key(3), PATTERNS, UNITS))
    sigma = sigma_from_alpha(ALPHA)
    cue = VE().corrupt(memory.patterns[0], sigma=sigma, key=jax.random.key(5))
    rows = _one_cue(memory, cue, sigma, samples, for_cue)
    for number, method in enumerate(track(METHODS, "Posterior, steps")):
        rows += _steps(
            memory, cue, sigma, method, samples, repeats * REPEATS[method], jax.random.fold_in(for_recall, number)
        )
    return rows + _calibration(cues, for_cues)


def _recall(
    memory: PatternMemory,
    cue: Array,
    sigma: Array,
    method: str,
    intervals: int,
    samples: int,
    key: Array,
    repeats: int | None = None,
) -> Posterior:
    dynamics, process = _sampler(method, intervals)
    x = process.scale_at(sigma) * cue
    if repeats is not None:
        x = jnp.broadcast_to(x, (repeats, UNITS))
    return recall_many(memory, x, dynamics, samples=samples, sigma=sigma, process=process, key=key)


def _one_cue(memory: PatternMemory, cue: Array, sigma: Array, samples: int, key: Array) -> list[Row]:
    rows: list[Row] = []
    for number, method in enumerate(track(METHODS, "Posterior, one cue")):
        found = _recall(memory, cue, sigma, method, STEPS_ENOUGH, samples, jax.random.fold_in(key, number))
        low, high = found.intervals()
        for j in range(PATTERNS):
            rows.append(
                {
                    "part": "recall",
                    "method": method,
                    "pattern": j,
                    "exact": float(found.exact[j]),
                    "frequency": float(found.frequencies[j]),
                    "ci_low": float(low[j]),
                    "ci_high": float(high[j]),
                    "steps": STEPS_ENOUGH,
                    "samples": samples,
                    "total_variation": float(found.total_variation),
                    "sampling_floor": float(found.expected_total_variation),
                    "p_value": float(found.chi_squared().p_value),
                }
            )
    return rows


def _steps(
    memory: PatternMemory, cue: Array, sigma: Array, method: str, samples: int, repeats: int, key: Array
) -> list[Row]:
    """Total variation at few steps, and the weak order of the bias.

    Total variation has a floor set by the number of recalls. The bias is therefore measured over all repeats
    as ½ Σ_j s_j (f_j − p_j), with the signs s of an independent coarse run: where the bias keeps its direction
    that is the total variation of infinitely many recalls, estimated without a floor.
    """
    rows: list[Row] = []

    def run(intervals: int, label: int) -> tuple[Posterior, Array]:
        own = jax.random.fold_in(jax.random.fold_in(key, intervals), label)
        found = _recall(memory, cue, sigma, method, intervals, samples, own, repeats)
        return found, found.frequencies.mean(axis=0) - found.exact[0]

    signs = jnp.sign(run(INTERVALS[method][0], 1)[1]) / 2
    for intervals in INTERVALS[method]:
        found, difference = run(intervals, 0)
        p = found.exact[0]
        rows.append(
            {
                "part": "steps",
                "method": method,
                "steps": intervals,
                "samples": samples,
                "repeats": repeats,
                "total_variation": float(found.total_variation.mean()),
                "sampling_floor": float(found.expected_total_variation[0]),
                "bias": float(signs @ difference),
                "error": float(jnp.sqrt((signs**2 @ p - (signs @ p) ** 2) / (samples * repeats))),
            }
        )
    if rows[0]["bias"] > 2 * rows[0]["error"]:
        steps, bias, error = (np.array([row[name] for row in rows], dtype=float) for name in ("steps", "bias", "error"))
        order, low, high = _order(steps, bias, error)
        label = {"part": "order", "method": method, "declared": DECLARED[method]}
        rows.append(label | {"order": order, "ci_low": low, "ci_high": high})
    return rows


def _order(steps: np.ndarray, bias: np.ndarray, error: np.ndarray) -> tuple[float, float, float]:
    """The p of bias = c steps^−p with its 95 % interval.

    Fitted to the biases themselves and to all of them: logarithms would leave out those that happen to be
    negative, and keep of the small ones only those that chance made large.
    """

    def power(steps: np.ndarray, first: float, order: float) -> np.ndarray:
        return first * (steps / steps[0]) ** -order

    found, covariance = curve_fit(power, steps, bias, p0=(bias[0], 1.0), sigma=error, absolute_sigma=True)
    half = stats.norm.ppf(0.975) * np.sqrt(covariance[1, 1])
    return float(found[1]), float(found[1] - half), float(found[1] + half)


def _calibration(cues: int, key: Array) -> list[Row]:
    """Reliability over cues of random patterns, of the exact posterior and of 400 recalls a cue."""
    for_patterns, for_choice, for_noise, for_recall = jax.random.split(key, 4)
    memory = PatternMemory(random_patterns(for_patterns, 20, 10))
    truth = jax.random.choice(for_choice, 20, (cues,))
    x = VP().corrupt(memory.patterns[truth], alpha=ALPHA, key=for_noise)
    found = recall_many(memory, x, AncestralSampling(), samples=400, alpha=ALPHA, key=for_recall)
    rows: list[Row] = []
    for method, stated in (("exact", found.exact), ("recalled", found.frequencies)):
        curve = reliability(stated, truth)
        for b in range(len(curve.pairs)):
            rows.append(
                {
                    "part": "calibration",
                    "method": method,
                    "stated": float(curve.stated[b]),
                    "observed": float(curve.observed[b]),
                    "ci_low": float(curve.low[b]),
                    "ci_high": float(curve.high[b]),
                    "pairs": int(curve.pairs[b]),
                    "gap": curve.gap,
                    "expected_gap": curve.expected_gap,
                    "p_value": curve.p_value,
                    "cues": cues,
                }
            )
    test = found.chi_squared()
    rows.append(
        {
            "part": "cues",
            "method": "recalled",
            "cues": cues,
            "samples": 400,
            "total_variation": float(found.total_variation.mean()),
            "sampling_floor": float(found.expected_total_variation.mean()),
            "statistic": float(test.statistic.sum()),
            "freedom": int(test.freedom.sum()),
            "effective_number": float(found.effective_number.mean()),
        }
    )
    return rows
