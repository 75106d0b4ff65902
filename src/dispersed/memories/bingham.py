r"""A sphere observed under unequal noise: the Fisher–Bingham integral of any dimension, by one contour.

For e uniform on the unit sphere of m dimensions, θ_i ≥ 0 and any β_i,

    exp F = E[exp(Σ_i β_i e_i − θ_i e_i²)] = Γ(m/2)/(2πi) ∫ e^s Π_i (s+θ_i)^{−1/2} exp(β_i²/4(s+θ_i)) ds,

an inverse Laplace transform of Gaussian integrals over all of space. On the real axis the integrand is least at the
saddle s₀, with w_i = s₀ + θ_i > 0 and a_i = β_i/2w_i, where Σ_i (a_i² + 1/2w_i) = 1. The contour is a hyperbola
s₀ + δ, δ = b(i sinh v + BEND (1 − cosh v)), which crosses there and leaves all singularities δ = −w_i on its left; b is
the width of the saddle. On it the logarithm of the integrand, relative to the saddle, is

    Σ_i [ a_i² δ²/(w_i+δ) − ½(log(1+δ/w_i) − δ/w_i) ],

in which nothing large is left to cancel, and whose real part does not rise: arg δ stays between 90° and 135°, so that
of δ²/(w_i+δ) is between 90° and 270°. Equidistant v converge exponentially: to 1e-10, or 1e-8 in one dimension.

The value at the saddle is the exponent at a, which lies inside the sphere, and a large remainder. Moved out to the
sphere along the entry j of the least θ, by the h that makes e = a + h·1_j a unit vector, it is

    F = Σ_i (β_i e_i − θ_i e_i²) + w_j h² + log Γ(m/2) − ½ Σ_i log w_i + log (1/2π)∫ …,    w_j h² ≤ m/2,

an exponent at a point of the sphere, and an excess of the order of logarithms.

**Source**: the contour representation is that of Kume & Wood (2005), who take the saddle alone.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from dispersed.types import Array, Float, Scalar

BEND = 0.4
"""The slope of the contour's asymptotes, at most 1."""
_STEP, _REACH = 0.1, 5.5
_V = np.arange(0, _REACH + _STEP / 2, _STEP)
"""The equidistant nodes of half the contour; the other half is its complex conjugate."""


def saddle(theta: Float[Array, " m"], beta: Float[Array, " m"]) -> Float[Array, " m"]:
    """The w_i = s₀ + θ_i > 0 that solve Σ_i (1/2w_i + β_i²/4w_i²) = 1."""
    # Taken at their indices: a slope of the least looks for it among values that a program may have rounded otherwise.
    above = theta - theta[jnp.argmin(theta)]
    # Each term alone is at most 1, so w_min is at least the root of any of them.
    alone = (0.5 + jnp.hypot(0.5, beta)) / 2 - above
    start = jnp.maximum(alone[jnp.argmax(alone)], 0.5)

    def newton(w: Scalar, _: None) -> tuple[Scalar, None]:
        # 1/√sum is nearly linear in w (the secular equation of trust regions), so few steps are needed.
        inverse = 1 / (w + above)
        half = beta * inverse / 2
        total = jnp.sum(inverse / 2 + half**2)
        slope = -jnp.sum(inverse * (inverse / 2 + 2 * half**2))
        return jnp.maximum(w + 2 * total * (1 - jnp.sqrt(total)) / slope, start), None

    w, _ = jax.lax.scan(newton, start, length=16)
    return w + above


def sphere_integral(
    theta: Float[Array, " m"], beta: Float[Array, " m"]
) -> tuple[Float[Array, " m"], Scalar, Float[Array, " m"]]:
    """A point e of the unit sphere near the mode, F less the exponent there, and the mean E[e exp …]/exp F."""
    m = theta.shape[0]
    j = jnp.argmin(theta)
    w = saddle(theta, beta)
    a = beta / (2 * w)
    left = jnp.sum(1 / (2 * w))  # 1 − Σ a², without cancellation
    # h is the smaller root of (a_j + h)² = a_j² + left, on the side of a_j.
    h = jnp.where(a[j] < 0, -1, 1) * left / (jnp.abs(a[j]) + jnp.sqrt(a[j] ** 2 + left))
    width = 1 / jnp.sqrt(jnp.sum((1 / (2 * w) + 2 * a**2) / w))
    path = jnp.asarray(1j * np.sinh(_V) + BEND * (1 - np.cosh(_V)), jnp.result_type(theta, jnp.complex64))
    slope = jnp.asarray((np.cosh(_V) + 1j * BEND * np.sinh(_V)) * np.where(_V > 0, 1, 0.5), path.dtype)
    t = path[:, None] * (width / w)
    terms = (a**2 * w) * t**2 / (1 + t) - (jnp.log(1 + t) - t) / 2
    heights = jnp.exp(terms.sum(axis=1)) * slope
    total = heights.real.sum()
    mean = a * (heights[:, None] / (1 + t)).real.sum(axis=0) / total
    log_integral = jnp.log(total * (width * _STEP / math.pi))
    excess = w[j] * h**2 + math.lgamma(m / 2) - jnp.log(w).sum() / 2 + log_integral
    return a.at[j].add(h), excess, mean
