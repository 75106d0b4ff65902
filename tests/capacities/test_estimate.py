"""The estimator on error curves whose crossing is known."""

import numpy as np
import pytest
from scipy.optimize import isotonic_regression

from dispersed.capacities.estimate import bootstrap_crossings, crossing, estimate, isotonic, smooth

COUNTS = np.array([1, 2, 3, 4, 6, 8, 11, 16, 23, 32], dtype=float)


def noisy_sets(rng, sets, true_capacity, threshold=0.03):
    """Errors of sets around a straight curve that crosses the threshold at `true_capacity`, nested over counts.

    Each set has an effect of its own that all its counts share, and skewed noise, as recall errors have.
    """
    curve = threshold * (COUNTS - 1) / (true_capacity - 1)
    own = rng.exponential(1.0, (1, sets))
    return curve[:, None] * (0.5 * own + 0.5 * rng.exponential(1.0, (len(COUNTS), sets)))


def test_isotonic_is_scipys(rng):
    curves = rng.normal(size=(40, 9)).cumsum(axis=1) * 0.3 + rng.normal(size=(40, 9))
    expected = np.stack([isotonic_regression(curve).x for curve in curves])
    np.testing.assert_allclose(isotonic(curves), expected, atol=1e-12)


def test_crossing_of_known_curves():
    line = 0.002 * COUNTS
    assert crossing(COUNTS, line, 0.03) == pytest.approx(15.0)
    # An empty memory makes no error: half the threshold's error with one pattern means two, twice means half.
    assert crossing(np.array([1.0]), np.array([0.06]), 0.03) == pytest.approx(0.5)
    # The threshold itself is tolerated; the curve leaves it at the last N that has it.
    assert crossing(np.array([2.0, 4, 6]), np.array([0.01, 0.03, 0.05]), 0.03) == 4
    assert crossing(np.array([2.0, 4, 6]), np.array([0.03, 0.03, 0.05]), 0.03) == 4
    assert np.isinf(crossing(COUNTS, 0.0001 * COUNTS, 0.03))
    both = crossing(COUNTS, np.stack([line, line / 2]), 0.03)
    np.testing.assert_allclose(both, [15, 30])


def test_a_curve_that_wavers_crosses_once(rng):
    wavering = np.array([0.0, 0.01, 0.034, 0.02, 0.04, 0.05])
    counts = np.array([1.0, 2, 4, 8, 16, 32])
    # The two middle errors are pooled to 0.027.
    expected = 8 + 8 * (0.03 - 0.027) / (0.04 - 0.027)
    assert crossing(counts, isotonic(wavering), 0.03) == pytest.approx(expected)


def test_estimate_finds_the_known_capacity(rng):
    found = [estimate(COUNTS, noisy_sets(rng, 140, 12.0), 0.03).value for _ in range(40)]
    standard_error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - 12) < 0.15 + 3 * standard_error


def test_bootstrap_interval_covers():
    rng = np.random.default_rng(3)
    trials, covered = 120, 0
    for trial in range(trials):
        value, low, high = estimate(COUNTS, noisy_sets(rng, 140, 12.0), 0.03, seed=trial)
        assert low <= value <= high
        covered += low <= 12 <= high
    # Binomial(120, 0.95) lies in this range with probability 0.99; percentile intervals are a little short.
    assert 105 <= covered <= 119


def test_more_sets_narrow_the_interval(rng):
    def width(sets):
        intervals = [estimate(COUNTS, noisy_sets(rng, sets, 12.0), 0.03) for _ in range(12)]
        return np.mean([high - low for _, low, high in intervals])

    assert width(960) == pytest.approx(width(60) / 4, rel=0.25)


def test_median_is_another_statistic(rng):
    errors = noisy_sets(rng, 140, 12.0)
    value, resampled = bootstrap_crossings(COUNTS, errors, 0.03, "median")
    curve = np.median(errors, axis=1)
    assert value == crossing(COUNTS, isotonic(curve), 0.03)
    assert value > estimate(COUNTS, errors, 0.03).value  # the errors are skewed
    assert np.quantile(resampled, 0.025) < value < np.quantile(resampled, 0.975)


def test_no_crossing_is_infinite_not_invented(rng):
    value, low, high = estimate(COUNTS, noisy_sets(rng, 50, 400.0), 0.03)
    assert np.isinf([value, low, high]).all()


def test_smoothing_by_hand():
    dimensions = [4, 5, 7]
    values = np.array([1.0, 2.0, 10.0])
    kernel = np.exp(-(np.array([1, 0, 2]) ** 2) / (2 * 1.5**2))
    assert smooth(dimensions, values)[1] == pytest.approx(kernel @ values / kernel.sum())
    np.testing.assert_allclose(smooth(dimensions, [3.0, 3.0, 3.0]), 3)
