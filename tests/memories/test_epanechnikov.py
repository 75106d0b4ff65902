"""Exact recall in one step, and all minima against an enumeration of all subsets."""

import itertools

import numpy as np
import pytest

from dispersed import EpanechnikovHopfield, InputError, recall
from dispersed.memories.hopfield_epanechnikov import sets_by_boxes, sets_by_patterns


def squared_distances(y):
    return ((y[:, None] - y) ** 2).sum(axis=2)


def enumerated(y, square):
    """Every subset of patterns that is what lies within r of its centroid."""
    found = set()
    for count in range(1, len(y) + 1):
        for subset in itertools.combinations(range(len(y)), count):
            centre = y[list(subset)].mean(axis=0)
            if tuple(np.flatnonzero(((y - centre) ** 2).sum(axis=1) < square)) == subset:
                found.add(subset)
    return found


def least_distance(y):
    return np.sqrt((squared_distances(y) + np.diag(np.full(len(y), np.inf))).min())


def total(x, y, beta):
    """S(x), in double precision."""
    return np.maximum(1 - float(beta) * ((x[:, None] - y) ** 2).sum(axis=2) / 2, 0).sum(axis=1)


def rows(members):
    return {tuple(np.flatnonzero(row)) for row in members}


@pytest.mark.parametrize("d", [1, 2, 3, 8, 32])
def test_all_minima_are_found(rng, d):
    """Both searches, at radii from one that separates the patterns to one that joins them."""
    for n in (1, 2, 5, 9):
        y = rng.random((n, d))
        typical = np.sqrt(squared_distances(y).max())
        for fraction in (0.2, 0.5, 0.7, 0.8, 1.1):
            square = (fraction * typical + 1e-3) ** 2
            expected = enumerated(y, square)
            by_patterns = sets_by_patterns(y, np.ones(n), square, 1 << 20)
            assert rows(by_patterns) == expected
            assert len(by_patterns) == len(expected)
            if d <= 3:
                assert rows(sets_by_boxes(y, np.ones(n), square, 1 << 20)) == expected


@pytest.mark.parametrize(("n", "d"), [(5, 8), (15, 8), (25, 8), (5, 32), (15, 32)])
def test_minima_are_confirmed_by_descent(n, d):
    """Of random sets: recall from near each minimum ends there, nowhere else, and its energy is the lowest around."""
    rng = np.random.default_rng(n * d)
    y = rng.random((n, d)).astype(np.float32)
    network = EpanechnikovHopfield(y, 2 / (0.95 * least_distance(y)) ** 2)
    minima = network.minima()
    assert minima.stored.sum() == n
    assert {tuple(np.flatnonzero(row)) for row in minima.members[minima.stored]} == {(j,) for j in range(n)}
    kept = slice(0, 400)
    x = minima.x[kept].astype(np.float32)
    near = x + 1e-5 * rng.standard_normal(x.shape).astype(np.float32)
    result = recall(network, near)
    np.testing.assert_allclose(result.x, x, atol=2e-6)
    assert result.converged.all()
    away = np.sqrt(((minima.x[kept, None] - y) ** 2).sum(axis=2))
    gap = np.abs(away - np.sqrt(2 / float(network.beta))).min(axis=1)  # to the next sphere
    step = rng.standard_normal(x.shape)
    around = minima.x[kept] + 0.9 * gap[:, None] * step / np.linalg.norm(step, axis=1, keepdims=True)
    assert (total(around, y, network.beta) < total(minima.x[kept], y, network.beta)).all()
    starts = rng.random((500, d)).astype(np.float32)
    ends = recall(network, starts)
    reached = np.asarray(ends.x)[np.isfinite(network.energy(starts)) & (network.energy(starts) < 1e30)]
    assert (np.abs(reached[:, None] - minima.x).max(axis=2).min(axis=1) < 1e-5).all()


def test_one_step_recalls_all_within_delta_exactly():
    """A thousand random sets: β = 2/(ρ − Δ)², states at a distance of just Δ in random directions."""
    rng = np.random.default_rng(1)
    sets = rng.random((1000, 8, 16)).astype(np.float32)
    for y in sets:
        rho = least_distance(y.astype(float))
        delta = 0.45 * rho
        away = rng.standard_normal(y.shape)
        x = y + delta * 0.999 * away / np.linalg.norm(away, axis=1, keepdims=True)
        np.testing.assert_array_equal(EpanechnikovHopfield(y, 2 / (rho - delta) ** 2).update(x), y)


@pytest.mark.parametrize("radius", [0.3, 0.7, 1.3, 2.9, 5.2])
def test_minima_of_a_grid_follow_from_spacing_and_radius(radius):
    """Runs of k points whose ball holds k of the grid: (k − 1)/2 < r < (k + 1)/2, or all points."""
    n = 15
    minima = EpanechnikovHopfield(np.arange(n, dtype=float)[:, None], 2 / radius**2).minima()
    k = int(2 * radius)
    assert len(minima.x) == sum(n - size + 1 for size in (k, k + 1) if size >= 1)
    odd = [size for size in (k, k + 1) if size % 2 == 1]
    assert minima.stored.sum() == sum(n - size + 1 for size in odd)


def test_repeated_patterns_weigh_their_minima_and_offsets_and_units_do_not_matter(rng):
    y = rng.integers(0, 64, (4, 2)) / 64.0
    repeated = np.concatenate([y, y[:1], y[:1]])
    for scale, offset in ((1.0, 0.0), (2.0**40, 0.0), (2.0**-40, 0.0), (1.0, 1024.0)):
        network = EpanechnikovHopfield(scale * repeated + offset, 2 / (0.8 * scale) ** 2)
        minima = network.minima()
        assert rows(minima.members) == enumerated(repeated, 0.64)
        expected = [repeated[row].mean(axis=0) for row in minima.members]
        np.testing.assert_allclose(minima.x, scale * np.array(expected) + offset, rtol=1e-12)


def test_states_without_a_pattern_in_reach():
    network = EpanechnikovHopfield([[0.0, 0.0], [1.0, 0.0]], 2 / 0.3**2)
    far = recall(network, [[5.0, 5.0], [0.1, 0.0]])
    np.testing.assert_array_equal(far.x, [[5.0, 5.0], [0.0, 0.0]])
    assert far.converged.tolist() == [False, True]
    assert np.isfinite(network.energy([5.0, 5.0]))
    np.testing.assert_array_equal(network.responsibilities([5.0, 5.0]), [0, 0])
    known = recall(network, [0.9, 0.0], known=[False, True])
    np.testing.assert_array_equal(known.x, [0.0, 0.0])


def test_a_pattern_at_the_radius_makes_no_minimum():
    """Towards it the energy falls, so that what is stored next to it is no attractor."""
    for scale in (1.0, 4.0):
        network = EpanechnikovHopfield(scale * np.array([[0.0], [1.0]]), 2 / scale**2)
        np.testing.assert_allclose(network.minima().x, [[scale / 2]])
        result = recall(network, [[0.0], [scale / 8]])
        np.testing.assert_allclose(result.x, [[0], [scale / 2]])
        assert result.converged.tolist() == [False, True]


def test_the_closest_pattern_of_a_state_far_away():
    far = np.array([[1e8], [1e10], [1e25], [3e38], [-3e38]])
    network = EpanechnikovHopfield([[-1.0], [1.0]], 2.0)
    np.testing.assert_array_equal(network.nearest(far)[0], [1, 1, 1, 1, 0])


def test_too_many_minima_get_one_line():
    with pytest.raises(InputError, match="limit"):
        EpanechnikovHopfield(np.eye(16), 2 / 1.01).minima(limit=1000)
