"""Random draws, against exact distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dispersed.keys import categorical


def drawn(logits, count, seed=0):
    keys = jax.random.split(jax.random.key(seed), count)
    return np.asarray(jax.jit(jax.vmap(categorical, (0, None)))(keys, logits))


def test_indices_are_drawn_by_their_probabilities(rng):
    p = rng.dirichlet(np.ones(20))
    p[[3, 19]] = 0
    counted = np.bincount(
        drawn(jnp.asarray(np.log(np.maximum(p, 0), where=p > 0, out=np.full(20, -np.inf))), 200_000), minlength=20
    )
    assert counted[3] == counted[19] == 0
    expected = p / p.sum() * 200_000
    assert stats.chisquare(counted[p > 0], expected[p > 0]).pvalue > 1e-3


def test_rare_indices_are_drawn_as_often_as_they_should():
    """Half of all draws of a million patterns are of one, and each other is as rare as 5e-7."""
    n = 1 << 20
    logits = np.zeros(n, np.float32)
    logits[0] = np.log(n - 1)
    found = np.concatenate([drawn(jnp.asarray(logits), 128, seed) for seed in range(20)])
    assert abs((found == 0).mean() - 0.5) < 4 * 0.5 / np.sqrt(len(found))
    # Wherever they are stored: ties among random numbers would go to the first.
    assert stats.kstest(found[found > 0] / n, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("scale", [1e4, 1e37])
def test_logits_of_any_size(scale):
    logits = jnp.asarray([-1, 0, -1], jnp.float32) * scale
    np.testing.assert_array_equal(drawn(logits, 50), 1)
    np.testing.assert_array_equal(np.unique(drawn(logits * 0 + scale, 200)), [0, 1, 2])
