"""Ensembles of patterns, ways to damage them, and what counts as an error: each against what it says of itself."""

import jax.numpy as jnp
import numpy as np
import pytest

from dispersed import ClassicalHopfield, InputError, OneStep, PatternMemory, SparseHopfield, Willshaw, capacity
from dispersed.capacities import (
    Flip,
    Gaussian,
    HiddenManifold,
    Occlusion,
    Overlap,
    Rademacher,
    Sparse,
    Spherical,
    Subsample,
)
from dispersed.capacities.cell import Trial, measure_cell
from dispersed.capacities.corruption import Custom, Noise
from dispersed.capacities.ensembles import described, two_levels
from dispersed.capacities.measures import nearest, square

COVARIANCE = np.array([[2.0, 0.9, 0.0], [0.9, 1.0, -0.3], [0.0, -0.3, 0.5]])
DATA = np.arange(60.0).reshape(20, 3) % 7
ENSEMBLES = [
    Rademacher(),
    Sparse(0.3),
    Gaussian(),
    Gaussian(COVARIANCE),
    Spherical(),
    HiddenManifold(2),
    HiddenManifold(2, np.sign),
    Subsample(DATA),
    lambda rng, n, d: rng.laplace(size=(n, d)),
]


def first(memory, cues, key):
    """A dynamics of the user: the stored pattern nearest to each cue."""
    distances = ((cues[:, None] - memory.patterns) ** 2).sum(axis=2)
    return memory.patterns[jnp.argmin(distances, axis=1)]


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=lambda e: type(e).__name__)
def test_streams_are_nested(ensemble):
    few, many = (ensemble(np.random.default_rng(3), n, 3) for n in (4, 9))
    np.testing.assert_array_equal(few, many[:4])
    assert few.shape == (4, 3)


def test_moments_of_ensembles(rng):
    n = 40_000
    assert Sparse(0.3)(rng, n, 3).mean() == pytest.approx(0.3, abs=0.01)
    np.testing.assert_allclose(np.cov(Gaussian(COVARIANCE)(rng, n, 3).T), COVARIANCE, atol=0.05)
    np.testing.assert_allclose(np.linalg.norm(Spherical()(rng, 9, 5), axis=1), np.sqrt(5))
    manifold = np.arctanh(HiddenManifold(2)(rng, 30, 8))
    assert np.linalg.matrix_rank(manifold, tol=1e-6) == 2
    data = Subsample(DATA)(rng, 20, 3)
    np.testing.assert_array_equal(np.sort(data, axis=0), np.sort(DATA, axis=0))


def test_values_of_patterns():
    found = [two_levels(ensemble, 3) for ensemble in ENSEMBLES]
    assert found == [(-1, 1), (0, 1), None, None, None, None, (-1, 1), None, None]


def test_descriptions_tell_ensembles_apart():
    told = [described(ensemble) for ensemble in [*ENSEMBLES, Gaussian(2 * COVARIANCE), Sparse(0.2)]]
    assert len(set(told)) == len(told)
    assert described(Gaussian(COVARIANCE)) == described(Gaussian(COVARIANCE.copy()))


def test_measures_by_hand():
    patterns = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 0.0]])
    recalled = np.array([[0.9, 0.1], [0.9, 1.0], [0.2, 1.9]])
    np.testing.assert_array_equal(nearest(recalled, patterns, patterns), [0, 1, 1])  # a duplicate is not another
    np.testing.assert_array_equal(nearest(*[1e-30 * part for part in (recalled, patterns, patterns)]), [0, 1, 1])
    np.testing.assert_allclose(square(recalled, patterns, patterns), [0.01, 0.905, 2.125])
    cosines = np.sum(recalled * patterns, axis=1) / np.linalg.norm(recalled, axis=1) / np.linalg.norm(patterns, axis=1)
    np.testing.assert_array_equal(Overlap(0.8)(recalled, patterns, patterns), cosines < 0.8)


