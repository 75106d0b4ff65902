"""Sums by differences: every term of their bound, and cases that attain it."""

import numpy as np
import pytest

from dispersed.engines import differences
from dispersed.engines.differences import Differences, _finish, _sums, sum_by_differences
from dispersed.engines.roundoff import gamma
from tests.engines.oracle import described, exact

G = gamma(100, float)
"""The round-off of a sum over 92 units."""


def sums_of(far, gap, away=0.0, log_w=0.0, log_lead=0.0, sigma=0.5, d=92):
    """Sums over patterns `far` from the leading one, at right angles to the state, with logits as they are given."""
    x, step = np.zeros(d), np.zeros((len(far), d))
    x[0], step[:, 1] = away, far
    return _sums(x, sigma, np.zeros(d), log_lead, step, step[:, 1] ** 2, np.array(gap), np.full(len(far), log_w))


def test_each_term_of_a_logits_error_alone():
    def off(far=0.0, gap=0.0, **others):
        return np.arcsinh(sums_of([far], [gap], **others).wrong / 2)

    least = gamma(40, float)
    np.testing.assert_allclose(off(), least, rtol=1e-9)
    np.testing.assert_allclose(off(far=3e3), G * 9e6 / (2 * 0.25) + least, rtol=1e-9)
    np.testing.assert_allclose(off(far=3e3, away=5e3), G * (2 * 15e6 + 9e6) / (2 * 0.25) + least, rtol=1e-9)
    np.testing.assert_allclose(off(log_w=-1e6), G * 1e6 + least, rtol=1e-9)
    np.testing.assert_allclose(off(log_lead=-1e6), G * 1e6 + least, rtol=1e-9)
    np.testing.assert_allclose(off(gap=-1e6), gamma(4, float) * 1e6 + least, rtol=1e-9)


def test_sums_are_relative_to_the_likeliest_and_may_be_merged():
    far, gap = np.array([1.0, 2.0, 5.0, 3.0]), np.array([3.0, 5.0, 1.0, 4.0])
    whole = sums_of(far, gap)
    weight = np.exp(gap - 5)
    wrong = weight * 2 * np.sinh(G * far**2 / (2 * 0.25) + gamma(40, float) + gamma(4, float) * gap)
    expected = (5, weight.sum(), weight @ far, weight @ far, weight @ (gap - 5), wrong.sum(), wrong @ far)
    none = differences._Sums(-1e300, 0.0, np.zeros(92), 0.0, 0.0, 0.0, 0.0)
    halves = sums_of(far[:2], gap[:2]), sums_of(far[2:], gap[2:])
    for found in (whole, halves[0].merged(halves[1]), halves[1].merged(none).merged(halves[0])):
        np.testing.assert_allclose(found._replace(step=found.step[1]), expected, rtol=1e-9)


def finished(held, lead, sums, x=None, sigma=1.0, log_lead=0.0):
    d = len(lead)
    result = Differences(*(np.full((1, *rest), np.inf) for rest in ((d,), (), (), (), (1,), (1,))))
    _finish(held, result, 0, lead if x is None else x, sigma, lead, log_lead, sums)
    return Differences(*(part[0] for part in result))


def test_what_a_wrong_weight_can_do_to_a_mean_is_attained():
    """A pattern at 1 with weight 1, and one at −2 with weight 0.5 that may be 0.3 too much."""
    for total_mass, wrong, far in ((1.5, 0.3, 2.0), (1.5, 0.5, 0.2)):
        rest = total_mass - 1
        step = np.array([1 - rest * far])
        sums = differences._Sums(0.0, total_mass, step, 1 + rest * far, -0.2, wrong, wrong * far)
        bound = finished(described(np.zeros((2, 1))), np.zeros(1), sums).bound
        moved = (1 - (rest - wrong) * far) / (total_mass - wrong) - step[0] / total_mass
        assert 0 <= bound - moved < 1e-10
    for hopeless in (sums._replace(wrong=1.5), sums._replace(wrong_far=np.inf)):
        assert finished(described(np.zeros((2, 1))), np.zeros(1), hopeless).bound == np.inf


