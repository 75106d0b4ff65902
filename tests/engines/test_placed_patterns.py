"""What bounds read of patterns that were placed, and other weights for the same patterns."""

import numpy as np
import pytest

from dispersed.engines.certified_posterior import posterior
from dispersed.engines.options import ScanOptions
from dispersed.engines.placed_patterns import EXTREME, PlacedPatterns
from dispersed.engines.roundoff import gamma, merged_terms
from dispersed.storage import Float16, InMemory, Int8
from dispersed.validation import InputError
from tests.engines.oracle import described, placed

D = 16
SMALL = {"block_patterns": 128, "chunk_patterns": 64, "by_differences": 4}


def test_a_sum_counts_its_terms_its_chunks_and_its_blocks():
    held = described(np.zeros((250, 1)), chunk_patterns=32)
    held.height = 96
    # Every chunk has 32 patterns, each with two roundings before; a block has 3, and there are 3 blocks.
    assert held.terms(1) == merged_terms(34, 3 + 3)


def test_the_error_of_a_copy_in_bytes_contains_its_own_round_off(rng):
    """A sum of squares in single precision, of squares that may have been flushed."""
    g = gamma(D + 8, np.float32)
    patterns = rng.normal(size=(1500, D)).astype(np.float32)
    quantized = placed(patterns, **SMALL).quantized
    codes = [np.asarray(Int8().decode(b.rows.codes, b.rows.scale, D))[: b.rows.count] for b in quantized.blocks]
    error = np.linalg.norm(np.concatenate(codes).astype(float) - patterns, axis=1).max()
    assert error * (1 + 0.6 * g) < quantized.error < error * (1 + 1.4 * g)
    exactly = placed(np.zeros((1500, D)), **SMALL).quantized
    np.testing.assert_allclose(exactly.error, np.sqrt(D * 2.0**-126) * (1 + g), rtol=1e-9)


def test_other_weights_for_the_same_patterns(rng):
    """As if they had been placed with these; also of the copy in bytes, and of all that followed from the old ones."""
    patterns = rng.normal(size=(1500, D)).astype(np.float32)
    patterns[:50] = patterns[0]
    log_w = rng.normal(size=1500)
    log_w[::3] = -np.inf
    log_w -= np.logaddexp.reduce(log_w)
    x, sigma = patterns[:3] + 0.4 * rng.normal(size=(3, D)), np.full(3, 0.4)
    fresh = placed(patterns, log_weights=log_w, **SMALL)
    for held in (placed(patterns, **SMALL), placed(patterns, log_weights=rng.normal(size=1500), **SMALL)):
        assert held.quantized is not None
        before = held.distinct
        again = held.reweighted(log_w)
        assert again.present == fresh.present == 1000
        assert again.statistics.max_log_weight == np.abs(log_w[log_w > -np.inf]).max()
        np.testing.assert_allclose(again.distinct.fraction, fresh.distinct.fraction)
        found, expected = (posterior(one, x, sigma, 1e-4, 4) for one in (again, fresh))
        np.testing.assert_array_equal(found.index, expected.index)
        np.testing.assert_allclose(found.mean, expected.mean, atol=1e-12)
        np.testing.assert_allclose(found.log_normaliser, expected.log_normaliser)
        np.testing.assert_allclose(found.bound, expected.bound)
        assert held.distinct is before


def test_equal_patterns_are_one_with_the_weight_of_all(rng):
    """Patterns 5, 8, 11, … are equal; of these the heaviest stands for all."""
    patterns = rng.normal(size=(300, 3)).astype(np.float32)
    same = np.arange(5, 300, 3)
    patterns[same] = patterns[5]
    patterns[21:23] = patterns[19]
    log_w = rng.normal(size=300)
    log_w[17] = 4.0
    log_w[[30, 31]] = -np.inf
    log_w -= np.logaddexp.reduce(log_w)
    for prior, storage in ((log_w, InMemory(patterns)), (None, InMemory(patterns, Int8()))):
        known = np.full(300, -np.log(300)) if prior is None else prior
        once = PlacedPatterns(storage, prior, None, ScanOptions(by_differences=4)).distinct
        stored = storage.rows(np.arange(300))
        assert len(once.indices) == len(np.unique(stored, axis=0))
        assert (np.diff(once.indices) > 0).all()
        np.testing.assert_array_equal(once.placed.patterns(np.arange(len(once.indices))), stored[once.indices])
        for place, index in enumerate(once.indices):
            equal = np.flatnonzero((stored == stored[index]).all(axis=1))
            assert index == equal[np.argmax(known[equal])]
            mass = np.logaddexp.reduce(known[equal])
            np.testing.assert_allclose(once.placed.prior[place], mass, rtol=1e-12)
            share = np.exp(known[index] - mass) if mass > -np.inf else 1
            np.testing.assert_allclose(once.fraction[place], share, rtol=1e-12)
    few = patterns.copy()
    few[same[32:]] = rng.normal(size=(len(same) - 32, 3))
    assert placed(few, by_differences=4).distinct is None
    assert placed(patterns, by_differences=300).distinct is None


@pytest.mark.parametrize("scale", [1.0, 2.0**60])
def test_units_of_patterns_and_of_what_is_said_of_them(rng, scale):
    patterns = (3 + rng.normal(size=(40, 3))) * scale
    log_w = rng.normal(size=40)
    held = PlacedPatterns(InMemory(patterns.astype(np.float32)), log_w, None)
    y = patterns.astype(np.float32).astype(float)
    factor = held.statistics.factor
    assert (factor == 1) == (scale == 1)
    np.testing.assert_allclose(held.mean, y.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(held.spread, np.sqrt(np.sum((y - y.mean(axis=0)) ** 2, axis=1).mean()), rtol=1e-12)
    np.testing.assert_allclose(held.radius, np.linalg.norm(y - y.mean(axis=0), axis=1).max(), rtol=1e-6)
    some = np.array([[1, 2], [30, 7]])
    np.testing.assert_array_equal(held.internal_patterns(some), y[some] * factor)
    parts = list(held.slices(16))
    assert [start for start, _, _ in parts] == [0, 16, 32]
    np.testing.assert_array_equal(np.concatenate([part for _, part, _ in parts]), y * factor)
    np.testing.assert_array_equal(np.concatenate([part for *_, part in parts]), log_w)
    x, sigma = held.internal(np.array([[EXTREME * 0.99 / factor]]), np.array([1.01 / EXTREME / factor]))
    np.testing.assert_allclose([x[0, 0], sigma[0]], [EXTREME * 0.99, 1.01 / EXTREME])
    for state, level in ((1.01 * EXTREME, 1.0), (1.0, 0.99 / EXTREME), (1.0, 1.01 * EXTREME)):
        with pytest.raises(InputError, match="beside these patterns"):
            held.internal(np.array([[state / factor]]), np.array([level / factor]))


def test_where_it_is_that_an_entry_is_not_finite(rng):
    """In the third of several blocks, of patterns of two bytes a unit."""
    patterns = rng.normal(size=(300, 3)).astype(np.float16)
    patterns[290, 1] = np.inf
    with pytest.raises(InputError, match=r"entry \(290, 1\)"):
        placed(InMemory(patterns, Float16()), block_patterns=128)