def test_cues(rng):
    patterns = np.where(rng.random((2000, 3)) < 0.5, -1.0, 1.0)
    flipped = Flip(0.2).cues(patterns, rng, rng)
    assert np.mean(flipped != patterns) == pytest.approx(0.2, abs=0.02)
    assert set(np.unique(Flip(0.2, middle=0.5).cues((patterns + 1) / 2, rng, rng))) == {0, 1}
    hidden = np.array([True, False, False])
    np.testing.assert_array_equal(Occlusion(hidden).cues(patterns, rng, rng), patterns * ~hidden)


def test_a_memory_is_told_the_level_that_weighs_patterns_as_flips_do(rng):
    """Of all patterns the posterior under that noise is the one by Bayes' rule under flips."""
    patterns, rate = np.where(rng.random((6, 5)) < 0.5, -1.0, 1.0), 0.15
    cue = np.where(rng.random(5) < rate, -patterns[0], patterns[0])
    for values, middle in ((patterns, 0.0), ((patterns + 1) / 2, 0.5)):
        x = cue if middle == 0 else (cue + 1) / 2
        wrong = (values != x).sum(axis=1)
        posterior = rate**wrong * (1 - rate) ** (5 - wrong)
        alpha = Flip(rate, middle=middle).alpha
        sigma = np.sqrt(1 - alpha**2) / alpha
        found = PatternMemory(values).responsibilities(x, sigma)
        np.testing.assert_allclose(found, posterior / posterior.sum(), rtol=1e-4)


def test_errors_of_any_patterns_by_a_dynamics_of_the_user():
    """Against NumPy: cues of Gaussian patterns are decoded to the nearest stored one."""
    trial = Trial(PatternMemory, 3, first, Noise(0.8), Gaussian(), None, ("nearest", nearest), 5, 2)
    found = measure_cell(trial, 8, range(6))["nearest_errors"]
    for r, error in enumerate(found):
        streams = map(np.random.default_rng, np.random.SeedSequence([2, 3, r]).spawn(3))
        patterns = Gaussian()(next(streams), 8, 3).astype(np.float32)
        cues = 0.8 * patterns[:5] + 0.6 * next(streams).standard_normal((5, 3)).astype(np.float32)
        index = ((cues[:, None] - patterns) ** 2).sum(axis=2).argmin(axis=1)
        assert error == np.mean(index != np.arange(5))
    assert 0.1 < np.mean(found) < 0.9


