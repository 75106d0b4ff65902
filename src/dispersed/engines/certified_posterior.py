r"""The exact posterior over any number of stored patterns, with a certificate.

p(j | x) = softmax_j(log w_j − ‖x − y_j‖²/(2σ²)),    D_σ(x) = Σ_j p(j | x) y_j          (Eq. 28, 29)
"""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import numpy as np

from dispersed.engines.ladder import SCREENING, climb
from dispersed.engines.placed_patterns import PlacedPatterns
from dispersed.posterior import Posterior
from dispersed.types import Numbers
from dispersed.validation import InputError

PRUNED, SCANNED = "pruned", "scan"


class PatternPosterior(eqx.Module):
    """The posterior over stored patterns of each state of a batch (...), as NumPy arrays in double precision.

    `mean` and `log_normaliser` belong to all patterns; `entropy` and `effective_patterns` to those that were not
    excluded, whose posterior is off by at most the probability that `bound` allows.
    """

    mean: Numbers
    """D_σ(x), (..., d)."""
    bound: Numbers
    """An upper bound on ‖mean − D_σ(x)‖, (...)."""
    log_normaliser: Numbers
    """log Σ_j w_j exp(−‖x − y_j‖²/(2σ²)), (...); log p_σ(x) is d log(σ√2π) less."""
    entropy: Numbers
    """−Σ p log p in nats, (...)."""
    index: Numbers
    """The likeliest patterns, the first one first, (..., k); −1 where fewer were not excluded."""
    responsibilities: Numbers
    """The responsibilities of these patterns, (..., k)."""
    path: Numbers
    """"pruned" where most patterns were excluded, or "scan" where all were summed, (...)."""
    patterns_weighed: Numbers
    """The number of patterns that were not excluded, (...)."""

    @property
    def effective_patterns(self) -> Numbers:
        """Exp of the entropy: how many patterns a state stands for."""
        return np.exp(self.entropy)

    def __repr__(self) -> str:
        *batch, d = self.mean.shape
        shape = " × ".join(map(str, batch)) or "one"
        if not self.bound.size:
            return f"PatternPosterior({shape} states of {d} units)"
        pruned = float(np.mean(self.path == PRUNED))
        worst = float(self.bound.max())
        return (
            f"PatternPosterior({shape} states of {d} units, {pruned:.1%} pruned, within {worst:.2g} of the exact mean)"
        )


def of_batch(
    solve: Callable[[np.ndarray, np.ndarray], PatternPosterior], x: np.ndarray, sigma: np.ndarray, tol: float | None
) -> PatternPosterior:
    """The posterior of states (..., d) at noise levels that broadcast against (...), by a function of flat ones.

    Raises `InputError` for a tolerance that is given and not met.
    """
    batch, d = np.broadcast_shapes(x.shape[:-1], np.shape(sigma)), x.shape[-1]
    x, sigma = np.broadcast_to(x, (*batch, d)), np.broadcast_to(sigma, batch)
    found = solve(np.asarray(x, float).reshape(-1, d), np.asarray(sigma, float).reshape(-1))
    if tol is not None and not (found.bound <= tol).all():
        worst = f"got {tol:g} where double precision certifies {found.bound.max():.3g}"
        raise InputError("tol", worst, "a larger tol is accepted")
    return jax.tree.map(lambda array: array.reshape((*batch, *array.shape[1:])), found)


def log_density(found: PatternPosterior, sigma: Numbers) -> Numbers:
    """Log p_σ(x) of the states."""
    return found.log_normaliser - found.mean.shape[-1] * (np.log(sigma) + math.log(2 * math.pi) / 2)


def as_posterior(found: PatternPosterior, sigma: Numbers) -> Posterior:
    """The same as the methods of a memory return it."""
    return Posterior(
        found.mean,
        log_density(found, sigma),
        found.index,
        found.responsibilities,
        found.entropy,
        found.bound,
        found.patterns_weighed,
    )


def posterior(placed: PlacedPatterns, x: np.ndarray, sigma: np.ndarray, tol: float, k: int) -> PatternPosterior:
    """The posterior of states x (b, d) at noise levels sigma (b,), both in the units of the patterns.

    The first index is a true maximiser of log w_j − ‖x − y_j‖²/(2σ²), up to ties within round-off. `bound` may exceed
    `tol` where double precision cannot certify it. Raises `InputError` for states that are not finite, for σ ≤ 0, and
    for ratios of states, noise levels and patterns beyond the range of double precision.
    """
    n = placed.total
    factor = placed.statistics.factor
    x, sigma = placed.internal(x, sigma)
    found = climb(placed, x, sigma, tol * factor, min(k, n))
    log_mass = found.log_mass - (np.log(n) if placed.uniform else 0)
    path = np.where(found.rung == SCREENING, PRUNED, SCANNED).astype(object)
    return PatternPosterior(
        found.mean / factor,
        found.bound / factor,
        log_mass,
        found.entropy,
        found.indices,
        found.responsibilities,
        path,
        found.weighed,
    )
