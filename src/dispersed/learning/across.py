"""One function of one network, for many networks at once."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

TOGETHER = 2**19
"""Weights of networks that are trained side by side in one `vmap`. Networks larger than that follow one another:
side by side their weights, gradients and moments would stream through the caches at every operation."""


def across(function: Callable[..., Any], *stacked: Any) -> Any:
    """`function` of every member of trees whose arrays have the members as first axis, in one program."""
    arrays, rest = eqx.partition(stacked, eqx.is_array)
    leaves = jax.tree.leaves(arrays)
    size = sum(leaf[0].size for leaf in leaves if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))
    side_by_side = max(1, min(len(leaves[0]), TOGETHER // max(1, size)))
    outputs: list[Any] = []

    def one(arrays: Any) -> Any:
        output, static = eqx.partition(function(*eqx.combine(arrays, rest)), eqx.is_array)
        outputs.append(static)
        return output

    if side_by_side == len(leaves[0]):
        result = jax.vmap(one)(arrays)
    else:
        result = jax.lax.map(one, arrays, batch_size=None if side_by_side == 1 else side_by_side)
    return eqx.combine(result, outputs[-1])
