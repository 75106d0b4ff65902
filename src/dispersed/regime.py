r"""Regimes of diffusion over a set of patterns: at which noise its classes, and at which its patterns, are resolved.

As the noise of a cue x = y_j + σε falls, a diffusion model over n patterns passes through regimes (Biroli et al. 2024):

- above *speciation* all is one cloud; there the slope of D at its centre reaches 1 and the first classes split;
- between speciation and *collapse* the class is decided and the pattern is not: new states are generated;
- below collapse one pattern has all probability: what is generated is a copy.

All of it is read from the exact posterior of noisy patterns, with cues that are the same at every level. Intervals are
of 95 %, by resampling the cues.

**Sources**: Biroli, Bonnaire, de Bortoli & Mézard (2024), Dynamical regimes of diffusion models; Raya & Ambrogioni
(2023), Spontaneous symmetry breaking in generative diffusion models; Dodson et al. (2026), arXiv 2602.17846, for W_σ
and C_σ.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from scipy.optimize import brentq
from scipy.sparse.csgraph import connected_components
from scipy.special import logsumexp
from scipy.stats import chi2

from dispersed.diagnostics import jacobian_spectrum
from dispersed.dynamics import Iteration, recall
from dispersed.memories import PatternMemory
from dispersed.progress import track
from dispersed.resampling import expanded_percentiles
from dispersed.types import Array, ArrayLike, Float, Key
from dispersed.validation import InputError, double_array, plain_array, positive, random_key, state_array, whole_number

LEADING = 8
"""The likeliest patterns of each posterior, which give the weight of all others without cancellation."""
RESAMPLES = 400
MOST_CUES = 100_000
SHELL = 0.99
"""The probability with which the noise of a pattern ends in its shell."""


class Estimate(NamedTuple):
    """A number with its 95 % interval; NaN where it does not exist within the levels that were tried."""

    value: float
    low: float
    high: float


class Regimes(eqx.Module):
    """What the exact score says at each of some noise levels, from the highest to the lowest.

    Curves are arrays (levels, 3): the mean over cues, and the ends of its interval.
    """

    sigma: Float[np.ndarray, " levels"]
    """The noise levels."""
    certainty: Float[np.ndarray, "levels 3"]
    """W_σ = E max_j p(j | y + σε) over noisy patterns: 1 where a copy is certain."""
    covered: Float[np.ndarray, "levels 3"] | None
    """C_σ: the fraction of noisy held-out states that lie as near to a pattern as its own noise brings 99 % of its
    cues; None without held-out states."""
    effective_patterns: Float[np.ndarray, "levels 3"]
    """The exponential of the posterior's mean entropy: how many patterns share a state."""
    log_odds: Float[np.ndarray, "levels 3"]
    """The mean log odds of the pattern behind the cue against all others together, in nats; duplicates count as one."""
    cloning: Float[np.ndarray, "levels 3"]
    """φ(σ) by basins: the probability that two recalls from one state end at the same pattern, E Σ_j p(j | x)²."""
    cloning_of_classes: Float[np.ndarray, "levels 3"] | None
    """φ(σ) by classes, E Σ_c p(c | x)²; None without labels."""
    local_dimension: Float[np.ndarray, "levels 3"]
    """Σ min(e, 1) over the eigenvalues e of ∂D_σ/∂x at some of the cues."""
    attractors: Float[np.ndarray, " levels"]
    """The number of attractors of x ← D_σ(x) that some of the cues lead to."""
    speciation: Estimate
    """σ at which the slope of D_σ at the mean of the data reaches 1; NaN where it does not above the collapse."""
    speciation_of_covariance: Estimate
    """The same by √Λ, Λ the largest eigenvalue of the patterns' covariance."""
    collapse: Estimate
    """σ at which the mean log odds vanish."""
    patterns: int
    dimension: int

    def rows(self) -> list[dict[str, float | None]]:
        """One row a noise level: every curve, and the interval of each."""
        curves = ("certainty", "covered", "effective_patterns", "log_odds", "cloning", "cloning_of_classes")
        rows: list[dict[str, float | None]] = []
        for level, sigma in enumerate(self.sigma):
            row: dict[str, float | None] = {"sigma": float(sigma)}
            for name in (*curves, "local_dimension"):
                curve = getattr(self, name)
                mean, low, high = (None,) * 3 if curve is None else map(float, curve[level])
                row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
            rows.append(row | {"attractors": float(self.attractors[level])})
        return rows

    def levels(self) -> dict[str, float | None]:
        """Speciation and collapse with the ends of their intervals, as columns; None where there is none."""
        columns: dict[str, float | None] = {}
        for name in ("speciation", "collapse"):
            for end, value in zip(("", "_low", "_high"), getattr(self, name), strict=True):
                columns[name + end] = None if np.isnan(value) else float(value)
        return columns

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} at σ = {_told(getattr(self, name))}" for name in ("speciation", "collapse"))
        return f"Regimes({self.patterns} patterns of {self.dimension} units, {parts})"


