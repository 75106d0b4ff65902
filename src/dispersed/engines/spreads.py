"""How far stored patterns lie apart: the lengths by which solvers place their noise levels."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.precision import full_precision
from dispersed.primitives import primitive
from dispersed.types import Array, Bool, Float, Numbers

NEGLIGIBLE = 1e-6
"""The probability of all patterns that do not count together, at most: each has less than that part of 1/n."""


class Spreads(NamedTuple):
    """Root-mean-square distances of patterns from their mean. Those of equal weights are equal."""

    counted: Any
    """Of the patterns that count, however rare: from about there on noise tells them apart, and grids begin."""
    weighted: Any
    """By the weights: at a part of it recalls end."""


def counts(log_weights: Float[Numbers, "*b n"], n: int) -> Bool[Numbers, "*b n"]:
    """Which of n patterns weigh so much that recalls are to reach them."""
    return log_weights >= np.log(NEGLIGIBLE / n)


def spreads_of(y: Any, log_weights: Any, numpy: Any = jnp) -> Spreads:
    """Of patterns (n, d) by several sets of log weights (b, n), each spread (b,); by NumPy or JAX.

    Distances are taken from the pattern of most weight: one without weight may be so far away that squares of its
    distance would hide those of all others.
    """
    b, n = log_weights.shape
    weight = numpy.exp(log_weights)
    kinds = numpy.concatenate([counts(log_weights, n).astype(y.dtype), weight])
    kinds = kinds / numpy.sum(kinds, axis=1, keepdims=True)
    total = numpy.sum(weight, axis=0)
    step = numpy.where((total > 0)[:, None], y - y[numpy.argmax(total)], 0)
    found = spread_of(kinds @ step, kinds @ numpy.sum(step * step, axis=1), numpy)
    return Spreads(found[:b], found[b:])


def spread_of(mean: Any, square: Any, numpy: Any = jnp) -> Any:
    """The root-mean-square distance from the mean (b, d), with the mean square (b,) of what it is the mean of; where
    round-off hides it, that.
    """
    least = numpy.finfo(square.dtype).eps * square
    found = numpy.maximum(square - numpy.sum(mean * mean, axis=1), least)
    # The root of zero has no derivative.
    return numpy.where(found > 0, numpy.sqrt(numpy.where(found > 0, found, 1)), 0)


@full_precision
def _in_one_program(y: Any, log_weights: Float[Array, "b n"]) -> Spreads:
    return spreads_of(y, log_weights)


def _mapped(size: int, batched: Any, y: Any, log_weights: Any) -> Spreads:
    if batched[0]:
        own = log_weights if batched[1] else jnp.broadcast_to(log_weights, (size, *log_weights.shape))
        return Spreads(*jax.lax.map(lambda one: _of_batch(*one), (y, own)))
    # By products with the patterns that all sets of weights share.
    b, n = log_weights.shape[1:]
    found = _of_batch(y, log_weights.reshape(size * b, n))
    return Spreads(*(part.reshape(size, b) for part in found))


def _slopes(primals: Any, tangents: Any) -> tuple[Spreads, Spreads]:
    """Those by the patterns. What counts does not depend on weights smoothly, and last levels are held fixed."""
    (y, log_weights), (moved, _) = primals, tangents
    found = _of_batch(*primals)
    if moved is None:
        return found, jax.tree.map(jnp.zeros_like, found)
    return found, jax.jvp(lambda y: _in_one_program(y, log_weights), (y,), (moved,))[1]


_of_batch = primitive(
    "pattern_spreads",
    _in_one_program,
    lambda y, log_weights: Spreads(*2 * [jax.ShapeDtypeStruct(log_weights.shape[:1], y.dtype)]),
    _mapped,
    _slopes,
)


def spreads(y: Float[Array, "n d"], log_weights: Float[Array, " n"]) -> Spreads:
    """Of patterns inside of a program."""
    return Spreads(*(part[0] for part in _of_batch(y, log_weights[None])))


__all__ = ["Spreads", "counts", "spread_of", "spreads", "spreads_of"]
