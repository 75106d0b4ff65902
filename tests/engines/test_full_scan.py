"""Sums over every pattern: every term of their bounds, and cases that attain them."""

import numpy as np
import pytest

from dispersed.engines import full_scan
from dispersed.engines.bitmask import SelectedTiles
from dispersed.engines.candidate_screening import FAR, Candidates, LogitSample, States
from dispersed.engines.full_scan import _candidates, _mean_error, _Split, _weigh, products, weigh_candidates
from dispersed.engines.online_softmax import SoftmaxSums
from dispersed.engines.roundoff import MERGED, gamma, log_sum_bound, mean_error, merged_terms
from tests.engines.oracle import described, placed

EPS = 4 * 2.0**-23


@pytest.fixture
def off(monkeypatch):
    """Logits are off by 0.3 in single precision, and by 0.1 in double."""
    known = {np.float32: 0.3, np.float64: 0.1}
    monkeypatch.setattr(States, "logit_error", lambda self, held, dtype: np.full(len(self.x), known[dtype]))


def at(x):
    """One state at σ = 1, whose centre is 0."""
    x = np.array([x], float)
    return States(x, np.ones(1), x, np.linalg.norm(x, axis=1))


def test_each_term_of_a_means_error_that_was_summed_in_parts():
    held = described(np.zeros((2, 3)), centre=4e12, radius=2.0, flush=1e-3)
    mean = np.array([[0.0, 0.5, 0.0]])
    parts = ((np.array([0.2]), np.array([0.01]), 1000, np.float32), (np.array([0.9]), np.array([0.02]), 9, np.float64))

    def total(norm):
        spread = 2 + norm
        errors = [float(mean_error(off, terms, dtype, spread, norm)[0]) for _, off, terms, dtype in parts]
        return 0.1 * spread + 0.2 * errors[0] + 0.9 * errors[1]

    moved = gamma(4, float) * (0.5 + 4e12 * np.sqrt(3)) + 1e-3
    np.testing.assert_allclose(_mean_error(held, mean, parts, 0.1), total(0.5 + total(2.0)) + moved, rtol=1e-12)
    # A mean is nowhere but among the patterns.
    far = np.array([[0.0, 1.9, 0.0]])
    moved = gamma(4, float) * (1.9 + 4e12 * np.sqrt(3)) + 1e-3
    np.testing.assert_allclose(_mean_error(held, far, parts, 0.1), total(2.0) + moved, rtol=1e-12)
    hopeless = (np.zeros(1), np.array([0.7]), 1000, np.float32)
    assert _mean_error(held, mean, (hopeless, parts[1])) == np.inf
    assert _mean_error(held, mean, parts, np.nan) == np.inf


def test_what_a_missing_pattern_can_do_to_a_mean_is_attained():
    """All that was summed lies at 1, and what is missing at −1."""
    exactly = ((np.ones(1), np.zeros(1), 1, np.float64),)
    bound = _mean_error(described(np.zeros((1, 1))), np.ones((1, 1)), exactly, 0.2)
    assert 0 <= bound - 0.2 * 2 < 1e-12


def weigh(weight, log_w=None, **others):
    """One candidate at 1 of a state at 0, beside excluded ones of `weight` times its own."""
    y = np.array([[1.0]])
    found = np.full(1, None, object)
    found[0] = Candidates(np.zeros(1, int), np.log(weight) - 0.5, 0.0, FAR)
    return weigh_candidates(described(y, log_w, **others), at([0.0]), found)


@pytest.mark.parametrize("weight", [1e-3, 0.3, 3.0])
def test_what_candidates_leave_out_is_attained(weight):
    """All that was excluded lies at −1."""
    found = weigh(weight)
    moved = found.mean[0, 0] - (1 - weight) / (1 + weight)
    assert moved <= found.bound[0] < moved + 1e-12
    assert found.log_sum == -0.5


