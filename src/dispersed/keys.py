"""Randomness that does not depend on the size of the batch: the i-th state draws from its own key."""

import functools
import math

import jax
import jax.numpy as jnp

from dispersed.compiling import one_program
from dispersed.types import Array, Float, Int, Key


@one_program
def state_keys(key: Key[Array, ""], count: int) -> Key[Array, " count"]:
    """One key per state of a batch, the i-th depending on `key` and i alone."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(count))


def categorical(key: Key[Array, ""], logits: Float[Array, " n"]) -> Int[Array, ""]:
    """An index drawn with probability softmax(ℓ), by 53 random bits and a cumulative sum in double precision.

    `jax.random.categorical` in single precision draws what is rare too rarely, and by a random number for every index.
    """
    high, low = jax.random.bits(key, (2,), jnp.uint32)
    with jax.enable_x64(True):
        wide = functools.partial(jax.lax.convert_element_type, new_dtype=jnp.float64)
        uniform = (wide(high) * 2.0**21 + wide(low >> 11)) * 2.0**-53
        total = jnp.cumsum(jnp.exp(wide(logits) - wide(jnp.max(logits))))
        index = jnp.searchsorted(total, uniform * total[-1], side="right")
        return jax.lax.convert_element_type(jnp.minimum(index, len(logits) - 1), jnp.int32)


@one_program
def normal(key: Key[Array, ""], shape: tuple[int, ...], dtype: jnp.dtype) -> Float[Array, "... d"]:
    """Standard normal states `shape` = (..., d)."""
    keys = state_keys(key, math.prod(shape[:-1]))
    return jax.vmap(lambda k: jax.random.normal(k, shape[-1:], dtype))(keys).reshape(shape)
