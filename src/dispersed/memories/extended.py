r"""Extended memories (Eq. 23): sets of equally valid states instead of points.

An extended memory is a set S of equally valid states, φ uniform on S. Eq. 23 as printed lacks −1/β, the
factor e^{−β‖y‖²/2} and the confinement ‖x‖²/2; with them it is Eq. 11 for this φ,

    E_σ(x) = −σ² log (1/|S|) ∫_S N(x; y, σ²I) dy,

up to the choice of |S|. Eq. 23 integrates without dividing by the volume |S|, so that a longer segment weighs
more; here every memory is a normalised density and its weight in a `Mixture` is stated. Weights in proportion
to `volume` give Eq. 23's.

**Numerics.** Every closed form is written as

    log p_σ(x) = excess − ‖x − p‖²/(2σ²) − d log(σ√2π),

with an anchor p in the memory: its point nearest to x. The large term is then a plain squared distance, which
memories can compare by small differences, and the excess stays of the order of a logarithm.
"""

import abc

import jax.numpy as jnp

from dispersed.memories.memory import Memory, gaussian_normaliser
from dispersed.precision import full_precision
from dispersed.types import Scalar, State


class Extended(Memory):
    """An extended memory (Eq. 23), written by its anchor and excess, from which the density follows.

    To add a shape, write `dimension`, `anchored`, `_project`, `_sample` and `prior_start`, and `_denoise` where a
    closed form is better conditioned than differentiation; `_conditioned` if it can be conditioned on measurements.
    """

    @abc.abstractmethod
    def anchored(self, x: State, sigma: Scalar) -> tuple[State, Scalar]:
        """An anchor p of x and the excess log p_σ(x) + ‖x − p‖²/(2σ²) + d log(σ√2π)."""

    @full_precision
    def _log_density(self, x: State, sigma: Scalar) -> Scalar:
        """Log p_σ(x), in nats (Eq. 23)."""
        anchor, excess = self.anchored(x, sigma)
        residual = (x - anchor) / sigma
        return excess - residual @ residual / 2 - gaussian_normaliser(self.dimension, sigma)


def spread_of_uniform(low: State, high: State) -> tuple[State, State]:
    """Mean and variance of a uniform coordinate; 0 or the finite end, and no variance, where it is unbounded."""
    bounded = jnp.isfinite(low) & jnp.isfinite(high)
    width = jnp.where(bounded, high - jnp.where(bounded, low, 0), 0)
    one_end = jnp.where(jnp.isfinite(low), low, jnp.where(jnp.isfinite(high), high, 0))
    return one_end + jnp.where(bounded, width, 0) / 2, width**2 / 12
