"""Second derivatives through steps that are recomputed, forward and in reverse mode, where JAX forgets rules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dispersed
from dispersed.engines import dense_logits

MASK = np.array([True, False, True, False])
SOURCES = {
    "products": lambda y: lambda x: dispersed.PatternMemory(y).denoise(x, 1.0),
    "products without norms": lambda y: dispersed.ModernHopfield(y, beta=1.0).update,
    "patches in double precision": lambda y: (
        lambda x: dispersed.LocalMemory(y.reshape(-1, 2, 2), patch=1).denoise(x, 1.0)
    ),
    "a measurement": lambda y: (
        lambda x: dispersed.condition(
            dispersed.PatternMemory(y), dispersed.Observation(x, MASK, sigma=0.8)
        ).prior_start()[0]
    ),
}


@pytest.fixture(autouse=True, scope="module")
def _no_case_is_small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dense_logits, "SMALL", 0)
        jax.clear_caches()
        yield
    # Nor are programs of such cases for others.
    jax.clear_caches()


@pytest.mark.parametrize("source", SOURCES)
def test_they_are_those_of_the_formula(rng, source):
    arrays = rng.standard_normal((6, 4)), rng.standard_normal(4)
    along = rng.standard_normal((6, 4)), rng.standard_normal(4)

    def twice(y, x):
        step = jax.checkpoint(lambda x, _: (SOURCES[source](y)(x), None))
        return jnp.sum(jax.lax.scan(step, x, length=2)[0] * jnp.arange(1, 5))

    slope = jax.grad(twice, (0, 1))
    single = [tuple(jnp.asarray(part, jnp.float32) for part in both) for both in (arrays, along)]
    # The matrix of second derivatives is symmetric.
    found, in_reverse = jax.jit(lambda at, v: (jax.jvp(slope, at, v)[1], jax.vjp(slope, *at)[1](v)))(*single)
    with jax.enable_x64(True):
        of = jax.jit(slope)
        ahead, behind = (of(*(a + h * b for a, b in zip(arrays, along, strict=True))) for h in (1e-4, -1e-4))
        exact = [(np.asarray(a) - np.asarray(b)) / 2e-4 for a, b in zip(ahead, behind, strict=True)]
    for part, other, value in zip(found, in_reverse, exact, strict=True):
        np.testing.assert_allclose(part, value, atol=1e-5 * np.abs(value).max())
        np.testing.assert_allclose(other, value, atol=1e-5 * np.abs(value).max())
