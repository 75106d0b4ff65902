r"""Synaptic learning, one experience at a time (Eq. 22).

A single noisy sample changes the weights by

    W ← W + η (∂s/∂W)ᵀ (δ − s(x; W)),

gradient descent on ½‖δ − s‖². Eq. 22 as printed has the opposite sign, which ascends. δ is what the network is to
tell of the sample: the noise between the state x and the recent, cleaner state y that short-term memory still
holds, or y itself.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

from dispersed.learning.levels import Levels
from dispersed.memories import LearnedMemory
from dispersed.types import Array, Float, Key, Patterns, Scalar, State

Rule = Callable[[Any, State, State, Scalar, Key[Array, ""], Scalar], Any]
"""`rule(network, y, noise, sigma, key, rate) -> network`, for one sample x = y + σ·noise."""


def online_update(memory: LearnedMemory, y: State, noise: State, sigma: Scalar, rate: Scalar | float) -> LearnedMemory:
    """The network after one noisy sample, W + η (∂s/∂W)ᵀ (δ − s) (Eq. 22, its sign mended)."""
    weights, rest = eqx.partition(memory, eqx.is_inexact_array)

    def estimate(weights: Any) -> State:
        return eqx.combine(weights, rest).estimate(y + sigma * noise, sigma)

    said, backwards = jax.vjp(estimate, weights)
    (direction,) = backwards(target(memory, y, noise) - said)
    return eqx.apply_updates(memory, jax.tree.map(lambda leaf: rate * leaf, direction))


def target(memory: LearnedMemory, y: State, noise: State) -> State:
    """What the network should say of the sample y + σ·noise."""
    return y if memory.predicts == "pattern" else noise


def sgd(memory: LearnedMemory, y: State, noise: State, sigma: Scalar, key: Key[Array, ""], rate: Scalar) -> Any:
    """Eq. 22 as a `Rule`."""
    return online_update(memory, y, noise, sigma, rate)


@eqx.filter_jit
def learn(
    network: Any,
    rule: Rule,
    patterns: Patterns,
    levels: Levels,
    rates: Float[Array, " samples"],
    key: Key[Array, ""],
) -> Any:
    """The network after as many samples as there are `rates`, each seen once and then forgotten.

    Every sample is one pattern drawn at random, under fresh noise of a level drawn from `levels`.
    """
    samples = len(rates)
    n, d = patterns.shape
    for_choice, for_levels, for_noise, for_rule = jax.random.split(key, 4)
    chosen = jax.random.randint(for_choice, (samples,), 0, n)
    sigma = levels.quantile(jax.random.uniform(for_levels, (samples,)))
    noise = jax.random.normal(for_noise, (samples, d))
    arrays, rest = eqx.partition(network, eqx.is_array)

    def one(arrays: Any, sample: tuple[Any, ...]) -> tuple[Any, None]:
        index, sigma, noise, key, rate = sample
        changed = rule(eqx.combine(arrays, rest), patterns[index], noise, sigma, key, rate)
        return eqx.filter(changed, eqx.is_array), None

    keys = jax.random.split(for_rule, samples)
    arrays, _ = jax.lax.scan(one, arrays, (chosen, sigma, noise, keys, rates))
    return eqx.combine(arrays, rest)


def doublings(samples: int, block: int) -> list[int]:
    """How many blocks to learn between checks, so that the samples seen double from check to check."""
    calls, total = [], 0
    while total < samples:
        calls.append(max(1, total // block))
        total += calls[-1] * block
    return calls