def test_round_off_makes_more_of_what_was_left_out(off, monkeypatch):
    monkeypatch.setattr(States, "half_square_error", lambda self: np.array([0.2]))
    found = weigh(1e-3, np.array([0.05]), radius=2.0)
    most = merged_terms(1, 3) + MERGED
    missing = 1 / (1 + 1e3 * np.exp(0.05 - 0.1 - 0.2 - gamma(most, float)))
    held = described(np.zeros((1, 1)), radius=2.0)
    parts = ((np.ones(1), np.array([0.1]), most, np.float64),)
    np.testing.assert_allclose(found.bound, _mean_error(held, np.ones((1, 1)), parts, missing), rtol=1e-12)


def test_half_the_square_of_a_state_is_part_of_no_logit():
    """What was excluded is known by distances, the logits of candidates by products."""
    found = np.full(1, None, object)
    found[0] = Candidates(np.zeros(1, int), np.log(1e-2) - 2.0, 0.0, FAR)
    total = weigh_candidates(described(np.array([[1.0]])), at([3.0]), found)
    np.testing.assert_allclose(total.log_sum, 2.5)
    np.testing.assert_allclose(total.bound, 2 * 0.01 / 1.01, rtol=1e-9)


def dominant(logit, floor=0.0, log_tail=-9.0, depth=8.0, log_w=None, unweighted=-np.inf, dtype=np.float32):
    """What is left of dominant terms of one state at the centre, as one candidate record."""
    k = len(logit)
    held = described(np.zeros((k + 1, 1)), log_w)
    split = _Split(None, None, np.array([unweighted]), None, None)
    arguments = (np.zeros(k, int), np.arange(k), np.array(logit), np.array([floor]), depth, dtype)
    return _candidates(held, at([0.0]), *arguments, np.array([log_tail]), split)[0]


def test_dominant_terms_are_those_surely_above_what_others_can_be(off):
    """The best term may be 0.4 more as computed than it is, what is not dominant 0.3 more than its computed value."""
    for floor, short in ((0.0, 1.4 - 8 + EPS * (1.4 + 8) + 0.3), (2.0, 2 - 8 + EPS * (2 + 8) + 0.3)):
        found = dominant([-3.0, 1.0, short + 1e-9, short - 1e-9, short - 0.5], floor)
        np.testing.assert_array_equal(found.indices, [1, 0, 2])
        low = np.logaddexp.reduce([-9, short - 1e-9 + 0.1, short - 0.5 + 0.1])
        np.testing.assert_allclose(found.log_tail_mass, low, rtol=1e-12)
        np.testing.assert_allclose(found.log_tail_max, short + 0.1, rtol=1e-12)
        np.testing.assert_allclose(found.excluded_distance, np.sqrt(-2 * (short + 0.1)), rtol=1e-12)
    assert dominant([1.0], log_tail=-np.inf).log_tail_mass == -np.inf
    assert dominant([1.0], log_tail=np.nan).log_tail_mass == np.inf
    best = 0.5 + 0.1 + 0.1
    np.testing.assert_allclose(dominant([0.5], dtype=np.float64).log_tail_max, best - 8 + 0.1 + 0.1, rtol=1e-12)


def test_how_near_what_is_not_dominant_lies_follows_from_its_logit_without_weight(off):
    log_w = np.array([0.0, -3.0, 0.0])
    for unweighted, nearest in ((-2.0, -2 + EPS * 2 + 0.3), (-7.0, -7 + 3 + 0.1)):
        found = dominant([1.0, -7.0], log_w=log_w, unweighted=unweighted)
        np.testing.assert_array_equal(found.indices, [0])
        np.testing.assert_allclose(found.excluded_distance, np.sqrt(-2 * nearest), rtol=1e-12)


