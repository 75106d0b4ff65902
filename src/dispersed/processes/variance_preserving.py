"""Variance-preserving noise, an Ornstein–Uhlenbeck process (Eq. 26)."""

import jax
import jax.numpy as jnp

from dispersed.processes.process import Process
from dispersed.processes.rates import Constant, Rate
from dispersed.types import Array, ArrayLike, Float, Scalar


class VP(Process):
    """Variance preserving: dx = −½γ(t)x dt + √γ(t) dW (Eq. 26, which as printed lacks the ½ and the √).

    x_t = α_t y + √(1−α_t²) ε with α_t = exp(−½B(t)), B(t) = ∫γ; so s = α and σ² = e^B − 1.

    **Arguments**: `rate`, a number for the paper's constant rate, or `Linear()`, `Cosine()`, any `Rate`.
    """

    rate: Rate

    def __init__(self, rate: Rate | ArrayLike = 1.0) -> None:
        self.rate = rate if isinstance(rate, Rate) else Constant(rate)

    def scale(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.exp(-self.rate.integral(t) / 2)

    def scale_at(self, sigma: Float[Array, "..."]) -> Float[Array, "..."]:
        return 1 / jnp.hypot(1.0, sigma)

    def sigma(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.exp(self.rate.integral(t) / 2) * self.spread(t)

    def spread(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.sqrt(-jnp.expm1(-self.rate.integral(t)))

    def time(self, sigma: Float[Array, "..."]) -> Float[Array, "..."]:
        # log(1 + σ²) without σ², which overflows earlier; chosen between, since a maximum has no derivative at a tie.
        low = sigma < 1
        small, large = jnp.where(low, sigma, 1), jnp.where(low, 1, sigma)
        return self.rate.inverse(jnp.where(low, jnp.log1p(small**2), 2 * jnp.log(large) + jnp.log1p(large**-2)))

    def _rates(self, t: Scalar) -> tuple[Scalar, Scalar]:
        # σ̇/σ = ½γ/(1 − e^{−B}), of which neither numerator nor denominator overflows.
        b, gamma = jax.jvp(self.rate.integral, (t,), (jnp.ones_like(t),))
        return -gamma / 2, gamma / 2 / -jnp.expm1(-b)
