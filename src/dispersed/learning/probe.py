"""What a training is judged by: cues that it never sees, the same at every check."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.compiling import one_program
from dispersed.learning.feed import PROBED, Feed
from dispersed.learning.levels import quantiles
from dispersed.learning.loss import squared_errors
from dispersed.learning.recipe import Recipe
from dispersed.learning.state import Fixed, Stream
from dispersed.memories import LearnedMemory, PatternMemory
from dispersed.tracing import as_array
from dispersed.types import Array, Float, Key, Patterns, Scalar

DRAWS = 32
"""Held-out cues of each pattern, one at each of so many equally probable noise levels."""

Data = Fixed | Stream | list[Feed]


class Probe(eqx.Module):
    """Held-out cues z = y + σε of every pattern, and what the exact memory makes of them."""

    patterns: Float[Array, "*m n d"]
    weights: Float[Array, "*m n"]
    noise: Float[Array, "*m n draws d"]
    sigma: Float[Array, "*m n draws"]
    exact: Float[Array, "*m n draws d"] | None
    """E[y | z]; None where the data is a stream, whose exact memory is not known."""

    def measure(self, memory: LearnedMemory) -> tuple[Scalar, Scalar | None]:
        """Root mean squares per unit of D_σ(z) − y and, if it is known, of D_σ(z) − E[y | z]."""

        def rms(squares: Float[Array, "n draws"]) -> Scalar:
            return jnp.sqrt(self.weights @ squares.mean(axis=1) / self.patterns.shape[1])

        error = rms(squared_errors(memory, self.patterns, self.noise, self.sigma))
        if self.exact is None:
            return error, None
        z = self.patterns[:, None] + self.sigma[..., None] * self.noise
        return error, rms(jnp.sum((memory.denoise(z, self.sigma) - self.exact) ** 2, axis=-1))


class Probes(eqx.Module):
    """What a training sees, and what it does not see."""

    known: Probe
    held_out: Probe | None


def probes(data: Data, recipe: Recipe, keys: Key[Array, " m"], held_out: Patterns | None) -> Probes:
    """Probes of every member, stacked; the i-th depends on the i-th key and its own data alone.

    Drawn by NumPy: compiling random numbers would take longer than drawing them.
    """
    members = [_probe(*_probed(data, i, key), recipe, key) for i, key in enumerate(keys)]
    return Probes(_with_exact(data, _stacked(members)), None if held_out is None else _unseen(held_out, recipe, keys))


def _stacked(members: list[Probe]) -> Probe:
    stacked: Probe = jax.tree.map(lambda *parts: jnp.stack(parts), *members)
    return stacked


def _unseen(held_out: Patterns, recipe: Recipe, keys: Key[Array, " m"]) -> Probe:
    """The same held-out patterns for every member."""
    rows = held_out[np.unique(np.linspace(0, len(held_out) - 1, PROBED).astype(int))]
    weights = jnp.full(len(rows), 1 / len(rows), rows.dtype)
    return _stacked([_probe(rows, weights, recipe, jax.random.fold_in(key, 1)) for key in keys])


def _with_exact(data: Data, stacked: Probe) -> Probe:
    """The probes with what the exact memory of all patterns makes of them, where it is known."""
    if isinstance(data, Stream):
        return stacked
    if not isinstance(data, Fixed):
        known = [feed.all for feed in data]
        z = stacked.patterns[:, :, None] + stacked.sigma[..., None] * stacked.noise
        means = [
            PatternMemory(*everything).denoise(own, sigma)
            for everything, own, sigma in zip(known, z, stacked.sigma, strict=True)
            if everything is not None
        ]
        if len(means) < len(known):
            return stacked
        return eqx.tree_at(lambda p: p.exact, stacked, jnp.stack(means), is_leaf=lambda leaf: leaf is None)

    return eqx.tree_at(lambda p: p.exact, stacked, _exact(stacked), is_leaf=lambda leaf: leaf is None)


@one_program
def _exact(stacked: Probe) -> Float[Array, "m n draws d"]:
    def of_one(probe: Probe) -> Float[Array, "n draws d"]:
        z = probe.patterns[:, None] + probe.sigma[..., None] * probe.noise
        return PatternMemory(probe.patterns, probe.weights).denoise(z, probe.sigma)

    return eqx.filter_vmap(of_one)(stacked)


def _probed(data: Data, i: int, key: Key[Array, ""]) -> tuple[Patterns, Float[Array, " n"]]:
    """The patterns of the i-th member that it is judged by, and their weights."""
    if isinstance(data, Stream):
        return data.batch(key, jnp.zeros((), int))
    if isinstance(data, Fixed):
        return data.patterns[i], data.weights[i]
    patterns, weights = data[i].some()
    return jnp.asarray(patterns), jnp.asarray(weights)


def _probe(patterns: Patterns, weights: Float[Array, " n"], recipe: Recipe, key: Key[Array, ""]) -> Probe:
    n, d = patterns.shape
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    noise = as_array(rng.standard_normal((n, DRAWS, d)), patterns.dtype)
    # One held-out level of each of the equally probable intervals.
    sigma = np.broadcast_to(quantiles(recipe.levels, (np.arange(DRAWS) + 0.5) / DRAWS), (n, DRAWS))
    return Probe(patterns, weights, noise, as_array(sigma, patterns.dtype), None)
