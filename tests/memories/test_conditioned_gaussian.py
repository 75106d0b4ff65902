"""Slopes of conditioned Gaussians in what was measured, how and how well, also where variances are equal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import GaussianMemory, Mixture, Observation, Smoothed, condition

X = np.array([0.3, -0.2, 0.5, 1.0])
EYE = np.eye(4)
MEMORIES = {
    "round": lambda: GaussianMemory(np.zeros(4), EYE),
    "flat and round": lambda: GaussianMemory(np.ones(4), EYE[:, :2]),
    "two round ones": lambda: Mixture([GaussianMemory(np.zeros(4), EYE), GaussianMemory(np.ones(4), EYE)]),
    "smoothed": lambda: Smoothed(GaussianMemory(np.zeros(4), EYE), 0.3),
}


@pytest.mark.parametrize("name", MEMORIES)
def test_equal_variances_have_slopes(x64, name):
    memory = MEMORIES[name]()

    @jax.jit
    def result(value, matrix, sigma, level):
        seen = condition(memory, Observation(value, operator=matrix, sigma=sigma))
        seen = condition(seen, Observation([0.1, 0, 0, 0], mask=[True, False, False, False], sigma=2 * sigma))
        everything = jnp.sum(seen.denoise(X, level) ** 2) + seen.log_density(X, level) + seen.log_evidence
        return everything + seen.prior_start()[1] + jnp.sum(jnp.sin(seen.jacobian(X, level)))

    arguments = (jnp.array([0.3, -0.2]), jnp.asarray(EYE[:2]), jnp.asarray(0.5), jnp.asarray(0.8))
    slopes = jax.jit(jax.grad(result, (0, 1, 2, 3)))(*arguments)
    rng = np.random.default_rng(0)
    for _ in range(4):
        way = [jnp.asarray(rng.standard_normal(part.shape)) for part in arguments]
        ends = [result(*(a + sign * 1e-5 * d for a, d in zip(arguments, way, strict=True))) for sign in (1, -1)]
        slope = sum(jnp.sum(s * d) for s, d in zip(slopes, way, strict=True))
        np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-5, rtol=1e-7)


SIZES = [(6, 6, 3), (6, 3, 3), (6, 2, 4), (6, 6, 6), (40, 5, 12)]
"""Units, rank of the covariance and entries measured."""


def measurement(d, k, m, tau, masked):
    """The mean and factor of a Gaussian, a state that was measured, and keywords of its observation, in float32."""
    rng = np.random.default_rng(d + m)
    mean, factor = rng.standard_normal(d), rng.standard_normal((d, k))
    matrix = np.eye(d)[:m] if masked else rng.standard_normal((m, d))
    value = matrix @ (mean + factor @ rng.standard_normal(k)) + tau * rng.standard_normal(m)
    keywords = {"operator": matrix.astype(np.float32)}
    if masked:
        value, keywords = np.concatenate([value, np.zeros(d - m)]), {"mask": np.arange(d) < m}
    return *(part.astype(np.float32) for part in (mean, factor, matrix, value)), keywords


def log_normal(off, factor, tau):
    """Log density of N(0, factor factorᵀ + τ²I), by all of its axes."""
    axes, s, _ = np.linalg.svd(factor)
    variances = np.full(len(off), tau**2)
    variances[: len(s)] += s**2
    return -np.sum((axes.T @ off) ** 2 / variances + np.log(2 * np.pi * variances)) / 2


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("d", "k", "m"), SIZES)
def test_evidence_of_any_noise(d, k, m, masked):
    """Off by no more than what half a last digit of what was given makes, from noise of 1 to 1e-8."""
    rng = np.random.default_rng(0)
    for tau in np.float32([1, 1e-2, 1e-4, 1e-5, 1e-6, 1e-8]):
        mean, factor, matrix, value, keywords = measurement(d, k, m, tau, masked)
        seen = condition(GaussianMemory(mean, factor), Observation(value, sigma=tau, **keywords))
        mean, factor, matrix = (part.astype(np.float64) for part in (mean, factor, matrix))
        off, images = value[:m] - matrix @ mean, matrix @ factor
        expected = log_normal(off, images, float(tau))
        moved = []
        for _ in range(8):
            digits = [6e-8 * rng.choice([-1, 1], part.shape) for part in (value[:m], images)]
            moved.append(log_normal(off + digits[0] * value[:m], images * (1 + digits[1]), float(tau)))
        slack = 3e-6 * (abs(expected) + d) + 8 * np.abs(np.array(moved) - expected).max()
        np.testing.assert_allclose(seen.log_evidence, expected, rtol=0, atol=slack)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("d", "k", "m"), [size for size in SIZES if size[1] >= size[2]])
def test_slopes_of_any_noise(d, k, m, masked):
    """Single precision has the slopes of double precision, however sharp the measurement."""

    def slopes(dtype):
        @jax.jit
        @jax.jacrev
        def found(given):
            factor, value, tau = given
            sharp = Observation(value, sigma=tau, **keywords)
            seen = condition(GaussianMemory(mean.astype(dtype), factor), sharp)
            return seen.log_evidence, seen.log_density(mean.astype(dtype) + 0.1, 1.0)

        of_evidence, of_density = found((factor.astype(dtype), value.astype(dtype), jnp.asarray(tau, dtype)))
        return *of_evidence[:2], *of_density

    for tau in np.float32([1, 1e-2, 1e-4]):
        mean, factor, _, value, keywords = measurement(d, k, m, tau, masked)
        single = slopes(np.float32)
        with jax.enable_x64(True):
            double = slopes(np.float64)
        for one, other in zip(single, double, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=3e-4 * max(1, np.abs(other).max()))
