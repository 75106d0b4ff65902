r"""Three names for one noise level: signal level α, noise standard deviation σ, inverse temperature β.

A cue that keeps the fraction α of a pattern, x = αy + √(1−α²) ε, is the variance-exploding cue
z = x/α = y + σε with

    σ = √(1−α²)/α,    α = 1/√(1+σ²),    β = 1/σ².

σ is the noise the memory feels, β the inverse temperature of the modern Hopfield network with the same
energy (Eq. 14). Time is not here: which t belongs to which σ is the process's own affair.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dispersed.tracing import as_array, on_host
from dispersed.types import ArrayLike
from dispersed.validation import InputError, positive, signal_level


def sigma_from_alpha(alpha: ArrayLike) -> Float[Array, "..."]:
    """σ = √(1−α²)/α for α in (0, 1], 0 at α = 1; refused where it overflows."""
    level = signal_level(alpha)
    if on_host(level):  # no program is compiled for it
        known = np.asarray(level)
        with np.errstate(over="ignore"):
            sigma = np.sqrt((1 - known) * (1 + known)) / known
        if not np.isfinite(sigma).all():
            raise InputError("alpha", f"got {float(known.min()):g}", f"1/alpha must not overflow {sigma.dtype}")
        return as_array(sigma)
    return jnp.sqrt((1 - level) * (1 + level)) / level


def alpha_from_sigma(sigma: ArrayLike) -> Float[Array, "..."]:
    """α = 1/√(1+σ²) for σ > 0."""
    return 1 / jnp.hypot(1.0, positive("sigma", sigma))


def beta_from_sigma(sigma: ArrayLike) -> Float[Array, "..."]:
    """β = 1/σ² for σ > 0 (Eq. 14, with σ² standing for (T−t)σ² of the paper)."""
    return positive("sigma", sigma) ** -2


def sigma_from_beta(beta: ArrayLike) -> Float[Array, "..."]:
    """σ = 1/√β for β > 0."""
    return positive("beta", beta) ** -0.5


def sigma_of(alpha: ArrayLike | None, sigma: ArrayLike | None) -> Float[Array, "..."]:
    """The noise level that exactly one of `alpha` and `sigma` states."""
    if alpha is not None and sigma is None:
        return sigma_from_alpha(alpha)
    if sigma is not None and alpha is None:
        return positive("sigma", sigma)
    given = "got neither" if alpha is None else "got both"
    raise InputError("alpha, sigma", given, "give the noise level as exactly one of alpha and sigma")
