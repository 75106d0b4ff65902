"""Attractors over noise levels, beside minima that are counted on a fine grid in double precision."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from dispersed import (
    DenseHopfield,
    EnergyNetwork,
    Entmax,
    GaussianMemory,
    InputError,
    Mixture,
    ModernHopfield,
    PatternMemory,
    Scanned,
    Smoothed,
    UniversalHopfield,
    bifurcations,
)


def minima(y, w, sigma):
    """The number of minima of −log Σ w_j N(x; y_j, σ²) over a line, by differences."""
    x = np.linspace(y.min() - 0.1, y.max() + 0.1, 200_001)
    log_p = np.logaddexp.reduce(np.log(w)[:, None] - (x - y[:, None]) ** 2 / (2 * sigma**2), axis=0)
    return int(((log_p[1:-1] > log_p[:-2]) & (log_p[1:-1] >= log_p[2:])).sum())


def first_split(y, w):
    """The σ below which there is more than one minimum."""
    low, high = 1e-3 * np.ptp(y), 2 * np.ptp(y)
    while high / low > 1 + 1e-4:
        middle = np.sqrt(low * high)
        low, high = (middle, high) if minima(y, w, middle) > 1 else (low, middle)
    return np.sqrt(low * high)


@pytest.mark.parametrize(
    ("unit", "offset"), [(1.0, 0.0), (1e-5, 0.0), (1e5, 0.0), pytest.param(1.0, 100.0, id="far from the origin")]
)
def test_unequal_patterns_split_where_the_grid_says(unit, offset):
    line, w = np.array([-1.0, 1.0, 1.6]), np.array([0.2, 0.5, 0.3])
    direction = np.array([2, -1, 2]) / 3
    memory = PatternMemory(unit * (line[:, None] * direction + offset), w)
    found = bifurcations(memory)
    assert [(s.before, s.after) for s in found.splits] == [(1, 2), (2, 3)]
    assert found.splits[0].sigma / unit == pytest.approx(first_split(line, w), rel=4e-3)
    assert found.splits[1].sigma / unit == pytest.approx(first_split(line[1:], w[1:]), rel=4e-2)
    levels = found.sigma[[0, 20, -1]] / unit
    assert [len(found.attractors[i]) for i in (0, 20, 47)] == [minima(line, w, sigma) for sigma in levels]


@pytest.mark.parametrize("offset", [1e3, 1e4, 1e5])
def test_splits_do_not_depend_on_the_origin_in_single_precision(offset):
    y = (np.array([[-1.0, 0, 0], [1, 0, 0]]) + offset).astype(np.float32)
    levels = np.geomspace(2, 0.1, 48)
    for memory, expected in (
        (PatternMemory(y), 1.0),
        (PatternMemory(y, engine=Scanned()), 1.0),
        (Mixture([GaussianMemory(at, 0.5 * np.eye(3)) for at in y]), np.sqrt(0.75)),
        (lambda sigma: UniversalHopfield(y, "euclidean", Entmax(1.0, 0.5 / sigma**2)), np.sqrt(0.5)),
    ):
        (split,) = bifurcations(memory, levels, y).splits
        assert split == (pytest.approx(expected, rel=1e-3), 1, 2)


def test_duplicates_never_split_and_smoothing_moves_splits():
    y = np.array([[0.8, 0.3], [-0.8, -0.3], [-0.8, -0.3]])
    half = np.hypot(0.8, 0.3)
    even = PatternMemory(y, [0.5, 0.25, 0.25])
    levels = np.geomspace(2, 0.05, 48)
    (split,) = bifurcations(even, levels).splits
    assert split == (pytest.approx(half, rel=3e-3), 1, 2)
    (smoothed,) = bifurcations(Smoothed(even, bandwidth=0.5), levels).splits
    assert smoothed.sigma == pytest.approx(np.sqrt(half**2 - 0.5**2), rel=5e-3)


def test_a_memory_that_lists_no_patterns_needs_starts():
    mixture = Mixture([GaussianMemory(at, 0.3 * np.eye(2)) for at in ([1.0, 0.0], [-1.0, 0.0])])
    with pytest.raises(InputError, match="starts: got none"):
        bifurcations(mixture)
    (split,) = bifurcations(mixture, np.geomspace(2, 0.05, 48), [[1.0, 0.1], [-1.0, 0.1]]).splits
    assert split == (pytest.approx(np.sqrt(1 - 0.3**2), rel=3e-3), 1, 2)


@pytest.mark.parametrize(
    ("memory", "got"),
    [
        (lambda sigma: PatternMemory([[0.0], [1.0]]), "got a function that makes a PatternMemory"),
        (
            lambda sigma: ModernHopfield([[0.0]] * (1 + (sigma > 1)), 1.0),
            "got networks that differ in more than the values",
        ),
    ],
)
def test_networks_are_made_by_a_function_of_the_level(memory, got):
    with pytest.raises(InputError, match=f"memory: {got}"):
        bifurcations(memory, [2.0, 0.5], [[0.0], [1.0]])


@pytest.mark.parametrize(
    ("argument", "settings"),
    [
        ("sigmas", {"sigmas": [1.0]}),
        ("sigmas", {"sigmas": [1.0, 0.0]}),
        ("sigmas", {"sigmas": [np.nan, 1.0]}),
        ("starts", {"starts": [[0.0, 0.0], [0.0, 0.0]]}),
        ("starts", {"starts": [[0.0], [1.0]]}),
        ("starts", {"starts": [0.0, 1.0]}),
    ],
)
def test_bad_arguments_are_named(argument, settings):
    with pytest.raises(InputError, match=f"^{argument}"):
        bifurcations(PatternMemory([[0.0, 0.0], [1.0, 0.0]]), **settings)


def pitchfork(level, x):
    return jnp.sum(x**4) / 4 - (1 - level) * jnp.sum(x**2) / 2


def test_networks_of_functions_differ_by_arrays_alone():
    """What a function closes over is not followed from level to level; those of equal values are one."""
    found = bifurcations(
        lambda sigma: EnergyNetwork(Partial(pitchfork, jnp.asarray(sigma)), 1), [1.5, 0.5], starts=[[-1.0], [1.0]]
    )
    assert found.splits[0].sigma == pytest.approx(1, rel=0.05)
    patterns = np.array([[1.0, 1, -1], [-1, 1, 1]])
    cubic = bifurcations(lambda sigma: DenseHopfield(patterns, lambda x: x**3), [1.5, 0.5], starts=patterns)
    assert [len(attractors) for attractors in cubic.attractors] == [2, 2]
    for make in (
        lambda sigma: EnergyNetwork(lambda x: pitchfork(sigma, x), 1),
        lambda sigma: EnergyNetwork(lambda x: pitchfork(1.0, x), 1),
        lambda sigma: DenseHopfield([[1.0], [-1.0]], lambda x: jnp.exp(x / sigma)),
    ):
        with pytest.raises(
            InputError, match=r"^memory: got networks that differ in more than the values of their arrays"
        ):
            bifurcations(make, [1.5, 0.5], starts=[[-1.0], [1.0]])
