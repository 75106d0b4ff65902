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


def draw_noise(
    levels: Levels, key: Key[Array, ""], n: int, d: int, draws: int
) -> tuple[Float[Array, "n draws"], Float[Array, "n draws d"]]:
    """Noise levels σ, stratified, and unit noise ε for `draws` cues of each of n patterns of d units.

    The k-th level of a pattern falls in the k-th of `draws` equally probable intervals: all together they are
    distributed as `levels`, and their mean varies less than that of independent draws.
    """
    # One call for both: random numbers are what takes longest to compile.
    drawn = jax.random.normal(key, (n, draws, d + 1))
    u = jax.scipy.special.ndtr(drawn[..., 0])
    return levels.quantile((u + jnp.arange(draws)) / draws), drawn[..., 1:]


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
    """The denoising loss ½ Σ_j w_j mean_k λ(σ_jk)‖D(y_j + σ_jk ε_jk) − y_j‖² (Eq. 9), with weights that sum to one."""
    errors = weighting(sigma) * squared_errors(memory, patterns, noise, sigma)
    return weights @ errors.mean(axis=1) / 2
