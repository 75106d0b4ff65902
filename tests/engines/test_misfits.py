"""How far cues lie from all patterns, by both engines, against brute force in extended precision."""

import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import PatternMemory
from dispersed.storage import Float16, InMemory


def dense(y, weights):
    return PatternMemory(y, weights)


def streamed(y, weights):
    return PatternMemory(InMemory(y, Float16()), weights)


@pytest.mark.parametrize("make", [dense, streamed])
@pytest.mark.parametrize("masks", [None, "one", "each"])
@pytest.mark.parametrize("level", [0.5, 1e-5])
@pytest.mark.parametrize("offset", [0, 256])
def test_misfits_are_those_of_brute_force(rng, make, masks, level, offset):
    """Products serve at the first level; at the second, and beside an offset, differences must."""
    n, d, b = 500, 12, 7
    # Exact in half precision.
    y = (np.round(rng.standard_normal((n, d)) * 16) / 16 + offset).astype(np.float32)
    y = y.astype(np.float16).astype(np.float32)
    x = (y[:b] + level * rng.standard_normal((b, d))).astype(np.float32)
    known = None if masks is None else rng.random((b if masks == "each" else 1, d)) < 0.7
    known = None if known is None else np.broadcast_to(known, (b, d))
    weights = rng.random(n)
    sigma = (level * rng.uniform(1, 3, b)).astype(np.float32)
    found = make(y, weights).held.misfits(
        jnp.asarray(x), None if known is None else jnp.asarray(known), jnp.asarray(sigma)
    )
    seen = np.ones((b, d), bool) if known is None else known
    wide = x[:, None].astype(np.longdouble) - y
    exact = ((wide**2) * seen[:, None]).sum(-1) / 2 / sigma[:, None].astype(np.longdouble) ** 2
    nearest = exact.min(axis=1)
    excess = np.asarray(found.excess, np.longdouble)
    np.testing.assert_allclose(excess, nearest[:, None] - exact, rtol=2e-6, atol=3e-5)
    np.testing.assert_allclose(
        np.take_along_axis(exact, np.asarray(found.nearest)[:, None], 1)[:, 0], nearest, atol=1e-5
    )
    np.testing.assert_allclose(found.least, nearest, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.exp(found.log_weights), weights / weights.sum(), rtol=1e-5)
