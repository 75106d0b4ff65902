"""The state of a training between two steps, and the step. Written for one network; ensembles vmap it."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from dispersed.learning.loss import denoising_loss, draw_levels, squared_errors
from dispersed.learning.recipe import Recipe
from dispersed.memories import LearnedMemory, PatternMemory
from dispersed.types import Array, Float, Int, Key, Patterns, Scalar

HELD_OUT = 32
"""Noisy cues of each pattern on which the held-out error is measured."""


class Fixed(eqx.Module):
    """The data when it is a list of patterns: every step sees all of them."""

    patterns: Patterns
    weights: Float[Array, " n"]

    def batch(self, key: Key[Array, ""]) -> tuple[Patterns, Float[Array, " n"]]:
        return self.patterns, self.weights

    def exact(self) -> PatternMemory | None:
        """The exact memory that the network is to become."""
        return PatternMemory(self.patterns, self.weights)


class Stream(eqx.Module):
    """The data when every step draws its own batch, `sample(key) -> (b, d)`."""

    sample: Callable[[Key[Array, ""]], Patterns]

    def batch(self, key: Key[Array, ""]) -> tuple[Patterns, Float[Array, " n"]]:
        patterns = self.sample(key)
        return patterns, jnp.full(len(patterns), 1 / len(patterns), patterns.dtype)

    def exact(self) -> PatternMemory | None:
        return None


class State(eqx.Module):
    """What must persist from one step to the next."""

    memory: LearnedMemory
    optimiser: Any
    average: LearnedMemory | None
    step: Int[Array, ""]

    @property
    def result(self) -> LearnedMemory:
        """The averaged network if an average is kept, or the latest."""
        return self.memory if self.average is None else self.average


class Best(eqx.Module):
    """The network with the lowest held-out error so far, kept where training may stop early."""

    memory: LearnedMemory
    error: Scalar
    waited: Int[Array, ""]
    """Checks since then."""


def start(memory: LearnedMemory, recipe: Recipe) -> State:
    weights = eqx.filter(memory, eqx.is_inexact_array)
    average = None if recipe.average is None else memory
    return State(memory, recipe.optimiser.init(weights), average, jnp.zeros((), dtype=int))


def advance(state: State, recipe: Recipe, data: Fixed | Stream, key: Key[Array, ""]) -> tuple[State, Scalar]:
    """One step, with randomness that depends on `key` and the step's number alone; and the loss before it."""
    for_batch, for_levels, for_noise = jax.random.split(jax.random.fold_in(key, state.step), 3)
    patterns, weights = data.batch(for_batch)
    sigma = draw_levels(recipe.levels, for_levels, len(patterns), recipe.draws).astype(patterns.dtype)
    noise = jax.random.normal(for_noise, (*sigma.shape, patterns.shape[1]), patterns.dtype)
    loss, gradient = eqx.filter_value_and_grad(denoising_loss)(
        state.memory, patterns, weights, noise, sigma, recipe.weighting
    )
    current = eqx.filter(state.memory, eqx.is_inexact_array)
    updates, optimiser = recipe.optimiser.update(gradient, state.optimiser, current)
    memory = eqx.apply_updates(state.memory, updates)
    average = state.average
    if average is not None:
        # Early on the decay is shorter, or the average would remember where training began.
        decay = jnp.minimum(recipe.average, (1 + state.step) / (10 + state.step))
        mixed = optax.incremental_update(
            eqx.filter(memory, eqx.is_inexact_array), eqx.filter(average, eqx.is_inexact_array), 1 - decay
        )
        average = eqx.combine(mixed, average)
    return State(memory, optimiser, average, state.step + 1), loss


def held_out(
    memory: LearnedMemory, recipe: Recipe, data: Fixed | Stream, key: Key[Array, ""]
) -> tuple[Scalar, Scalar | None]:
    """The denoising error on cues that depend on `key` alone, and the distance from the exact denoiser.

    Both are root mean squares over units and cues, the levels drawn as in training: of D_σ(z) − y, and of
    D_σ(z) − E[y | z]; None instead of the second where the data is a stream.
    """
    for_batch, for_levels, for_noise = jax.random.split(key, 3)
    patterns, weights = data.batch(for_batch)
    n, d = patterns.shape
    sigma = draw_levels(recipe.levels, for_levels, n, HELD_OUT).astype(patterns.dtype)
    noise = jax.random.normal(for_noise, (n, HELD_OUT, d), patterns.dtype)

    def rms(squares: Float[Array, "n draws"]) -> Scalar:
        return jnp.sqrt(weights @ squares.mean(axis=1) / d)

    error = rms(squared_errors(memory, patterns, noise, sigma))
    exact = data.exact()
    if exact is None:
        return error, None
    z = patterns[:, None] + sigma[..., None] * noise
    gap = memory.denoise(z, sigma) - exact.denoise(z, sigma)
    return error, rms(jnp.sum(gap**2, axis=-1))
