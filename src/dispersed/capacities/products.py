"""Recall of many small memories of ±1 patterns at once, at the price of two products a step.

With patterns of equal norms the logit of a pattern is x·y_j/σ² up to what all have in common, in exact diffusion as
in the modern Hopfield network. `PatternMemory` weighs the patterns of many memories by differences, which are exact
at and near ties; products take a tenth of the time, and are off by round-off in x·y_j/σ². Where cues hold continuous
noise that decides nothing: `reproduce figure3` counts the units on which both ways differ. Steps end when each cue
has one pattern.
"""

from typing import Any

import jax
import jax.numpy as jnp

from dispersed.capacities.cell import Recalled
from dispersed.dynamics.exponential_integrators import ExponentialIntegrator, moments
from dispersed.noise import sigma_from_alpha
from dispersed.precision import full_precision
from dispersed.processes import VP
from dispersed.types import Array, Float, Key, Patterns

DECIDED = 1 - 1e-6
"""The probability from which on a cue has one pattern: the flow then goes straight to it."""


def flow_by_products(alpha: float, steps: int = 20) -> Recalled:
    """The flow of exact diffusion from cues at signal level `alpha` by `ExponentialIntegrator(steps)`."""
    sigma = jnp.asarray(sigma_from_alpha(alpha))
    flow = ExponentialIntegrator(steps)

    def recall(memory: Any, cues: Float[Array, "m d"], key: Key[Array, ""]) -> Float[Array, "m d"]:
        y = memory.patterns
        levels = flow.levels(memory, VP(), sigma)
        spans = jnp.log(levels[:-1] / levels[1:])

        def undecided(now: tuple[Array, ...]) -> Array:
            i, _, _, least = now
            return (i < steps - 1) & (least < DECIDED)

        def step(now: Any) -> Any:
            i, z, before, _ = now
            h, mean, p = spans[i], *_mean(y, z, levels[i])
            m0, m1, _ = moments(h)
            # The line through the last two evaluations; before the first there is none.
            bend = jnp.where(i > 0, m1 * h / spans[i - 1], 0)
            return i + 1, jnp.exp(-h) * z + m0 * mean + bend * (mean - before), mean, jnp.min(p)

        start = jnp.asarray(0), cues / alpha, jnp.zeros_like(cues), jnp.zeros((), cues.dtype)
        i, z, mean, least = jax.lax.while_loop(undecided, step, start)
        return jnp.where(least < DECIDED, _mean(y, z, levels[i])[0], mean)

    return recall


def updates_by_products(beta: float, most: int = 150) -> Recalled:
    """The updates of the modern Hopfield network, until no state changes, at most so many."""

    def recall(memory: Any, cues: Float[Array, "m d"], key: Key[Array, ""]) -> Float[Array, "m d"]:
        y = memory.patterns

        def changing(now: tuple[Array, ...]) -> Array:
            i, x, before = now
            return (i < most) & jnp.any(x != before)

        def update(now: Any) -> Any:
            i, x, _ = now
            return i + 1, _mean(y, x, jnp.asarray(beta**-0.5, x.dtype))[0], x

        return jax.lax.while_loop(changing, update, (jnp.asarray(0), cues, cues + jnp.inf))[1]

    return recall


@full_precision
def _mean(y: Patterns, x: Float[Array, "m d"], sigma: Array) -> tuple[Float[Array, "m d"], Float[Array, " m"]]:
    """The posterior means of states, and the probabilities of their likeliest patterns."""
    logits = x @ y.T / sigma**2
    weights = jnp.exp(logits - jnp.max(logits, axis=1, keepdims=True))
    total = jnp.sum(weights, axis=1, keepdims=True)
    return weights @ y / total, 1 / total[:, 0]


__all__ = ["flow_by_products", "updates_by_products"]
