r"""What theory says of capacity, and of where diffusion splits and collapses: closed forms and solved equations.

Capacities of ±1 patterns as *fixed points* hold for many units, without noise in the cue and without tolerance. A
measured capacity requires recall from a noisy cue with a few per cent of the units wrong, at small d: theory then shows
the law of growth. The random energy picture and the channel bounds are of recall from noisy cues, for many units and
log n ∝ d.

Rates are natural logarithms of numbers of patterns per unit.
"""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import erf, gammaln, ndtr
from scipy.stats import binom

from dispersed.types import ArrayLike
from dispersed.validation import (
    InputError,
    at_least,
    check_finite,
    double_array,
    double_number,
    positive_number,
    probability,
)

MOST_UNITS = 100_000
"""The most units of which all numbers of wrong ones are summed."""

# --- Hopfield networks: how many patterns are fixed points ------------------------------------------------------------


def ags_overlap(load: float) -> float:
    r"""The overlap m with a stored pattern of Hebb's network without noise, at a load α = n/d up to α_c.

    Of the replica-symmetric equations m = erf(m/√(2αr)), C = √(2/(παr)) e^{−m²/(2αr)}, r = 1/(1 − C)², what is left
    with z = m/√(αr) is

        √α = erf(z/√2)/z − √(2/π) e^{−z²/2},    m = erf(z/√2),

    whose largest z is the retrieval state.

    Raises `InputError` for loads outside of (0, α_c].

    **Source**: Amit, Gutfreund & Sompolinsky (1985), Storing infinite numbers of patterns in a spin-glass model of
    neural networks.

    >>> round(ags_overlap(0.1), 4)
    0.998
    """
    load, best, most = double_number("load", load), _ags_root(), ags_capacity()
    if not 0 < load <= most:
        raise InputError("load", f"got {load!r}", f"loads in (0, {most:.6f}] have a retrieval state")
    # Above z = 1/√α + 1 the left side, at most 1/z, is smaller than √α.
    z = brentq(lambda z: _ags(z) - math.sqrt(load), best, 1 / math.sqrt(load) + 1, xtol=1e-14, rtol=1e-14)
    return float(erf(z / math.sqrt(2)))


def ags_capacity() -> float:
    """α_c of Hebb's network without noise, the largest load at which the equations of `ags_overlap` have a solution.

    **Source**: Amit, Gutfreund & Sompolinsky (1985).

    >>> round(ags_capacity(), 6)
    0.137906
    """
    return _ags(_ags_root()) ** 2


def _ags(z: float) -> float:
    return float(erf(z / math.sqrt(2))) / z - math.sqrt(2 / math.pi) * math.exp(-(z**2) / 2)


def _ags_root() -> float:
    """Where √α is largest: its derivative (1/z + z) √(2/π) e^{−z²/2} = erf(z/√2)/z² is zero."""

    def slope(z: float) -> float:
        return (1 + z**2) * z * math.sqrt(2 / math.pi) * math.exp(-(z**2) / 2) - float(erf(z / math.sqrt(2)))

    return float(brentq(slope, 1.0, 4.0, xtol=1e-14, rtol=1e-14))


def gardner_load(margin: float = 0.0) -> float:
    """The largest load at which couplings with margin κ exist, 1/∫_{−κ}^∞ Dz (z + κ)² = 1/((1 + κ²)Φ(κ) + κφ(κ)).

    **Source**: Gardner (1988), The space of interactions in neural network models.

    >>> gardner_load()
    2.0
    """
    kappa = double_number("margin", margin)
    # For κ → −∞ the terms cancel; the integral is then far below the round-off of either.
    if kappa < -5:
        # By z = t/|κ| − κ, without the factor e^{−κ²/2}, which underflows.
        rest = quad(lambda t: t**2 * math.exp(-t - (t / kappa) ** 2 / 2), 0, math.inf, epsabs=0, epsrel=1e-12)[0]
        log_load = kappa**2 / 2 + math.log(2 * math.pi) / 2 + 3 * math.log(-kappa) - math.log(rest)
        return math.exp(log_load) if log_load < 709 else math.inf
    return 1 / ((1 + kappa * kappa) * float(ndtr(kappa)) + kappa * _normal(kappa))


