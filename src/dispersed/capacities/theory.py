r"""Closed forms for the capacity of associative memories of d units with random ±1 patterns.

The asymptotic ones ask whether a stored pattern is a *fixed point*, for large d, without noise in the cue and
without tolerance. A measured capacity requires recall from a noisy cue with a few per cent of the units wrong, at
small d. They show the law with which capacity grows; their height is another matter.

**Sources**: McEliece, Posner, Rodemich & Venkatesh (1987), The capacity of the Hopfield associative memory;
Krotov & Hopfield (2016), Dense associative memory for pattern recognition; Demircigil et al. (2017), On a model
of associative memory with huge storage capacity.
"""

import math

import numpy as np
from jaxtyping import Float
from scipy.special import comb, ndtr


def classical_all(dimension: np.ndarray) -> Float[np.ndarray, "..."]:
    """d/(4 ln d): all stored patterns are fixed points of the classical network (McEliece et al. 1987)."""
    return classical_typical(dimension) / 2


def classical_typical(dimension: np.ndarray) -> Float[np.ndarray, "..."]:
    """d/(2 ln d): a typical stored pattern is a fixed point of the classical network (McEliece et al. 1987).

    Sec. 2.1 of the paper prints D/4 log₂ D.
    """
    return polynomial(dimension, 2)


def polynomial(dimension: np.ndarray, degree: int) -> Float[np.ndarray, "..."]:
    """d^{n−1}/(2 (2n−3)!! ln d) for F(a) = aⁿ: a typical pattern is a fixed point (Krotov & Hopfield 2016)."""
    return np.asarray(dimension, float) ** (degree - 1) / (2 * double_factorial(2 * degree - 3) * np.log(dimension))


def exponential(dimension: np.ndarray) -> Float[np.ndarray, "..."]:
    """2^{d/2} for F(a) = e^a (Demircigil et al. 2017)."""
    return 2 ** (dimension / 2)


def nearest_pattern(dimension: np.ndarray, alpha: float, threshold: float) -> Float[np.ndarray, "..."]:
    r"""A lower bound for recall of the nearest pattern from a noisy cue, at any d and to a tolerance.

    A cue y + σε is nearer to a pattern that differs from y in k units with probability Φ(−√k/σ), and recalling
    that one is an error of k/d. Two random patterns differ in k units with probability C(d,k) 2^{−d}. By the
    union bound the mean Hamming error with N patterns is at most (N − 1) p with

        p = Σ_k C(d,k) 2^{−d} Φ(−√k/σ) k/d,        so    capacity ≥ 1 + threshold/p.

    Exact diffusion and modern Hopfield recall are nearly that. `alpha` in (0, 1), σ = √(1−α²)/α.
    """
    sigma = math.sqrt(1 - alpha**2) / alpha

    d = np.asarray(dimension)[..., None]
    k = np.arange(1, np.max(dimension) + 1)
    share = comb(d, k) / 2.0**d  # zero for k > d
    with np.errstate(divide="ignore"):  # beyond all bounds where p underflows
        return 1 + threshold / np.sum(share * ndtr(-np.sqrt(k) / sigma) * k / d, axis=-1)


def double_factorial(n: int) -> int:
    """The product n(n−2)(n−4)…1 for odd n ≥ 1."""
    return math.prod(range(n, 0, -2))
