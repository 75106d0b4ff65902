"""A screen finds what matters and bounds what it excludes, and how near that lies, in whatever order patterns lie."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from dispersed.engines import candidate_screening
from dispersed.engines.candidate_screening import (
    FAR,
    LOWEST,
    SLACK,
    LogitSample,
    States,
    allowed_tail,
    as_candidates,
    distance_from_logit,
    sample_logits,
    screen,
    screen_states,
    screening_depth,
)
from dispersed.engines.certified_posterior import posterior
from dispersed.engines.online_softmax import BlockScan, SoftmaxSums, scan_block
from dispersed.engines.options import TILE, ScanOptions
from dispersed.engines.roundoff import gamma, log_sum_bound
from dispersed.storage import Bits, InMemory, Int8, open_patterns, save_patterns
from dispersed.validation import InputError
from tests.engines.oracle import described, exact, families, placed

TAIL = 1e-5
SMALL = {"block_patterns": 128, "chunk_patterns": 64, "by_differences": 4}
"""Many blocks of few patterns: the best changes as they come."""


def held_against_all(patterns, log_w, states, found):
    """The `Candidates` of each state against all that was excluded; of how many states something is known."""
    known = 0
    for x, sigma, one in zip(states.x, states.sigma, found, strict=True):
        if one is None:
            continue
        assert len(np.unique(one.indices)) == len(one.indices)
        out = np.setdiff1d(np.arange(len(patterns)), one.indices)
        out = out[log_w[out] > -np.inf]
        if not len(out):
            assert one.log_tail_mass == one.log_tail_max == -np.inf
            assert one.excluded_distance == FAR
            continue
        distance = np.linalg.norm(patterns[out].astype(float) - x, axis=1)
        terms = log_w[out] - distance**2 / (2 * sigma**2)
        lead = np.max(log_w - np.linalg.norm(patterns.astype(float) - x, axis=1) ** 2 / (2 * sigma**2))
        assert np.logaddexp.reduce(terms) <= one.log_tail_mass
        assert terms.max() <= one.log_tail_max
        assert one.log_tail_mass <= lead + np.log(4 * TAIL) + 1e-9
        assert one.excluded_distance <= distance.min()
        known += 1
    return known


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("order", ["as drawn", "nearest first", "nearest last"])
def test_what_is_excluded_is_bounded_in_any_order(rng, order, weighted):
    n, d = 1500, 8
    patterns = rng.normal(size=(n, d)).astype(np.float32)
    if order != "as drawn":
        away = np.linalg.norm(patterns - patterns[0], axis=1)
        patterns = patterns[np.argsort(away if order == "nearest first" else -away)]
    log_w = rng.normal(scale=3, size=n) if weighted else np.zeros(n)
    log_w[::7] = -np.inf if weighted else 0
    held = placed(patterns, log_weights=log_w if weighted else None, **SMALL)
    log_w = log_w - np.logaddexp.reduce(log_w) if weighted else log_w
    sigma = 10 ** rng.uniform(-1.5, -0.3, size=40)
    near = patterns[0 if order == "nearest first" else -1]
    states = States.of(held, near + sigma[:, None] * rng.normal(size=(40, d)), sigma)
    assert held_against_all(patterns, log_w, states, screen(held, states, TAIL, n // 4)) > 30


def test_a_state_amid_a_shell_of_patterns_has_low_logits_only(rng):
    """What is selected depends on how far a logit lies below the best, not on its sign."""
    n, d = 1500, 8
    patterns = rng.normal(size=(n, d))
    patterns *= (3 + 2 * np.abs(rng.normal(size=(n, 1)))) / np.linalg.norm(patterns, axis=1, keepdims=True)
    held = placed(patterns, **SMALL)
    patterns = patterns.astype(np.float32)
    states = States.of(held, 0.01 * rng.normal(size=(40, d)), np.full(40, 0.3))
    assert held_against_all(patterns, np.zeros(n), states, screen(held, states, TAIL, n)) == 40


def test_a_guess_that_is_far_too_high_costs_time_only(rng):
    """The first patterns scatter widely, all others lie in one place."""
    patterns = rng.normal(size=(1000, 8)).astype(np.float32)
    patterns[:64] *= 30
    held = placed(patterns, sample_patterns=64, **SMALL)
    states = States.of(held, patterns[500:509] + 0.4 * rng.normal(size=(9, 8)), np.full(9, 0.4))
    logits = (states.x @ patterns.T - np.sum(patterns**2, axis=1) / 2) / 0.4**2
    assert (sample_logits(held, states).best(1000) > 5 * np.max(logits, axis=1)).all()
    found = screen(held, states, TAIL, 1000)
    assert all(len(one.indices) for one in found)
    assert held_against_all(patterns, np.zeros(1000), states, found) == 9


def test_too_many_are_given_up(rng):
    held = placed(rng.normal(size=(1000, 8)), **SMALL)
    states = States.of(held, rng.normal(size=(5, 8)), np.full(5, 100.0))
    assert screen(held, states, TAIL, 50) == [None] * 5


def decoded(rows, d):
    return np.asarray(rows.encoding.decode(rows.codes, rows.scale, d))[: rows.count]


def test_patterns_in_a_quarter_of_the_bytes_serve_few_states(rng):
    """The screen reads int8; what rounding to it changes joins the bound. Its memory stays that of the patterns."""
    n, d = 1500, 16
    binary = rng.choice(np.float32([-1, 1]), (n, d))
    for patterns in (binary, rng.normal(size=(n, d)).astype(np.float32), 300 + rng.normal(size=(n, d)).astype("f4")):
        held = placed(patterns, **SMALL)
        short = np.concatenate([decoded(block.rows, d) for block in held.quantized.blocks])
        error = np.linalg.norm(short.astype(float) - patterns, axis=1).max()
        assert error <= held.quantized.error <= 1.001 * error + 1e-18
        states = States.of(held, patterns[:4] + 0.4 * rng.normal(size=(4, d)), np.full(4, 0.4))
        assert held_against_all(patterns, np.zeros(n), states, screen(held, states, TAIL, n)) == 4
        answer = posterior(held, states.x, states.sigma, 1e-4, 4)
        for i in range(4):
            _, mean, _ = exact(patterns, np.full(n, -np.log(n)), states.x[i], 0.4)
            assert np.linalg.norm(answer.mean[i] - mean.astype(float)) <= answer.bound[i] <= 1e-4


def test_codes_that_blur_too_much_are_not_used(rng, monkeypatch):
    """Where patterns differ by little more than what int8 rounds away, they themselves are read."""
    used = []
    scan = candidate_screening.scan_block

    def recorded(rows, *rest):
        used.append(rows.encoding.name)
        return scan(rows, *rest)

    monkeypatch.setattr(candidate_screening, "scan_block", recorded)
    patterns = rng.normal(size=(1500, 16)).astype(np.float32)
    close = (5 + 0.01 * patterns).astype(np.float32)
    for stored, sigma, expected in ((patterns, 0.5, "int8"), (patterns, 0.02, "int8"), (close, 0.002, "float32")):
        used.clear()
        held = placed(stored, **SMALL)
        states = States.of(held, stored[:2] + sigma * rng.normal(size=(2, 16)), np.full(2, sigma))
        found = screen(held, states, TAIL, 1500)
        assert set(used) == {expected}
        assert held_against_all(stored, np.zeros(1500), states, found) == 2


def test_there_is_no_shorter_copy_of_what_is_short_or_on_a_disk(rng, tmp_path):
    patterns = rng.choice(np.float32([-1, 1]), (100, 8))
    save_patterns(tmp_path / "patterns.safetensors", patterns)
    for storage in (
        InMemory(patterns, Int8()),
        InMemory(patterns, Bits()),
        open_patterns(tmp_path / "patterns.safetensors"),
    ):
        assert placed(storage, block_patterns=32).quantized is None
    assert placed(patterns).quantized is None
    assert placed(patterns, block_patterns=32).quantized is not None


def test_what_is_weighed_by_products_keeps_its_bound(rng):
    """As if all candidates were many."""
    pruned = 0
    for name, patterns, weights in families(rng, 400, 6):
        sigma = 10 ** rng.uniform(-2, 0, size=20) * np.median(np.abs(patterns))
        x = patterns[rng.integers(400, size=20)] + sigma[:, None] * rng.normal(size=(20, 6))
        held = placed(patterns, weights, by_differences=1)
        found = posterior(held, x, sigma, 1e-4 * held.radius, 8)
        with np.errstate(divide="ignore"):
            log_w = np.log(weights / weights.sum())
        for i in range(20):
            log_mass, mean, p = exact(patterns, log_w, x[i], sigma[i])
            own = 1e-17 * np.abs(patterns).max() * (1 + abs(float(log_mass)))
            assert np.linalg.norm((found.mean[i] - mean).astype(float)) <= found.bound[i] + own, (name, sigma[i])
            assert found.responsibilities[i, 0] >= p.max() - 1e-4
            pruned += found.path[i] == "pruned"
    assert pruned > 100


def test_the_likeliest_patterns_are_named_where_all_matter(rng):
    n, d = 1000, 6
    patterns = rng.normal(size=(n, d)).astype(np.float32)
    x = rng.normal(size=(7, d))
    found = posterior(placed(patterns, **SMALL), x, np.full(7, 20.0), 1e-4, 5)
    assert (found.path == "scan").all()
    distance = np.linalg.norm(patterns - x[:, None], axis=2)
    np.testing.assert_array_equal(found.index, np.argsort(distance, axis=1)[:, :5])
    p = np.exp(-(distance**2) / 800)
    p /= p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.responsibilities, -np.sort(-p, axis=1)[:, :5], rtol=1e-6)


def test_no_more_than_most_states_are_screened_to_find_out_that_they_have_too_many_candidates(rng):
    """At high noise the first patterns tell that nearly all of them matter."""
    held = placed(rng.normal(size=(4000, 6)))
    x = rng.normal(size=(12, 6))
    assert not screen_states(held, States.of(held, x, np.full(12, 5.0)), TAIL)[1].any()
    found, tried = screen_states(held, States.of(held, x, np.full(12, 0.02)), TAIL)
    assert tried.all()
    assert all(len(one.indices) <= held.options.most_candidates(4000) for one in found)


def test_few_patterns_are_all_candidates(rng):
    weights = np.r_[0.0, np.ones(19)]
    held = placed(rng.normal(size=(20, 3)), weights)
    found, tried = screen_states(held, States.of(held, np.zeros((2, 3)), np.ones(2)), TAIL)
    assert not tried.any()
    for one in found:
        np.testing.assert_array_equal(one.indices, np.arange(1, 20))
        assert one.log_tail_mass == -np.inf


@pytest.mark.parametrize("count", [1, 31, 57, 900, 1797, 5000, 20_000, 300_000])
def test_blocks_are_gone_through_in_parts_that_fit(count):
    options = ScanOptions()
    height = options.rows(count)
    assert count <= height < count * 1.07 + TILE
    for states, d in ((1, 1), (64, 64), (1024, 64), (3, 3072), (4096, 100_000)):
        size = options.chunk(height, states, d)
        assert height % size == 0

        def fits(size, states=states, d=d):
            few = size <= options.chunk_patterns
            return few and size * states <= options.cached_logits and size * d <= options.cached_units

        assert size == TILE or fits(size)
        assert height % (2 * size) or not fits(2 * size)


def test_options_are_checked():
    with pytest.raises(InputError, match="dominance"):
        ScanOptions(dominance=-1.0)
    with pytest.raises(InputError, match="block_patterns"):
        ScanOptions(block_patterns=0)


def test_many_states_are_screened_in_groups(rng):
    """Neither what is found nor its order depends on how many states share a pass."""
    patterns, sigma = rng.normal(size=(600, 6)), np.where(np.arange(20) % 2, 0.1, 3.0)
    x = rng.normal(size=(20, 6))
    whole = posterior(placed(patterns), x, sigma, 1e-4, 4)
    parts = posterior(placed(patterns, states_per_pass=3), x, sigma, 1e-4, 4)
    np.testing.assert_allclose(parts.mean, whole.mean, atol=1e-4)
    np.testing.assert_array_equal(parts.index[:, 0], whole.index[:, 0])
    assert set(whole.path) == {"pruned", "scan"}


def test_depth_is_deeper_where_sums_cannot_be_trusted():
    exact_logits, vague = screening_depth(1e-6, 10_000, np.array([0.0, 10.0]), 0.6)
    np.testing.assert_allclose(exact_logits, np.log(1e6) + np.log(1e4) / 2)
    np.testing.assert_allclose(vague, np.log(1e6) + np.log(1e4) + 20)


def test_a_distance_follows_from_a_logit(rng):
    """It is nearly that of the pattern whose logit it is, and never more."""
    held = placed(rng.normal(size=(50, 12)))
    states = States.of(held, 3 * rng.normal(size=(50, 12)), 10 ** rng.uniform(-2, 2, 50))
    y = held.internal_patterns(np.arange(50)).astype(float)
    logits = states.beta * (np.sum(states.moved * y, axis=1) - np.sum(y * y, axis=1) / 2)
    true = np.linalg.norm(states.x - y, axis=1)
    found = distance_from_logit(logits, states)
    assert (found <= true).all()
    np.testing.assert_allclose(found, true, rtol=1e-10)
    # A logit that is larger by a nat is nearer by this much.
    nearer = np.sqrt(np.maximum(true**2 - 2 * states.sigma**2, 0))
    np.testing.assert_allclose(distance_from_logit(logits + 1, states), nearer, rtol=1e-6, atol=1e-6)


def test_products_are_asked_for_in_the_precision_of_their_numbers(rng):
    """A GPU would round float32 to eleven bits before multiplying, and no bound would hold."""
    held = placed(rng.normal(size=(64, 8)))
    rows = dataclasses.replace(next(held.blocks()).rows, half_norms=None)
    arrays = (jnp.ones((2, 8)), jnp.ones(2), jnp.zeros(2), jnp.ones(2))
    found = []

    def look(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name == "dot_general":
                found.append(equation.params["precision"])
            for inner in jaxprs_in_params(equation.params):
                look(inner)

    look(jax.make_jaxpr(lambda *states: scan_block.__wrapped__(rows, *states, True, 32))(*arrays).jaxpr)
    assert len(found) == 3
    assert all(precision == (jax.lax.Precision.HIGHEST,) * 2 for precision in found)


TILES = np.array([0.0, -5.0, -12.5, -30.0])
"""The largest logits of four tiles. Of the first its best is selected, of the second everything, of the third one."""


def end_of_screen(tail, off=0.3, depth=20.0, best=0.0, most=128, log_weights=None, unweighted=None, x=0.0, shut=False):
    """What a pass over 128 patterns ends with, of whose others the computed weight is e^−21, for a state at x."""
    held = described(np.zeros((128, 1)), log_weights)
    states = States(*(np.full(shape, x) for shape in ((1, 1), 1, (1, 1), 1)))._replace(sigma=np.ones(1))
    found = candidate_screening._Screening(held, states, *(np.array([v]) for v in (off, depth, best)), most)
    bits = np.uint32([0, 0, 0, 0]) if shut else np.uint32([8, 0xFFFFFFFF, 128, 0])
    others = SoftmaxSums(*map(jnp.asarray, np.float32([[-25], [np.exp(4)]])), jnp.zeros((1, 0)), jnp.zeros(1))
    above = None if unweighted is None else jnp.float32([unweighted])
    found.add(0, BlockScan(others, jnp.asarray(bits[None, None]), jnp.float32(TILES[None, None]), above))
    return found.candidates(tail, 1)[0]


OTHERS = log_sum_bound(np.log(np.float32(np.exp(4))) - 25, 0.0, 128, 0.3, 1, np.float32)
ONE, MANY = -12.5, np.log(32) - 5
"""The logarithms of the weights that are selected in the third tile and in the second."""


def test_tiles_are_cut_as_long_as_all_that_is_excluded_stays_within_the_tail():
    """Logits of what is excluded are off by 0.3 upwards, that of the best downwards."""
    for cut, kept in (([ONE], 33), ([ONE, MANY], 1)):
        exactly = np.exp(OTHERS + 0.3) + np.exp(cut).sum() * np.exp(0.6)
        for factor, expected in ((1 + 1e-7, kept), (1 - 1e-7, kept + (1 if kept == 33 else 32))):
            assert len(end_of_screen(exactly * factor).indices) == expected
    np.testing.assert_array_equal(end_of_screen(1.0).indices, [3])
    np.testing.assert_array_equal(end_of_screen(0.1).indices, [3, *range(32, 64)])


def test_what_a_screen_excludes_is_bounded_by_what_is_attained():
    """Every logit of what was cut is as much larger as it can be."""
    one, many = end_of_screen(1e-4), end_of_screen(1.0)
    np.testing.assert_allclose(one.log_tail_mass, np.logaddexp(OTHERS, ONE + 0.3), rtol=1e-12)
    np.testing.assert_allclose(many.log_tail_mass, np.logaddexp.reduce([OTHERS, ONE + 0.3, MANY + 0.3]), rtol=1e-12)
    np.testing.assert_allclose([one.log_tail_max, many.log_tail_max], [-12.2, -4.7], rtol=1e-12)
    distances = [one.excluded_distance, many.excluded_distance]
    np.testing.assert_allclose(distances, np.sqrt([2 * 12.2, 2 * 4.7]), rtol=1e-12)
    # Where their sum says nothing, as if all lay just below the depth of the screen; of those of the best, or of
    # what it was guessed to be.
    for best in (0.0, 10.0):
        nothing = end_of_screen(1e-4, off=1.0, depth=30.0, best=best, shut=True)
        below = best - 30 + SLACK * (best + 30) + 1
        np.testing.assert_allclose(nothing.log_tail_mass, np.log(128) + below, rtol=1e-12)
        np.testing.assert_allclose(nothing.log_tail_max, below, rtol=1e-12)
        np.testing.assert_allclose(nothing.excluded_distance, np.sqrt(-2 * below), rtol=1e-12)
    # At x = 2 all of it is 2 less, and a logit of −12.2 is as far away as squares say.
    moved = end_of_screen(1e-4, x=2.0)
    np.testing.assert_allclose(moved.log_tail_mass, one.log_tail_mass - 2, rtol=1e-12)
    np.testing.assert_allclose(moved.log_tail_max, -14.2, rtol=1e-12)
    np.testing.assert_allclose(moved.excluded_distance, np.sqrt(4 + 2 * 12.2), rtol=1e-12)


def test_how_near_excluded_patterns_lie_follows_from_their_logits_without_weights():
    """Of what was never selected the scan says it; of what was cut, each pattern's own weight."""

    def nearest(tail, light, by):
        log_w = np.full(128, -1.0)
        log_w[light] = by
        return end_of_screen(tail, log_weights=log_w, unweighted=-11.0).excluded_distance

    np.testing.assert_allclose(nearest(1e-4, 100, -50.0), np.sqrt(2 * (11 - SLACK * 11 - 0.3)), rtol=1e-12)
    np.testing.assert_allclose(nearest(1e-4, 71, -9.0), np.sqrt(2 * (12.5 - 9 - 0.3)), rtol=1e-12)
    np.testing.assert_allclose(nearest(1.0, 50, -2.5), np.sqrt(2 * (5 - 2.5 - 0.3)), rtol=1e-12)


