"""What patterns in memory say of a state, inside compiled programs: the mean, the likeliest one, every logit.

Each is a primitive with derivatives of its own, evaluated for all states that it is mapped over at once.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.engines.dense_logits import Products, Weighed, beside, first, summarised, weighed, weighed_by_differences
from dispersed.precision import full_precision
from dispersed.primitives import primitive
from dispersed.types import Array, Float, Int, Patterns, Scalar, State


def _of_states(
    name: str, summary: Callable[..., Any], shapes: Callable[[int, int], Any], slopes: Callable[..., Any]
) -> Callable[..., Any]:
    """`summary(known, weighed)` of one state, by products for all states that the call is mapped over.

    `shapes(n, d)` are those of its parts for one state, None for an index, and `slopes(primals, tangents)` the parts
    for one state and their tangents.
    """

    def like(y: Any, log_w: Any, known: Products, x: Any, sigma: Any) -> list[jax.ShapeDtypeStruct]:
        return [
            jax.ShapeDtypeStruct((len(x), *(shape or ())), jnp.int32 if shape is None else x.dtype)
            for shape in shapes(*y.shape)
        ]

    def tangents_of_batch(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        (y, log_w, known, x, sigma), (dy, dlog_w, _, dx, dsigma) = primals, tangents
        own = 0 if log_w.ndim == 2 else None

        def of_state(log_w: Any, x: Any, sigma: Any, dlog_w: Any, dx: Any, dsigma: Any) -> Any:
            found, slope = slopes((y, log_w, known, x, sigma), (dy, dlog_w, None, dx, dsigma))
            return found, [part for part in jax.tree.leaves(slope) if part.dtype != jax.dtypes.float0]

        found, slope = jax.vmap(of_state, (own, 0, 0, own, 0, 0))(log_w, x, sigma, dlog_w, dx, dsigma)
        of_numbers = iter(slope)

        def tangent(part: Array) -> Any:
            return next(of_numbers) if eqx.is_inexact_array(part) else np.zeros(part.shape, jax.dtypes.float0)

        return found, jax.tree.map(tangent, found)

    def mapped(size: int, batched: Any, y: Any, log_w: Any, known: Any, x: Any, sigma: Any) -> Any:
        of_memory, of_states = (batched[0], batched[2]), batched[3:]
        if any(jax.tree.leaves(of_memory)):
            # Many small memories at once, each with states of its own: there is no product that they could share.
            axes = jax.tree.map(lambda is_batched: 0 if is_batched else None, tuple(batched))

            def of_one(y: Any, log_w: Any, known: Any, x: Any, sigma: Any) -> Any:
                return summary(known, weighed_by_differences(y, log_w, x, sigma, known.norms))

            return jax.vmap(of_one, axes)(y, log_w, known, x, sigma)
        x, sigma = (
            part if is_batched else jnp.broadcast_to(part, (size, *part.shape))
            for part, is_batched in zip((x, sigma), of_states, strict=True)
        )
        batch = x.shape[:2]
        if batched[1] or log_w.ndim == 2:
            # Patterns that were conditioned: they share the products, and each state has log weights of its own.
            log_w = log_w if batched[1] else log_w[None]
            log_w = log_w if log_w.ndim == 3 else log_w[:, None]
            log_w = jnp.broadcast_to(log_w, (*batch, log_w.shape[-1])).reshape(-1, log_w.shape[-1])
        flat = of_batch(y, log_w, known, x.reshape(-1, x.shape[-1]), sigma.reshape(-1))
        return jax.tree.map(lambda part: part.reshape(*batch, *part.shape[1:]), flat)

    of_batch = primitive(name, lambda *given: summarised(*given, summary=summary), like, mapped, tangents_of_batch)

    def of_state(y: Patterns, log_w: Float[Array, " n"], known: Products, x: State, sigma: Scalar) -> list[Array]:
        return [part[0] for part in of_batch(y, log_w, known, x[None], sigma[None])]

    return of_state


@full_precision
def _mean_and_leader(known: Products, by: Weighed) -> tuple[Array, Array, Array, Array]:
    """Means of the patterns, the likeliest one, the first one of several, its probability, and that of all others."""
    # Weights that do not sum to one by round-off must not scale an offset.
    mean = (by.weight @ known.centred) / by.total[:, None] + known.centre
    return mean, _likeliest(known, by), 1 / by.total, beside(by) / by.total


def _likeliest(known: Products, by: Weighed) -> Int[Array, " b"]:
    if known.index_wanted is None:
        return first(by.logits == 0)
    # Weights are in memory in any case, logits are not.
    none = jnp.zeros(by.total.shape, jnp.int32)
    return jax.lax.cond(known.index_wanted, lambda: first(by.weight == 1), lambda: none)


@jax.custom_jvp
def _following(centred: Float[Array, "n d"], y: Patterns) -> Float[Array, "n d"]:
    """`centred` itself, which moves as the patterns do: `Products` are constants, but slopes made of them are not."""
    return centred


@_following.defjvp
def _following_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    return _following(*primals), tangents[1]


@full_precision
def _logits_and_slope(primals: Any, tangents: Any) -> Any:
    """dℓ_j = d log w_j + (y_j·dx − (y_j − x)·dy_j)/σ² − 2 gap_j dσ/σ, less that of the leading pattern.

    Without norms (y_j − x)·dy_j is −x·dy_j. All is products from the centre, so that mapped over states no array is as
    large as (states, n, d).
    """
    y, log_w, known, x, sigma = primals
    dy, dlog_w, _, dx, dsigma = tangents
    logits = relative_logits(*primals)
    centred = _following(known.centred, y)
    c = jnp.argmax(logits)
    # Of a pattern without weight nothing changes.
    live = logits > jnp.finfo(logits.dtype).min / 8
    change = jnp.zeros_like(logits)
    if dlog_w is not None:
        change += dlog_w
    if dx is not None:
        change += (centred @ dx) / sigma / sigma
    if dsigma is not None:
        gap = jnp.where(live, logits - jnp.where(live, log_w, 0) + log_w[c], 0)
        change -= 2 * gap * (dsigma / sigma)
    if dy is not None:
        toward = dy @ (x - known.centre) - jnp.sum(centred * dy, axis=1) if known.norms else dy @ x
        change += toward / sigma / sigma
    return (logits,), (jnp.where(live, change - change[c], 0),)


@full_precision
def _mean_and_leader_jvp(primals: Any, tangents: Any) -> Any:
    """The posterior mean Σ_j p_j y_j and the largest p_j with their tangents, all from the same logits."""
    y, _, known, _, _ = primals
    (logits,), (slope,) = _logits_and_slope(primals, tangents)
    known = eqx.tree_at(lambda known: known.centred, known, _following(known.centred, y))
    by = weighed(logits[None])
    known = dataclasses.replace(known, index_wanted=None)
    mean, index, p, others = (part[0] for part in _mean_and_leader(known, by))
    share = by.weight[0] * p
    p_slope = share * (slope - share @ slope)
    mean_slope = p_slope @ known.centred
    if tangents[0] is not None:
        mean_slope += share @ tangents[0]
    rise = p_slope[index]
    return (mean, index, p, others), (mean_slope, np.zeros((), jax.dtypes.float0), rise, -rise)


_leaders = _of_states("likeliest_pattern", _mean_and_leader, lambda n, d: [(d,), None, (), ()], _mean_and_leader_jvp)
_logits = _of_states("relative_logits", lambda known, by: (by.logits,), lambda n, d: [(n,)], _logits_and_slope)


def mean_and_leader(
    y: Patterns, log_w: Float[Array, " n"], known: Products, x: State, sigma: Scalar
) -> tuple[State, Int[Array, ""], Scalar, Scalar]:
    """Σ_j p(j | x) y_j of one state, the likeliest pattern, its probability, and that of all others."""
    mean, index, p, others = _leaders(y, log_w, known, x, sigma)
    return mean, index, p, others


def relative_logits(
    y: Patterns, log_w: Float[Array, " n"], known: Products, x: State, sigma: Scalar
) -> Float[Array, " n"]:
    """Log p(j | x) − max_k log p(k | x) of one state for every pattern; negligible ones at −max/4."""
    return _logits(y, log_w, known, x, sigma)[0]
