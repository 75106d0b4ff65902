"""Many independent trainings in one compiled program: pattern sets × seeds."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.dynamics import Dynamics, Recall, recall
from dispersed.keys import state_keys
from dispersed.learning.feed import Shuffled
from dispersed.learning.loop import Curve, run
from dispersed.learning.networks import noise_network
from dispersed.learning.probe import Data
from dispersed.learning.recipe import Recipe
from dispersed.learning.state import Fixed, State, start
from dispersed.learning.training import Trained, as_checkpoint, check_network, held_out_patterns
from dispersed.machine import jitted_soon
from dispersed.memories import LearnedMemory
from dispersed.processes import Process
from dispersed.tracing import as_array, reshaped
from dispersed.types import Array, ArrayLike, Key
from dispersed.validation import InputError, at_least, pattern_array


class Ensemble(eqx.Module):
    """m trained memories; every array of `memories` and `curve` has the members as first axis.

    `ensemble[i]` is the i-th training on its own; `jax.vmap` over `memories` reaches all of them.
    """

    memories: LearnedMemory
    curve: Curve
    members: int

    def __len__(self) -> int:
        return self.members

    def __getitem__(self, i: int) -> Trained:
        if not -self.members <= i < self.members:
            raise IndexError(f"network {i} of {self.members}")
        return jax.tree.map(lambda leaf: leaf[i] if eqx.is_array(leaf) else leaf, Trained(self.memories, self.curve))

    def __repr__(self) -> str:
        return f"Ensemble({self.members} of {self.memories}, {self.curve.loss.shape[-1]} steps)"

    def recall(
        self,
        cues: ArrayLike,
        dynamics: Dynamics | None = None,
        *,
        alpha: float | None = None,
        sigma: float | None = None,
        process: Process | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Recall:
        """Every member's recall of its own cues (m, ..., d); arguments as for `dispersed.recall`."""
        cues = jnp.asarray(cues)
        if cues.ndim < 2 or len(cues) != self.members:
            raise InputError("cues", f"got shape {cues.shape}", f"cues for {self.members} networks, (m, ..., d)")
        keys = None if key is None else state_keys(key, self.members)
        return _recall(self.memories, cues, keys, dynamics, process, alpha, sigma)


@eqx.filter_jit
def _recall(memories: Any, cues: Any, keys: Any, dynamics: Any, process: Any, alpha: Any, sigma: Any) -> Recall:
    def one(memory: LearnedMemory, own: Array, key: Key[Array, ""] | None) -> Recall:
        return recall(memory, own, dynamics, alpha=alpha, sigma=sigma, process=process, key=key)

    return eqx.filter_vmap(one)(memories, cues, keys)


def train_ensemble(
    patterns: ArrayLike,
    recipe: Recipe | None = None,
    *,
    key: Key[Array, ""],
    network: Callable[[Key[Array, ""]], LearnedMemory] | None = None,
    weights: ArrayLike | None = None,
    held_out: ArrayLike | None = None,
    check_every: int = 100,
    patience: int | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = 30.0,
) -> Ensemble:
    """Train m independent networks at once, the i-th on the i-th pattern set.

    For several seeds of one set, repeat the set: every member has its own first weights and noise, which depend
    on `key` and i alone, not on how many members there are.

    **Arguments**

    - `patterns`: (m, n, d).
    - `network`: makes a network from a key; by default the paper's `noise_network(d)`, 80·d units a layer.
    - `weights`: (m, n), the prior probabilities of each set's patterns. Zeros let sets of different sizes share
      one array: a pattern of weight zero is not learned.
    - `patience`: stop once no member has improved for so many checks; every member keeps its own best network.

    The others are those of `train`.

    >>> import jax
    >>> patterns = jax.random.rademacher(jax.random.key(0), (2, 3, 4), dtype=float)
    >>> def network(key):
    ...     return noise_network(4, 8, 1, key=key)
    >>> recipe = Recipe(steps=5, draws=2)
    >>> train_ensemble(patterns, recipe, key=jax.random.key(1), network=network, check_every=5)
    Ensemble(2 of LearnedMemory(Perceptron of 4 units, predicts noise in VP, trained at σ from 0.02 to 2), 5 steps)
    """
    recipe = Recipe() if recipe is None else recipe
    sets = _sets(patterns, weights)
    m, _, d = sets.patterns.shape
    keys = jax.vmap(jax.random.split)(state_keys(key, m))
    states = _started(_paper(d) if network is None else network, recipe, keys[:, 0])
    check_network(states.memory)
    if states.memory.dimension != d:
        raise InputError("network", f"makes networks of {states.memory.dimension} units", f"patterns have {d}")
    first = jax.tree.map(lambda leaf: leaf[0] if eqx.is_array(leaf) else leaf, states.memory)
    unseen = held_out_patterns(held_out, d)
    data: Data = sets
    if recipe.batch is not None:
        arrays = zip(np.asarray(sets.patterns), np.asarray(sets.weights, float), keys[:, 1], strict=True)
        data = [Shuffled(own, prior, recipe.batch, key) for own, prior, key in arrays]
    states, best, curve = run(
        states,
        recipe,
        data,
        keys[:, 1],
        held_out=unseen,
        check_every=at_least("check_every", check_every, 1),
        patience=None if patience is None else at_least("patience", patience, 1),
        checkpoint=as_checkpoint(
            checkpoint, checkpoint_seconds, first, states.memory, recipe, data, keys[:, 1], check_every, unseen
        ),
        title=f"{m} trainings",
    )
    memories: LearnedMemory = states.result if best is None else best.memory
    return Ensemble(memories.trained_at(recipe.levels.range), curve, m)


@functools.cache
def _paper(d: int) -> Callable[[Key[Array, ""]], LearnedMemory]:
    return lambda key: noise_network(d, key=key)


@jitted_soon(0)
def _started(make: Callable[[Key[Array, ""]], LearnedMemory], recipe: Recipe, keys: Key[Array, " m"]) -> State:
    """The first states of all members."""
    return eqx.filter_vmap(lambda key: start(make(key), recipe))(keys)


def _sets(patterns: ArrayLike, weights: ArrayLike | None) -> Fixed:
    """Pattern sets and their priors, checked; the priors of each set sum to one."""
    array = as_array(patterns)
    if array.ndim != 3 or 0 in array.shape:
        raise InputError("patterns", f"got shape {array.shape}", "sets of patterns, shape (m, n, d)")
    m, n, d = array.shape
    array = reshaped(pattern_array(reshaped(array, (m * n, d))), (m, n, d))
    prior = np.ones((m, n), array.dtype) if weights is None else jnp.asarray(weights, dtype=array.dtype)
    known = np.asarray(prior)
    if known.shape != (m, n) or not ((np.isfinite(known) & (known >= 0)).all() and (known.sum(axis=1) > 0).all()):
        raise InputError(
            "weights", f"got shape {prior.shape}", f"({m}, {n}) finite non-negative numbers, not all zero in any set"
        )
    return Fixed(array, as_array((prior / prior.sum(axis=1, keepdims=True)).astype(array.dtype)))
