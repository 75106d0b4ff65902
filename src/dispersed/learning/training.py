"""`train`: one network, from its key to a memory."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.learning.checkpoint import Checkpoint, computation, fingerprint
from dispersed.learning.feed import Feed, Iterated, Shuffled, is_stream, pattern_rows
from dispersed.learning.loop import Curve, run
from dispersed.learning.probe import Data
from dispersed.learning.recipe import Recipe
from dispersed.learning.state import Fixed, Stream, start
from dispersed.memories import LearnedMemory
from dispersed.tracing import as_array, reshaped
from dispersed.types import Array, ArrayLike, Key, Patterns
from dispersed.validation import InputError, at_least, log_prior, pattern_array


class Trained(eqx.Module):
    """A trained memory and how it got there."""

    memory: LearnedMemory
    curve: Curve

    def __repr__(self) -> str:
        steps = self.curve.loss.shape[-1]
        return f"Trained({self.memory}, {steps} steps, held-out error {float(self.curve.error[-1]):.3g} per unit)"


def train(
    memory: LearnedMemory,
    patterns: Any,
    recipe: Recipe | None = None,
    *,
    key: Key[Array, ""],
    weights: ArrayLike | None = None,
    held_out: ArrayLike | None = None,
    check_every: int = 100,
    patience: int | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = 30.0,
) -> Trained:
    """Train a score network to denoise (Eq. 9), so that it becomes a memory of the patterns.

    **Arguments**

    - `memory`: the network, with its first weights: `noise_network(...)`, `preconditioned_network(...)` or any
      `LearnedMemory` around an equinox module.
    - `patterns`: (n, d), all of which are in every step; with `Recipe(batch=...)` so many of them, and they may be of
      any size: an array or memory map, a path, a `Storage` or a `PatternStore`, read as they are used. Or batches: an
      iterable of arrays (b, d), one a step, which is begun again when it ends; or a function `key -> (b, d)` in JAX.
    - `recipe`: steps, draws, levels, weighting, optimiser, averaging, batch.
    - `key`: decides every random number of the training; the network's own came from another key.
    - `weights`: prior probabilities of the patterns, (n,); uniform by default.
    - `held_out`: patterns (m, d) that are not learned, whose denoising error is recorded.
    - `check_every`: steps between measurements of the error under fresh noise, of the patterns learned (64 of them
      where a step does not see all) and of those held out. Batches for as many steps are in memory.
    - `patience`: stop after so many checks without a lower error, that of held-out patterns if there are any, and
      return the best network.
    - `checkpoint`: a file. If it exists the training goes on from it, exactly as if it had never stopped;
      it is written every `checkpoint_seconds` and at the end. It belongs to the network with its first weights, the
      patterns, the key and the recipe, of which only the number of steps may grow later.

    **Returns** the trained memory, which knows the noise levels that it was trained at, and its `Curve`.

    **Raises** `InputError` for unusable arguments, a checkpoint of another training, one of other shapes or
    damaged; `DivergedError` naming the step and the last good checkpoint when the loss is not finite.
    """
    recipe = Recipe() if recipe is None else recipe
    check_network(memory)
    data = as_data(patterns, weights, memory.dimension, recipe, key)
    unseen = held_out_patterns(held_out, memory.dimension)
    begin = start(memory, recipe), data
    states, data = jax.tree.map(lambda leaf: reshaped(leaf, (1, *leaf.shape)) if eqx.is_array(leaf) else leaf, begin)
    states, best, curve = run(
        states,
        recipe,
        data,
        key[None],
        held_out=unseen,
        check_every=at_least("check_every", check_every, 1),
        patience=None if patience is None else at_least("patience", patience, 1),
        checkpoint=as_checkpoint(
            checkpoint, checkpoint_seconds, memory, memory, recipe, data, key[None], check_every, unseen
        ),
        title="Training",
    )
    result = states.result if best is None else best.memory
    memory, curve = jax.tree.map(
        lambda leaf: reshaped(leaf, leaf.shape[1:]) if eqx.is_array(leaf) else leaf, (result, curve)
    )
    return Trained(memory.trained_at(recipe.levels.range), curve)


def check_network(memory: Any) -> None:
    if not isinstance(memory, LearnedMemory):
        raise InputError("memory", f"got {type(memory).__name__}", "a LearnedMemory around a network is accepted")
    if not jax.tree.leaves(eqx.filter(memory, eqx.is_inexact_array)):
        raise InputError("memory", f"{memory} has no weights", "a model with arrays to train is accepted")


def held_out_patterns(held_out: ArrayLike | None, dimension: int) -> Patterns | None:
    """Patterns that are not learned, checked."""
    unseen = None if held_out is None else pattern_array(held_out)
    if unseen is not None and unseen.shape[1] != dimension:
        raise InputError("held_out", f"got shape {unseen.shape}", f"the network has {dimension} units")
    return unseen


def as_data(
    patterns: Any, weights: ArrayLike | None, dimension: int, recipe: Recipe, key: Key[Array, ""]
) -> Fixed | Stream | list[Feed]:
    """What `train` was given to learn from, checked."""
    stream = is_stream(patterns)
    if callable(patterns) or stream:
        for name, value in (("weights", weights), ("batch", recipe.batch)):
            if value is not None:
                raise InputError(name, f"got {name} for a stream", "a stream decides itself what a step sees")
    if stream:
        return [Iterated(patterns, dimension)]
    if callable(patterns):
        shape = eqx.filter_eval_shape(patterns, jax.random.key(0)).shape
        if len(shape) != 2 or shape[1] != dimension or 0 in shape:
            raise InputError("patterns", f"draws batches of shape {shape}", f"shape (b, {dimension}) is accepted")
        return Stream(patterns)
    if recipe.batch is not None:
        rows = pattern_rows(patterns, dimension)
        log_weights = log_prior(weights, None, rows.shape[0])
        prior = None if log_weights is None else np.exp(np.asarray(log_weights, float))
        return [Shuffled(rows, prior, recipe.batch, key)]
    array = pattern_array(patterns)
    n, d = array.shape
    if d != dimension:
        raise InputError("patterns", f"got shape {array.shape}", f"the network has {dimension} units")
    log_weights = log_prior(weights, None, n)
    prior = np.ones(n, array.dtype) if log_weights is None else jnp.exp(jnp.asarray(log_weights, float))
    return Fixed(array, as_array((prior / prior.sum()).astype(array.dtype)))


def as_checkpoint(
    path: str | Path | None,
    seconds: float,
    memory: LearnedMemory,
    first: LearnedMemory,
    recipe: Recipe,
    data: Data,
    keys: Key[Array, " m"],
    check_every: int,
    held_out: Patterns | None = None,
) -> Checkpoint | None:
    """What a training is known by: `memory` is one of its networks, `first` all of them with their first weights."""
    if path is None:
        return None
    if isinstance(data, Stream):
        source = computation(data.sample, jax.random.key(0))
    elif isinstance(data, Fixed):
        source = fingerprint(data.patterns, data.weights)
    else:
        source = ", ".join(feed.name for feed in data)
    weights, rest = eqx.partition(memory, eqx.is_inexact_array)
    sigma = jnp.ones(())
    z = jnp.ones(memory.dimension)
    identity = {
        "key": fingerprint(jax.random.key_data(keys)),
        "patterns": source,
        "held_out": None if held_out is None else fingerprint(held_out),
        "draws": recipe.draws,
        "batch": recipe.batch,
        "levels": repr(recipe.levels),
        "weighting": computation(recipe.weighting, sigma),
        "optimiser": computation(recipe.optimiser.update, weights, recipe.optimiser.init(weights), weights),
        "average": recipe.average,
        "network": computation(lambda weights, *at: eqx.combine(weights, rest).estimate(*at), weights, z, sigma),
        "first weights": fingerprint(*jax.tree.leaves(eqx.filter(first, eqx.is_array))),
        "check_every": check_every,
    }
    return Checkpoint(path, identity, seconds)
