"""Cues as they come to a memory: their precision, their masks and the least noise that they can have."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from dispersed.memories import AssociativeMemory
from dispersed.tracing import as_array, is_known, on_host
from dispersed.types import Array, Bool, Float, Numbers
from dispersed.validation import InputError, host_array, mask_array, state_array


def cues_and_masks(
    memory: AssociativeMemory, cue: Any, known: Any
) -> tuple[Float[Array, "... d"], Bool[Array, "states d"] | None]:
    """Cues in the precision in which they meet the memory, and their masks, flattened; unknown entries are 0."""
    x = host_array("cue", cue)
    mask = None
    if known is not None:
        if x.ndim == 0 or x.shape[-1] != memory.dimension:
            state_array("cue", x, memory.dimension)
        mask = mask_array(known, x.shape)
        x = np.where(np.asarray(mask), np.asarray(x), 0) if is_known(x, mask) else jnp.where(mask, x, 0)
        mask = mask.reshape(-1, x.shape[-1])
    x = state_array("cue", x, memory.dimension)
    return as_array(x, jnp.promote_types(x.dtype, memory._dtype)), mask


def least_noise(x: Float[Array, "... d"]) -> Float[Numbers, "..."]:
    """The round-off of each cue, below which no noise can be told from none."""
    # By NumPy where the cues are on the host: no program is compiled for it.
    numpy: Any = np if on_host(x) else jnp
    return (jnp.finfo(x.dtype).eps * numpy.abs(numpy.asarray(x)).max(axis=-1)).astype(x.dtype)


def levels_of_cues(level: Any, x: Float[Array, "... d"]) -> Float[Numbers, "..."]:
    """The noise levels from which cues are recalled: those given, but not less than round-off.

    Raises `InputError` for levels so low that the square of the last level of their recall would underflow, unless they
    are less than the round-off of a larger cue.
    """
    numpy: Any = np if on_host(x) and is_known(level) else jnp
    least, round_off = 1e3 * float(jnp.finfo(x.dtype).tiny) ** 0.5, least_noise(x)
    level = numpy.maximum(numpy.broadcast_to(numpy.asarray(level, x.dtype), x.shape[:-1]), round_off)
    if is_known(level) and (values := np.asarray(level)).min(initial=np.inf) < least:
        noise = np.asarray(round_off)
        low = (values < least) & ((values > noise) | ((noise > 0) & (noise < 1e-3 * least)))
        if low.any():
            accepted = f"a recall accepts levels from {least:.2g} in {x.dtype}: give patterns and cues in larger units"
            raise InputError("sigma", f"got {values[low].min():.3g}", accepted)
    return numpy.maximum(level, least).astype(x.dtype)


__all__ = ["cues_and_masks", "least_noise", "levels_of_cues"]