def test_products_and_their_sums_on_the_host(rng):
    """In parts of any size, with states between which the parts are cut."""
    y, log_w = rng.normal(size=(40, 3)), rng.normal(size=40)
    x = rng.normal(size=(4, 3))
    states = States(x + 2, np.array([1.0, 2.0, 0.5, 1.0]), x, np.linalg.norm(x, axis=1))
    whose = np.repeat([0, 1, 3], [20, 13, 7])
    which = rng.permutation(40)
    centred = y.astype(np.float32).astype(float)[which] - 2
    logit = states.beta[whose] * (np.sum(centred * x[whose], axis=1) - np.sum(centred**2, axis=1) / 2) + log_w[which]
    for units in (1, 30, 1000):
        held = described(y, log_w, centre=2.0, product_units=units)
        np.testing.assert_allclose(products(held, states, whose, which), logit, rtol=1e-12)
        found, sums, most = _weigh(held, states, whose, which)
        np.testing.assert_allclose(found, logit, rtol=1e-12)
        assert most == merged_terms(20, 2 + 40 // max(1, units // 3)) + MERGED
        for i in (0, 1, 3):
            mine = logit[whose == i]
            weight = np.exp(mine - mine.max())
            np.testing.assert_allclose(sums.max_logit[i], mine.max(), rtol=1e-12)
            np.testing.assert_allclose(sums.mass[i], weight.sum(), rtol=1e-12)
            np.testing.assert_allclose(sums.weighted_sum[i], weight @ centred[whose == i], rtol=1e-11)
            np.testing.assert_allclose(sums.weighted_logits[i], weight @ (mine - mine.max()), rtol=1e-11)
        assert sums.mass[2] == 0


@pytest.mark.parametrize("rest", [1e-3, 0.4, 3.0])
def test_a_scan_makes_one_sum_of_its_dominant_terms_and_the_rest(off, monkeypatch, rest):
    """One dominant pattern at 1, and others of `rest` times its weight at −1, of which it is said what can be wrong."""
    held = described(np.array([[1.0]] + [[-1.0]] * 63), radius=1.5, dominant_fraction=1.0)
    others = SoftmaxSums(np.array([-1.5]), np.array([rest * np.e]), np.array([[-rest * np.e]]), np.zeros(1))
    first = SelectedTiles(np.zeros(1, int), np.zeros(1, int), np.uint32([1]))
    split = _Split(others, first, np.array([-np.inf]), np.full((1, 1), 32), np.array([-7.0]))
    monkeypatch.setattr(full_scan, "_scan_blocks", lambda *arguments: split)
    guess = LogitSample(*np.full((5, 1), -np.inf))
    found = full_scan.full_scan(held, at([0.0]), np.float32, guess)
    share = rest / (1 + rest)
    np.testing.assert_allclose(found.mean, 1 - 2 * share, rtol=1e-12)
    np.testing.assert_allclose(found.log_sum, np.log(1 + rest) - 0.5, rtol=1e-12)
    # The logits of all others are −1.5.
    entropy = np.log(1 + rest) + share
    np.testing.assert_allclose(found.entropy, entropy, rtol=1e-12)
    np.testing.assert_allclose(found.other_tiles, -6.7)
    terms = held.terms(1) + MERGED
    parts = (
        (np.array([share]), np.array([0.3]), terms, np.float32),
        (np.ones(1), np.array([0.1]), merged_terms(1, 2) + MERGED, np.float64),
    )
    np.testing.assert_allclose(found.bound, _mean_error(held, found.mean, parts), rtol=1e-12)
    if rest > 1:
        assert found.candidates[0] is None
    else:
        tail = log_sum_bound(np.log(rest) - 0.5, -1.5, 64, 0.3, terms, np.float32)
        np.testing.assert_allclose(found.candidates[0].log_tail_mass, tail, rtol=1e-12)


def test_no_pattern_of_another_tile_exceeds_what_is_said_of_it(rng):
    """Maxima are ordered in single precision, which rounds those of double precision."""
    patterns = rng.normal(size=(600, 6)).astype(np.float32)
    held = placed(patterns, spare_tiles=1)
    x = patterns[:20] + 0.5 * rng.normal(size=(20, 6))
    states = States.of(held, x, np.full(20, 0.5))
    found = full_scan.full_scan(held, states, np.float64, leading=2)
    for i in range(20):
        logits = products(held, states, np.full(600, i), np.arange(600))
        tiles = np.array([logits[start : start + 32].max() for start in range(0, 600, 32)])
        order = np.argsort(-tiles)
        np.testing.assert_array_equal(found.tiles[i], 32 * order[:3])
        last, off = tiles[order[2]], states.logit_error(held, np.float64)[i]
        assert last <= found.other_tiles[i] - off <= last + 2e-7 * abs(last)
