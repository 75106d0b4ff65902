"""The posterior over patterns that single precision cannot hold, against extended precision."""

import numpy as np
import pytest

from dispersed import InputError, PatternMemory
from dispersed.engines.double_posterior import DoublePatterns
from tests.engines.oracle import exact


def test_the_certificate_holds_for_patterns_in_double_precision(rng):
    """At every scale, level and offset, with duplicates and extreme weights; the first index is the likeliest."""
    by_products = 0
    for _ in range(200):
        n, d = int(rng.integers(1, 40)), int(rng.integers(1, 8))
        scale, offset = 10.0 ** rng.integers(-60, 60), 10.0 ** rng.integers(-2, 8) * rng.integers(0, 2)
        patterns = (offset + rng.standard_normal((n, d))) * scale
        if rng.random() < 0.3:
            patterns[rng.integers(0, n, n // 2 + 1)] = patterns[0]
        log_w = np.log(rng.random(n) ** rng.integers(1, 30) + 1e-300)
        log_w -= np.logaddexp.reduce(log_w)
        sigma = scale * 10.0 ** rng.uniform(-9, 4, 3)
        x = patterns[rng.integers(0, n, 3)] + sigma[:, None] * rng.standard_normal((3, d)) * 10.0 ** rng.integers(-1, 3)
        held = DoublePatterns(patterns, log_w)
        found = held.posterior(x, sigma, 1e-9 * scale, min(n, 3))
        by_products += (held._by_products(x, sigma, 1)[1] <= 1e-9 * scale).sum()
        assert not np.isnan(found.bound).any()
        for i in range(3):
            log_mass, mean, p = exact(patterns, log_w, x[i], sigma[i])
            off = float(np.sqrt(np.sum((mean - found.mean[i]) ** 2)))
            assert off <= found.bound[i] + 1e-18 * np.abs(patterns).max()
            tie = 1e-8 + 1e-14 * abs(float(log_mass))
            assert np.log(p.max() / p[found.index[i, 0]]) <= tie
            np.testing.assert_allclose(found.responsibilities[i], p[found.index[i]].astype(float), atol=tie)
            np.testing.assert_allclose(found.log_normaliser[i], float(log_mass), rtol=1e-12, atol=1e-7)
    assert 100 < by_products < 590


def test_a_dense_memory_in_double_precision_has_it(x64, rng):
    """What single precision would round away decides, and the bound says so."""
    patterns = 1e6 + rng.standard_normal((300, 4))
    x = patterns[:5] + 0.05 * rng.standard_normal((5, 4))
    memory = PatternMemory(patterns)
    found = memory.posterior(x, 0.02, leading=2)
    assert found.index.shape == (5, 2)
    for i in range(5):
        _, mean, p = exact(patterns, np.zeros(300), x[i], 0.02)
        assert np.linalg.norm(np.asarray(found.mean[i]) - mean.astype(float)) <= found.bound[i] <= 1e-8
        assert found.index[i, 0] == p.argmax()
    one = memory.posterior(x[0], np.array([0.02, 0.03]))
    assert one.mean.shape == (2, 4)
    with pytest.raises(InputError, match=r"^tol: got 1e-12 where double precision certifies [\d.e-]+; a larger"):
        memory.posterior(x, 0.02, tol=1e-12)
