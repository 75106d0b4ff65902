"""The certified posterior against extended precision: right, and as right as it says."""

import equinox as eqx
import numpy as np
import pytest
from benchmarks import references

from dispersed.engines import stacked_shortlists
from dispersed.engines.bitmask import chunk_starts, selected_tiles
from dispersed.engines.candidate_screening import States, sample_logits, screen_states
from dispersed.engines.certified_posterior import posterior
from dispersed.engines.differences import sum_by_differences
from dispersed.engines.full_scan import full_scan, weigh_candidates
from dispersed.engines.ladder import DIFFERENCES, DOUBLE, SCREENING, SINGLE, climb
from dispersed.engines.online_softmax import EncodedRows, SoftmaxSums, block_sums, empty_sums, merge
from dispersed.engines.options import TILE
from dispersed.engines.roundoff import mean_error
from dispersed.storage import Bits, Float16, Float32, InMemory, Int8, open_patterns, save_patterns
from dispersed.validation import InputError
from tests.engines.oracle import exact, families, placed

N, D, CUES = 600, 5, 30
"""Patterns, units and cues wherever any will do, so that programs are shared."""


def with_log(weights):
    with np.errstate(divide="ignore"):
        return np.log(weights / weights.sum())


def cues(rng, patterns, sigma):
    """Near patterns, between them, and far away."""
    chosen = patterns[rng.integers(len(patterns), size=CUES)]
    x = chosen + sigma[:, None] * rng.normal(size=chosen.shape)
    x[::5] = (chosen[::5] + patterns[rng.integers(len(patterns), size=len(x[::5]))]) / 2
    x[1::9] *= 30
    return x


def test_no_certificate_is_ever_exceeded_and_none_says_nothing(rng):
    """Of every kind of pattern set and noise from 1e-4 to 1e3; `python -m benchmarks.certificates` has many more."""
    ratios, pruned = [], 0
    for name, patterns, weights in families(rng, N, D):
        held = placed(patterns, weights)
        spread = np.where(np.arange(CUES) % 2, rng.uniform(-4, 3, size=CUES), rng.uniform(-1.2, -0.3, size=CUES))
        sigma = 10**spread * np.median(np.abs(patterns))
        x = cues(rng, patterns, sigma)
        found = posterior(held, x, sigma, 1e-4 * held.radius, 8)
        for i in range(CUES):
            log_mass, mean, p = exact(patterns, with_log(weights), x[i], sigma[i])
            error = float(np.sqrt(((found.mean[i] - mean) ** 2).sum()))
            # The oracle itself is off by this much.
            own = 1e-17 * np.abs(patterns).max() * (1 + abs(float(log_mass)))
            assert error <= found.bound[i] + own, (name, sigma[i], found.path[i])
            np.testing.assert_allclose(found.log_normaliser[i], float(log_mass), rtol=1e-9, atol=1e-4)
            # What was excluded may weigh as much as moves the mean by the tolerance.
            named = found.index[i][found.index[i] >= 0]
            np.testing.assert_allclose(found.responsibilities[i, : len(named)], p[named].astype(float), atol=1e-4)
            assert found.responsibilities[i, 0] >= p.max() - 1e-4
            if found.path[i] == "pruned":
                pruned += 1
                if error > 1e4 * own:
                    ratios.append(found.bound[i] / error)
    assert pruned > 150
    assert len(ratios) > 10
    assert np.median(ratios) < 100


