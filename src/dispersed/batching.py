"""What one state of a batch may know of the others, and loops that are mapped over a batch at once."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from dispersed.types import Array, Bool, Int


@custom_vmap
def any_of_batch(holds: Bool[Array, ""]) -> Bool[Array, ""]:
    """Whether something holds of any state of the batch that this one is in."""
    return holds


@any_of_batch.def_vmap
def _(size: int, batched: list[bool], holds: Bool[Array, " states"]) -> tuple[Bool[Array, ""], bool]:
    return any_of_batch(jnp.any(holds)), False


def mapped_like(x: Array, tree: Any) -> Any:
    """The same tree, each array of which is mapped over the batch that the number x is mapped over.

    JAX maps a loop anew for every value of which it finds out that it is mapped. What a loop starts from tells it all.
    """
    either = x == x
    return jax.tree.map(lambda array: jnp.where(either, array, array), tree)


def by_parts(
    function: Callable[[Int[Array, " size"]], Any], size: int, wanted: Bool[Array, " states"], found: Any
) -> Any:
    """`found` with what a function of the indices of `size` states makes of those that are `wanted`."""
    # Those that are wanted first. In the last part others may follow, or some once more.
    which = jax.lax.sort((~wanted, jnp.arange(len(wanted))), num_keys=1)[1]

    def one(part: Array, found: Any) -> Any:
        some = jax.lax.dynamic_slice_in_dim(which, part * size, size)

        def put(found: Array, new: Array) -> Array:
            return found.at[some].set(new, unique_indices=True, mode="promise_in_bounds")

        return jax.tree.map(put, found, function(some))

    return jax.lax.fori_loop(0, -(-jnp.sum(wanted) // size), one, found)


__all__ = ["any_of_batch", "by_parts", "mapped_like"]
