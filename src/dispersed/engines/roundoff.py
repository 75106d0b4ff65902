r"""How far computed numbers can be from exact ones: first-order worst cases, none of them an estimate.

A sum of n products of numbers with unit round-off u, in any order and with or without fused multiply-adds, is off by at
most γ_n Σ|a_i||b_i| with γ_n = nu/(1 − nu) (Higham 2002, Accuracy and Stability of Numerical Algorithms, Sec. 3.1), as
long as nothing underflows; what underflows is off by at most the smallest normal number t, even where a machine flushes
subnormal numbers to zero.

With states and patterns taken from a centre c, ‖x − c‖ ≤ X and ‖y − c‖ ≤ R, a logit
β((x − c)·(y − c) − ‖y − c‖²/2) + log w of d units is off by at most

    γ_{d+8} β(XR + R²/2) + γ_4 |log w| + β((X + R)(η + √d t) + 4dt) + 4t,

with η the length of what is flushed of a stored pattern when it is decoded: a log weight is rounded once, and once more
when it is added.
"""

from typing import Any

import numpy as np


def gamma(n: int | float, dtype: Any) -> float:
    """γ_n = nu/(1 − nu); infinite where n is so large that nothing can be said."""
    nu = n * float(np.finfo(dtype).eps) / 2
    return nu / (1 - nu) if nu < 1 else np.inf


def logit_error(
    d: int, dtype: Any, beta: Any, x_norm: Any, radius: float, log_weight: float, flush: float
) -> np.ndarray:
    """The most by which a logit can be off, for every state, (b,); infinite where it might overflow."""
    beta, x_norm, radius = np.asarray(beta, float), np.asarray(x_norm, float), np.float64(radius)
    tiny, largest = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)
    with np.errstate(over="ignore", invalid="ignore"):
        size = beta * (x_norm * radius + radius**2 / 2)
        error = gamma(d + 8, dtype) * size + gamma(4, dtype) * log_weight
        error += beta * ((x_norm + radius) * (flush + np.sqrt(d) * tiny) + 4 * d * tiny) + 4 * tiny
        fits = 8 * (size + beta + x_norm + radius + log_weight) < largest
    return np.where(fits, error, np.inf)


def relative_errors(logit: Any, terms: int, dtype: Any) -> tuple[Any, float]:
    """The most by which weights from logits off by `logit`, and sums of `terms` of them, are off, relative to each."""
    # What is subtracted in an exponent is at most the logarithm of the smallest number, or nothing is left.
    exponential = int(-np.log(np.finfo(dtype).tiny)) + 16
    with np.errstate(over="ignore"):
        return np.expm1(logit + gamma(exponential, dtype)), gamma(terms, dtype)


def mean_error(logit: Any, terms: int, dtype: Any, spread: Any, norm: Any) -> Any:
    """The most by which Σ w y/Σ w can be off, w from logits off by `logit`, summed in `terms` terms and blocks of them.

    `spread` bounds ‖y − D‖ and `norm` the norm of D, the exact mean. With weights w_j(1 + θ_j), |θ_j| ≤ e, and sums
    whose terms are off by factors of 1 + τ_j and 1 + ρ_j, at most s away from 1, the computed mean differs from D by

        [Σ w_j((1 + θ_j)(1 + τ_j) − 1)(y_j − D) + D Σ w_j(1 + θ_j)(τ_j − ρ_j)]/Σ w_j(1 + θ_j)(1 + ρ_j),

    which is at most [((1 + e)(1 + s) − 1) spread + 2s(1 + e) norm]/((1 − e)(1 − s)). Where only some of the terms are
    off, their fraction of the computed weight is a factor of it.
    """
    e, s = relative_errors(logit, terms, dtype)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        bound = (((1 + e) * (1 + s) - 1) * spread + 2 * s * (1 + e) * norm) / ((1 - e) * (1 - s))
    return np.where((e < 1) & (s < 1), bound, np.inf)


MERGED = 8
"""The number of roundings that a term sees where two sums are merged, the exponential of a difference included."""


def merged_terms(n: int, parts: int) -> int:
    """The number of terms of a sum, in the sense of γ_n, that is merged from `parts` sums of `n` terms."""
    return n + MERGED * parts


def log_sum_bound(log_sum: Any, max_logit: Any, n: int, logit: Any, terms: int, dtype: Any) -> Any:
    """An upper bound on log Σ e^ℓ over n patterns at most, from the sum that was computed in steps relative to
    e^`max_logit` or less; infinite where nothing can be said.
    """
    e, s = relative_errors(logit, terms, dtype)
    known = (e < 1) & (s < 1)
    # What underflowed was smaller than the smallest number, and its logit may have been off as well.
    lost = max_logit + np.log(n * float(np.finfo(dtype).tiny)) + np.where(known, logit, 0)
    return np.where(known, np.logaddexp(log_sum - np.log(np.where(known, (1 - e) * (1 - s), 1)), lost), np.inf)
