"""The state of a training between two steps, and the step. Written for one network; ensembles vmap it."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from dispersed.learning.loss import denoising_loss, draw_noise
from dispersed.learning.recipe import Recipe
from dispersed.memories import LearnedMemory
from dispersed.types import Array, Float, Int, Key, Patterns, Scalar


class Fixed(eqx.Module):
    """The data when it is a list of patterns: every step sees all of them. In an ensemble, one list a member."""

    patterns: Float[Array, "*m n d"]
    weights: Float[Array, "*m n"]

    def batch(self, key: Key[Array, ""], step: Int[Array, ""]) -> tuple[Patterns, Float[Array, " n"]]:
        return self.patterns, self.weights


class Stream(eqx.Module):
    """The data when every step draws its own batch, `sample(key) -> (b, d)`."""

    sample: Callable[[Key[Array, ""]], Patterns]

    def batch(self, key: Key[Array, ""], step: Int[Array, ""]) -> tuple[Patterns, Float[Array, " n"]]:
        patterns = self.sample(key)
        return patterns, jnp.full(len(patterns), 1 / len(patterns), patterns.dtype)


class Fed(eqx.Module):
    """The data of the next steps when batches come from the host. In an ensemble, those of every member."""

    patterns: Float[Array, "*m steps b d"]
    weights: Float[Array, "*m steps b"]
    first: Int[Array, "*m"]
    """The number of the first of these steps."""

    def batch(self, key: Key[Array, ""], step: Int[Array, ""]) -> tuple[Patterns, Float[Array, " n"]]:
        return self.patterns[step - self.first], self.weights[step - self.first]


class State(eqx.Module):
    """What must persist from one step to the next."""

    memory: LearnedMemory
    optimiser: Any
    average: LearnedMemory | None
    step: Int[Array, "*m"]

    @property
    def result(self) -> LearnedMemory:
        """The averaged network if an average is kept, or the latest."""
        return self.memory if self.average is None else self.average


class Best(eqx.Module):
    """The network with the lowest held-out error so far, kept where training may stop early."""

    memory: LearnedMemory
    error: Float[Array, "*m"]
    waited: Int[Array, "*m"]
    """Checks since then."""


def start(memory: LearnedMemory, recipe: Recipe) -> State:
    weights = eqx.filter(memory, eqx.is_inexact_array)
    average = None if recipe.average is None else memory
    return State(memory, recipe.optimiser.init(weights), average, jnp.zeros((), dtype=int))


class Cues(eqx.Module):
    """What one step sees: patterns with their weights, and noise of σ for each of their cues."""

    patterns: Float[Array, "n d"]
    weights: Float[Array, " n"]
    noise: Float[Array, "n draws d"]
    sigma: Float[Array, "n draws"]


def draw_cues(recipe: Recipe, data: Fixed | Stream | Fed, key: Key[Array, ""], step: Int[Array, ""]) -> Cues:
    """The cues of a step, which depend on `key` and the step's number alone."""
    for_batch, for_noise = jax.random.split(jax.random.fold_in(key, step))
    patterns, weights = data.batch(for_batch, step)
    n, d = patterns.shape
    sigma, noise = draw_noise(recipe.levels, for_noise, n, d, recipe.draws)
    return Cues(patterns, weights, noise, sigma)


def advance(state: State, recipe: Recipe, cues: Cues) -> tuple[State, Scalar]:
    """One step, and the loss before it."""
    loss, gradient = eqx.filter_value_and_grad(denoising_loss)(
        state.memory, cues.patterns, cues.weights, cues.noise, cues.sigma, recipe.weighting
    )
    current = eqx.filter(state.memory, eqx.is_inexact_array)
    updates, optimiser = recipe.optimiser.update(gradient, state.optimiser, current)
    memory = eqx.apply_updates(state.memory, updates)
    average = state.average
    if average is not None and recipe.average is not None:
        # Early on the decay is shorter, or the average would remember where training began.
        decay = jnp.minimum(recipe.average, (1 + state.step) / (10 + state.step))
        mixed = optax.incremental_update(
            eqx.filter(memory, eqx.is_inexact_array), eqx.filter(average, eqx.is_inexact_array), 1 - decay
        )
        average = eqx.combine(mixed, average)
    return State(memory, optimiser, average, state.step + 1), loss
