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
    States,
    distance_from_logit,
    sample_logits,
    screen,
    screen_states,
    screening_depth,
)
from dispersed.engines.certified_posterior import posterior
from dispersed.engines.online_softmax import scan_block
from dispersed.engines.options import TILE, ScanOptions
from dispersed.storage import Bits, InMemory, Int8, open_patterns, save_patterns
from dispersed.validation import InputError
from tests.engines.oracle import exact, families, placed

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
