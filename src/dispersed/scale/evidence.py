r"""What a set of patterns says of a noisy state, in a form in which sets can be put together.

For patterns y_j with log weights log w_j, and the centre μ,

    ℓ_j = log w_j + β((x − μ)·y_j − (‖y_j‖²/2 − μ·y_j)),    β = 1/σ²

is log w_j − ‖x − y_j‖²/(2σ²) but for the β‖x‖²/2 that all patterns share. Of a set of patterns it is enough to keep

    m = max_j ℓ_j,   Σ_j e^{ℓ_j − m},   Σ_j e^{ℓ_j − m} y_j,   Σ_j e^{ℓ_j − m} (ℓ_j − m):

`combine` makes of those of two sets those of their union. It is associative and `nothing` is its unit, so the same
line serves blocks, devices and hosts (the online softmax of Milakov & Gimelshein 2018).
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from dispersed.storage import Encoding
from dispersed.types import Array, Float, Int, Numbers

CHUNK = 4096
"""Blocks of patterns are whole chunks of so many."""
LOGITS = 1 << 18
"""Logits that are in memory at once: as many as stay in the second-level cache."""


class Evidence(eqx.Module):
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


def nothing(b: int, d: int, dtype: jnp.dtype) -> Evidence:
    """The evidence of no patterns."""
    # Not −inf: two empty sets would differ by inf − inf.
    lowest = jnp.finfo(dtype).min / 4
    return Evidence(jnp.full(b, lowest, dtype), jnp.zeros(b, dtype), jnp.zeros((b, d), dtype), jnp.zeros(b, dtype))


def combine(one: Evidence, other: Evidence) -> Evidence:
    """The evidence of the union of two sets of patterns."""
    top = jnp.maximum(one.top, other.top)

    def at_top(part: Evidence) -> tuple[Array, Array, Array]:
        fall = part.top - top
        scale = jnp.exp(fall)
        # e^fall · fall tends to 0 where a set without patterns is as good as −∞ away.
        return (
            part.mass * scale,
            part.total * scale[:, None],
            scale * (part.slope + part.mass * jnp.maximum(fall, -1e30)),
        )

    (mass, total, slope), (mass2, total2, slope2) = at_top(one), at_top(other)
    return Evidence(top, mass + mass2, total + total2, slope + slope2)


def heights(y: Float[Array, "m d"], centre: Float[Array, " d"]) -> Float[Array, " m"]:
    """‖y_j‖²/2 − μ·y_j."""
    return jnp.sum(y * (y / 2 - centre), axis=1)


def logits(
    y: Float[Array, "m d"],
    height: Float[Array, " m"],
    log_weights: Float[Array, " m"] | Float[Array, ""],
    x: Float[Array, "b d"],
    beta: Float[Array, " b"],
) -> Float[Array, "b m"]:
    """ℓ_j of every state and pattern; `x` is taken from the centre already."""
    return beta[:, None] * (x @ y.T - height) + log_weights


def chunk_size(rows: int, states: int) -> int:
    """Patterns to go through at once: a power of two times `CHUNK` that divides `rows`, or all."""
    size = min(rows, CHUNK)
    while rows % (2 * size) == 0 and 2 * size * states <= LOGITS:
        size *= 2
    return size


def evidence(
    codes: Array,
    scale: Array | None,
    height: Float[Array, " m"] | None,
    log_weights: Float[Array, " m"] | Float[Array, ""],
    count: Int[Array, ""],
    x: Float[Array, "b d"],
    beta: Float[Array, " b"],
    centre: Float[Array, " d"],
    encoding: Encoding,
) -> Evidence:
    """What the first `count` of m encoded patterns say, in bounded memory; m is a multiple of `CHUNK` or below it.

    `height`, if it is known already, saves computing it again.
    """
    b, d = x.shape
    m = codes.shape[0]
    size = chunk_size(m, b)

    def add(so_far: Evidence, start: Array) -> tuple[Evidence, None]:
        def part(array: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(array, start, size)

        y = encoding.decode(part(codes), None if scale is None else part(scale), d).astype(x.dtype)
        lift = heights(y, centre) if height is None else part(height).astype(x.dtype)
        here = logits(y, lift, part(log_weights) if log_weights.ndim else log_weights, x, beta)
        here = jnp.where(start + jnp.arange(size) < count, here, -jnp.inf)
        top = jnp.maximum(here.max(axis=1), jnp.finfo(x.dtype).min / 4)
        fall = here - top[:, None]
        share = jnp.exp(fall)
        slope = jnp.sum(jnp.where(share > 0, share * fall, 0), axis=1)
        return combine(so_far, Evidence(top, share.sum(axis=1), share @ y, slope)), None

    return jax.lax.scan(add, nothing(b, d, x.dtype), jnp.arange(0, m, size))[0]
