"""Every term of every bound on round-off: each alone is what the derivation says, and cases come near to it."""

import numpy as np
import pytest

from dispersed.engines.roundoff import (
    MERGED,
    gamma,
    log_sum_bound,
    logit_error,
    mean_error,
    merged_terms,
    relative_errors,
)

U, TINY = 2.0**-24, 2.0**-126


def test_gamma_is_that_of_higham():
    assert gamma(1, np.float32) == U / (1 - U)
    assert gamma(100, np.float32) == 100 * U / (1 - 100 * U)
    assert gamma(3, np.float64) == 3 * 2.0**-53 / (1 - 3 * 2.0**-53)
    assert gamma(2**24, np.float32) == np.inf
    assert gamma(2**24 - 1, np.float32) == 2.0**24 - 1


def test_each_term_of_a_logits_error_alone():
    """d = 8 gives γ_16, log weights γ_4; one quantity at a time is not zero, or two where only their product counts."""
    g = gamma(16, np.float32)

    def off(beta=0.0, x=0.0, radius=0.0, log_weight=0.0, flush=0.0, dtype=np.float32, d=8):
        return float(logit_error(d, dtype, np.array([beta]), np.array([x]), radius, log_weight, flush)[0])

    np.testing.assert_allclose(off(), 4 * TINY, rtol=1e-12)
    np.testing.assert_allclose(off(log_weight=3.0), gamma(4, np.float32) * 3, rtol=1e-12)
    np.testing.assert_allclose(off(beta=2.0, x=5.0, radius=3.0), g * 2 * (15 + 4.5), rtol=1e-12)
    np.testing.assert_allclose(off(beta=2.0, radius=3.0), g * 9, rtol=1e-12)
    # What underflows, with β so large that it shows: flushed patterns, flushed differences, flushed products.
    np.testing.assert_allclose(off(beta=2.0, x=5.0, flush=1e-3), 2 * 5e-3, rtol=1e-12)
    radius = g * 2 * 4.5 + 2 * 3e-3
    np.testing.assert_allclose(off(beta=2.0, radius=3.0, flush=1e-3), radius, rtol=1e-12)
    np.testing.assert_allclose(off(beta=1e30, x=1.0), 1e30 * (np.sqrt(8) + 32) * TINY, rtol=1e-9)
    np.testing.assert_allclose(off(beta=1e30), 1e30 * 32 * TINY, rtol=1e-9)
    np.testing.assert_allclose(off(beta=2.0, x=5.0, radius=3.0, d=92), gamma(100, np.float32) * 39, rtol=1e-12)
    np.testing.assert_allclose(off(log_weight=3.0, dtype=np.float64), gamma(4, np.float64) * 3, rtol=1e-12)


@pytest.mark.parametrize("name", ["beta", "x", "radius", "log_weight"])
def test_what_may_overflow_is_off_by_anything(name):
    largest = float(np.finfo(np.float32).max)
    usual = dict.fromkeys(["beta", "x", "radius", "log_weight"], 0.0)

    def off(value):
        case = usual | {name: value}
        arguments = (np.array([case["beta"]]), np.array([case["x"]]), case["radius"], case["log_weight"], 0.0)
        return float(logit_error(4, np.float32, *arguments)[0])

    assert np.isfinite(off(1e15))
    assert off(largest / 7) == np.inf
    assert off(1e300) == np.inf