def regimes(
    patterns: ArrayLike | PatternMemory | Any,
    held_out: ArrayLike | None = None,
    labels: ArrayLike | Sequence[Any] | None = None,
    *,
    key: Key[Array, ""],
    sigmas: ArrayLike | None = None,
    cues: int = 200,
) -> Regimes:
    """The regimes of the exact diffusion model over a set of patterns, at every noise level.

    **Arguments**

    - `patterns`: a `PatternMemory`, or anything that it accepts; of any size.
    - `held_out`: further states (m, d) of the same kind, which are not stored.
    - `labels`: the class of each pattern, (n,); numbers or text.
    - `key`: for the cues.
    - `sigmas`: the noise levels; by default 24, from where nothing has split to where every pattern is alone.
    - `cues`: noisy patterns at each level, the same patterns and noise at all of them.

    **Raises** `InputError` for fewer than two distinct patterns, and for labels or held-out states of another shape.

    >>> import jax, numpy as np, dispersed
    >>> y = np.random.default_rng(0).standard_normal((200, 5))
    >>> y[:100] += 4  # two classes, which split before patterns collapse
    >>> found = dispersed.regimes(y, key=jax.random.key(0), cues=50)
    >>> bool(found.collapse.value < found.speciation.value)
    True
    """
    random_key(key)
    memory = patterns if isinstance(patterns, PatternMemory) else PatternMemory(patterns)
    n, d = memory.held.shape
    count = whole_number("cues", cues, 10, MOST_CUES)
    if n < 2:
        raise InputError("patterns", f"got {n}", "at least two are accepted")
    for_choice, for_noise, for_held_out = jax.random.split(key, 3)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(for_choice)))
    log_w = np.asarray(memory.log_weights, float)
    log_w = log_w - logsumexp(log_w)
    weights = np.exp(log_w)
    # Without replacement rare patterns would be cues as often as others; of equal weights it is the better sample.
    again = count > n or bool(np.ptp(log_w) > 0)
    behind = memory.held.rows(rng.choice(n, count, replace=again, p=weights))
    noise = np.asarray(jax.random.normal(for_noise, (count, d)))
    centre, wide, total = _widest(memory, weights)
    if wide.value == 0:
        raise InputError("patterns", "got equal ones", "at least two different patterns are accepted")
    levels = _levels(memory, behind, wide.value, total) if sigmas is None else _checked(sigmas)
    fresh = None if held_out is None else _some_of(held_out, d, count, rng)
    fresh_noise = np.asarray(jax.random.normal(for_held_out, (count, d)))
    classes = None if labels is None else _classes(memory, log_w, labels)
    multiplicity = _multiplicities(memory, weights, behind)

    found: dict[str, list[Any]] = {}
    for sigma in track(levels, "Noise levels"):
        x = (behind + sigma * noise).astype(behind.dtype)
        at = _at_level(memory, x, float(sigma), behind, multiplicity)
        if classes is not None:
            at["cloning_of_classes"] = _same_class(classes, x, float(sigma))
        if fresh is not None:
            at["covered"] = _in_shell(memory, (fresh + sigma * fresh_noise).astype(behind.dtype), float(sigma))
        for name, values in at.items():
            found.setdefault(name, []).append(values)

    def curve(name: str, function: Callable[[Any], Any] = lambda means: means) -> Any:
        return None if name not in found else np.stack([function(_interval(values, rng)) for values in found[name]])

    collapse = _crossing(levels, np.stack(found["log_odds"]), rng)
    split = _unstable(memory, centre, wide.value, np.fmax(collapse.value, wide.value / 100))
    relative = np.array([wide.low, wide.high]) / wide.value
    return Regimes(
        sigma=levels,
        certainty=curve("certainty"),
        covered=curve("covered"),
        effective_patterns=curve("entropy", np.exp),
        log_odds=curve("log_odds"),
        cloning=curve("cloning"),
        cloning_of_classes=curve("cloning_of_classes"),
        local_dimension=curve("local_dimension"),
        attractors=np.concatenate(found["attractors"]).astype(float),
        speciation=Estimate(split, *map(float, split * relative)),
        speciation_of_covariance=wide,
        collapse=collapse,
        patterns=n,
        dimension=d,
    )


