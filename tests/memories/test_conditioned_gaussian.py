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
