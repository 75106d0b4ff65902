"""Rates γ(t) at which a variance-preserving process forgets."""

import abc

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from dispersed.display import one_line
from dispersed.tracing import is_known
from dispersed.types import Array, ArrayLike, Float
from dispersed.validation import InputError, non_negative_number, one_number, positive


class Rate(eqx.Module):
    """γ(t) ≥ 0 through its integral B(t) = ∫₀ᵗ γ, on which everything depends, and the inverse of that."""

    __repr__ = one_line

    @abc.abstractmethod
    def integral(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        """B(t) = ∫₀ᵗ γ(s) ds."""

    @abc.abstractmethod
    def inverse(self, b: Float[Array, "..."]) -> Float[Array, "..."]:
        """The time t ≥ 0 at which B(t) = b."""


class Constant(Rate):
    """γ(t) = γ, the paper's rate (Eq. 26; γ = 0.8 in Table 1)."""

    rate: Float[Array, ""]

    def __init__(self, rate: ArrayLike = 1.0) -> None:
        self.rate = one_number("rate", positive("rate", rate))

    def integral(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.rate * t

    def inverse(self, b: Float[Array, "..."]) -> Float[Array, "..."]:
        return b / self.rate


class Linear(Rate):
    """γ(t) = first + (last − first) t, meant for t in [0, 1]. Song et al. (2021) use 0.1 to 20."""

    first: Float[Array, ""]
    last: Float[Array, ""]

    def __init__(self, first: ArrayLike = 0.1, last: ArrayLike = 20.0) -> None:
        self.first = one_number("first", positive("first", first))
        self.last = one_number("last", positive("last", last))
        if is_known(self.first, self.last) and bool(self.last < self.first):
            raise InputError("last", f"got {float(self.last):g}", f"at least first = {float(self.first):g} is accepted")

    def integral(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        return t * (self.first + (self.last - self.first) * t / 2)

    def inverse(self, b: Float[Array, "..."]) -> Float[Array, "..."]:
        # The root of the quadratic in the form that does not cancel, and holds for last = first too; in parts of the
        # last rate, whose square may be no number.
        first, b = self.first / self.last, b / self.last
        return 2 * b / (first + jnp.sqrt(first**2 + 2 * (self.last - self.first) / self.last * b))


class Cosine(Rate):
    """α(t) = cos(½π(t+s)/(1+s))/cos(½πs/(1+s)), 0 from t = 1 on. Nichol & Dhariwal (2021), s = 0.008."""

    offset: float = 0.008

    def __check_init__(self) -> None:
        non_negative_number("offset", self.offset)

    def integral(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        start = np.pi / 2 * self.offset / (1 + self.offset)
        rate, early = np.pi / 2 / (1 + self.offset), t < 0.5
        # 1 − α of early times by the sum formula, and α of late ones by their distance from t = 1: neither cancels.
        step = rate * jnp.where(early, t, 0)
        lost = 2 * jnp.sin(step / 2) ** 2 + np.tan(start) * jnp.sin(step)
        left = jnp.sin(rate * jnp.where(early, 0.5, jnp.maximum(1 - t, 0))) / np.cos(start)
        return -2 * jnp.where(early, jnp.log1p(-lost), jnp.log(left))

    def inverse(self, b: Float[Array, "..."]) -> Float[Array, "..."]:
        start = np.pi / 2 * self.offset / (1 + self.offset)
        # cos(start) − cos(start + step) = 2k, solved for tan(step/2) in the form that does not cancel.
        k = -np.cos(start) * jnp.expm1(-b / 2) / 2
        tangent = 2 * k / (np.sin(start) + jnp.sqrt(np.sin(start) ** 2 + 4 * k * (np.cos(start) - k)))
        return 2 * jnp.arctan(tangent) * 2 / np.pi * (1 + self.offset)
