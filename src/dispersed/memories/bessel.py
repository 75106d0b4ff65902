r"""The modified Bessel function I_ν as spheres need it: scaled, of any order, from κ = 0 to far beyond 1e10.

The mean of e^{κ cos} over the unit sphere in m dimensions is ₀F₁(; ν+1; κ²/4) = Γ(ν+1)(2/κ)^ν I_ν(κ) with
ν = m/2 − 1. What is computed are

    g_ν(κ) = log ₀F₁(; ν+1; κ²/4) − κ,
    h_ν(κ) = I_{ν+1}(κ)/(κ I_ν(κ)),        the mean cosine over κ: smooth at κ = 0,
    c_ν(κ) = κ (1 − κ h_ν(κ)),             what it lacks to 1, times κ: tends to ν + ½ far out.

At an order μ = ν + N ≥ 20 the uniform (Debye) expansion in 1/μ is exact to double precision for every κ. From
there h and c are carried down in the stable direction by

    h_{ν−1} = 1/(2ν + κ² h_ν),    c_{ν−1} = κ (2ν − c_ν)/(2ν + κ − c_ν),

and ₀F₁ with them, since h_ν = ₀F₁(;ν+2)/(2(ν+1) ₀F₁(;ν+1)).

**Source**: NIST Digital Library of Mathematical Functions, §10.29 (recurrences) and §10.41 (uniform expansion).
"""

import functools
import math

import jax
import jax.numpy as jnp
from numpy.polynomial import Polynomial

from dispersed.types import Scalar

LOWEST = 20
"""The order from which the expansion is used as it stands."""
TERMS = 12


def _debye() -> list[Polynomial]:
    """The polynomials U_k(p) of the uniform expansion, DLMF 10.41.9."""
    p = Polynomial([0, 1])
    terms = [Polynomial([1.0])]
    for _ in range(TERMS):
        u = terms[-1]
        terms.append(p**2 * (1 - p**2) * u.deriv() / 2 + ((1 - 5 * p**2) * u).integ() / 8)
    return terms


_U = _debye()


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def log_mean_exponential(nu: float, kappa: Scalar) -> Scalar:
    """g_ν(κ) for a fixed order ν ≥ −½ and κ ≥ 0; its slope is the mean cosine less 1."""
    return _functions(nu, kappa)[0]


@log_mean_exponential.defjvp
def _slope(nu: float, primals: tuple[Scalar], tangents: tuple[Scalar]) -> tuple[Scalar, Scalar]:
    (kappa,), (change,) = primals, tangents
    g, h, c = _functions(nu, kappa)
    slope = jnp.where(kappa < 1, kappa * h - 1, -c / jnp.where(kappa < 1, 1, kappa))
    return g, slope * change


def mean_cosine(nu: float, kappa: Scalar) -> tuple[Scalar, Scalar]:
    """h_ν(κ) and c_ν(κ): the mean cosine is κh, or without loss of digits for large κ, 1 − c/κ."""
    return _functions(nu, kappa)[1:]


def _functions(nu: float, kappa: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    steps = max(0, math.ceil(LOWEST - nu))
    mu = nu + steps
    series = sum((u / mu**k for k, u in enumerate(_U)), Polynomial([0.0]))
    s = jnp.hypot(mu, kappa)
    p = mu / s
    value, slope = (jnp.polyval(jnp.asarray(f.coef[::-1], p.dtype), p, unroll=1) for f in (series, series.deriv()))
    # Both from the logarithm of the expansion, by differences that cancel by hand:
    # log₀F₁ = (s − μ) − μ log((s+μ)/2μ) − ½ log(s/μ) + log ΣU(p)/ΣU(1).
    growth = kappa * (kappa / (s + mu)) / (2 * mu)
    g = -2 * mu * kappa / (s + kappa + mu) - mu * jnp.log1p(growth)
    g += jnp.log(value / float(series(1.0)) * jnp.sqrt(p))
    correction = 1 / s / s / 2 + p / s / s * slope / value
    h = 1 / (mu + s) - correction
    c = mu * (kappa + (s - mu)) / (s + kappa) + kappa * (kappa * correction)

    def down(carry: tuple[Scalar, Scalar, Scalar], order: Scalar) -> tuple[tuple[Scalar, Scalar, Scalar], None]:
        g, h, c = carry
        h = 1 / (2 * order + kappa * (kappa * h))
        # Far out c stays near ν + ½ while κ grows, and near 0 its quotient by κ has slopes beyond all numbers.
        rest = 2 * order - c
        c = jnp.where(kappa < 1, kappa * rest / (rest + jnp.minimum(kappa, 1)), rest / (rest / one_or_more + 1))
        return (g - jnp.log(2 * order * h), h, c), None

    one_or_more = jnp.maximum(kappa, 1)
    orders = jnp.arange(mu, nu, -1, dtype=p.dtype)
    return jax.lax.scan(down, (g, h, c), orders)[0]
