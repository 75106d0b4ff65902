r"""Sums over sets of patterns in a form in which sets can be merged: the online softmax.

For patterns y_j with log weights log w_j, and any centre c,

    ℓ_j = log w_j + β((x − c)·(y_j − c) − ‖y_j − c‖²/2),    β = 1/σ²

is log w_j − ‖x − y_j‖²/(2σ²) but for the β‖x − c‖²/2 that all patterns have in common. Of a set of patterns it is
enough to keep

    m = max_j ℓ_j,   Σ_j e^{ℓ_j − m},   Σ_j e^{ℓ_j − m} (y_j − c),   Σ_j e^{ℓ_j − m} (ℓ_j − m):

`merge` makes of those of two sets those of their union. It is associative and `empty_sums` is its unit, so the same
line serves blocks, devices and hosts.

**Source**: Milakov & Gimelshein (2018), Online normalizer calculation for softmax.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.engines.options import TILE, ScanOptions
from dispersed.machine import jitted_with, long_running
from dispersed.precision import full_precision
from dispersed.storage import Encoding
from dispersed.types import Array, Float, Numbers, UInt32


class SoftmaxSums(eqx.Module):
    """The sums over a set of patterns for each state of a batch (b, d)."""

    max_logit: Float[Numbers, " b"]
    """The largest logit m."""
    mass: Float[Numbers, " b"]
    """Σ e^{ℓ − m}."""
    weighted_sum: Float[Numbers, "b d"]
    """Σ e^{ℓ − m} (y − c)."""
    weighted_logits: Float[Numbers, " b"]
    """Σ e^{ℓ − m} (ℓ − m), from which the entropy follows."""

    @property
    def log_sum(self) -> Float[Numbers, " b"]:
        """Log Σ e^ℓ."""
        return self.max_logit + jnp.log(self.mass)

    @property
    def mean(self) -> Float[Numbers, "b d"]:
        """Σ p(j | x) (y_j − c)."""
        return self.weighted_sum / self.mass[:, None]

    @property
    def entropy(self) -> Float[Numbers, " b"]:
        """−Σ p log p, in nats."""
        return jnp.log(self.mass) - self.weighted_logits / self.mass


def empty_sums(b: int, d: int, dtype: Any, numpy: Any = jnp) -> SoftmaxSums:
    """The sums over no patterns."""
    # Not −inf: two empty sets would differ by inf − inf.
    lowest = float(np.finfo(dtype).min) / 4
    largest, mass, logits = numpy.full(b, lowest, dtype), numpy.zeros(b, dtype), numpy.zeros(b, dtype)
    return SoftmaxSums(largest, mass, numpy.zeros((b, d), dtype), logits)


def merge(one: SoftmaxSums, other: SoftmaxSums, numpy: Any = jnp) -> SoftmaxSums:
    """The sums over the union of two disjoint sets of patterns."""
    max_logit = numpy.maximum(one.max_logit, other.max_logit)

    def rescaled(part: SoftmaxSums) -> tuple[Numbers, Numbers, Numbers]:
        fall = part.max_logit - max_logit
        scale = numpy.exp(fall)
        # e^fall · fall tends to 0 where a set without patterns is as good as −∞ away.
        return (
            part.mass * scale,
            part.weighted_sum * scale[:, None],
            scale * (part.weighted_logits + part.mass * numpy.maximum(fall, -1e30)),
        )

    (mass, total, logits), (mass2, total2, logits2) = rescaled(one), rescaled(other)
    return SoftmaxSums(max_logit, mass + mass2, total + total2, logits + logits2)


@full_precision
def half_squared_norms(y: Float[Array, "m d"]) -> Float[Array, " m"]:
    """‖y_j‖²/2 of patterns, by a product."""
    # A sum would have the decoding fused into it and done anew, number by number.
    return (y * y) @ jnp.full(y.shape[1], 0.5, y.dtype)


FEW_PATTERNS = 1 << 12
"""Patterns up to which it costs more to compile a program than to evaluate some states in vain."""


def batch_size(states: int, n: int) -> int:
    """The next of 1, 4, 16, 24, 32, 48, 64, 96, … for states beside n patterns, or, beside few, the next of 1, 4, 16,
    64, 256, …: few sizes, so that few programs serve all.
    """
    if states <= 16 or n <= FEW_PATTERNS:
        return 1 << 2 * -(-(states - 1).bit_length() // 2)
    power = 1 << (states - 1).bit_length()
    return 3 * power // 4 if states <= 3 * power // 4 else power


def padded_batch(array: np.ndarray, dtype: type, n: int) -> np.ndarray:
    """One number or vector a state, filled up to `batch_size` states with copies of the first."""
    return np.concatenate([array, array[np.zeros(batch_size(len(array), n) - len(array), int)]]).astype(dtype)


class EncodedRows(eqx.Module):
    """Encoded patterns of a block, with what their logits need. All lengths are in internal units."""

    codes: Numbers
    """The codes (m, ...), as many as `ScanOptions.rows` gives."""
    scale: Numbers | None
    """One scale a pattern, for encodings that have one."""
    factor: Numbers | None
    """The power of two by which decoded patterns are multiplied; None for 1."""
    centre: Numbers | None
    """The centre c that is subtracted from them; None for 0."""
    half_norms: Numbers | None
    """‖y − c‖²/2 where it is known already, in double precision."""
    log_weights: Numbers
    """The log weights, one a pattern or one for all."""
    count: Numbers
    """The number of patterns; what follows is padding."""
    encoding: Encoding = eqx.field(static=True)

    def decoded(self, codes: Array, scale: Array | None, d: int, dtype: Any) -> Float[Array, "m d"]:
        """Patterns in internal units, taken from the centre."""
        y = self.encoding.decode(codes, scale, d).astype(dtype)
        if self.factor is not None:
            y = y * self.factor.astype(dtype)
        return y if self.centre is None else y - self.centre.astype(dtype)

    @full_precision
    def chunk(
        self, start: Array, size: int, x: Float[Array, "b d"], beta: Float[Array, " b"]
    ) -> tuple[Float[Array, "size d"], Float[Array, "b size"]]:
        """The patterns from `start` on and their logits, −∞ for padding; `x` is taken from the centre already."""

        def part(array: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(array, start, size)

        scale = None if self.scale is None else part(self.scale)
        y = self.decoded(part(self.codes), scale, x.shape[1], x.dtype)
        half = half_squared_norms(y) if self.half_norms is None else part(self.half_norms).astype(x.dtype)
        log_weights = part(self.log_weights) if self.log_weights.ndim else self.log_weights
        logits = beta[:, None] * (x @ y.T - half) + log_weights.astype(x.dtype)
        return y, jnp.where(start + jnp.arange(size) < self.count, logits, -jnp.inf)


def block_sums(
    rows: EncodedRows, x: Float[Array, "b d"], beta: Float[Array, " b"], options: ScanOptions = ScanOptions()
) -> SoftmaxSums:
    """The sums over all patterns of a block, in bounded memory, inside a compiled program."""
    b, d = x.shape
    m = rows.codes.shape[0]
    size = options.chunk(m, b, d)

    def add(so_far: SoftmaxSums, start: Array) -> tuple[SoftmaxSums, None]:
        y, logits = rows.chunk(start, size, x, beta)
        # What is computed of the sums does not depend on m. A slope of the largest logit looks for it among logits that
        # a program may have rounded otherwise, and finds none.
        top = jax.lax.stop_gradient(jnp.maximum(logits.max(axis=1), jnp.finfo(x.dtype).min / 4))
        fall = logits - top[:, None]
        return merge(so_far, _weighted_sums(y, jnp.exp(fall), fall, top)), None

    return jax.lax.scan(add, empty_sums(b, d, x.dtype), jnp.arange(0, m, size))[0]


class BlockScan(eqx.Module):
    """The result of a scan of one block, for each state: which patterns are dominant, and the sums over all others."""

    others: SoftmaxSums
    """The sums over all patterns that are not dominant."""
    bitmask: UInt32[Array, "chunks b tiles"]
    """The dominant patterns of every tile, one bit each."""
    tile_maxima: Float[Array, "chunks b tiles"]
    """The largest logit of every tile, dominant patterns included."""
    max_unweighted: Float[Array, " b"] | None
    """The largest ℓ − log w among the others; None if all weigh alike."""


@jitted_with(long_running)
def scan_block(
    rows: EncodedRows,
    x: Float[Array, "b d"],
    beta: Float[Array, " b"],
    floor: Float[Array, " b"],
    depth: Float[Array, " b"],
    means: bool,
    size: int,
) -> BlockScan:
    """Evaluate every pattern of a block, in chunks of `size`, and separate the dominant ones from the others.

    A pattern is dominant if it weighs more than e^−`depth` of e^`floor` and of the likeliest pattern before it. A few
    patterns carry nearly all the weight, as a rule; weighed apart, in double precision, they leave little that
    round-off in the sum of the others could spoil. Without `means` only the weight of the others is summed, which saves
    the second of two matrix products.
    """
    b, d = x.shape
    m = rows.codes.shape[0]
    units = d if means else 0
    bits = jnp.left_shift(jnp.uint32(1), jnp.arange(TILE, dtype=jnp.uint32))
    lowest = jnp.finfo(x.dtype).min / 4

    def add(
        carry: tuple[SoftmaxSums, Array, Array | None], start: Array
    ) -> tuple[tuple[Any, ...], tuple[Array, Array]]:
        so_far, best, max_unweighted = carry
        y, logits = rows.chunk(start, size, x, beta)
        tiles = logits.reshape(b, -1, TILE)
        tile_maxima = tiles.max(axis=2)
        top = jnp.maximum(tile_maxima.max(axis=1), lowest)
        best = jnp.maximum(best, top)
        dominant = logits >= (best - depth)[:, None]
        bitmask = jnp.where(dominant.reshape(tiles.shape), bits, jnp.uint32(0)).sum(axis=2, dtype=jnp.uint32)
        fall = logits - top[:, None]
        weight = jnp.where(dominant, 0, jnp.exp(fall))
        if max_unweighted is not None:
            log_weights = jax.lax.dynamic_slice_in_dim(rows.log_weights, start, size).astype(x.dtype)
            unweighted = jnp.where(dominant | (logits == -jnp.inf), lowest, logits - log_weights)
            max_unweighted = jnp.maximum(max_unweighted, unweighted.max(axis=1))
        sums = merge(so_far, _weighted_sums(y[:, :units], weight, fall, top))
        return (sums, best, max_unweighted), (bitmask, tile_maxima)

    max_unweighted = jnp.full(b, lowest, x.dtype) if rows.log_weights.ndim else None
    carry = empty_sums(b, units, x.dtype), floor, max_unweighted
    (others, _, max_unweighted), (bitmask, tile_maxima) = jax.lax.scan(add, carry, jnp.arange(0, m, size))
    return BlockScan(others, bitmask, tile_maxima, max_unweighted)


@full_precision
def _weighted_sums(
    y: Float[Array, "size d"], weight: Float[Array, "b size"], fall: Float[Array, "b size"], top: Float[Array, " b"]
) -> SoftmaxSums:
    # Where no mean is computed, no entropy is.
    logits = jnp.sum(jnp.where(weight > 0, weight * fall, 0), axis=1) if y.shape[1] else jnp.zeros_like(top)
    return SoftmaxSums(top, weight.sum(axis=1), weight @ y, logits)
