"""Interaction functions F of dense associative memories (Eq. 4)."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from dispersed.types import Array, Float
from dispersed.validation import InputError, at_least, positive_number


class Interaction(eqx.Module):
    """F and h of the energy u(x) = −h(Σ_j F(xᵀy_j)) (Eq. 4, with the sign that recall decreases)."""

    @abc.abstractmethod
    def scaled(self, overlaps: Float[Array, "..."]) -> Float[Array, "..."]:
        """F of all overlaps, times one positive constant that keeps the largest finite."""

    @abc.abstractmethod
    def energy(self, overlaps: Float[Array, " n"], d: int) -> Float[Array, ""]:
        """−h(Σ_j F(overlap_j)) for patterns of d units."""


class Polynomial(Interaction):
    """F(a) = a^degree, or max(a, 0)^degree if rectified; h divides by d^degree, so u is of order n.

    Degree 2 is the classical network without self-coupling. Krotov & Hopfield (2016).
    """

    degree: int
    rectified: bool

    def __init__(self, degree: int, rectified: bool = False) -> None:
        self.degree = at_least("degree", degree, 1)
        self.rectified = rectified

    def _function(self, a: Float[Array, "..."]) -> Float[Array, "..."]:
        return (jnp.maximum(a, 0) if self.rectified else a) ** self.degree

    def scaled(self, overlaps: Float[Array, "..."]) -> Float[Array, "..."]:
        # A power of two scales without rounding, so that fields which cancel still cancel exactly.
        exponent = jnp.frexp(jnp.abs(overlaps).max())[1]
        return self._function(jnp.ldexp(overlaps, -exponent))

    def energy(self, overlaps: Float[Array, " n"], d: int) -> Float[Array, ""]:
        return -jnp.sum(self._function(overlaps / d))


class Exponential(Interaction):
    """F(a) = exp(βa), h = log. Demircigil et al. (2017)."""

    beta: float

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = positive_number("beta", beta)

    def scaled(self, overlaps: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.exp(self.beta * (overlaps - overlaps.max()))

    def energy(self, overlaps: Float[Array, " n"], d: int) -> Float[Array, ""]:
        return -jax.nn.logsumexp(self.beta * overlaps)


class UserInteraction(Interaction):
    """Any increasing F given as a function, with h the identity; keeping F finite is the giver's part."""

    function: Callable[[Float[Array, "..."]], Float[Array, "..."]]

    def scaled(self, overlaps: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.function(overlaps)

    def energy(self, overlaps: Float[Array, " n"], d: int) -> Float[Array, ""]:
        return -jnp.sum(self.function(overlaps))


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
