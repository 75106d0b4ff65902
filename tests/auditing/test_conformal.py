"""p-values against their definition, and the interval of the rate against planted copies."""

import numpy as np
import pytest

from dispersed.auditing.conformal import false_alarm_count, p_values, proportion, rate


def oracle(held_out, samples):
    """The rank of each sample's score among the scores of all held-out states and itself."""
    found = []
    for i in range(len(samples[0])):
        bags = [np.append(one, other[i]) for one, other in zip(held_out, samples, strict=True)]
        ranks = np.array([[np.sum(bag <= value) for value in bag] for bag in bags])
        scores = [(min(pair), max(pair)) for pair in ranks.T]
        found.append(np.mean([score <= scores[-1] for score in scores]))
    return np.array(found)


@pytest.mark.parametrize("levels", [5, 40, 10**6])
def test_p_values_are_those_of_the_definition(rng, levels):
    """With few levels nearly all values are tied, with many none is."""
    held_out = [rng.integers(0, levels, 37).astype(float) for _ in range(2)]
    samples = [rng.integers(-2, levels + 2, 80).astype(float) for _ in range(2)]
    np.testing.assert_array_equal(p_values(held_out, samples), oracle(held_out, samples))
    np.testing.assert_array_equal(p_values(held_out[:1], samples[:1]), oracle(held_out[:1], samples[:1]))


@pytest.mark.parametrize("tied", [False, True])
def test_false_alarms_are_at_most_what_was_allowed(rng, tied):
    """Over many sets of 119 held-out states, of two dependent statistics."""
    found, counted = [], []
    for _ in range(400):
        common = rng.standard_normal(239)
        values = [common + rng.standard_normal(239) for _ in range(2)]
        values = [np.round(v) for v in values] if tied else values
        held_out, samples = [v[:119] for v in values], [v[119:] for v in values]
        found.append(np.mean(p_values(held_out, samples) <= 0.05 + 1e-12))
        counted.append(false_alarm_count(held_out, 0.05) / 119)
    error = np.std(found) / 20
    assert np.mean(found) <= 0.05 + 4 * error
    assert np.mean(found) >= (0.0 if tied else 0.045) - 4 * error
    # Counted among the held-out states themselves they are about as many.
    assert np.mean(counted) == pytest.approx(np.mean(found), abs=0.01)


def test_few_held_out_states_suffice(rng):
    """With 19 held-out states and a rate of 5 %, only a sample beyond all of them is a copy, as often as allowed."""
    found = []
    for _ in range(300):
        values = [rng.random(59) for _ in range(2)]
        found.append(np.mean(p_values([v[:19] for v in values], [v[19:] for v in values]) <= 0.05 + 1e-12))
    assert np.mean(found) == pytest.approx(0.05, abs=4 * np.std(found) / np.sqrt(300))


@pytest.mark.parametrize("planted", [0.0, 0.02, 0.3])
def test_the_interval_holds_the_rate_of_copies(rng, planted):
    held = 0
    for _ in range(300):
        null = [rng.random(299)]
        new = rng.random(400)
        copies = rng.random(400) < planted
        called = p_values(null, [np.where(copies, -1.0, new)]) <= 0.02 + 1e-12
        found = rate(int(called.sum()), 400, false_alarm_count(null, 0.02), 299)
        assert found.low <= found.copied <= found.high
        held += found.low <= planted <= found.high
    assert held >= 300 * 0.95 - 3 * np.sqrt(300 * 0.05 * 0.95)


def test_intervals_of_proportions():
    """Clopper and Pearson's 95 % interval of 0 of 10 and 4 of 10, by the binomial distribution."""
    from scipy.stats import binom

    assert proportion(0, 10, 0.025) == (0.0, pytest.approx(1 - 0.025**0.1))
    low, high = proportion(4, 10, 0.025)
    assert binom.sf(3, 10, low) == pytest.approx(0.025)
    assert binom.cdf(4, 10, high) == pytest.approx(0.025)
    assert rate(4, 10, 0, 0) == (0.4, pytest.approx(low), pytest.approx(high))
