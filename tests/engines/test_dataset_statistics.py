"""Units, centre and extents of all patterns, and what is lost of them."""

import jax.numpy as jnp
import numpy as np
import pytest

from dispersed.engines.dataset_statistics import block_extents, block_moments, with_extents, without_extents
from dispersed.engines.online_softmax import EncodedRows
from dispersed.engines.roundoff import gamma
from dispersed.storage import Float32

TINY = 2.0**-126


@pytest.mark.parametrize(
    ("largest", "exponent"),
    [(0.0, 0), (2.0**15, 0), (2.0**16, -17), (2.0**-17, 0), (2.0**-18, 17), (1e-45, 126), (3e38, -126)],
)
def test_the_largest_entry_is_made_ordinary_without_loss(largest, exponent):
    known = without_extents(4, largest, np.full(9, 8.0), 40.0, 3.0)
    assert (known.exponent, known.factor, known.max_log_weight) == (exponent, 2.0**exponent, 3.0)
    np.testing.assert_allclose(known.mean, 2 * known.factor)
    # An entry may be flushed as it is read, and again in the new unit.
    np.testing.assert_allclose(known.flush, 3 * TINY * (known.factor + 1), rtol=1e-14)
    assert (known.radius, known.spread) == (0, 0)


@pytest.mark.parametrize("unit", [1.0, 2.0**40])
def test_a_mean_is_subtracted_where_it_is_a_sixteenth_of_the_mean_square(unit):
    for square, centred in ((64.1, False), (64.0, False), (63.9, True)):
        known = without_extents(4, unit, np.array([4.0, 0.0]) * unit, square * unit**2, 0.0)
        np.testing.assert_array_equal(known.centre, known.mean if centred else 0)


def test_the_radius_contains_round_off_and_what_was_flushed():
    d = 10**6
    known = without_extents(2, 1.0, np.zeros(d), 1.0, 0.0)._replace(flush=0.5)
    np.testing.assert_allclose(with_extents(known, 2, 9.0, 1.0).radius, 3 * (1 + gamma(d + 8, float)) + 0.5, rtol=1e-15)
    known = known._replace(mean=np.array([3.0, 1.0]), centre=np.array([1.0, 1.0]), flush=0.0)
    assert with_extents(known, 5, 9.0, 40.0).radius == 3 * (1 + gamma(10, float))
    np.testing.assert_allclose(with_extents(known, 5, 9.0, 40.0).spread, 2)
    assert with_extents(known, 5, 9.0, 19.0).spread == 0
    np.testing.assert_allclose(with_extents(known, 5, 1.0, 1e4).spread, 2)


def test_passes_over_a_block_leave_padding_out(x64, rng):
    y = rng.normal(size=(64, 3)).astype(np.float32)
    y[50:] = 1e6
    centre = np.array([1, 2, 3], np.float32)

    def rows(y):
        count, factor = jnp.asarray(50, jnp.int32), np.float32(2)
        return EncodedRows(jnp.asarray(y), None, factor, centre, None, jnp.zeros(()), count, Float32())

    inside = y[:50].astype(float)
    largest, total, square, row, _ = block_moments(rows(y), 3, 16)
    np.testing.assert_allclose(largest, np.abs(inside).max())
    np.testing.assert_allclose(total, inside.sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(square, np.sum(inside**2), rtol=1e-12)
    assert row == -1
    squares = np.sum((2 * inside - centre) ** 2, axis=1)
    largest, total, half = block_extents(rows(y), 3, 16)
    np.testing.assert_allclose([largest, total], [squares.max(), squares.sum()], rtol=1e-12)
    np.testing.assert_allclose(half[:50], squares / 2, rtol=1e-12)
    y[40, 1] = y[63, 0] = np.nan
    for place in ((39, 2), (0, 1)):
        y[place] = -np.inf
        assert tuple(map(int, block_moments(rows(y), 3, 16)[-2:])) == place