def krotov_hopfield_error(units: int | float, patterns: int | float, degree: int) -> float:
    """The probability that a unit of a stored pattern is unstable, for F(a) = aⁿ of many units.

    P = Q(√(N^{n−1}/(K(2n−3)!!))), N units, K patterns, Q the upper tail of the standard normal distribution.

    **Source**: Krotov & Hopfield (2016), Dense associative memory for pattern recognition.
    """
    degree = at_least("degree", degree, 2)
    units, patterns = _positive("units", units), _positive("patterns", patterns)
    log_ratio = (degree - 1) * math.log(units) - math.log(patterns) - _log_double_factorial(degree)
    return float(ndtr(-math.exp(min(log_ratio / 2, 700))))


def polynomial_capacity(dimension: ArrayLike, degree: int) -> Float[np.ndarray, "..."]:
    """d^{n−1}/(2 (2n−3)!! ln d) for F(a) = aⁿ: a typical pattern is a fixed point (Krotov & Hopfield 2016)."""
    d = _units(dimension)
    degree = at_least("degree", degree, 2)
    log_numerator = (degree - 1) * np.log(d) - math.log(2) - _log_double_factorial(degree)
    with np.errstate(over="ignore", divide="ignore"):  # at d = 1 and beyond the largest number it is infinite
        return np.asarray(np.exp(log_numerator) / np.log(d))


def classical_capacity(dimension: ArrayLike) -> Float[np.ndarray, "..."]:
    """d/(2 ln d): a typical pattern is a fixed point of the classical network; half as many for all of them.

    Sec. 2.1 of the paper prints D/4 log₂ D.

    **Source**: McEliece, Posner, Rodemich & Venkatesh (1987), The capacity of the Hopfield associative memory.
    """
    return polynomial_capacity(dimension, 2)


def exponential_capacity(dimension: ArrayLike) -> Float[np.ndarray, "..."]:
    """2^{d/2} for F(a) = e^a: all patterns are fixed points.

    **Source**: Demircigil et al. (2017), On a model of associative memory with huge storage capacity.
    """
    with np.errstate(over="ignore"):
        return np.asarray(2 ** (_units(dimension) / 2))


def _units(dimension: ArrayLike) -> Float[np.ndarray, "..."]:
    """Numbers of units, in double precision; between whole ones, for curves."""
    d = double_array("dimension", dimension)
    check_finite("dimension", d)
    if (d < 1).any():
        raise InputError("dimension", f"got {d.min():g}", "numbers of units from 1 are accepted")
    return d


def retrieval_error_bound(patterns: int, largest_norm: float, beta: float, separation: float, distance: float) -> float:
    r"""A bound on ‖f(ξ) − y_i‖ after one update of the modern Hopfield network from ξ within `distance` of y_i.

    2(n − 1) M exp(−β(Δ_i − 2M ‖ξ − y_i‖)), M the largest norm, Δ_i = y_iᵀy_i − max_j y_iᵀy_j the separation;
    `distance` is the larger of the distances of ξ and of the fixed point from y_i.

    **Source**: Ramsauer et al. (2021), Hopfield networks is all you need, Theorem 5.
    """
    others = at_least("patterns", patterns, 1) - 1
    given = {"largest_norm": largest_norm, "beta": beta, "separation": separation, "distance": distance}
    largest_norm, beta, separation, distance = (double_number(name, value) for name, value in given.items())
    exponent = -beta * (separation - 2 * largest_norm * distance)
    return 2 * others * largest_norm * math.exp(min(exponent, 700))


# --- Recall from noisy cues -------------------------------------------------------------------------------------------