def test_logits_come_near_to_their_error(rng):
    """Of products in single precision the worst of many is within a factor of what is proven, and none is beyond."""
    d, n, beta = 4, 20_000, np.float32(3.0)
    y = rng.uniform(0.9, 1.1, (n, d)).astype(np.float32)
    x = rng.uniform(0.9, 1.1, (n, d)).astype(np.float32)
    products = np.zeros(n, np.float32)
    for i in range(d):
        products += x[:, i] * y[:, i]
    computed = beta * (products - np.sum(y.astype(float) ** 2, axis=1).astype(np.float32) / np.float32(2))
    exact = 3.0 * (np.sum(x.astype(float) * y, axis=1) - np.sum(y.astype(float) ** 2, axis=1) / 2)
    norms, radius = np.linalg.norm(x.astype(float), axis=1), np.linalg.norm(y.astype(float), axis=1).max()
    off = logit_error(d, np.float32, np.full(n, 3.0), norms, radius, 0.0, 0.0)
    ratio = np.abs(computed - exact) / off
    assert 0.05 < ratio.max() <= 1


def test_the_exponential_has_its_part():
    e, s = relative_errors(np.array([0.0, 1e-3]), 50, np.float32)
    exponential = int(-np.log(TINY)) + 16
    np.testing.assert_allclose(e, np.expm1(np.array([0.0, 1e-3]) + gamma(exponential, np.float32)), rtol=1e-12)
    assert s == gamma(50, np.float32)


def test_a_mean_comes_near_to_its_error():
    """Two patterns at ±1 with weights that are off in opposite directions: the mean moves by e, nearly all of it."""
    logit = 0.01
    y, w = np.array([-1.0, 1.0]), np.exp(np.array([logit, -logit]))
    moved = abs(w @ y / w.sum())
    bound = float(mean_error(np.array([logit]), 1, np.float64, 1.0, 0.0)[0])
    assert 0.97 * bound < moved <= bound


def test_each_term_of_a_means_error():
    e, s = np.expm1(0.1 + gamma(724, np.float64)), gamma(2**40, np.float64)
    bound = float(mean_error(np.array([0.1]), 2**40, np.float64, 3.0, 5.0)[0])
    expected = (((1 + e) * (1 + s) - 1) * 3 + 2 * s * (1 + e) * 5) / ((1 - e) * (1 - s))
    np.testing.assert_allclose(bound, expected, rtol=1e-12)
    # The centre of the sums: what is summed and what it is divided by are off in opposite directions.
    s = gamma(2**50, np.float64)
    exact, off = 5.0, 5.0 * (1 + s) / (1 - s)
    bound = float(mean_error(np.array([0.0]), 2**50, np.float64, 0.0, exact)[0])
    assert 0.95 * bound < off - exact <= bound
    assert mean_error(np.array([0.7]), 1, np.float64, 1.0, 1.0) == np.inf
    assert mean_error(np.array([0.0]), 2**53, np.float64, 1.0, 1.0) == np.inf


def test_merging_counts_its_roundings():
    assert MERGED == 8
    assert merged_terms(100, 3) == 124


def test_a_sum_is_at_most_its_bound():
    """The computed sum as low as it can be, and what underflowed as much as it can be."""
    logit, terms, n = np.array([0.05]), 1000, 400
    e, s = relative_errors(logit, terms, np.float32)
    true = 2.0
    computed = true * (1 - e) * (1 - s)
    bound = log_sum_bound(np.log(computed), np.array([-1e30]), n, logit, terms, np.float32)
    np.testing.assert_allclose(bound, np.log(true), atol=1e-12)
    # All n terms were flushed, and each was as much more as its logit may be off.
    lost = np.array([np.log(n * TINY) + 7.0 + 0.05])
    bound = log_sum_bound(np.array([-np.inf]), np.array([7.0]), n, logit, terms, np.float32)
    np.testing.assert_allclose(bound, lost, rtol=1e-12)
    both = log_sum_bound(lost, np.array([7.0]), n, logit, terms, np.float32)
    np.testing.assert_allclose(both, np.logaddexp(lost - np.log((1 - e) * (1 - s)), lost), rtol=1e-12)
    assert log_sum_bound(np.array([0.0]), np.array([0.0]), n, np.array([0.7]), terms, np.float32) == np.inf
    assert log_sum_bound(np.array([0.0]), np.array([0.0]), n, logit, 2**24, np.float32) == np.inf
