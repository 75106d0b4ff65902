"""The tests of counts, beside every outcome that there is, in plain NumPy."""

import itertools
import math

import numpy as np
import pytest

from dispersed.testbench.statistics import (
    cumulative_p_value,
    goodness_of_fit,
    likelihood_ratio,
    multinomial_p_value,
    total_variation_floor,
)


def outcomes(total, p):
    """All counts of so many draws, with their probabilities."""
    counts = np.array([c for c in itertools.product(range(total + 1), repeat=len(p)) if sum(c) == total])
    logs = [math.lgamma(total + 1) - sum(math.lgamma(k + 1) - k * math.log(q) for k, q in zip(c, p, strict=True))
            for c in counts]  # fmt: skip
    return counts.astype(float), np.exp(logs)


P = np.array([0.6, 0.3, 0.09, 0.01])


def test_p_values_are_those_of_all_outcomes(rng):
    counts, chances = outcomes(12, P)
    statistic = likelihood_ratio(counts, P)
    for i in rng.choice(len(counts), 12, p=chances):
        right = chances[statistic >= statistic[i] - 1e-9].sum()
        found = multinomial_p_value(counts[i], P, rng)
        assert found == pytest.approx(right, rel=0.8, abs=1e-4)  # thirty draws as large decide it


def test_p_values_below_the_simulated_are_bounds(rng):
    counts, chances = outcomes(20, P)
    statistic = likelihood_ratio(counts, P)
    far = np.flatnonzero(statistic > 45)
    assert far.size
    for i in far:
        found = multinomial_p_value(counts[i], P, rng)
        assert chances[statistic >= statistic[i] - 1e-9].sum() <= found < 1e-4


def test_false_alarms_are_as_frequent_as_stated(rng):
    p = np.append(np.full(9, 0.11), 0.01)
    values = np.array([multinomial_p_value(row, p, rng) for row in rng.multinomial(50, p, 400).astype(float)])
    for level in (0.5, 0.1):
        assert abs((values <= level).mean() - level) < 4 * math.sqrt(level * (1 - level) / 400)


def test_no_cell_is_too_rare(rng):
    assert multinomial_p_value(np.array([500.0, 500.0]), np.array([1 - 1e-7, 1e-7]), rng) < 1e-100
    assert multinomial_p_value(np.array([997.0, 3.0]), np.array([1 - 1e-7, 1e-7]), rng) < 1e-6
    assert multinomial_p_value(np.array([999.0, 1.0]), np.array([1.0, 0.0]), rng) < 1e-100
    assert multinomial_p_value(np.array([1000.0, 0.0]), np.array([1.0, 0.0]), rng) == 1


def test_sums_of_rare_cells_are_binomial(rng):
    # Many rare cells that one sampler never draws, none of which was expected once.
    p = np.append(0.9, np.full(200, 0.1 / 200))
    never = np.append(1000.0, np.zeros(200))
    assert multinomial_p_value(never, p, rng) > 0.1  # which this test alone does not see
    assert cumulative_p_value(never, p) == pytest.approx(400 * 0.9**1000)
    assert goodness_of_fit(never, p, rng) < 1e-30
    assert goodness_of_fit(np.array([5.0]), np.array([1.0]), rng) == 1
    values = np.array([goodness_of_fit(row, p, rng) for row in rng.multinomial(1000, p, 60).astype(float)])
    assert (values <= 0.1).mean() < 0.1 + 4 * math.sqrt(0.09 / 60)


def test_the_floor_is_the_distance_of_exact_draws(rng):
    draws = rng.multinomial(200, P, 20_000) / 200
    assert total_variation_floor(P, 200) == pytest.approx(np.abs(draws - P).sum(axis=1).mean() / 2, rel=0.01)
    assert total_variation_floor(np.array([1.0, 0.0]), 200) == 0