def channel_rate(alpha: float) -> float:
    r"""The capacity, in nats a unit, of the channel from a ±1 pattern to its noisy cue at signal level α.

    C(α) = ln 2 − E ln(1 + e^{−2ρ² − 2ρε}), ρ = α/√(1 − α²), ε ~ N(0, 1): that of the binary-input Gaussian channel. No
    memory recalls more than e^{Cd} random ±1 patterns of many units; those that recall the nearest one reach it.

    >>> round(channel_rate(0.68), 6)
    0.303773
    """
    rho = _signal_to_noise(alpha)
    if math.isinf(rho):
        return math.log(2)
    if rho < 0.5:  # what is lost is nearly all there is
        return rho**2 - _binary_free_energy(rho, 1.0)

    def lost(e: float) -> float:
        return float(np.logaddexp(0, -2 * rho**2 - 2 * rho * e)) * _normal(e)

    # The integrand bends at −ρ and is below 1e-300 where it ends.
    edge = 38.0
    return math.log(2) - sum(
        quad(lost, a, b, epsabs=1e-14, epsrel=1e-12, limit=200)[0]
        for a, b in ((-edge, -min(rho, edge)), (-min(rho, edge), edge))
    )


def erasure_rate(mask_rate: float) -> float:
    """The capacity (1 − p) ln 2, in nats a unit, of the channel that deletes a unit with probability p."""
    return (1 - probability("mask_rate", mask_rate)) * math.log(2)


def random_energy_rate(
    alpha: float, ensemble: str = "binary", *, decoder: str = "euclidean", beta: float | None = None
) -> float:
    r"""The rate log n/d up to which a typical pattern is recalled from its noisy cue at signal level α, for many units.

    The other patterns are a random energy model: with the metric m(x, y) of a unit of a cue and
    φ(s) = E_x log E_y e^{s m(x, y)},

        rate = max_{s ≤ β} [ s E m(x, y₁) − φ(s) ],

    y₁ the pattern behind x. β = ∞, the default, is recall of the nearest pattern; with a finite β the pattern outweighs
    all others at that inverse temperature. In units of the noise, with ρ = α/√(1 − α²) and x = ρy₁ + ε, the metric is
    ρxy for the dot product and ρxy − ρ²y²/2 for the distance, so that β = 1 is the cue's own noise.

    - `ensemble`: "binary" (±1), "gaussian" or "spherical", all of unit variance.
    - `decoder`: "euclidean", that of exact diffusion, or "dot", that of the modern Hopfield network.

    Binary: C(α). Gaussian: −½ ln(1 − α²) by distance and α²/2 by dot product. At equal norms, as on a sphere, both
    decoders are one: −½ ln(1 − α²).

    **Source**: Lucibello & Mézard (2024), Exponential capacity of dense associative memories; as the achievable rate of
    a mismatched decoder, Merhav, Kaplan, Lapidoth & Shamai (1994), On information rates for mismatched decoders.
    """
    if decoder not in ("euclidean", "dot"):
        raise InputError("decoder", f"got {decoder!r}", "'euclidean' and 'dot' are accepted")
    rho = _signal_to_noise(alpha)
    largest = math.inf if beta is None else positive_number("beta", beta)
    if ensemble == "binary":
        if largest >= 1:
            return channel_rate(alpha)
        return largest * rho**2 - _binary_free_energy(rho, largest)
    if ensemble not in ("gaussian", "spherical"):
        raise InputError("ensemble", f"got {ensemble!r}", "'binary', 'gaussian' and 'spherical' are accepted")
    if math.isinf(rho):
        return 0.5 if decoder == "dot" and ensemble == "gaussian" else math.inf
    # A unit of the cue has the variance 1/(1 − α²) in units of its noise.
    power = 1 + rho**2
    if ensemble == "spherical":
        return _largest(lambda s: s * rho**2 - _spherical_free_energy(s * rho * math.sqrt(power)), largest, 1.0)
    if decoder == "dot":
        return _largest(lambda s: s * rho**2 - s**2 * rho**2 * power / 2, largest, 1 / power)
    return _largest(
        lambda s: s * rho**2 / 2 - (s**2 * rho**2 * power / (1 + s * rho**2) - math.log1p(s * rho**2)) / 2, largest, 1.0
    )


def _largest(rate: Callable[[float], float], beta: float, best: float) -> float:
    """The largest rate for s up to β, of one whose maximum is at `best`."""
    return rate(min(beta, best))