def _some_of(held_out: Any, d: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """So many of the held-out states, each more than once only if they are too few."""
    states = np.asarray(state_array("held_out", held_out, d), float).reshape(-1, d)
    if not len(states):
        raise InputError("held_out", "got no states", f"at least one state of {d} units is accepted")
    return states[rng.choice(len(states), count, replace=count > len(states))]


def _at_level(
    memory: PatternMemory, x: np.ndarray, sigma: float, behind: np.ndarray, multiplicity: np.ndarray
) -> dict[str, np.ndarray]:
    """What is measured of the cues at one noise level, beside the patterns behind them."""
    spectrum = np.asarray(jacobian_spectrum(memory, x[: max(4, min(16, 1024 // x.shape[1]))], sigma))
    return _posterior_of_cues(memory, x, sigma, behind, multiplicity) | {
        "local_dimension": np.clip(spectrum, 0, 1).sum(axis=1),
        "attractors": np.array([_attractors(memory, x[:32], sigma)]),
    }


def _posterior_of_cues(
    memory: PatternMemory, x: np.ndarray, sigma: float, behind: np.ndarray, multiplicity: np.ndarray
) -> dict[str, np.ndarray]:
    """What the posterior of each cue says, and of the pattern behind it."""
    n, d = memory.held.shape
    posterior = memory.posterior(x, sigma, leading=min(LEADING, n))
    p = np.asarray(posterior.responsibilities, float)
    # log p(j | x) of the pattern behind the cue, all of its duplicates together.
    distance = ((np.asarray(x, float) - behind) ** 2).sum(axis=1)
    log_likelihood = -distance / (2 * sigma**2) - d * np.log(sigma * np.sqrt(2 * np.pi))
    log_p = np.log(multiplicity) + log_likelihood - np.asarray(posterior.log_density, float)
    own = np.asarray(posterior.index)
    same = (memory.held.rows(np.maximum(own, 0).reshape(-1)).reshape(*own.shape, d) == behind[:, None]).all(axis=-1)
    rest = np.where(same, 0, p).sum(axis=1) + np.clip(1 - p.sum(axis=1), 0, None)
    # Where the pattern leads, what is left is the sum of the others; elsewhere it has next to nothing.
    others = np.where(same.any(axis=1), np.maximum(rest, np.finfo(x.dtype).tiny), -np.expm1(np.minimum(log_p, -1e-9)))
    return {
        "certainty": p[:, 0],
        "entropy": np.asarray(posterior.entropy, float),
        "log_odds": log_p - np.log(others),
        "cloning": (p**2).sum(axis=1),
    }


def _same_class(classes: tuple[list[PatternMemory], np.ndarray], x: np.ndarray, sigma: float) -> np.ndarray:
    """Σ_c p(c | x)² of each state."""
    memories, log_weights = classes
    log_p = log_weights + np.stack([np.asarray(memory.log_density(x, sigma), float) for memory in memories], axis=-1)
    return (np.exp(log_p - logsumexp(log_p, axis=-1, keepdims=True)) ** 2).sum(axis=-1)


def _classes(memory: PatternMemory, log_w: np.ndarray, labels: Any) -> tuple[list[PatternMemory], np.ndarray]:
    """A memory for each class, and the logarithm of its weight."""
    n = memory.held.shape[0]
    names = plain_array("labels", labels)
    if names.shape != (n,):
        raise InputError("labels", f"got shape {names.shape}", f"one label for each of the {n} patterns is accepted")
    if names.dtype == object:
        names = names.astype(str)
    if names.dtype.kind == "f" and np.isnan(names).any():
        raise InputError("labels", f"got {np.isnan(names).sum()} NaN", "a label for each pattern is accepted")
    members = [np.flatnonzero(names == name) for name in np.unique(names)]
    memories = [PatternMemory(memory.held.rows(part), log_weights=log_w[part]) for part in members]
    return memories, np.array([logsumexp(log_w[part]) for part in members])


def _checked(sigmas: Any) -> np.ndarray:
    """The noise levels that were given, falling."""
    levels = double_array("sigmas", sigmas)
    if levels.ndim != 1 or not levels.size:
        raise InputError("sigmas", f"got shape {levels.shape}", "a list of at least one noise level is accepted")
    positive("sigmas", levels)
    return np.sort(levels)[::-1]


def _in_shell(memory: PatternMemory, x: np.ndarray, sigma: float) -> np.ndarray:
    """Whether each state is as near to its likeliest pattern as that pattern's own noise would bring it."""
    index = np.asarray(memory.posterior(x, sigma, leading=1).index)[:, 0]
    square = ((np.asarray(x, float) - memory.held.rows(index)) ** 2).sum(axis=1) / sigma**2
    return (square <= chi2.ppf(SHELL, x.shape[1])).astype(float)


def _attractors(memory: PatternMemory, x: np.ndarray, sigma: float) -> int:
    """The number of distinct ends of x ← D_σ(x)."""
    ends = np.asarray(recall(memory, x, Iteration(60, tol=1e-3), sigma=sigma).x, float)
    near = np.linalg.norm(ends[:, None] - ends, axis=-1) < 0.1 * sigma * np.sqrt(x.shape[1])
    return int(connected_components(near, directed=False)[0])


def _widest(memory: PatternMemory, weights: np.ndarray) -> tuple[np.ndarray, Estimate, float]:
    """The mean of the patterns, √Λ, Λ the largest eigenvalue of their covariance, with its interval, and the trace."""
    n, _ = memory.held.shape
    mean = np.asarray(memory.prior_start()[0], float)
    total, square = 0.0, 0.0
    covariance: Any = 0.0
    parts = [np.arange(start, min(start + 65_536, n)) for start in range(0, n, 65_536)]
    for part in parts:
        gap = np.asarray(memory.held.rows(part), float) - mean
        covariance = covariance + (weights[part, None] * gap).T @ gap
    values, vectors = np.linalg.eigh(covariance)
    for part in parts:
        along = (np.asarray(memory.held.rows(part), float) - mean) @ vectors[:, -1]
        total, square = total + weights[part] @ along**2, square + weights[part] @ along**4
    width = float(np.sqrt(max(values[-1], 0)))
    # The standard error of a variance; half of it, relatively, is that of the width.
    error = 0.0 if width == 0 else float(np.sqrt(max(square - total**2, 0) * (weights**2).sum())) / total / 2
    return mean, Estimate(width, width * (1 - 1.96 * error), width * (1 + 1.96 * error)), float(values.sum())


def _levels(memory: PatternMemory, behind: np.ndarray, wide: float, total: float) -> np.ndarray:
    """24 levels, from where nothing has split or collapsed down to where most patterns are alone.

    Nothing has split at three times the width of the data. In many dimensions patterns are resolved above that: with
    V the mean of ‖y_j − y_k‖² over pairs the mean log odds are at most V/2σ² − log(n − 1), by Jensen's inequality,
    which is below 0 from σ² = V/(2 log(n − 1)) on. V is twice the `total` variance, times n/(n − 1).
    """
    n, _ = memory.held.shape
    alike = math.sqrt(total * n / ((n - 1) * math.log(n - 1))) if n > 2 else 0.0
    some = memory.held.rows(np.unique(np.linspace(0, n - 1, 2000).astype(int)))
    square = ((behind[:64, None] - some) ** 2).sum(axis=-1)
    between = np.sqrt(np.where(square > 0, square, np.inf).min(axis=1))
    nearest = float(np.median(between[np.isfinite(between)])) if np.isfinite(between).any() else wide
    return np.geomspace(max(3 * wide, 1.2 * alike), nearest / (2 * np.sqrt(2 * np.log(n) + 1)), 24)


def _multiplicities(memory: PatternMemory, weights: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """The prior weight of each pattern and all of its exact duplicates together."""

    def as_keys(rows: np.ndarray) -> np.ndarray:
        # Zeros of both signs are one number.
        return np.ascontiguousarray(rows + 0.0).view(np.dtype((np.void, rows.itemsize * rows.shape[1])))[:, 0]

    keys, inverse = np.unique(as_keys(behind), return_inverse=True)
    total = np.zeros(len(keys))
    for start in range(0, len(weights), 65_536):
        part = np.arange(start, min(start + 65_536, len(weights)))
        found = as_keys(memory.held.rows(part))
        place = np.minimum(np.searchsorted(keys, found), len(keys) - 1)
        equal = keys[place] == found
        np.add.at(total, place[equal], weights[part[equal]])
    return total[inverse]


def _unstable(memory: PatternMemory, centre: np.ndarray, wide: float, least: float) -> float:
    """σ at which the largest eigenvalue of ∂D_σ/∂x at the centre of the data reaches 1 as noise falls to `least`."""
    x = centre.astype(memory.held.rows(np.array([0])).dtype)

    def excess(log_sigma: float) -> float:
        return float(jacobian_spectrum(memory, x, math.exp(log_sigma))[0]) - 1

    high, step = math.log(4 * wide), math.log(1.15)
    while excess(high - step) < 0:
        high -= step
        if high < math.log(least):
            return math.nan
    split = math.exp(brentq(excess, high, high - step, xtol=1e-9)) if excess(high) < 0 else math.exp(high)
    return split if split >= least else math.nan


def _interval(values: Any, rng: np.random.Generator) -> np.ndarray:
    """The mean of values and its 95 % interval."""
    values = np.asarray(values, float)
    means = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1)
    return np.array([values.mean(), *np.quantile(means, expanded_percentiles(len(values)))])


def _crossing(levels: np.ndarray, values: np.ndarray, rng: np.random.Generator) -> Estimate:
    """σ at which the mean of values (levels, cues), which rises as σ falls, first reaches 0; by resampling cues."""

    def sigma(means: np.ndarray) -> float:
        above = np.flatnonzero(means >= 0)
        if not len(above) or above[0] == 0:
            return np.nan
        i = above[0]
        part = -means[i - 1] / (means[i] - means[i - 1])
        return float(np.exp((1 - part) * np.log(levels[i - 1]) + part * np.log(levels[i])))

    cues = values.shape[1]
    again = [sigma(values[:, rng.integers(cues, size=cues)].mean(axis=1)) for _ in range(RESAMPLES)]
    ends = expanded_percentiles(cues)
    low, high = np.nanquantile(again, ends) if np.isfinite(again).any() else (np.nan, np.nan)
    return Estimate(sigma(values.mean(axis=1)), float(low), float(high))


def _told(estimate: Estimate) -> str:
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"


__all__ = ["Estimate", "Regimes", "regimes"]
