r"""Whether a fixed point is an attractor: the largest slope of the update there, by its Jacobian.

A fixed point x* of an update f attracts if the spectral radius of ∂f/∂x(x*) is below 1. Of a network that descends an
energy, f = x − ∇E and the Jacobian is I − ∇²E; of a memory at one noise level it is ∂D_σ/∂x = Cov[y | x]/σ². Both are
symmetric, so that powers of the Jacobian lengthen a vector by no more than its largest slope, and lengthen most vectors
by nearly as much after a few.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.batching import any_of_batch, mapped_like
from dispersed.dynamics.result import ENDINGS
from dispersed.memories.denoiser import Standing
from dispersed.types import Array, Bool, Float, Scalar, State

MARGIN = 1e-3
"""A slope of 1 + `MARGIN` and more is called unstable."""
POWERS = 12
"""The number of powers of the Jacobian that are tried; a slope of 2 in one of 1,000 directions takes 6."""


def ending(
    fixed: Bool[Array, ""], linearised: Callable[[], Callable[[State], State]] | None, x: State, bound: Scalar
) -> Any:
    """The `Result` of a recall that stands at x, where `fixed` says whether the update leaves x as it is.

    `linearised()` is the product of the Jacobian of the update with a vector, and `bound` an upper bound on its largest
    slope. Without it, as of a trained network that claims no energy, fixed points count as attractors.
    """
    if linearised is None:
        return ENDINGS.where(fixed, ENDINGS.converged, ENDINGS.exhausted)
    x, bound = jax.lax.stop_gradient((x, jnp.where(fixed, bound, 0)))
    none = jnp.zeros((), x.dtype)
    slope = jax.lax.cond(any_of_batch(bound > 1), lambda: largest_slope(linearised(), x, bound), lambda: none)
    named = ENDINGS.where(slope > 1 + MARGIN, ENDINGS.saddle, ENDINGS.converged)
    return ENDINGS.where(fixed, named, ENDINGS.exhausted)


def ending_at(memory: Any, x: State, sigma: Scalar, standing: Standing, most: Scalar, sound: Any = True) -> Any:
    """The same of a memory at noise σ, of which x is a fixed point if D_σ moves it by no more than `most` a unit."""
    fixed = (jnp.sqrt(jnp.mean((standing.mean - x) ** 2)) <= most) & sound
    if standing.linearised is None:
        return ending(fixed, None, x, jnp.zeros_like(sigma))
    bound = standing.slope_bound
    if bound is None:
        bound = memory._slope_bound(x, sigma, standing.responsibility)
    return ending(fixed, standing.linearised, x, bound)


def largest_slope(push: Callable[[State], State], x: State, bound: Scalar) -> Scalar:
    """A lower bound on the largest slope of an update at x, from powers of its Jacobian; 0 where `bound` ≤ 1.

    `push(v)` is the product of the Jacobian with v, and `bound` an upper bound on the largest slope: where it is at
    most 1, nothing is computed.
    """
    start = jnp.asarray(np.random.default_rng(0).standard_normal(x.shape), x.dtype)

    def unfinished(carry: tuple[Array, State, Scalar]) -> Array:
        step, _, slope = carry
        return (step < POWERS) & (bound > 1) & ((step < 4) | (slope <= 1 + MARGIN))

    def power(carry: tuple[Array, State, Scalar]) -> tuple[Array, State, Scalar]:
        step, v, _ = carry
        v = v / jnp.linalg.norm(v)
        w = push(v)
        slope = jnp.linalg.norm(w)
        # A Jacobian of zero, as of units of ±1, maps all to nothing.
        return step + 1, jnp.where(slope > 0, w, v), slope

    begun = mapped_like(bound, (jnp.int32(0), start, jnp.zeros((), x.dtype)))
    return jax.lax.while_loop(unfinished, power, begun)[2]


def largest_slopes(push: Callable[[np.ndarray], np.ndarray], shape: tuple[int, int]) -> Float[np.ndarray, " b"]:
    """The same of states (b, d) by NumPy, for products that no program computes."""
    v = np.broadcast_to(np.random.default_rng(0).standard_normal(shape[1]), shape)
    slope = np.zeros(shape[0])
    for step in range(POWERS):
        if step >= 4 and (slope > 1 + MARGIN).all():
            break
        w = push(v / np.linalg.norm(v, axis=1, keepdims=True))
        slope = np.linalg.norm(w, axis=1)
        v = np.where(slope[:, None] > 0, w, v)
    return slope