def _signal_to_noise(alpha: float) -> float:
    value = double_number("alpha", alpha)
    if not 0 < value <= 1:
        raise InputError("alpha", f"got {alpha!r}", "signal levels in (0, 1] are accepted")
    return math.inf if value == 1 else value / math.sqrt((1 - value) * (1 + value))


def _normal(z: float) -> float:
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def _binary_free_energy(rho: float, s: float) -> float:
    """E_x log cosh(sρx), x = ρ + ε."""

    def term(e: float) -> float:
        a = abs(s * rho * (rho + e))
        # For small a the terms of the second form cancel.
        log_cosh = math.log1p(2 * math.sinh(a / 2) ** 2) if a < 1 else a + math.log1p(math.exp(-2 * a)) - math.log(2)
        return log_cosh * _normal(e)

    return float(sum(quad(term, *ends, epsabs=0, epsrel=1e-12, limit=200)[0] for ends in ((-38, -rho), (-rho, 38))))


def _spherical_free_energy(a: float) -> float:
    """The limit of (1/d) log E e^{a √d e·y} for y on the sphere of radius √d, max_q [ aq + ½ log(1 − q²) ]."""
    if a < 1e-8:
        return a**2 / 2
    q = (math.sqrt(1 + 4 * a**2) - 1) / (2 * a)
    return a * q + math.log1p(-(q**2)) / 2


def nearest_pattern(dimension: ArrayLike, alpha: float, threshold: float) -> Float[np.ndarray, "..."]:
    r"""A lower bound for recall of the nearest ±1 pattern from a noisy cue, at any d and to a tolerance.

    A cue y + σε is nearer to a pattern that differs from y in k units with probability Φ(−√k/σ), and recalling
    that one is an error of k/d. Two random patterns differ in k units with probability C(d,k) 2^{−d}. By the
    union bound the mean Hamming error with N patterns is at most (N − 1) p with

        p = Σ_k C(d,k) 2^{−d} Φ(−√k/σ) k/d,        so    capacity ≥ 1 + threshold/p.

    Exact diffusion and modern Hopfield recall are nearly that. `alpha` in (0, 1), σ = √(1−α²)/α.
    """
    d, rho, threshold = _units(dimension)[..., None], _signal_to_noise(alpha), double_number("threshold", threshold)
    if (d % 1 != 0).any() or d.max(initial=1) > MOST_UNITS:
        raise InputError("dimension", f"got {d.max():g}", f"whole numbers of units up to {MOST_UNITS} are accepted")
    k = np.arange(1, d.max(initial=1) + 1)
    with np.errstate(divide="ignore", over="ignore"):  # beyond all bounds where p underflows
        p = np.sum(binom.pmf(k, d, 0.5) * ndtr(-np.sqrt(k) * rho) * k / d, axis=-1)  # zero for k > d
        return np.asarray(1 + threshold / p)


# --- Sequences --------------------------------------------------------------------------------------------------------


def sequence_error(units: int | float, patterns: int | float, degree: int) -> float:
    """The probability that a unit flips in one transition of a sequence memory with f(a) = a^d of many units.

    Φ(−√(N^d/(P(2d − 1)!!))): that of `krotov_hopfield_error` with n = d + 1.

    **Source**: Chaudhry, Zavatone-Veth, Krotov & Pehlevan (2023), Long sequence Hopfield memory.
    """
    return krotov_hopfield_error(units, patterns, at_least("degree", degree, 1) + 1)


def finite_sequence_error(units: int, patterns: int | float, degree: int) -> float:
    """The same of N units: Φ(−N^d/√((P − 1) E h^{2d})), h the sum of N independent signs.

    The other P − 1 patterns disturb the transition, with their moments at finite N; for many units and patterns this is
    `sequence_error`.
    """
    units, degree = at_least("units", units, 1), at_least("degree", degree, 1)
    others = _positive("patterns", patterns) - 1
    if others <= 0:
        return 0.0
    flipped = np.arange(units + 1)
    moment = float(np.sum(binom.pmf(flipped, units, 0.5) * (1 - 2 * flipped / units) ** (2 * degree)))
    return float(ndtr(-1 / math.sqrt(others * moment)))


