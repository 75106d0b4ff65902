r"""What a linear measurement says of stored patterns: the logits of their evidence.

Of a measurement v = A y + noise, with a precision a_i = 1/τ_i² for every entry, 0 for entries that were not observed,

    ℓ_j = log w_j − ½ Σ_i a_i (v_i − (A y_j)_i)²
        = log w_j + Σ_i a_i z_i f_ji − ½ Σ_i a_i f_ji² + a term that all share,    z = v − A c,  f_j = A (y_j − c),

with any centre c, here the first pattern. For a batch of measurements these are two products of values with patterns:
no array of (measurements, n, d) is needed. In double precision a product of m terms is off by at most
γ_{m+10} (√(Σ a z² Σ a f_j²) + ½ Σ a f_j²). Where that could change a weight by more than `TOLERANCE`, the sums of
squares are formed measurement by measurement: exact to round-off for all patterns that fit the measurement.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.compiling import one_program
from dispersed.conditioning import Observation
from dispersed.precision import full_precision
from dispersed.primitives import primitive
from dispersed.types import Array, Bool, Float, Patterns, Scalar, State

ROWS = 1 << 13
"""Patterns that are converted to double precision at once."""
TOLERANCE = 1e-5
"""The most by which round-off of products may change a weight in the worst case."""
AT_ONCE = 1 << 22
"""Measurements × patterns weighed at once, of those of a batch whose number is not bounded elsewhere."""
LEAST = 60.0
"""How far below the largest a logit lies whose pattern has no weight, in nats."""


@one_program
@full_precision
def evidence(y: Patterns, log_w: Float[Array, " n"], observation: Observation) -> tuple[Float[Array, " n"], Scalar]:
    """The normalised log weights of patterns after a measurement, −∞ for what had none, and log p(v)."""
    value = observation.value.astype(y.dtype)
    value = value if observation.mask is None else jnp.where(observation.mask, value, 0)
    matrix = None if observation.matrix is None else observation.matrix.astype(y.dtype)
    logits = evidence_logits(y, log_w, matrix, value, observation.precision.astype(y.dtype))
    c = jnp.argmax(logits)
    total = jax.nn.logsumexp(logits)
    off = observation.residual(y[c])
    log_evidence = total + log_w[c] - off @ off / 2 - observation.normaliser
    absent = logits <= jnp.finfo(y.dtype).min / 8
    return jnp.where(absent, -jnp.inf, logits - total), log_evidence.astype(y.dtype)


@one_program
@full_precision
def misfit_logits(
    y: Patterns, x: Float[Array, "b d"], known: Bool[Array, "b d"] | None, sigma: Float[Array, " b"]
) -> Float[Array, "b n"]:
    """−‖x − y_j‖²/2σ² over the observed entries of each cue, less the largest."""
    observed = jnp.ones_like(x, bool) if known is None else known
    precision = jnp.where(observed, (1 / sigma / sigma)[:, None], 0)

    def of_one(cue: tuple[State, Float[Array, " d"]]) -> Float[Array, " n"]:
        return evidence_logits(y, jnp.zeros_like(y, shape=len(y)), None, *cue)

    return jax.lax.map(of_one, (jnp.where(observed, x, 0), precision), batch_size=max(1, AT_ONCE // len(y)))


@full_precision
def _in_one_program(
    y: Any, log_w: Any, matrix: Any, value: Float[Array, "b m"], precision: Float[Array, "b m"]
) -> Float[Array, "b n"]:
    """Of several measurements by one operator, empty for entries; log weights (n,), or (b, n) for each measurement."""
    n, d = y.shape
    lowest = -float(np.finfo(y.dtype).max) / 4
    with jax.enable_x64(True):
        centre, log_w, v, a = (
            jax.lax.convert_element_type(part, jnp.float64) for part in (y[0], log_w, value, precision)
        )
        wide = jax.lax.convert_element_type(matrix, jnp.float64) if matrix.size else None
        z = jnp.where(a > 0, v - (centre if wide is None else wide @ centre), 0)

        @full_precision
        def features(rows: Array) -> Float[Array, "k m"]:
            step = jax.lax.convert_element_type(rows, jnp.float64) - centre
            return step if wide is None else step @ wide.T

        def of_rows(part: Any) -> Any:
            """`part` of the features of all rows, (…, k), joined to (…, n)."""
            whole = n // ROWS * ROWS
            found = part(features(y[whole:]))
            if not whole:
                return found
            chunks = jax.lax.map(lambda rows: part(features(rows)), y[:whole].reshape(-1, ROWS, d))
            chunks = jax.tree.map(lambda c: jnp.moveaxis(c, 0, -2).reshape(*c.shape[1:-1], whole), chunks)
            return jax.tree.map(lambda one, other: jnp.concatenate([one, other], axis=-1), chunks, found)

        @full_precision
        def by_squares(one: tuple[Array, Array]) -> Float[Array, " n"]:
            z, a = one
            return of_rows(lambda f: -(((z - f) ** 2) @ a) / 2)

        def finished(logits: Array) -> Float[Array, "*b n"]:
            logits = logits + log_w
            logits = jnp.maximum(logits - jnp.max(logits, axis=-1, keepdims=True), lowest)
            return jax.lax.convert_element_type(logits, y.dtype)

        if len(v) == 1:
            return finished(by_squares((z[0], a[0]))[None])
        # As a rule all measurements are of the same entries, to a noise that all of these share.
        scale = jnp.max(a, axis=1)
        shape = a / jnp.where(scale > 0, scale, 1)[:, None]
        alike = jnp.all(shape == shape[0])

        @full_precision
        def products(f: Float[Array, "k m"]) -> tuple[Float[Array, "b k"], Float[Array, "b k"]]:
            of_one, of_each = lambda: scale[:, None] * (shape[0] @ (f * f).T), lambda: a @ (f * f).T
            return (a * z) @ f.T, jax.lax.cond(alike, of_one, of_each)

        cross, square = of_rows(products)
        logits = cross - square / 2
        off = _round_off(jnp.sum(a * z * z, axis=1), square, logits + log_w, len(z[0]))
        by_products = finished(logits)
        return jax.lax.cond(jnp.all(off), lambda: by_products, lambda: finished(jax.lax.map(by_squares, (z, a))))


def _round_off(own: Float[Array, " b"], square: Array, logits: Array, m: int) -> Array:
    """Whether products are exact enough for every measurement, (b,)."""
    gamma = (m + 10) * float(np.finfo(np.float64).eps)
    off = gamma * (jnp.sqrt(own[:, None] * square) + square)
    logits = logits - jnp.max(logits, axis=1, keepdims=True)
    # Patterns that round-off cannot lift to where they have weight do not count.
    most = jnp.max(jnp.where(logits + off > -LEAST, off, 0), axis=1)
    others = jnp.sum(jnp.exp(logits), axis=1) - 1
    return (most <= TOLERANCE / 2) | ((most <= 1) & (others * jnp.expm1(2 * jnp.minimum(most, 1)) <= TOLERANCE))


def _mapped(size: int, batched: Any, y: Any, log_w: Any, matrix: Any, value: Any, precision: Any) -> Any:
    def spread(part: Any, is_batched: Any) -> Any:
        return part if is_batched else jnp.broadcast_to(part, (size, *part.shape))

    value, precision = spread(value, batched[3]), spread(precision, batched[4])
    if batched[0] or batched[2]:
        each = (spread(y, batched[0]), spread(log_w, batched[1]), spread(matrix, batched[2]), value, precision)
        return jax.lax.map(lambda one: _of_batch(*one), each)
    # Batching rules of single operations would be applied outside of double precision: one product serves all.
    b = value.shape[1]
    if batched[1] or log_w.ndim == 2:
        log_w = spread(log_w, batched[1])
        log_w = jnp.broadcast_to(log_w if log_w.ndim == 3 else log_w[:, None], (size, b, log_w.shape[-1]))
        log_w = log_w.reshape(size * b, -1)
    logits = _of_batch(y, log_w, matrix, *(part.reshape(size * b, -1) for part in (value, precision)))
    return logits.reshape(size, b, -1)


@full_precision
def _evidence_logits_jvp(primals: Any, tangents: Any) -> Any:
    """dℓ_j = d log w_j + Σ_i a_i r_ji (dA y_j + A dy_j − dv)_i − ½ Σ_i da_i r_ji², r_j = v − A y_j, less the leader's.

    Patterns meet tangents in products, so that mapped over measurements no array is as large as (measurements, n, d).
    """
    y, _, matrix, value, a = primals
    dy, dlog_w, dmatrix, dvalue, da = tangents
    logits = evidence_logits(*primals)
    c = jnp.argmax(logits)
    live = logits > jnp.finfo(logits.dtype).min / 8
    step = y - y[0]
    f = step if matrix is None else step @ matrix.T
    z = jnp.where(a > 0, value - (y[0] if matrix is None else matrix @ y[0]), 0)

    change = jnp.zeros_like(logits)
    if dlog_w is not None:
        change += jnp.where(live, dlog_w, 0)
    if dvalue is not None:
        change += f @ (a * dvalue)
    if da is not None:
        change += f @ (da * z) - (f * f) @ da / 2
    for moved in ([dy if matrix is None else dy @ matrix.T] if dy is not None else []) + (
        [y @ dmatrix.T] if dmatrix is not None else []
    ):
        change += moved @ (a * z) - (f * moved) @ a
    return logits, jnp.where(live, change - change[c], 0)


def _slopes(primals: Any, tangents: Any) -> Any:
    (y, log_w, matrix, value, a), (dy, dlog_w, dmatrix, dvalue, da) = primals, tangents
    operator, moved = (matrix, dmatrix) if matrix.size else (None, None)

    def of_one(log_w: Any, value: Any, a: Any, dlog_w: Any, dvalue: Any, da: Any) -> Any:
        return _evidence_logits_jvp((y, log_w, operator, value, a), (dy, dlog_w, moved, dvalue, da))

    own = 0 if log_w.ndim == 2 else None
    return jax.vmap(of_one, (own, 0, 0, own, 0, 0))(log_w, value, a, dlog_w, dvalue, da)


_of_batch = primitive(
    "evidence_logits",
    _in_one_program,
    lambda y, log_w, matrix, value, precision: jax.ShapeDtypeStruct((len(value), len(y)), y.dtype),
    _mapped,
    _slopes,
)


def evidence_logits(
    y: Patterns,
    log_w: Float[Array, " n"],
    matrix: Float[Array, "m d"] | None,
    value: Float[Array, " m"],
    precision: Float[Array, " m"],
) -> Float[Array, " n"]:
    """The logits ℓ_j of one measurement less the largest of them; −max/4 for patterns without weight."""
    return _of_batch(y, log_w, y[:0] if matrix is None else matrix, value[None], precision[None])[0]


__all__ = ["evidence", "evidence_logits", "misfit_logits"]
