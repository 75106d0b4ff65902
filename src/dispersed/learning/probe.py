"""What a training is judged by: cues that it never sees, the same at every check."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.learning.loss import squared_errors
from dispersed.learning.recipe import Recipe
from dispersed.learning.state import Fixed, Stream
from dispersed.memories import LearnedMemory, PatternMemory
from dispersed.types import Array, Float, Key, Scalar

DRAWS = 32
"""Held-out cues of each pattern, one at each of so many equally probable noise levels."""


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


def probes(data: Fixed | Stream, recipe: Recipe, keys: Key[Array, " m"]) -> Probe:
    """One probe per member, stacked; the i-th depends on the i-th key and its own data alone.

    Drawn by NumPy: compiling random numbers would take longer than drawing them.
    """
    members = [_probe(data, recipe, i, key) for i, key in enumerate(keys)]
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *members)
    if isinstance(data, Stream):
        return stacked

    def exact(probe: Probe) -> Float[Array, "n draws d"]:
        z = probe.patterns[:, None] + probe.sigma[..., None] * probe.noise
        return PatternMemory(probe.patterns, probe.weights).denoise(z, probe.sigma)

    return eqx.tree_at(lambda p: p.exact, stacked, eqx.filter_vmap(exact)(stacked), is_leaf=lambda leaf: leaf is None)


def _probe(data: Fixed | Stream, recipe: Recipe, i: int, key: Key[Array, ""]) -> Probe:
    if isinstance(data, Stream):
        patterns, weights = data.batch(key)
    else:
        patterns, weights = data.patterns[i], data.weights[i]
    n, d = patterns.shape
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    noise = jnp.asarray(rng.standard_normal((n, DRAWS, d)), patterns.dtype)
    levels = recipe.levels.quantile((jnp.arange(DRAWS) + 0.5) / DRAWS)
    sigma = jnp.broadcast_to(levels, (n, DRAWS)).astype(patterns.dtype)
    return Probe(patterns, weights, noise, sigma, None)
