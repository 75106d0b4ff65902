r"""How far computed numbers can be from exact ones: first-order worst cases, none of them an estimate.

A sum of n products of numbers with unit round-off u, in any order and with or without fused multiply-adds, is off by at
most γ_n Σ|a_i||b_i| with γ_n = nu/(1 − nu) (Higham 2002, Accuracy and Stability of Numerical Algorithms, Sec. 3.1).

With every ‖y‖ ≤ Y and x taken from the centre μ, so that ‖x − μ‖ ≤ X, a logit β((x − μ)·y − ‖y‖²/2 + μ·y) + log w is
off by at most γ_{d+8} (β(XY + Y²/2 + ‖μ‖Y) + |log w|).
"""

from typing import Any

import numpy as np


def gamma(n: int, dtype: Any) -> float:
    """γ_n = nu/(1 − nu); infinite where n is so large that nothing can be said."""
    nu = n * float(np.finfo(dtype).eps) / 2
    return nu / (1 - nu) if nu < 1 else np.inf


def logit_error(
    d: int, dtype: Any, beta: Any, x_norm: Any, centre_norm: float, y_norm: float, log_weight: float
) -> np.ndarray:
    """The most by which a logit can be off, for every state: (b,)."""
    size = x_norm * y_norm + y_norm**2 / 2 + centre_norm * y_norm
    return gamma(d + 8, dtype) * (beta * size + log_weight)


def mean_error(logit: np.ndarray, terms: int, dtype: Any, spread: Any, y_norm: float) -> np.ndarray:
    """The most by which Σ p y can be off, p from logits off by `logit`, summed in `terms` terms and blocks of them.

    Every p is off by a factor of at most e^{2·logit} and what exponentials and sums add. `spread` bounds ‖y − Σ p y‖.
    """
    sums = gamma(terms + 40, dtype)
    with np.errstate(over="ignore"):
        return np.expm1(2 * logit + 2 * sums) * spread + 2 * sums * y_norm
