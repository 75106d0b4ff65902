r"""One Gaussian seen through one interval: the integral behind segments, boxes and subspaces.

A coordinate u is observed under noise σ, and the memory is uniform on [low, high]. In units of σ the interval is
[a, b] = ([low, high] − u)/σ of width w, and everything follows from

    (1/w) ∫_a^b e^{−t²/2} dt = e^{−m²/2} · e^{excess},     m = the distance from 0 to [a, b].

Only the excess is computed, so nothing underflows however far u lies. Three forms cover the plane, none of
which subtracts nearly equal numbers:

- narrow, where the exponent varies by less than 2 over the interval: 16-point Gauss–Legendre;
- wide with u outside: Mills ratios, M(m) − e^{−mw−w²/2} M(m+w), with M(m) = e^{m²/2} ∫_m^∞ e^{−t²/2} dt;
- wide with u inside: a sum of two error functions.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.precision import full_precision
from dispersed.types import Array, Scalar

REACH = 1e15
"""Distances beyond this many σ count as infinite; its square fits into single precision."""
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(16)
_NODES, _NODE_WEIGHTS = (_NODES + 1) / 2, _NODE_WEIGHTS / 2


def mills(m: Scalar) -> tuple[Scalar, Scalar]:
    """Mills ratio M(m) = e^{m²/2} ∫_m^∞ e^{−t²/2} dt for m ≥ 0, and r = 1/M − m, its distance from 1/m.

    `erfc` near 0, where 1/M exceeds m by much; Laplace's continued fraction r = 1/(m + 2/(m + 3/(m + …))) from where on
    24 terms of it have all digits of the precision.
    """
    start = 2.5 if m.dtype == jnp.float32 else 5.5
    near = jnp.minimum(m, start)
    ratio = math.sqrt(math.pi / 2) * jnp.exp(near**2 / 2) * jax.scipy.special.erfc(near / math.sqrt(2))
    far = jnp.maximum(m, start)
    r, _ = jax.lax.scan(lambda r, k: (k / (far + r), None), jnp.zeros_like(m), jnp.arange(24.0, 0, -1, dtype=m.dtype))
    r = jnp.where(m < start, 1 / ratio - near, r)
    return jnp.where(m < start, ratio, 1 / (far + r)), r


def _in_levels(end: Scalar, u: Scalar, sigma: Scalar) -> Scalar:
    """(end − u)/σ, at most `REACH`."""
    # The derivative of an infinite quotient is NaN, also where it is not taken.
    near = (jnp.where(jnp.isfinite(end), end, u) - u) / sigma
    return jnp.where(jnp.isfinite(end), jnp.clip(near, -REACH, REACH), jnp.copysign(REACH, end).astype(near.dtype))


@full_precision
def interval(u: Scalar, low: Scalar, high: Scalar, sigma: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """Nearest point of [low, high] to u, the excess above, and the posterior mean of the coordinate.

    The uniform density is 1/(high − low); on an unbounded interval it is one per unit of length, which is
    improper. An interval of width zero is a point: excess 0.
    """
    bounded = jnp.isfinite(low) & jnp.isfinite(high)
    nearest = jnp.clip(u, low, high)
    # Where u lies beyond the middle, look at the mirror image: then the low end is the near one.
    a, b = (_in_levels(end, u, sigma) for end in (low, high))
    mirrored = a + b < 0
    a, b = jnp.where(mirrored, -b, a), jnp.where(mirrored, -a, b)
    finite_low, finite_width = jnp.where(bounded, low, 0), jnp.where(bounded, high - low, 0)
    whole = jnp.where(bounded, finite_width / sigma, b - a)
    width = jnp.minimum(whole, 2 * REACH)
    outside = a >= 0
    m = jnp.where(outside, a, 0)
    spread = jnp.where(outside, a * width + width**2 / 2, b**2 / 2)
    narrow = spread < 2

    thin_a, thin_m, thin_w = (jnp.where(narrow, v, 0) for v in (a, m, width))
    # t² − m² is a w s + … where u is outside: the large square is never formed.
    at = thin_w * jnp.asarray(_NODES, a.dtype)
    t = jnp.where(outside, 0, thin_a) + at
    heights = jnp.asarray(_NODE_WEIGHTS, a.dtype) * jnp.exp(-thin_m * at - t**2 / 2)
    total = heights.sum()
    share = heights @ jnp.asarray(_NODES, a.dtype) / total
    share = jnp.where(mirrored, 1 - share, share)

    wide_out = ~narrow & outside
    near, far_w = jnp.where(wide_out, m, 0), jnp.where(wide_out, width, 2)
    lost = jnp.exp(-jnp.where(wide_out, spread, 2))
    (ratio, r), (ratio_far, r_far) = mills(near), mills(near + far_w)
    mass_out = ratio - lost * ratio_far
    offset_out = (r * ratio - lost * (r_far + far_w) * ratio_far) / mass_out

    wide_in = ~narrow & ~outside
    in_a, in_b = jnp.where(wide_in, a, -2), jnp.where(wide_in, b, 2)
    erf = jax.scipy.special.erf
    mass_in = math.sqrt(math.pi / 2) * (erf(in_b / math.sqrt(2)) + erf(-in_a / math.sqrt(2)))
    offset_in = (jnp.exp(-jnp.minimum(in_a**2, 1e3) / 2) - jnp.exp(-jnp.minimum(in_b**2, 1e3) / 2)) / mass_in

    # Beyond the reach a density goes on falling with the width.
    wide_w = jnp.where(narrow, 1, jnp.minimum(whole, jnp.finfo(whole.dtype).max))
    excess = jnp.where(narrow, jnp.log(total), jnp.log(jnp.where(outside, mass_out, mass_in)) - jnp.log(wide_w))
    excess = jnp.where(bounded, excess, excess + jnp.log(wide_w) + jnp.log(sigma))
    offset = sigma * jnp.where(outside, offset_out, offset_in)
    wide_mean = nearest + jnp.where(mirrored, -offset, offset)
    return nearest, excess, jnp.where(narrow, finite_low + finite_width * share, wide_mean)


def product(u: Array, low: Array, high: Array, sigma: Scalar) -> tuple[Array, Scalar, Array]:
    """`interval` for every coordinate (k,): nearest points, the summed excess, posterior means."""
    nearest, excess, mean = jax.vmap(interval, (0, 0, 0, None))(u, low, high, sigma)
    return nearest, excess.sum(), mean