def test_a_screen_that_excludes_nothing_or_too_little():
    def end(most, tail=1e-4):
        return end_of_screen(tail, most=most)

    # 34 are selected, and 33 stay; fewer than all are given up if more, or if what is excluded weighs more.
    assert end(33) is not None
    assert end(32) is None
    assert end(8, 1.0) is None
    assert end(9, 1.0) is not None
    least = np.exp(OTHERS + 0.3) / 4
    assert end(100, least * (1 + 1e-7)) is not None
    assert end(100, least * (1 - 1e-7)) is None
    assert end(128, least / 2) is not None


def test_bounds_on_logits_are_bounds_on_distances_with_their_round_off():
    """With so many units that it shows: squares are off by γ_{d+8} of themselves."""
    d = 10**6
    zeros, g = np.zeros((1, d)), gamma(d + 8, float)
    states = States(zeros, np.array([2.0]), zeros, np.array([6.0]))

    def bounds(log_tail, log_max, unweighted, states=states, off=0.0):
        every = (np.array([part]) for part in (off, log_tail, log_max, unweighted))
        return as_candidates(states, *every, np.ones(1, bool), np.zeros(2, int), np.array([7, 3]))[0]

    found = bounds(-3.0, -5.0, -8.0)
    np.testing.assert_allclose([found.log_tail_mass, found.log_tail_max], np.array([-7.5, -9.5]) + 9 * g, rtol=1e-13)
    away = 36 + 8 * 8.0
    np.testing.assert_allclose(found.excluded_distance, np.sqrt(away - g * 2 * (away + 36)), rtol=1e-13)
    np.testing.assert_array_equal(found.indices, [7, 3])
    np.testing.assert_allclose(bounds(0, 0, -8.5, off=0.5).excluded_distance, found.excluded_distance, rtol=1e-14)
    # A logit larger than all squares allow says nothing, and none at all says that nothing is near.
    assert bounds(0, 0, 5.0).excluded_distance == bounds(0, 0, np.inf).excluded_distance == 0
    none = bounds(-np.inf, -np.inf, -np.inf)
    assert none.log_tail_mass == none.log_tail_max == -np.inf
    np.testing.assert_allclose(none.excluded_distance, FAR, rtol=1e-9)
    # With two units: γ_10, where the square of the state is 10¹² times what is left.
    flat = np.zeros((1, 2))
    close = States(flat, np.ones(1), flat, np.array([2.0**10]))
    np.testing.assert_allclose(close.half_square_error(), gamma(10, float) * 2.0**20, rtol=1e-12)
    near = 2.0**-20 - gamma(10, float) * 2 * (2.0**-20 + 2.0**20)
    found = distance_from_logit(np.array([2.0**19 - 2.0**-21]), close)
    np.testing.assert_allclose(found, np.sqrt(near), rtol=1e-12)
    # A difference of two numbers is rounded as well.
    central = States(zeros[:, :1], np.ones(1), zeros[:, :1], np.zeros(1))
    found = bounds(-1.0, -1.0, -1.0, central)
    np.testing.assert_allclose([found.log_tail_mass + 1, found.log_tail_max + 1], gamma(4, float), rtol=0.1)


