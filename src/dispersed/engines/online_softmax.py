r"""What a set of patterns says of a noisy state, in a form in which sets can be put together.

For patterns y_j with log weights log w_j, and the centre μ,

    ℓ_j = log w_j + β((x − μ)·y_j − (‖y_j‖²/2 − μ·y_j)),    β = 1/σ²

is log w_j − ‖x − y_j‖²/(2σ²) but for the β‖x‖²/2 that all patterns share. Of a set of patterns it is enough to keep

    m = max_j ℓ_j,   Σ_j e^{ℓ_j − m},   Σ_j e^{ℓ_j − m} y_j,   Σ_j e^{ℓ_j − m} (ℓ_j − m):

`combine` makes of those of two sets those of their union. It is associative and `nothing` is its unit, so the same
line serves blocks, devices and hosts (the online softmax of Milakov & Gimelshein 2018).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from dispersed.machine import jitted_with, long_running
from dispersed.storage import Encoding
from dispersed.types import Array, Float, Int, Numbers, UInt32

TILE = 32
"""Patterns that a scan speaks of in one number: their largest logit, or which of them are peaks."""
CHUNK = 4096
"""Patterns that are in memory at once, at most."""
LOGITS = 1 << 19
"""Logits that are in memory at once: as many as stay in the caches;"""
DECODED = 1 << 19
"""and so many numbers of the patterns."""


class SoftmaxSums(eqx.Module):
    """Of a set of patterns, for each state of a batch (b, d)."""

    top: Float[Numbers, " b"]
    """The largest logit m."""
    mass: Float[Numbers, " b"]
    """Σ e^{ℓ − m}."""
    total: Float[Numbers, "b d"]
    """Σ e^{ℓ − m} y."""
    slope: Float[Numbers, " b"]
    """Σ e^{ℓ − m} (ℓ − m), from which the entropy follows."""

    @property
    def log_mass(self) -> Float[Numbers, " b"]:
        """Log Σ e^ℓ."""
        return self.top + jnp.log(self.mass)

    @property
    def mean(self) -> Float[Numbers, "b d"]:
        """Σ p(j | x) y_j."""
        return self.total / self.mass[:, None]

    @property
    def entropy(self) -> Float[Numbers, " b"]:
        """−Σ p log p, in nats."""
        return jnp.log(self.mass) - self.slope / self.mass


def empty_sums(b: int, d: int, dtype: jnp.dtype) -> SoftmaxSums:
    """The evidence of no patterns."""
    # Not −inf: two empty sets would differ by inf − inf.
    lowest = jnp.finfo(dtype).min / 4
    return SoftmaxSums(jnp.full(b, lowest, dtype), jnp.zeros(b, dtype), jnp.zeros((b, d), dtype), jnp.zeros(b, dtype))


def merge(one: SoftmaxSums, other: SoftmaxSums, numpy: Any = jnp) -> SoftmaxSums:
    """The evidence of the union of two sets of patterns."""
    top = numpy.maximum(one.top, other.top)

    def at_top(part: SoftmaxSums) -> tuple[Numbers, Numbers, Numbers]:
        fall = part.top - top
        scale = numpy.exp(fall)
        # e^fall · fall tends to 0 where a set without patterns is as good as −∞ away.
        return (
            part.mass * scale,
            part.total * scale[:, None],
            scale * (part.slope + part.mass * numpy.maximum(fall, -1e30)),
        )

    (mass, total, slope), (mass2, total2, slope2) = at_top(one), at_top(other)
    return SoftmaxSums(top, mass + mass2, total + total2, slope + slope2)


def precise_product(a: Array, b: Array) -> Array:
    """The product of two arrays in the precision that they have: by default a GPU rounds them to eleven bits before."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def half_squared_norms(y: Float[Array, "m d"], centre: Float[Array, " d"]) -> Float[Array, " m"]:
    """‖y_j‖²/2 − μ·y_j."""
    # As a product: decoding is fused into a sum, where it would be done anew, number by number.
    return precise_product(y * (y / 2 - centre), jnp.ones_like(centre))


def logits(
    y: Float[Array, "m d"],
    height: Float[Array, " m"],
    log_weights: Float[Array, " m"] | Float[Array, ""],
    x: Float[Array, "b d"],
    beta: Float[Array, " b"],
) -> Float[Array, "b m"]:
    """ℓ_j of every state and pattern; `x` is taken from the centre already."""
    return beta[:, None] * (precise_product(x, y.T) - height) + log_weights


def padded_batch_size(states: int) -> int:
    """The next of 1, 4, 16, 24, 32, 48, 64, 96, …: few sizes, so that few programs serve all."""
    if states <= 16:
        return 1 if states == 1 else 4 if states <= 4 else 16
    power = 1 << (states - 1).bit_length()
    return 3 * power // 4 if states <= 3 * power // 4 else power


def padded_batch(array: np.ndarray, dtype: type) -> np.ndarray:
    """One number or vector a state, filled up to `batch_size` states with copies of the first."""
    return np.concatenate([array, array[np.zeros(padded_batch_size(len(array)) - len(array), int)]]).astype(dtype)


