"""Exact neighbours against all differences in double precision."""

import numpy as np
import pytest

from dispersed.auditing import neighbours
from dispersed.auditing.neighbours import Points, points
from dispersed.storage import InMemory, PatternStore
from dispersed.validation import InputError


def oracle(y, x, k):
    gap = np.asarray(x, float)[:, None] - np.asarray(y, float)
    largest = np.abs(gap).max()
    distance = largest * np.sqrt(((gap / largest) ** 2).sum(axis=-1))
    order = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distance, order, 1)


@pytest.fixture(params=[(1 << 20, 0), (0, 0), (0, 24)], ids=["every value", "tiles", "tiles in double precision"])
def tiles(request, monkeypatch):
    """All ways, on few points, and in several blocks."""
    monkeypatch.setattr(neighbours, "BLOCK", 500)
    for name, value in zip(("FEW", "DENSE"), request.param, strict=True):
        monkeypatch.setattr(neighbours, name, value)


@pytest.mark.parametrize(("offset", "scale"), [(0, 1), (1e6, 1), (3e9, 1), (0, 1e-40), (0, 1e40), (-7e3, 1e-3)])
def test_neighbours_are_exact_far_from_the_origin_and_in_any_unit(rng, tiles, offset, scale):
    y = rng.standard_normal((1207, 6)) * rng.lognormal(0, 1, (1207, 1))
    x = np.concatenate([y[:9], y[9:18] + 1e-7, rng.standard_normal((20, 6)), 50 * rng.standard_normal((3, 6))])
    y, x = scale * (y + offset), scale * (x + offset)
    index, distance = Points(y, "train").nearest(x, 7)
    expected, how_far = oracle(y, x, 7)
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_allclose(distance, how_far, rtol=1e-12)


def test_near_ties_that_single_precision_cannot_see_are_decided(rng, tiles):
    """Points on a sphere around the state, at radii that differ by 1e-11."""
    y = rng.standard_normal((900, 12))
    y *= (1 + 1e-11 * rng.permutation(900)[:, None]) / np.linalg.norm(y, axis=1, keepdims=True)
    index, _ = Points(y, "train").nearest(np.zeros((1, 12)), 5)
    np.testing.assert_array_equal(index, oracle(y, np.zeros((1, 12)), 5)[0])


def test_duplicates_come_in_order_and_outliers_do_no_harm(rng, tiles):
    y = rng.integers(0, 2, (1100, 5)).astype(np.float32)
    y[700] = 1e30
    x = np.concatenate([y[:4], np.full((1, 5), -1e60)])
    index, distance = Points(y, "train").nearest(x.astype(float), 40)
    expected, how_far = oracle(y, x, 40)
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_allclose(distance, how_far, rtol=1e-12)


def test_equal_points_are_compared_with_all(rng, tiles, monkeypatch):
    y = rng.integers(0, 3, (2300, 2)).astype(float)
    x = np.concatenate([y[:30], y[:5] + 0.2])
    monkeypatch.setattr(neighbours, "_merge", None)  # no state is left for it
    index, distance = Points(y, "train").nearest(x, 3)
    expected, how_far = oracle(y, x, 3)
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_allclose(distance, how_far, rtol=1e-12)


def test_the_nearest_point_beyond_a_radius(rng, tiles):
    y = np.concatenate([np.zeros((700, 3)), rng.standard_normal((600, 3))])
    near, far = Points(y, "train"), np.linalg.norm(y - y[900], axis=1) > 1.5
    states = np.array([3, 900, 1000])
    other = np.where(states[:, None] == np.arange(1300), np.inf, np.linalg.norm(y[states, None] - y, axis=2))
    for own, gap in ((None, np.linalg.norm(y[states, None] - y, axis=2)), (states, other)):
        found = near.nearest_apart(y[states], 900, 1.5, own)
        np.testing.assert_allclose(found, gap[:, far].min(axis=1), rtol=1e-12)
    assert near.nearest_apart(y[:1], 0, 1e3, None) == np.inf


def test_the_nearest_point_that_differs(rng, tiles):
    y = np.concatenate([np.zeros((700, 3)), rng.standard_normal((600, 3))])
    apart = np.linalg.norm(y[[3, 900], None] - y, axis=2)
    found = Points(y, "train").to_nearest_other(y[[3, 900]])
    np.testing.assert_allclose(found, np.where(apart > 0, apart, np.inf).min(axis=1), rtol=1e-12)
    assert (Points(y[:2], "train").to_nearest_other(y[:2]) == np.inf).all()


def test_memory_is_bounded_by_pieces_that_change_nothing(rng, tiles, monkeypatch):
    y, x = rng.standard_normal((1500, 4)), rng.standard_normal((60, 4))
    whole = Points(y, "train").nearest(x, 3)
    monkeypatch.setattr(neighbours, "AT_ONCE", 3000)
    for part, same in zip(Points(y, "train").nearest(x, 3), whole, strict=True):
        np.testing.assert_array_equal(part, same)


def test_all_kinds_of_patterns_are_searched(rng, tmp_path):
    y = rng.standard_normal((50, 4)).astype(np.float32)
    expected = oracle(y, y[:5], 3)[0]
    np.save(tmp_path / "y.npy", y)
    with PatternStore.create(tmp_path / "store", dimension=4) as store:
        store.append(y)
    for source in (y, y.tolist(), InMemory(y), tmp_path / "y.npy", str(tmp_path / "y.npy"), store):
        np.testing.assert_array_equal(points(source, "train").nearest(y[:5], 3)[0], expected)
    assert points(y.astype(np.float16), "train").nearest(y[:5], 50)[0].shape == (5, 50)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (np.zeros((0, 3)), r"train: got shape \(0, 3\)"),
        (np.zeros((2, 3, 3)), r"flatten with train.reshape\(2, -1\)"),
        (np.zeros(3), r"of one unit with train.reshape\(-1, 1\)"),
        ([[1.0, np.nan]], "train: got 1 NaN"),
        ([["a"]], "train: got dtype"),
        ([[1e200]], "train: got entries up to 1e"),
    ],
)
def test_what_cannot_be_searched_is_named(value, line):
    with pytest.raises(InputError, match=line):
        Points(value, "train")


def test_a_file_that_is_not_there_is_named_by_its_argument(tmp_path):
    with pytest.raises(InputError, match=r"samples: .*none\.npy' cannot be read"):
        points(tmp_path / "none.npy", "samples")
