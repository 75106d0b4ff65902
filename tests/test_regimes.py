"""Regimes against closed forms: two points, Gaussian data, mixtures; duplicates and held-out data."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist
from scipy.special import expit, logsumexp

from dispersed import InputError, PatternMemory, Scanned, regimes, theory
from dispersed.paper.regimes.plot import plot_regimes
from dispersed.regime import _levels, _multiplicities, _widest

N, D, CUES = 300, 8, 200
"""Patterns, units and cues wherever any will do, so that programs are shared."""
CURVES = ("certainty", "effective_patterns", "log_odds", "cloning", "local_dimension")


def test_levels_begin_above_the_collapse_in_many_dimensions_too():
    """There patterns are told apart while σ is still above the width of the data along every direction."""
    n, d = 300, 1000
    memory = PatternMemory(np.random.default_rng(0).standard_normal((n, d)).astype("f4"))
    y = np.asarray(memory.patterns, float)
    _, wide, total = _widest(memory, np.full(n, 1 / n))
    assert total == pytest.approx(np.trace(np.cov(y.T, bias=True)), rel=1e-6)
    levels = _levels(memory, y[:64], wide.value, total)
    assert 3 * wide.value < theory.collapse_sigma(np.ones(d), n // 2) < levels[0]
    x = y + levels[0] * np.random.default_rng(1).standard_normal((n, d))
    log_p = -cdist(x, y, "sqeuclidean") / (2 * levels[0] ** 2)
    own = np.diag(log_p).copy()
    np.fill_diagonal(log_p, -np.inf)
    assert (own - logsumexp(log_p, axis=1)).mean() < 0


def test_two_points_split_at_their_distance_from_the_middle(x64, key):
    found = regimes(
        np.array([[3.0, 0.0], [-3.0, 0.0]]), labels=["a", "b"], key=key, cues=20, sigmas=[9.0, 4.0, 2.5, 1.0]
    )
    assert found.speciation.value == pytest.approx(3, rel=1e-6)
    assert found.speciation_of_covariance.value == pytest.approx(theory.speciation_sigma(9.0), rel=1e-12)
    np.testing.assert_allclose(found.cloning[:, 0], found.cloning_of_classes[:, 0], atol=1e-6)
    assert found.attractors[found.sigma > 3.01].max() == 1
    assert found.attractors[found.sigma < 2.9].min() == 2


def test_cloning_of_a_mixture_of_two_classes(key):
    """φ(σ) = E [p² + (1 − p)²] with p = 1/(1 + e^{−2mx/(s² + σ²)}), of two Gaussians of width s at ±m."""
    rng = np.random.default_rng(0)
    m, s, d, n = 4.0, 1.0, 3, 1000
    label = np.arange(n) % 2
    y = (s * rng.standard_normal((n, d))).astype("f4")
    y[:, 0] += m * (2 * label - 1)
    sigmas = np.array([8.0, 3.0, 1.5])
    found = regimes(y, labels=label, key=key, sigmas=sigmas, cues=2000)
    x, w = np.polynomial.hermite_e.hermegauss(80)
    for sigma, (value, low, high) in zip(sigmas, found.cloning_of_classes, strict=True):
        width = math.hypot(s, sigma)
        p = expit(2 * m * (m + width * x) / width**2)
        exact = w @ (p**2 + (1 - p) ** 2) / w.sum()
        assert value == pytest.approx(exact, abs=0.01)
        assert low - 0.01 < exact < high + 0.01
    # The first class splits where the slope in the middle, (s²σ² + ...)/..., is 1: at σ² = m² for narrow classes.
    assert found.speciation_of_covariance.value == pytest.approx(math.hypot(m, s), rel=0.03)


def test_gaussian_data_collapse_where_theory_says(key):
    """With the shift of ln 2 that finite sets have: the others typically weigh half of what they do on average."""
    rng = np.random.default_rng(1)
    d, n = 12, 3000
    y = rng.standard_normal((n, d)).astype("f4")
    found = regimes(y, key=key, cues=400, sigmas=np.geomspace(3, 0.15, 9))
    limit = theory.collapse_sigma(np.ones(d), n)
    shifted = theory.collapse_sigma(np.ones(d), n // 2)
    assert found.collapse.low < shifted * 1.03
    assert found.collapse.high > shifted * 0.97
    assert found.collapse.value > limit
    assert math.isnan(found.speciation.value)  # one cloud does not split
    # By intervals: high noise keeps all patterns, low noise one of them.
    assert found.effective_patterns[0, 0] > n / 2
    assert found.effective_patterns[-1, 0] == pytest.approx(1, abs=1e-2)
    assert found.certainty[-1, 0] > 0.999
    assert found.cloning[-1, 0] > 0.999
    assert found.local_dimension[-1, 0] < 0.05
    assert found.attractors[0] == 1
    assert found.attractors[-1] == 32
    assert (np.diff(found.log_odds[:, 0]) > -1e-6)[:-4].all()


def test_the_posterior_is_the_brute_force_one(x64, key):
    rng = np.random.default_rng(2)
    y = rng.standard_normal((40, 3))
    weights = rng.uniform(0.5, 2, 40)
    sigma = 0.7
    found = regimes(PatternMemory(y, weights), key=key, sigmas=[sigma], cues=3000)
    log_w = np.log(weights / weights.sum())
    j = rng.choice(40, 200_000, p=weights / weights.sum())
    x = y[j] + sigma * rng.standard_normal((len(j), 3))
    log_p = log_w - cdist(x, y, "sqeuclidean") / (2 * sigma**2)
    p = np.exp(log_p - np.logaddexp.reduce(log_p, axis=1, keepdims=True))
    exact = {
        "certainty": p.max(axis=1).mean(),
        "cloning": (p**2).sum(axis=1).mean(),
        "effective_patterns": math.exp(stats.entropy(p, axis=1).mean()),
        "log_odds": (np.log(p[np.arange(len(j)), j]) - np.log1p(-p[np.arange(len(j)), j])).mean(),
    }
    for name, value in exact.items():
        mean, low, high = getattr(found, name)[0]
        margin = 1.5 * (high - low)
        assert mean == pytest.approx(value, abs=margin), name


def test_duplicates_are_one_pattern(key):
    y = np.random.default_rng(3).standard_normal((N // 2, D)).astype("f4")
    alone = regimes(y, key=key, cues=CUES, sigmas=np.geomspace(2, 0.1, 6))
    twice = regimes(np.concatenate([y, y]), key=key, cues=CUES, sigmas=alone.sigma)
    assert twice.log_odds[-1, 0] > 10
    assert twice.collapse.value == pytest.approx(alone.collapse.value, rel=0.15)


def test_weights_of_duplicates_are_added_up():
    """Zeros of both signs are one number, and what is equal in its first unit alone is no duplicate."""
    y = np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, 2.0], [1.0, 0.0], [1.0, -0.0]], "f4")
    weights = np.array([0.1, 0.2, 0.3, 0.15, 0.25])
    found = _multiplicities(PatternMemory(y, weights), weights, y)
    np.testing.assert_allclose(found, [0.3, 0.3, 0.3, 0.4, 0.4])


def test_cues_are_of_patterns_by_their_weights(key):
    """As many cues as patterns, of which one has half of all weight and some have none."""
    rng = np.random.default_rng(0)
    y, w = rng.standard_normal((CUES, 4)).astype("f4"), np.ones(CUES)
    w[0], w[CUES // 2 :] = CUES / 2 - 1, 0
    found = regimes(PatternMemory(y, w), key=key, sigmas=[0.7], cues=CUES)
    j = rng.choice(CUES, 20_000, p=w / w.sum())
    x = y[j] + 0.7 * rng.standard_normal((20_000, 4))
    p = w * np.exp(-cdist(x, y, "sqeuclidean") / (2 * 0.7**2))
    largest = (p.max(axis=1) / p.sum(axis=1)).mean()
    value, low, high = found.certainty[0]
    assert low < largest < high
    assert value == pytest.approx(largest, abs=0.06)


def test_held_out_states_are_covered_where_noise_hides_what_they_are(key):
    rng = np.random.default_rng(4)
    y, fresh = rng.standard_normal((2, N, D)).astype("f4")
    found = regimes(y, held_out=fresh, key=key, sigmas=[5.0, 1.0, 0.1], cues=CUES)
    assert found.covered[0, 0] == 1
    assert found.covered[-1, 0] == 0
    same = regimes(y, held_out=y, key=key, sigmas=[0.3, 0.1], cues=CUES)
    assert (same.covered[:, 0] > 0.95).all()


def test_scanned_patterns_give_the_same(key):
    y = np.random.default_rng(5).standard_normal((N, D)).astype("f4")
    levels = [2.0, 0.8, 0.3]
    dense, scanned = (regimes(PatternMemory(y, engine=e), key=key, sigmas=levels, cues=CUES) for e in (None, Scanned()))
    for name in CURVES:
        np.testing.assert_allclose(getattr(dense, name), getattr(scanned, name), rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(scanned.speciation_of_covariance, dense.speciation_of_covariance, rtol=1e-5)
    np.testing.assert_allclose(scanned.collapse, dense.collapse, rtol=2e-3)


def test_rows_and_words(key):
    y = np.random.default_rng(6).standard_normal((60, 2))
    found = regimes(y, labels=np.arange(60) % 3, key=key, cues=20)
    rows = found.rows()
    assert len(rows) == 24
    assert rows[0]["covered"] is None
    assert all(row["certainty_low"] <= row["certainty"] <= row["certainty_high"] for row in rows)
    assert repr(found).startswith("Regimes(60 patterns of 2 units, speciation at σ = ")


@pytest.mark.parametrize(
    ("patterns", "settings", "message"),
    [
        (np.ones((1, 3)), {}, "patterns: got 1; at least two"),
        (np.ones((5, 3)), {}, "patterns: got equal ones"),
        (np.eye(3), {"labels": [1, 2]}, r"labels: got shape \(2,\); one label for each of the 3"),
        (np.eye(3), {"held_out": np.ones((2, 4))}, "held_out: "),
        (np.eye(3), {"held_out": np.ones((0, 3))}, "held_out: got no states"),
        (np.eye(3), {"cues": 3}, "cues: got 3"),
        (np.eye(3), {"cues": 10**30}, "cues: got 10"),
        (np.eye(3), {"labels": [1.0, np.nan, 2.0]}, "labels: got 1 NaN"),
        (np.eye(3), {"labels": [[1, 2], [3]]}, "labels: rows of different lengths"),
        (np.eye(3), {"sigmas": []}, r"sigmas: got shape \(0,\); a list of at least one"),
        (np.eye(3), {"sigmas": 1.0}, r"sigmas: got shape \(\)"),
        (np.eye(3), {"sigmas": ["x"]}, "sigmas: got dtype"),
        (np.eye(3), {"sigmas": [1.0, np.nan]}, "sigmas: got 1 NaN"),
        (np.eye(3), {"sigmas": [1.0, -1.0]}, "sigmas: got -1"),
    ],
)
def test_bad_input_gets_one_line(patterns, settings, message, key):
    with pytest.raises(InputError, match=message):
        regimes(patterns, key=key, **settings)


def test_no_two_curves_of_a_figure_have_one_colour(key):
    y = np.random.default_rng(6).standard_normal((60, 2))
    found = regimes(y, y[:20] + 1, np.arange(60) % 3, key=key, cues=20, sigmas=[3.0, 1.0, 0.3])
    axes = plot_regimes([row | found.levels() for row in found.rows()])
    names = {text.get_text() for axis in axes for text in axis.get_legend().get_texts()}
    lines = [line for axis in axes for line in axis.get_lines() if line.get_label() in names]
    assert len({line.get_color() for line in lines}) == len(lines) == len(names) == 7
    plt.close("all")