def padded_rows(rows: int) -> int:
    """The next number of rows that is so often even that they can be gone through in parts of any size."""
    unit = TILE
    while 16 * unit < rows and unit < CHUNK:
        unit *= 2
    return -(-max(rows, 1) // unit) * unit


def chunk_size(rows: int, states: int, d: int) -> int:
    """Patterns of d units to go through at once, of as many as `filled_up` gives, so many that neither they nor their
    logits are too much for the caches: all of them, or a power of two of tiles.
    """

    def fits(size: int) -> bool:
        return size <= CHUNK and size * states <= LOGITS and size * d <= DECODED

    if fits(rows):
        return rows
    size = TILE
    while rows % (2 * size) == 0 and fits(2 * size):
        size *= 2
    return size


class EncodedRows(eqx.Module):
    """Encoded patterns of a block, and what is needed to ask them."""

    codes: Array
    """(m, ...), m being as `filled_up` gives."""
    scale: Array | None
    height: Float[Array, " m"] | None
    """Saves computing it again, if it is known already."""
    log_weights: Float[Array, " m"] | Float[Array, ""]
    count: Int[Array, ""]
    """How many are patterns; what follows is padding."""
    encoding: Encoding = eqx.field(static=True)

    def chunk(
        self, start: Array, size: int, x: Float[Array, "b d"], beta: Float[Array, " b"], centre: Float[Array, " d"]
    ) -> tuple[Float[Array, "size d"], Float[Array, "b size"]]:
        """The patterns from `start` on and their logits, −∞ for padding."""

        def part(array: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(array, start, size)

        scale = None if self.scale is None else part(self.scale)
        y = self.encoding.decode(part(self.codes), scale, x.shape[1]).astype(x.dtype)
        lift = half_squared_norms(y, centre) if self.height is None else part(self.height).astype(x.dtype)
        here = logits(y, lift, part(self.log_weights) if self.log_weights.ndim else self.log_weights, x, beta)
        return y, jnp.where(start + jnp.arange(size) < self.count, here, -jnp.inf)


def block_sums(
    rows: EncodedRows, x: Float[Array, "b d"], beta: Float[Array, " b"], centre: Float[Array, " d"]
) -> SoftmaxSums:
    """What all patterns of a block say, in bounded memory."""
    b, d = x.shape
    m = rows.codes.shape[0]
    size = chunk_size(m, b, d)

    def add(so_far: SoftmaxSums, start: Array) -> tuple[SoftmaxSums, None]:
        y, here = rows.chunk(start, size, x, beta, centre)
        top = jnp.maximum(here.max(axis=1), jnp.finfo(x.dtype).min / 4)
        fall = here - top[:, None]
        return merge(so_far, _weighted_sums(y, jnp.exp(fall), fall, top)), None

    return jax.lax.scan(add, empty_sums(b, d, x.dtype), jnp.arange(0, m, size))[0]


class BlockScan(eqx.Module):
    """Of a block, for each state: which patterns are peaks, and what all others say."""

    others: SoftmaxSums
    marks: UInt32[Array, "chunks b tiles"]
    """Of every tile which patterns are peaks, one bit each."""
    tops: Float[Array, "chunks b tiles"]
    """Of every tile the largest logit."""
    nearest: Float[Array, " b"] | None
    """The largest ℓ − log w of the others, if they do not all weigh alike."""


@jitted_with(long_running)
def scan_block(
    rows: EncodedRows,
    x: Float[Array, "b d"],
    beta: Float[Array, " b"],
    centre: Float[Array, " d"],
    floor: Float[Array, " b"],
    near: Float[Array, " b"],
    means: bool,
) -> BlockScan:
    """Every pattern asked, and those told apart that matter most.

    A peak is a pattern that weighs more than e^−`near` of e^`floor` and of the likeliest pattern before it. A few
    patterns carry nearly all the weight, as a rule; weighed apart, in double precision, they leave little that
    round-off in the sum of the others could spoil. Without `means` only the weight of the others is summed, which saves
    the second of two matrix products.
    """
    b, d = x.shape
    m = rows.codes.shape[0]
    size = chunk_size(m, b, d)
    units = d if means else 0
    bits = jnp.left_shift(jnp.uint32(1), jnp.arange(TILE, dtype=jnp.uint32))
    lowest = jnp.finfo(x.dtype).min / 4

    def add(carry: tuple[SoftmaxSums, Array, Array | None], start: Array) -> tuple[tuple, tuple[Array, Array]]:
        so_far, best, nearest = carry
        y, here = rows.chunk(start, size, x, beta, centre)
        tiles = here.reshape(b, -1, TILE)
        tops = tiles.max(axis=2)
        top = jnp.maximum(tops.max(axis=1), lowest)
        best = jnp.maximum(best, top)
        apart = here >= (best - near)[:, None]
        marks = jnp.where(apart.reshape(tiles.shape), bits, jnp.uint32(0)).sum(axis=2, dtype=jnp.uint32)
        fall = here - top[:, None]
        share = jnp.where(apart, 0, jnp.exp(fall))
        if nearest is not None:
            log_w = jax.lax.dynamic_slice_in_dim(rows.log_weights, start, size)
            free = jnp.where(apart | (here == -jnp.inf), lowest, here - log_w)
            nearest = jnp.maximum(nearest, free.max(axis=1))
        return (merge(so_far, _weighted_sums(y[:, :units], share, fall, top)), best, nearest), (marks, tops)

    nearest = jnp.full(b, lowest, x.dtype) if rows.log_weights.ndim else None
    carry = empty_sums(b, units, x.dtype), floor, nearest
    (others, _, nearest), (marks, tops) = jax.lax.scan(add, carry, jnp.arange(0, m, size))
    return BlockScan(others, marks, tops, nearest)


def _weighted_sums(
    y: Float[Array, "size d"], share: Float[Array, "b size"], fall: Float[Array, "b size"], top: Float[Array, " b"]
) -> SoftmaxSums:
    # Where no mean is asked for, no entropy is.
    slope = jnp.sum(jnp.where(share > 0, share * fall, 0), axis=1) if y.shape[1] else jnp.zeros_like(top)
    return SoftmaxSums(top, share.sum(axis=1), precise_product(share, y), slope)
