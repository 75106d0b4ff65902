"""The scaled Bessel function and the Gaussian through an interval, against SciPy and plain quadrature."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from dispersed.memories.bessel import log_mean_exponential, mean_cosine
from dispersed.memories.interval import interval, mills


@functools.partial(jax.jit, static_argnums=0)
def scaled_bessel(nu, kappa):
    """g_ν, h_ν and the slope of g_ν at all κ, in one program per order."""
    g, slope = jax.vmap(jax.value_and_grad(lambda k: log_mean_exponential(nu, k)))(kappa)
    return g, jax.vmap(lambda k: mean_cosine(nu, k)[0])(kappa), slope


KAPPAS = np.concatenate([[0.0], np.logspace(-8, 10, 181)])


@pytest.mark.parametrize("nu", [-0.5, 0.0, 7.5, 300.0])
def test_scaled_bessel_is_scipys_where_scipy_has_one(x64, nu):
    g, h, slope = scaled_bessel(nu, jnp.asarray(KAPPAS))
    upper = scipy.special.ive(nu + 1, KAPPAS)
    sound = upper > 1e-280  # SciPy underflows
    assert sound.sum() > 50
    kappa, lower, upper = KAPPAS[sound], scipy.special.ive(nu, KAPPAS[sound]), upper[sound]
    expected = np.log(lower) + scipy.special.gammaln(nu + 1) + nu * np.log(2 / kappa)
    np.testing.assert_allclose(g[sound], expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(kappa * h[sound], upper / lower, rtol=1e-12)
    np.testing.assert_allclose(1 + slope[sound], upper / lower, rtol=0, atol=1e-12)


@pytest.mark.parametrize("nu", [2.0, 700.0])
def test_scaled_bessel_near_zero_is_its_power_series(x64, nu):
    kappa = np.logspace(-8, 0, 30)
    series, term = np.ones_like(kappa), np.ones_like(kappa)
    for k in range(1, 40):
        term = term * (kappa / 2) ** 2 / (k * (nu + k))
        series = series + term
    g, h, _ = scaled_bessel(nu, jnp.asarray(kappa))
    np.testing.assert_allclose(g + kappa, np.log(series), rtol=0, atol=3e-13)
    np.testing.assert_allclose(h[0], 1 / (2 * (nu + 1)), rtol=1e-12)


def test_scaled_bessel_far_out_is_hankels_expansion(x64):
    far = KAPPAS >= 1e8
    for nu in (0.0, 7.5, 300.0):  # the orders of the first test, whose programs these are
        slope = scaled_bessel(nu, jnp.asarray(KAPPAS))[2][far]
        mu = 4 * nu**2
        np.testing.assert_allclose(-slope * KAPPAS[far], nu + 0.5 - (mu - 1) / 8 / KAPPAS[far], rtol=1e-9)


def test_scaled_bessel_in_single_precision_is_finite_and_close():
    kappa = jnp.asarray(np.logspace(-8, 12, 50), jnp.float32)
    for nu in (0.0, 3.0, 200.0):
        g, h, _ = scaled_bessel(nu, kappa)
        assert bool(jnp.isfinite(g).all() & jnp.isfinite(h).all())
        with jax.enable_x64(True):
            exact = scaled_bessel(nu, jnp.asarray(kappa, float))[0]
        np.testing.assert_allclose(g, exact, rtol=3e-6, atol=3e-5)


def test_mills_ratio_and_what_it_lacks(x64):
    m = np.concatenate([np.linspace(0, 12, 200), np.logspace(1.1, 14, 50)])
    ratio, r = jax.vmap(mills)(jnp.asarray(m))
    np.testing.assert_allclose(ratio, np.sqrt(np.pi / 2) * scipy.special.erfcx(m / np.sqrt(2)), rtol=5e-14)
    m, r = m[m > 3], r[m > 3]
    deep = np.zeros_like(m)
    for k in range(3000, 0, -1):
        deep = k / (m + deep)
    np.testing.assert_allclose(r, deep, rtol=1e-12)


def test_what_the_mills_ratio_lacks_in_single_precision():
    """It is small beside the distance, from which it must not be subtracted."""
    m = np.linspace(0, 12, 500).astype(np.float32)
    r = jax.vmap(mills)(jnp.asarray(m))[1]
    exact = np.sqrt(2 / np.pi) / scipy.special.erfcx(m.astype(float) / np.sqrt(2)) - m
    np.testing.assert_allclose(r, exact, rtol=4e-6)


jitted = jax.jit(interval)


@pytest.mark.parametrize("sigma", [1e-4, 1e-2, 0.3, 1.0, 30.0, 1e3])
@pytest.mark.parametrize("width", [0.0, 1e-9, 1e-3, 0.5, 2.0, 40.0])
def test_interval_is_its_integral(x64, nodes, sigma, width):
    low, high = 0.7, 0.7 + width
    # Inside, at and beyond both ends, from a hair to a thousand units away.
    for u in [0.7 + width / 3, 0.7, high, 0.7 - 0.3 * sigma, high + 2 * sigma, high + 9 * sigma, -1e3, 0.6, 1e3]:
        nearest, excess, mean = jitted(*(jnp.asarray(v, float) for v in (u, low, high, sigma)))
        assert nearest == np.clip(u, low, high)
        # Offsets s from the nearest point, where (u−y)² − (u−n)² = s² − 2s(u−n) keeps its digits.
        away = u - np.clip(u, low, high)
        s, weight = nodes(low - np.clip(u, low, high), high - np.clip(u, low, high), away, sigma)
        heights = weight / ((high - low) or 1) * np.exp(-(s * (s - 2 * away)) / (2 * sigma**2))
        np.testing.assert_allclose(excess, np.log(heights.sum()), rtol=1e-10, atol=1e-11)
        offset = heights @ s / heights.sum()
        np.testing.assert_allclose(mean, np.clip(u, low, high) + offset, rtol=1e-13, atol=1e-12 * sigma)


def test_half_line_and_line_have_unit_density(x64):
    inf, one = jnp.asarray(jnp.inf), jnp.asarray(1.0)
    root = np.sqrt(2 * np.pi)
    for u in (-30.0, -1.0, 0.0, 0.4, 25.0):
        nearest, excess, mean = jitted(jnp.asarray(u), 0 * one, inf, 2 * one)
        log_mass = scipy.special.log_ndtr(u / 2)  # of N(y; u, 4) on y > 0
        np.testing.assert_allclose(excess - min(u, 0) ** 2 / 8 - np.log(2 * root), log_mass, rtol=1e-12, atol=1e-14)
        hazard = np.exp(-(u**2) / 8 - log_mass) / root
        np.testing.assert_allclose(mean, u + 2 * hazard, atol=1e-12)
        assert nearest == max(u, 0)
        _, whole, centre = jitted(jnp.asarray(u), -inf, inf, 2 * one)
        np.testing.assert_allclose(whole, np.log(2 * root), rtol=1e-13)
        np.testing.assert_allclose(centre, u, atol=1e-13)
