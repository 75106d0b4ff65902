"""Interaction functions F of dense associative memories (Eq. 4)."""

import abc
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from dispersed.display import value
from dispersed.types import Array, ArrayLike, Float
from dispersed.validation import InputError, at_least, positive, returned


class Interaction(eqx.Module):
    """F and h of the energy u(x) = −h(Σ_j F(xᵀy_j)) (Eq. 4, with the sign that recall decreases)."""

    @abc.abstractmethod
    def scaled(self, overlaps: Float[Array, "..."]) -> Float[Array, "..."]:
        """F of all overlaps, times one positive constant that keeps the largest finite."""

    @abc.abstractmethod
    def energy(self, overlaps: Float[Array, " n"], d: int) -> Float[Array, ""]:
        """−h(Σ_j F(overlap_j)) for patterns of d units."""

    def largest_sum(self, n: int, d: int) -> float:
        """The largest whole number in sums of 4F over n overlaps of d + 2 units; ∞ if F is not of whole numbers."""
        return math.inf


class Polynomial(Interaction):
    """F(a) = a^degree, or max(a, 0)^degree if rectified; h divides by d^degree, so u is of order n.

    Degree 2 is the classical network without self-coupling. Krotov & Hopfield (2016).
    """

    degree: int = eqx.field(static=True)
    rectified: bool = eqx.field(static=True)

    def __init__(self, degree: int, rectified: bool = False) -> None:
        self.degree = at_least("degree", degree, 1)
        self.rectified = bool(rectified)

    def _function(self, a: Float[Array, "..."]) -> Float[Array, "..."]:
        return (jnp.maximum(a, 0) if self.rectified else a) ** self.degree

    def scaled(self, overlaps: Float[Array, "..."]) -> Float[Array, "..."]:
        # A power of two scales without rounding, so that fields which cancel still cancel exactly.
        return self._function(overlaps / power_above(jnp.abs(overlaps).max()))

    def energy(self, overlaps: Float[Array, " n"], d: int) -> Float[Array, ""]:
        return -_finite_sum(self._function(overlaps / d))

    def largest_sum(self, n: int, d: int) -> float:
        return 4.0 * n * float(d + 2) ** self.degree if self.degree * math.log2(d + 2) < 1000 else math.inf


class Exponential(Interaction):
    """F(a) = exp(βa), h = log. Demircigil et al. (2017).

    β is an argument of compiled programs: another value is not compiled anew.
    """

    beta: Float[Array, ""]

    def __init__(self, beta: ArrayLike = 1.0) -> None:
        self.beta = positive("beta", beta)
        if self.beta.shape:
            raise InputError("beta", f"got shape {self.beta.shape}", "one number is accepted")

    def __repr__(self) -> str:
        return f"Exponential(beta={value(self.beta)})"

    def scaled(self, overlaps: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.exp(self.beta.astype(overlaps.dtype) * (overlaps - overlaps.max()))

    def energy(self, overlaps: Float[Array, " n"], d: int) -> Float[Array, ""]:
        largest = jax.lax.stop_gradient(overlaps.max())  # on which the sum does not depend
        return -self.beta * largest - jax.nn.logsumexp(self.beta * (overlaps - largest))


class UserInteraction(Interaction):
    """Any increasing F given as a function, with h the identity; keeping F finite is the giver's part."""

    function: Callable[[Float[Array, "..."]], Float[Array, "..."]]

    def scaled(self, overlaps: Float[Array, "..."]) -> Float[Array, "..."]:
        return returned("interaction", self.function(overlaps), overlaps.shape)

    def energy(self, overlaps: Float[Array, " n"], d: int) -> Float[Array, ""]:
        return -_finite_sum(self.scaled(overlaps))


def _finite_sum(terms: Float[Array, " n"]) -> Float[Array, ""]:
    """The sum of terms, of which those that overflow count as the largest numbers whose sum does not."""
    most = float(jnp.finfo(terms.dtype).max) / terms.size
    return jnp.sum(jnp.clip(terms, -most, most))


def power_above(largest: Float[Array, "..."]) -> Float[Array, "..."]:
    """A power of two that is larger than a number by at most a factor of two; 1 for 0."""
    # Of a number that keeps its exponent alone the nearest power is left. `frexp` of JAX 0.12 fails in double precision
    # where that is on for a part of a program.
    nearest = jax.lax.reduce_precision(largest, exponent_bits=jnp.finfo(largest.dtype).nexp, mantissa_bits=0)
    return jnp.where(largest > 0, jnp.where(nearest > largest, nearest, 2 * nearest), 1)


def as_interaction(interaction: Any) -> Interaction:
    """An interaction as it is, or a plain function F as one."""
    if isinstance(interaction, Interaction):
        return interaction
    if callable(interaction):
        return UserInteraction(interaction)
    raise InputError(
        "interaction",
        f"got {interaction!r}",
        "Polynomial(degree), Exponential() or a function F of the overlaps is accepted",
    )
