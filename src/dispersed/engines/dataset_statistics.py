"""What bounds need to know of all patterns, from two passes over them, and the units of all computations."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.engines.online_softmax import EncodedRows, half_squared_norms
from dispersed.engines.roundoff import gamma
from dispersed.machine import jitted_soon
from dispersed.types import Array

ORDINARY = 16
"""Entries between 2^−16 and 2^16 are left as they are: neither squares nor products of them are near the limits."""
CENTRED = 1 / 16
"""The fraction of the mean square of the patterns from which on their mean is subtracted."""
MOST_SCALE = 126
"""The largest power of two, and its inverse the smallest, that single precision multiplies by without loss."""


class DatasetStatistics(NamedTuple):
    """Bounds and averages of all patterns, in internal units: those of the patterns times 2^`exponent`."""

    exponent: int
    """The power of two that makes the largest entry of all patterns an ordinary number."""
    centre: np.ndarray
    """The point c, (d,), from which logits take patterns and states: their mean, or 0 if that is as good."""
    mean: np.ndarray
    """The mean of the patterns, each with the same weight, (d,)."""
    radius: float
    """An upper bound on ‖y − c‖."""
    spread: float
    """The root mean square of the distance from the mean, of all patterns alike."""
    flush: float
    """An upper bound on what is lost of a pattern where subnormal numbers are flushed to zero."""
    max_log_weight: float
    """The largest absolute value of a finite log weight."""

    @property
    def factor(self) -> float:
        """2^`exponent`."""
        return float(2.0**self.exponent)


def without_extents(
    n: int, largest: float, total: np.ndarray, square: float, max_log_weight: float
) -> DatasetStatistics:
    """The units and the centre of n patterns with the largest entry `largest`, the sum `total` (d,) and the sum
    `square` of squared norms, in their own units; the radius and the spread, which take a second pass, are 0.
    """
    d = len(total)
    exponent = 0
    if abs(np.frexp(largest)[1]) > ORDINARY:
        exponent = int(np.clip(-np.frexp(largest)[1], -MOST_SCALE, MOST_SCALE))
    factor = 2.0**exponent
    mean = total / n * factor
    centre = mean.astype(np.float32).astype(float)
    if mean @ mean <= CENTRED * (square / n * factor * factor):
        centre = np.zeros(d)
    flush = float(np.sqrt(d) * np.finfo(np.float32).tiny * (factor + 1))
    return DatasetStatistics(exponent, centre, mean, 0.0, 0.0, flush, max_log_weight)


def with_extents(known: DatasetStatistics, n: int, largest: float, total: float) -> DatasetStatistics:
    """The statistics with the radius and the spread, from the largest and the sum of ‖y − c‖² as they were computed."""
    # Sums of squares in double precision of differences that were rounded once, of numbers that may have been flushed.
    radius = float(np.sqrt(largest)) * (1 + gamma(len(known.mean) + 8, float)) + known.flush
    offset = known.mean - known.centre
    spread = float(np.sqrt(max(total / n - offset @ offset, 0.0)))
    return known._replace(radius=radius, spread=min(spread, 2 * radius))


def _chunks(rows: EncodedRows, size: int) -> tuple[Array, Array | None, Array]:
    """Codes, scales and numbers of the rows of a block, chunk by chunk."""

    def split(array: Array) -> Array:
        return array.reshape(-1, size, *array.shape[1:])

    number = jnp.arange(rows.codes.shape[0])
    return split(rows.codes), None if rows.scale is None else split(rows.scale), split(number)


@jitted_soon()
def block_moments(rows: EncodedRows, d: int, size: int) -> tuple[Array, Array, Array, Array, Array]:
    """The largest absolute entry, the sum and the sum of squared norms of the patterns of a block, in their own units
    and in double precision, and the row and the unit of the first entry that is not finite, −1 if all are.
    """

    def evaluate(part: tuple[Any, ...]) -> tuple[Any, ...]:
        codes, scale, number = part
        y = rows.encoding.decode(codes, scale, d)
        inside = (number < rows.count)[:, None]
        finite = jnp.isfinite(y) | ~inside
        first = jnp.argmin(finite)
        row = jnp.where(finite.all(), -1, number[first // d])
        y = jnp.where(inside & finite, y, 0).astype(jnp.float64)
        return jnp.max(jnp.abs(y)), y.sum(axis=0), jnp.sum(y * y), row, first % d

    largest, total, square, row, unit = jax.lax.map(evaluate, _chunks(rows, size))
    at = jnp.argmax(row >= 0)
    return largest.max(), total.sum(axis=0), square.sum(), row[at], unit[at]


@jitted_soon()
def block_extents(rows: EncodedRows, d: int, size: int) -> tuple[Array, Array, Array]:
    """The largest and the sum of ‖y − c‖² of a block, and ‖y − c‖²/2 of every pattern, in double precision."""

    def evaluate(part: tuple[Any, ...]) -> tuple[Any, ...]:
        codes, scale, number = part
        half = half_squared_norms(rows.decoded(codes, scale, d, jnp.float64))
        return jnp.where(number < rows.count, 2 * half, 0), half

    square, half = jax.lax.map(evaluate, _chunks(rows, size))
    return square.max(), square.sum(), half.reshape(-1)
