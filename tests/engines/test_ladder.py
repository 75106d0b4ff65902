"""Which rung answers, which pattern is named first, and when that is certain: up to the very margin."""

import jax
import numpy as np
import pytest

from dispersed.engines import ladder, stacked_shortlists
from dispersed.engines.candidate_screening import FAR, Candidates, LogitSample, States
from dispersed.engines.full_scan import ScanResult
from dispersed.engines.ladder import DIFFERENCES, DOUBLE, SCREENING, SINGLE, Answers, climb
from dispersed.engines.leading_patterns import leading_patterns
from dispersed.engines.roundoff import gamma
from tests.engines.oracle import described

G = gamma(9, float)
"""The round-off of a sum over one unit."""


@pytest.fixture
def off(monkeypatch):
    """By products a logit is off by 0.1."""
    monkeypatch.setattr(States, "logit_error", lambda self, held, dtype: np.full(len(self.x), 0.1))


def at(*x):
    """States of one unit at σ = 1, whose centre is 0."""
    x = np.array(x, float)[:, None]
    return States(x, np.ones(len(x)), x, np.abs(x[:, 0]))


def candidates(*each):
    """The `Candidates` of each state by their indices and the largest logarithm of what was excluded; or None."""
    found = np.full(len(each), None, object)
    for i, one in enumerate(each):
        if one is not None:
            indices, log_tail, log_max = one
            found[i] = Candidates(np.array(indices, int), log_tail, log_max, FAR)
    return found


def leading(y, x, one, other_tiles=np.inf, tiles=(), log_sum=5.0, k=1, log_w=None, first=0, lost=0.05):
    """What is named for one state, of which it is off by `lost` to weigh it by differences."""
    held = described(np.array(y, float)[:, None], log_w, spare_tiles=1, max_log_weight=lost / G)
    held.first = first
    total = ScanResult(
        np.zeros((1, 1)), np.zeros(1), np.array([log_sum]), np.zeros(1), candidates(one), np.array([tiles], int),
        np.array([other_tiles]),
    )  # fmt: skip
    index, share, certain = leading_patterns(held, at(x), total, k)
    return index[0].tolist(), share[0].tolist(), bool(certain[0])


@pytest.mark.parametrize(("lost", "error"), [(0.05, 0.1), (0.3, 0.2)])
def test_the_first_is_certain_up_to_twice_what_a_logit_is_off(off, lost, error):
    """Of the way that loses less. The leading pattern is at 0, whose logit is 0; others are known by distances."""
    for beyond, expected in ((-1e-9, True), (1e-9, False)):
        one = [0], 0.0, error + beyond - 0.25**2 / 2
        assert leading([0, 1], 0.25, one, lost=lost)[2] is expected
        assert leading([0, 1], 0.25, None, error + beyond, [0], lost=lost)[2] is expected
    # What squares lose: γ of 5·10¹³ twice over.
    for log_max, expected in ((-5e13 + 0.078125, True), (-5e13 + 0.125, False)):
        assert leading([0, 1], 1e7, ([0], 0.0, log_max), lost=0)[2] is expected


def test_candidates_that_are_not_examined_may_be_likelier(off):
    """The last one that is has the largest logit that any of the others can have, but for round-off."""
    for x, expected in ((0.4 - 1e-9, True), (0.4 + 1e-9, False)):
        named, _, certain = leading([0, 1, 3], x, ([0, 1, 2], 0.0, -np.inf))
        assert named == [0]
        assert certain is expected
    assert leading([0, 1], 0.4 + 1e-9, ([0, 1], 0.0, -np.inf))[2]


def test_patterns_are_compared_by_what_loses_less(off):
    """Near duplicates far from the centre by differences, a state far beyond all patterns by products."""
    near = [1000, 1000 + 2.0**-14]
    assert leading(near, 1000 + 2.0**-15 + 1e-9, ([0, 1], 0.0, -np.inf), lost=0)[0] == [1]
    assert leading([1, 1 + 2.0**-23], 1e10, ([0, 1], 0.0, -np.inf), lost=0)[0] == [1]


def test_what_is_named_and_what_it_weighs(off):
    """The likeliest first, of equal ones the first; those without weight never."""
    y, log_w = np.zeros(40), np.full(40, -np.inf)
    log_w[[3, 7, 33, 36]] = -1.0, -0.5, -0.5, -2.0
    index, share, certain = leading(y, 0.0, None, -3.0, [0, 32, -1], 0.6, 5, log_w, 100)
    assert index == [107, 133, 103, 136, -1]
    np.testing.assert_allclose(share, np.exp([-1.1, -1.1, -1.6, -2.6, -np.inf]), rtol=1e-12)
    assert certain
    assert leading(y, 0.0, None, -3.0, [0], 0.5, 3, log_w)[0] == [7, 3, -1]
    # Responsibilities are never more than one, together.
    np.testing.assert_allclose(leading([0, 0], 0.0, ([0, 1], 0.0, 0.0), log_sum=-3.0, k=2)[1], 0.5)
    assert leading([0], 0.0, ([], 0.0, 0.0)) == ([-1], [0.0], False)


