"""Variance-exploding noise, a Brownian motion (Eq. 6)."""

import jax.numpy as jnp

from dispersed.processes.process import Process
from dispersed.types import Array, ArrayLike, Float
from dispersed.validation import one_number, positive


class VE(Process):
    """Variance exploding (Eq. 6): x_t = y + σ√t ε, a Brownian motion of diffusion `rate` = σ.

    Its states are those in which a memory is evaluated: s(t) = 1 and z = x.
    """

    rate: Float[Array, ""]

    def __init__(self, rate: ArrayLike = 1.0) -> None:
        self.rate = one_number("rate", positive("rate", rate))

    def scale(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.ones_like(t)

    def sigma(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.rate * jnp.sqrt(t)

    def spread(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.sigma(t)

    def time(self, sigma: Float[Array, "..."]) -> Float[Array, "..."]:
        return (sigma / self.rate) ** 2
