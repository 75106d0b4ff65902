"""Randomness that does not depend on the size of the batch: the i-th state draws from its own key."""

import math

import jax
import jax.numpy as jnp

from dispersed.compiling import one_program
from dispersed.types import Array, Float, Key


@one_program
def state_keys(key: Key[Array, ""], count: int) -> Key[Array, " count"]:
    """One key per state of a batch, the i-th depending on `key` and i alone."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(count))


@one_program
def normal(key: Key[Array, ""], shape: tuple[int, ...], dtype: jnp.dtype) -> Float[Array, "... d"]:
    """Standard normal states `shape` = (..., d)."""
    keys = state_keys(key, math.prod(shape[:-1]))
    return jax.vmap(lambda k: jax.random.normal(k, shape[-1:], dtype))(keys).reshape(shape)