def test_what_one_byte_a_unit_blurs_is_attained(rng, monkeypatch):
    """A state in the direction of what int8 rounded away from the pattern that suffers most."""
    n, d = 1500, 16
    patterns = rng.normal(size=(n, d)).astype(np.float32)
    held = placed(patterns, **SMALL)
    lost = patterns - np.concatenate([decoded(block.rows, d) for block in held.quantized.blocks]).astype(float)
    worst = lost[np.linalg.norm(lost, axis=1).argmax()]
    x = held.statistics.centre + 3 * worst[None] / np.linalg.norm(worst)
    states = States.of(held, np.repeat(x, 4, axis=0), np.full(4, 0.4))
    seen = []

    class Recorded(candidate_screening._Screening):
        def candidates(self, tail, terms):
            seen.extend((self.off, terms))
            return super().candidates(tail, terms)

    monkeypatch.setattr(candidate_screening, "_Screening", Recorded)
    screen(held, states, TAIL, n)
    blurred = seen[0] - states.logit_error(held, np.float32)
    moved = np.abs(lost @ states.moved[0]).max() / 0.4**2
    assert (moved <= blurred).all()
    assert (blurred <= 1.001 * moved).all()
    assert seen[1] == held.terms(4)


def test_the_tail_that_a_tolerance_allows():
    held = described(np.zeros((2, 1)), radius=4.0)
    np.testing.assert_allclose(allowed_tail(held, 1e-3), held.options.tail_fraction * 1e-3 / 4)
    assert allowed_tail(held, 1e3) == held.options.most_tail