@pytest.mark.parametrize("encoding", [Float32(), Float16(), Int8(), Bits()])
def test_every_encoding_and_kind_of_storage_is_the_memory_of_its_decoded_patterns(rng, tmp_path, encoding):
    patterns = np.sign(rng.normal(size=(N, D)))
    if encoding.name != "bits":
        patterns = patterns * rng.uniform(0.5, 2, size=(N, D))
    held = InMemory(patterns.astype(np.float32), encoding)
    path = tmp_path / "patterns.safetensors"
    save_patterns(path, patterns.astype(np.float32), encoding)
    decoded = held.rows(np.arange(N))
    sigma = np.array([0.05, 0.5, 5.0])
    x = decoded[:3] + sigma[:, None] * rng.normal(size=(3, D))
    for storage in (held, open_patterns(path)):
        found = posterior(placed(storage), x, sigma, 1e-4, 8)
        for i in range(3):
            log_mass, mean, _ = exact(decoded, np.full(N, -np.log(N)), x[i], sigma[i])
            assert np.linalg.norm(found.mean[i] - mean.astype(float)) <= found.bound[i] <= 1e-4
            np.testing.assert_allclose(found.log_normaliser[i], float(log_mass), atol=1e-5)


@pytest.mark.parametrize("scale", [1e-36, 1e-30, 1e-19, 1e-8, 1e8, 2e18, 1e30, 3e37])
def test_any_unit_will_do(rng, scale):
    """Squares of these numbers underflow or overflow single precision, and of some of them double precision."""
    patterns = (scale * rng.normal(size=(N, D))).astype(np.float32)
    sigma = scale * np.array([1e-3, 0.1, 0.5, 3.0, 100.0])
    x = patterns[:5] + sigma[:, None] * rng.normal(size=(5, D))
    for by_differences in (256, 2):
        held = placed(patterns, small_set=1, by_differences=by_differences)
        np.testing.assert_allclose(held.spread, np.sqrt(D) * scale, rtol=0.1)
        np.testing.assert_allclose(held.mean, patterns.astype(float).mean(axis=0), atol=1e-6 * scale + 1e-38)
        found = posterior(held, x, sigma, 1e-6 * scale, 3)
        for i in range(5):
            y = patterns.astype(np.longdouble) / np.longdouble(scale)
            log_mass, mean, p = exact(y, np.full(N, -np.log(N)), x[i] / scale, sigma[i] / scale)
            error = np.linalg.norm((found.mean[i] / scale - mean).astype(float))
            assert error <= found.bound[i] / scale + 1e-17 <= 1e-6 + 1e-17
            assert found.index[i, 0] == p.argmax()
            np.testing.assert_allclose(found.log_normaliser[i], float(log_mass), rtol=1e-5, atol=1e-5)


def test_entries_that_are_flushed_to_zero_are_part_of_the_bound(rng):
    """Subnormal numbers, of which a compiled program may read zeros."""
    patterns = (1e-39 * rng.normal(size=(N, D))).astype(np.float32)
    x = patterns[:6].astype(float)
    found = posterior(placed(patterns, by_differences=2), x, np.full(6, 2e-40), 1e-43, 1)
    np.testing.assert_array_equal(found.index[:, 0], np.arange(6))
    for i in range(6):
        y = patterns.astype(np.longdouble) * np.longdouble(1e39)
        _, mean, _ = exact(y, np.zeros(N), x[i] * 1e39, 0.2)
        assert np.linalg.norm((found.mean[i] * 1e39 - mean).astype(float)) <= found.bound[i] * 1e39


def test_far_from_the_origin_the_likeliest_pattern_is_the_likeliest(rng):
    y = (3000 + rng.normal(size=(5000, 5))).astype(np.float32)
    x = y[:200] + rng.normal(size=(200, 5))
    distance = np.sum((x[:, None] - y.astype(float)) ** 2, axis=2)
    for tol in (1e-2, 10.0, 1e6):
        found = posterior(placed(y), x, np.ones(200), tol, 3)
        np.testing.assert_array_equal(found.index[:, 0], distance.argmin(axis=1))
        assert (found.responsibilities <= 1).all()