def test_states_do_not_mix(off):
    held = described(np.array([[0.0], [1.0], [2.0]]), spare_tiles=1, max_log_weight=0.05 / G, product_units=2)
    found = candidates(([0, 1], 0.0, -9.0), None, ([2], 0.0, 9.0))
    tiles = np.array([[0], [0], [0]])
    total = ScanResult(np.zeros((3, 1)), np.zeros(3), np.zeros(3), np.zeros(3), found, tiles, np.array([9.0, -9.0, -9]))
    index, _, certain = leading_patterns(held, at(0.9, 2.1, 1.0), total, 2)
    assert index.tolist() == [[1, 0], [2, 1], [2, -1]]
    assert certain.tolist() == [True, True, False]
    assert leading_patterns(held, at(1.0), total, 0)[0].shape == (1, 0)


def answers(b=1, d=1, k=1, **known):
    return Answers.none(b, d, k)._replace(**{name: np.array(value) for name, value in known.items()})


def test_an_answer_is_replaced_by_a_better_one():
    known = answers(4, bound=[1.0, 1.0, 1.0, 1.0], certain=[False, False, True, True], log_mass=[0.0] * 4)
    bound, certain = [0.9, 1.0, 1.1, 0.9], [False, True, True, False]
    known.put(np.array([3, 2, 1, 0]), answers(4, bound=bound, certain=certain, log_mass=[4.0, 3.0, 2.0, 1.0]))
    assert known.log_mass.tolist() == [1, 2, 0, 4]
    assert known.bound.tolist() == [0.9, 1.1, 1.0, 0.9]


def test_a_state_climbs_until_its_bound_is_met_and_its_first_pattern_is_certain(monkeypatch):
    asked = []

    def rung(bound, certain):
        def answer(held, states, guess, tol, k):
            asked.append(states.x[:, 0].tolist())
            chosen = states.x[:, 0].astype(int)
            return answers(len(chosen), 1, k, bound=np.array(bound)[chosen], certain=np.array(certain)[chosen])

        return answer

    rungs = rung([1.0, 1.1, 0.5], [True, True, False]), rung([9, 0.5, 9.0], [False, False, True])
    monkeypatch.setattr(ladder, "_RUNGS", (*rungs, rungs[1], rungs[1]))
    held = described(np.zeros((2, 1)))

    def asks(k, tol, first=SCREENING):
        asked.clear()
        found = climb(held, np.arange(3.0)[:, None], np.ones(3), tol, k, first)
        return list(asked), found

    assert asks(1, 1.0)[0] == [[0, 1, 2], [1, 2], [1, 2], [1, 2]]
    assert asks(0, 1.0)[0] == [[0, 1, 2], [1]]
    assert asks(0, 2.0)[0] == [[0, 1, 2]]
    assert asks(0, 1.0, DIFFERENCES)[0] == [[0, 1, 2]]
    assert climb(held, np.zeros((0, 1)), np.ones(0), 1.0, 1).mean.shape == (0, 1)


def by_screening(monkeypatch, one, y, tol=1e-3, **options):
    monkeypatch.setattr(ladder, "screen_states", lambda *arguments: (candidates(one), np.ones(1, bool)))
    d = 100
    held = described(np.array(y)[:, None] * np.eye(1, d), **options)
    held.first = 100
    x = np.zeros((1, d))
    return ladder._by_screening(held, States(x, np.ones(1), x, np.zeros(1)), lambda: None, tol, 1)


def test_of_a_screen_the_first_is_certain_where_nothing_excluded_can_exceed_it(monkeypatch):
    """The leading pattern's logarithm is −0.5, off by γ of its square twice over; the excluded all weigh more."""
    slack = gamma(108, float) * 2 * 0.5
    for log_tail, log_max in ((9.0, -0.5), (-0.5, 9.0)):
        for beyond, expected in ((0.97, True), (1.04, False)):
            bounds = (bound + (beyond * slack if bound < 0 else 0) for bound in (log_tail, log_max))
            found = by_screening(monkeypatch, ([0], *bounds), [1.0])
            assert found.certain[0] == expected
    assert (found.indices[0, 0], found.rung[0], found.weighed[0]) == (100, SCREENING, 1)
    np.testing.assert_allclose(found.log_mass, -0.5)
    assert found.candidates[0].indices.tolist() == [0]
    assert not by_screening(monkeypatch, ([], -np.inf, -np.inf), [1.0]).certain[0]


