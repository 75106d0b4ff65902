r"""Logits of stored patterns where every unit is observed with a noise of its own.

With a precision a_i = 1/σ_i² for every unit, 0 for units that are not observed,

    ℓ_j = log w_j − ½ Σ_i a_i (x_i − y_ji)² = log w_j + Σ_i a_i x_i y_ji − ½ Σ_i a_i y_ji² + a term that all share.

That is two products of states with patterns, so that a batch of masks costs no array of (states, n, d). They are done
in double precision: in single precision they would be off by more than a nat where memories live.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap

from dispersed.types import Array, Float, Patterns, State

ROWS = 1 << 13
"""Patterns that are converted to double precision at once."""


@jax.custom_jvp
def unit_precision_logits(
    y: Patterns, log_w: Float[Array, " n"], x: State, precision: Float[Array, " d"]
) -> Float[Array, " n"]:
    """The logits ℓ_j of one state less the largest of them; a unit of precision 0 may hold any number."""
    return _batched(y, log_w, x[None], precision[None])[0]


@custom_vmap
def _batched(y, log_w, x: Float[Array, "b d"], precision: Float[Array, "b d"]) -> Float[Array, "b n"]:
    n, d = y.shape
    largest = np.finfo(y.dtype).max
    with jax.enable_x64(True):
        centre, log_w, x, a = (jax.lax.convert_element_type(part, jnp.float64) for part in (y[0], log_w, x, precision))
        z = jnp.where(a > 0, x - centre, 0)

        def part(rows: Array) -> Array:
            step = jax.lax.convert_element_type(rows, jnp.float64) - centre
            return (a * z) @ step.T - a @ (step * step).T / 2

        whole = n // ROWS * ROWS
        logits = part(y[whole:])
        if whole:
            chunks = jax.lax.map(part, y[:whole].reshape(-1, ROWS, d))
            logits = jnp.concatenate([jnp.moveaxis(chunks, 0, 1).reshape(len(x), whole), logits], axis=1)
        logits += log_w
        logits = jnp.maximum(logits - jnp.max(logits, axis=1, keepdims=True), -largest / 4)
        return jax.lax.convert_element_type(logits, y.dtype)


@_batched.def_vmap
def _(size, batched, y, log_w, x, precision):
    arguments = tuple(
        part if is_batched else jnp.broadcast_to(part, (size, *part.shape))
        for part, is_batched in zip((y, log_w, x, precision), batched, strict=True)
    )
    if batched[0] or batched[1]:
        return jax.lax.map(lambda one: _batched(*one), arguments), True
    # Batching rules of single operations would be applied outside of double precision: one product serves all states.
    batch = arguments[2].shape[:2]
    states = (part.reshape(-1, part.shape[-1]) for part in arguments[2:])
    logits = _batched(y, log_w, *states)
    return logits.reshape(*batch, logits.shape[-1]), True


@unit_precision_logits.defjvp
def _unit_precision_logits_jvp(primals, tangents):
    """dℓ_j = d log w_j + Σ_i a_i (y_ji − x_i)(dx_i − dy_ji) − ½ Σ_i da_i (x_i − y_ji)², less that of the leader."""
    y, _, x, a = primals
    dy, dlog_w, dx, da = tangents
    logits = unit_precision_logits(*primals)
    c = jnp.argmax(logits)
    live = logits > jnp.finfo(logits.dtype).min / 8
    off = jnp.where(a > 0, x - y[c], 0)
    step = y - y[c]
    # Σ da (x − y)² less that of c: step·(step − 2 off).
    change = dlog_w - dlog_w[c] + step @ (a * dx) - ((step * step) @ da - 2 * step @ (da * off)) / 2
    moved = (off - step) * a
    change += jnp.sum(moved * dy, axis=1) - (off * a) @ dy[c]
    return logits, jnp.where(live, change, 0)


__all__ = ["unit_precision_logits"]