@pytest.mark.parametrize("by_differences", [256, 2])
def test_weights_of_any_range(rng, by_differences):
    y = rng.normal(size=(N, D)).astype(np.float32)
    x, sigma = y[:20] + rng.normal(size=(20, D)), np.full(20, 0.5)
    for log_w in (rng.uniform(-700, 0, N), rng.uniform(-1e5, 0, N), np.where(np.arange(N) % 2, 0, -1e300)):
        found = posterior(placed(y, log_weights=log_w, by_differences=by_differences), x, sigma, 1e-6, 1)
        exact_logits = log_w - np.sum((x[:, None] - y.astype(float)) ** 2, axis=2) / (2 * 0.25)
        np.testing.assert_array_equal(found.index[:, 0], exact_logits.argmax(axis=1))
        assert np.isfinite(found.mean).all()


def test_duplicates_without_weight_are_never_named(rng):
    y = np.repeat(rng.normal(size=(N // 2, D)), 2, axis=0).astype(np.float32)
    weights = np.tile([0.0, 1.0], N // 2)
    for by_differences in (256, 2):
        found = posterior(placed(y, weights, by_differences=by_differences), y[:100:2], np.full(50, 0.3), 1e-6, 5)
        assert (found.index[found.index >= 0] % 2 == 1).all()


def test_a_tolerance_is_met_or_known_not_to_be(rng):
    patterns = rng.normal(size=(N, D)).astype(np.float32)
    held = placed(patterns)
    x, sigma = patterns[:8] + 0.3 * rng.normal(size=(8, D)), np.full(8, 0.3)
    for tol in (1e-1, 1e-3, 1e-9):
        assert (posterior(held, x, sigma, tol, 8).bound <= tol).all()
    assert not (posterior(held, x, sigma, 1e-17, 8).bound <= 1e-17).any()
    loose, tight = (posterior(held, x, np.ones(8), tol, 8) for tol in (0.3, 1e-10))
    assert (tight.path == "scan").all()
    assert (loose.patterns_weighed <= tight.patterns_weighed).all()
    np.testing.assert_allclose(loose.mean, tight.mean, atol=0.3)


@pytest.mark.parametrize("weighted", [False, True])
def test_every_rung_of_the_ladder_holds_its_bound_and_finds_the_same(rng, weighted):
    n = 900
    y = rng.normal(size=(n, 5)).astype(np.float32)
    log_w = rng.normal(scale=2, size=n) if weighted else np.zeros(n)
    held = placed(y, log_weights=log_w if weighted else None, small_set=1, by_differences=8, block_patterns=256)
    log_w = log_w - np.logaddexp.reduce(log_w) if weighted else log_w
    sigma = 10 ** rng.uniform(-1.5, 1, 40)
    x = y[:40] + sigma[:, None] * rng.normal(size=(40, 5))
    seen = set()
    for first in (SCREENING, SINGLE, DOUBLE, DIFFERENCES):
        answers = climb(held, x, sigma, 1e-3, 4, first)
        assert answers.certain.all()
        assert (answers.rung >= first).all()
        seen |= set(answers.rung.tolist())
        for i in range(40):
            log_mass, mean, p = exact(y, log_w, x[i], sigma[i])
            assert np.linalg.norm((answers.mean[i] - mean).astype(float)) <= answers.bound[i] + 1e-16
            assert answers.bound[i] <= 1e-3
            np.testing.assert_allclose(answers.log_mass[i], float(log_mass), rtol=1e-4, atol=1e-4)
            assert answers.indices[i, 0] == p.argmax()
            there = answers.indices[i] >= 0
            np.testing.assert_allclose(
                answers.responsibilities[i][there], p[answers.indices[i][there]].astype(float), atol=1e-3
            )
            entropy = -np.sum(np.where(p > 0, p * np.log(np.maximum(p, 1e-300)), 0))
            np.testing.assert_allclose(answers.entropy[i], float(entropy), atol=1e-2)
    assert seen == {SCREENING, SINGLE, DOUBLE, DIFFERENCES}


def test_the_last_rung_needs_no_start_and_no_product(rng):
    """States so far away that squares have no digits left, and patterns that differ in the last one."""
    y = (1e4 + rng.normal(size=(50, 3))).astype(np.float32)
    held = placed(y)
    x = 1e4 + np.array([[1e9, 0, 0], [0, -1e12, 1e3], [0.1, 0.2, 0.3]])
    sigma = np.array([1e4, 1e6, 1e-3])
    found = sum_by_differences(held, *held.internal(x, sigma), 3)
    for i in range(3):
        mean, logits, floor = references.by_differences(
            y.astype(np.longdouble), np.zeros(50), x[i].astype(np.longdouble), sigma[i]
        )
        assert found.indices[i, 0] == logits.argmax()
        assert np.linalg.norm((found.mean[i] - mean).astype(float)) <= found.bound[i] + floor
        assert found.bound[i] < 1e-4
        p = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(found.responsibilities[i], -np.sort(-p.astype(float))[:3], atol=1e-5)


def test_the_first_index_is_uncertain_where_what_was_excluded_may_be_likelier(rng):
    """A tolerance as large as the set allows any mean; the likeliest pattern is found all the same."""
    y = rng.normal(size=(3000, 4)).astype(np.float32)
    x = y[:50] + 0.3 * rng.normal(size=(50, 4))
    nearest = np.sum((x[:, None] - y.astype(float)) ** 2, axis=2).argmin(axis=1)
    for options in ({}, {"small_set": 1}, {"by_differences": 1}, {"spare_tiles": 1}):
        found = posterior(placed(y, **options), x, np.full(50, 0.3), 1e9, 1)
        np.testing.assert_array_equal(found.index[:, 0], nearest)


def test_ties_beyond_the_tiles_that_are_examined_go_down_the_ladder(rng):
    """A thousand equal patterns: none of them can be ruled out, and any of them will do."""
    y = np.concatenate([np.ones((1000, 3)), rng.normal(size=(200, 3))]).astype(np.float32)
    found = posterior(placed(y, by_differences=2), np.ones((3, 3)) + 0.01, np.full(3, 2.0), 1e-6, 2)
    assert (found.index[:, 0] < 1000).all()
    assert (found.index[:, 0] >= 0).all()


def test_entropy_counts_the_patterns_that_a_state_stands_for(rng):
    patterns = np.repeat(10 * np.eye(4, dtype=np.float32), 5, axis=0)
    found = posterior(placed(patterns), 10 * np.eye(4), np.full(4, 0.5), 1e-4, 8)
    np.testing.assert_allclose(found.effective_patterns, 5, rtol=1e-9)
    far = posterior(placed(patterns), np.zeros((1, 4)), np.array([1e4]), 1e-4, 8)
    np.testing.assert_allclose(far.effective_patterns, 20, rtol=1e-6)


def test_results_do_not_depend_on_the_size_of_blocks(rng):
    patterns = rng.normal(size=(N, D)).astype(np.float32)
    x, sigma = rng.normal(size=(12, D)), 10 ** rng.uniform(-1, 1, size=12)
    whole = posterior(placed(patterns), x, sigma, 1e-4, 8)
    blocks = placed(patterns, block_patterns=64, chunk_patterns=32)
    assert len(list(blocks.blocks())) == 10
    parts = posterior(blocks, x, sigma, 1e-4, 8)
    np.testing.assert_allclose(parts.mean, whole.mean, atol=1e-4)
    np.testing.assert_array_equal(parts.index[:, 0], whole.index[:, 0])
    np.testing.assert_allclose(parts.log_normaliser, whole.log_normaliser, atol=1e-5)


def test_sums_are_a_monoid(x64, rng):
    patterns, x = rng.normal(size=(96, D)), rng.normal(size=(3, D))
    beta, none = np.full(3, 2.0), empty_sums(3, D, x.dtype, np)
    summed, joined = eqx.filter_jit(block_sums), eqx.filter_jit(merge)

    def part(low, high):
        rows = EncodedRows(patterns[low:high], None, None, None, None, np.zeros(()), np.asarray(high - low), Float32())
        return summed(rows, x, beta)

    a, b, c = part(0, 32), part(32, 64), part(64, 96)
    whole = part(0, 96)
    last = joined(joined(c, a), joined(none, b))
    for one in (joined(joined(a, b), c), joined(a, joined(b, c)), joined(none, last)):
        for name in ("log_sum", "mean", "entropy"):
            np.testing.assert_allclose(getattr(one, name), getattr(whole, name), rtol=1e-12)
    assert isinstance(joined(none, none), SoftmaxSums)
    np.testing.assert_array_equal(joined(none, none).mass, 0)
    empty = empty_sums(2, 3, float, np)
    empty.mass[0] = 1
    assert empty.weighted_logits[0] == 0


def scan(held, x, sigma, dtype):
    states = States.of(held, x, sigma)
    return states, full_scan(held, states, dtype, sample_logits(held, states))


def test_sums_in_single_precision_keep_their_bound(rng):
    patterns = rng.normal(size=(N, D)).astype(np.float32)
    x, sigma = patterns[:20] + 0.5 * rng.normal(size=(20, D)), np.full(20, 0.5)
    single, double = (scan(placed(patterns), x, sigma, dtype)[1] for dtype in (np.float32, np.float64))
    off = np.linalg.norm(single.mean - double.mean, axis=1)
    assert (off <= single.bound).all()
    assert off.max() > 100 * double.bound.max()


@pytest.mark.parametrize("weighted", [False, True])
def test_what_a_sum_weighs_apart_leaves_little_and_says_how_much(rng, weighted):
    """Few patterns carry nearly all: single precision certifies four digits more than its logits have."""
    n, d, sigma = 20_000, 32, 0.7
    patterns = rng.choice(np.float32([-1, 1]), (n, d))
    log_w = rng.normal(size=n) if weighted else np.zeros(n)
    log_w -= np.log(np.exp(log_w).sum())
    held = placed(patterns, log_weights=log_w if weighted else None)
    x, levels = patterns[:8] + sigma * rng.normal(size=(8, d)), np.full(8, sigma)
    states, total = scan(held, x, levels, np.float32)
    whole = mean_error(states.logit_error(held, np.float32), 1, np.float32, 6, 6)
    better = 0
    for i in range(8):
        log_mass, mean, _ = exact(patterns, log_w, x[i], sigma)
        assert np.linalg.norm(total.mean[i] - mean) <= total.bound[i]
        here = total.log_sum[i] - states.half_square[i] - (0 if weighted else np.log(n))
        np.testing.assert_allclose(here, float(log_mass), rtol=1e-5)
        better += total.bound[i] < whole[i] / 100
        one = total.candidates[i]
        if one is None:
            continue
        out = np.setdiff1d(np.arange(n), one.indices)
        distance = np.linalg.norm(patterns[out] - x[i], axis=1)
        logits = (log_w if weighted else np.zeros(n))[out] - distance**2 / (2 * sigma**2)
        assert np.logaddexp.reduce(logits) <= one.log_tail_mass < np.logaddexp.reduce(logits) + 0.1
        assert logits.max() <= one.log_tail_max
        assert 0.5 * distance.min() < one.excluded_distance <= distance.min()
        # What is left of a sum is also a shortlist.
        again = weigh_candidates(held, states.only(np.array([i])), total.candidates[np.array([i])])
        assert np.linalg.norm(again.mean[0] - mean.astype(float)) <= again.bound[0]
    assert better >= 4


def test_what_underflows_is_not_taken_for_nothing(rng):
    """Far below the leading pattern what was excluded is still bounded: it may matter elsewhere."""
    n, d = 400, 16
    patterns = rng.normal(size=(n, d)).astype(np.float32)
    log_w = np.log(rng.gamma(0.3, size=n) + 1e-30)
    held = placed(patterns, log_weights=log_w)
    log_w -= np.logaddexp.reduce(log_w)
    sigma = 10 ** rng.uniform(-2, -0.5, size=30)
    x = patterns[:30] + sigma[:, None] * rng.normal(size=(30, d))
    states, total = scan(held, x, sigma, np.float32)
    for found in (screen_states(held, states, 1e-6)[0], total.candidates):
        assert sum(one is not None for one in found) > 20
        for i, one in enumerate(found):
            if one is not None:
                out = np.setdiff1d(np.arange(n), one.indices)
                distance = np.linalg.norm(patterns[out] - x[i], axis=1)
                assert np.logaddexp.reduce(log_w[out] - distance**2 / (2 * sigma[i] ** 2)) <= one.log_tail_mass
                assert one.excluded_distance <= distance.min()


def test_weights_off_by_any_factor_are_no_weights(rng):
    """Low noise beside wide patterns: single precision cannot tell them apart, and says so."""
    patterns = rng.normal(size=(N, D)).astype(np.float32)
    _, total = scan(placed(patterns), patterns[:9] + rng.normal(size=(9, D)), np.full(9, 1e-4), np.float32)
    assert np.isinf(total.bound).all()
    assert all(one is None or one.log_tail_mass == np.inf for one in total.candidates)


def test_bits_are_read_as_they_were_made(rng):
    """One bit a pattern; states that only fill the batch up are left out."""
    marked = rng.random((3, 4, 2, TILE)) < 0.05
    bits = (marked * (np.uint32(1) << np.arange(TILE, dtype=np.uint32))).sum(axis=3, dtype=np.uint32)
    found, where = selected_tiles(bits, 3, chunk_starts(1000, bits))
    np.testing.assert_array_equal(bits[where], found.bits)
    np.testing.assert_array_equal(found.counts, marked[where].sum(axis=1))
    state, index = found.patterns()
    chunk, owner, tile, bit = np.nonzero(marked[:, :3])
    expected = set(zip(owner.tolist(), (1000 + (chunk * 2 + tile) * TILE + bit).tolist(), strict=True))
    assert set(zip(state.tolist(), index.tolist(), strict=True)) == expected


def test_bad_input_is_named(rng, tmp_path):
    held = placed(rng.normal(size=(N, D)))
    for x, sigma, said in (
        (np.full(D, np.nan), 1.0, "x: got an entry of nan"),
        (np.full(D, np.inf), 1.0, "x: got an entry of inf"),
        (np.full(D, 1e90), 1.0, "x: got an entry of 1e"),
        (np.zeros(D), 0.0, "sigma: got 0;"),
        (np.zeros(D), -1.0, "sigma: got -1;"),
        (np.zeros(D), np.nan, "sigma: got nan"),
        (np.zeros(D), 1e200, "sigma: got 1e"),
    ):
        with pytest.raises(InputError, match=said):
            posterior(held, x[None], np.array([sigma]), 1e-4, 1)
    patterns = rng.normal(size=(20, D)).astype(np.float32)
    patterns[13, 2] = np.nan
    np.save(tmp_path / "patterns.npy", patterns)
    with pytest.raises(InputError, match=r"entry \(13, 2\) is NaN or infinite in .*patterns.npy"):
        placed(open_patterns(tmp_path / "patterns.npy"), block_patterns=32)


def test_states_far_beyond_single_precision_are_served(rng):
    patterns = rng.normal(size=(N, D)).astype(np.float32)
    x = np.array([1e40] + [0.0] * (D - 1))[None]
    found = posterior(placed(patterns), x, np.array([1e20]), 1e-4, 1)
    assert found.index[0, 0] == patterns[:, 0].argmax()
    assert found.bound[0] < 1e-11


def test_round_up_gives_few_sizes():
    assert stacked_shortlists.round_up(np.array([1, 16, 17, 64, 65]), 4, 16).tolist() == [16, 16, 64, 64, 256]
