"""What one state of a batch may know of the others, and loops that are mapped over a batch at once."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from dispersed.types import Array, Bool


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


__all__ = ["any_of_batch", "mapped_like"]
