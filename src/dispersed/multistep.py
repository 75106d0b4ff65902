r"""A multistep method for the probability flow, in a variable in which denoisers are nearly polynomials.

The flow (Eq. 27) in z = x/s is

    d(z/σ)/dσ = −D_σ(z)/σ²,

and a step takes D as the parabola in w = κ/(σ + κ) through its last three values, integrated exactly. Above the spread
of the memories, D differs from their mean μ in proportion to 1/σ, as w does; far below κ, a polynomial in w is one in
σ. And at σ = ∞, where w = 0, D = μ is a value that need not be computed: a flow that begins at high noise begins with
it.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from dispersed.types import Array, Float, Numbers, Scalar, State

FROM_INFINITY = 0.2
"""The noise level, in units of the spread of the memories, from which on a flow begins with the value at σ = ∞."""
FAR = 1e4
"""The noise level, in units of the spread, from which on round-off hides what D differs from μ by."""
SPACING = 0.6
"""The length c in units of the spread by which levels are even in log(1 + c/σ)."""
KAPPA = 0.1
"""The length κ in units of the spread."""


class Value(NamedTuple):
    """D at a noise level that lies behind."""

    mean: Float[Numbers, "*b d"]
    level: Float[Numbers, "*b"]
    """∞ where D is μ; that of the value after it where there is none."""


def step(z: State, a: Scalar, b: Scalar, mean: State, before: Value, earlier: Value, kappa: Scalar) -> State:
    """The state at noise level b from z at a, where D is `mean`."""
    apart, further = _apart(a, before.level, kappa), _apart(before.level, earlier.level, kappa)
    # Divided differences; of what is not known, none.
    two, three = apart > 0, (apart > 0) & (further > 0)
    first = jnp.where(two, mean - before.mean, 0) / jnp.where(two, apart, 1)
    older = jnp.where(three, before.mean - earlier.mean, 0) / jnp.where(three, further, 1)
    second = jnp.where(three, first - older, 0) / jnp.where(three, apart + further, 1)
    m0, m1, m2 = moments(a, b, kappa)
    return (b / a) * z + m0 * mean + m1 * first + (m2 + apart * m1) * second


def _apart(a: Scalar, higher: Scalar, kappa: Scalar) -> Scalar:
    """w(a) − w(higher)."""
    # No infinity may enter what is not chosen: derivatives of it would be NaN.
    here, there = (jnp.where(jnp.isinf(level), 1, level) for level in (a, higher))
    ratio = jnp.where(jnp.isinf(higher), 1, (there - here) / (there + kappa))
    return jnp.where(jnp.isinf(a), 0, kappa / (here + kappa) * ratio)


def moments(a: Scalar, b: Scalar, kappa: Scalar) -> tuple[Array, Array, Array]:
    """The moments b ∫_b^a (w(σ) − w(a))ⁿ/σ² dσ, n = 0, 1, 2, of w(σ) = κ/(σ + κ), for a > b.

    With u = 1 − w = σ/(σ + κ) and q = u(a)/u(b) − 1 = κ(a − b)/(b(a + κ)) they are (b/κ) times

        q/u(a),    q − log(1 + q),    u(a) (q − 2 log(1 + q) + q/(1 + q)).
    """
    q = kappa * (a - b) / (b * (a + kappa))
    log = jnp.log1p(q)
    # Below, the differences of nearly equal numbers are taken from their power series.
    small, n = q < 0.03, np.arange(2, 12)
    powers = jnp.where(small, -q, 0)[..., None] ** n
    first = jnp.where(small, jnp.sum(powers / n, axis=-1), q - log)
    second = jnp.where(small, -jnp.sum(powers * (n - 2) / n, axis=-1), q - 2 * log + q / (1 + q))
    scale = b / kappa
    return (a - b) / a, scale * first, scale * (a / (a + kappa)) * second


__all__ = ["FAR", "FROM_INFINITY", "KAPPA", "SPACING", "Value", "moments", "step"]
