r"""Denoising training (Eq. 9): how far a network is from undoing the noise it is shown.

    L(W) = ½ E_y E_σ E_ε  λ(σ) ‖D_σ(y + σε; W) − y‖²

With λ = 1 this is Eq. 9, whose δ = x − y is the total noise; with λ = 1/σ², the default, it is the squared error
of the unit noise ε. For any λ > 0 the minimum over all functions is the exact denoiser E[y | x], and the loss
there is not zero: what remains is the posterior variance of y.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dispersed.learning.levels import Levels
from dispersed.memories import LearnedMemory
from dispersed.types import Array, Float, Key, Patterns, Scalar


def draw_levels(levels: Levels, key: Key[Array, ""], count: int, draws: int) -> Float[Array, "count draws"]:
    """Noise levels for `draws` cues of each of `count` patterns, stratified.

    The k-th draw of a pattern falls in the k-th of `draws` equally probable intervals: each is distributed as
    `levels` on average over k, and their mean varies less than that of independent draws.
    """
    u = jax.random.uniform(key, (count, draws))
    return levels.quantile((u + jnp.arange(draws)) / draws)


def squared_errors(
    memory: LearnedMemory, patterns: Patterns, noise: Float[Array, "n draws d"], sigma: Float[Array, "n draws"]
) -> Float[Array, "n draws"]:
    """‖D_σ(y + σε) − y‖² for every draw of every pattern."""
    error = jax.vmap(jax.vmap(memory.error, (None, 0, 0)))(patterns, noise, sigma)
    return jnp.sum(error**2, axis=-1)


def denoising_loss(
    memory: LearnedMemory,
    patterns: Patterns,
    weights: Float[Array, " n"],
    noise: Float[Array, "n draws d"],
    sigma: Float[Array, "n draws"],
    weighting: Callable[[Float[Array, "..."]], Float[Array, "..."]],
) -> Scalar:
    """½ Σ_j w_j mean_k λ(σ_jk)‖D(y_j + σ_jk ε_jk) − y_j‖² (Eq. 9), with weights w that sum to one."""
    errors = weighting(sigma) * squared_errors(memory, patterns, noise, sigma)
    return weights @ errors.mean(axis=1) / 2