def transition_capacity(units: int | float, degree: int) -> float:
    """N^d/(2(2d − 1)!! ln N): a typical transition of a sequence memory with f(a) = a^d is without error.

    At the flip rate of `sequence_error` that is Φ(−√(2 ln N)), of N units.

    **Source**: Chaudhry, Zavatone-Veth, Krotov & Pehlevan (2023), Long sequence Hopfield memory.
    """
    return float(polynomial_capacity(_positive("units", units), at_least("degree", degree, 1) + 1))


def sequence_capacity(units: int | float, degree: int) -> float:
    """The length `transition_capacity`/(d + 1) up to which whole sequences are recalled from their first state.

    **Source**: Chaudhry, Zavatone-Veth, Krotov & Pehlevan (2023), Long sequence Hopfield memory.
    """
    return transition_capacity(units, degree) / (degree + 1)


# --- Regimes of diffusion ---------------------------------------------------------------------------------------------


def collapse_sigma(eigenvalues: ArrayLike, n: int) -> float:
    r"""The noise level σ below which n Gaussian patterns collapse: the posterior is then one pattern.

    Where ½ Σ_i log(1 + λ_i/σ²) = log n, λ_i the eigenvalues of the covariance: the cue then tells as many nats of a
    pattern as there are.

    **Source**: Biroli, Bonnaire, de Bortoli & Mézard (2024), Dynamical regimes of diffusion models.

    >>> round(collapse_sigma([1.0] * 10, 100), 4)
    0.8133
    """
    variances = double_array("eigenvalues", eigenvalues)
    if variances.ndim != 1 or not np.isfinite(variances).all() or (variances < 0).any() or not variances.any():
        raise InputError("eigenvalues", f"got {variances!r}", "finite variances that are not all zero are accepted")
    target = math.log(at_least("n", n, 2))
    positive = variances[variances > 0]

    def excess(log_sigma: float) -> float:
        return float(np.logaddexp(0, np.log(positive) - 2 * log_sigma).sum()) / 2 - target

    low = math.log(positive.min()) / 2 - target - 1
    high = math.log(positive.sum()) / 2 + 1
    return math.exp(brentq(excess, low, high, xtol=1e-14, rtol=1e-14))


def speciation_sigma(largest_eigenvalue: float) -> float:
    """The noise level at which a distribution begins to split along its widest direction, σ² = Λ.

    Λ is the largest eigenvalue of the covariance. There the slope of D at the mean, Λ/σ² where the widths of what it
    splits into are far below σ, reaches 1. In the time of x = e^{−t}y + √(1 − e^{−2t})ε this is Λ e^{−2t} = 1 for
    large Λ.

    **Source**: Biroli, Bonnaire, de Bortoli & Mézard (2024); for two points Raya & Ambrogioni (2023), Spontaneous
    symmetry breaking in generative diffusion models.
    """
    return math.sqrt(positive_number("largest_eigenvalue", largest_eigenvalue))


def symmetry_breaking_alpha(variance: float = 1.0) -> float:
    """The signal level at which two points of variance Λ split under variance-preserving noise, α² = √(1 + Λ²) − Λ.

    There the drift x/2 + ∇log p_t(x) of the reverse SDE loses its stability in the middle between them: of slope
    ½ − 1/(1 − α²) + α²Λ/(1 − α²)². Under variance-exploding noise it does at σ² = Λ.

    **Source**: Raya & Ambrogioni (2023).
    """
    lam = positive_number("variance", variance)
    return 1 / math.sqrt(math.hypot(1, lam) + lam)  # as a difference it would cancel


def double_factorial(n: int) -> int:
    """The product n(n−2)(n−4)…1 for odd n ≥ 1."""
    return math.prod(range(n, 0, -2))


def _log_double_factorial(degree: int) -> float:
    """Log (2n − 3)!! of a degree n, whose digits may be too many."""
    return float((degree - 1) * math.log(2) + gammaln(degree - 0.5) - gammaln(0.5))


def _positive(argument: str, value: ArrayLike) -> float:
    return positive_number(argument, double_number(argument, value))