def test_each_rounding_of_a_mean_has_its_part():
    held = described(np.zeros((10, 4)), difference_units=1 << 20)
    held.total = 1 << 42
    exactly = differences._Sums(0.0, 2.0, np.array([6.0, 8.0, 0.0, 0.0]), 24.0, -0.2, 0.0, 0.0)
    terms = 2**20 + 8 * (2**24 + 2) + 8
    # Sums of lengths that add up to 12, a mean of length 5, and a shift that hardly counts.
    np.testing.assert_allclose(
        finished(held, np.zeros(4), exactly).bound, 2 * gamma(terms, float) * 17 + gamma(8, float) * 5, rtol=1e-12
    )
    held.total = 10
    lead = np.array([0.0, 0.0, 3e6, 4e6])
    bound = finished(held, lead, exactly._replace(step=np.zeros(4), far=0.0)).bound
    np.testing.assert_allclose(bound, gamma(8, float) * 1e7, rtol=1e-12)
    bound = finished(held, lead * 0, exactly._replace(far=0.0)).bound
    np.testing.assert_allclose(bound, 2 * gamma(10 + 16 + 8, float) * 5 + gamma(8, float) * 5, rtol=1e-12)


def test_what_else_sums_say():
    sums = differences._Sums(0.7, 2.0, np.array([2.0, 0.0]), 2.0, -0.4, 0.0, 0.0)
    x, lead = np.array([3.0, 5.0]), np.array([0.0, 1.0])
    found = finished(described(np.zeros((2, 2))), lead, sums, x, 2.0, -1.5)
    np.testing.assert_allclose(found.mean, [1, 1])
    np.testing.assert_allclose(found.log_mass, np.log(2) + 0.7 - 1.5 - 25 / 8)
    np.testing.assert_allclose(found.entropy, np.log(2) + 0.2)
    assert finished(described(np.zeros((2, 2))), lead, sums._replace(logits=9.0)).entropy == 0


@pytest.mark.parametrize("k", [1, 4])
def test_slices_are_one_sum(rng, k):
    """From a first pattern without weight to the likeliest, in any number of slices; ties go to the first."""
    y = rng.normal(size=(23, 3)).astype(np.float32)
    y[17] = y[5]
    log_w = np.where(np.arange(23) % 4 == 0, -np.inf, rng.normal(size=23))
    log_w[17] = log_w[5]
    x, sigma = y[[5, 9, 2]] + 0.3 * rng.normal(size=(3, 3)), np.array([0.3, 1.0, 8.0])
    for units in (1, 12, 1000):
        found = sum_by_differences(described(y, log_w, difference_units=units), x, sigma, k)
        for i in range(3):
            log_mass, mean, p = exact(y, log_w, x[i], sigma[i])
            assert np.linalg.norm((found.mean[i] - mean).astype(float)) <= found.bound[i] < 1e-12
            np.testing.assert_allclose(found.log_mass[i], float(log_mass), rtol=1e-12)
            there = p > 0
            np.testing.assert_allclose(found.entropy[i], float(-(p[there] @ np.log(p[there]))), rtol=1e-11)
            order = np.argsort(-p, kind="stable")[:k]
            np.testing.assert_array_equal(found.indices[i], order)
            np.testing.assert_allclose(found.responsibilities[i], p[order].astype(float), rtol=1e-12)
    few = sum_by_differences(described(y[:3], log_w[:3]), x, sigma, 4)
    assert (np.sort(few.indices, axis=1)[:, :2] == -1).all()


def test_the_first_leading_pattern_is_one_that_has_weight():
    y, log_w = np.array([[1.0], [2.0], [3.0]]), np.array([-np.inf, -0.5, -1.0])
    for prior, first in ((log_w, 1), (None, 0)):
        held = described(y, prior)
        held.first = 100
        lead, log_lead = differences._first(held, 2)
        np.testing.assert_array_equal(lead, [y[first]] * 2)
        np.testing.assert_array_equal(log_lead, [0.0 if prior is None else log_w[first]] * 2)