def test_capacity_of_ensembles_corruptions_and_measures():
    how = {"dynamics": first, "sets": 12, "max_patterns": 16, "name": "nearest"}

    def rows(**more):
        return capacity(PatternMemory, **how | more).rows()

    gaussian = capacity(PatternMemory, 3, ensemble=Gaussian(), measure="nearest", threshold=0.2, alpha=0.9, **how)
    assert 1 < gaussian.capacity < 16
    assert set(gaussian.rows()[0]) == {
        *("dimension", "n_patterns", "nearest_mean", "nearest_median"),
        *("sets", "cues"),
    }
    mine = rows(
        dimension=3, ensemble=Gaussian(), measure=lambda x, y, _: (x != y).any(axis=1), threshold=0.2, alpha=0.9
    )
    assert [row["<lambda>_mean"] for row in mine] == [row["nearest_mean"] for row in gaussian.rows()]
    data = capacity(
        PatternMemory, ensemble=DATA, measure="square", threshold=5.0, alpha=0.9, **how | {"max_patterns": 99}
    )
    assert data.beyond
    assert data.capacity == len(DATA)
    sparse = rows(dimension=6, ensemble=Sparse(0.3), corruption=Flip(0.1, middle=0.5))
    assert sparse[-1]["hamming_mean"] > 0.03
    assert rows(dimension=6, corruption=lambda y, rng: y)[-1]["hamming_mean"] == 0
    by_name = capacity(PatternMemory, 3, "one-step", sets=3, max_patterns=2)
    assert by_name.dimension == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Flip(0.1, middle=np.nan), "middle: got nan"),
        (lambda: Overlap(np.nan), "least: got nan"),
        (lambda: Occlusion([0, 1]), "hidden: got dtype int64; booleans are accepted, True where an entry is hidden"),
    ],
)
def test_what_is_made_wrongly_is_one_line(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ensemble": Gaussian()}, "measure: got 'hamming' for patterns that have not two values"),
        ({"ensemble": Gaussian}, "ensemble: got the class Gaussian"),
        ({"ensemble": np.zeros(3)}, "ensemble: got shape"),
        ({"ensemble": lambda rng, n, d: np.zeros((n, 2))}, "ensemble: got patterns of shape"),
        ({"ensemble": DATA, "dimension": 4, "measure": "square"}, "dimension: got 4"),
        ({"ensemble": Gaussian(COVARIANCE), "dimension": 4, "measure": "square"}, "covariance: got shape"),
        ({"ensemble": Sparse(0.5), "family": ClassicalHopfield}, "patterns: got entries such as 0"),
        ({"dimension": None}, "dimension: got None"),
        ({"corruption": Flip}, "corruption: got <class"),
        ({"corruption": Flip(0.1), "mask_rate": 0.5}, "corruption, mask_rate: got both"),
        ({"corruption": Occlusion([True, False])}, "hidden: got 2 entries"),
        ({"corruption": lambda y, rng: y[0]}, "corruption: got cues of shape"),
        ({"dynamics": "newton"}, "dynamics: got 'newton'"),
        ({"dynamics": OneStep}, "dynamics: got <class"),
        ({"measure": lambda *_: 0.0}, "measure: got errors of shape"),
        ({"measure": "square", "threshold": -1.0}, "threshold: got -1"),
        ({"precision": 1.5}, "precision: got 1.5"),
        ({"dynamics": lambda memory, cues, key: cues[:1, :2]}, "dynamics: got a function that returns"),
        ({"dynamics": lambda memory, cues, key: None}, "dynamics: got a function that returns NoneType"),
        ({"dynamics": lambda memory, cues, key: cues / 0, "measure": "nearest"}, "recalled states: got"),
        ({"ensemble": DATA, "measure": "square", "also": (21,)}, "also: got 21"),
        ({"ensemble": HiddenManifold(2, lambda z: z[:1]), "measure": "square"}, "ensemble: got patterns of shape"),
    ],
)
def test_bad_input_is_one_line(arguments, message):
    with pytest.raises(InputError) as caught:
        capacity(
            **{"family": PatternMemory, "dimension": 3, "dynamics": first, "sets": 2, "max_patterns": 2} | arguments
        )
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sparse(1.0), "activity: got 1.0"),
        (lambda: Gaussian([[1.0, 0.0]]), "covariance: got shape"),
        (lambda: Gaussian([[1.0, 2.0], [0.0, 1.0]]), "covariance: got a matrix that is not symmetric"),
        (lambda: Gaussian([[1.0, 2.0], [2.0, 1.0]]), "covariance: got eigenvalues from -1"),
        (lambda: HiddenManifold(0), "latent: got 0"),
        (lambda: Flip(0.6), "flip_rate: got 0.6"),
        (lambda: Occlusion([1.0, 0.0]), "hidden: got dtype"),
        (lambda: Overlap(2.0), "least: got 2.0"),
    ],
)
def test_ensembles_and_corruptions_check_their_settings(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value).startswith(message)


def test_functions_of_cues_draw_from_their_own_numbers(rng):
    shaken = Custom(0.68, lambda y, rng: y + rng.standard_normal(y.shape))
    first_cues, again = (shaken.cues(np.zeros((4, 3)), None, np.random.default_rng(seed)) for seed in (1, 1))
    np.testing.assert_array_equal(first_cues, again)


def test_a_network_of_zeros_and_ones_holds_sparse_patterns_and_refuses_others():
    """By Willshaw's rule: cues with units missing, and the more patterns the fewer units are active."""
    with pytest.raises(InputError, match="accepts only 0 and 1"):
        capacity(SparseHopfield, 12)
    settings = {"mask_rate": 0.1, "threshold": 0.05, "sets": 20, "max_patterns": 64}
    few, many = (
        capacity(lambda y: SparseHopfield(y, Willshaw()), 60, ensemble=Sparse(activity), **settings).capacity
        for activity in (0.3, 0.1)
    )
    assert many > 2 * few