def test_what_the_first_patterns_tell_of_all(rng):
    """Of normal logits with this mean and deviation; never less than what was seen."""
    sample = LogitSample(*map(np.array, ([0.0] * 3, [2.0, 50.0, -np.inf], [1.0, 1.0, np.nan], [3.0] * 3, [0.0] * 3)))
    np.testing.assert_allclose(sample.best(1000), [1 + 3 * 3.090232, 50, LOWEST], rtol=1e-6)
    np.testing.assert_allclose(sample.only(np.array([0])).above(np.array([4.0])), 0.1586553, rtol=1e-6)
    patterns = rng.normal(size=(1500, 16)).astype(np.float32)
    held = placed(patterns, log_weights=np.where(np.arange(1500) % 5, 0, -np.inf), sample_depth=3.0, **SMALL)
    states = States.of(held, patterns[:3] + 1.0, np.array([1.0, 2.0, 5.0]))
    found = sample_logits(held, states)
    first = patterns[: next(held.blocks()).rows.codes.shape[0]].astype(float)
    logits = states.beta[:, None] * (states.x @ first.T - np.sum(first**2, axis=1) / 2) - np.log(1200)
    logits = logits[:, np.arange(len(first)) % 5 > 0]
    near = np.mean(logits > logits.max(axis=1, keepdims=True) - 3, axis=1)
    expected = np.logaddexp.reduce(logits, axis=1), logits.max(axis=1), logits.mean(axis=1), logits.std(axis=1), near
    np.testing.assert_allclose(jax.tree.leaves(found), expected, rtol=1e-5, atol=1e-5)