def test_many_candidates_are_weighed_by_products(monkeypatch):
    one = ([0, 1], -9.0, -9.5)
    few, many = (by_screening(monkeypatch, one, [1.0, -1.0], by_differences=most) for most in (2, 1))
    for name in ("mean", "log_mass", "entropy", "indices", "responsibilities"):
        np.testing.assert_allclose(getattr(few, name), getattr(many, name), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(few.log_mass, np.log(2) - 0.5)
    np.testing.assert_allclose(few.bound, many.bound, rtol=1e-3)
    assert few.weighed[0] == many.weighed[0] == 2
    assert by_screening(monkeypatch, None, [1.0, -1.0]).bound[0] == np.inf


def test_shortlists_are_stacked_with_what_has_no_weight():
    held = described(np.arange(5.0)[:, None], np.arange(5.0) - 9)
    held.first = 100
    found = candidates(([4, 2], -3.0, 0.0), ([], -1.0, 0.0))
    stack = stacked_shortlists._stack(held, at(0.5, 0.7), [found[0]._replace(excluded_distance=2.0), found[1]], 4)
    assert stack.index.tolist() == [[104, 102, 104, 104], [100] * 4]
    assert stack.y[..., 0].tolist() == [[4, 2, 4, 4], [0] * 4]
    assert stack.log_weights.tolist() == [[-5, -7, -np.inf, -np.inf], [-np.inf] * 4]
    assert stack.log_tail_mass.tolist() == [-3, -1]
    assert stack.excluded_distance.tolist() == [2, FAR]
    assert stack.x.tolist() == [[0.5], [0.7]]


def test_states_are_stacked_beside_those_of_their_size():
    counts = [1, 20, 3, 70, 0, 16]
    found = candidates(*((range(count), -1.0, -1.0) for count in counts), None)
    held = described(np.zeros((70, 1)), small_stack=1, stacked_states=2)

    def groups(held):
        every = stacked_shortlists.grouped_shortlists(held, at(*range(7)), found)
        return [(some.tolist(), stack.x[:, 0].tolist(), stack.index.shape[1]) for some, stack in every]

    sizes = [([0, 2], 16), ([4, 5], 16), ([1], 64), ([3], 256)]
    assert groups(held) == [(some, some, size) for some, size in sizes]
    held = described(np.zeros((70, 1)), small_stack=1536)
    assert groups(held) == [([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5], 256)]
    assert len(groups(described(np.zeros((70, 1)), small_stack=1535, stacked_units=31))) == 6
    padded = stacked_shortlists.pad_batch((np.arange(5), np.arange(10).reshape(5, 2)))
    assert padded[0].tolist() == [0, 1, 2, 3, 4] + [0] * 11
    assert jax.tree.map(np.shape, padded) == ((16,), (16, 2))


def test_a_scan_is_tried_where_it_can_be_of_use(monkeypatch):
    """In double precision where two terms can be compared, in single where that is enough or few patterns lead."""
    tried = []

    def scan(held, states, guess, k, dtype, some):
        tried.append(some)
        return answers()

    monkeypatch.setattr(ladder, "_by_scan", scan)
    off = np.array([0.9, 1.0, np.inf])
    monkeypatch.setattr(States, "logit_error", lambda self, held, dtype: off)
    held, states = described(np.zeros((100, 1)), radius=2.0, small_set=50, chunk_patterns=1), at(1, 2, 3)
    ladder._in_double(held, states, lambda: None, 1e-3, 1)
    assert tried.pop().tolist() == [True, False, False]
    off = np.array([1e-3, 1e-2, 1e-2, 0.6, np.inf])
    deviation = 1.3 * np.sqrt(2 * np.log(100)) * np.array([0, 1.01, 0.99, 2, 2])
    sample = LogitSample(*np.zeros((3, 5)), deviation, np.zeros(5))
    ladder._in_single(held, at(1, 2, 3, 4, 5), lambda: sample, 6.2e-3, 1)
    assert tried.pop().tolist() == [True, True, False, False, False]
    few = described(np.zeros((50, 1)), small_set=50)
    assert np.isinf(ladder._in_single(few, states, lambda: None, 1e-3, 1).bound).all()
    assert not tried


def test_a_scan_of_some_states_answers_these(monkeypatch):
    seen = []

    def scan(held, states, dtype, guess, k):
        seen.append((states.x[:, 0].tolist(), dtype, guess.largest.tolist()))
        b = len(states.x)
        mean, none = states.x, np.full(b, None, object)
        return ScanResult(mean, np.full(b, 0.5), np.full(b, 3.0), np.ones(b), none, np.zeros((b, 1), int), np.zeros(b))

    monkeypatch.setattr(ladder, "full_scan", scan)
    held, guess = described(np.zeros((7, 1)), states_per_pass=2), LogitSample(*np.tile(np.arange(4.0), (5, 1)))
    some = np.array([True, False, True, True])
    for dtype, rung in ((np.float32, SINGLE), (np.float64, DOUBLE)):
        seen.clear()
        found = ladder._by_scan(held, at(0, 1, 2, 3), lambda: guess, 1, dtype, some)
        assert seen == [([0, 2], dtype, [0, 2]), ([3], dtype, [3])]
        assert found.mean[:, 0].tolist() == [0, 0, 2, 3]
        assert found.bound.tolist() == [0.5, np.inf, 0.5, 0.5]
        assert found.log_mass.tolist() == [3, 0, 1, -1.5]
        assert found.rung[some].tolist() == [rung] * 3
        assert found.weighed.tolist() == [7, 0, 7, 7]
