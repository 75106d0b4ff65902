"""Intervals by resampling hold the truth as often as they say, also of few observations."""

import numpy as np

from dispersed.paper.statistics import bootstrap_mean
from dispersed.regime import _crossing, _interval
from dispersed.resampling import expanded_percentiles

TRIALS, OBSERVATIONS = 500, 8
LEAST = 0.95 - 4 * np.sqrt(0.95 * 0.05 / TRIALS)
"""A coverage of 95 % falls below this once in 30,000 times."""


def test_means_of_few_values_lie_within_their_intervals(rng):
    held = {"bootstrap_mean": 0, "regimes": 0, "crossing of regimes": 0}
    levels, slope = np.array([4.0, 2.0, 1.0]), np.array([-3.0, 1.0, 9.0])
    for trial in range(TRIALS):
        values = 0.1 * rng.standard_normal(OBSERVATIONS)
        _, low, high = bootstrap_mean(values, trial, resamples=400)
        held["bootstrap_mean"] += low <= 0 <= high
        _, low, high = _interval(values, rng)
        held["regimes"] += low <= 0 <= high
        _, low, high = _crossing(levels, slope[:, None] + values, rng)
        held["crossing of regimes"] += low <= 4 * 2**-0.75 <= high
    assert min(held.values()) >= LEAST * TRIALS, held


def test_many_observations_have_plain_percentiles():
    np.testing.assert_allclose(expanded_percentiles(100_000), (0.025, 0.975), atol=1e-5)
    np.testing.assert_allclose(expanded_percentiles(100_000, 0.5), (0.25, 0.75), atol=1e-5)
    assert expanded_percentiles(1) == (0, 1)
