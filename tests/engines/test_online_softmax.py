"""Logits of encoded patterns, and one scan of a block, number by number."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from dispersed.engines.online_softmax import (
    EncodedRows,
    SoftmaxSums,
    batch_size,
    empty_sums,
    merge,
    padded_batch,
    scan_block,
)
from dispersed.storage import Float32


def test_sizes_of_batches_are_few():
    given = [1, 2, 4, 5, 16, 17, 24, 25, 32, 33, 48, 49, 64, 65, 96, 97]
    assert [batch_size(b, 4097) for b in given] == [1, 4, 4, 16, 16, 24, 24, 32, 32, 48, 48, 64, 64, 96, 96, 128]
    assert [batch_size(b, 4096) for b in (16, 17, 64, 65, 257)] == [16, 64, 64, 256, 1024]
    padded = padded_batch(np.arange(10.0).reshape(5, 2), np.float32, 1)
    assert padded.dtype == np.float32
    assert padded.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], *[[0, 1]] * 11]
    assert [len(padded_batch(np.zeros(17), np.float32, n)) for n in (4096, 4097)] == [64, 24]


def test_what_follows_from_sums():
    """Two patterns at 0 and 4 with logits 1 and 3."""
    low = np.exp(-2)
    sums = SoftmaxSums(np.array([3.0]), np.array([1 + low]), np.array([[4.0]]), np.array([-2 * low]))
    p = np.array([low, 1]) / (1 + low)
    np.testing.assert_allclose(sums.log_sum, np.logaddexp(1, 3), rtol=1e-6)
    np.testing.assert_allclose(sums.mean, [[4 * p[1]]], rtol=1e-6)
    np.testing.assert_allclose(sums.entropy, -p @ np.log(p), rtol=1e-6)


def test_sets_that_are_as_good_as_nothing_are_merged():
    """A set without patterns, one whose weights vanish beside the other's, and both."""
    one = empty_sums(1, 1, np.float32, np)
    assert one.max_logit[0] == np.finfo(np.float32).min / 4
    some = dataclasses.replace(one, max_logit=np.float32([2]), mass=np.float32([3]), weighted_logits=np.float32([-1]))
    low = dataclasses.replace(one, mass=np.float32([1e6]), weighted_sum=np.float32([[1e6]]))
    for other in (one, low):
        for found in (merge(some, other, np), merge(other, some, np)):
            assert (found.max_logit[0], found.mass[0], found.weighted_sum[0, 0], found.weighted_logits[0]) == (
                2, 3, 0, -1,
            )  # fmt: skip
    assert merge(one, one, np).mass[0] == 0


@pytest.mark.parametrize("means", [True, False])
def test_a_scan_separates_dominant_patterns_from_the_sums_over_all_others(x64, rng, means):
    """Of 64 rows 55 are patterns and two of them have no weight; the best of the second half makes the bar higher."""
    y, x = rng.normal(size=(64, 3)).astype(np.float32), rng.normal(size=(2, 3))
    y[40] *= 4
    beta, floor, depth = np.array([1.0, 4.0]), np.array([-30.0, 8.0]), np.array([6.0, 12.0])
    log_w = rng.normal(size=64)
    log_w[[3, 41]] = -np.inf
    centre = np.array([0.5, 0.25, -1.0], np.float32)
    inside = 2 * y.astype(float) - centre
    half = np.sum(inside**2, axis=1) / 2
    logits = beta[:, None] * (x @ inside.T - half) + log_w
    logits[:, 55:] = -np.inf
    best = np.maximum(np.maximum.accumulate(logits.reshape(2, 2, 32).max(axis=2), axis=1), floor[:, None])
    dominant = logits >= np.repeat(best - depth[:, None], 32, axis=1)
    assert (dominant.any(axis=1) & (~dominant[:, :55]).any(axis=1)).all()
    # What is known of half the squares is taken as it is.
    for known in (None, jnp.asarray(half)):
        rows = EncodedRows(
            jnp.asarray(y),
            None,
            np.float32(2),
            centre,
            known,
            jnp.asarray(log_w),
            jnp.asarray(55, jnp.int32),
            Float32(),
        )
        if known is not None and not means:
            continue
        found = scan_block(rows, *map(jnp.asarray, (x, beta, floor, depth)), means, 32)
        np.testing.assert_allclose(found.tile_maxima[:, :, 0].T, logits.reshape(2, 2, 32).max(axis=2), rtol=1e-12)
        bits = (dominant.reshape(2, 2, 32) * (1 << np.arange(32))).sum(axis=2)
        np.testing.assert_array_equal(found.bitmask[:, :, 0].T, bits)
        top = logits.max(axis=1)
        fall = np.where(dominant, -np.inf, logits - top[:, None])
        weight = np.exp(fall)
        np.testing.assert_allclose(found.others.max_logit, top, rtol=1e-12)
        np.testing.assert_allclose(found.others.mass, weight.sum(axis=1), rtol=1e-12)
        unweighted = np.where(fall > -np.inf, logits - np.where(log_w > -np.inf, log_w, 0), -np.inf)
        np.testing.assert_allclose(found.max_unweighted, unweighted.max(axis=1), rtol=1e-12)
        if means:
            np.testing.assert_allclose(found.others.weighted_sum, weight @ inside, rtol=1e-11)
            terms = np.where(weight > 0, weight * np.where(weight > 0, fall, 0), 0)
            np.testing.assert_allclose(found.others.weighted_logits, terms.sum(axis=1), rtol=1e-12)
        else:
            assert found.others.weighted_sum.shape == (2, 0)
